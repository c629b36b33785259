//! What the admin port says in JSON, and what the tools read of it.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use trigon_core::delivery::Order;
use trigon_core::name::{BrokerId, TopicPartition};
use trigon_core::routing::{Broker, Trigger, TriggerState};
use trigon_crds::Problem;
use trigon_dispatcher::Dispatcher;
use trigon_dispatcher::status::{
    Gap, GapCause, PartitionStatus, Phase, Status, TriggerPartition, TriggerStatus,
};
use trigon_eventlog::{Extent, LogError, TopicDescription};

use super::Admin;
use crate::routes::{RoutesStatus, Source, Trouble};
use crate::shown;

/// A Broker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct BrokerView {
    /// `namespace/name`
    pub(crate) broker: String,
    /// Where it takes events, as far as the process that was asked knows.
    #[serde(default)]
    pub(crate) url: Option<String>,
    /// Why it takes no events yet; none when it does.
    #[serde(default)]
    pub(crate) waiting: Option<String>,
    /// How many Triggers it has.
    pub(crate) triggers: usize,
    /// How many partitions its topic has.
    pub(crate) partitions: u32,
    /// How many events its topic holds now, delivered ones included.
    pub(crate) events: u64,
    /// What its topic takes on disk, in bytes, where the log can tell.
    pub(crate) bytes: Option<u64>,
    /// The partitions that the process which was asked dispatches and cannot get on with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) stalled: Vec<StallView>,
}

/// A partition that does not get on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StallView {
    /// The partition.
    pub(crate) partition: u32,
    /// What it waits for.
    pub(crate) reason: String,
}

/// A Trigger.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct TriggerView {
    /// `namespace/name`
    pub(crate) trigger: String,
    /// The `namespace/name` of its Broker.
    pub(crate) broker: String,
    /// Which events it wants, in words.
    pub(crate) filter: String,
    /// Where it sends them.
    pub(crate) subscriber: String,
    /// Where those go that the subscriber does not take; they are parked where there is none.
    pub(crate) dead_letter_sink: Option<String>,
    /// `unordered`, `partition` or `key`
    pub(crate) order: String,
    /// `active`, `behind`, `paused`, `starting`, or `elsewhere` when other dispatchers have all partitions
    pub(crate) state: String,
    /// Events between what is finished and the newest, matching or not.
    pub(crate) lag: u64,
    /// Events that wait for their turn.
    pub(crate) queued: u64,
    /// Events that are being sent.
    pub(crate) in_flight: u64,
    /// Events that wait for their next attempt.
    pub(crate) retrying: u64,
    /// When the oldest unfinished event was accepted.
    pub(crate) oldest: Option<String>,
    /// Events that the filter let through since the start of the process; so all that follow.
    pub(crate) matched: u64,
    /// Events that the subscriber took.
    pub(crate) delivered: u64,
    /// Events that the dead letter sink took.
    pub(crate) dead_lettered: u64,
    /// Events that were parked.
    pub(crate) parked: u64,
    /// Parked events that have not been sent again, those from before the start of the process included.
    pub(crate) waiting: u64,
    /// Attempts that failed.
    pub(crate) failures: u64,
    /// Events that retention removed before the Trigger got there.
    #[serde(default)]
    pub(crate) overtaken: u64,
    /// Offsets that were missed for whatever reason, since the partitions were assigned.
    #[serde(default)]
    pub(crate) missed: u64,
    /// How many partitions its Broker's topic has.
    #[serde(default)]
    pub(crate) partitions: u32,
    /// Where it stands in each partition that this process dispatches.
    pub(crate) cursors: Vec<CursorView>,
}

/// Where a Trigger stands in a partition.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CursorView {
    /// The partition.
    pub(crate) partition: u32,
    /// Everything below is finished.
    pub(crate) watermark: u64,
    /// Everything from here on has not been looked at.
    pub(crate) position: u64,
    /// The offset of the next event.
    pub(crate) end: u64,
    /// What the Trigger has missed there since the partition was assigned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gap: Option<GapView>,
}

/// What a Trigger has missed in a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GapView {
    /// Why, the last time: `retention`, or `beyond_end` where the log has lost what the Trigger had reached.
    pub(crate) cause: String,
    /// Offsets that were missed, all times together.
    pub(crate) offsets: u64,
    /// The first offset that was missed, the last time.
    pub(crate) from: u64,
    /// The first offset after it that was not.
    pub(crate) to: u64,
    /// When it was noticed, the last time.
    pub(crate) noticed: String,
}

/// The routes in force.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RoutesView {
    /// The folder; `built-in` without one.
    pub(crate) source: String,
    /// Counts the tables that were put in force, from 1.
    pub(crate) generation: u64,
    /// When this one was.
    pub(crate) since: String,
    /// What keeps the files as they are now from being in force.
    pub(crate) problems: Vec<ProblemView>,
    /// Whether they are in force all the same, except for that.
    #[serde(default)]
    pub(crate) partly: bool,
}

/// Something that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProblemView {
    /// The file; empty when it concerns none.
    pub(crate) file: String,
    /// The line, from 1; 0 when it concerns the whole file.
    pub(crate) line: usize,
    /// The column, from 1.
    pub(crate) column: usize,
    /// The path of the field.
    pub(crate) field: String,
    /// What is wrong and what would be right.
    pub(crate) message: String,
}

/// A line of the feed: an event, a record that is none, or a gap.
///
/// One struct rather than an enum: a tag or a choice between variants would make serde copy the event into values
/// of its own, in which long numbers lose digits.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct FeedLine {
    /// `namespace/name`
    pub(crate) broker: String,
    /// The partition.
    pub(crate) partition: u32,
    /// The offset of the record; none for a gap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) offset: Option<u64>,
    /// When it was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) accepted: Option<String>,
    /// The only Trigger that gets it, when it was parked and is sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) only: Option<String>,
    /// The event, in the JSON format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) event: Option<Box<RawValue>>,
    /// Why the record is not an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) undecodable: Option<String>,
    /// Retention removed so many records before they were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) missed: Option<u64>,
}

/// A page of parked events.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct ParkedPage {
    /// Those parked last come first.
    pub(crate) events: Vec<ParkedView>,
    /// Where the next page of the same Broker begins.
    pub(crate) next: Option<u64>,
}

/// A parked event.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ParkedView {
    /// What it is asked for by: `namespace/broker/offset`, the offset being that among the parked events.
    pub(crate) id: String,
    /// The `namespace/name` of its Broker.
    pub(crate) broker: String,
    /// The `namespace/name` of the Trigger that it was parked for; none for a record that is not a CloudEvent.
    pub(crate) trigger: Option<String>,
    /// The partition in which it was accepted.
    pub(crate) partition: u32,
    /// Its offset there.
    pub(crate) offset: u64,
    /// When it was parked.
    pub(crate) parked_at: String,
    /// Why it could not be delivered.
    pub(crate) reason: String,
    /// The headers of a record that is not a CloudEvent, and its key as `key`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) headers: Vec<(String, String)>,
    /// It, in the JSON format, with the attributes that say why it failed.
    pub(crate) event: Box<RawValue>,
}

/// What became of an order to send parked events again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RedriveLine {
    /// Events that were sent again.
    pub(crate) sent: u64,
    /// Events whose Trigger is gone; they stay parked.
    pub(crate) orphaned: u64,
    /// Records that are no CloudEvents; they stay parked.
    #[serde(default)]
    pub(crate) undecodable: u64,
    /// Why it went no further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

impl Admin {
    /// All Brokers of the table in force.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(super) async fn brokers(&self) -> Result<Vec<BrokerView>, LogError> {
        let table = self.table.load_full();
        let status = self.dispatcher.as_ref().map(Dispatcher::status);
        let mut views = Vec::with_capacity(table.brokers.len());
        for broker in table.brokers.values() {
            let known = status.as_ref().map(|status| partitions(status, &broker.id)).unwrap_or_default();
            views.push(self.broker(broker, known).await?);
        }
        Ok(views)
    }

    async fn broker(&self, broker: &Broker, known: &[PartitionStatus]) -> Result<BrokerView, LogError> {
        let description = self.log.describe_topic(&broker.topic).await?;
        let held = self.held(broker, description.as_ref(), known).await;
        Ok(BrokerView {
            broker: broker.id.to_string(),
            url: self.ingress.as_ref().map(|ingress| broker_url(ingress, &broker.id)),
            waiting: self.serving.waiting(&broker.id),
            triggers: broker.triggers.len(),
            partitions: description.as_ref().map_or(0, |topic| topic.partitions),
            events: held.iter().map(|held| held.end.saturating_sub(held.start)).sum(),
            bytes: description.and_then(|topic| topic.bytes),
            stalled: known.iter().filter_map(StallView::of).collect(),
        })
    }

    /// All Triggers of the table in force.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(super) async fn triggers(&self, dispatcher: &Dispatcher) -> Result<Vec<TriggerView>, LogError> {
        let table = self.table.load_full();
        let status = dispatcher.status();
        let mut views = Vec::new();
        for broker in table.brokers.values() {
            // Asked for after the status, so that a lag of 0 means that nothing accepted before is unfinished.
            let description = self.log.describe_topic(&broker.topic).await?;
            let held = self.held(broker, description.as_ref(), partitions(&status, &broker.id)).await;
            let ends: Vec<u64> = held.iter().map(|held| held.end).collect();
            views.extend(broker.triggers.iter().map(|trigger| TriggerView::of(trigger, &status, &ends)));
        }
        Ok(views)
    }

    /// The offsets of each partition of a Broker's topic.
    ///
    /// Those of a partition that cannot be asked for them now are as the dispatcher last saw them, so that one
    /// without a leader does not hide how all the others stand.
    async fn held(
        &self,
        broker: &Broker,
        description: Option<&TopicDescription>,
        known: &[PartitionStatus],
    ) -> Vec<Held> {
        let partitions = description.map(|topic| topic.partitions_of(&broker.topic)).unwrap_or_default();
        let answers = self.log.extents(&partitions).await;
        partitions.iter().zip(answers).map(|(at, answer)| Held::of(at, answer.ok(), known)).collect()
    }

    /// The routes in force.
    pub(super) fn routes(&self) -> RoutesView {
        RoutesView::of(&self.routes.borrow())
    }
}

/// The offsets of a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Held {
    start: u64,
    end: u64,
}

impl Held {
    fn of(at: &TopicPartition, answer: Option<Extent>, known: &[PartitionStatus]) -> Self {
        let known = known.iter().find(|known| known.partition == at.partition.0);
        match (answer, known) {
            (Some(extent), _) => Self { start: extent.start.0, end: extent.end.0 },
            (None, Some(known)) => Self { start: known.start, end: known.end },
            (None, None) => Self::default(),
        }
    }
}

impl fmt::Display for StallView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition {}: {}", self.partition, self.reason)
    }
}

impl StallView {
    fn of(status: &PartitionStatus) -> Option<Self> {
        Some(Self { partition: status.partition, reason: status.stalled.clone()? })
    }
}

/// The partitions of a Broker that the dispatcher has.
fn partitions<'a>(status: &'a Status, broker: &BrokerId) -> &'a [PartitionStatus] {
    let broker = broker.to_string();
    let found = status.brokers.iter().find(|known| known.broker == broker);
    found.map(|known| &*known.partitions).unwrap_or_default()
}

/// Where a Broker takes events.
pub(crate) fn broker_url(ingress: &str, broker: &BrokerId) -> String {
    format!("{ingress}/{}/{}", broker.namespace, broker.name)
}

impl TriggerView {
    fn of(trigger: &Trigger, status: &Status, ends: &[u64]) -> Self {
        let mut view = Self {
            trigger: trigger.id.to_string(),
            broker: trigger.broker.to_string(),
            filter: trigger.filter.to_string(),
            subscriber: trigger.subscriber.text.clone(),
            dead_letter_sink: trigger.delivery.dead_letter_sink.as_ref().map(|sink| sink.text.clone()),
            order: match trigger.order {
                Order::Unordered => "unordered",
                Order::Partition => "partition",
                Order::Key => "key",
            }
            .to_owned(),
            // Without a partition there is nothing to start.
            state: if status.ready { "elsewhere" } else { "starting" }.to_owned(),
            partitions: u32::try_from(ends.len()).unwrap_or(u32::MAX),
            ..Self::default()
        };
        if let Some(standing) = status.trigger(&trigger.id) {
            view.state = state(trigger, standing).to_owned();
            view.take(standing, ends);
        }
        let broker = status.brokers.iter().find(|broker| broker.broker == view.broker);
        view.waiting =
            broker.and_then(|broker| broker.waiting.get(&view.trigger)).copied().unwrap_or_default();
        view
    }

    fn take(&mut self, standing: &TriggerStatus, ends: &[u64]) {
        let total = &standing.total;
        self.queued = wide(total.queued);
        self.in_flight = wide(total.in_flight);
        self.retrying = wide(total.retrying);
        self.oldest = total.oldest.map(shown::rfc3339);
        self.matched = total.matched;
        self.delivered = total.delivered;
        self.dead_lettered = total.dead_lettered;
        self.parked = total.parked;
        self.failures = total.failures;
        self.overtaken = total.overtaken;
        self.cursors = standing.partitions.iter().map(|at| CursorView::of(at, ends)).collect();
        self.sum_up();
    }

    /// The figures that are sums over the cursors.
    pub(crate) fn sum_up(&mut self) {
        self.lag = self.cursors.iter().map(|cursor| cursor.end.saturating_sub(cursor.watermark)).sum();
        self.missed = self.cursors.iter().filter_map(|cursor| Some(cursor.gap.as_ref()?.offsets)).sum();
    }

    /// What it has missed, as a sentence; none when it has missed nothing.
    pub(crate) fn missed_words(&self) -> Option<String> {
        let in_partition = |cursor: &CursorView| {
            let GapView { cause, offsets, from, to, noticed } = cursor.gap.as_ref()?;
            let partition = cursor.partition;
            let why = match cause.as_str() {
                RETENTION => format!("retention removed {from} to {to} before they were delivered"),
                _ => {
                    format!("it stood at {to}, beyond the end of the log, which was at {from}")
                }
            };
            Some(format!("partition {partition}: {offsets} offsets missed, {why}, noticed {noticed}"))
        };
        let words: Vec<_> = self.cursors.iter().filter_map(in_partition).collect();
        (!words.is_empty()).then(|| words.join("; "))
    }
}

impl CursorView {
    fn of(at: &TriggerPartition, ends: &[u64]) -> Self {
        let end = usize::try_from(at.partition).ok().and_then(|partition| ends.get(partition));
        let end = end.copied().unwrap_or_default().max(at.end);
        let gap = at.gap.as_ref().map(GapView::of);
        Self { partition: at.partition, watermark: at.watermark, position: at.position, end, gap }
    }
}

const RETENTION: &str = "retention";
const BEYOND_END: &str = "beyond_end";

impl GapView {
    fn of(gap: &Gap) -> Self {
        let cause = match gap.cause {
            GapCause::Retention => RETENTION,
            GapCause::BeyondEnd => BEYOND_END,
        };
        let noticed = shown::rfc3339(gap.noticed);
        Self { cause: cause.to_owned(), offsets: gap.offsets, from: gap.from, to: gap.to, noticed }
    }
}

/// What a Trigger is doing: the least advanced of its partitions says it.
fn state(trigger: &Trigger, standing: &TriggerStatus) -> &'static str {
    let is_any = |phase: Phase| standing.partitions.iter().any(|partition| partition.phase == phase);
    if trigger.state == TriggerState::Paused {
        "paused"
    } else if is_any(Phase::Loading) {
        "starting"
    } else if is_any(Phase::Behind) {
        "behind"
    } else {
        "active"
    }
}

impl RoutesView {
    fn of(status: &RoutesStatus) -> Self {
        let problems = match &status.trouble {
            None => Vec::new(),
            Some(Trouble::Problems(problems)) => problems.iter().map(ProblemView::of).collect(),
            Some(Trouble::Failed(reason) | Trouble::Partly(reason)) => {
                vec![ProblemView::of_everything(reason)]
            }
        };
        let source = match &status.source {
            Source::Folder(folder) => folder.display().to_string(),
            Source::BuiltIn => "built-in".to_owned(),
        };
        let partly = matches!(status.trouble, Some(Trouble::Partly(_)));
        let since = shown::rfc3339(status.since);
        Self { source, generation: status.generation, since, problems, partly }
    }
}

impl ProblemView {
    /// The same in owned parts.
    pub(crate) fn of(problem: &Problem) -> Self {
        let Problem { file, line, column, field, message } = problem.clone();
        Self { file, line, column, field, message }
    }

    fn of_everything(reason: &str) -> Self {
        let message = reason.to_owned();
        Self { file: String::new(), line: 0, column: 0, field: String::new(), message }
    }
}

impl fmt::Display for ProblemView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
