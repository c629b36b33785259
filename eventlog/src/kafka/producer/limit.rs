//! The most that a topic takes as one message: its `max.message.bytes`.
//!
//! Kafka refuses a whole batch for its size and does not say what would be taken. So it is asked, when that happens:
//! a record above the limit is nobody's to retry, and below it only the batch was too large.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rdkafka::admin::{AdminOptions, ResourceSpecifier};
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use trigon_core::name::TopicName;

use super::client;
use crate::kafka::KafkaConfig;

/// A lock is held for a look-up: nothing panics under it.
const LOCKED: &str = "nobody panics while holding the limits";

/// librdkafka's default of `batch.size`.
const DEFAULT_BATCH_BYTES: usize = 1_000_000;

/// How long an answer is believed: whoever sends too much must not make us ask for every record.
const BELIEVED: Duration = Duration::from_secs(10);

/// How long to wait for an answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// The limits of topics that refused something.
#[derive(Debug)]
pub(super) struct Limits {
    known: Mutex<BTreeMap<TopicName, (Instant, usize)>>,
    batch_bytes: AtomicUsize,
}

impl Limits {
    pub(super) fn new(config: &KafkaConfig) -> Self {
        Self { known: Mutex::default(), batch_bytes: AtomicUsize::new(first_batch_bytes(config)) }
    }

    /// How large a batch may be, so that all topics that are known to have a limit take it.
    pub(super) fn batch_bytes(&self) -> usize {
        self.batch_bytes.load(Ordering::Relaxed)
    }

    /// Makes batches fit a limit.
    pub(super) fn shrink(&self, limit: usize) {
        self.batch_bytes.fetch_min(limit, Ordering::Relaxed);
    }

    /// Asks Kafka; `None` when it does not say.
    pub(super) async fn of(&self, topic: &TopicName, config: &KafkaConfig) -> Option<usize> {
        let now = Instant::now();
        let known = self.known.lock().expect(LOCKED).get(topic).copied();
        if let Some((_, limit)) = known.filter(|(asked, _)| now < *asked + BELIEVED) {
            return Some(limit);
        }
        let limit = ask(topic, config).await?;
        self.known.lock().expect(LOCKED).insert(topic.clone(), (now, limit));
        Some(limit)
    }
}

/// What batches begin with. A topic that Trigon made takes a record of the largest size, and so a batch of that size.
fn first_batch_bytes(config: &KafkaConfig) -> usize {
    let users = config.properties.get("batch.size").and_then(|bytes| bytes.parse().ok());
    users.unwrap_or(DEFAULT_BATCH_BYTES).min(config.max_record_bytes)
}

async fn ask(topic: &TopicName, config: &KafkaConfig) -> Option<usize> {
    let admin = client::admin(config).ok()?;
    let options = AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE));
    let described = admin.describe_configs(&[ResourceSpecifier::Topic(topic.as_str())], &options).await;
    // It joins its thread.
    spawn_blocking(move || drop(admin)).await.ok()?;
    let settings = described.ok()?.pop()?.ok()?;
    settings.get("max.message.bytes")?.value.as_ref()?.parse().ok()
}
