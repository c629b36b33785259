//! An event log in memory that can be told to wait and to refuse.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::watch;
use trigon_core::cursor::Cursor;
use trigon_core::name::{GroupName, Offset, PartitionId, Position, TopicName, TopicPartition};
use trigon_core::record::{Record, Timestamp};
use trigon_core::routing::TopicSettings;
use trigon_eventlog::{
    AppendError, Batch, Commit, CommitError, Difference, EventLog, Extent, Health, LogError, Ownership,
    OwnershipChange, Place, Scan, TopicDescription,
};

/// Topics of one partition each.
pub(crate) struct MemoryLog {
    topics: Arc<watch::Sender<BTreeMap<TopicName, Vec<Record>>>>,
    cursors: Mutex<BTreeMap<(GroupName, TopicPartition), Cursor>>,
    refusals: Mutex<VecDeque<AppendError>>,
    open: watch::Sender<bool>,
    begun: watch::Sender<usize>,
}

impl MemoryLog {
    pub(crate) fn new() -> Self {
        Self {
            topics: Arc::new(watch::Sender::default()),
            cursors: Mutex::default(),
            refusals: Mutex::default(),
            open: watch::Sender::new(true),
            begun: watch::Sender::new(0),
        }
    }

    /// The next append that has no other error to answer answers this one.
    pub(crate) fn refuse(&self, error: AppendError) {
        self.refusals.lock().unwrap().push_back(error);
    }

    /// Appends wait from now on.
    pub(crate) fn hold(&self) {
        self.open.send_replace(false);
    }

    /// Appends go on.
    pub(crate) fn release(&self) {
        self.open.send_replace(true);
    }

    /// Waits until so many appends have begun since the start.
    pub(crate) async fn begun(&self, appends: usize) {
        self.begun.subscribe().wait_for(|begun| *begun >= appends).await.unwrap();
    }

    /// How many appends have begun since the start.
    pub(crate) fn appends(&self) -> usize {
        *self.begun.borrow()
    }

    /// The records of a topic.
    pub(crate) fn records(&self, topic: &TopicName) -> Vec<Record> {
        self.topics.borrow().get(topic).cloned().unwrap_or_default()
    }

    /// Waits until a topic has so many records.
    pub(crate) async fn stored(&self, topic: &TopicName, records: usize) {
        let enough = |topics: &BTreeMap<TopicName, Vec<Record>>| topics[topic].len() >= records;
        self.topics.subscribe().wait_for(enough).await.unwrap();
    }

    fn length(&self, at: &TopicPartition) -> Result<u64, LogError> {
        let topics = self.topics.borrow();
        let records = topics.get(&at.topic).ok_or_else(|| LogError::UnknownTopic(at.topic.clone()))?;
        if at.partition != PartitionId(0) {
            return Err(LogError::UnknownPartition(at.clone()));
        }
        Ok(records.len() as u64)
    }
}

#[async_trait]
impl EventLog for MemoryLog {
    async fn append(&self, topic: &TopicName, records: Vec<Record>) -> Result<Vec<Position>, AppendError> {
        self.begun.send_modify(|begun| *begun += 1);
        self.open.subscribe().wait_for(|open| *open).await.unwrap();
        if let Some(error) = self.refusals.lock().unwrap().pop_front() {
            return Err(error);
        }
        let mut stored = None;
        self.topics.send_modify(|topics| {
            if let Some(topic) = topics.get_mut(topic) {
                let first = topic.len() as u64;
                stored = Some(first..first + records.len() as u64);
                topic.extend(records);
            }
        });
        let stored = stored.ok_or_else(|| AppendError::UnknownTopic(topic.clone()))?;
        Ok(stored.map(|offset| Position { partition: PartitionId(0), offset: Offset(offset) }).collect())
    }

    async fn scan(&self, at: &TopicPartition, from: Offset) -> Result<Box<dyn Scan>, LogError> {
        self.length(at)?;
        Ok(Box::new(MemoryScan { topics: self.topics.subscribe(), topic: at.topic.clone(), position: from }))
    }

    async fn own(&self, topics: BTreeSet<TopicName>) -> Result<Box<dyn Ownership>, LogError> {
        let mut owned = MemoryOwnership { owned: BTreeSet::new(), changes: VecDeque::new() };
        owned.set_topics(topics);
        Ok(Box::new(owned))
    }

    async fn load(&self, places: &[Place]) -> Vec<Result<Option<Cursor>, LogError>> {
        let cursors = self.cursors.lock().unwrap();
        places
            .iter()
            .map(|Place { group, at }| Ok(cursors.get(&(group.clone(), at.clone())).cloned()))
            .collect()
    }

    async fn commit(&self, commits: Vec<Commit>) -> Vec<Result<(), CommitError>> {
        let mut cursors = self.cursors.lock().unwrap();
        let written = commits.into_iter().map(|commit| {
            self.length(&commit.at)?;
            cursors.insert((commit.group, commit.at), commit.cursor);
            Ok(())
        });
        written.collect()
    }

    async fn create_topic(&self, topic: &TopicName, _: &TopicSettings) -> Result<Vec<Difference>, LogError> {
        self.topics.send_modify(|topics| {
            topics.entry(topic.clone()).or_default();
        });
        Ok(Vec::new())
    }

    async fn describe_topic(&self, topic: &TopicName) -> Result<Option<TopicDescription>, LogError> {
        let topics = self.topics.borrow();
        Ok(topics.get(topic).map(|_| TopicDescription { partitions: 1, bytes: None }))
    }

    async fn delete_topic(&self, topic: &TopicName) -> Result<(), LogError> {
        self.topics.send_modify(|topics| {
            topics.remove(topic);
        });
        self.cursors.lock().unwrap().retain(|(_, at), _| at.topic != *topic);
        Ok(())
    }

    async fn delete_group(&self, group: &GroupName) -> Result<(), LogError> {
        self.cursors.lock().unwrap().retain(|(owner, _), _| owner != group);
        Ok(())
    }

    async fn extents(&self, at: &[TopicPartition]) -> Vec<Result<Extent, LogError>> {
        at.iter().map(|at| Ok(Extent { start: Offset(0), end: Offset(self.length(at)?) })).collect()
    }

    async fn offset_at(&self, at: &TopicPartition, time: Timestamp) -> Result<Offset, LogError> {
        let end = self.length(at)?;
        let found = self.records(&at.topic).iter().position(|record| record.timestamp >= time);
        Ok(Offset(found.map_or(end, |offset| offset as u64)))
    }

    fn health(&self) -> Health {
        if *self.open.borrow() { Health::Writable } else { Health::Refusing("told to wait".to_owned()) }
    }
}

struct MemoryScan {
    topics: watch::Receiver<BTreeMap<TopicName, Vec<Record>>>,
    topic: TopicName,
    position: Offset,
}

#[async_trait]
impl Scan for MemoryScan {
    async fn read(&mut self, max_bytes: usize) -> Result<Batch, LogError> {
        let from = usize::try_from(self.position.0).unwrap();
        let is_there = |topics: &BTreeMap<TopicName, Vec<Record>>| {
            topics.get(&self.topic).is_none_or(|t| t.len() > from)
        };
        let topics = self.topics.wait_for(is_there).await.map_err(|_| LogError::Closed)?;
        let records = topics.get(&self.topic).ok_or_else(|| LogError::UnknownTopic(self.topic.clone()))?;
        let mut batch = Batch { start: Offset(0), records: Vec::new(), next: self.position };
        let mut bytes = 0;
        for record in &records[from..] {
            bytes += record.size();
            if bytes > max_bytes && !batch.records.is_empty() {
                break;
            }
            batch.records.push((batch.next, record.clone()));
            batch.next = batch.next.next();
        }
        self.position = batch.next;
        Ok(batch)
    }

    fn seek(&mut self, to: Offset) {
        self.position = to;
    }
}

/// This process dispatches everything.
struct MemoryOwnership {
    owned: BTreeSet<TopicName>,
    changes: VecDeque<OwnershipChange>,
}

#[async_trait]
impl Ownership for MemoryOwnership {
    async fn changed(&mut self) -> Result<OwnershipChange, LogError> {
        match self.changes.pop_front() {
            Some(change) => Ok(change),
            None => std::future::pending().await,
        }
    }

    fn set_topics(&mut self, topics: BTreeSet<TopicName>) {
        let at = |topic: &TopicName| TopicPartition { topic: topic.clone(), partition: PartitionId(0) };
        let revoked: Vec<_> = self.owned.difference(&topics).map(at).collect();
        let assigned: Vec<_> = topics.difference(&self.owned).map(at).collect();
        self.changes.extend((!revoked.is_empty()).then_some(OwnershipChange::Revoked(revoked)));
        self.changes.extend((!assigned.is_empty()).then_some(OwnershipChange::Assigned(assigned)));
        self.owned = topics;
    }

    fn release(&mut self, _: TopicPartition) {}
}
