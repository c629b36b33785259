//! The bounds of the ingress, with their defaults.

use std::time::Duration;

/// What the ingress takes before it refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IngressSettings {
    /// How large a body may be, in bytes, before and after it is inflated; a larger one is answered 413. So is a
    /// batch whose events would store more than this of the request's headers, all copies counted.
    /// Default 1 MiB, below the `message.max.bytes` of a Kafka broker (IN-21).
    pub max_body_bytes: usize,
    /// How many requests may be in flight; more are answered 429. Default 4 096.
    pub max_requests_in_flight: usize,
    /// How many bytes of bodies may be in flight, in bytes; more are answered 429. Default 256 MiB. A body of
    /// unknown length, chunked or compressed, counts as the largest allowed until it is read.
    pub max_bytes_in_flight: usize,
    /// How many events a batch may hold; a larger one is answered 413. Default 1 000.
    pub max_batch_events: usize,
    /// How long a body may take to arrive before it is answered 408. Default 30 s.
    pub body_timeout: Duration,
    /// Who may register as a sender by OPTIONS. Default everyone.
    pub webhook_consent: WebhookConsent,
}

/// Who may register as a sender by OPTIONS, as the CloudEvents web hook specification has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WebhookConsent {
    /// Any origin, at any rate.
    #[default]
    Everyone,
    /// Nobody: OPTIONS is answered 405.
    Nobody,
}

impl Default for IngressSettings {
    fn default() -> Self {
        Self {
            max_body_bytes: 1024 * 1024,
            max_requests_in_flight: 4096,
            max_bytes_in_flight: 256 * 1024 * 1024,
            max_batch_events: 1000,
            body_timeout: Duration::from_secs(30),
            webhook_consent: WebhookConsent::Everyone,
        }
    }
}
