//! The CloudEvents HTTP binding, both ways.
