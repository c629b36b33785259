//! The embedded log: topics and cursors in a folder of this machine, for one process.
//!
//! Guarantees: an append is acknowledged when it is synced, all of its records or none; what is acknowledged
//! survives a kill at any moment; a full disk refuses appends and recovers by itself; memory is bounded
//! whatever the backlog. One append is synced alone, many at once are synced together.
//!
//! Deliberately not here: replication, compression, and access by more than one process.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use trigon_core::cursor::Cursor;
use trigon_core::name::{GroupName, Offset, Position, TopicName, TopicPartition};
use trigon_core::record::{Record, Timestamp};
use trigon_core::routing::TopicSettings;

use self::catalog::Catalog;
use self::codec::Change;
use self::committer::{Committer, CommitterLimits, closed};
use self::cursors::Cursors;
use self::disk::{Disk, RealDisk};
use self::lock::FolderLock;
use self::ownership::EmbeddedOwnership;
use self::refusal::Refusal;
use self::retention::Retention;
use self::scan::EmbeddedScan;
use self::segment::LOCKED;
use self::topic::Topic;
use self::writer::RollAt;
use crate::{
    AppendError, Commit, CommitError, Difference, EventLog, Extent, Health, LogError, Ownership, Place, Scan,
    TopicDescription,
};

mod catalog;
mod catchup;
mod clock;
mod codec;
mod committer;
mod cursors;
mod disk;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod faulty;
mod frame;
mod lock;
#[cfg(test)]
mod model;
mod ownership;
mod partitioner;
mod recovery;
mod refusal;
mod retention;
mod scan;
mod segment;
mod tail;
mod topic;
mod writer;

/// How an embedded log is kept. Start from [`EmbeddedConfig::new`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddedConfig {
    /// The folder; created if it is not there. One process at a time.
    pub dir: PathBuf,
    /// A segment is complete at this many bytes. Default 64 MiB. A topic whose retention by size is small
    /// gets smaller ones.
    pub segment_bytes: u64,
    /// A segment is complete at this age. Default one hour. A topic whose retention by age is short gets
    /// shorter ones.
    pub segment_age: Duration,
    /// The largest record that is taken, in bytes, headers included. Default 16 MiB.
    pub max_record_bytes: usize,
    /// The largest batch that is taken, in bytes. Default 64 MiB, at most 1 GiB.
    pub max_batch_bytes: usize,
    /// How much memory the newest records of all topics may take together, so that readers at the tail read no
    /// file. Default 32 MiB.
    pub tail_bytes: usize,
    /// How often it is looked for segments to remove. Default one minute.
    pub retention_interval: Duration,
}

/// So many reads of files go on at once, over all scans; more wait. It bounds the threads and the buffers that
/// many scans behind the tail take.
const MAX_FILE_READS: usize = 16;

/// No batch may be larger than this, whatever is configured: it is one frame, counted in 32 bits.
const MAX_BATCH_BYTES: usize = 1 << 30;

impl EmbeddedConfig {
    /// The defaults, in this folder.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            segment_bytes: 64 * 1024 * 1024,
            segment_age: Duration::from_secs(60 * 60),
            max_record_bytes: 16 * 1024 * 1024,
            max_batch_bytes: 64 * 1024 * 1024,
            tail_bytes: 32 * 1024 * 1024,
            retention_interval: Duration::from_secs(60),
        }
    }

    fn roll_at(&self) -> RollAt {
        let age_ms = i64::try_from(self.segment_age.as_millis()).unwrap_or(i64::MAX);
        RollAt { bytes: self.segment_bytes, age_ms }
    }
}

/// Why an embedded log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("the log in {} is in use by process {pid}: stop it, or choose another folder", dir.display())]
    Locked {
        /// The folder.
        dir: PathBuf,
        /// The process, as it wrote itself down.
        pid: String,
    },
    /// The folder cannot be read or written.
    #[error("could not open the log in {}", dir.display())]
    Io {
        /// The folder.
        dir: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// The log in a folder. It keeps one file open for each topic that was ever appended to. Dropping it stores what is queued and ends its threads, as [`close`](Self::close) does.
pub struct EmbeddedLog {
    config: EmbeddedConfig,
    parts: Arc<Parts>,
}

/// What has threads, or is shared with them.
struct Parts {
    catalog: Arc<Catalog>,
    committer: Committer,
    cursors: Cursors,
    retention: Retention,
    refusal: Arc<Refusal>,
    reads: Arc<Semaphore>,
    /// Given back when everything else has ended.
    lock: Mutex<Option<FolderLock>>,
}

impl EmbeddedLog {
    /// Opens the log, after whatever end it had. Blocks while it reads the last segment of each topic.
    ///
    /// # Errors
    /// When another process has the folder, or the folder cannot be read or written. Damage is not an error: it
    /// is told in the process log.
    pub fn open(config: EmbeddedConfig) -> Result<Self, OpenError> {
        let open = |source| OpenError::Io { dir: config.dir.clone(), source };
        std::fs::create_dir_all(&config.dir).map_err(open)?;
        let dir = config.dir.canonicalize().map_err(open)?;
        let lock = FolderLock::take(&dir)?;
        let config = EmbeddedConfig { dir, ..config.clone() };
        Self::open_on(Arc::new(RealDisk), config, Some(lock)).map_err(open)
    }

    fn open_on(
        disk: Arc<dyn Disk>,
        config: EmbeddedConfig,
        lock: Option<FolderLock>,
    ) -> std::io::Result<Self> {
        let catalog = Arc::new(Catalog::open(disk.clone(), config.dir.clone())?);
        let cursors = Cursors::open(disk, &config.dir)?;
        cursors.keep_topics(&catalog.all().iter().map(|topic| topic.id).collect::<Vec<_>>());
        let refusal = Arc::new(Refusal::new(config.dir.clone()));
        let limits = CommitterLimits { tail_bytes: config.tail_bytes, roll_at: config.roll_at() };
        let committer = Committer::start(limits, refusal.clone())?;
        let retention = Retention::start(catalog.clone(), config.retention_interval, config.roll_at())?;
        let (reads, lock) = (Arc::new(Semaphore::new(MAX_FILE_READS)), Mutex::new(lock));
        let parts = Arc::new(Parts { catalog, committer, cursors, retention, refusal, reads, lock });
        Ok(Self { config, parts })
    }

    /// Takes no more appends and commits, makes durable those that wait, ends all scans with
    /// [`LogError::Closed`], and returns when all threads have ended. A second call does nothing.
    pub async fn close(&self) {
        let parts = self.parts.clone();
        if spawn_blocking(move || parts.close()).await.is_err() {
            tracing::error!("closing the log panicked");
        }
    }

    /// The folder that the log is in.
    pub fn dir(&self) -> &Path {
        &self.config.dir
    }

    fn topic(&self, name: &TopicName) -> Result<Arc<Topic>, LogError> {
        if self.parts.catalog.is_closed() {
            return Err(LogError::Closed);
        }
        self.parts.catalog.find(name).ok_or_else(|| LogError::UnknownTopic(name.clone()))
    }

    /// Does something that blocks.
    async fn blocking<T, F>(&self, work: F) -> Result<T, LogError>
    where
        T: Send + 'static,
        F: FnOnce(&Parts) -> Result<T, LogError> + Send + 'static,
    {
        let parts = self.parts.clone();
        let done = spawn_blocking(move || work(&parts)).await;
        done.map_err(|error| LogError::Failed(format!("the log's work was ended: {error}")))?
    }

    fn change(&self, commit: Commit) -> Result<Change, LogError> {
        let topic = self.topic(&commit.at.topic)?;
        topic.partition(commit.at.partition)?;
        Ok(Change::Set {
            group: commit.group.as_str().to_owned(),
            topic: commit.at.topic.as_str().to_owned(),
            owner: topic.id,
            partition: commit.at.partition.0,
            cursor: commit.cursor,
        })
    }

    async fn write(&self, changes: Vec<Change>) -> Result<(), LogError> {
        let answered = self.blocking(move |parts| parts.cursors.write(changes)).await?;
        answered.await.map_err(|_| LogError::Closed)?
    }
}

impl Parts {
    fn close(&self) {
        self.retention.close();
        self.committer.close();
        self.cursors.close();
        self.catalog.close();
        drop(self.lock.lock().expect(LOCKED).take());
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        self.close();
    }
}

#[async_trait]
impl EventLog for EmbeddedLog {
    async fn append(&self, topic: &TopicName, records: Vec<Record>) -> Result<Vec<Position>, AppendError> {
        let found = match self.topic(topic) {
            Ok(found) => found,
            Err(LogError::Closed) => return Err(closed()),
            Err(_) => return Err(AppendError::UnknownTopic(topic.clone())),
        };
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let limit = self.config.max_record_bytes;
        if let Some(size) = records.iter().map(Record::size).find(|size| *size > limit) {
            return Err(AppendError::TooLarge { size, limit });
        }
        let limit = self.config.max_batch_bytes.min(MAX_BATCH_BYTES);
        let size = records.iter().map(codec::encoded_size).sum();
        if size > limit {
            return Err(AppendError::TooLarge { size, limit });
        }
        self.parts.committer.append(found, records)?.await.map_err(|_| closed())?
    }

    async fn scan(&self, at: &TopicPartition, from: Offset) -> Result<Box<dyn Scan>, LogError> {
        let reads = self.parts.reads.clone();
        Ok(Box::new(EmbeddedScan::new(self.topic(&at.topic)?, at.partition, from, reads)?))
    }

    async fn own(&self, topics: BTreeSet<TopicName>) -> Result<Box<dyn Ownership>, LogError> {
        Ok(Box::new(EmbeddedOwnership::new(self.parts.catalog.clone(), topics)))
    }

    async fn load(&self, places: &[Place]) -> Vec<Result<Option<Cursor>, LogError>> {
        let find = |Place { group, at }: &Place| {
            let topic = self.parts.catalog.find(&at.topic)?;
            self.parts.cursors.find(group, &at.topic, topic.id, at.partition.0)
        };
        places.iter().map(|place| Ok(find(place))).collect()
    }

    async fn commit(&self, commits: Vec<Commit>) -> Vec<Result<(), CommitError>> {
        let checked: Vec<_> = commits.into_iter().map(|commit| self.change(commit)).collect();
        let changes: Vec<_> = checked.iter().filter_map(|change| change.as_ref().ok()).cloned().collect();
        let written = if changes.is_empty() { Ok(()) } else { self.write(changes).await };
        checked.into_iter().map(|change| Ok(change.and_then(|_| written.clone())?)).collect()
    }

    async fn create_topic(
        &self,
        topic: &TopicName,
        settings: &TopicSettings,
    ) -> Result<Vec<Difference>, LogError> {
        let (topic, settings) = (topic.clone(), settings.clone());
        self.blocking(move |parts| parts.catalog.create(&topic, &settings)).await
    }

    async fn describe_topic(&self, topic: &TopicName) -> Result<Option<TopicDescription>, LogError> {
        match self.topic(topic) {
            Ok(topic) => {
                let partitions = u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX);
                Ok(Some(TopicDescription { partitions, bytes: Some(topic.bytes()) }))
            }
            Err(LogError::UnknownTopic(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn delete_topic(&self, topic: &TopicName) -> Result<(), LogError> {
        let topic = topic.clone();
        self.blocking(move |parts| {
            if let Some(deleted) = parts.catalog.delete(&topic)? {
                parts.cursors.forget_topic(deleted.id);
            }
            Ok(())
        })
        .await
    }

    async fn delete_group(&self, group: &GroupName) -> Result<(), LogError> {
        self.write(vec![Change::DeleteGroup { group: group.as_str().to_owned() }]).await
    }

    async fn extents(&self, at: &[TopicPartition]) -> Vec<Result<Extent, LogError>> {
        at.iter().map(|at| self.topic(&at.topic)?.extent(at.partition)).collect()
    }

    async fn offset_at(&self, at: &TopicPartition, time: Timestamp) -> Result<Offset, LogError> {
        let topic = self.topic(&at.topic)?;
        let end = topic.extent(at.partition)?.end.0;
        let partition = at.partition;
        self.blocking(move |_| {
            catchup::offset_at(&topic, partition, time, end)
                .map(Offset)
                .map_err(|error| LogError::Failed(format!("could not read {}: {error}", topic.name)))
        })
        .await
    }

    fn health(&self) -> Health {
        if self.parts.committer.has_ended() {
            return Health::Refusing("the log is closed".into());
        }
        self.parts.refusal.health()
    }
}
