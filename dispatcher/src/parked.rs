//! Parked events: those that neither the subscriber nor a dead letter sink took.
//!
//! They lie in a topic of their own per Broker, with one partition, in the order in which they were parked. Sending
//! one again appends it to the Broker's topic for its Trigger alone, and then marks it in the parked topic; a crash
//! between the two sends it twice and never loses it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use tokio::time::sleep;
use trigon_core::name::{Offset, PartitionId, TopicName, TopicPartition, TriggerId};
use trigon_core::routing::{Broker, RoutingTable};
use trigon_eventlog::{AppendError, LogError, SharedLog};

use crate::clock::Clock;
use crate::metrics::Metrics;

mod entry;
mod ledger;
mod lookup;
mod ranges;

use entry::{Entry, MARK_MAX, mark};
pub use entry::{ParkedEvent, UNDECODABLE};
pub(crate) use entry::{record, strip, undecodable};
use ledger::{Ledger, each};
pub use lookup::{Lookup, ParkedPlace};
use ranges::Ranges;

/// A page holds at most this many events.
pub const PAGE_MAX: usize = 1000;

/// For one page at most this many records are looked at; then the page ends where it is.
pub const PAGE_RECORDS: u64 = 100_000;

/// How often the counts are brought up to date.
pub const COUNT_INTERVAL: Duration = Duration::from_secs(5);

/// Reading backwards goes in steps of this many offsets.
const STEP: u64 = 512;

/// The parked events of an installation. Cloning shares it.
#[derive(Clone)]
pub struct Parked {
    shared: Arc<Shared>,
}

struct Shared {
    log: SharedLog,
    clock: Clock,
    metrics: Metrics,
    ledgers: tokio::sync::Mutex<BTreeMap<TopicName, Ledger>>,
    counts: Mutex<BTreeMap<TopicName, BTreeMap<TriggerId, u64>>>,
    /// One redrive at a time, so that no two send the same event.
    redriving: tokio::sync::Mutex<()>,
}

/// Which parked events are meant; what is `None` is not asked about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Those of this Trigger.
    pub trigger: Option<TriggerId>,
    /// Those whose event has this `id`.
    pub id: Option<String>,
    /// The one at this offset of the parked topic.
    pub offset: Option<Offset>,
}

/// In which order a list is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// What was parked last comes first.
    #[default]
    NewestFirst,
    /// What was parked first comes first.
    OldestFirst,
}

/// A part of a list.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The events.
    pub events: Vec<ParkedEvent>,
    /// Where the next page begins; `None` when this is the last one.
    pub next: Option<Offset>,
}

/// What a redrive has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Redriven {
    /// Events that were sent again.
    pub sent: u64,
    /// Events whose Trigger is not there any more; they stay parked.
    pub orphaned: u64,
    /// Records that are no CloudEvents and of no Trigger; they stay parked.
    pub undecodable: u64,
}

/// Why parked events could not be read or sent again.
#[derive(Debug, thiserror::Error)]
pub enum ParkedError {
    /// The parked topic cannot be read.
    #[error("could not read the parked events")]
    Read(#[from] LogError),
    /// The one event that was meant is a record that no Trigger has seen.
    #[error(
        "parked event {0} is a record that is not a CloudEvent: it belongs to no trigger, and cannot be sent again"
    )]
    NoTrigger(Offset),
    /// The event, or the mark that it was sent, could not be appended. What was sent before stays sent.
    #[error("could not send parked events again after {} were sent", .so_far.sent)]
    Append {
        /// What was done before.
        so_far: Redriven,
        /// Why it went no further.
        source: AppendError,
    },
}

impl Parked {
    pub(crate) fn new(log: SharedLog, clock: Clock, metrics: Metrics) -> Self {
        let shared = Shared {
            log,
            clock,
            metrics,
            ledgers: tokio::sync::Mutex::default(),
            counts: Mutex::default(),
            redriving: tokio::sync::Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// How many parked events of each Trigger have not been sent again.
    ///
    /// # Errors
    /// When the parked topic cannot be read.
    pub async fn counts(&self, broker: &Broker) -> Result<BTreeMap<TriggerId, u64>, ParkedError> {
        Ok(self.ledger(broker).await?.waiting().clone())
    }

    /// The counts as they were when somebody last asked for this topic.
    pub(crate) fn last_counts(&self, topic: &TopicName) -> BTreeMap<TriggerId, u64> {
        let counts = self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(topic).cloned().unwrap_or_default()
    }

    /// Keeps the counts of all Brokers up to date. Runs for ever.
    pub(crate) async fn run(self, routes: watch::Receiver<Arc<RoutingTable>>) {
        loop {
            let table = routes.borrow().clone();
            for broker in table.brokers.values() {
                // The topic may not be there yet, and a log that fails says so elsewhere.
                if let Err(error) = self.ledger(broker).await {
                    tracing::debug!(broker = %broker.id, %error, "parked events not counted");
                }
            }
            sleep(COUNT_INTERVAL).await;
        }
    }

    /// Lists parked events that have not been sent again. `from` is the [`Page::next`] of the page before.
    ///
    /// # Errors
    /// When the parked topic cannot be read.
    pub async fn list(
        &self,
        broker: &Broker,
        selection: &Selection,
        direction: Direction,
        from: Option<Offset>,
        limit: usize,
    ) -> Result<Page, ParkedError> {
        let ledger = self.ledger(broker).await?;
        let limit = limit.clamp(1, PAGE_MAX);
        match direction {
            Direction::OldestFirst => {
                let end = ledger.extent().end;
                self.forwards(broker, selection, &ledger, from.unwrap_or_default(), end, limit).await
            }
            Direction::NewestFirst => self.backwards(broker, selection, &ledger, from, limit).await,
        }
    }

    /// One parked event; `None` when there is none at this offset. One that was sent again is still shown.
    ///
    /// # Errors
    /// When the parked topic cannot be read.
    pub async fn show(&self, broker: &Broker, offset: Offset) -> Result<Option<ParkedEvent>, ParkedError> {
        let at = partition_of(&broker.parked_topic);
        let extent = self.shared.log.extent(&at).await?;
        let mut found = None;
        if offset >= extent.start && offset < extent.end {
            each(&self.shared.log, &at, offset..offset.next(), |offset, record| {
                if let Entry::Event(event) = Entry::read(offset, record) {
                    found = Some(*event);
                }
                ControlFlow::Break(())
            })
            .await?;
        }
        Ok(found)
    }

    /// Sends parked events again, oldest first, at most `rate` per second. Events that are parked meanwhile are
    /// left alone, so that it ends. Cancelling it leaves some sent and some not.
    ///
    /// # Errors
    /// When the log cannot be read or written.
    pub async fn redrive(
        &self,
        broker: &Broker,
        selection: &Selection,
        rate: Option<f64>,
    ) -> Result<Redriven, ParkedError> {
        let _alone = self.shared.redriving.lock().await;
        let ledger = self.ledger(broker).await?;
        let end = ledger.extent().end;
        let mut next = Some(Offset(0));
        let mut done = Redriven::default();
        while let Some(from) = next {
            let page = self.forwards(broker, selection, &ledger, from, end, batch_size(rate)).await?;
            let sent = self.send(broker, &page.events, &mut done).await?;
            next = page.next;
            if let Some(rate) = rate.filter(|_| sent > 0 && next.is_some()) {
                sleep(pace(sent, rate)).await;
            }
        }
        if let Some(offset) = selection.offset.filter(|_| done.undecodable > 0) {
            return Err(ParkedError::NoTrigger(offset));
        }
        Ok(done)
    }

    async fn send(
        &self,
        broker: &Broker,
        events: &[ParkedEvent],
        done: &mut Redriven,
    ) -> Result<u32, ParkedError> {
        let now = self.shared.clock.now();
        let mut sent = 0;
        let mut by_trigger: BTreeMap<&TriggerId, (Vec<_>, Ranges)> = BTreeMap::new();
        for event in events {
            let Some(trigger) = &event.trigger else {
                done.undecodable += 1;
                continue;
            };
            // Addressed to a Trigger that is gone, it would reach nobody and be lost.
            if !broker.triggers.iter().any(|known| known.id == *trigger) {
                done.orphaned += 1;
                continue;
            }
            let (records, offsets) = by_trigger.entry(trigger).or_default();
            records.push(event.again(trigger).encode(now));
            offsets.insert(event.offset);
        }
        for (trigger, (records, offsets)) in by_trigger {
            let count = u32::try_from(records.len()).unwrap_or(u32::MAX);
            let log = &self.shared.log;
            let so_far = *done;
            let failed = |source| ParkedError::Append { so_far, source };
            log.append(&broker.topic, records).await.map_err(failed)?;
            log.append(&broker.parked_topic, vec![mark(trigger, &offsets, now)]).await.map_err(failed)?;
            done.sent += u64::from(count);
            sent += count;
            self.shared.metrics.redriven.inc_by(u64::from(count));
        }
        Ok(sent)
    }

    async fn ledger(&self, broker: &Broker) -> Result<Ledger, ParkedError> {
        let topic = &broker.parked_topic;
        let mut ledgers = self.shared.ledgers.lock().await;
        let ledger = ledgers.entry(topic.clone()).or_default();
        ledger.follow(&self.shared.log, &partition_of(topic)).await?;
        let mut counts = self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.insert(topic.clone(), ledger.waiting().clone());
        Ok(ledger.clone())
    }

    async fn forwards(
        &self,
        broker: &Broker,
        selection: &Selection,
        ledger: &Ledger,
        from: Offset,
        end: Offset,
        limit: usize,
    ) -> Result<Page, ParkedError> {
        let start = from.max(ledger.extent().start);
        let stop = Offset(start.0.saturating_add(PAGE_RECORDS)).min(end);
        let mut page = Page { events: Vec::new(), next: (stop < end).then_some(stop) };
        each(&self.shared.log, &partition_of(&broker.parked_topic), start..stop, |offset, record| {
            if let Some(event) = selection.pick(ledger, offset, record) {
                page.events.push(event);
                if page.events.len() == limit {
                    page.next = (offset.next() < end).then_some(offset.next());
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })
        .await?;
        Ok(page)
    }

    async fn backwards(
        &self,
        broker: &Broker,
        selection: &Selection,
        ledger: &Ledger,
        from: Option<Offset>,
        limit: usize,
    ) -> Result<Page, ParkedError> {
        let at = partition_of(&broker.parked_topic);
        let extent = ledger.extent();
        // `from` is the offset after the newest one that is wanted.
        let mut end = from.unwrap_or(extent.end).min(extent.end);
        let last = Offset(end.0.saturating_sub(PAGE_RECORDS)).max(extent.start);
        let mut events = Vec::new();
        while end > last {
            let start = Offset(end.0.saturating_sub(STEP)).max(last);
            let mut step = Vec::new();
            each(&self.shared.log, &at, start..end, |offset, record| {
                step.extend(selection.pick(ledger, offset, record));
                ControlFlow::Continue(())
            })
            .await?;
            while let Some(event) = step.pop() {
                let offset = event.offset;
                events.push(event);
                if events.len() == limit {
                    return Ok(Page { events, next: (offset > extent.start).then_some(offset) });
                }
            }
            end = start;
        }
        Ok(Page { events, next: (end > extent.start).then_some(end) })
    }
}

impl Selection {
    fn pick(
        &self,
        ledger: &Ledger,
        offset: Offset,
        record: &trigon_core::record::Record,
    ) -> Option<ParkedEvent> {
        if self.offset.is_some_and(|wanted| wanted != offset) || ledger.is_redriven(offset) {
            return None;
        }
        let Entry::Event(event) = Entry::read(offset, record) else { return None };
        let is_wanted = self.trigger.as_ref().is_none_or(|trigger| Some(trigger) == event.trigger.as_ref())
            && self.id.as_ref().is_none_or(|id| id == event.envelope.event.id());
        is_wanted.then_some(*event)
    }
}

/// The partition of a parked topic.
fn partition_of(topic: &TopicName) -> TopicPartition {
    TopicPartition { topic: topic.clone(), partition: PartitionId(0) }
}

/// A tenth of a second's worth at a time, so that a rate is even.
fn batch_size(rate: Option<f64>) -> usize {
    let tenth = |rate: f64| (1..MARK_MAX).zip(1_u32..).find(|(_, size)| f64::from(*size) >= rate / 10.0);
    rate.and_then(tenth).map_or(MARK_MAX, |(size, _)| size)
}

fn pace(sent: u32, rate: f64) -> Duration {
    const PACE_MAX: Duration = Duration::from_secs(60);
    Duration::try_from_secs_f64(f64::from(sent) / rate).map_or(PACE_MAX, |pace| pace.min(PACE_MAX))
}
