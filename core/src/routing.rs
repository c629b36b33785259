//! The routing table: which Brokers there are, and which Triggers hang on them.
//!
//! An immutable snapshot, built as a whole and swapped as a whole, so that an edit never interrupts anything.
//! Where it comes from (YAML files, Kubernetes) is not known here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::delivery::{DeliveryPolicy, Destination, Order};
use crate::filter::{Filter, FilterIndex};
use crate::name::{BrokerId, GroupName, Installation, Named, TopicName, TriggerId};
use crate::record::Timestamp;

/// All Brokers at one moment.
#[derive(Clone, Debug, Default)]
pub struct RoutingTable {
    /// By name.
    pub brokers: BTreeMap<BrokerId, Arc<Broker>>,
}

/// A Broker and its Triggers.
#[derive(Debug)]
pub struct Broker {
    /// Its name; the ingress serves it under `/<namespace>/<name>`.
    pub id: BrokerId,
    /// Its name in one text, `namespace/name`, for labels of metrics.
    pub label: Arc<str>,
    /// Where its events are.
    pub topic: TopicName,
    /// Where the events are that no subscriber took.
    pub parked_topic: TopicName,
    /// How its topic is kept.
    pub topic_settings: TopicSettings,
    /// Its Triggers, by name. The filter index speaks of them by their place in this list.
    pub triggers: Vec<Arc<Trigger>>,
    /// The filters of all Triggers, compiled together.
    pub index: FilterIndex,
}

/// How a topic is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    /// How many partitions it is created with. Range 1 to 1 024.
    pub partitions: u32,
    /// Records older than this may be removed; `None` keeps them for ever.
    pub retention_age: Option<Duration>,
    /// When the topic is larger than this many bytes, the oldest records may be removed; `None` is no limit.
    pub retention_bytes: Option<u64>,
    /// On how many brokers of a Kafka cluster each record is kept; `None` leaves it to the cluster.
    pub replication_factor: Option<u16>,
    /// Further settings of a Kafka topic, as Kafka names them: `min.insync.replicas`.
    pub kafka: BTreeMap<String, String>,
    /// A topic that somebody else keeps: Trigon neither creates nor deletes it, and the other settings say nothing.
    pub external: Option<TopicName>,
}

/// How many partitions a topic has when its Broker does not say.
pub const DEFAULT_PARTITIONS: u32 = 4;

/// How long events are kept when the Broker does not say: seven days, as Kafka does.
pub const DEFAULT_RETENTION_AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

impl Default for TopicSettings {
    fn default() -> Self {
        Self {
            partitions: DEFAULT_PARTITIONS,
            retention_age: Some(DEFAULT_RETENTION_AGE),
            retention_bytes: None,
            replication_factor: None,
            kafka: BTreeMap::new(),
            external: None,
        }
    }
}

/// A Trigger, ready to route by.
#[derive(Debug, PartialEq)]
pub struct Trigger {
    /// Its name.
    pub id: TriggerId,
    /// The Broker whose events it filters.
    pub broker: BrokerId,
    /// Where its progress is kept.
    pub group: GroupName,
    /// Which events it wants.
    pub filter: Filter,
    /// Where it sends them.
    pub subscriber: Destination,
    /// How it sends them, the Broker's defaults and dead letter sink taken in.
    pub delivery: DeliveryPolicy,
    /// In which order it sends them.
    pub order: Order,
    /// How many requests may be in flight at once, per partition; 1 with [`Order::Partition`].
    pub concurrency: u32,
    /// At most this many requests per second, over all partitions; `None` is no limit.
    pub rate: Option<f64>,
    /// Where a Trigger without progress starts.
    pub start_from: StartFrom,
    /// Whether it delivers at all for now.
    pub state: TriggerState,
}

/// Requests in flight at once per Trigger and partition when the Trigger does not say.
pub const DEFAULT_CONCURRENCY: u32 = 100;

/// Where a Trigger without progress starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartFrom {
    /// With the next event that is accepted (CPT-13).
    #[default]
    Latest,
    /// With the oldest event that the log still has.
    Earliest,
    /// With the first event accepted at this time or later.
    Time(Timestamp),
}

/// Whether a Trigger delivers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TriggerState {
    /// It does.
    #[default]
    Active,
    /// `trigon.dev/paused`: it keeps its place and sends nothing.
    Paused,
}

impl Broker {
    /// Compiles the Triggers into the index; they are sorted by name first.
    pub fn new(
        installation: &Installation,
        id: BrokerId,
        topic_settings: TopicSettings,
        mut triggers: Vec<Arc<Trigger>>,
    ) -> Self {
        triggers.sort_by(|a, b| a.id.cmp(&b.id));
        let index = FilterIndex::new(triggers.iter().map(|trigger| &trigger.filter));
        Self {
            label: id.to_string().into(),
            topic: topic_settings.external.clone().unwrap_or_else(|| installation.topic(&id)),
            parked_topic: installation.parked_topic(&id),
            id,
            topic_settings,
            triggers,
            index,
        }
    }
}

impl RoutingTable {
    /// Looks a Broker up by the two parts of its name. Allocates nothing.
    pub fn broker(&self, namespace: &str, name: &str) -> Option<&Arc<Broker>> {
        self.brokers.get(&(namespace, name) as &dyn Named)
    }

    /// Looks a Trigger up, whatever its Broker.
    pub fn trigger(&self, id: &TriggerId) -> Option<(&Arc<Broker>, &Arc<Trigger>)> {
        self.brokers
            .values()
            .find_map(|broker| Some((broker, broker.triggers.iter().find(|trigger| trigger.id == *id)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_found_by_the_parts_of_its_name() {
        let ids = [("a", "b"), ("a", "bc"), ("ab", "a"), ("a-b", "a"), ("b", "a")]
            .map(|(a, b)| BrokerId::new(a, b));
        let brokers = ids.map(|id| {
            Arc::new(Broker::new(&Installation::default(), id, TopicSettings::default(), Vec::new()))
        });
        let table = RoutingTable { brokers: brokers.map(|broker| (broker.id.clone(), broker)).into() };
        for id in table.brokers.keys() {
            assert_eq!(table.broker(&id.namespace, &id.name).map(|found| &found.id), Some(id));
        }
        for (namespace, name) in [("a", "a"), ("a", ""), ("", "b"), ("ab", "bc"), ("c", "a")] {
            assert!(table.broker(namespace, name).is_none(), "{namespace}/{name}");
        }
    }
}
