//! How to reach a Kafka cluster, and what to expect of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use trigon_core::name::Installation;

use super::security::Security;

/// A Kafka cluster, and the bounds of what is asked of it.
#[derive(Clone, Debug)]
pub struct KafkaConfig {
    /// Where to begin, as `HOST:PORT`; the cluster tells the rest.
    pub bootstrap: Vec<String>,
    /// Names the group in which the dispatchers share the partitions.
    pub installation: Installation,
    /// Properties of librdkafka, as it names them; those that Trigon relies on are refused.
    pub properties: BTreeMap<String, String>,
    /// How connections are secured; a new value takes effect on the next connection.
    pub security: watch::Receiver<Arc<Security>>,
    /// The largest record, in bytes as [`Record::size`](trigon_core::record::Record::size) counts them. Default
    /// 2 MiB minus 64 KiB; the topic's `max.message.bytes` has to allow it.
    pub max_record_bytes: usize,
    /// Records that wait for Kafka's acknowledgement, at most. Default 65 536.
    pub max_queued_records: usize,
    /// Bytes of records that wait for Kafka's acknowledgement, at most. Default 128 MiB.
    pub max_queued_bytes: usize,
    /// How long an append may take; then it fails. Default 10 s.
    pub append_deadline: Duration,
    /// How long any other request may take; then its connection is given up. Default 10 s.
    pub request_deadline: Duration,
    /// After how long without a heartbeat a dispatcher's partitions go to the others. Default 6 s, Kafka's minimum.
    pub session_timeout: Duration,
}

impl KafkaConfig {
    /// The defaults for a cluster.
    pub fn new(bootstrap: Vec<String>, security: watch::Receiver<Arc<Security>>) -> Self {
        Self {
            bootstrap,
            installation: Installation::default(),
            properties: BTreeMap::new(),
            security,
            max_record_bytes: (2 << 20) - (64 << 10),
            max_queued_records: 65_536,
            max_queued_bytes: 128 << 20,
            append_deadline: Duration::from_secs(10),
            request_deadline: Duration::from_secs(10),
            session_timeout: Duration::from_secs(6),
        }
    }
}
