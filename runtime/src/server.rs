//! Serving HTTP/1.1 and HTTP/2 without TLS on a listener, within bounds, until the process drains.
//!
//! Owns the connections: how many there are, how large a head may be, how long one may be silent, and how
//! they end. What is answered is the service's business.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval_at, sleep, timeout};
use tower::Service;

use self::answer::AnswerBody;
use crate::metrics::Metrics;
use crate::shutdown::Drain;
use crate::tasks::{BoxError, Spawner, TaskGroup};

mod answer;

/// The bounds of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// How many connections are open at once; more wait in the kernel's queue. Default 16 384.
    pub max_connections: usize,
    /// How large the head of a request may be, in bytes; a larger one is answered 431. Default 64 KiB, at
    /// least 8 KiB.
    pub max_header_bytes: u32,
    /// How many headers a request may have; one with more is answered 431. Default 100.
    pub max_headers: usize,
    /// How many streams an HTTP/2 connection may have open. Default 256.
    pub max_streams: u32,
    /// How long a connection may be without a request, be it idle or slow to send the head of one, before it
    /// is closed; at most twice that long. Default 60 s.
    pub idle_timeout: Duration,
    /// What it means when a client of HTTP/1.1 closes its half of the connection while its request is answered.
    /// Default [`HalfClose::Leaves`].
    pub half_close: HalfClose,
}

/// What it means when a client closes its half of the connection while its request is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HalfClose {
    /// It has left: the answer is dropped at once. To see it, hyper reads ahead while the request runs, into a new
    /// buffer of 8 KiB for each, because the request still holds the one it came in.
    #[default]
    Leaves,
    /// It waits for the answer. One that has left altogether is noticed when the answer is written.
    Waits,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            max_connections: 16_384,
            max_header_bytes: 64 * 1024,
            max_headers: DEFAULT_MAX_HEADERS,
            max_streams: 256,
            idle_timeout: Duration::from_secs(60),
            half_close: HalfClose::Leaves,
        }
    }
}

/// What hyper allows by itself, without allocating for it per request.
const DEFAULT_MAX_HEADERS: usize = 100;

/// How often an HTTP/2 peer is asked whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// How long a connection that was asked to end may take for its last words.
const GOODBYE: Duration = Duration::from_secs(1);

/// How long to wait after the process has run out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The connections of all listeners.
#[derive(Clone, Debug, Default)]
pub struct ServerMetrics {
    open: Family<ListenerLabel, Gauge>,
    accepted: Family<ListenerLabel, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabel {
    listener: &'static str,
}

impl ServerMetrics {
    /// Registers the metrics; once per process.
    pub fn new(metrics: &Metrics) -> Self {
        let this = Self::default();
        metrics.register(|registry| {
            registry.register("open_connections", "Connections open now", this.open.clone());
            registry.register("accepted_connections", "Connections accepted", this.accepted.clone());
        });
        this
    }
}

/// Serves the listener until the drain is closing and the connections have ended, or the drain has expired.
///
/// The name is for logs and metrics.
///
/// # Errors
/// When the listener breaks for good.
pub async fn serve<S, B>(
    name: &'static str,
    listener: TcpListener,
    service: S,
    settings: ServerSettings,
    drain: Drain,
    metrics: ServerMetrics,
) -> io::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let label = ListenerLabel { listener: name };
    let open = metrics.open.get_or_create_owned(&label);
    let accepted = metrics.accepted.get_or_create_owned(&label);
    let places = Arc::new(Semaphore::new(settings.max_connections));
    let streams = TaskGroup::new();
    let protocol = Arc::new(protocol(&settings, streams.spawner("stream")));
    let mut connections = JoinSet::new();
    let mut closing = pin!(drain.closing());

    loop {
        let (stream, place) = tokio::select! {
            biased;
            () = closing.as_mut() => break,
            Some(ended) = connections.join_next() => {
                ended_well(name, ended)?;
                continue;
            }
            accepted = accept(&listener, &places) => accepted?,
        };
        accepted.inc();
        let guard = (place, OpenConnection::new(&open));
        let connection = Connection {
            protocol: Arc::clone(&protocol),
            service: service.clone(),
            settings,
            drain: drain.clone(),
        };
        connections.spawn(async move {
            connection.run(stream).await;
            drop(guard);
        });
    }

    // Closing the socket first lets new connections be refused at once, instead of waiting for an answer.
    drop(listener);
    let ended = async {
        while let Some(ended) = connections.join_next().await {
            ended_well(name, ended)?;
        }
        streams.join_all().await.map_err(io::Error::other)
    };
    tokio::select! {
        ended = ended => ended,
        () = drain.expired() => {
            tracing::warn!(listener = name, "the drain expired with connections open");
            Ok(())
        }
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return Ok((stream, place)),
            Err(error) if is_of_the_peer(&error) => {}
            // Anything else, most likely no file descriptors, passes when connections end.
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset
    )
}

fn ended_well(name: &'static str, ended: Result<(), tokio::task::JoinError>) -> io::Result<()> {
    ended.map_err(|panic| io::Error::other(format!("a connection of listener {name} failed: {panic}")))
}

fn protocol(settings: &ServerSettings, streams: Spawner) -> auto::Builder<Spawner> {
    let mut builder = auto::Builder::new(streams);
    let mut http1 = builder.http1();
    http1.max_buf_size(usize::try_from(settings.max_header_bytes).unwrap_or(usize::MAX));
    http1.half_close(settings.half_close == HalfClose::Waits);
    if settings.max_headers > DEFAULT_MAX_HEADERS {
        http1.max_headers(settings.max_headers);
    }
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .max_concurrent_streams(settings.max_streams)
        .max_header_list_size(settings.max_header_bytes);
    builder
}

struct Connection<S> {
    protocol: Arc<auto::Builder<Spawner>>,
    service: S,
    settings: ServerSettings,
    drain: Drain,
}

impl<S, B> Connection<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    async fn run(self, stream: TcpStream) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "the connection ended before it began");
            return;
        }
        let Self { protocol, service, settings, drain } = self;
        let activity = Arc::new(Activity::default());
        let answers = service_fn({
            let (drain, activity) = (drain.clone(), Arc::clone(&activity));
            move |request: Request<Incoming>| {
                let (service, drain) = (service.clone(), drain.clone());
                let request_guard = ActiveRequest::new(&activity);
                async move {
                    let version = request.version();
                    let mut response = if request.headers().len() > settings.max_headers {
                        too_many_headers(settings.max_headers)
                            .map(|body| AnswerBody::own(body, request_guard))
                    } else {
                        call(service, request).await.map(|body| AnswerBody::of_service(body, request_guard))
                    };
                    if version < Version::HTTP_2 && drain.is_draining() {
                        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                    }
                    Ok::<_, Infallible>(response)
                }
            }
        });

        let mut connection = pin!(protocol.serve_connection(TokioIo::new(stream), answers));
        let mut closing = pin!(drain.closing());
        let start = tokio::time::Instant::now() + settings.idle_timeout;
        let mut checks = interval_at(start, settings.idle_timeout);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = 0;
        let mut ending = false;
        let ended = loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => break ended,
                () = closing.as_mut(), if !ending => {
                    ending = true;
                    connection.as_mut().graceful_shutdown();
                }
                _ = checks.tick() => {
                    if activity.is_silent_since(&mut seen) {
                        connection.as_mut().graceful_shutdown();
                        break timeout(GOODBYE, connection.as_mut()).await.unwrap_or(Ok(()));
                    }
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(error, "the connection broke");
        }
    }
}

async fn call<S, B>(mut service: S, request: Request<Incoming>) -> Response<B>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
{
    let answer = match poll_fn(|cx| service.poll_ready(cx)).await {
        Ok(()) => service.call(request).await,
        Err(never) => Err(never),
    };
    answer.unwrap_or_else(|never| match never {})
}

fn too_many_headers(limit: usize) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("a request may have at most {limit} headers\n")));
    *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// What a connection does, for the check whether it is silent.
#[derive(Debug, Default)]
struct Activity {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Activity {
    /// Whether no request runs, and none has begun or ended since the last call.
    fn is_silent_since(&self, seen: &mut u64) -> bool {
        let ended = self.ended.load(Ordering::Acquire);
        let begun = self.begun.load(Ordering::Acquire);
        let silent = begun == ended && begun + ended == *seen;
        *seen = begun + ended;
        silent
    }
}

/// A request that has begun and whose answer is not written.
#[derive(Debug)]
struct ActiveRequest(Arc<Activity>);

impl ActiveRequest {
    fn new(activity: &Arc<Activity>) -> Self {
        activity.begun.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(activity))
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::AcqRel);
    }
}

struct OpenConnection(Gauge);

impl OpenConnection {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_silent_when_it_has_done_nothing_since_the_last_look() {
        let activity = Arc::new(Activity::default());
        let mut seen = 0;
        assert!(activity.is_silent_since(&mut seen), "nothing has ever come");

        let request = ActiveRequest::new(&activity);
        assert!(!activity.is_silent_since(&mut seen), "one has begun");
        assert!(!activity.is_silent_since(&mut seen), "it still runs");
        drop(request);
        assert!(!activity.is_silent_since(&mut seen), "it has ended since");
        assert!(activity.is_silent_since(&mut seen));
    }
}
