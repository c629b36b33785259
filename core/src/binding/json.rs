//! The CloudEvents JSON format, both ways.
