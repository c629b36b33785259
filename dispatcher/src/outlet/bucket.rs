//! The rate of one Trigger: so many requests per second, with a small burst.

use std::time::{Duration, Instant};

/// A Trigger that was silent may send this much of a second's worth at once, and always one request.
pub const BURST: Duration = Duration::from_millis(100);

/// The longest interval between two requests, whatever the rate.
const INTERVAL_MAX: Duration = Duration::from_secs(60 * 60);

/// Spaces requests out. It remembers one instant: when the next request would be due at an even pace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    due: Instant,
}

impl Bucket {
    pub(super) fn new(now: Instant) -> Self {
        Self { due: now }
    }

    /// Takes leave for one request, or says when there is leave.
    pub(super) fn take(&mut self, now: Instant, rate: f64) -> Result<(), Instant> {
        let interval = interval(rate);
        let slack = BURST.saturating_sub(interval);
        // No later than this rate would have made it: an edit may have raised the rate.
        self.due = self.due.min(now + interval.max(BURST));
        if let Some(at) = self.due.checked_sub(slack)
            && at > now
        {
            return Err(at);
        }
        self.due = self.due.max(now) + interval;
        Ok(())
    }

    /// Whether it is as good as a new one.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.due <= now
    }
}

fn interval(rate: f64) -> Duration {
    Duration::try_from_secs_f64(1.0 / rate).map_or(INTERVAL_MAX, |interval| interval.min(INTERVAL_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_sees_more_than_the_rate_and_the_burst() {
        for rate in [0.5, 1.0, 7.0, 100.0, 5_000.0] {
            let start = Instant::now();
            let (mut bucket, mut now, mut taken) = (Bucket::new(start), start, 0_u32);
            while now < start + Duration::from_secs(10) {
                match bucket.take(now, rate) {
                    Ok(()) => taken += 1,
                    Err(at) => {
                        assert!(at > now);
                        now = at;
                    }
                }
            }
            let fair = rate * 10.0;
            let burst = (rate * BURST.as_secs_f64()).max(1.0);
            assert!(f64::from(taken) <= fair + burst + 1.0, "{taken} at {rate}");
            assert!(f64::from(taken) >= fair - 1.0, "{taken} at {rate}");
        }
    }

    #[test]
    fn a_rate_that_was_raised_holds_at_once() {
        let now = Instant::now();
        let mut bucket = Bucket::new(now);
        assert!(bucket.take(now, 0.001).is_ok());
        let again = bucket.take(now, 1_000.0).expect_err("the burst is used up");
        assert!(again <= now + BURST);
        assert!(bucket.take(again, 1_000.0).is_ok());
    }

    #[test]
    fn a_rate_of_nothing_is_a_request_per_hour_and_no_panic() {
        let now = Instant::now();
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let mut bucket = Bucket::new(now);
            assert!(bucket.take(now, rate).is_ok());
        }
    }
}
