//! What a failed append is to whoever asked for it.

use rdkafka::error::RDKafkaErrorCode;
use trigon_core::name::TopicName;

use super::batch::Failure;
use crate::AppendError;

/// An append that failed.
pub(super) struct Refusal<'a> {
    pub(super) failure: Failure,
    pub(super) topic: &'a TopicName,
    /// What the client knows of its own condition.
    pub(super) complaint: Option<String>,
}

impl Refusal<'_> {
    /// The error that says so; `None` when Kafka refused something for its size, and nothing was stored.
    pub(super) fn error(self) -> Option<AppendError> {
        let Failure { code, stored, doubtful, total } = self.failure;
        if stored + doubtful > 0 {
            let reason = self.reason();
            return Some(AppendError::Failed(format!(
                "of {total} records {stored} were stored and {doubtful} may have been: {reason}"
            )));
        }
        Some(match code {
            RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopicId
            | RDKafkaErrorCode::InvalidTopic
            // The partitions went with the topic.
            | RDKafkaErrorCode::UnknownPartition => AppendError::UnknownTopic(self.topic.clone()),
            RDKafkaErrorCode::MessageSizeTooLarge => return None,
            RDKafkaErrorCode::QueueFull => AppendError::Busy,
            _ => AppendError::Unavailable(self.reason()),
        })
    }

    fn reason(&self) -> String {
        let topic = self.topic;
        match (self.failure.code, &self.complaint) {
            (RDKafkaErrorCode::TopicAuthorizationFailed, _) => {
                format!("not authorised for the operations Describe and Write on topic {topic}")
            }
            (RDKafkaErrorCode::ClusterAuthorizationFailed, _) => {
                format!(
                    "not authorised for the operation Write on any topic, or IdempotentWrite on the cluster; topic {topic}"
                )
            }
            (RDKafkaErrorCode::MessageTimedOut, Some(complaint)) => {
                format!("topic {topic} took nothing within the append deadline: {complaint}")
            }
            (RDKafkaErrorCode::MessageTimedOut, None) => {
                format!("topic {topic} took nothing within the append deadline")
            }
            (
                RDKafkaErrorCode::Fatal | RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight,
                Some(complaint),
            ) => complaint.clone(),
            (code, _) => format!("topic {topic}: {code}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: RDKafkaErrorCode, stored: usize, doubtful: usize) -> Option<AppendError> {
        let failure = Failure { code, stored, doubtful, total: 3 };
        let topic = TopicName::external("orders");
        let complaint = Some("kafka:9092: Connection refused".to_owned());
        Refusal { failure, topic: &topic, complaint }.error()
    }

    #[test]
    fn what_was_certainly_not_stored_may_be_sent_again() {
        let topic = TopicName::external("orders");
        let unavailable = |reason: &str| Some(AppendError::Unavailable(reason.to_owned()));
        for code in [RDKafkaErrorCode::UnknownTopic, RDKafkaErrorCode::UnknownTopicOrPartition] {
            assert_eq!(error(code, 0, 0), Some(AppendError::UnknownTopic(topic.clone())));
        }
        assert_eq!(error(RDKafkaErrorCode::MessageSizeTooLarge, 0, 0), None);
        assert_eq!(error(RDKafkaErrorCode::QueueFull, 0, 0), Some(AppendError::Busy));
        assert_eq!(
            error(RDKafkaErrorCode::MessageTimedOut, 0, 0),
            unavailable(
                "topic orders took nothing within the append deadline: kafka:9092: Connection refused"
            )
        );
        assert_eq!(
            error(RDKafkaErrorCode::TopicAuthorizationFailed, 0, 0),
            unavailable("not authorised for the operations Describe and Write on topic orders")
        );
    }

    #[test]
    fn what_may_be_stored_is_said_to_be_in_doubt_whatever_went_wrong() {
        for (stored, doubtful) in [(1, 0), (0, 1)] {
            let error = error(RDKafkaErrorCode::UnknownTopic, stored, doubtful);
            assert!(matches!(error, Some(AppendError::Failed(_))), "{error:?}");
        }
    }
}
