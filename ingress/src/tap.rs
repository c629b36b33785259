//! The tap: accepted events, shown live to whoever watches.
//!
//! Watching never slows the ingress down: a watcher that falls behind is told how many events it missed. While
//! nobody watches, an event costs one atomic load.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use trigon_core::binding::record::Envelope;
use trigon_core::name::{BrokerId, Position};
use trigon_core::record::Timestamp;

/// How many events the slowest watcher may be behind before it misses some, and how many are kept in memory.
pub const TAP_EVENTS: usize = 512;

/// Where accepted events are published. Cloning shares the tap.
#[derive(Clone, Debug)]
pub struct Tap {
    events: broadcast::Sender<Accepted>,
    watchers: Arc<AtomicUsize>,
}

/// An event that was accepted.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The Broker that took it.
    pub broker: Arc<BrokerId>,
    /// Where it stands in the Broker's topic.
    pub position: Position,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// The event as it was stored.
    pub envelope: Arc<Envelope>,
}

/// What a watcher sees next.
#[derive(Clone, Debug)]
pub enum Seen {
    /// An event.
    Event(Accepted),
    /// So many events were missed here, because the watcher was too slow.
    Missed(u64),
}

/// Watches the tap until it is dropped.
#[derive(Debug)]
pub struct Watcher {
    events: broadcast::Receiver<Accepted>,
    watchers: Arc<AtomicUsize>,
}

impl Tap {
    /// A tap that nobody watches.
    pub fn new() -> Self {
        Self { events: broadcast::Sender::new(TAP_EVENTS), watchers: Arc::default() }
    }

    /// Whether anybody watches. Costs one atomic load.
    pub fn is_watched(&self) -> bool {
        self.watchers.load(Ordering::Acquire) > 0
    }

    /// Watches what is accepted from now on.
    pub fn watch(&self) -> Watcher {
        let events = self.events.subscribe();
        self.watchers.fetch_add(1, Ordering::AcqRel);
        Watcher { events, watchers: Arc::clone(&self.watchers) }
    }

    /// Shows an event to the watchers.
    pub fn publish(&self, accepted: Accepted) {
        if self.events.send(accepted).is_err() {
            tracing::debug!("the last watcher has left");
        }
    }
}

impl Default for Tap {
    fn default() -> Self {
        Self::new()
    }
}

impl Watcher {
    /// Waits for the next event; `None` when the tap is gone. Cancel safe.
    pub async fn next(&mut self) -> Option<Seen> {
        match self.events.recv().await {
            Ok(accepted) => Some(Seen::Event(accepted)),
            Err(RecvError::Lagged(missed)) => Some(Seen::Missed(missed)),
            Err(RecvError::Closed) => None,
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.watchers.fetch_sub(1, Ordering::AcqRel);
    }
}
