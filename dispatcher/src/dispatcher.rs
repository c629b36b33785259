//! The dispatcher of a process: which partitions it drives, by which routing table, and how it starts and stops.
//!
//! This is the handle; the task behind it is the [`Owner`].

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinSet};
use trigon_core::name::{BrokerId, Offset, TopicPartition, TriggerId};
use trigon_core::routing::RoutingTable;
use trigon_eventlog::{LogError, SharedLog};
use trigon_runtime::http_client::HttpClient;
use trigon_runtime::metrics::Metrics as Registry;
use trigon_runtime::tasks::TaskGroup;

use self::owner::Owner;
use crate::clock::Clock;
use crate::drive::{Routes, Seat};
use crate::metrics::Metrics;
use crate::outbound::Outbound;
use crate::parked::Parked;
use crate::partition::{Limits, Whereabouts};
use crate::send::Sender;
use crate::status::Status;

mod owner;

/// The settings of a dispatcher.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes of events that the process holds, over all partitions. Default 256 MiB.
    pub memory: usize,
    /// The bounds of each partition; the budget among them is the partition's share of `memory`.
    pub partition: Limits,
    /// Attempts that are being sent at once. Default 1024: with 4096 a hundred Triggers at one origin cost half as
    /// much again per delivery.
    pub in_flight: usize,
    /// The largest reply in bytes. Default 1 MiB.
    pub reply_limit: usize,
    /// Stamps replies and parked events.
    pub clock: Clock,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            memory: 256 << 20,
            partition: Limits::default(),
            in_flight: 1024,
            reply_limit: 1 << 20,
            clock: Clock::system(),
        }
    }
}

/// How often the ends of partitions are looked up, for the lag.
pub const EXTENT_INTERVAL: Duration = Duration::from_secs(5);

/// How often the log is asked whether somebody has set the place of a Trigger.
pub const MOVED_INTERVAL: Duration = Duration::from_secs(5);

/// The handle of a dispatcher. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Dispatcher {
    shared: Arc<Shared>,
    routes: watch::Receiver<Arc<RoutingTable>>,
    served: watch::Receiver<Served>,
    drains: mpsc::Sender<DrainOrder>,
}

/// How far the dispatcher has come with a routing table.
#[derive(Debug)]
struct Served {
    table: Arc<RoutingTable>,
    /// The Brokers of it whose Triggers do not all have their places, and why.
    unserved: Vec<(BrokerId, String)>,
}

/// What the handle and the task both see.
pub(crate) struct Shared {
    pub(crate) log: SharedLog,
    pub(crate) outbound: Arc<Outbound>,
    pub(crate) clock: Clock,
    pub(crate) parked: Parked,
    seats: Mutex<BTreeMap<TopicPartition, Arc<Seat>>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("seats", &self.seats().len()).finish_non_exhaustive()
    }
}

impl Shared {
    /// The partitions that are being driven, in order.
    pub(crate) fn seats(&self) -> Vec<Arc<Seat>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn seat(&self, at: &TopicPartition) -> Option<Arc<Seat>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner).get(at).cloned()
    }
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Partitions of which everything is finished and committed.
    pub drained: usize,
    /// Partitions that were still at work at the deadline: what they had in flight is delivered again.
    pub abandoned: usize,
}

#[derive(Debug)]
struct DrainOrder {
    deadline: Duration,
    answer: oneshot::Sender<Drained>,
}

/// Why a dispatcher ended that should not have.
#[derive(Debug, thiserror::Error)]
pub enum DispatcherError {
    /// The log does not say any more which partitions are ours.
    #[error("could not own topics of the event log")]
    Ownership(#[source] LogError),
    /// A partition's task panicked.
    #[error("the task of a partition failed")]
    Partition(#[source] JoinError),
}

impl Served {
    fn nothing_of(table: &Arc<RoutingTable>) -> Self {
        let reason = || "its routes are being taken in".to_owned();
        let unserved = table.brokers.keys().map(|id| (id.clone(), reason())).collect();
        Self { table: Arc::clone(table), unserved }
    }
}

impl Dispatcher {
    /// Starts a dispatcher; it runs in `tasks` until it is drained.
    pub fn start(
        config: Config,
        log: SharedLog,
        routes: watch::Receiver<Arc<RoutingTable>>,
        client: HttpClient,
        registry: &Registry,
        tasks: &mut TaskGroup,
    ) -> Self {
        let metrics = registry.register(Metrics::register);
        let sender = Sender {
            client,
            log: Arc::clone(&log),
            clock: config.clock.clone(),
            reply_limit: config.reply_limit,
            metrics: metrics.clone(),
        };
        let outbound = Outbound::new(config.in_flight, sender, tasks.spawner("attempt"));
        let shared = Arc::new(Shared {
            parked: Parked::new(Arc::clone(&log), config.clock.clone(), metrics.clone()),
            log,
            outbound: Arc::clone(&outbound),
            clock: config.clock.clone(),
            seats: Mutex::default(),
        });
        crate::metrics::register_status(registry, &shared);
        let (served_sender, served) = watch::channel(Served::nothing_of(&routes.borrow()));
        let (drains, orders) = mpsc::channel(1);
        let first = Routes { generation: 1, table: routes.borrow().clone() };
        let owner = Owner {
            config,
            shared: Arc::clone(&shared),
            metrics,
            source: routes.clone(),
            routes: watch::Sender::new(first),
            served: served_sender,
            orders,
            drivers: JoinSet::new(),
            driven: BTreeMap::new(),
            by_task: BTreeMap::new(),
            again: BTreeSet::new(),
            ensured: BTreeMap::new(),
            refused: BTreeMap::new(),
            asked: BTreeSet::new(),
            verified: HashSet::new(),
            placed: HashSet::new(),
            unplaced: BTreeMap::new(),
            patience: None,
            stood: BTreeMap::new(),
            stranded: BTreeSet::new(),
            retry: None,
            progress: Arc::new(Notify::new()),
            started: Arc::new(Notify::new()),
            last_run: 0,
        };
        let (counting, counted) = (shared.parked.clone(), routes.clone());
        tasks.spawn("dispatcher", async move {
            tokio::select! {
                ended = owner.run() => ended,
                () = outbound.run() => Ok(()),
                () = counting.run(counted) => Ok(()),
            }
        });
        Self { shared, routes, served, drains }
    }

    /// Waits until this process routes by the table that is current now, or by a later one, and every Trigger of
    /// it has its starting place committed; returns the table.
    pub async fn ready(&self) -> Arc<RoutingTable> {
        let table = self.routes.borrow().clone();
        self.table_ready(&table).await
    }

    /// The same for a table that was handed to the dispatcher; returns it, or the later one that came in between.
    /// Waits for ever when the dispatcher has ended.
    pub async fn table_ready(&self, table: &Arc<RoutingTable>) -> Arc<RoutingTable> {
        let mut served = self.served.clone();
        let is_it = |served: &Served| {
            let current = self.routes.borrow();
            let is_wanted = Arc::ptr_eq(&served.table, table)
                || (!Arc::ptr_eq(&current, table) && Arc::ptr_eq(&served.table, &current));
            is_wanted && served.unserved.is_empty()
        };
        let ready = served.wait_for(is_it).await.ok().map(|ready| Arc::clone(&ready.table));
        match ready {
            Some(table) => table,
            None => std::future::pending().await,
        }
    }

    /// Whether this process routes by the current table and every Trigger has its starting place committed.
    pub fn is_ready(&self) -> bool {
        self.unserved().is_empty()
    }

    /// The Brokers of the current table that are not served yet, and why, in words: the topic could not be created, or
    /// a Trigger has no starting place yet. All others are; an event for one of these might be accepted before its
    /// Triggers start.
    pub fn unserved(&self) -> Vec<(BrokerId, String)> {
        let (served, current) = (self.served.borrow(), self.routes.borrow());
        if Arc::ptr_eq(&served.table, &current) {
            return served.unserved.clone();
        }
        Served::nothing_of(&current).unserved
    }

    /// How everything stands now. The ends of the partitions are as old as [`EXTENT_INTERVAL`] at most.
    pub fn status(&self) -> Status {
        Status::of(&self.shared, self.is_ready())
    }

    /// Where the event at `offset` stands for a Trigger; `None` when this process does not deliver for it from that
    /// partition.
    pub fn whereabouts(
        &self,
        at: &TopicPartition,
        offset: Offset,
        trigger: &TriggerId,
    ) -> Option<Whereabouts> {
        let seat = self.shared.seat(at)?;
        // A Trigger that has just come has no lane yet.
        Some(seat.whereabouts(trigger, offset).unwrap_or(Whereabouts::Starting))
    }

    /// The parked events, to be looked at and sent again.
    pub fn parked(&self) -> &Parked {
        &self.shared.parked
    }

    /// Starts nothing any more, waits for what is in flight, commits, and lets all partitions go.
    ///
    /// `None` when the dispatcher was drained before, or has failed.
    pub async fn drain(&self, deadline: Duration) -> Option<Drained> {
        let (answer, drained) = oneshot::channel();
        self.drains.send(DrainOrder { deadline, answer }).await.ok()?;
        drained.await.ok()
    }
}
