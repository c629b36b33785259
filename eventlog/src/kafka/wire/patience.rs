//! How long, and how often, to repeat what failed because the cluster is changing.

use std::time::Duration;

use kafka_protocol::error::ResponseError;
use tokio::time::{Instant, sleep_until};

use super::error::WireError;
use crate::LogError;

/// The wait after the first attempt; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(20);

/// The longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// Why an attempt failed, and whether another one may succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kafka) enum Setback {
    /// The cluster is changing, or we know an old state of it: the same may succeed soon.
    Passing(LogError),
    /// Waiting changes nothing.
    Lasting(LogError),
}

impl Setback {
    /// What Kafka answered, with what was being done: `could not delete topic t`.
    pub(in crate::kafka) fn answered(error: ResponseError, doing: impl Into<String>) -> Self {
        let error_text = LogError::Failed(format!("{}: {error}", doing.into()));
        if error.is_retriable() { Self::Passing(error_text) } else { Self::Lasting(error_text) }
    }
}

impl From<WireError> for Setback {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Unreachable { .. }
            | WireError::Advertised { .. }
            | WireError::Unsecured { .. }
            | WireError::Broken { .. }
            | WireError::Deadline { .. } => Self::Passing(error.into()),
            WireError::Tls { .. }
            | WireError::Refused { .. }
            | WireError::Unsupported { .. }
            | WireError::Malformed { .. } => Self::Lasting(error.into()),
        }
    }
}

impl From<Setback> for LogError {
    fn from(setback: Setback) -> Self {
        match setback {
            Setback::Passing(error) | Setback::Lasting(error) => error,
        }
    }
}

/// The time that is left for further attempts.
#[derive(Debug)]
pub(in crate::kafka) struct Patience {
    until: Instant,
    wait: Duration,
}

impl Patience {
    /// No attempt begins later than that from now.
    pub(in crate::kafka) fn new(deadline: Duration) -> Self {
        Self { until: Instant::now() + deadline, wait: FIRST_WAIT }
    }

    /// Begins the time anew, for whoever was told to wait and has not failed.
    pub(in crate::kafka) fn renew(&mut self, deadline: Duration) {
        self.until = Instant::now() + deadline;
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    /// That of the last attempt, when another is of no use or would come too late.
    pub(in crate::kafka) async fn after(&mut self, setback: Setback) -> Result<(), LogError> {
        match setback {
            Setback::Passing(error) => {
                let next = Instant::now() + self.wait;
                if next >= self.until {
                    return Err(error);
                }
                sleep_until(next).await;
                self.wait = LONGEST_WAIT.min(self.wait * 2);
                Ok(())
            }
            Setback::Lasting(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved() -> Setback {
        Setback::answered(ResponseError::NotLeaderOrFollower, "could not read")
    }

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_tried_again_until_the_deadline() {
        let started = Instant::now();
        let mut patience = Patience::new(Duration::from_millis(100));
        let mut attempts = 1;
        let error = loop {
            match patience.after(moved()).await {
                Ok(()) => attempts += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(error, LogError::Failed("could not read: NotLeaderOrFollower".to_owned()));
        // At 0, 20 and 60 ms.
        assert_eq!(attempts, 3);
        assert!(started.elapsed() < Duration::from_millis(100));
    }

    #[tokio::test]
    async fn what_lasts_is_not_tried_again() {
        let mut patience = Patience::new(Duration::from_secs(60));
        let refused = Setback::answered(ResponseError::InvalidConfig, "could not create topic t");
        let error = LogError::Failed("could not create topic t: InvalidConfig".to_owned());
        assert_eq!(refused, Setback::Lasting(error.clone()));
        assert_eq!(patience.after(refused).await, Err(error));
    }
}
