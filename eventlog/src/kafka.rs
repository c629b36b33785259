//! The log in Apache Kafka: topics are Kafka's topics, a Trigger's cursor is the offset of a consumer group.
//!
//! Appends go through librdkafka's idempotent producer, and one of its consumers says which partitions are ours.
//! Everything else (reads, cursors, topics) speaks Kafka's protocol itself, over connections of its own: so it
//! costs neither threads nor connections per Trigger. No type of librdkafka leaves this module.

pub mod properties;
pub mod security;

mod config;
mod cursors;
mod fetch;
mod log;
mod native;
mod ownership;
mod producer;
mod records;
#[cfg(test)]
mod test_server;
#[cfg(test)]
mod test_topics;
mod topics;
mod wire;

pub use self::config::KafkaConfig;
pub use self::log::{KafkaError, KafkaLog};
