//! The dispatcher of a process: which partitions it drives, by which routing table, and how it starts and stops.
//!
//! One task owns everything. It makes sure that topics exist before it asks to own them, starts a [`Driver`] for
//! each partition that it is given, and lets a partition go only when its driver has ended.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant as TokioInstant, MissedTickBehavior, interval, sleep_until};
use trigon_core::name::{GroupName, TopicName, TopicPartition};
use trigon_core::routing::{Broker, RoutingTable, TopicSettings};
use trigon_eventlog::{LogError, Ownership, OwnershipChange, REVOKE_DEADLINE, SharedLog};
use trigon_runtime::http_client::HttpClient;
use trigon_runtime::metrics::Metrics as Registry;
use trigon_runtime::tasks::TaskGroup;

use crate::clock::Clock;
use crate::drive::{Driver, End, Ended, Routes, Seat, Wish};
use crate::metrics::Metrics;
use crate::outbound::{Outbound, now};
use crate::parked::Parked;
use crate::partition::{Limits, Partition};
use crate::send::Sender;
use crate::status::Status;

/// The settings of a dispatcher.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes of events that the process holds, over all partitions. Default 256 MiB.
    pub memory: usize,
    /// The bounds of each partition; the budget among them is the partition's share of `memory`.
    pub partition: Limits,
    /// Attempts that are being sent at once. Default 4096.
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
            in_flight: 4096,
            reply_limit: 1 << 20,
            clock: Clock::system(),
        }
    }
}

/// How often the ends of partitions are looked up, for the lag.
pub const EXTENT_INTERVAL: Duration = Duration::from_secs(5);

/// The wait before something that failed in the log is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The handle of a dispatcher. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Dispatcher {
    shared: Arc<Shared>,
    routes: watch::Receiver<Arc<RoutingTable>>,
    served: watch::Receiver<Option<Arc<RoutingTable>>>,
    drains: mpsc::Sender<DrainOrder>,
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
        let (served_sender, served) = watch::channel(None);
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
            verified: HashSet::new(),
            progress: Arc::new(Notify::new()),
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
        let is_it = |served: &Option<Arc<RoutingTable>>| {
            served.as_ref().is_some_and(|served| {
                let current = self.routes.borrow();
                Arc::ptr_eq(served, table) || (!Arc::ptr_eq(&current, table) && Arc::ptr_eq(served, &current))
            })
        };
        let ready = served.wait_for(is_it).await.ok().and_then(|ready| ready.clone());
        match ready {
            Some(table) => table,
            None => std::future::pending().await,
        }
    }

    /// Whether this process routes by the current table and every Trigger has its starting place committed.
    pub fn is_ready(&self) -> bool {
        let served = self.served.borrow();
        served.as_ref().is_some_and(|served| Arc::ptr_eq(served, &self.routes.borrow()))
    }

    /// How everything stands now. The ends of the partitions are as old as [`EXTENT_INTERVAL`] at most.
    pub fn status(&self) -> Status {
        Status::of(&self.shared, self.is_ready())
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

/// The task that owns the drivers.
struct Owner {
    config: Config,
    shared: Arc<Shared>,
    metrics: Metrics,
    source: watch::Receiver<Arc<RoutingTable>>,
    routes: watch::Sender<Routes>,
    served: watch::Sender<Option<Arc<RoutingTable>>>,
    orders: mpsc::Receiver<DrainOrder>,
    drivers: JoinSet<Ended>,
    driven: BTreeMap<TopicPartition, watch::Sender<Wish>>,
    by_task: BTreeMap<Id, TopicPartition>,
    /// Assigned again while the last run had not ended.
    again: BTreeSet<TopicPartition>,
    /// Topics that exist, and how.
    ensured: BTreeMap<TopicName, TopicSettings>,
    /// Groups whose Triggers have a place in every partition.
    verified: HashSet<GroupName>,
    progress: Arc<Notify>,
    last_run: u64,
}

/// What the owner's loop goes on with.
enum Woken {
    Ownership(Result<OwnershipChange, LogError>),
    Routes,
    Ended(Result<(Id, Ended), JoinError>),
    Retry,
    Extents,
    Progress,
    Verified(Option<HashSet<GroupName>>),
    Drain(DrainOrder),
}

impl Owner {
    async fn run(mut self) -> Result<(), DispatcherError> {
        let mut retry = None;
        if !self.ensure_topics().await {
            retry = Some(TokioInstant::now() + RETRY_INTERVAL);
        }
        let mut ownership = self.shared.log.own(self.topics()).await.map_err(DispatcherError::Ownership)?;
        let mut extents = interval(EXTENT_INTERVAL);
        extents.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut verifying: Option<BoxFuture<'static, Option<HashSet<GroupName>>>> = None;
        loop {
            let woken = tokio::select! {
                biased;
                Some(order) = self.orders.recv() => Woken::Drain(order),
                Some(ended) = self.drivers.join_next_with_id() => Woken::Ended(ended),
                change = ownership.changed() => Woken::Ownership(change),
                Ok(()) = self.source.changed() => Woken::Routes,
                () = at(retry) => Woken::Retry,
                verified = end_of(&mut verifying) => Woken::Verified(verified),
                () = self.progress.notified() => Woken::Progress,
                _ = extents.tick() => Woken::Extents,
            };
            match woken {
                Woken::Drain(order) => return self.drain(&mut *ownership, order).await,
                Woken::Ended(ended) => {
                    let (id, ended) = ended.map_err(DispatcherError::Partition)?;
                    self.ended(&mut *ownership, id, ended);
                }
                Woken::Ownership(change) => {
                    let change = change.map_err(DispatcherError::Ownership)?;
                    self.change(&mut *ownership, change);
                }
                Woken::Routes | Woken::Retry => {
                    self.take_routes();
                    retry = (!self.ensure_topics().await).then(|| TokioInstant::now() + RETRY_INTERVAL);
                    ownership.set_topics(self.topics());
                    verifying = None;
                }
                Woken::Extents => self.look_up_extents().await,
                Woken::Progress => {}
                Woken::Verified(verified) => {
                    verifying = None;
                    match verified {
                        Some(groups) => {
                            self.verified = groups;
                            let table = Arc::clone(&self.routes.borrow().table);
                            self.served.send_replace(Some(table));
                        }
                        None => retry = Some(TokioInstant::now() + RETRY_INTERVAL / 10),
                    }
                }
            }
            if verifying.is_none() && !self.is_served() && self.is_loaded() && retry.is_none() {
                verifying = Some(self.verify().boxed());
            }
        }
    }

    fn take_routes(&mut self) {
        let table = self.source.borrow_and_update().clone();
        let Routes { generation, table: last } = self.routes.borrow().clone();
        if !Arc::ptr_eq(&table, &last) {
            self.routes.send_replace(Routes { generation: generation + 1, table });
        }
    }

    /// Creates what is missing; `false` when something could not be.
    async fn ensure_topics(&mut self) -> bool {
        let table = Arc::clone(&self.routes.borrow().table);
        let mut wanted = BTreeMap::new();
        for broker in table.brokers.values() {
            let parked = TopicSettings { partitions: 1, ..broker.topic_settings.clone() };
            wanted.insert(broker.parked_topic.clone(), parked);
            wanted.insert(broker.topic.clone(), broker.topic_settings.clone());
        }
        self.ensured.retain(|topic, _| wanted.contains_key(topic));
        let mut complete = true;
        for (topic, settings) in wanted {
            if self.ensured.get(&topic) == Some(&settings) {
                continue;
            }
            match self.shared.log.create_topic(&topic, &settings).await {
                Ok(()) => {
                    self.ensured.insert(topic, settings);
                }
                Err(error) => {
                    tracing::warn!(%topic, %error, "could not create the topic, it is tried again");
                    complete = false;
                }
            }
        }
        complete
    }

    /// The topics to own: those of Brokers whose topics exist.
    fn topics(&self) -> BTreeSet<TopicName> {
        let table = Arc::clone(&self.routes.borrow().table);
        let exists = |broker: &&Arc<Broker>| {
            self.ensured.contains_key(&broker.topic) && self.ensured.contains_key(&broker.parked_topic)
        };
        table.brokers.values().filter(exists).map(|broker| broker.topic.clone()).collect()
    }

    fn change(&mut self, ownership: &mut dyn Ownership, change: OwnershipChange) {
        match change {
            OwnershipChange::Assigned(partitions) => {
                for at in partitions {
                    if self.driven.contains_key(&at) {
                        self.again.insert(at);
                    } else {
                        self.drive(at);
                    }
                }
            }
            OwnershipChange::Revoked(partitions) => {
                for at in partitions {
                    self.again.remove(&at);
                    if self.driven.contains_key(&at) {
                        self.wish(&at, End::Drain(now() + REVOKE_DEADLINE));
                    } else {
                        ownership.release(at);
                    }
                }
            }
            OwnershipChange::Lost(partitions) => {
                for at in partitions {
                    self.again.remove(&at);
                    self.wish(&at, End::Abandon);
                }
            }
        }
        self.share_memory();
    }

    fn drive(&mut self, at: TopicPartition) {
        let table = Arc::clone(&self.routes.borrow().table);
        let Some(broker) = table.brokers.values().find(|broker| broker.topic == at.topic) else {
            // Its Broker has just gone: it will be revoked.
            return;
        };
        tracing::info!(topic = %at.topic, partition = %at.partition, broker = %broker.id, "partition assigned");
        self.last_run += 1;
        let machine = Partition::new(at.clone(), self.config.partition, now());
        let seat = Arc::new(Seat::new(broker.id.clone(), machine));
        let (wishes, wish) = watch::channel(Wish { budget: self.config.partition.budget, end: End::Open });
        let driver = Driver {
            run: self.last_run,
            seat: Arc::clone(&seat),
            broker: Arc::clone(broker),
            log: Arc::clone(&self.shared.log),
            outbound: Arc::clone(&self.shared.outbound),
            metrics: self.metrics.clone(),
            routes: self.routes.subscribe(),
            wish,
            taken: None,
            progress: Arc::clone(&self.progress),
        };
        let task = self.drivers.spawn(driver.run());
        self.by_task.insert(task.id(), at.clone());
        self.driven.insert(at.clone(), wishes);
        self.seat(at, Some(seat));
    }

    fn seat(&self, at: TopicPartition, seat: Option<Arc<Seat>>) {
        let mut seats = self.shared.seats.lock().unwrap_or_else(PoisonError::into_inner);
        match seat {
            Some(seat) => seats.insert(at, seat),
            None => seats.remove(&at),
        };
    }

    fn wish(&self, at: &TopicPartition, end: End) {
        if let Some(wishes) = self.driven.get(at) {
            wishes.send_modify(|wish| wish.end = end);
        }
    }

    fn share_memory(&self) {
        let share = self.config.memory / self.driven.len().max(1);
        for wishes in self.driven.values() {
            wishes.send_if_modified(|wish| std::mem::replace(&mut wish.budget, share) != share);
        }
    }

    fn ended(&mut self, ownership: &mut dyn Ownership, id: Id, ended: Ended) {
        let Some(at) = self.by_task.remove(&id) else { return };
        let wished = self.driven.remove(&at).map(|wishes| wishes.borrow().end);
        self.seat(at.clone(), None);
        tracing::info!(topic = %at.topic, partition = %at.partition, ?ended, "partition ended");
        if matches!(wished, Some(End::Drain(_))) {
            ownership.release(at.clone());
        }
        if self.again.remove(&at) {
            self.drive(at);
        }
        self.share_memory();
    }

    async fn look_up_extents(&self) {
        for seat in self.shared.seats() {
            // An error shows where the partition is read; here the last extent stays.
            if let Ok(extent) = self.shared.log.extent(&seat.at).await {
                seat.note_extent(extent);
            }
        }
    }

    fn is_served(&self) -> bool {
        let served = self.served.borrow();
        served.as_ref().is_some_and(|served| Arc::ptr_eq(served, &self.routes.borrow().table))
    }

    /// Whether all partitions that are driven have taken the current table in.
    fn is_loaded(&self) -> bool {
        let generation = self.routes.borrow().generation;
        self.shared.seats().iter().all(|seat| seat.serves(generation))
    }

    /// Asks the log whether every Trigger has a place in every partition, whoever owns it; the groups of them if
    /// so. Without that an event could be accepted in a partition before a new Trigger starts there.
    fn verify(&self) -> impl Future<Output = Option<HashSet<GroupName>>> + Send + 'static {
        let table = Arc::clone(&self.routes.borrow().table);
        let log = Arc::clone(&self.shared.log);
        let known = self.verified.clone();
        async move {
            let mut groups = HashSet::new();
            for broker in table.brokers.values() {
                let description = log.describe_topic(&broker.topic).await.ok()??;
                let partitions = description.partitions_of(&broker.topic);
                for trigger in &broker.triggers {
                    if !known.contains(&trigger.group) {
                        let cursors = log.load(&trigger.group, &partitions).await.ok()?;
                        if cursors.iter().any(Option::is_none) {
                            return None;
                        }
                    }
                    groups.insert(trigger.group.clone());
                }
            }
            Some(groups)
        }
    }

    async fn drain(
        mut self,
        ownership: &mut dyn Ownership,
        order: DrainOrder,
    ) -> Result<(), DispatcherError> {
        let by = now() + order.deadline;
        self.again.clear();
        for at in self.driven.keys() {
            self.wish(at, End::Drain(by));
        }
        let mut result = Drained { drained: 0, abandoned: 0 };
        while let Some(ended) = self.drivers.join_next_with_id().await {
            let (id, ended) = ended.map_err(DispatcherError::Partition)?;
            match ended {
                Ended::Drained | Ended::Gone => result.drained += 1,
                Ended::Abandoned => result.abandoned += 1,
            }
            self.ended(ownership, id, ended);
        }
        tracing::info!(drained = result.drained, abandoned = result.abandoned, "dispatcher drained");
        if order.answer.send(result).is_err() {
            tracing::debug!("nobody waits any more for the drain");
        }
        Ok(())
    }
}

async fn at(time: Option<TokioInstant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

async fn end_of<T>(under_way: &mut Option<BoxFuture<'static, T>>) -> T {
    match under_way {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
