//! Waiting for a condition, with a deadline and the last thing that was seen.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

/// How long a condition may take. Far longer than any should: only a hang gets there.
pub const DEADLINE: Duration = Duration::from_secs(60);

const INTERVAL: Duration = Duration::from_millis(10);

/// Waits until `probe` is `Ok`; its error says what is still missing, and ends up in the failure of the test.
///
/// # Panics
/// When that takes longer than [`DEADLINE`].
pub async fn until<T>(what: &str, probe: impl AsyncFnMut() -> Result<T, String>) -> T {
    within(DEADLINE, what, probe).await
}

/// The same with a deadline of its own.
///
/// # Panics
/// When the deadline passes.
pub async fn within<T>(
    deadline: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let end = Instant::now() + deadline;
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match probe().await {
            Ok(value) => return value,
            Err(missing) => {
                assert!(Instant::now() < end, "waited {deadline:?} for: {what}; last seen: {missing}");
            }
        }
    }
}
