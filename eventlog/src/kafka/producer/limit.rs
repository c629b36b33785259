//! The most that a topic takes as one message: its `max.message.bytes`.
//!
//! Kafka refuses a record for its size and does not say what would be taken. So it is asked, when that happens.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use trigon_core::name::TopicName;

use crate::kafka::KafkaConfig;
use crate::kafka::topics::Topics;
use crate::kafka::wire::Cluster;

/// A lock is held for a look-up: nothing panics under it.
const LOCKED: &str = "nobody panics while holding the limits";

/// How long an answer is believed: whoever sends too much must not make us ask for every record.
const BELIEVED: Duration = Duration::from_secs(10);

/// How long it is not asked again when there was no answer.
const UNANSWERED: Duration = Duration::from_secs(5);

/// The limits of topics that refused something.
#[derive(Debug)]
pub(super) struct Limits {
    topics: Topics,
    known: Mutex<BTreeMap<TopicName, Arc<Question>>>,
}

/// What one topic was last asked, and when; locked while it is asked, so that nobody else asks meanwhile.
type Question = tokio::sync::Mutex<Option<Answer>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Answer {
    until: Instant,
    limit: Option<usize>,
}

impl Limits {
    pub(super) fn new(cluster: &Cluster, config: &KafkaConfig) -> Self {
        Self { topics: Topics::new(cluster.clone(), config), known: Mutex::default() }
    }

    /// Asks Kafka; `None` when it does not say.
    pub(super) async fn of(&self, topic: &TopicName) -> Option<usize> {
        let question = self.question(topic, Instant::now());
        let mut answer = question.lock().await;
        if let Some(answer) = answer.filter(|answer| Instant::now() < answer.until) {
            return answer.limit;
        }
        let limit = self.topics.max_message_bytes(topic).await;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::test_topics::config;

    /// Nobody listens on the discard port.
    #[tokio::test]
    async fn an_answer_is_remembered_also_that_there_was_none_and_forgotten_in_time() {
        let config = config("127.0.0.1:9");
        let limits = Limits::new(&Cluster::new(&config), &config);
        let topic = TopicName::external("orders");
        assert_eq!(limits.of(&topic).await, None);
        let first = limits.question(&topic, Instant::now());
        assert!(first.lock().await.is_some(), "it is asked again at once");
        drop(first);
        let other = limits.question(&TopicName::external("other"), Instant::now() + UNANSWERED);
        assert_eq!(*other.lock().await, None);
        assert_eq!(limits.known.lock().expect(LOCKED).len(), 1, "an old answer is kept");
    }
}
