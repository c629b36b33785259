//! A log that others share: it hands partitions out by command, and places can be set behind the dispatcher's back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::mpsc;
use trigon_core::cursor::Cursor;
use trigon_core::name::{GroupName, Offset, PartitionId, Position, TopicName, TopicPartition};
use trigon_core::record::{Record, Timestamp};
use trigon_core::routing::TopicSettings;
use trigon_eventlog::{
    AppendError, Commit, CommitError, Difference, EventLog, Extent, Health, LogError, Ownership,
    OwnershipChange, Place, Scan, SharedLog, TopicDescription,
};

/// One dispatcher's view of a log; several over one log are several dispatchers.
pub(crate) struct Replica {
    inner: SharedLog,
    changes: mpsc::Sender<OwnershipChange>,
    owned: Mutex<Option<mpsc::Receiver<OwnershipChange>>>,
    released: Arc<Mutex<Vec<TopicPartition>>>,
    /// Every cursor that was written through this one.
    commits: Mutex<Vec<Commit>>,
    /// The places as this dispatcher knows them.
    known: Mutex<BTreeMap<Place, Option<Cursor>>>,
    /// Topics that cannot be created.
    refused: Mutex<BTreeSet<TopicName>>,
    /// A topic whose creation never ends.
    stuck: Mutex<Option<TopicName>>,
    /// The topics that were last asked for.
    wanted: Arc<Mutex<BTreeSet<TopicName>>>,
}

struct Commanded {
    changes: mpsc::Receiver<OwnershipChange>,
    released: Arc<Mutex<Vec<TopicPartition>>>,
    wanted: Arc<Mutex<BTreeSet<TopicName>>>,
}

impl Replica {
    pub(crate) fn over(inner: &SharedLog) -> Arc<Self> {
        let (changes, owned) = mpsc::channel(64);
        Arc::new(Self {
            inner: Arc::clone(inner),
            changes,
            owned: Mutex::new(Some(owned)),
            released: Arc::default(),
            commits: Mutex::default(),
            known: Mutex::default(),
            refused: Mutex::default(),
            stuck: Mutex::default(),
            wanted: Arc::default(),
        })
    }

    pub(crate) fn assign(&self, topic: &TopicName, partitions: &[u32]) {
        self.tell(OwnershipChange::Assigned(these(topic, partitions)));
    }

    pub(crate) fn revoke(&self, topic: &TopicName, partitions: &[u32]) {
        self.tell(OwnershipChange::Revoked(these(topic, partitions)));
    }

    pub(crate) fn lose(&self, topic: &TopicName, partitions: &[u32]) {
        self.tell(OwnershipChange::Lost(these(topic, partitions)));
    }

    fn tell(&self, change: OwnershipChange) {
        self.changes.try_send(change).unwrap();
    }

    pub(crate) fn released(&self) -> Vec<u32> {
        self.released.lock().unwrap().iter().map(|at| at.partition.0).collect()
    }

    pub(crate) fn commits(&self) -> Vec<Commit> {
        self.commits.lock().unwrap().clone()
    }

    pub(crate) fn hang_on(&self, topic: &TopicName) {
        *self.stuck.lock().unwrap() = Some(topic.clone());
    }

    pub(crate) fn wanted(&self) -> BTreeSet<TopicName> {
        self.wanted.lock().unwrap().clone()
    }

    pub(crate) fn refuse(&self, topic: &TopicName, is_refused: bool) {
        let mut refused = self.refused.lock().unwrap();
        if is_refused {
            refused.insert(topic.clone())
        } else {
            refused.remove(topic)
        };
    }
}

fn these(topic: &TopicName, partitions: &[u32]) -> Vec<TopicPartition> {
    let of = |partition: &u32| TopicPartition { topic: topic.clone(), partition: PartitionId(*partition) };
    partitions.iter().map(of).collect()
}

fn place(commit: &Commit) -> Place {
    Place { group: commit.group.clone(), at: commit.at.clone() }
}

#[async_trait]
impl Ownership for Commanded {
    async fn changed(&mut self) -> Result<OwnershipChange, LogError> {
        self.changes.recv().await.ok_or(LogError::Closed)
    }

    fn set_topics(&mut self, topics: BTreeSet<TopicName>) {
        *self.wanted.lock().unwrap() = topics;
    }

    fn release(&mut self, at: TopicPartition) {
        self.released.lock().unwrap().push(at);
    }
}

#[async_trait]
impl EventLog for Replica {
    async fn append(&self, topic: &TopicName, records: Vec<Record>) -> Result<Vec<Position>, AppendError> {
        self.inner.append(topic, records).await
    }

    async fn scan(&self, at: &TopicPartition, from: Offset) -> Result<Box<dyn Scan>, LogError> {
        self.inner.scan(at, from).await
    }

    async fn own(&self, _topics: BTreeSet<TopicName>) -> Result<Box<dyn Ownership>, LogError> {
        let changes = self.owned.lock().unwrap().take().ok_or(LogError::Closed)?;
        let (released, wanted) = (Arc::clone(&self.released), Arc::clone(&self.wanted));
        Ok(Box::new(Commanded { changes, released, wanted }))
    }

    async fn load(&self, places: &[Place]) -> Vec<Result<Option<Cursor>, LogError>> {
        let found = self.inner.load(places).await;
        let mut known = self.known.lock().unwrap();
        for (place, found) in places.iter().zip(&found) {
            if let Ok(cursor) = found {
                known.insert(place.clone(), cursor.clone());
            }
        }
        found
    }

    async fn commit(&self, commits: Vec<Commit>) -> Vec<Result<(), CommitError>> {
        let places: Vec<Place> = commits.iter().map(place).collect();
        let moved = self.moved(&places).await;
        let fine: Vec<Commit> =
            commits.iter().filter(|commit| !moved.contains(&place(commit))).cloned().collect();
        let mut results = self.inner.commit(fine.clone()).await.into_iter();
        self.commits.lock().unwrap().extend(fine);
        let mut known = self.known.lock().unwrap();
        let all = commits.into_iter().map(|commit| {
            let place = place(&commit);
            if moved.contains(&place) {
                return Err(CommitError::Moved(place));
            }
            known.insert(place, Some(commit.cursor));
            results.next().expect("there is one result for each commit")
        });
        all.collect()
    }

    async fn moved(&self, places: &[Place]) -> Vec<Place> {
        let now = self.inner.load(places).await;
        let known = self.known.lock().unwrap();
        let differs = |(place, now): &(&Place, Result<Option<Cursor>, LogError>)| matches!((known.get(place), now), (Some(known), Ok(now)) if known != now);
        places.iter().zip(now).filter(differs).map(|(place, _)| place.clone()).collect()
    }

    async fn create_topic(
        &self,
        topic: &TopicName,
        settings: &TopicSettings,
    ) -> Result<Vec<Difference>, LogError> {
        if self.refused.lock().unwrap().contains(topic) {
            return Err(LogError::Failed("told to refuse".into()));
        }
        let is_stuck = self.stuck.lock().unwrap().as_ref() == Some(topic);
        if is_stuck {
            std::future::pending::<()>().await;
        }
        self.inner.create_topic(topic, settings).await
    }

    async fn describe_topic(&self, topic: &TopicName) -> Result<Option<TopicDescription>, LogError> {
        self.inner.describe_topic(topic).await
    }

    async fn delete_topic(&self, topic: &TopicName) -> Result<(), LogError> {
        self.inner.delete_topic(topic).await
    }

    async fn delete_group(&self, group: &GroupName) -> Result<(), LogError> {
        self.inner.delete_group(group).await
    }

    async fn extents(&self, at: &[TopicPartition]) -> Vec<Result<Extent, LogError>> {
        self.inner.extents(at).await
    }

    async fn offset_at(&self, at: &TopicPartition, time: Timestamp) -> Result<Offset, LogError> {
        self.inner.offset_at(at, time).await
    }

    fn health(&self) -> Health {
        self.inner.health()
    }
}
