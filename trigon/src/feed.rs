//! A topic's events in the order of their acceptance: those of the past first, then live.
//!
//! Read from the log rather than watched at the ingress, so that replies and events sent again are seen too, and a
//! slow reader holds up nobody and misses only what retention removes meanwhile. Holds at most one batch of
//! [`BATCH_BYTES`] per partition.

use std::collections::VecDeque;

use futures::stream::{self, BoxStream, SelectAll, StreamExt};
use trigon_core::binding::record::{Envelope, Undecodable};
use trigon_core::name::{Offset, PartitionId, Position, TopicName, TopicPartition};
use trigon_core::record::{Record, Timestamp};
use trigon_eventlog::{LogError, Scan, SharedLog};

/// How much of a partition is read at once.
const BATCH_BYTES: usize = 256 * 1024;

/// Events of the past, merged by their time, and then live ones as they come.
pub(crate) struct Feed {
    past: Vec<Partition>,
    live: SelectAll<BoxStream<'static, Result<Entry, LogError>>>,
}

/// What a feed shows.
#[derive(Debug)]
pub(crate) enum Entry {
    /// A record.
    Record {
        /// Where it stands.
        position: Position,
        /// When it was accepted.
        accepted: Timestamp,
        /// What it holds.
        content: Result<Envelope, Undecodable>,
    },
    /// Retention removed so many records before they were read.
    Missed {
        /// Where they stood.
        partition: PartitionId,
        /// How many offsets there were.
        records: u64,
    },
}

struct Partition {
    id: PartitionId,
    scan: Box<dyn Scan>,
    next: Offset,
    /// Where the past ends: what was accepted later is live.
    end: Offset,
    read: VecDeque<(Offset, Record)>,
    missed: u64,
}

impl Feed {
    /// Opens a topic from the first record accepted at `since` or later; without it, only live.
    ///
    /// # Errors
    /// When the topic does not exist or cannot be read.
    pub(crate) async fn open(
        log: &SharedLog,
        topic: &TopicName,
        since: Option<Timestamp>,
    ) -> Result<Self, LogError> {
        let description = log.describe_topic(topic).await?;
        let description = description.ok_or_else(|| LogError::UnknownTopic(topic.clone()))?;
        let mut past = Vec::new();
        for at in description.partitions_of(topic) {
            past.push(Partition::open(log, &at, since).await?);
        }
        Ok(Self { past, live: SelectAll::new() })
    }

    /// Waits for the next entry; `None` when the topic has no partitions.
    ///
    /// # Errors
    /// When the topic is deleted or cannot be read.
    pub(crate) async fn next(&mut self) -> Option<Result<Entry, LogError>> {
        if !self.past.is_empty() {
            match self.next_of_the_past().await {
                Ok(Some(entry)) => return Some(Ok(entry)),
                Ok(None) => self.live.extend(self.past.drain(..).map(Partition::into_stream)),
                Err(error) => return Some(Err(error)),
            }
        }
        self.live.next().await
    }

    async fn next_of_the_past(&mut self) -> Result<Option<Entry>, LogError> {
        for partition in &mut self.past {
            while partition.read.is_empty() && partition.missed == 0 && partition.next < partition.end {
                partition.read_on().await?;
            }
        }
        // What was missed is older than what was read.
        let oldest = self.past.iter_mut().filter(|partition| partition.has_entry()).min_by_key(|partition| {
            let first = partition.read.front().map(|(_, record)| record.timestamp);
            if partition.missed > 0 { None } else { first }
        });
        Ok(oldest.and_then(Partition::take))
    }
}

impl Partition {
    async fn open(log: &SharedLog, at: &TopicPartition, since: Option<Timestamp>) -> Result<Self, LogError> {
        let end = log.extent(at).await?.end;
        let from = match since {
            Some(time) => log.offset_at(at, time).await?.min(end),
            None => end,
        };
        let scan = log.scan(at, from).await?;
        Ok(Self { id: at.partition, scan, next: from, end, read: VecDeque::new(), missed: 0 })
    }

    /// Waits for records.
    async fn read_on(&mut self) -> Result<(), LogError> {
        let batch = self.scan.read(BATCH_BYTES).await?;
        self.missed += batch.start.0.saturating_sub(self.next.0);
        self.next = batch.next;
        self.read.extend(batch.records);
        Ok(())
    }

    fn has_entry(&self) -> bool {
        self.missed > 0 || !self.read.is_empty()
    }

    fn take(&mut self) -> Option<Entry> {
        if self.missed > 0 {
            return Some(Entry::Missed { partition: self.id, records: std::mem::take(&mut self.missed) });
        }
        let (offset, record) = self.read.pop_front()?;
        let position = Position { partition: self.id, offset };
        Some(Entry::Record { position, accepted: record.timestamp, content: Envelope::decode(&record) })
    }

    fn into_stream(self) -> BoxStream<'static, Result<Entry, LogError>> {
        let entries = stream::unfold(Some(self), |partition| async {
            let mut partition = partition?;
            loop {
                if let Some(entry) = partition.take() {
                    return Some((Ok(entry), Some(partition)));
                }
                if let Err(error) = partition.read_on().await {
                    return Some((Err(error), None));
                }
            }
        });
        entries.boxed()
    }
}
