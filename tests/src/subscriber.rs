//! A subscriber that records what it gets and answers as a test says, path by path.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::wait;

mod reply;

pub use reply::Reply;

/// A server on a port of its own; every path is a subscriber by itself. It stops when it is dropped.
#[derive(Debug)]
pub struct Subscriber {
    address: SocketAddr,
    paths: Arc<Paths>,
    _server: JoinSet<()>,
}

/// Decides what is answered.
pub type Behaviour = Arc<dyn Fn(&Received) -> Reply + Send + Sync>;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// Its place among the requests of its path, from 1.
    pub order: usize,
    /// How often its event was received on that path, this time counted.
    pub attempt: u32,
    /// The method.
    pub method: Method,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; its first [`KEPT_BODY`] bytes, in a copy of their own, when it is longer.
    pub body: Bytes,
    /// When it had arrived.
    pub at: Instant,
}

/// Of each path so many whole requests are kept; of later ones the event's id only.
pub const KEPT: usize = 2_000;

/// Of each request's body so many bytes are kept.
pub const KEPT_BODY: usize = 64 * 1024;

#[derive(Default)]
struct Paths(Mutex<HashMap<String, Path>>);

struct Path {
    behaviour: Behaviour,
    kept: Vec<Received>,
    count: usize,
    attempts: HashMap<String, u32>,
    taken: Taken,
    answering: usize,
    /// One permit per answer that may go out, while the path is held.
    gate: Arc<Semaphore>,
}

/// What a path has answered with 2xx.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// How often each event, by its id.
    pub times: HashMap<String, u32>,
    /// When each answer went out.
    pub at: Vec<Instant>,
    /// The event of each answer, by its id, in the same order.
    pub ids: Vec<String>,
    /// The most requests that there were to answer at once.
    pub most_at_once: usize,
}

impl Default for Path {
    fn default() -> Self {
        Self {
            behaviour: Arc::new(|_| Reply::status(202)),
            kept: Vec::new(),
            count: 0,
            attempts: HashMap::new(),
            taken: Taken::default(),
            answering: 0,
            gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
        }
    }
}

impl fmt::Debug for Paths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts: HashMap<_, _> = self.lock().iter().map(|(path, it)| (path.clone(), it.count)).collect();
        f.debug_tuple("Paths").field(&counts).finish()
    }
}

impl Paths {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Path>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An address where nobody listens, until a subscriber starts there.
///
/// # Panics
/// When the machine has no free port.
pub fn dead_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("the machine has a free port");
    listener.local_addr().expect("a bound socket has an address")
}

impl Subscriber {
    /// Starts on any free port; every path answers 202 until it is told otherwise.
    ///
    /// # Panics
    /// When the machine has no free port.
    pub async fn start() -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into()).await
    }

    /// Starts at that address.
    ///
    /// # Panics
    /// When the address is taken.
    pub async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("the address is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let paths = Arc::new(Paths::default());
        let app = Router::new().fallback(answer).with_state(Arc::clone(&paths));
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, app).await.expect("a listener goes on accepting") });
        Self { address, paths, _server: server }
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// From now on, answers on a path like this.
    pub fn on(&self, path: &str, behaviour: impl Fn(&Received) -> Reply + Send + Sync + 'static) {
        self.paths.lock().entry(path.to_owned()).or_default().behaviour = Arc::new(behaviour);
    }

    /// Keeps the answers of a path back until [`release`](Self::release): requests arrive and wait.
    pub fn hold(&self, path: &str) {
        self.paths.lock().entry(path.to_owned()).or_default().gate = Arc::new(Semaphore::new(0));
    }

    /// Lets the answers of a path go out.
    pub fn release(&self, path: &str) {
        let mut paths = self.paths.lock();
        let path = paths.entry(path.to_owned()).or_default();
        path.gate.add_permits(Semaphore::MAX_PERMITS - path.gate.available_permits());
    }

    /// How many requests a path has received.
    pub fn count(&self, path: &str) -> usize {
        self.paths.lock().get(path).map_or(0, |path| path.count)
    }

    /// How many different events a path has answered with 2xx.
    pub fn taken_count(&self, path: &str) -> usize {
        self.paths.lock().get(path).map_or(0, |path| path.taken.times.len())
    }

    /// What a path has answered with 2xx.
    pub fn taken(&self, path: &str) -> Taken {
        self.paths.lock().get(path).map(|path| path.taken.clone()).unwrap_or_default()
    }

    /// The most requests that a path had to answer at once.
    pub fn most_at_once(&self, path: &str) -> usize {
        self.paths.lock().get(path).map_or(0, |path| path.taken.most_at_once)
    }

    /// The requests of a path, the first [`KEPT`] of them.
    pub fn received(&self, path: &str) -> Vec<Received> {
        self.paths.lock().get(path).map(|path| path.kept.clone()).unwrap_or_default()
    }

    /// The ids of the events of a path, in order of arrival, the first [`KEPT`] of them.
    pub fn ids(&self, path: &str) -> Vec<String> {
        self.received(path).iter().map(|received| received.attribute("id").unwrap_or_default()).collect()
    }

    /// Waits until a path has received so many requests, and gives those that it has.
    ///
    /// # Panics
    /// When that takes longer than the deadline.
    pub async fn receives(&self, path: &str, count: usize) -> Vec<Received> {
        wait::until(&format!("{count} requests on {path}"), async || match self.count(path) {
            seen if seen >= count => Ok(()),
            seen => Err(format!("{seen}")),
        })
        .await;
        self.received(path)
    }

    /// Waits until a path has taken so many different events.
    ///
    /// # Panics
    /// When that takes longer than the deadline.
    pub async fn takes(&self, path: &str, count: usize) {
        wait::until(&format!("{count} events taken on {path}"), async || match self.taken_count(path) {
            seen if seen >= count => Ok(()),
            seen => Err(format!("{seen}")),
        })
        .await;
    }
}

impl Received {
    /// An attribute of the event, in whichever mode it came; `datacontenttype` included.
    pub fn attribute(&self, name: &str) -> Option<String> {
        if let Some(event) = self.structured() {
            return match event.get(name)? {
                Value::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            };
        }
        let header = if name == "datacontenttype" { "content-type".to_owned() } else { format!("ce-{name}") };
        self.headers.get(header).map(|value| percent_decode(value.as_bytes()))
    }

    /// The JSON object, when it came in structured mode.
    pub fn structured(&self) -> Option<Value> {
        let content_type = self.headers.get(CONTENT_TYPE)?.to_str().ok()?;
        content_type
            .starts_with("application/cloudevents+json")
            .then(|| serde_json::from_slice(&self.body).ok())?
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// All attributes that came as headers, sorted by name.
    pub fn header_attributes(&self) -> Vec<(String, String)> {
        let prefixed = self.headers.iter().filter_map(|(name, value)| {
            Some((name.as_str().strip_prefix("ce-")?.to_owned(), percent_decode(value.as_bytes())))
        });
        let mut attributes: Vec<_> = prefixed.collect();
        attributes.sort();
        attributes
    }
}

fn percent_decode(bytes: &[u8]) -> String {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if first == b'%' => {
                decoded.push(byte);
                rest = &tail[2..];
            }
            _ => {
                decoded.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

async fn answer(State(paths): State<Arc<Paths>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let name = parts.uri.path().to_owned();
    let Ok(body) = body.collect().await else {
        // The sender went away; there is nobody to answer.
        return Response::new(Body::empty());
    };
    let mut received = Received {
        order: 0,
        attempt: 0,
        method: parts.method,
        headers: parts.headers,
        body: kept(body.to_bytes()),
        at: Instant::now(),
    };
    let id = received.attribute("id").unwrap_or_default();
    let (reply, gate) = {
        let mut paths = paths.lock();
        let path = paths.entry(name.clone()).or_default();
        path.count += 1;
        path.answering += 1;
        path.taken.most_at_once = path.taken.most_at_once.max(path.answering);
        let attempts = path.attempts.entry(id.clone()).or_default();
        *attempts += 1;
        received.order = path.count;
        received.attempt = *attempts;
        if path.kept.len() < KEPT {
            path.kept.push(received.clone());
        }
        ((path.behaviour)(&received), Arc::clone(&path.gate))
    };
    let _answering = Answering { paths: &paths, path: &name };
    let _permit = gate.acquire().await;
    let (is_success, response) = reply.into_response().await;
    if is_success {
        let mut paths = paths.lock();
        let taken = &mut paths.entry(name.clone()).or_default().taken;
        *taken.times.entry(id.clone()).or_default() += 1;
        taken.ids.push(id);
        taken.at.push(Instant::now());
    }
    response
}

fn kept(body: Bytes) -> Bytes {
    if body.len() > KEPT_BODY { Bytes::copy_from_slice(&body[..KEPT_BODY]) } else { body }
}

/// A request that is not answered yet; a sender that gives up drops it too.
struct Answering<'a> {
    paths: &'a Paths,
    path: &'a str,
}

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        if let Some(path) = self.paths.lock().get_mut(self.path) {
            path.answering -= 1;
        }
    }
}
