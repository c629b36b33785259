//! How everything stands: per Broker, per Trigger over all partitions of this process, per outlet.

use std::collections::BTreeMap;

use serde::Serialize;
use trigon_core::name::{BrokerId, TopicName, TriggerId};
use trigon_core::record::Timestamp;
use trigon_eventlog::Extent;

use crate::dispatcher::Shared;
use crate::outlet::OutletStatus;
use crate::partition::{LanePhase, LaneStatus};

/// How a dispatcher stands.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Whether it routes by the current table, with every Trigger's starting place committed.
    pub ready: bool,
    /// Attempts that are being sent.
    pub in_flight: usize,
    /// By name.
    pub brokers: Vec<BrokerStatus>,
    /// By origin.
    pub outlets: Vec<OutletStatus>,
}

/// How a Broker stands, as far as this process dispatches it.
#[derive(Clone, Debug, Serialize)]
pub struct BrokerStatus {
    /// `namespace/name`
    pub broker: String,
    /// Its partitions that this process dispatches.
    pub partitions: Vec<PartitionStatus>,
    /// By name.
    pub triggers: Vec<TriggerStatus>,
    /// Parked events that have not been sent again, by Trigger, those before a restart included. As old as
    /// [`COUNT_INTERVAL`](crate::parked::COUNT_INTERVAL) at most.
    pub waiting: BTreeMap<String, u64>,
}

/// The offsets of a partition.
#[derive(Clone, Debug, Serialize)]
pub struct PartitionStatus {
    /// Its number.
    pub partition: u32,
    /// The oldest offset that is still there.
    pub start: u64,
    /// The offset of the next event.
    pub end: u64,
    /// What it waits for without progress for [`STALL_AFTER`](crate::STALL_AFTER).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stalled: Option<String>,
}

/// What a Trigger has missed in a partition since that was assigned to this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// Why, the last time.
    pub cause: GapCause,
    /// Offsets that were missed, all times together.
    pub offsets: u64,
    /// The first offset that was missed, the last time.
    pub from: u64,
    /// The first offset after it that was not.
    pub to: u64,
    /// When it was noticed, the last time.
    pub noticed: Timestamp,
}

/// Why a Trigger has missed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GapCause {
    /// Retention removed it before the Trigger got there: the Trigger goes on with the oldest event that is left.
    Retention,
    /// The Trigger stood beyond the end of the log, which has lost its last records, or somebody has set it there. It
    /// goes on at the end; how many events took the place of the lost ones before that is not known.
    BeyondEnd,
}

/// How a Trigger stands, over all partitions that this process dispatches.
#[derive(Clone, Debug, Serialize)]
pub struct TriggerStatus {
    /// `namespace/name`
    pub trigger: String,
    /// The sum over the partitions.
    #[serde(flatten)]
    pub total: Standing,
    /// Each partition.
    pub partitions: Vec<TriggerPartition>,
}

/// How a Trigger stands in one partition.
#[derive(Clone, Debug, Serialize)]
pub struct TriggerPartition {
    /// Its number.
    pub partition: u32,
    /// Everything below is finished.
    pub watermark: u64,
    /// Everything from here on has not been looked at.
    pub position: u64,
    /// The offset of the next event.
    pub end: u64,
    /// What the lane is doing.
    pub phase: Phase,
    /// What the Trigger has missed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<Gap>,
    /// The figures.
    #[serde(flatten)]
    pub standing: Standing,
}

/// The figures of a Trigger.
///
/// `matched = delivered + dead_lettered + parked + queued + in_flight + retrying` at any time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// Offsets from the watermark to the end, as Kafka's tools count it.
    pub lag: u64,
    /// Events that wait for their turn.
    pub queued: usize,
    /// Events that are being sent.
    pub in_flight: usize,
    /// Events that wait for their next attempt.
    pub retrying: usize,
    /// Bytes of the events that are held.
    pub bytes: usize,
    /// When the oldest unfinished event was accepted that the Trigger holds or had no room for.
    pub oldest: Option<Timestamp>,
    /// Events that the filter let through since the partition was assigned; so all that follow.
    pub matched: u64,
    /// Events that the subscriber took.
    pub delivered: u64,
    /// Events that the dead letter sink took.
    pub dead_lettered: u64,
    /// Events that went to the parked topic.
    pub parked: u64,
    /// Attempts that ended.
    pub attempts: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Offsets that retention removed before the Trigger got there.
    pub overtaken: u64,
}

/// What a lane is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Its cursor is being read.
    Loading,
    /// It reads.
    Reading,
    /// It is full, or waits for a scan to come by.
    Behind,
    /// It is paused.
    Paused,
}

impl Status {
    pub(crate) fn of(shared: &Shared, ready: bool) -> Self {
        let mut brokers: BTreeMap<(BrokerId, TopicName), (Vec<PartitionStatus>, Triggers)> = BTreeMap::new();
        for seat in shared.seats() {
            let extent = seat.extent();
            let broker = (seat.broker.clone(), seat.parked_topic.clone());
            let (partitions, triggers) = brokers.entry(broker).or_default();
            let partition = seat.at.partition.0;
            let (start, end) = (extent.start.0, extent.end.0);
            partitions.push(PartitionStatus { partition, start, end, stalled: seat.stall() });
            for lane in seat.lanes() {
                triggers.entry(lane.trigger.id.clone()).or_default().push(in_partition(
                    &lane,
                    partition,
                    extent,
                    seat.gap(&lane.trigger.id),
                ));
            }
        }
        let brokers = brokers
            .into_iter()
            .map(|((broker, parked_topic), (partitions, triggers))| BrokerStatus {
                waiting: waiting(shared, &parked_topic),
                broker: broker.to_string(),
                partitions,
                triggers: triggers
                    .into_iter()
                    .map(|(trigger, all)| TriggerStatus::of(&trigger, all))
                    .collect(),
            })
            .collect();
        let outlets = shared.outbound.status();
        Self { ready, in_flight: shared.outbound.in_flight(), brokers, outlets }
    }

    /// How one Trigger stands, if this process dispatches any of it.
    pub fn trigger(&self, id: &TriggerId) -> Option<&TriggerStatus> {
        let id = id.to_string();
        self.brokers.iter().flat_map(|broker| &broker.triggers).find(|trigger| trigger.trigger == id)
    }
}

type Triggers = BTreeMap<TriggerId, Vec<TriggerPartition>>;

impl TriggerStatus {
    fn of(trigger: &TriggerId, partitions: Vec<TriggerPartition>) -> Self {
        let mut total = Standing::default();
        for partition in &partitions {
            total.add(&partition.standing);
        }
        Self { trigger: trigger.to_string(), total, partitions }
    }
}

impl Standing {
    /// Whether it says anything.
    pub(crate) fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    fn add(&mut self, other: &Self) {
        self.lag += other.lag;
        self.queued += other.queued;
        self.in_flight += other.in_flight;
        self.retrying += other.retrying;
        self.bytes += other.bytes;
        self.oldest = self.oldest.into_iter().chain(other.oldest).min();
        self.matched += other.matched;
        self.delivered += other.delivered;
        self.dead_lettered += other.dead_lettered;
        self.parked += other.parked;
        self.attempts += other.attempts;
        self.failures += other.failures;
        self.overtaken += other.overtaken;
    }
}

fn waiting(shared: &Shared, parked_topic: &TopicName) -> BTreeMap<String, u64> {
    let counts = shared.parked.last_counts(parked_topic);
    counts.into_iter().map(|(trigger, count)| (trigger.to_string(), count)).collect()
}

fn in_partition(lane: &LaneStatus, partition: u32, extent: Extent, gap: Option<Gap>) -> TriggerPartition {
    let counts = lane.counts;
    // The extent may be older than the lane.
    let end = extent.end.max(lane.position);
    TriggerPartition {
        partition,
        watermark: lane.watermark.0,
        position: lane.position.0,
        end: end.0,
        gap,
        phase: match lane.phase {
            LanePhase::Loading => Phase::Loading,
            LanePhase::Reading => Phase::Reading,
            LanePhase::Behind => Phase::Behind,
            LanePhase::Paused => Phase::Paused,
        },
        standing: Standing {
            // A lane whose cursor is not loaded does not know its watermark.
            lag: if lane.phase == LanePhase::Loading { 0 } else { end.0.saturating_sub(lane.watermark.0) },
            queued: lane.queued,
            in_flight: lane.in_flight,
            retrying: lane.retrying,
            bytes: lane.bytes,
            oldest: lane.oldest,
            matched: counts.matched,
            delivered: counts.delivered,
            dead_lettered: counts.dead_lettered,
            parked: counts.parked,
            attempts: counts.attempts,
            failures: counts.failures,
            overtaken: counts.overtaken,
        },
    }
}
