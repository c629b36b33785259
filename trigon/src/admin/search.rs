//! Events of one id, looked for among the newest records of a topic.
//!
//! Reads backwards in steps of [`STEP`] offsets, so that what is not looked at, for one of the bounds, is the oldest;
//! how far it looked is part of the answer. Holds one batch per partition that is being read, and [`FOUND`] events,
//! these without their data.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::future::FutureExt;
use futures::stream::{self, StreamExt};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use trigon_core::binding::record::{Audience, Envelope};
use trigon_core::event::{Event, EventBuilder};
use trigon_core::name::{Offset, PartitionId, Position, TopicName, TopicPartition};
use trigon_core::record::{Record, Timestamp};
use trigon_eventlog::{Extent, LogError, SharedLog};

/// At most so many of the newest records are looked at, over all partitions.
pub(crate) const RECORDS: u64 = 200_000;

/// At most so many of the newest events that are found are told.
pub(crate) const FOUND: usize = 10;

/// It takes no longer.
const TIME: Duration = Duration::from_secs(20);

/// So many offsets of a partition are read in one go.
const STEP: u64 = 5_000;

/// How much of a partition is read at once.
const BATCH_BYTES: usize = 256 * 1024;

/// Partitions that are read at once.
const PARTITIONS: usize = 8;

/// Searches at once; others wait for them.
static SEARCHES: Semaphore = Semaphore::const_new(2);

/// Which events are looked for.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) id: String,
    /// Of any source when `None`.
    pub(super) source: Option<String>,
}

/// An event that was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) position: Position,
    pub(super) accepted: Timestamp,
    pub(super) audience: Audience,
    /// Without its data.
    pub(super) event: Event,
    /// How much data it has.
    pub(super) data: Option<usize>,
}

/// What a search has come to.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// Those accepted last come first.
    pub(super) found: Vec<Found>,
    /// How many more there were.
    pub(super) more: usize,
    /// By partition.
    pub(super) looked: Vec<Looked>,
}

/// Which records of a partition were looked at.
#[derive(Clone, Debug)]
pub(super) struct Looked {
    pub(super) partition: PartitionId,
    /// The first that was.
    pub(super) from: Offset,
    /// What the partition has.
    pub(super) extent: Extent,
    /// Why it went no further, other than because there were enough records.
    pub(super) trouble: Option<String>,
}

/// Looks for events in a topic, among the newest `records`, [`RECORDS`] for whoever asks.
///
/// # Errors
/// When the topic is not there or cannot be asked for its partitions. A partition that cannot be read says so.
pub(super) async fn search(
    log: &SharedLog,
    topic: &TopicName,
    wanted: &Wanted,
    records: u64,
) -> Result<Search, LogError> {
    let _turn = SEARCHES.acquire().await.expect("nobody closes it");
    let deadline = Instant::now() + TIME;
    let description = log.describe_topic(topic).await?;
    let partitions = description.map(|description| description.partitions_of(topic));
    let partitions = partitions.ok_or_else(|| LogError::UnknownTopic(topic.clone()))?;
    let extents = log.extents(&partitions).await;
    let share = records / u64::try_from(partitions.len().max(1)).unwrap_or(u64::MAX);
    let newest = Mutex::new(Search::default());
    let look = Look { log, wanted, newest: &newest, share: share.max(1), deadline };
    let mut reads = Vec::with_capacity(partitions.len());
    for (at, extent) in partitions.into_iter().zip(extents) {
        reads.push(look.partition(at, extent).boxed());
    }
    let mut looked: Vec<Looked> = stream::iter(reads).buffer_unordered(PARTITIONS).collect().await;
    looked.sort_by_key(|looked| looked.partition);
    let search = newest.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Search { looked, ..search })
}

/// A search under way.
#[derive(Clone, Copy)]
struct Look<'a> {
    log: &'a SharedLog,
    wanted: &'a Wanted,
    newest: &'a Mutex<Search>,
    /// At most so many records of each partition.
    share: u64,
    deadline: Instant,
}

impl Look<'_> {
    async fn partition(self, at: TopicPartition, extent: Result<Extent, LogError>) -> Looked {
        let extent = match extent {
            Ok(extent) => extent,
            Err(error) => return Looked::nothing(&at, &error),
        };
        let mut looked = Looked { partition: at.partition, from: extent.end, extent, trouble: None };
        let last = extent.start.max(Offset(extent.end.0.saturating_sub(self.share)));
        while looked.from > last && looked.trouble.is_none() {
            let step = Offset(looked.from.0.saturating_sub(STEP)).max(last);
            match timeout_at(self.deadline, self.read(&at, step..looked.from)).await {
                Ok(Ok(())) => looked.from = step,
                Ok(Err(error)) => looked.trouble = Some(error.to_string()),
                Err(_) => looked.trouble = Some(format!("it took longer than {TIME:?}")),
            }
        }
        looked
    }

    async fn read(&self, at: &TopicPartition, stretch: Range<Offset>) -> Result<(), LogError> {
        let mut next = stretch.start;
        let mut scan = self.log.scan(at, next).await?;
        while next < stretch.end {
            let batch = scan.read(BATCH_BYTES).await?;
            for (offset, record) in &batch.records {
                if *offset >= stretch.end {
                    return Ok(());
                }
                let position = Position { partition: at.partition, offset: *offset };
                if let Some(found) = self.wanted.find(position, record) {
                    self.newest.lock().unwrap_or_else(PoisonError::into_inner).take(found);
                }
            }
            next = batch.next;
        }
        Ok(())
    }
}

impl Search {
    /// Takes an event in, and forgets the oldest when there are too many.
    fn take(&mut self, found: Found) {
        let age = |found: &Found| std::cmp::Reverse((found.accepted, found.position));
        let place = self.found.partition_point(|known| age(known) < age(&found));
        // A stretch that was read in part and given up is not read again, so no event comes twice.
        self.found.insert(place, found);
        if self.found.len() > FOUND {
            self.found.pop();
            self.more += 1;
        }
    }
}

impl Wanted {
    fn find(&self, position: Position, record: &Record) -> Option<Found> {
        if !self.may_be(record) {
            return None;
        }
        let Envelope { event, audience, .. } = Envelope::decode(record).ok()?;
        let is_it =
            event.id() == self.id && self.source.as_ref().is_none_or(|source| event.source() == source);
        is_it.then(|| Found {
            position,
            accepted: record.timestamp,
            audience,
            data: event.data().map(bytes::Bytes::len),
            event: without_data(&event),
        })
    }

    /// Whether it is worth decoding.
    fn may_be(&self, record: &Record) -> bool {
        const STRUCTURED: &[u8] = b"application/cloudevents";
        let is_structured = record.header("content-type").is_some_and(|value| {
            value
                .trim_ascii()
                .get(..STRUCTURED.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(STRUCTURED))
        });
        is_structured || record.header("ce_id").is_some_and(|id| **id == *self.id.as_bytes())
    }
}

impl Looked {
    fn nothing(at: &TopicPartition, error: &LogError) -> Self {
        let trouble = Some(error.to_string());
        Self { partition: at.partition, from: Offset(0), extent: Extent::default(), trouble }
    }
}

/// The event with its attributes alone.
pub(crate) fn without_data(event: &Event) -> Event {
    let builder =
        EventBuilder::with_capacity(event.attributes().len()).spec_version(event.spec_version().as_str());
    let attributes = event.attributes().iter();
    let builder = attributes.fold(builder, |builder, attribute| {
        builder.typed(attribute.name.clone(), attribute.value.clone(), attribute.value_type)
    });
    builder.build().expect("its attributes were valid before")
}

#[cfg(test)]
mod tests;
