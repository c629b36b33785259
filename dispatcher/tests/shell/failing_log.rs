//! What happens when the log does not do what it is asked, or late: everything is tried again, nothing is lost.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use tokio::sync::watch;
use trigon_core::cursor::Cursor;
use trigon_core::filter::Filter;
use trigon_core::name::{GroupName, Offset, PartitionId, Position, TopicName, TopicPartition};
use trigon_core::record::{Record, Timestamp};
use trigon_core::routing::{StartFrom, TopicSettings, Trigger};
use trigon_dispatcher::Config;
use trigon_eventlog::{
    AppendError, Commit, CommitError, Difference, EventLog, Extent, Health, LogError, Ownership, Place, Scan,
    SharedLog, TopicDescription,
};

use crate::world::*;

/// A log that fails as often as it is told to, and then works.
struct FailingLog {
    inner: SharedLog,
    appends: AtomicUsize,
    commits: AtomicUsize,
    loads: AtomicUsize,
    scans: AtomicUsize,
    creations: AtomicUsize,
    late: Option<Late>,
}

/// The first load of this partition comes before all others, and is answered when there is something in partition 0.
struct Late {
    partition: PartitionId,
    has_looked: watch::Sender<bool>,
}

impl FailingLog {
    fn over(inner: SharedLog) -> Arc<Self> {
        Arc::new(Self::new(inner, None))
    }

    fn late(inner: SharedLog, partition: u32) -> Arc<Self> {
        let late = Late { partition: PartitionId(partition), has_looked: watch::Sender::new(false) };
        Arc::new(Self::new(inner, Some(late)))
    }

    fn new(inner: SharedLog, late: Option<Late>) -> Self {
        let [appends, commits, loads, scans, creations] = std::array::from_fn(|_| AtomicUsize::new(0));
        Self { inner, appends, commits, loads, scans, creations, late }
    }

    async fn load_late(&self, late: &Late, places: &[Place]) -> Vec<Result<Option<Cursor>, LogError>> {
        let is_it = |place: &Place| place.at.partition == late.partition;
        if *late.has_looked.borrow() || !places.iter().all(is_it) {
            late.has_looked.subscribe().wait_for(|has_looked| *has_looked).await.unwrap();
            return self.inner.load(places).await;
        }
        let found = self.inner.load(places).await;
        late.has_looked.send_replace(true);
        let first = |place: &Place| Place {
            at: TopicPartition { partition: PartitionId(0), ..place.at.clone() },
            ..place.clone()
        };
        let first: Vec<Place> = places.iter().map(first).collect();
        while self.inner.load(&first).await.iter().any(|found| matches!(found, Ok(None))) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        found
    }
}

fn is_due(failures: &AtomicUsize) -> bool {
    failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

fn broken() -> LogError {
    LogError::Failed("told to fail".into())
}

#[async_trait]
impl EventLog for FailingLog {
    async fn append(&self, topic: &TopicName, records: Vec<Record>) -> Result<Vec<Position>, AppendError> {
        if is_due(&self.appends) {
            return Err(AppendError::NoSpace);
        }
        self.inner.append(topic, records).await
    }

    async fn scan(&self, at: &TopicPartition, from: Offset) -> Result<Box<dyn Scan>, LogError> {
        if is_due(&self.scans) {
            return Err(broken());
        }
        self.inner.scan(at, from).await
    }

    async fn own(&self, topics: BTreeSet<TopicName>) -> Result<Box<dyn Ownership>, LogError> {
        self.inner.own(topics).await
    }

    async fn load(&self, places: &[Place]) -> Vec<Result<Option<Cursor>, LogError>> {
        if is_due(&self.loads) {
            return places.iter().map(|_| Err(broken())).collect();
        }
        match &self.late {
            Some(late) => self.load_late(late, places).await,
            None => self.inner.load(places).await,
        }
    }

    async fn commit(&self, commits: Vec<Commit>) -> Vec<Result<(), CommitError>> {
        if is_due(&self.commits) {
            return commits.iter().map(|_| Err(broken().into())).collect();
        }
        self.inner.commit(commits).await
    }

    async fn create_topic(
        &self,
        topic: &TopicName,
        settings: &TopicSettings,
    ) -> Result<Vec<Difference>, LogError> {
        if is_due(&self.creations) {
            return Err(broken());
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

/// RPL-08, Appendix 5: a reply that cannot be stored fails the delivery, and the event is sent again.
#[tokio::test]
async fn an_event_whose_reply_cannot_be_stored_is_sent_again() {
    let dir = folder();
    let log = FailingLog::over(log_in(&dir));
    let subscriber = Subscriber::new(|_| {
        let headers =
            [("ce-specversion", "1.0"), ("ce-id", "r"), ("ce-source", "/r"), ("ce-type", "reply.type")];
        Answer::Now((StatusCode::OK, headers).into_response())
    })
    .await;
    let mut picky = trigger("t", &subscriber.url);
    picky.filter = Filter::exact(&[("type".to_owned(), "test.type".to_owned())].into()).unwrap();
    let shared: SharedLog = log.clone();
    let world = World::start(&shared, vec![picky]).await;
    world.send(event("1")).await;
    world.until("t", "delivered", |s| s.delivered == 1).await;
    log.appends.store(2, Ordering::SeqCst);
    // Past the failing log, so that the failures meet the replies.
    log.inner.append(&world.broker().topic, records(&["2"])).await.unwrap();
    let standing = world.until("t", "delivered", |s| s.delivered == 2).await;
    assert_eq!((standing.attempts, standing.failures), (4, 2));
    assert_eq!(subscriber.ids(), ["1", "2", "2", "2"]);
    assert_eq!(world.records(&world.broker().topic).await.len(), 4, "two events and a reply to each");
    world.stop().await;
}

/// DLS-03: parking is tried until it succeeds.
#[tokio::test]
async fn an_event_that_cannot_be_parked_at_once_is_parked_later() {
    let dir = folder();
    let log = FailingLog::over(log_in(&dir));
    let subscriber = Subscriber::answering(400).await;
    let shared: SharedLog = log.clone();
    let world = World::start(&shared, vec![trigger("t", &subscriber.url)]).await;
    log.appends.store(3, Ordering::SeqCst);
    log.inner.append(&world.broker().topic, records(&["1"])).await.unwrap();
    let standing = world.until("t", "parked", |s| s.parked == 1).await;
    assert_eq!(standing.failures, 4);
    assert_eq!(subscriber.received().len(), 1);
    assert_eq!(world.parked_events().await.len(), 1);
    world.stop().await;
}

/// DLV-27: reads, commits, loads and topics that fail are tried again, and no event goes missing.
#[tokio::test]
async fn a_log_that_fails_now_and_then_delays_and_loses_nothing() {
    let dir = folder();
    let log = FailingLog::over(log_in(&dir));
    log.creations.store(1, Ordering::SeqCst);
    log.loads.store(2, Ordering::SeqCst);
    log.commits.store(1, Ordering::SeqCst);
    log.scans.store(2, Ordering::SeqCst);
    let subscriber = Subscriber::taking().await;
    let shared: SharedLog = log.clone();
    let world = World::start(&shared, vec![trigger("t", &subscriber.url)]).await;
    log.commits.store(2, Ordering::SeqCst);
    let ids: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    world.append(records(&ids.iter().map(String::as_str).collect::<Vec<_>>())).await;
    world.until("t", "delivered", |s| s.delivered == 50).await;
    eventually("the failed commits", || match log.commits.load(Ordering::SeqCst) {
        0 => Ok(()),
        left => Err(format!("{left} failures to come")),
    })
    .await;
    world.stop().await;
    let world = World::start(&shared, vec![trigger("t", &subscriber.url)]).await;
    world.until("t", "idle", |s| s.lag == 0).await;
    world.stop().await;
    assert_eq!(subscriber.received().len(), 50, "a clean stop after failed commits repeats nothing");
}

/// A Trigger is started in all partitions while one of them is being looked up: it is not taken for an old one there,
/// which would read that partition from its beginning.
#[tokio::test]
async fn a_trigger_that_is_started_while_it_is_looked_up_begins_where_it_was_started() {
    let (dir, subscriber) = (folder(), Subscriber::taking().await);
    let inner = log_in(&dir);
    let world = World::start_with(&inner, Config::default(), 2, Vec::new()).await;
    let mut filled = BTreeSet::new();
    for n in 0..20 {
        let old = builder(&format!("old-{n}")).attribute("partitionkey", n.to_string()).build().unwrap();
        filled.insert(world.send(old).await.partition);
    }
    assert_eq!(filled.len(), 2);
    world.stop().await;
    let shared: SharedLog = FailingLog::late(inner, 1);
    let latest = Trigger { start_from: StartFrom::Latest, ..trigger("t", &subscriber.url) };
    let world = World::start_with(&shared, Config::default(), 2, vec![latest]).await;
    for n in 0..20 {
        world.send(event(&format!("new-{n}"))).await;
    }
    world.until("t", "idle", |s| s.lag == 0 && s.delivered >= 20).await;
    world.stop().await;
    let ids = subscriber.ids();
    assert!(ids.len() == 20 && ids.iter().all(|id| id.starts_with("new-")), "{ids:?}");
}

fn records(ids: &[&str]) -> Vec<Record> {
    ids.iter()
        .map(|id| trigon_core::binding::record::Envelope::of(event(id)).encode(Timestamp(1_000)))
        .collect()
}
