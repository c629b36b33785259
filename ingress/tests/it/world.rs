//! An ingress that listens, a log behind it and a client before it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use trigon_core::binding::record::Envelope;
use trigon_core::name::{BrokerId, Installation, TopicName};
use trigon_core::routing::{Broker, RoutingTable, TopicSettings};
use trigon_eventlog::EventLog;
use trigon_ingress::ingress::Parties;
use trigon_ingress::{Ingress, IngressSettings, Served};
use trigon_runtime::metrics::Metrics;
use trigon_runtime::server::{HalfClose, ServerMetrics, ServerSettings, serve};
use trigon_runtime::shutdown::{DrainSettings, Shutdown};
use trigon_runtime::tasks::TaskGroup;

use crate::memory::MemoryLog;

/// Everything that a test waits for must have happened by then; only a test that fails gets there.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The path of the Broker that is there.
pub(crate) const BROKER: &str = "/default/orders";

/// The attributes that an event needs.
pub(crate) const EVENT: [(&str, &str); 4] =
    [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/test"), ("ce-type", "test.done")];

pub(crate) const JSON: (&str, &str) = ("content-type", "application/cloudevents+json");
pub(crate) const JSON_BATCH: (&str, &str) = ("content-type", "application/cloudevents-batch+json");

pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) served: Arc<ArcSwap<Served>>,
    pub(crate) ingress: Ingress,
    pub(crate) shutdown: Shutdown,
    pub(crate) metrics: Metrics,
    pub(crate) tasks: TaskGroup,
    http1: Client<HttpConnector, Full<Bytes>>,
    http2: Client<HttpConnector, Full<Bytes>>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(IngressSettings::default(), DrainSettings::default()).await
    }

    pub(crate) async fn with(settings: IngressSettings, drain: DrainSettings) -> Self {
        Self::with_half_close(settings, drain, HalfClose::Waits).await
    }

    pub(crate) async fn with_half_close(
        settings: IngressSettings,
        drain: DrainSettings,
        half_close: HalfClose,
    ) -> Self {
        let log = Arc::new(MemoryLog::new());
        let broker = Broker::new(&Installation::default(), broker_id(), TopicSettings::default(), Vec::new());
        log.create_topic(&broker.topic, &broker.topic_settings).await.unwrap();
        let table = RoutingTable { brokers: [(broker.id.clone(), Arc::new(broker))].into() };
        let served = Arc::new(ArcSwap::from_pointee(Served::from(table)));

        let metrics = Metrics::new();
        let shutdown = Shutdown::new(drain);
        let mut tasks = TaskGroup::new();
        let parties = Parties {
            served: Arc::clone(&served),
            log: Arc::clone(&log) as Arc<dyn EventLog>,
            drain: shutdown.watch(),
            spawner: tasks.spawner("append"),
        };
        let ingress = Ingress::new(parties, settings, &metrics);

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server_settings = ServerSettings { half_close, ..ServerSettings::default() };
        let server_metrics = ServerMetrics::new(&metrics);
        let service = ingress.clone();
        tasks.spawn(
            "ingress",
            serve("ingress", listener, service, server_settings, shutdown.watch(), server_metrics),
        );
        let connections = tasks.spawner("client");
        let http1 = Client::builder(connections.clone()).build_http();
        let http2 = Client::builder(connections).http2_only(true).build_http();
        Self { address, log, served, ingress, shutdown, metrics, tasks, http1, http2 }
    }

    /// Posts to the Broker that is there.
    pub(crate) async fn post(&self, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
        self.send(Method::POST, BROKER, headers, body).await
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        self.send_by(&self.http1, method, path, headers, body.into()).await
    }

    /// Posts by HTTP/2 with prior knowledge.
    pub(crate) async fn post_by_http2(&self, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
        self.send_by(&self.http2, Method::POST, BROKER, headers, body.into()).await
    }

    async fn send_by(
        &self,
        client: &Client<HttpConnector, Full<Bytes>>,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answered = client.request(request.body(Full::new(body)).unwrap());
        let answer = within("an answer", answered).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body = within("the body of the answer", body.collect()).await.unwrap().to_bytes();
        Reply {
            status: parts.status,
            version: parts.version,
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    /// What is stored, decoded.
    pub(crate) fn stored(&self) -> Vec<Envelope> {
        self.log.records(&topic()).iter().map(|record| Envelope::decode(record).unwrap()).collect()
    }

    /// The one event that is stored.
    pub(crate) fn only_stored(&self) -> Envelope {
        let mut stored = self.stored();
        assert_eq!(stored.len(), 1, "{stored:?}");
        stored.remove(0)
    }

    /// Opens a connection to write anything to.
    pub(crate) async fn connect(&self) -> Wire {
        Wire { stream: TcpStream::connect(self.address).await.unwrap() }
    }

    /// Whether the metrics have this line.
    pub(crate) fn has_metric(&self, line: &str) -> bool {
        self.metrics.encode().unwrap().lines().any(|there| there == line)
    }

    /// Waits until the metrics have this line.
    pub(crate) async fn metric(&self, line: &str) {
        let there = async {
            while !self.has_metric(line) {
                tokio::task::yield_now().await;
            }
        };
        if tokio::time::timeout(PATIENCE, there).await.is_err() {
            panic!("no {line} in\n{}", self.metrics.encode().unwrap());
        }
    }
}

/// A connection of which the test writes every byte.
pub(crate) struct Wire {
    stream: TcpStream,
}

impl Wire {
    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Says that nothing more will be written.
    pub(crate) async fn close_half(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Writes as much as the other side takes; says whether it took all.
    pub(crate) async fn try_write(&mut self, bytes: &[u8]) -> bool {
        within("the other side to read or to close", self.stream.write_all(bytes)).await.is_ok()
    }

    /// Reads until the answers so far end with this text.
    pub(crate) async fn read_until(&mut self, end: &str) -> String {
        let mut text = Vec::new();
        while !text.ends_with(end.as_bytes()) {
            let mut next = [0];
            let read = within(end, self.stream.read(&mut next)).await.unwrap();
            assert!(read == 1, "the connection ended after {:?}", String::from_utf8_lossy(&text));
            text.push(next[0]);
        }
        String::from_utf8(text).unwrap()
    }

    /// Reads until the other side closes, be it politely or not.
    pub(crate) async fn read_to_end(&mut self) -> String {
        let mut text = Vec::new();
        // A reset ends the connection as well as an end of file, and what came before it counts.
        drop(within("the end of the connection", self.stream.read_to_end(&mut text)).await);
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// A request for the Broker that is there, as text.
pub(crate) fn request(id: &str, more: &str, body: &str) -> String {
    format!(
        "POST {BROKER} HTTP/1.1\r\nhost: trigon\r\nce-specversion: 1.0\r\nce-id: {id}\r\nce-source: /test\r\n\
         ce-type: test.done\r\n{more}\r\n{body}"
    )
}

/// The name of the Broker that is there.
pub(crate) fn broker_id() -> BrokerId {
    BrokerId::new("default", "orders")
}

/// The topic of the Broker that is there.
pub(crate) fn topic() -> TopicName {
    Installation::default().topic(&broker_id())
}

/// Waits for what must happen.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited {PATIENCE:?} for {what}"),
    }
}
