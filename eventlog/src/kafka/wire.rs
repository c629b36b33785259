//! Our own connections to the brokers of a Kafka cluster: requests go out, answers come back.
//!
//! Knows Kafka's framing, versions, handshakes and where brokers and leaders are; not what topics and cursors mean.

pub(super) use self::cluster::{Cluster, LeaderEpoch, Line, NodeId, TopicView};
pub(super) use self::connection::Connection;
pub(super) use self::error::WireError;
pub(super) use self::patience::{Patience, Setback};

mod cluster;
mod connection;
mod error;
#[cfg(test)]
mod fake;
mod patience;
mod sasl;
#[cfg(test)]
mod tests;
mod tls;
mod work;
