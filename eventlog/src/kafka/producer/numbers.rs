//! Under whose numbers batches are sent: the idempotent producer's identity.

use std::time::Duration;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{InitProducerIdRequest, ProducerId as WireProducerId};
use tokio::time::Instant;

use super::verdict::NOT_IDEMPOTENT;
use crate::LogError;
use crate::kafka::records::ProducerId;
use crate::kafka::wire::{Cluster, Setback};

/// How soon Kafka is asked again: it remembers each producer for a day.
const PACE: Duration = Duration::from_millis(250);

/// What is known of our numbers. There are none at first, and Kafka is asked at once.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    current: Option<ProducerId>,
    is_asked: bool,
    /// Whether the last question has failed: it is repeated until it is answered, whoever wants numbers.
    has_failed: bool,
    /// When Kafka may be asked again.
    from: Option<Instant>,
}

impl Numbers {
    /// Under which batches may be sent.
    pub(super) fn current(&self) -> Option<ProducerId> {
        self.current
    }

    /// Whether Kafka has to be asked now, which is then taken for done.
    pub(super) fn must_ask(&mut self, now: Instant, wants_others: impl Fn(ProducerId) -> bool) -> bool {
        let may_ask = !self.is_asked && self.from.is_none_or(|from| from <= now);
        let must_ask = may_ask && (self.has_failed || self.current.is_none_or(wants_others));
        self.is_asked |= must_ask;
        must_ask
    }

    /// Kafka has given these.
    pub(super) fn are(&mut self, producer: ProducerId, now: Instant) {
        *self = Self { current: Some(producer), is_asked: false, has_failed: false, from: Some(now + PACE) };
    }

    /// Kafka has given none.
    pub(super) fn failed(&mut self, now: Instant) {
        *self = Self { is_asked: false, has_failed: true, from: Some(now + PACE), ..*self };
    }

    /// When Kafka may be asked again.
    pub(super) fn ask_from(&self, now: Instant) -> Option<Instant> {
        self.from.filter(|from| !self.is_asked && *from > now)
    }
}

/// Asks Kafka for numbers that nobody else has.
pub(super) async fn new_numbers(cluster: Cluster) -> Result<ProducerId, Setback> {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_transaction_timeout_ms(i32::MAX)
        .with_producer_id(WireProducerId(-1))
        .with_producer_epoch(-1);
    let answer = cluster.ask_any(&request).await?;
    match ResponseError::try_from_code(answer.error_code) {
        None => Ok(ProducerId { id: answer.producer_id.0, epoch: answer.producer_epoch }),
        Some(ResponseError::ClusterAuthorizationFailed) => {
            Err(Setback::Lasting(LogError::Failed(NOT_IDEMPOTENT.to_owned())))
        }
        Some(error) => Err(Setback::answered(error, "could not get a producer's number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_asked_for_until_they_are_there_and_again_when_they_are_spent() {
        let mut numbers = Numbers::default();
        let now = Instant::now();
        assert!(numbers.must_ask(now, |_| false));
        assert!(!numbers.must_ask(now, |_| false), "it is under way");
        numbers.failed(now);
        assert!(!numbers.must_ask(now, |_| false), "it is too soon");
        assert_eq!(numbers.ask_from(now), Some(now + PACE));
        assert!(numbers.must_ask(now + PACE, |_| false), "also when nobody wants any now");
        let first = ProducerId { id: 1, epoch: 0 };
        numbers.are(first, now);
        assert!(!numbers.must_ask(now, |producer| producer == first), "it is too soon");
        let now = now + PACE;
        assert_eq!(numbers.ask_from(now), None);
        assert!(!numbers.must_ask(now, |producer| producer != first));
        assert!(numbers.must_ask(now, |producer| producer == first));
        assert_eq!(numbers.current(), Some(first), "others may use them still");
        numbers.failed(now);
        assert!(numbers.must_ask(now + PACE, |_| false), "or nobody would know whether Kafka gives any");
    }
}
