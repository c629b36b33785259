//! Real servers for the tests: Kafka brokers as child processes, one or a cluster, secured in every way.
//!
//! Knows Kafka, and nothing of Trigon. Everything that it starts ends with the process that started it, however that
//! ends. What cannot be had is an error that says how to provide it; nothing is skipped.

pub mod certificate;
pub mod kafka;
pub mod shared;

mod jars;
mod jvm;
mod port;

pub use kafka::Kafka;
pub use kafka::options::{Mechanism, Options};
