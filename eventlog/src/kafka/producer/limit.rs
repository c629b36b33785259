//! The most that a topic takes as one message: its `max.message.bytes`.
//!
//! Kafka refuses a whole batch for its size and does not say what would be taken. So it is asked, when that happens:
//! a record above the limit is nobody's to retry, and below it only the batch was too large.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
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

/// How long it is not asked again when there was no answer.
const UNANSWERED: Duration = Duration::from_secs(5);

/// Batches do not become smaller than this: they are for all topics, and one must not slow down all others.
pub(super) const SMALLEST_BATCH_BYTES: usize = 64 << 10;

/// How long to wait for an answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// The limits of topics that refused something.
#[derive(Debug)]
pub(super) struct Limits {
    known: Mutex<BTreeMap<TopicName, Arc<Question>>>,
    batch_bytes: AtomicUsize,
}

/// What one topic was last asked, and when; locked while it is asked, so that nobody else asks meanwhile.
type Question = tokio::sync::Mutex<Option<Answer>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Answer {
    until: Instant,
    limit: Option<usize>,
}

impl Limits {
    pub(super) fn new(config: &KafkaConfig) -> Self {
        Self { known: Mutex::default(), batch_bytes: AtomicUsize::new(first_batch_bytes(config)) }
    }

    /// How large a batch may be, so that all topics that are known to have a limit take it.
    pub(super) fn batch_bytes(&self) -> usize {
        self.batch_bytes.load(Ordering::Relaxed)
    }

    /// Makes batches fit a limit; says whether it is large enough for that.
    pub(super) fn shrink(&self, limit: usize) -> bool {
        let suffices = limit >= SMALLEST_BATCH_BYTES;
        if suffices {
            self.batch_bytes.fetch_min(limit, Ordering::Relaxed);
        }
        suffices
    }

    /// Asks Kafka; `None` when it does not say.
    pub(super) async fn of(&self, topic: &TopicName, config: &KafkaConfig) -> Option<usize> {
        let question = self.question(topic, Instant::now());
        let mut answer = question.lock().await;
        if let Some(answer) = answer.filter(|answer| Instant::now() < answer.until) {
            return answer.limit;
        }
        let limit = ask(topic, config).await;
        let believed = if limit.is_some() { BELIEVED } else { UNANSWERED };
        *answer = Some(Answer { until: Instant::now() + believed, limit });
        limit
    }

    /// The one question to a topic. Forgets those that nobody asks and whose answers are too old.
    fn question(&self, topic: &TopicName, now: Instant) -> Arc<Question> {
        let mut known = self.known.lock().expect(LOCKED);
        known.retain(|_, question| match question.try_lock() {
            Ok(answer) => Arc::strong_count(question) > 1 || answer.is_some_and(|answer| now < answer.until),
            Err(_) => true,
        });
        known.entry(topic.clone()).or_default().clone()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::test_topics::config;

    #[test]
    fn batches_fit_the_smallest_limit_that_is_not_tiny() {
        let limits = Limits::new(&config("127.0.0.1:9"));
        assert!(limits.shrink(100_000) && limits.shrink(200_000));
        assert!(!limits.shrink(SMALLEST_BATCH_BYTES - 1));
        assert_eq!(limits.batch_bytes(), 100_000);
    }

    /// Nobody listens on the discard port.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_topic_that_does_not_answer_is_asked_once_and_not_by_everybody() {
        let config = config("127.0.0.1:9");
        let limits = Limits::new(&config);
        let topic = TopicName::external("orders");
        let begin = Instant::now();
        let ask = || limits.of(&topic, &config);
        assert_eq!(tokio::join!(ask(), ask(), ask()), (None, None, None));
        assert_eq!(ask().await, None);
        assert!(begin.elapsed() < 2 * PATIENCE, "it took {:?}", begin.elapsed());
        let other = limits.question(&TopicName::external("other"), Instant::now() + UNANSWERED);
        assert_eq!(*other.lock().await, None);
        assert_eq!(limits.known.lock().expect(LOCKED).len(), 1, "an old answer is kept");
    }
}
