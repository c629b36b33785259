//! What Kafka's answer means for a batch.

use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use trigon_core::name::{Offset, TopicName};

use super::append::{Cause, Fate};

/// What becomes of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All of it is stored, its first record there.
    Stored(Offset),
    /// The same is sent again: the cluster is changing, or too few of its brokers are there.
    Again(Fate, Arc<str>),
    /// Kafka refuses the batch for its size, or for one of its records: smaller ones may be taken.
    Split(Cause),
    /// Kafka does not know the numbers of our batches any more: others are needed.
    Renumber(Arc<str>),
    /// Waiting changes nothing.
    Failed(Cause, Fate),
}

impl Verdict {
    /// What an answer means for a batch of the topic.
    pub(super) fn of(topic: &TopicName, answer: &PartitionProduceResponse) -> Self {
        use ResponseError as Error;
        let Some(error) = ResponseError::try_from_code(answer.error_code) else {
            return match u64::try_from(answer.base_offset) {
                Ok(base) => Self::Stored(Offset(base)),
                Err(_) => {
                    Self::Failed(Cause::Refused("it is stored, and nobody knows where".into()), Fate::Unknown)
                }
            };
        };
        let told = || match answer.error_message.as_ref().filter(|message| !message.is_empty()) {
            Some(message) => Arc::from(format!("{error}: {message}")),
            None => Arc::from(error.to_string()),
        };
        match error {
            Error::MessageTooLarge | Error::RecordListTooLarge => Self::Split(Cause::TooLarge),
            Error::InvalidRecord | Error::InvalidTimestamp | Error::UnsupportedCompressionType => {
                Self::Split(Cause::Refused(told()))
            }
            Error::OutOfOrderSequenceNumber
            | Error::UnknownProducerId
            | Error::InvalidProducerEpoch
            | Error::InvalidProducerIdMapping
            | Error::ProducerFenced => Self::Renumber(told()),
            // Stored by an earlier attempt, so long ago that Kafka has forgotten where.
            Error::DuplicateSequenceNumber => Self::Failed(Cause::Refused(told()), Fate::Unknown),
            Error::TopicAuthorizationFailed => {
                let reason = format!("not authorised for the operations Describe and Write on topic {topic}");
                Self::Failed(Cause::Refused(reason.into()), Fate::NotStored)
            }
            Error::ClusterAuthorizationFailed => {
                Self::Failed(Cause::Refused(NOT_IDEMPOTENT.into()), Fate::NotStored)
            }
            // Said before anything is written.
            Error::NotEnoughReplicas
            | Error::UnknownTopicOrPartition
            | Error::UnknownTopicId
            | Error::ThrottlingQuotaExceeded => Self::Again(Fate::NotStored, told()),
            // The others may also be said of what waits for its followers already.
            error if error.is_retriable() => Self::Again(Fate::Unknown, told()),
            _ => Self::Failed(Cause::Refused(told()), Fate::Unknown),
        }
    }
}

/// Kafka does not let us number our batches.
pub(super) const NOT_IDEMPOTENT: &str =
    "not authorised for the operation Write on any topic, or IdempotentWrite on the cluster";

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(error: ResponseError) -> Verdict {
        let answer = PartitionProduceResponse::default().with_error_code(error.code()).with_base_offset(-1);
        Verdict::of(&TopicName::external("orders"), &answer)
    }

    #[test]
    fn what_was_stored_is_told_with_its_place() {
        let answer = PartitionProduceResponse::default().with_base_offset(42);
        assert_eq!(Verdict::of(&TopicName::external("orders"), &answer), Verdict::Stored(Offset(42)));
    }

    #[test]
    fn a_leader_that_steps_down_may_have_stored_it_and_too_few_replicas_have_not() {
        assert!(matches!(verdict(ResponseError::NotLeaderOrFollower), Verdict::Again(Fate::Unknown, _)));
        assert!(matches!(verdict(ResponseError::RequestTimedOut), Verdict::Again(Fate::Unknown, _)));
        assert!(matches!(
            verdict(ResponseError::NotEnoughReplicasAfterAppend),
            Verdict::Again(Fate::Unknown, _)
        ));
        assert!(matches!(verdict(ResponseError::NotEnoughReplicas), Verdict::Again(Fate::NotStored, _)));
    }

    #[test]
    fn what_is_not_allowed_says_which_right_is_missing() {
        let Verdict::Failed(Cause::Refused(reason), Fate::NotStored) =
            verdict(ResponseError::TopicAuthorizationFailed)
        else {
            panic!("it may be tried again");
        };
        assert_eq!(&*reason, "not authorised for the operations Describe and Write on topic orders");
    }

    #[test]
    fn one_record_must_not_refuse_its_neighbours() {
        assert_eq!(verdict(ResponseError::MessageTooLarge), Verdict::Split(Cause::TooLarge));
        assert!(matches!(verdict(ResponseError::InvalidRecord), Verdict::Split(Cause::Refused(_))));
    }
}
