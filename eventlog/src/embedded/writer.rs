//! Where a topic's records are appended: the last segment, and the next offset of each partition.
//!
//! A group of appends is one frame, one write and one sync. When any of them fails, nothing of the group was
//! stored as far as anybody can see: the segment is cut back to what was durable before. After a sync that
//! failed the segment is not written to again, because what the kernel still holds of it is not known.

use std::io;
use std::sync::Arc;

use trigon_core::name::{Offset, PartitionId, Position};
use trigon_core::record::{Record, Timestamp};
use trigon_core::routing::TopicSettings;

use super::codec::{Head, encode_record};
use super::disk::{DiskFile, is_no_space, write_all};
use super::frame::{self, Binding, RECORDS, Step};
use super::partitioner::Partitioner;
use super::segment::{LOCKED, Segment};
use super::tail::{Tail, TailBatch};
use super::topic::Topic;
use crate::AppendError;

/// Space is reserved in steps, so that a full disk shows before anything is written. A step is as large as what
/// is there already, within these bounds in bytes: many idle topics take little, a busy one asks seldom.
const MIN_STEP: u64 = 64 * 1024;
const MAX_STEP: u64 = 4 * 1024 * 1024;

/// A buffer that a large group has grown beyond this is given back.
const KEPT_BUFFER: usize = 8 * 1024 * 1024;

/// A topic's segment size, in bytes, is at least this, however small its retention.
const MIN_SEGMENT: u64 = 256 * 1024;

/// The writing end of a topic.
pub(crate) struct Writer {
    active: Option<Active>,
    /// The next offset of each partition.
    next: Vec<u64>,
    /// The number of the next segment.
    sequence: u64,
    /// The highest timestamp so far.
    latest: Timestamp,
    partitioner: Partitioner,
    buffer: Vec<u8>,
    ended: bool,
}

/// The segment that is written to.
struct Active {
    segment: Arc<Segment>,
    file: Arc<dyn DiskFile>,
    /// Up to here space is reserved.
    allocated: u64,
    /// Whether it may be written to: not after a failed sync.
    condition: Condition,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    Sound,
    Suspect,
}

/// When a segment is complete.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RollAt {
    pub(crate) bytes: u64,
    pub(crate) age_ms: i64,
}

/// A topic whose retention is smaller than a segment gets smaller segments: so many within its retention.
const SEGMENTS_PER_RETENTION: u32 = 4;

impl RollAt {
    /// The same, but fine enough for a topic's retention to work.
    pub(crate) fn within(self, settings: &TopicSettings) -> Self {
        let age = settings.retention_age.map(|age| (age / SEGMENTS_PER_RETENTION).as_millis());
        let age_ms = age.and_then(|age| i64::try_from(age).ok()).unwrap_or(i64::MAX);
        let bytes = settings.retention_bytes.map(|bytes| bytes / u64::from(SEGMENTS_PER_RETENTION));
        Self {
            bytes: self.bytes.min(bytes.unwrap_or(u64::MAX).max(MIN_SEGMENT)),
            age_ms: self.age_ms.min(age_ms),
        }
    }
}

/// A group that was stored.
pub(crate) struct StoredGroup {
    /// For each batch, the positions of its records.
    pub(crate) positions: Vec<Vec<Position>>,
    /// What went into the tails.
    pub(crate) charges: Vec<(Arc<Tail>, usize)>,
}

impl Writer {
    pub(crate) fn new(next: Vec<u64>, sequence: u64, latest: Timestamp) -> Self {
        let partitions = u32::try_from(next.len()).expect("a topic's partitions are counted in 32 bits");
        Self {
            active: None,
            next,
            sequence,
            latest,
            partitioner: Partitioner::new(partitions),
            buffer: Vec::new(),
            ended: false,
        }
    }

    /// Goes on in a segment that was there.
    pub(crate) fn resume(&mut self, segment: Arc<Segment>, file: Arc<dyn DiskFile>) {
        let allocated = segment.len();
        self.active = Some(Active { segment, file, allocated, condition: Condition::Sound });
    }

    pub(crate) fn next(&self) -> &[u64] {
        &self.next
    }

    /// Stores no more.
    pub(crate) fn end(&mut self) {
        self.ended = true;
        if let Some(mut active) = self.active.take() {
            active.cut();
        }
    }

    /// Stores the batches, all or none of them, and lets readers see them.
    pub(crate) fn store(
        &mut self,
        topic: &Topic,
        batches: Vec<Vec<Record>>,
        now: Timestamp,
        roll_at: RollAt,
    ) -> Result<StoredGroup, AppendError> {
        if self.ended {
            return Err(AppendError::UnknownTopic(topic.name.clone()));
        }
        let mut next = self.next.clone();
        let mut latest = Timestamp(i64::MIN);
        let mut positions = Vec::with_capacity(batches.len());
        let mut tails: Vec<Vec<(Offset, Record)>> = vec![Vec::new(); next.len()];
        frame::begin(&mut self.buffer, RECORDS);
        for batch in batches {
            let mut placed = Vec::with_capacity(batch.len());
            for record in batch {
                let partition = self.partitioner.place(record.key.as_ref(), record.size());
                let place = partition as usize;
                encode_record(&mut self.buffer, partition, next[place], &record);
                latest = latest.max(record.timestamp);
                let offset = Offset(next[place]);
                placed.push(Position { partition: PartitionId(partition), offset });
                tails[place].push((offset, record));
                next[place] += 1;
            }
            self.partitioner.end_batch();
            positions.push(placed);
        }
        let written = self.write(topic, now, roll_at, latest);
        if self.buffer.capacity() > KEPT_BUFFER {
            self.buffer = Vec::new();
        }
        written.map_err(|error| {
            if is_no_space(&error) {
                AppendError::NoSpace
            } else {
                tracing::error!(topic = %topic.name, %error, "could not append to the log");
                AppendError::Failed(error.to_string())
            }
        })?;
        self.next = next;
        self.latest = self.latest.max(latest);
        let mut charges = Vec::new();
        for ((partition, records), end) in topic.partitions.iter().zip(tails).zip(&self.next) {
            if !records.is_empty() {
                let batch = TailBatch::new(records);
                charges.push((partition.tail.clone(), batch.cost()));
                partition.tail.push(batch);
                partition.reach.send_modify(|reach| reach.end = *end);
            }
        }
        Ok(StoredGroup { positions, charges })
    }

    /// Starts a new segment if the last one is old and has records, so that retention can remove those.
    pub(crate) fn roll_if_old(&mut self, topic: &Topic, now: Timestamp, roll_at: RollAt) -> io::Result<()> {
        let old = self.active.as_ref().is_some_and(|active| {
            let head = &active.segment.head;
            head.base != self.next && now.0.saturating_sub(head.created.0) >= roll_at.age_ms
        });
        if old && !self.ended { self.roll(topic, now) } else { Ok(()) }
    }

    /// Whether space for at least a little can be had; reserves it.
    pub(crate) fn probe(&mut self) -> io::Result<()> {
        match &mut self.active {
            Some(active) => active.reserve(active.segment.len() + MIN_STEP),
            None => Ok(()),
        }
    }

    /// Writes the frame in the buffer, durably.
    fn write(&mut self, topic: &Topic, now: Timestamp, roll_at: RollAt, latest: Timestamp) -> io::Result<()> {
        let size = self.buffer.len() as u64;
        let complete = self.active.as_ref().is_none_or(|active| {
            let (head, len) = (&active.segment.head, active.segment.len());
            let has_records = head.base != self.next;
            active.condition == Condition::Suspect
                || has_records
                    && (len + size > roll_at.bytes || now.0.saturating_sub(head.created.0) >= roll_at.age_ms)
        });
        if complete {
            self.roll(topic, now)?;
        }
        let active = self.active.as_mut().expect("there is one after a roll");
        frame::finish(&mut self.buffer, active.segment.binding());
        let at = active.segment.len();
        let written = active.reserve(at + size).and_then(|()| write_all(&*active.file, &self.buffer, at));
        if let Err(error) = written {
            active.cut();
            return Err(error);
        }
        if let Err(error) = active.file.sync() {
            active.condition = Condition::Suspect;
            active.cut();
            active.verify(topic);
            return Err(error);
        }
        active.segment.note(at, &self.next, latest);
        active.segment.set_len(at + size);
        Ok(())
    }

    /// Completes the last segment and starts the next.
    fn roll(&mut self, topic: &Topic, now: Timestamp) -> io::Result<()> {
        let previous_len = match &mut self.active {
            Some(active) => {
                active.cut();
                active.segment.len()
            }
            None => topic.shape.lock().expect(LOCKED).segments.back().map_or(0, |segment| segment.len()),
        };
        let head = Head { created: now, previous_len, latest_before: self.latest, base: self.next.clone() };
        let binding = Binding { owner: topic.id, sequence: self.sequence };
        let created = Segment::create(&topic.disk, &topic.dir, binding, head);
        if let (Err(_), Some(active)) = (&created, &mut self.active) {
            // The new file may be there after a crash, and it says where this segment ends.
            active.condition = Condition::Suspect;
        }
        let (segment, file) = created?;
        self.sequence += 1;
        topic.shape.lock().expect(LOCKED).segments.push_back(segment.clone());
        self.resume(segment, file);
        Ok(())
    }
}

impl Active {
    /// Reserves space up to `to`, and some more if there is that much.
    fn reserve(&mut self, to: u64) -> io::Result<()> {
        if to <= self.allocated {
            return Ok(());
        }
        let ample = to.next_multiple_of(to.clamp(MIN_STEP, MAX_STEP));
        let reserved = match self.file.allocate(self.allocated, ample) {
            Ok(()) => ample,
            Err(error) if is_no_space(&error) => {
                self.file.allocate(self.allocated, to)?;
                to
            }
            Err(error) => return Err(error),
        };
        self.allocated = reserved;
        Ok(())
    }

    /// Gives back what is reserved or was written beyond the durable length.
    fn cut(&mut self) {
        let len = self.segment.len();
        match self.file.set_size(len) {
            Ok(()) => self.allocated = len,
            Err(error) => {
                // Bytes of a group that was refused may be left: never write before them.
                self.condition = Condition::Suspect;
                let file = self.segment.path().display();
                tracing::error!(%file, len, %error, "could not cut the segment back");
            }
        }
    }

    /// Reads back what was acknowledged, after a failed sync.
    fn verify(&self, topic: &Topic) {
        let file = self.segment.path().display();
        let mut frames = match self.segment.frames(0) {
            Ok(frames) => frames,
            Err(error) => return tracing::error!(%file, %error, "could not read the segment back"),
        };
        loop {
            match frames.step() {
                Ok(Step::Frame { .. }) => {}
                Ok(Step::Damaged { from, to }) => topic.report_damage(&self.segment, from, to),
                Ok(Step::End { at }) => {
                    if at < self.segment.len() {
                        topic.report_damage(&self.segment, at, self.segment.len());
                    }
                    return;
                }
                Err(error) => return tracing::error!(%file, %error, "could not read the segment back"),
            }
        }
    }
}
