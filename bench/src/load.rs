//! The load: an open loop at a rate, or as fast as events are taken.
//!
//! In the open loop every event has a moment at which it is due, whatever became of those before it, and latencies
//! count from there: an answer that comes late makes those behind it late too, and is seen to (no coordinated
//! omission).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::BenchError;
use crate::figures::Latencies;
use crate::wire::Wire;

/// Carries when the event was due, in nanoseconds since the start of the measurement.
pub(crate) const DUE_HEADER: &str = "ce-benchdue";

/// What to send, and where.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// Where.
    pub(crate) address: SocketAddr,
    /// The path of the Broker.
    pub(crate) path: String,
    /// Requests at once, each on a connection of its own.
    pub(crate) connections: usize,
    /// The size of the data, in bytes.
    pub(crate) bytes: usize,
    /// How many types the events have: `t0`, `t1`, … in turn.
    pub(crate) types: u64,
    /// The zero of the times that events carry.
    pub(crate) start: Instant,
    /// The number of the first event.
    pub(crate) first: u64,
}

/// How fast to send.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// So many per second.
    Open(u32),
    /// The next one as soon as a connection is free.
    Saturating,
}

/// What became of the load.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent {
    /// Answered 202.
    pub(crate) accepted: u64,
    /// Answered otherwise.
    pub(crate) refused: u64,
    /// Not answered.
    pub(crate) broken: u64,
    /// From due to answered.
    pub(crate) latencies: Latencies,
    /// How long it took to send.
    pub(crate) elapsed: Duration,
    /// The number after the last one that was sent.
    pub(crate) next: u64,
}

impl Sent {
    /// Accepted per second.
    pub(crate) fn rate(&self) -> f64 {
        crate::figures::number(self.accepted) / self.elapsed.as_secs_f64()
    }
}

/// A load under way.
#[derive(Debug)]
pub(crate) struct Sending {
    workers: JoinSet<Sent>,
    shared: Arc<Shared>,
    began: Instant,
    /// Sets events due; ends when the load does.
    pacer: Option<std::thread::JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    load: Load,
    next: AtomicU64,
    is_over: AtomicBool,
    accepted: AtomicU64,
    due: Semaphore,
    pace: Pace,
    began: Instant,
}

impl Load {
    /// Starts sending.
    pub(crate) fn send(&self, pace: Pace) -> Sending {
        let began = Instant::now();
        let permits = match pace {
            Pace::Open(_) => 0,
            Pace::Saturating => Semaphore::MAX_PERMITS,
        };
        let shared = Arc::new(Shared {
            load: self.clone(),
            next: AtomicU64::new(self.first),
            is_over: AtomicBool::new(false),
            accepted: AtomicU64::new(0),
            due: Semaphore::new(permits),
            pace,
            began,
        });
        let mut workers = JoinSet::new();
        for _ in 0..self.connections {
            workers.spawn(work(Arc::clone(&shared)));
        }
        let pacer = match pace {
            Pace::Saturating => None,
            // A thread of its own: a runtime's timers are a millisecond wide.
            Pace::Open(rate) => Some(std::thread::spawn({
                let shared = Arc::clone(&shared);
                move || set_due(&shared, rate)
            })),
        };
        Sending { workers, shared, began, pacer }
    }

    /// Sends for so long.
    ///
    /// # Errors
    /// When a worker broke.
    pub(crate) async fn send_for(&self, pace: Pace, duration: Duration) -> Result<Sent, BenchError> {
        let sending = self.send(pace);
        tokio::time::sleep(duration).await;
        sending.stop().await
    }
}

impl Sending {
    /// How many were accepted so far.
    pub(crate) fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Sends nothing more, and waits for the answers that are due.
    ///
    /// # Errors
    /// When a worker broke.
    pub(crate) async fn stop(mut self) -> Result<Sent, BenchError> {
        self.shared.is_over.store(true, Ordering::Relaxed);
        let mut sum = Sent { elapsed: self.began.elapsed(), ..Sent::default() };
        self.shared.due.close();
        while let Some(sent) = self.workers.join_next().await {
            let sent =
                sent.map_err(|error| BenchError::Failed(format!("a worker of the load broke: {error}")))?;
            sum.accepted += sent.accepted;
            sum.refused += sent.refused;
            sum.broken += sent.broken;
            sum.latencies.merge(&sent.latencies);
        }
        if let Some(Err(_)) = self.pacer.take().map(std::thread::JoinHandle::join) {
            return Err(BenchError::Failed("the pacer of the load broke".to_owned()));
        }
        sum.next = self.shared.next.load(Ordering::Relaxed);
        Ok(sum)
    }
}

/// How long after its start the event with this place is due.
fn due(place: u64, rate: u32) -> Duration {
    Duration::from_nanos(place.saturating_mul(1_000_000_000) / u64::from(rate.max(1)))
}

fn set_due(shared: &Shared, rate: u32) {
    let mut place = 0;
    while !shared.is_over.load(Ordering::Relaxed) {
        let elapsed = shared.began.elapsed();
        let wait = due(place, rate).saturating_sub(elapsed);
        if wait > Duration::ZERO {
            std::thread::sleep(wait);
        }
        shared.due.add_permits(1);
        place += 1;
    }
}

/// After a connection broke, this long: a server that is not there refuses at once.
const PAUSE: Duration = Duration::from_millis(5);

async fn work(shared: Arc<Shared>) -> Sent {
    let mut sent = Sent::default();
    let mut message = Message::new(&shared.load);
    let mut wire = None;
    while let Ok(permit) = shared.due.acquire().await {
        if shared.is_over.load(Ordering::Relaxed) {
            break;
        }
        if let Pace::Open(_) = shared.pace {
            permit.forget();
        } else {
            drop(permit);
        }
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        let due = match shared.pace {
            Pace::Open(rate) => shared.began + due(number - shared.load.first, rate),
            Pace::Saturating => Instant::now(),
        };
        message.set(number, due.saturating_duration_since(shared.load.start), shared.load.types);
        match exchange(&mut wire, shared.load.address, &message).await {
            Ok(202) => {
                sent.accepted += 1;
                shared.accepted.fetch_add(1, Ordering::Relaxed);
                sent.latencies.record(due.elapsed());
            }
            Ok(_) => sent.refused += 1,
            Err(_) => {
                sent.broken += 1;
                wire = None;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    sent
}

async fn exchange(wire: &mut Option<Wire>, address: SocketAddr, message: &Message) -> std::io::Result<u16> {
    let wire = match wire {
        Some(wire) => wire,
        None => wire.insert(Wire::new(TcpStream::connect(address).await?)?),
    };
    wire.write(&message.0).await?;
    let answer = wire.read().await?;
    let status = answer.and_then(|head| head.status());
    status.ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
}

/// A request whose number, due time and type are written into their places.
struct Message(Vec<u8>, [usize; 3]);

/// As wide as any u64 in decimal.
const DIGITS: usize = 20;
/// As wide as any type's number.
const TYPE_DIGITS: usize = 6;

impl Message {
    fn new(load: &Load) -> Self {
        let mut bytes = format!(
            "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: text/plain\r\nce-specversion: 1.0\r\nce-source: /bench\r\n\
             content-length: {}\r\nce-id: ",
            load.path, load.address, load.bytes
        )
        .into_bytes();
        let id = bytes.len();
        bytes.extend([b'0'; DIGITS]);
        bytes.extend(format!("\r\n{DUE_HEADER}: ").as_bytes());
        let due = bytes.len();
        bytes.extend([b'0'; DIGITS]);
        bytes.extend(b"\r\nce-type: t");
        let of_type = bytes.len();
        bytes.extend([b'0'; TYPE_DIGITS]);
        bytes.extend(b"\r\n\r\n");
        bytes.extend(std::iter::repeat_n(b'x', load.bytes));
        Self(bytes, [id, due, of_type])
    }

    fn set(&mut self, number: u64, due: Duration, types: u64) {
        let [id, at, of_type] = self.1;
        let nanos = u64::try_from(due.as_nanos()).unwrap_or(u64::MAX);
        self.0[id..id + DIGITS].copy_from_slice(format!("{number:0DIGITS$}").as_bytes());
        self.0[at..at + DIGITS].copy_from_slice(format!("{nanos:0DIGITS$}").as_bytes());
        let text = type_name(number % types.max(1));
        self.0[of_type - 1..of_type + TYPE_DIGITS].copy_from_slice(text.as_bytes());
    }
}

/// The name of an event type.
pub(crate) fn type_name(number: u64) -> String {
    format!("t{number:0TYPE_DIGITS$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_carries_its_number_its_due_time_and_its_type() {
        let load = Load {
            address: ([127, 0, 0, 1], 1).into(),
            path: "/a/b".to_owned(),
            connections: 1,
            bytes: 3,
            types: 10,
            start: Instant::now(),
            first: 0,
        };
        let mut message = Message::new(&load);
        message.set(42, Duration::from_nanos(7), load.types);
        let text = String::from_utf8(message.0).unwrap();
        for part in [
            "ce-id: 00000000000000000042\r\n",
            "ce-benchdue: 00000000000000000007\r\n",
            "ce-type: t000002\r\n",
        ] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
        assert!(text.ends_with("\r\n\r\nxxx"), "{text}");
    }

    #[test]
    fn events_are_due_at_their_rate() {
        assert_eq!(due(0, 4), Duration::ZERO);
        assert_eq!(due(3, 4), Duration::from_millis(750));
    }
}
