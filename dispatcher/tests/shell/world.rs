//! A dispatcher, its log, and subscribers that record what they get.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::BodyExt;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use trigon_core::binding::record::Envelope;
use trigon_core::delivery::{Backoff, BackoffPolicy, DeliveryPolicy, Destination, Format, Order, RetryAfter};
use trigon_core::event::{Event, EventBuilder};
use trigon_core::filter::Filter;
use trigon_core::name::{BrokerId, Installation, Offset, Position, TopicPartition, TriggerId};
use trigon_core::record::{Record, Timestamp};
use trigon_core::routing::{Broker, RoutingTable, StartFrom, TopicSettings, Trigger, TriggerState};
use trigon_dispatcher::parked::{Direction, ParkedEvent, Selection};
use trigon_dispatcher::status::{Standing, Status, TriggerStatus};
use trigon_dispatcher::{Config, Dispatcher};
use trigon_eventlog::{EmbeddedConfig, EmbeddedLog, SharedLog};
use trigon_runtime::http_client::{ClientSettings, Trust, client};
use trigon_runtime::metrics::Metrics;
use trigon_runtime::tasks::TaskGroup;

/// Longer than anything takes on a busy machine; a test that waits this long has failed.
const DEADLINE: Duration = Duration::from_secs(30);

/// A dispatcher with its log.
pub(crate) struct World {
    pub(crate) log: SharedLog,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) routes: watch::Sender<Arc<RoutingTable>>,
    pub(crate) metrics: Metrics,
    pub(crate) tasks: TaskGroup,
    broker: BrokerId,
    settings: TopicSettings,
}

/// Waits until a condition holds, or fails with what it has last seen.
pub(crate) async fn eventually<T>(what: &str, mut condition: impl FnMut() -> Result<T, String>) -> T {
    let end = tokio::time::Instant::now() + DEADLINE;
    loop {
        match condition() {
            Ok(value) => return value,
            Err(seen) if tokio::time::Instant::now() > end => panic!("never {what}: {seen}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

/// A log in a folder of its own.
pub(crate) fn log_in(dir: &TempDir) -> SharedLog {
    Arc::new(EmbeddedLog::open(EmbeddedConfig::new(dir.path())).unwrap())
}

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

impl World {
    /// Starts with these Triggers on the Broker `ns/broker` of one partition.
    pub(crate) async fn start(log: &SharedLog, triggers: Vec<Trigger>) -> Self {
        Self::start_with(log, Config::default(), 1, triggers).await
    }

    pub(crate) async fn start_with(
        log: &SharedLog,
        config: Config,
        partitions: u32,
        triggers: Vec<Trigger>,
    ) -> Self {
        let world = Self::begin(log, config, partitions, triggers);
        world.ready().await;
        world
    }

    /// The same without waiting for anything.
    pub(crate) fn begin(log: &SharedLog, config: Config, partitions: u32, triggers: Vec<Trigger>) -> Self {
        let broker = BrokerId::new("ns", "broker");
        let settings = TopicSettings { partitions, ..TopicSettings::default() };
        let (routes, receiver) = watch::channel(table(&broker, &settings, triggers));
        let metrics = Metrics::new();
        let mut tasks = TaskGroup::new();
        let client_settings = ClientSettings { trust: Trust::Nobody, ..ClientSettings::default() };
        let client = client(&client_settings, tasks.spawner("connection")).unwrap();
        let dispatcher = Dispatcher::start(config, Arc::clone(log), receiver, client, &metrics, &mut tasks);
        Self { log: Arc::clone(log), dispatcher, routes, metrics, tasks, broker, settings }
    }

    pub(crate) async fn ready(&self) {
        tokio::time::timeout(DEADLINE, self.dispatcher.ready()).await.expect("the dispatcher becomes ready");
    }

    /// Replaces the Triggers and waits until they are served.
    pub(crate) async fn route(&self, triggers: Vec<Trigger>) {
        self.routes.send_replace(table(&self.broker, &self.settings, triggers));
        self.ready().await;
    }

    pub(crate) fn broker(&self) -> Arc<Broker> {
        Arc::clone(&self.routes.borrow().brokers[&self.broker])
    }

    /// Appends an event as the ingress would.
    pub(crate) async fn send(&self, event: Event) -> Position {
        self.send_envelope(Envelope::of(event)).await
    }

    pub(crate) async fn send_envelope(&self, envelope: Envelope) -> Position {
        self.append(vec![envelope.encode(Timestamp(1_000))]).await[0]
    }

    pub(crate) async fn append(&self, records: Vec<Record>) -> Vec<Position> {
        self.log.append(&self.broker().topic, records).await.unwrap()
    }

    pub(crate) fn status(&self) -> Status {
        self.dispatcher.status()
    }

    pub(crate) fn trigger(&self, name: &str) -> TriggerStatus {
        let status = self.status();
        status.trigger(&TriggerId::new("ns", name)).unwrap_or_else(|| panic!("no {name}: {status:?}")).clone()
    }

    /// Waits until the figures of a Trigger are as wanted.
    pub(crate) async fn until(&self, name: &str, what: &str, holds: impl Fn(&Standing) -> bool) -> Standing {
        eventually(what, || {
            let standing = self.trigger(name).total;
            assert_conserved(&standing);
            if holds(&standing) { Ok(standing) } else { Err(format!("{standing:?}")) }
        })
        .await
    }

    /// Everything that lies in the topic, decoded.
    pub(crate) async fn records(&self, topic: &trigon_core::name::TopicName) -> Vec<(Offset, Record)> {
        let mut all = Vec::new();
        let description = self.log.describe_topic(topic).await.unwrap().unwrap();
        for at in description.partitions_of(topic) {
            all.extend(self.records_at(&at).await);
        }
        all
    }

    /// The parked events that have not been sent again, oldest first.
    pub(crate) async fn parked_events(&self) -> Vec<ParkedEvent> {
        let parked = self.dispatcher.parked();
        let all = Selection::default();
        parked.list(&self.broker(), &all, Direction::OldestFirst, None, 1000).await.unwrap().events
    }

    async fn records_at(&self, at: &TopicPartition) -> Vec<(Offset, Record)> {
        let extent = self.log.extent(at).await.unwrap();
        let mut scan = self.log.scan(at, extent.start).await.unwrap();
        let (mut all, mut next) = (Vec::new(), extent.start);
        while next < extent.end {
            let batch = scan.read(1 << 20).await.unwrap();
            next = batch.next;
            all.extend(batch.records);
        }
        all
    }

    /// Stops as an operator would, and says whether everything was finished in time.
    pub(crate) async fn stop(self) {
        let drained = self.dispatcher.drain(Duration::from_secs(20)).await.unwrap();
        assert_eq!(drained.abandoned, 0, "{drained:?}");
        let Self { dispatcher, tasks, .. } = self;
        drop(dispatcher);
        tokio::time::timeout(DEADLINE, tasks.join_all()).await.unwrap().unwrap();
    }
}

/// `matched = delivered + dead-lettered + parked + held`, at every observation.
pub(crate) fn assert_conserved(s: &Standing) {
    let held = (s.queued + s.in_flight + s.retrying) as u64;
    assert_eq!(s.matched, s.delivered + s.dead_lettered + s.parked + held, "{s:?}");
}

pub(crate) fn table(
    broker: &BrokerId,
    settings: &TopicSettings,
    triggers: Vec<Trigger>,
) -> Arc<RoutingTable> {
    let triggers = triggers.into_iter().map(Arc::new).collect();
    let broker = Arc::new(Broker::new(&Installation::default(), broker.clone(), settings.clone(), triggers));
    Arc::new(RoutingTable { brokers: [(broker.id.clone(), broker)].into() })
}

/// A Trigger that takes everything, and retries thrice without much of a wait.
pub(crate) fn trigger(name: &str, subscriber: impl Into<String>) -> Trigger {
    let broker = BrokerId::new("ns", "broker");
    let id = TriggerId::new("ns", name);
    Trigger {
        group: Installation::default().group(&broker, &id),
        id,
        broker,
        filter: Filter::everything(),
        subscriber: destination(subscriber),
        delivery: DeliveryPolicy {
            retry: 3,
            backoff: Some(Backoff { policy: BackoffPolicy::Linear, delay: Duration::from_millis(1) }),
            timeout: Duration::from_secs(20),
            retry_after: RetryAfter::UpTo(Duration::from_secs(5)),
            format: Format::Binary,
            dead_letter_sink: None,
        },
        order: Order::Unordered,
        concurrency: 16,
        rate: None,
        start_from: StartFrom::Earliest,
        state: TriggerState::Active,
    }
}

pub(crate) fn destination(text: impl Into<String>) -> Destination {
    let text = text.into();
    Destination { uri: text.parse().ok(), text }
}

pub(crate) fn event(id: &str) -> Event {
    builder(id).build().unwrap()
}

pub(crate) fn builder(id: &str) -> EventBuilder {
    EventBuilder::new()
        .spec_version("1.0")
        .attribute("id", id.to_owned())
        .attribute("source", "/test")
        .attribute("type", "test.type")
}

/// What a subscriber was sent.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn id(&self) -> &str {
        self.header("ce-id").unwrap_or_default()
    }
}

type Script = Box<dyn FnMut(&Received) -> Answer + Send>;

/// What a subscriber does with a request.
pub(crate) enum Answer {
    Now(Response),
    /// After somebody has said so with [`Subscriber::release`].
    Held(Response),
    Never,
}

impl Answer {
    pub(crate) fn status(status: u16) -> Self {
        Self::Now(StatusCode::from_u16(status).unwrap().into_response())
    }
}

/// A subscriber that records what it gets and answers by a script.
pub(crate) struct Subscriber {
    pub(crate) url: String,
    shared: Arc<Shared>,
    _server: JoinSet<()>,
}

struct Shared {
    received: Mutex<Vec<Received>>,
    script: Mutex<Script>,
    gate: watch::Sender<bool>,
}

impl Subscriber {
    pub(crate) async fn new(script: impl FnMut(&Received) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/in", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            received: Mutex::default(),
            script: Mutex::new(Box::new(script)),
            gate: watch::Sender::new(false),
        });
        let router = Router::new().fallback(serve).with_state(Arc::clone(&shared));
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared, _server: server }
    }

    /// Takes everything with 200.
    pub(crate) async fn taking() -> Self {
        Self::new(|_| Answer::status(200)).await
    }

    /// Answers everything with this status.
    pub(crate) async fn answering(status: u16) -> Self {
        Self::new(move |_| Answer::status(status)).await
    }

    /// Answers with these, one after the other, and then with 200.
    pub(crate) async fn scripted(answers: impl IntoIterator<Item = Answer>) -> Self {
        let mut answers: VecDeque<_> = answers.into_iter().collect();
        Self::new(move |_| answers.pop_front().unwrap_or_else(|| Answer::status(200))).await
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.received().iter().map(|received| received.id().to_owned()).collect()
    }

    /// Waits until this many requests have come.
    pub(crate) async fn got(&self, count: usize) -> Vec<Received> {
        eventually("enough requests", || {
            let received = self.received();
            if received.len() >= count { Ok(received) } else { Err(format!("{} of {count}", received.len())) }
        })
        .await
    }

    /// Lets everything go on that is held.
    pub(crate) fn release(&self) {
        self.shared.gate.send_replace(true);
    }
}

async fn serve(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let received = Received { path: head.uri.path().to_owned(), headers: head.headers, body };
    let answer = {
        let mut script = shared.script.lock().unwrap();
        let answer = (*script)(&received);
        shared.received.lock().unwrap().push(received);
        answer
    };
    match answer {
        Answer::Now(response) => response,
        Answer::Held(response) => {
            shared.gate.subscribe().wait_for(|open| *open).await.unwrap();
            response
        }
        Answer::Never => std::future::pending().await,
    }
}
