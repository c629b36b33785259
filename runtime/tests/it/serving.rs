//! Connections within their bounds, and how they end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use futures::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use trigon_runtime::metrics::Metrics;
use trigon_runtime::server::{HalfClose, ServerMetrics, ServerSettings, serve};
use trigon_runtime::shutdown::{DrainSettings, Shutdown};
use trigon_runtime::tasks::TaskGroup;

use crate::wire::{Wire, listener, within};

struct World {
    address: SocketAddr,
    shutdown: Shutdown,
    metrics: Metrics,
    tasks: TaskGroup,
}

impl World {
    async fn start(router: Router, settings: ServerSettings, drain: DrainSettings) -> Self {
        let (listener, address) = listener().await;
        let (shutdown, metrics, mut tasks) = (Shutdown::new(drain), Metrics::new(), TaskGroup::new());
        let server = ServerMetrics::new(&metrics);
        tasks.spawn("server", serve("test", listener, router, settings, shutdown.watch(), server));
        Self { address, shutdown, metrics, tasks }
    }

    async fn open_connections(&self, count: usize) {
        let line = format!("trigon_open_connections{{listener=\"test\"}} {count}\n");
        within(&line, async {
            while !self.metrics.encode().unwrap().contains(&line) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    async fn ended(mut self) {
        let failure = within("the server to end", self.tasks.first_failure()).await;
        assert!(failure.is_none(), "{failure:?}");
    }
}

fn hello() -> Router {
    Router::new().route("/", get(async || "hello"))
}

const GET: &str = "GET / HTTP/1.1\r\nhost: trigon\r\n\r\n";

#[tokio::test]
async fn a_connection_that_says_nothing_or_not_enough_is_closed() {
    let settings = ServerSettings { idle_timeout: Duration::from_millis(50), ..ServerSettings::default() };
    let world = World::start(hello(), settings, DrainSettings::default()).await;
    for beginning in ["", "G", "GET / HTTP/1.1\r\nhost: tri", "PRI * HTTP/2.0\r\n\r\n"] {
        let mut slow = Wire::to(world.address).await;
        slow.write(beginning).await;
        assert_eq!(slow.read_to_end().await, "", "{beginning:?}");
    }
    let mut idle = Wire::to(world.address).await;
    idle.write(GET).await;
    assert!(idle.read_to_end().await.ends_with("\r\n\r\nhello"));
}

/// A subscriber of the admin port may wait for hours for the next line.
#[tokio::test]
async fn an_answer_that_is_still_being_written_keeps_its_connection() {
    let (lines, rest) = mpsc::channel::<&'static str>(1);
    let rest = Arc::new(tokio::sync::Mutex::new(Some(rest)));
    let answer = async move || {
        let rest = rest.lock().await.take().unwrap();
        let stream = futures::stream::unfold(rest, async |mut rest| Some((rest.recv().await?, rest)));
        Body::from_stream(stream.map(|line| Ok::<_, std::convert::Infallible>(Bytes::from(line))))
    };
    let router = hello().route("/lines", get(answer));
    let settings = ServerSettings { idle_timeout: Duration::from_millis(20), ..ServerSettings::default() };
    let world = World::start(router, settings, DrainSettings::default()).await;
    let mut reader = Wire::to(world.address).await;
    reader.write("GET /lines HTTP/1.1\r\nhost: trigon\r\n\r\n").await;
    reader.read_until("\r\n\r\n").await;
    // Three connections one after the other are closed for their silence, so the reader was looked at too.
    for _ in 0..3 {
        assert_eq!(Wire::to(world.address).await.read_to_end().await, "");
    }
    lines.send("still here\n").await.unwrap();
    reader.read_until("still here\n").await;
    drop(lines);
    assert!(reader.read_to_end().await.ends_with("0\r\n\r\n"));
}

#[tokio::test]
async fn a_client_that_closes_its_half_waits_or_has_left_as_the_listener_is_told() {
    for half_close in [HalfClose::Waits, HalfClose::Leaves] {
        let answers = Arc::new(Notify::new());
        let may_answer = Arc::clone(&answers);
        let router = Router::new().route(
            "/",
            get(async move || {
                may_answer.notified().await;
                "hello"
            }),
        );
        let settings = ServerSettings { half_close, ..ServerSettings::default() };
        let world = World::start(router, settings, DrainSettings::default()).await;
        let mut reader = Wire::to(world.address).await;
        reader.write(GET).await;
        reader.0.shutdown().await.unwrap();
        match half_close {
            HalfClose::Waits => {
                answers.notify_one();
                assert!(reader.read_to_end().await.ends_with("\r\n\r\nhello"));
            }
            HalfClose::Leaves => assert_eq!(reader.read_to_end().await, "", "nobody let it answer"),
        }
    }
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_for_a_place() {
    let settings = ServerSettings { max_connections: 1, ..ServerSettings::default() };
    let world = World::start(hello(), settings, DrainSettings::default()).await;
    let mut first = Wire::to(world.address).await;
    first.write(GET).await;
    first.read_until("hello").await;
    let mut second = Wire::to(world.address).await;
    second.write(GET).await;
    first.write(GET).await;
    first.read_until("hello").await;
    world.open_connections(1).await;
    assert!(futures::FutureExt::now_or_never(second.read_until("hello")).is_none());
    drop(first);
    second.read_until("hello").await;
}

#[tokio::test]
async fn a_drain_that_expires_leaves_what_hangs() {
    let begun = Arc::new(Notify::new());
    let hangs = Arc::clone(&begun);
    let router = Router::new().route(
        "/",
        get(async move || {
            hangs.notify_one();
            std::future::pending::<&str>().await
        }),
    );
    let drain = DrainSettings { quiet_period: Duration::ZERO, deadline: Duration::from_millis(50) };
    let world = World::start(router, ServerSettings::default(), drain).await;
    let mut reader = Wire::to(world.address).await;
    reader.write(GET).await;
    within("the request", begun.notified()).await;
    world.shutdown.drain();
    assert_eq!(reader.read_to_end().await, "");
    world.ended().await;
}

#[tokio::test]
async fn an_aborted_drain_ends_at_once() {
    let begun = CancellationToken::new();
    let hangs = begun.clone();
    let router = Router::new().route(
        "/",
        get(async move || {
            hangs.cancel();
            std::future::pending::<&str>().await
        }),
    );
    let drain = DrainSettings { quiet_period: Duration::ZERO, deadline: Duration::from_secs(3600) };
    let world = World::start(router, ServerSettings::default(), drain).await;
    let mut reader = Wire::to(world.address).await;
    reader.write(GET).await;
    within("the request", begun.cancelled()).await;
    world.shutdown.drain();
    world.shutdown.abort();
    assert_eq!(reader.read_to_end().await, "");
    world.ended().await;
}

/// IN-23
#[tokio::test]
async fn in_the_quiet_period_new_connections_are_served_and_then_closed() {
    let drain = DrainSettings { quiet_period: Duration::from_secs(600), deadline: Duration::from_secs(900) };
    let world = World::start(hello(), ServerSettings::default(), drain).await;
    world.shutdown.drain();
    let mut reader = Wire::to(world.address).await;
    reader.write(GET).await;
    let answer = reader.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    world.shutdown.abort();
    within("the listener to close", async {
        while TcpStream::connect(world.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    world.ended().await;
}

#[tokio::test]
async fn a_panic_in_an_answer_reaches_the_supervisor() {
    let router = Router::new().route("/", get(async || -> &'static str { panic!("over board") }));
    let mut world = World::start(router, ServerSettings::default(), DrainSettings::default()).await;
    let mut reader = Wire::to(world.address).await;
    reader.write(GET).await;
    let failure = within("the failure", world.tasks.first_failure()).await.unwrap();
    assert_eq!(failure.to_string(), "task server failed");
}
