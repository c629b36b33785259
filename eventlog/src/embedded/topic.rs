//! One topic: which segments it has, which offsets its partitions have, and who waits for more.
//!
//! Its folder holds `topic.json`, which says how it was created and how it is kept, and its segments. All
//! partitions share the segments, so that a batch across partitions is one frame and one sync.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use trigon_core::name::{Offset, PartitionId, TopicName, TopicPartition};
use trigon_core::routing::TopicSettings;

use super::disk::{Disk, write_all};
use super::segment::{LOCKED, Segment};
use super::tail::Tail;
use super::writer::Writer;
use crate::{Extent, LogError};

/// The file that makes a folder a topic.
pub(crate) const SETTINGS_FILE: &str = "topic.json";

/// A topic that exists, or existed until somebody deleted it.
pub(crate) struct Topic {
    pub(crate) name: TopicName,
    /// Tells this topic from an earlier or later one of the same name.
    pub(crate) id: u64,
    pub(crate) dir: PathBuf,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) writer: Mutex<Writer>,
    pub(crate) shape: Mutex<Shape>,
    /// Damaged stretches found while reading.
    damaged: AtomicU64,
}

/// What readers of one partition share.
pub(crate) struct Partition {
    pub(crate) reach: watch::Sender<Reach>,
    pub(crate) tail: Arc<Tail>,
}

/// How far a partition can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Everything below is durable.
    pub(crate) end: u64,
    pub(crate) state: State,
}

/// Whether more can come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    Deleted,
    Closed,
}

/// The segments of a topic, and how long they are kept.
pub(crate) struct Shape {
    /// Ascending; the last one is written to.
    pub(crate) segments: VecDeque<Arc<Segment>>,
    pub(crate) settings: TopicSettings,
}

/// `topic.json`.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct SettingsFile {
    pub(crate) id: u64,
    pub(crate) partitions: u32,
    retention_age_ms: Option<u64>,
    retention_bytes: Option<u64>,
}

impl SettingsFile {
    pub(crate) fn new(id: u64, settings: &TopicSettings) -> Self {
        let millis = |age: Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        Self {
            id,
            partitions: settings.partitions,
            retention_age_ms: settings.retention_age.map(millis),
            retention_bytes: settings.retention_bytes,
        }
    }

    pub(crate) fn settings(&self) -> TopicSettings {
        TopicSettings {
            partitions: self.partitions,
            retention_age: self.retention_age_ms.map(Duration::from_millis),
            retention_bytes: self.retention_bytes,
            ..TopicSettings::default()
        }
    }

    /// Writes it so that a crash leaves the old one or the new one.
    pub(crate) fn write(&self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(self)?;
        let new = dir.join(format!("{SETTINGS_FILE}.new"));
        let file = disk.create(&new)?;
        write_all(&*file, &text, 0)?;
        file.sync()?;
        disk.rename(&new, &dir.join(SETTINGS_FILE))?;
        disk.sync_dir(dir)
    }
}

impl Topic {
    pub(crate) fn new(
        name: TopicName,
        id: u64,
        dir: PathBuf,
        disk: Arc<dyn Disk>,
        shape: Shape,
        writer: Writer,
    ) -> Self {
        let partition = |end: &u64| Partition {
            reach: watch::Sender::new(Reach { end: *end, state: State::Open }),
            tail: Arc::default(),
        };
        let partitions = writer.next().iter().map(partition).collect();
        let (writer, shape) = (Mutex::new(writer), Mutex::new(shape));
        Self { name, id, dir, disk, partitions, writer, shape, damaged: AtomicU64::new(0) }
    }

    /// Its partitions, by name.
    pub(crate) fn partitions_named(&self) -> Vec<TopicPartition> {
        (0_u32..).zip(&self.partitions).map(|(partition, _)| self.named(PartitionId(partition))).collect()
    }

    pub(crate) fn named(&self, partition: PartitionId) -> TopicPartition {
        TopicPartition { topic: self.name.clone(), partition }
    }

    pub(crate) fn partition(&self, partition: PartitionId) -> Result<&Partition, LogError> {
        let place = usize::try_from(partition.0).ok();
        let found = place.and_then(|place| self.partitions.get(place));
        found.ok_or_else(|| LogError::UnknownPartition(self.named(partition)))
    }

    /// The oldest offset that a partition still has.
    pub(crate) fn start(&self, partition: PartitionId) -> u64 {
        let shape = self.shape.lock().expect(LOCKED);
        shape.segments.front().map_or(0, |segment| segment.head.base[partition.0 as usize])
    }

    pub(crate) fn extent(&self, partition: PartitionId) -> Result<Extent, LogError> {
        // The end first: it only grows, and the start never passes it.
        let end = self.partition(partition)?.reach.borrow().end;
        Ok(Extent { start: Offset(self.start(partition)), end: Offset(end) })
    }

    /// What its segments take, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.shape.lock().expect(LOCKED).segments.iter().map(|segment| segment.len()).sum()
    }

    /// The segments that may hold the offset or a higher one, ascending.
    pub(crate) fn segments_from(&self, partition: PartitionId, offset: u64) -> Vec<Arc<Segment>> {
        let shape = self.shape.lock().expect(LOCKED);
        let place = partition.0 as usize;
        let after = shape.segments.partition_point(|segment| segment.head.base[place] <= offset);
        shape.segments.range(after.saturating_sub(1)..).cloned().collect()
    }

    /// The segment after that one.
    pub(crate) fn segment_after(&self, sequence: u64) -> Option<Arc<Segment>> {
        let shape = self.shape.lock().expect(LOCKED);
        let after = shape.segments.partition_point(|segment| segment.binding().sequence <= sequence);
        shape.segments.get(after).cloned()
    }

    /// Ends all scans, and the writing.
    pub(crate) fn end(&self, state: State) {
        self.writer.lock().expect(LOCKED).end();
        for partition in &self.partitions {
            partition.reach.send_modify(|reach| reach.state = state);
        }
    }

    /// Tells about damage, once for each place.
    pub(crate) fn report_damage(&self, segment: &Segment, from: u64, to: u64) {
        if segment.is_new_damage(from) {
            let count = self.damaged.fetch_add(1, Ordering::Relaxed) + 1;
            let file = segment.path().display();
            tracing::error!(
                topic = %self.name, %file, at = from, bytes = to - from, damaged_in_topic = count,
                "the log is damaged: the records in these bytes are lost, reading goes on after them"
            );
        }
    }
}
