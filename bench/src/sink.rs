//! The subscriber of the measurements: takes events as fast as it can, and knows each by its number.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::figures::Latencies;
use crate::wire::Wire;
use crate::{BenchError, load};

/// A server on a port of its own; every path is a subscriber by itself. It stops when it is dropped.
#[derive(Debug)]
pub(crate) struct Sink {
    address: SocketAddr,
    shared: Arc<Shared>,
    _server: JoinSet<()>,
}

/// How a path answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 202 at once.
    Take,
    /// 503 at once.
    Refuse,
    /// 202 after so long.
    TakeAfter(Duration),
}

#[derive(Debug)]
struct Shared {
    /// The zero of the times that events carry.
    start: Instant,
    paths: Mutex<HashMap<String, Path>>,
    taken: AtomicU64,
}

#[derive(Debug, Default)]
struct Path {
    answer: Option<Answer>,
    /// How often each event was taken, by its number.
    times: Vec<u8>,
    taken: u64,
    latencies: Latencies,
    last: Option<Instant>,
}

/// What a path has taken.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    /// How many times it took an event.
    pub(crate) taken: u64,
    /// How many different events.
    pub(crate) distinct: u64,
    /// From the moment an event was meant to be sent until it was taken, the first time.
    pub(crate) latencies: Latencies,
    /// When it took one last.
    pub(crate) last: Option<Instant>,
}

const TAKEN: &[u8] = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n";
const REFUSED: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";

impl Sink {
    /// Starts on any free port.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) async fn start(start: Instant) -> Result<Self, BenchError> {
        let fail = |error| BenchError::Io("could not start the sink".to_owned(), error);
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        let shared = Arc::new(Shared { start, paths: Mutex::new(HashMap::new()), taken: AtomicU64::new(0) });
        let mut server = JoinSet::new();
        server.spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, _server: server })
    }

    /// The URL of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// From now on, answers on a path like this.
    pub(crate) fn answer(&self, path: &str, answer: Answer) {
        self.shared.lock().entry(path.to_owned()).or_default().answer = Some(answer);
    }

    /// How many times all paths together took an event.
    pub(crate) fn total(&self) -> u64 {
        self.shared.taken.load(Ordering::Relaxed)
    }

    /// How many times a path took an event.
    pub(crate) fn count(&self, path: &str) -> u64 {
        self.shared.lock().get(path).map_or(0, |path| path.taken)
    }

    /// What a path has taken.
    pub(crate) fn taken(&self, path: &str) -> Taken {
        let mut paths = self.shared.lock();
        let path = paths.entry(path.to_owned()).or_default();
        let distinct = path.times.iter().filter(|times| **times > 0).count();
        Taken {
            taken: path.taken,
            distinct: u64::try_from(distinct).unwrap_or(u64::MAX),
            latencies: path.latencies.clone(),
            last: path.last,
        }
    }

    /// Forgets the latencies of a path, so that a phase has its own.
    pub(crate) fn forget_latencies(&self, path: &str) {
        self.shared.lock().entry(path.to_owned()).or_default().latencies = Latencies::default();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Path>> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, path: &str) -> Answer {
        self.lock().get(path).and_then(|path| path.answer).unwrap_or(Answer::Take)
    }

    fn take(&self, path: &str, number: usize, due: Duration) {
        let now = Instant::now();
        let mut paths = self.lock();
        let path = match paths.get_mut(path) {
            Some(path) => path,
            None => paths.entry(path.to_owned()).or_default(),
        };
        if path.times.len() <= number {
            path.times.resize((number + 1).next_power_of_two(), 0);
        }
        if path.times[number] == 0 {
            path.latencies.record(now.saturating_duration_since(self.start + due));
        }
        path.times[number] = path.times[number].saturating_add(1);
        path.taken += 1;
        path.last = Some(now);
        self.taken.fetch_add(1, Ordering::Relaxed);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(serve(stream, Arc::clone(&shared)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Answers until the other side goes away, or sends what cannot be read: a broken connection is what it then sees.
async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let Ok(mut wire) = Wire::new(stream) else { return };
    loop {
        let (path, number, due) = match wire.read().await {
            Ok(Some(head)) => {
                let number = head.header("ce-id").and_then(|id| id.parse().ok());
                let due = head.header(load::DUE_HEADER).and_then(|due| due.parse().ok());
                (head.path().to_owned(), number.unwrap_or(0), Duration::from_nanos(due.unwrap_or(0)))
            }
            Ok(None) | Err(_) => return,
        };
        let answer = shared.answer(&path);
        let written = match answer {
            Answer::Refuse => wire.write(REFUSED).await,
            Answer::Take | Answer::TakeAfter(_) => {
                if let Answer::TakeAfter(delay) = answer {
                    tokio::time::sleep(delay).await;
                }
                shared.take(&path, number, due);
                wire.write(TAKEN).await
            }
        };
        if written.is_err() {
            return;
        }
    }
}
