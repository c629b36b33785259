//! Whether the Triggers of a routing table have their places: a cursor in every partition of their Broker's topic.
//!
//! Before that an event could be accepted in a partition in which a new Trigger starts behind it. So whoever accepts
//! events asks this first, and whoever delivers them makes it true.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{self, StreamExt};
use trigon_core::name::{BrokerId, GroupName, TopicName, TopicPartition, TriggerId};
use trigon_core::routing::{Broker, RoutingTable};

use crate::log::{EventLog, LogError, Place};

/// Brokers about which the log is asked at once.
const BROKERS_AT_ONCE: usize = 8;

/// Triggers of a Broker whose places are asked for at once: what a log holds of the answers is bounded by it.
const TRIGGERS_AT_ONCE: usize = 100;

/// Why the Triggers of a Broker do not all have their places.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unplaced {
    /// The Broker's topic does not exist, or not yet.
    #[error("topic {0} does not exist")]
    NoTopic(TopicName),
    /// No dispatcher has said yet where a Trigger starts.
    #[error("trigger {trigger} has no place in partition {} yet", .at.partition)]
    Trigger {
        /// The first such Trigger.
        trigger: TriggerId,
        /// Where it has no place.
        at: TopicPartition,
    },
    /// The log could not say.
    #[error("could not look the places up: {0}")]
    Log(#[from] LogError),
}

/// Asks the log whether every Trigger has a place in every partition, whoever dispatches it; one answer per Broker that
/// is not left out. Groups that are `known` to have their places are not asked about again.
///
/// Cancel safe: it only reads.
pub async fn places(
    log: &dyn EventLog,
    table: &RoutingTable,
    known: &HashSet<GroupName>,
    leave_out: &HashSet<BrokerId>,
) -> BTreeMap<BrokerId, Result<(), Unplaced>> {
    let mut answers: Vec<BoxFuture<'_, _>> = Vec::new();
    for broker in table.brokers.values() {
        if !leave_out.contains(&broker.id) {
            answers.push(async move { (broker.id.clone(), ask(log, broker, known).await) }.boxed());
        }
    }
    stream::iter(answers).buffer_unordered(BROKERS_AT_ONCE).collect().await
}

async fn ask(log: &dyn EventLog, broker: &Arc<Broker>, known: &HashSet<GroupName>) -> Result<(), Unplaced> {
    let description = log.describe_topic(&broker.topic).await?;
    let description = description.ok_or_else(|| Unplaced::NoTopic(broker.topic.clone()))?;
    let partitions = description.partitions_of(&broker.topic);
    let unknown: Vec<_> = broker.triggers.iter().filter(|trigger| !known.contains(&trigger.group)).collect();
    for triggers in unknown.chunks(TRIGGERS_AT_ONCE) {
        let (mut ids, mut places) = (Vec::new(), Vec::new());
        for trigger in triggers {
            for at in &partitions {
                ids.push(&trigger.id);
                places.push(Place { group: trigger.group.clone(), at: at.clone() });
            }
        }
        let found = log.load(&places).await;
        for ((found, trigger), place) in found.into_iter().zip(ids).zip(places) {
            if found?.is_none() {
                return Err(Unplaced::Trigger { trigger: trigger.clone(), at: place.at });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use trigon_core::cursor::Cursor;
    use trigon_core::delivery::{DeliveryPolicy, Destination, Format, Order, RetryAfter};
    use trigon_core::filter::Filter;
    use trigon_core::name::{Installation, Offset};
    use trigon_core::routing::{StartFrom, TopicSettings, Trigger, TriggerState};

    use super::*;
    use crate::log::Commit;
    use crate::{EmbeddedConfig, EmbeddedLog};

    fn broker(name: &str) -> Arc<Broker> {
        let (id, trigger) = (BrokerId::new("ns", name), TriggerId::new("ns", format!("of-{name}")));
        let trigger = Trigger {
            group: Installation::default().group(&id, &trigger),
            id: trigger,
            broker: id.clone(),
            filter: Filter::everything(),
            subscriber: Destination { text: "http://x/".into(), uri: None },
            delivery: DeliveryPolicy {
                retry: 0,
                backoff: None,
                timeout: std::time::Duration::from_secs(1),
                retry_after: RetryAfter::Ignore,
                format: Format::Binary,
                dead_letter_sink: None,
            },
            order: Order::Unordered,
            concurrency: 1,
            rate: None,
            start_from: StartFrom::Latest,
            state: TriggerState::Active,
        };
        let settings = TopicSettings { partitions: 2, ..TopicSettings::default() };
        Arc::new(Broker::new(&Installation::default(), id, settings, vec![Arc::new(trigger)]))
    }

    #[tokio::test]
    async fn each_broker_is_answered_for_itself() {
        let dir = tempfile::tempdir().unwrap();
        let log = EmbeddedLog::open(EmbeddedConfig::new(dir.path())).unwrap();
        let [absent, half, placed, known, left_out] =
            ["absent", "half", "placed", "known", "left-out"].map(broker);
        for broker in [&half, &placed, &known] {
            log.create_topic(&broker.topic, &broker.topic_settings).await.unwrap();
        }
        for (broker, partitions) in [(&half, 1), (&placed, 2)] {
            let all = log.describe_topic(&broker.topic).await.unwrap().unwrap().partitions_of(&broker.topic);
            let group = &broker.triggers[0].group;
            let commit = |at| Commit { group: group.clone(), at, cursor: Cursor::at(Offset(0)) };
            let results = log.commit(all.into_iter().take(partitions).map(commit).collect()).await;
            assert!(results.iter().all(Result::is_ok), "{results:?}");
        }
        let known_groups = HashSet::from([known.triggers[0].group.clone()]);
        let leave_out = HashSet::from([left_out.id.clone()]);
        let table = [&absent, &half, &placed, &known, &left_out];
        let table =
            RoutingTable { brokers: table.map(|broker| (broker.id.clone(), Arc::clone(broker))).into() };
        let answers = places(&log, &table, &known_groups, &leave_out).await;
        assert_eq!(answers[&absent.id], Err(Unplaced::NoTopic(absent.topic.clone())));
        let Err(Unplaced::Trigger { trigger, at }) = &answers[&half.id] else { panic!("{answers:?}") };
        assert_eq!((trigger, at.partition.0), (&half.triggers[0].id, 1));
        assert_eq!((&answers[&placed.id], &answers[&known.id]), (&Ok(()), &Ok(())));
        assert_eq!(answers.get(&left_out.id), None);
    }
}
