//! When an origin that starts to fail, or recovers, is worth a line in the log.

use std::time::{Duration, Instant};

/// The least time between two lines about one origin.
pub const NOTICE_INTERVAL: Duration = Duration::from_secs(30);

/// A change that people want to know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Attempts fail that did not before.
    Failing {
        /// How many have failed since the last notice.
        failures: u64,
    },
    /// Attempts succeed again.
    Recovered {
        /// How many have failed since the last notice.
        failures: u64,
    },
}

/// What was last said of an origin, and what has happened since.
#[derive(Clone, Debug, Default)]
pub(super) struct Health {
    told_failing: bool,
    told_at: Option<Instant>,
    failures: u64,
}

impl Health {
    pub(super) fn observe(&mut self, now: Instant, succeeded: bool) -> Option<Notice> {
        self.failures += u64::from(!succeeded);
        let is_change = self.told_failing == succeeded;
        let is_soon = self.told_at.is_some_and(|at| now.saturating_duration_since(at) < NOTICE_INTERVAL);
        if !is_change || is_soon {
            return None;
        }
        self.told_failing = !succeeded;
        self.told_at = Some(now);
        let failures = std::mem::take(&mut self.failures);
        Some(if succeeded { Notice::Recovered { failures } } else { Notice::Failing { failures } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_each_change_once_and_at_most_one_per_interval() {
        let start = Instant::now();
        let mut health = Health::default();
        assert_eq!(health.observe(start, true), None);
        assert_eq!(health.observe(start, false), Some(Notice::Failing { failures: 1 }));
        assert_eq!(health.observe(start, false), None);
        assert_eq!(health.observe(start, true), None);
        assert_eq!(health.observe(start, false), None);
        let later = start + NOTICE_INTERVAL;
        assert_eq!(health.observe(later, true), Some(Notice::Recovered { failures: 2 }));
        assert_eq!(health.observe(later + NOTICE_INTERVAL, true), None);
    }
}
