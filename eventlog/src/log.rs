//! The trait that every backend implements, and the words that it uses.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use trigon_core::cursor::Cursor;
use trigon_core::name::{GroupName, Offset, PartitionId, Position, TopicName, TopicPartition};
use trigon_core::record::{Record, Timestamp};
use trigon_core::routing::TopicSettings;

/// A log that many share.
pub type SharedLog = Arc<dyn EventLog>;

/// Topics, records and cursors.
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// Stores the records, in order, and resolves when all of them are durable.
    ///
    /// Records with the same key go to the same partition. The positions are in the order of the records.
    /// Cancelling does not undo the append.
    ///
    /// # Errors
    /// See [`AppendError`]. The embedded log stores all records or none.
    async fn append(&self, topic: &TopicName, records: Vec<Record>) -> Result<Vec<Position>, AppendError>;

    /// Opens a sequential reader.
    ///
    /// # Errors
    /// When the topic or the partition does not exist.
    async fn scan(&self, at: &TopicPartition, from: Offset) -> Result<Box<dyn Scan>, LogError>;

    /// Asks to dispatch these topics, and tells from then on which partitions this process dispatches.
    ///
    /// # Errors
    /// When the log cannot be reached.
    async fn own(&self, topics: BTreeSet<TopicName>) -> Result<Box<dyn Ownership>, LogError>;

    /// Reads the cursors in these places, one result each; `None` where the group never committed.
    async fn load(&self, places: &[Place]) -> Vec<Result<Option<Cursor>, LogError>>;

    /// Writes cursors of any number of groups; resolves when they are durable. One result per commit.
    ///
    /// The commits of one group in one call are written all or none.
    async fn commit(&self, commits: Vec<Commit>) -> Vec<Result<(), CommitError>>;

    /// Which of these places somebody else has set since this log loaded or committed them.
    ///
    /// Nobody can where only this process reaches the log.
    async fn moved(&self, _places: &[Place]) -> Vec<Place> {
        Vec::new()
    }

    /// Creates a topic if there is none, and tells in what an existing one differs from what is wanted.
    ///
    /// An existing topic keeps its partitions. A topic that only Trigon uses takes the new retention; in a log that
    /// others share nothing is altered. A topic that is [external](TopicSettings::external) is never created.
    ///
    /// # Errors
    /// When the log cannot be written, or an external topic does not exist.
    async fn create_topic(
        &self,
        topic: &TopicName,
        settings: &TopicSettings,
    ) -> Result<Vec<Difference>, LogError>;

    /// Describes a topic; `None` when there is none.
    ///
    /// # Errors
    /// When the log cannot be read.
    async fn describe_topic(&self, topic: &TopicName) -> Result<Option<TopicDescription>, LogError>;

    /// Deletes a topic and the cursors in it. A topic that is not there is not an error.
    ///
    /// # Errors
    /// When the log cannot be written.
    async fn delete_topic(&self, topic: &TopicName) -> Result<(), LogError>;

    /// Deletes a group's cursors. A group that is not there is not an error.
    ///
    /// # Errors
    /// When the log cannot be written.
    async fn delete_group(&self, group: &GroupName) -> Result<(), LogError>;

    /// The offsets that a partition has.
    ///
    /// # Errors
    /// When the topic or the partition does not exist.
    async fn extent(&self, at: &TopicPartition) -> Result<Extent, LogError> {
        self.extents(std::slice::from_ref(at)).await.pop().expect("there is one result for each partition")
    }

    /// The offsets that partitions have, one result each.
    async fn extents(&self, at: &[TopicPartition]) -> Vec<Result<Extent, LogError>>;

    /// The first offset whose record was accepted at `time` or later; the end when there is none.
    ///
    /// # Errors
    /// When the topic or the partition does not exist.
    async fn offset_at(&self, at: &TopicPartition, time: Timestamp) -> Result<Offset, LogError>;

    /// Whether the log takes appends now, and if not, why not.
    fn health(&self) -> Health;
}

/// A sequential reader of one partition.
#[async_trait]
pub trait Scan: Send {
    /// Waits until there is a record at the position or above, and reads on from there.
    ///
    /// A batch ends at about `max_bytes` and holds at least one record or a [`Batch::next`] beyond the
    /// position. Cancel safe: a cancelled call has not moved the position.
    ///
    /// # Errors
    /// When the topic was deleted or the log cannot be read.
    async fn read(&mut self, max_bytes: usize) -> Result<Batch, LogError>;

    /// Moves the position.
    fn seek(&mut self, to: Offset);
}

/// Records read in one go.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The oldest offset that the partition still has. When it is above the position that was asked for, what
    /// lies between was removed by retention.
    pub start: Offset,
    /// The records, ascending; offsets may have gaps.
    pub records: Vec<(Offset, Record)>,
    /// Where the next read goes on: everything below was read or does not exist.
    pub next: Offset,
}

/// Tells which partitions this process dispatches.
#[async_trait]
pub trait Ownership: Send {
    /// Waits for the next change. Cancel safe.
    ///
    /// # Errors
    /// When ownership is lost for good.
    async fn changed(&mut self) -> Result<OwnershipChange, LogError>;

    /// Asks for other topics from now on.
    fn set_topics(&mut self, topics: BTreeSet<TopicName>);

    /// Says that a revoked partition is drained and may go to another process.
    fn release(&mut self, at: TopicPartition);
}

/// A change of the partitions that this process dispatches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnershipChange {
    /// These are ours from now on.
    Assigned(Vec<TopicPartition>),
    /// These must be drained within [`REVOKE_DEADLINE`] and released.
    Revoked(Vec<TopicPartition>),
    /// These went to another process already: forget them, commit nothing.
    Lost(Vec<TopicPartition>),
}

/// How long a revoked partition may take to drain.
pub const REVOKE_DEADLINE: Duration = Duration::from_secs(10);

/// Where a cursor is kept: one Trigger in one partition.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The Trigger's group.
    pub group: GroupName,
    /// The partition.
    pub at: TopicPartition,
}

/// One cursor to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The Trigger's group.
    pub group: GroupName,
    /// The partition.
    pub at: TopicPartition,
    /// The Trigger's progress there.
    pub cursor: Cursor,
}

/// The offsets that a partition has: `start..end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// The oldest record that is still there.
    pub start: Offset,
    /// Where the next record goes.
    pub end: Offset,
}

/// A setting in which an existing topic differs from what is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The setting, as the log calls it: `retention.ms`.
    pub setting: String,
    /// What is wanted.
    pub wanted: String,
    /// What there is.
    pub actual: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is {}, wanted {}", self.setting, self.actual, self.wanted)
    }
}

/// A topic as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its partitions.
    pub partitions: u32,
    /// What it takes on disk, in bytes, where the log can tell.
    pub bytes: Option<u64>,
}

impl TopicDescription {
    /// The partitions of `topic`, from 0 on.
    pub fn partitions_of(&self, topic: &TopicName) -> Vec<TopicPartition> {
        (0..self.partitions)
            .map(|partition| TopicPartition { topic: topic.clone(), partition: PartitionId(partition) })
            .collect()
    }
}

/// Whether the log takes appends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Writable,
    /// It does not: `the disk is full`.
    Refusing(String),
}

/// Why an append did not happen. Each is an answer to a producer, so none of them is vague.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// There is no such topic.
    #[error("topic {0} does not exist")]
    UnknownTopic(TopicName),
    /// A record is larger than the log takes.
    #[error("a record of {size} bytes is larger than the log's limit of {limit} bytes")]
    TooLarge {
        /// The record's size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The queue of appends is full: try again later.
    #[error("the append queue is full")]
    Busy,
    /// The disk, or the quota, is full.
    #[error("no space is left for the log")]
    NoSpace,
    /// The log cannot be reached, or does not take appends now: nothing was stored.
    #[error("the log is not available: {0}")]
    Unavailable(String),
    /// Anything else; whether the records, or some of them, were stored is not known.
    #[error("could not append: {0}")]
    Failed(String),
}

/// Why a cursor was not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Somebody has set the group's offset with the log's own tools: the Trigger goes on there.
    #[error("somebody has set the offset of group {} in partition {} of {}", .0.group, .0.at.partition, .0.at.topic)]
    Moved(Place),
    /// Anything else.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Why the log could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// There is no such topic, or no longer.
    #[error("topic {0} does not exist")]
    UnknownTopic(TopicName),
    /// The topic has no such partition.
    #[error("topic {} has no partition {}", .0.topic, .0.partition)]
    UnknownPartition(TopicPartition),
    /// The disk, or the quota, is full.
    #[error("no space is left for the log")]
    NoSpace,
    /// The log is shutting down.
    #[error("the log is closed")]
    Closed,
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}
