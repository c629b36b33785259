//! The task that owns the drivers: it follows the routing table and what the log assigns.
//!
//! It makes sure that topics exist before it asks to own them, starts a [`Driver`] for each partition that it is
//! given, and lets a partition go only when its driver has ended.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant as TokioInstant, MissedTickBehavior, interval};
use trigon_core::name::{GroupName, TopicName, TopicPartition};
use trigon_core::routing::{Broker, RoutingTable, TopicSettings};
use trigon_eventlog::{LogError, Ownership, OwnershipChange, Place, REVOKE_DEADLINE};

use super::{Config, DispatcherError, DrainOrder, Drained, EXTENT_INTERVAL, Shared};
use crate::drive::{Driver, End, Ended, Routes, Seat, Wish};
use crate::metrics::Metrics;
use crate::outbound::now;
use crate::partition::Partition;
use crate::wait::{end_of, until};

/// The wait before something that failed in the log is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The task that owns the drivers.
pub(super) struct Owner {
    pub(super) config: Config,
    pub(super) shared: Arc<Shared>,
    pub(super) metrics: Metrics,
    pub(super) source: watch::Receiver<Arc<RoutingTable>>,
    pub(super) routes: watch::Sender<Routes>,
    pub(super) served: watch::Sender<Option<Arc<RoutingTable>>>,
    pub(super) orders: mpsc::Receiver<DrainOrder>,
    pub(super) drivers: JoinSet<Ended>,
    pub(super) driven: BTreeMap<TopicPartition, watch::Sender<Wish>>,
    pub(super) by_task: BTreeMap<Id, TopicPartition>,
    /// Assigned again while the last run had not ended.
    pub(super) again: BTreeSet<TopicPartition>,
    /// Topics that exist, and how.
    pub(super) ensured: BTreeMap<TopicName, TopicSettings>,
    /// Groups whose Triggers have a place in every partition.
    pub(super) verified: HashSet<GroupName>,
    /// For topics that were deleted while their Broker lived: the groups that stood there.
    pub(super) stood: BTreeMap<TopicName, Arc<HashSet<GroupName>>>,
    /// Partitions that are ours and were found gone: they are tried again until the log takes them away.
    pub(super) stranded: BTreeSet<TopicPartition>,
    /// When something that failed is tried again.
    pub(super) retry: Option<TokioInstant>,
    pub(super) progress: Arc<Notify>,
    pub(super) last_run: u64,
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
    pub(super) async fn run(mut self) -> Result<(), DispatcherError> {
        self.ensure_topics().await;
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
                () = until(self.retry) => Woken::Retry,
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
                    self.retry = None;
                    self.ensure_topics().await;
                    ownership.set_topics(self.topics());
                    for at in std::mem::take(&mut self.stranded) {
                        self.drive(at);
                    }
                    self.share_memory();
                    verifying = None;
                }
                Woken::Extents => self.look_up_extents().await,
                Woken::Progress => {}
                Woken::Verified(verified) => {
                    verifying = None;
                    match verified {
                        Some(groups) => {
                            self.verified = groups;
                            self.stood.clear();
                            let table = Arc::clone(&self.routes.borrow().table);
                            self.served.send_replace(Some(table));
                        }
                        None => self.try_again_in(RETRY_INTERVAL / 10),
                    }
                }
            }
            if verifying.is_none() && !self.is_served() && self.is_loaded() && self.retry.is_none() {
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

    fn try_again_in(&mut self, wait: Duration) {
        let at = TokioInstant::now() + wait;
        self.retry = Some(self.retry.map_or(at, |retry| retry.min(at)));
    }

    /// Creates what is missing; what could not be is tried again.
    async fn ensure_topics(&mut self) {
        let table = Arc::clone(&self.routes.borrow().table);
        let mut wanted = BTreeMap::new();
        for broker in table.brokers.values() {
            // Retention would be one more way to lose them.
            let parked = TopicSettings {
                partitions: 1,
                retention_age: None,
                retention_bytes: None,
                external: None,
                ..broker.topic_settings.clone()
            };
            wanted.insert(broker.parked_topic.clone(), parked);
            wanted.insert(broker.topic.clone(), broker.topic_settings.clone());
        }
        self.ensured.retain(|topic, _| wanted.contains_key(topic));
        for (topic, settings) in wanted {
            if self.ensured.get(&topic) == Some(&settings) {
                continue;
            }
            match self.shared.log.create_topic(&topic, &settings).await {
                Ok(differences) => {
                    for difference in differences {
                        tracing::warn!(%topic, %difference, "the topic is not as its broker wants it");
                    }
                    self.ensured.insert(topic, settings);
                }
                Err(error) => {
                    tracing::warn!(%topic, %error, "could not create the topic, it is tried again");
                    self.try_again_in(RETRY_INTERVAL);
                }
            }
        }
    }

    /// The topic may have been deleted, although its Broker lives: it is created again, and its Triggers go on at
    /// the beginning of the new one.
    fn doubt(&mut self, topic: &TopicName) {
        if self.ensured.remove(topic).is_none() {
            return;
        }
        let table = Arc::clone(&self.routes.borrow().table);
        let brokers = table.brokers.values().filter(|broker| broker.topic == *topic);
        let groups: HashSet<GroupName> = brokers
            .flat_map(|broker| &broker.triggers)
            .filter_map(|trigger| self.verified.take(&trigger.group))
            .collect();
        self.stood.insert(topic.clone(), Arc::new(groups));
        self.served.send_replace(None);
        self.try_again_in(RETRY_INTERVAL / 10);
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
                    self.stranded.remove(&at);
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
                    self.stranded.remove(&at);
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
                    self.stranded.remove(&at);
                    self.wish(&at, End::Abandon);
                    self.doubt(&at.topic);
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
        tracing::debug!(topic = %at.topic, partition = %at.partition, broker = %broker.id, "partition assigned");
        self.last_run += 1;
        let machine = Partition::new(at.clone(), self.config.partition, now());
        let seat = Arc::new(Seat::new(broker, machine));
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
            stood: self.stood.get(&at.topic).cloned().unwrap_or_default(),
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
        tracing::debug!(topic = %at.topic, partition = %at.partition, ?ended, "partition ended");
        if matches!(wished, Some(End::Drain(_))) {
            ownership.release(at.clone());
        }
        if self.again.remove(&at) {
            self.drive(at);
        } else if (ended, wished) == (Ended::Gone, Some(End::Open)) {
            self.doubt(&at.topic);
            self.stranded.insert(at);
            self.try_again_in(RETRY_INTERVAL);
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
                        let place =
                            |at: &TopicPartition| Place { group: trigger.group.clone(), at: at.clone() };
                        let places: Vec<_> = partitions.iter().map(place).collect();
                        if !log.load(&places).await.iter().all(|cursor| matches!(cursor, Ok(Some(_)))) {
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
