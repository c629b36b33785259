//! What happens when the log does not do what it is asked: everything is tried again, nothing is lost.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use trigon_core::cursor::Cursor;
use trigon_core::filter::Filter;
use trigon_core::name::{GroupName, Offset, Position, TopicName, TopicPartition};
use trigon_core::record::{Record, Timestamp};
use trigon_core::routing::TopicSettings;
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
}

impl FailingLog {
    fn over(inner: SharedLog) -> Arc<Self> {
        let [appends, commits, loads, scans, creations] = std::array::from_fn(|_| AtomicUsize::new(0));
        Arc::new(Self { inner, appends, commits, loads, scans, creations })
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
        self.inner.load(places).await
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

fn records(ids: &[&str]) -> Vec<Record> {
    ids.iter()
        .map(|id| trigon_core::binding::record::Envelope::of(event(id)).encode(Timestamp(1_000)))
        .collect()
}
