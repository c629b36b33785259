//! Failures of the log: how long to wait before the next try, and when to say so.

use std::fmt::Display;
use std::time::Duration;

use trigon_core::name::TopicPartition;
use trigon_eventlog::LogError;

/// The wait after the first of several failures of the log; it doubles up to [`LOG_BACKOFF_MAX`].
const LOG_BACKOFF: Duration = Duration::from_millis(100);

/// The longest wait after a failure of the log.
const LOG_BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Failures in a row of one kind.
#[derive(Debug, Default)]
pub(super) struct Trouble(u32);

impl Trouble {
    /// How long to wait before the next try.
    pub(super) fn wait(&self) -> Duration {
        match self.0 {
            0 => Duration::ZERO,
            n => LOG_BACKOFF.saturating_mul(1 << n.min(16)).min(LOG_BACKOFF_MAX),
        }
    }

    /// Counts, and says so once when trouble begins or ends; `true` when it will not end.
    pub(super) fn note(&mut self, error: Option<&LogError>, at: &TopicPartition, what: &'static str) -> bool {
        match error {
            None => {
                self.over(at, what);
                false
            }
            Some(error) => {
                self.failed(error, at, what);
                match error {
                    LogError::UnknownTopic(_) | LogError::UnknownPartition(_) | LogError::Closed => true,
                    LogError::NoSpace | LogError::Failed(_) => false,
                }
            }
        }
    }

    pub(super) fn over(&mut self, at: &TopicPartition, what: &'static str) {
        let TopicPartition { topic, partition } = at;
        if std::mem::take(&mut self.0) > 0 {
            tracing::info!(%topic, %partition, what, "the log works again");
        }
    }

    pub(super) fn failed(&mut self, error: &dyn Display, at: &TopicPartition, what: &'static str) {
        let TopicPartition { topic, partition } = at;
        if self.0 == 0 {
            tracing::warn!(%topic, %partition, what, %error, "the log fails");
        }
        self.0 = self.0.saturating_add(1);
    }
}
