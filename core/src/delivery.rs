//! What a delivery may do: how often it is tried, how long it waits, and what an answer means.

use std::time::Duration;

use bytes::Bytes;
use http::Uri;

/// The effective delivery of one Trigger: its own `spec.delivery`, or else its Broker's (DLV-25, X-02).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryPolicy {
    /// Attempts after the first one; 0 when absent (DLV-15).
    pub retry: u32,
    /// The waits between attempts; `None` retries at once (DLV-20).
    pub backoff: Option<Backoff>,
    /// The longest that one request may take.
    pub timeout: Duration,
    /// How a `Retry-After` on 429 and 503 is treated.
    pub retry_after: RetryAfter,
    /// The encoding of requests to the subscriber (DLV-03).
    pub format: Format,
    /// Where events go that the subscriber did not take.
    pub dead_letter_sink: Option<Destination>,
}

/// The longest that one request may take when `timeout` is absent.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

/// No backoff waits longer than this, whatever `retry` and `backoffDelay` say.
pub const MAX_BACKOFF: Duration = Duration::from_secs(60 * 60);

/// The longest `Retry-After` that is honoured when `retryAfterMax` is absent.
pub const DEFAULT_RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

/// Each wait is shortened by a random part of up to this share, so that retries do not come in waves.
pub const JITTER: f64 = 0.1;

/// How waits grow from one retry to the next (DLV-19, X-03).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The growth.
    pub policy: BackoffPolicy,
    /// The unit of growth.
    pub delay: Duration,
}

/// The growth of waits, for the n-th retry counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackoffPolicy {
    /// delay × n
    Linear,
    /// delay × 2ⁿ
    Exponential,
}

/// What to do with a `Retry-After` (DLV-23).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    /// Wait that long, but at most this.
    UpTo(Duration),
    /// `retryAfterMax: PT0S`.
    Ignore,
}

/// The encoding of a request to a subscriber.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Attributes in headers, data as the body.
    #[default]
    Binary,
    /// `application/cloudevents+json`.
    Json,
}

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// As it was configured, for `knativeerrordest` (DLS-04) and for people.
    pub text: String,
    /// As HTTP needs it; `None` for a scheme that cannot be delivered to, which is a transport error at every
    /// attempt and no reason to refuse the Trigger (RES-15).
    pub uri: Option<Uri>,
}

/// The order in which a Trigger's events are delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Order {
    /// As fast as the subscriber takes them.
    #[default]
    Unordered,
    /// One after the other within a partition; the next waits for the previous one's retries.
    Partition,
    /// One after the other within a `partitionkey`; other keys go on.
    Key,
}

/// Why an attempt did not deliver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// In words for people: `answered 503`, `connection refused`, `timed out after 30s`.
    pub reason: String,
    /// The HTTP status, when there was an answer.
    pub status: Option<u16>,
    /// The first [`MAX_ERROR_DATA`] bytes of the answer's body.
    pub body: Bytes,
    /// `kne-*` headers of the answer, by the attribute name that each becomes (DLS-08).
    pub extensions: Vec<(String, String)>,
    /// Whether another attempt may help.
    pub retry: Retry,
    /// What a `Retry-After` of the answer asks for.
    pub retry_after: Option<Duration>,
}

/// `knativeerrordata` holds at most this many bytes of the body before base64 (DLS-06, X-26).
pub const MAX_ERROR_DATA: usize = 1024;

/// Whether another attempt may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It may.
    Useful,
    /// The answer will not change.
    Useless,
}

/// What the status line of an answer means for the delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Delivered; the body may hold a reply.
    Delivered,
    /// Delivered, and a reply is not looked for: 202 (RPL-02, X-04).
    DeliveredWithoutReply,
    /// Not delivered.
    Failed(Retry),
}

/// Reads a status code by the table of the data-plane specification (DLV-08 to DLV-13).
pub fn verdict(status: u16) -> Verdict {
    match status {
        202 => Verdict::DeliveredWithoutReply,
        200..=299 => Verdict::Delivered,
        404 | 408 | 409 | 429 | 500.. => Verdict::Failed(Retry::Useful),
        _ => Verdict::Failed(Retry::Useless),
    }
}

impl DeliveryPolicy {
    /// The wait before the `n`-th retry, counted from 1, for a `jitter` between 0 and 1.
    pub fn wait(&self, n: u32, failure: &Failure, jitter: f64) -> Duration {
        let backoff = self.backoff.map_or(Duration::ZERO, |backoff| backoff.wait(n));
        let backoff = backoff.mul_f64(1.0 - JITTER * jitter.clamp(0.0, 1.0));
        match (self.retry_after, failure.status, failure.retry_after) {
            (RetryAfter::UpTo(most), Some(429 | 503), Some(asked)) => backoff.max(asked.min(most)),
            _ => backoff,
        }
    }
}

impl Backoff {
    /// The wait before the `n`-th retry, counted from 1, before jitter; at most [`MAX_BACKOFF`].
    pub fn wait(self, n: u32) -> Duration {
        let factor = match self.policy {
            BackoffPolicy::Linear => Some(n),
            BackoffPolicy::Exponential => 2_u32.checked_pow(n),
        };
        factor.and_then(|factor| self.delay.checked_mul(factor)).map_or(MAX_BACKOFF, |w| w.min(MAX_BACKOFF))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(backoff: Backoff) -> Vec<f64> {
        (1..=4).map(|n| backoff.wait(n).as_secs_f64()).collect()
    }

    /// DLV-19, DLV-21, X-03
    #[test]
    fn waits_follow_the_vectors_of_the_specification() {
        let delay = Duration::from_millis;
        let linear = Backoff { policy: BackoffPolicy::Linear, delay: delay(2_500) };
        assert_eq!(seconds(linear), [2.5, 5.0, 7.5, 10.0]);
        let exponential = Backoff { policy: BackoffPolicy::Exponential, delay: delay(1_500) };
        assert_eq!(seconds(exponential), [3.0, 6.0, 12.0, 24.0]);
        let exponential = Backoff { policy: BackoffPolicy::Exponential, delay: delay(500) };
        assert_eq!(seconds(exponential), [1.0, 2.0, 4.0, 8.0]);
    }

    #[test]
    fn a_wait_is_capped_and_never_overflows() {
        let backoff = Backoff { policy: BackoffPolicy::Exponential, delay: Duration::from_secs(1) };
        assert_eq!(backoff.wait(1_000), MAX_BACKOFF);
        let backoff = Backoff { policy: BackoffPolicy::Linear, delay: Duration::MAX };
        assert_eq!(backoff.wait(u32::MAX), MAX_BACKOFF);
    }

    fn policy(retry_after: RetryAfter) -> DeliveryPolicy {
        DeliveryPolicy {
            retry: 3,
            backoff: Some(Backoff { policy: BackoffPolicy::Linear, delay: Duration::from_secs(2) }),
            timeout: DEFAULT_TIMEOUT,
            retry_after,
            format: Format::Binary,
            dead_letter_sink: None,
        }
    }

    fn failure(status: u16, retry_after: u64) -> Failure {
        Failure {
            reason: format!("answered {status}"),
            status: Some(status),
            body: Bytes::new(),
            extensions: Vec::new(),
            retry: Retry::Useful,
            retry_after: Some(Duration::from_secs(retry_after)),
        }
    }

    /// DLV-23, DLV-24
    #[test]
    fn retry_after_lengthens_the_wait_on_429_and_503_only_and_up_to_its_cap() {
        let honoured = policy(RetryAfter::UpTo(Duration::from_secs(30)));
        for status in [429, 503] {
            assert_eq!(honoured.wait(1, &failure(status, 10), 0.0), Duration::from_secs(10));
            assert_eq!(honoured.wait(1, &failure(status, 1), 0.0), Duration::from_secs(2));
            assert_eq!(honoured.wait(1, &failure(status, 99), 0.0), Duration::from_secs(30));
        }
        assert_eq!(honoured.wait(1, &failure(500, 10), 0.0), Duration::from_secs(2));
        assert_eq!(policy(RetryAfter::Ignore).wait(1, &failure(503, 10), 0.0), Duration::from_secs(2));
    }

    #[test]
    fn jitter_only_shortens_and_by_a_tenth_at_most() {
        let policy = policy(RetryAfter::Ignore);
        let most = policy.wait(2, &failure(500, 0), 1.0);
        assert_eq!(most, Duration::from_millis(3_600));
        assert_eq!(policy.wait(2, &failure(500, 0), 0.0), Duration::from_secs(4));
    }

    /// DLV-08 to DLV-13, RPL-02, Appendix 5
    #[test]
    fn a_status_is_read_by_the_table_of_the_data_plane_specification() {
        for status in [200, 201, 204, 206, 299] {
            assert_eq!(verdict(status), Verdict::Delivered, "{status}");
        }
        assert_eq!(verdict(202), Verdict::DeliveredWithoutReply);
        for status in [404, 408, 409, 429, 500, 501, 502, 503, 504, 599, 600, 999] {
            assert_eq!(verdict(status), Verdict::Failed(Retry::Useful), "{status}");
        }
        for status in [100, 101, 300, 301, 302, 307, 308, 400, 401, 402, 403, 405, 406, 410, 413, 415, 422] {
            assert_eq!(verdict(status), Verdict::Failed(Retry::Useless), "{status}");
        }
    }
}
