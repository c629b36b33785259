//! What became of the events that `trigon send` sent: counts by outcome, and how long acceptance took.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use hdrhistogram::Histogram;
use http::StatusCode;

use crate::client::{Refusal, Unreachable};
use crate::terminal::{BAD, GOOD, styled};

/// What became of one event.
pub(super) enum Outcome {
    /// The server has it.
    Accepted {
        /// The server's answer.
        status: StatusCode,
        /// How long the answer took.
        latency: Duration,
    },
    /// The server answered that it does not take it.
    Refused(Refusal),
    /// There was no answer.
    Unreachable(Unreachable),
}

/// The outcomes of many events.
pub(super) struct Tally {
    microseconds: Histogram<u64>,
    // Reasons differ from event to event; the first one stands for all of a kind, so the map stays small.
    refused: BTreeMap<u16, Kind>,
    unreachable: Option<Kind>,
}

struct Kind {
    count: u64,
    first: String,
}

/// The longest latency that is told apart from longer ones.
const MAX_LATENCY: Duration = Duration::from_secs(3_600);

impl Default for Tally {
    fn default() -> Self {
        let most = u64::try_from(MAX_LATENCY.as_micros()).unwrap_or(u64::MAX);
        let microseconds =
            Histogram::new_with_bounds(1, most, 3).expect("1 < the maximum, and 3 digits are few");
        Self { microseconds, refused: BTreeMap::new(), unreachable: None }
    }
}

impl Tally {
    /// Adds an outcome.
    pub(super) fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Accepted { latency, .. } => {
                self.microseconds.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
            }
            Outcome::Refused(refusal) => {
                let kind = Kind { count: 0, first: refusal.to_string() };
                self.refused.entry(refusal.status.as_u16()).or_insert(kind).count += 1;
            }
            Outcome::Unreachable(unreachable) => {
                self.unreachable
                    .get_or_insert_with(|| Kind { count: 0, first: unreachable.to_string() })
                    .count += 1;
            }
        }
    }

    /// How many events were accepted.
    pub(super) fn accepted(&self) -> u64 {
        self.microseconds.len()
    }

    /// How many events have an outcome.
    fn total(&self) -> u64 {
        let refused: u64 = self.refused.values().map(|kind| kind.count).sum();
        self.accepted() + refused + self.unreachable.as_ref().map_or(0, |kind| kind.count)
    }

    /// One line, while it goes on.
    pub(super) fn progress(&self, of: u64, elapsed: Duration) -> String {
        let failed = self.total() - self.accepted();
        let failed = if failed == 0 {
            String::new()
        } else {
            format!(", {}", styled(BAD, format_args!("{failed} failed")))
        };
        format!("{} of {of}, {:.0}/s{failed}", self.total(), self.rate(elapsed))
    }

    /// Several lines, at the end.
    pub(super) fn summary(&self, elapsed: Duration) -> String {
        let mut text = format!(
            "{} {} of {} events in {:.2} s, {:.0}/s\n",
            styled(if self.accepted() == self.total() { GOOD } else { BAD }, "accepted"),
            self.accepted(),
            self.total(),
            elapsed.as_secs_f64(),
            self.rate(elapsed)
        );
        for kind in self.refused.values().chain(&self.unreachable) {
            writeln!(text, "{}  {} × {}", styled(BAD, "failed"), kind.count, kind.first)
                .expect("a String takes every text");
        }
        if self.accepted() > 0 {
            writeln!(text, "latency  p50 {}, p99 {}, max {}", self.at(0.50), self.at(0.99), self.at(1.0))
                .expect("a String takes every text");
        }
        text
    }

    fn at(&self, quantile: f64) -> String {
        let latency = Duration::from_micros(self.microseconds.value_at_quantile(quantile));
        format!("{:.1} ms", latency.as_secs_f64() * 1_000.0)
    }

    fn rate(&self, elapsed: Duration) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a figure to be read by people")]
        let total = self.total() as f64;
        if elapsed.is_zero() { 0.0 } else { total / elapsed.as_secs_f64() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: StatusCode, reason: &str) -> Outcome {
        Outcome::Refused(Refusal { status, reason: reason.to_owned() })
    }

    #[test]
    fn the_summary_counts_each_kind_of_outcome_and_shows_its_first_reason() {
        let mut tally = Tally::default();
        for milliseconds in [1, 1, 9] {
            let latency = Duration::from_millis(milliseconds);
            tally.count(Outcome::Accepted { status: StatusCode::ACCEPTED, latency });
        }
        tally.count(refused(StatusCode::SERVICE_UNAVAILABLE, "the log is full"));
        tally.count(refused(StatusCode::SERVICE_UNAVAILABLE, "still full"));
        tally.count(refused(StatusCode::PAYLOAD_TOO_LARGE, ""));
        let (authority, reason) = ("a:1".to_owned(), "connection refused".to_owned());
        tally.count(Outcome::Unreachable(Unreachable { authority, reason }));
        let text = anstream::adapter::strip_str(&tally.summary(Duration::from_secs(2))).to_string();
        assert_eq!(
            text,
            "accepted 3 of 7 events in 2.00 s, 4/s\n\
             failed  1 × 413 Payload Too Large\n\
             failed  2 × 503 Service Unavailable: the log is full\n\
             failed  1 × could not reach a:1: connection refused\n\
             latency  p50 1.0 ms, p99 9.0 ms, max 9.0 ms\n"
        );
    }

    #[test]
    fn progress_shows_failures_only_when_there_are_some() {
        let mut tally = Tally::default();
        tally.count(Outcome::Accepted { status: StatusCode::ACCEPTED, latency: Duration::from_millis(1) });
        assert_eq!(tally.progress(9, Duration::from_secs(1)), "1 of 9, 1/s");
        tally.count(refused(StatusCode::NOT_FOUND, ""));
        let line = anstream::adapter::strip_str(&tally.progress(9, Duration::from_secs(1))).to_string();
        assert_eq!(line, "2 of 9, 2/s, 1 failed");
    }
}
