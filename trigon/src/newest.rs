//! The newest records of a topic over all its partitions, in the order of their acceptance.
//!
//! Reads about as much as was asked for, wherever it lies: first it finds the time since which so many records were
//! accepted, then it merges the partitions from there on. Holds at most one batch of each partition, together
//! [`MEMORY`], though at least one record of each. What is accepted after [`Newest::open`] is not read.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use tokio::time::timeout;
use trigon_core::name::{Offset, PartitionId, Position, TopicName, TopicPartition};
use trigon_core::record::{Record, Timestamp};
use trigon_eventlog::{Extent, LogError, Scan, SharedLog};

/// What is held of all partitions together, in bytes.
const MEMORY: usize = 8 << 20;

/// How much of a partition is read at once at most, in bytes.
const BATCH_BYTES: usize = 256 << 10;

/// How long a read may take before it has failed: what it asks for is in the log already.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Records of the past, oldest first.
pub(crate) struct Newest {
    partitions: Vec<Partition>,
    /// The next record of each partition that has one.
    heads: BinaryHeap<Reverse<(Timestamp, usize)>>,
    /// How many offsets lie before the end, those included that are not wanted.
    left: u64,
    last: u64,
    batch_bytes: usize,
    missed: u64,
    /// Whether the topic has no others.
    is_whole: bool,
}

struct Partition {
    id: PartitionId,
    scan: Box<dyn Scan>,
    /// What is below was taken.
    taken: u64,
    /// What is below was read.
    next: u64,
    end: u64,
    read: VecDeque<(Offset, Record)>,
}

impl Newest {
    /// Opens a topic for the last so many offsets, those counted that hold no record.
    ///
    /// # Errors
    /// When the topic does not exist or cannot be read.
    pub(crate) async fn open(log: &SharedLog, topic: &TopicName, last: u64) -> Result<Self, LogError> {
        let description = log.describe_topic(topic).await?;
        let description = description.ok_or_else(|| LogError::UnknownTopic(topic.clone()))?;
        let all = description.partitions_of(topic);
        let extents = log.extents(&all).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        let starts = starts(log, &all, &extents, last).await?;
        let batch_bytes = (MEMORY / all.len().max(1)).clamp(1, BATCH_BYTES);
        let left: u64 = starts.iter().zip(&extents).map(|(start, extent)| extent.end.0 - start).sum();
        let is_of_start = starts.iter().zip(&extents).all(|(start, extent)| *start == extent.start.0);
        let is_whole = is_of_start && left <= last;
        let (partitions, heads) = (Vec::with_capacity(all.len()), BinaryHeap::new());
        let mut newest = Self { partitions, heads, left, last, batch_bytes, missed: 0, is_whole };
        for ((at, extent), start) in all.iter().zip(&extents).zip(starts) {
            let scan = log.scan(at, Offset(start)).await?;
            let (id, end) = (at.partition, extent.end.0);
            newest.partitions.push(Partition {
                id,
                scan,
                taken: start,
                next: start,
                end,
                read: VecDeque::new(),
            });
            newest.advance(newest.partitions.len() - 1).await?;
        }
        Ok(newest)
    }

    /// The next record; `None` when there are no more.
    ///
    /// # Errors
    /// When the topic is deleted or cannot be read.
    pub(crate) async fn next(&mut self) -> Result<Option<(Position, Record)>, LogError> {
        while let Some(Reverse((_, place))) = self.heads.pop() {
            let partition = &mut self.partitions[place];
            let Some((offset, record)) = partition.read.pop_front() else { continue };
            let position = Position { partition: partition.id, offset };
            self.left = self.left.saturating_sub(offset.next().0 - partition.taken);
            partition.taken = offset.next().0;
            self.advance(place).await?;
            if self.left < self.last {
                return Ok(Some((position, record)));
            }
        }
        Ok(None)
    }

    /// How many offsets retention removed before they were read.
    pub(crate) fn missed(&self) -> u64 {
        self.missed
    }

    /// Whether these are all that there are.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Puts the next record of a partition among the heads.
    async fn advance(&mut self, place: usize) -> Result<(), LogError> {
        let partition = &mut self.partitions[place];
        while partition.read.is_empty() && partition.next < partition.end {
            self.missed += partition.read_on(self.batch_bytes).await?;
        }
        if let Some((_, record)) = partition.read.front() {
            self.heads.push(Reverse((record.timestamp, place)));
        }
        Ok(())
    }
}

impl Partition {
    /// Reads a batch, and tells how many offsets before it are gone.
    async fn read_on(&mut self, max_bytes: usize) -> Result<u64, LogError> {
        let batch = timeout(READ_TIMEOUT, self.scan.read(max_bytes)).await.map_err(|_| late())??;
        let missed = batch.start.0.min(self.end).saturating_sub(self.next);
        self.next = batch.next.0;
        // What was accepted meanwhile is not asked for.
        self.read.extend(batch.records.into_iter().filter(|(offset, _)| offset.0 < self.end));
        Ok(missed)
    }
}

/// From where on each partition is to be read, so that all of them together begin at one time and hold the last
/// `last` offsets, and not many more.
async fn starts(
    log: &SharedLog,
    all: &[TopicPartition],
    extents: &[Extent],
    last: u64,
) -> Result<Vec<u64>, LogError> {
    let count = u64::try_from(all.len().max(1)).unwrap_or(u64::MAX);
    let within = |extent: &Extent, reach: u64| extent.end.0.saturating_sub(reach).max(extent.start.0);
    let mut reach = last.div_ceil(count);
    loop {
        // In each partition its last `reach` offsets are looked at: since the latest of their beginnings, nothing of
        // any partition is left out.
        let mut since = None;
        for (at, extent) in all.iter().zip(extents) {
            let from = within(extent, reach);
            if from > extent.start.0 {
                since = since.max(accepted(log, at, from, extent.end.0).await?);
            }
        }
        let Some(since) = since else {
            return Ok(extents.iter().map(|extent| within(extent, reach)).collect());
        };
        let mut starts = Vec::with_capacity(all.len());
        for (at, extent) in all.iter().zip(extents) {
            let from = log.offset_at(at, since).await?;
            // Where the clocks of producers set the times, these need not ascend.
            starts.push(from.0.clamp(within(extent, last), extent.end.0));
        }
        let reached: u64 = starts.iter().zip(extents).map(|(start, extent)| extent.end.0 - start).sum();
        if reached >= last || reach >= last {
            return Ok(starts);
        }
        reach = reach.saturating_mul(2).min(last);
    }
}

/// When the first record from `from` on was accepted; `None` when there is none below `end`.
async fn accepted(
    log: &SharedLog,
    at: &TopicPartition,
    from: u64,
    end: u64,
) -> Result<Option<Timestamp>, LogError> {
    let mut next = from;
    let mut scan = log.scan(at, Offset(from)).await?;
    while next < end {
        let batch = timeout(READ_TIMEOUT, scan.read(1)).await.map_err(|_| late())??;
        if let Some((_, record)) = batch.records.first() {
            return Ok(Some(record.timestamp));
        }
        next = batch.next.0;
    }
    Ok(None)
}

fn late() -> LogError {
    LogError::Failed(format!("it has not answered a read for {READ_TIMEOUT:?}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use trigon_core::routing::TopicSettings;
    use trigon_eventlog::{EmbeddedConfig, EmbeddedLog};

    use super::*;

    /// Appends records of these keys, one second after the other, and reads the times of the last so many.
    async fn last(keys: &[&str], last: u64) -> Vec<i64> {
        let folder = tempfile::tempdir().unwrap();
        let log: SharedLog = Arc::new(EmbeddedLog::open(EmbeddedConfig::new(folder.path())).unwrap());
        let topic = TopicName::external("t");
        log.create_topic(&topic, &TopicSettings::default()).await.unwrap();
        for (second, key) in (0..).zip(keys) {
            let key = Some(Bytes::copy_from_slice(key.as_bytes()));
            let record = Record { key, timestamp: Timestamp(1_000 * second), ..Record::default() };
            log.append(&topic, vec![record]).await.unwrap();
        }
        let mut newest = Newest::open(&log, &topic, last).await.unwrap();
        // Accepted too late to be asked for.
        log.append(&topic, vec![Record { timestamp: Timestamp(i64::MAX), ..Record::default() }])
            .await
            .unwrap();
        let mut seconds = Vec::new();
        while let Some((_, record)) = newest.next().await.unwrap() {
            seconds.push(record.timestamp.0 / 1_000);
        }
        assert_eq!((newest.missed(), newest.is_whole()), (0, (keys.len() as u64) <= last));
        seconds
    }

    #[tokio::test]
    async fn the_last_records_of_all_partitions_come_in_the_order_of_their_acceptance() {
        let keys: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        for wanted in [1, 7, 50, 99, 100, 1_000] {
            let from = 100_i64.saturating_sub_unsigned(wanted).max(0);
            assert_eq!(last(&keys, wanted).await, (from..100).collect::<Vec<_>>(), "{wanted}");
        }
        assert!(last(&[], 10).await.is_empty());
    }

    #[tokio::test]
    async fn they_are_the_last_by_time_where_one_partition_has_nearly_all() {
        let mut keys = vec!["other"; 3];
        keys.extend(["busy"; 40]);
        keys.push("other");
        for wanted in [1, 2, 30, 42, 44] {
            let from = 44_i64.saturating_sub_unsigned(wanted);
            assert_eq!(last(&keys, wanted).await, (from..44).collect::<Vec<_>>(), "{wanted}");
        }
    }
}
