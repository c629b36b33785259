//! What a broker's answers about a group mean to us, and whether asking again is of use.

use kafka_protocol::error::ResponseError;
use trigon_core::name::{GroupName, TopicName};

use crate::LogError;
use crate::kafka::wire::{NodeId, Setback, WireError};

/// What a failed connection to the coordinator of a group is.
pub(super) fn unreached(group: &GroupName, error: &WireError) -> Setback {
    let text = LogError::Failed(format!("could not reach the coordinator of group {group}: {error}"));
    match Setback::from(error.clone()) {
        Setback::Passing(_) => Setback::Passing(text),
        Setback::Lasting(_) => Setback::Lasting(text),
    }
}

/// What a broker's answer is; `None` for no error.
pub(super) fn answer_to(asked: &Asked<'_>, code: i16) -> Option<Setback> {
    use ResponseError::{
        CoordinatorLoadInProgress, CoordinatorNotAvailable, GroupAuthorizationFailed, IllegalGeneration,
        NonEmptyGroup, NotCoordinator, RebalanceInProgress, RequestTimedOut, StaleMemberEpoch,
        TopicAuthorizationFailed, UnknownMemberId, UnknownTopicOrPartition,
    };
    let error = ResponseError::try_from_code(code)?;
    let Asked { doing, right, group, topic, node } = asked;
    let broker = node.0;
    Some(match (error, topic) {
        (UnknownTopicOrPartition, Some(topic)) => Setback::Lasting(LogError::UnknownTopic((*topic).clone())),
        (TopicAuthorizationFailed, Some(topic)) => Setback::Lasting(LogError::Failed(format!(
            "could not {doing} group {group} at broker {broker}: Read on topic {topic} is not allowed for us"
        ))),
        (GroupAuthorizationFailed, _) => Setback::Lasting(LogError::Failed(format!(
            "could not {doing} group {group} at broker {broker}: {right} on group {group} is not allowed for us"
        ))),
        (UnknownMemberId | IllegalGeneration | StaleMemberEpoch | RebalanceInProgress | NonEmptyGroup, _) => {
            Setback::Lasting(LogError::Failed(format!(
                "could not {doing} group {group} at broker {broker}: a consumer that is not trigon's has joined \
             the group; stop it or give it a group of its own, until then no progress is stored ({error})"
            )))
        }
        (CoordinatorLoadInProgress | CoordinatorNotAvailable | NotCoordinator | RequestTimedOut, _) => {
            Setback::Passing(LogError::Failed(format!(
                "could not {doing} group {group}: broker {broker} is not ready to coordinate it ({error})"
            )))
        }
        (error, _) => Setback::Lasting(LogError::Failed(format!(
            "could not {doing} group {group} at broker {broker}: {error}"
        ))),
    })
}

/// What a broker was asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// What for, as in `could not … group g`.
    pub(super) doing: &'static str,
    /// The operation on the group that has to be allowed, as Kafka calls it.
    pub(super) right: &'static str,
    /// The group.
    pub(super) group: &'a GroupName,
    /// The topic, where the answer is about one.
    pub(super) topic: Option<&'a TopicName>,
    /// The broker.
    pub(super) node: NodeId,
}

#[cfg(test)]
mod tests {
    use trigon_core::name::{BrokerId, Installation, TriggerId};

    use super::*;

    fn answer(code: i16) -> Option<Setback> {
        let group = Installation::default().group(&BrokerId::new("ns", "b"), &TriggerId::new("ns", "t"));
        let topic = TopicName::external("orders");
        let node = NodeId(3);
        let asked = Asked { doing: "commit to", right: "Read", group: &group, topic: Some(&topic), node };
        answer_to(&asked, code)
    }

    fn text(code: i16) -> String {
        LogError::from(answer(code).unwrap()).to_string()
    }

    #[test]
    fn no_error_is_no_trouble() {
        assert_eq!(answer(0), None);
    }

    #[test]
    fn what_is_not_allowed_is_named() {
        let refused = "could not commit to group trigon.ns.b.t at broker 3: ";
        assert_eq!(text(30), format!("{refused}Read on group trigon.ns.b.t is not allowed for us"));
        assert_eq!(text(29), format!("{refused}Read on topic orders is not allowed for us"));
    }

    #[test]
    fn a_consumer_in_a_triggers_group_is_told() {
        for code in [22, 25, 27, 68, 113] {
            assert!(matches!(answer(code), Some(Setback::Lasting(_))), "{code}");
            assert!(text(code).contains("a consumer that is not trigon's has joined the group"), "{code}");
        }
    }

    #[test]
    fn a_moving_coordinator_is_passing() {
        for code in [7, 14, 15, 16] {
            assert!(matches!(answer(code), Some(Setback::Passing(_))), "{code}");
        }
        assert!(matches!(answer(-1), Some(Setback::Lasting(_))));
    }

    #[test]
    fn an_unknown_topic_is_just_that() {
        let unknown = LogError::UnknownTopic(TopicName::external("orders"));
        assert_eq!(answer(3), Some(Setback::Lasting(unknown)));
    }
}
