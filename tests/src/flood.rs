//! Producers at full speed, with an exact account of what was accepted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use tokio::task::JoinSet;

use crate::event::Event;
use crate::producer::Producer;

/// What to send.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// How many requests may be under way at once, each on a connection of its own.
    pub connections: usize,
    /// The size of each event's data, in bytes.
    pub bytes: usize,
    /// How many different values of `partitionkey` there are; 0 leaves it out.
    pub keys: usize,
}

impl Default for Load {
    fn default() -> Self {
        Self { connections: 16, bytes: 128, keys: 0 }
    }
}

/// Producers that send until they are stopped.
#[derive(Debug)]
pub struct Flood {
    workers: JoinSet<Account>,
    is_over: Arc<AtomicBool>,
    accepted: Arc<AtomicUsize>,
}

/// What became of the events that were sent.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// The ids of those that were answered 202.
    pub accepted: Vec<String>,
    /// How many had another answer.
    pub refused: usize,
    /// How many had none: they may be stored or not.
    pub unknown: usize,
}

/// A server that is not there refuses at once; without a pause a worker would only spin.
const PAUSE: Duration = Duration::from_millis(20);

impl Flood {
    /// Starts sending; ids begin with the prefix, and each is used once.
    pub fn start(url: &str, prefix: &str, load: Load) -> Self {
        Self::start_on(&[url.to_owned()], prefix, load)
    }

    /// The same to several URLs, shared equally by the connections.
    pub fn start_on(urls: &[String], prefix: &str, load: Load) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let accepted = Arc::new(AtomicUsize::new(0));
        let mut workers = JoinSet::new();
        for worker in 0..load.connections {
            let producer = Producer::new(&urls[worker % urls.len()]);
            let (is_over, accepted) = (Arc::clone(&is_over), Arc::clone(&accepted));
            let data = Bytes::from(vec![b'x'; load.bytes]);
            let prefix = format!("{prefix}-{worker}");
            workers.spawn(async move {
                let mut account = Account::default();
                for n in 0_usize.. {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    let id = format!("{prefix}-{n}");
                    let mut event = Event::new(&id).data("text/plain", data.clone());
                    if load.keys > 0 {
                        event = event.with("partitionkey", format!("k{}", (worker + n) % load.keys));
                    }
                    let (headers, body) = event.binary();
                    match producer.request(Method::POST, headers, body).await {
                        Ok(answer) if answer.status == StatusCode::ACCEPTED => {
                            account.accepted.push(id);
                            accepted.fetch_add(1, Ordering::Relaxed);
                            continue;
                        }
                        Ok(_) => account.refused += 1,
                        Err(_) => account.unknown += 1,
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                account
            });
        }
        Self { workers, is_over, accepted }
    }

    /// How many were accepted so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Waits until so many more were accepted.
    ///
    /// # Panics
    /// When that takes longer than the deadline.
    pub async fn more(&self, count: usize) {
        let goal = self.accepted() + count;
        crate::wait::until("more events to be accepted", async || match self.accepted() {
            accepted if accepted >= goal => Ok(()),
            accepted => Err(format!("{accepted} of {goal}")),
        })
        .await;
    }

    /// Stops sending, once all requests under way are answered, and gives the account.
    ///
    /// # Panics
    /// When a worker did.
    pub async fn stop(mut self) -> Account {
        self.is_over.store(true, Ordering::Relaxed);
        let mut sum = Account::default();
        while let Some(account) = self.workers.join_next().await {
            let account = account.expect("a worker does not panic");
            sum.accepted.extend(account.accepted);
            sum.refused += account.refused;
            sum.unknown += account.unknown;
        }
        sum
    }
}
