//! The task that owns the drivers: it follows the routing table and what the log assigns.
//!
//! It makes sure that topics exist before it asks to own them, starts a [`Driver`] for each partition that it is
//! given, and lets a partition go only when its driver has ended.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant as TokioInstant, MissedTickBehavior, interval};
use trigon_core::name::{BrokerId, GroupName, Offset, TopicName, TopicPartition};
use trigon_core::routing::{Broker, RoutingTable, TopicSettings};
use trigon_eventlog::{
    Difference, Extent, LogError, Ownership, OwnershipChange, Place, REVOKE_DEADLINE, Unplaced, places,
};

use super::{Config, DispatcherError, DrainOrder, Drained, EXTENT_INTERVAL, MOVED_INTERVAL, Served, Shared};
use crate::drive::{Driver, End, Ended, Routes, Seat, Wish};
use crate::metrics::Metrics;
use crate::outbound::now;
use crate::partition::Partition;
use crate::wait::{end_of, until};

/// The wait before something that failed in the log is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The wait before the log is asked again about a topic that may have been deleted.
const DOUBT_INTERVAL: Duration = Duration::from_millis(100);

/// The wait before the log is asked again about places that were not there.
const PLACES_INTERVAL: Duration = Duration::from_millis(100);

/// While others are still being created, those that are there are handed over so often: each time may move
/// partitions between processes.
const HAND_OVER_INTERVAL: Duration = Duration::from_secs(1);

/// Topics that are created at once.
const TOPICS_AT_ONCE: usize = 8;

/// The task that owns the drivers.
pub(super) struct Owner {
    pub(super) config: Config,
    pub(super) shared: Arc<Shared>,
    pub(super) metrics: Metrics,
    pub(super) source: watch::Receiver<Arc<RoutingTable>>,
    pub(super) routes: watch::Sender<Routes>,
    pub(super) served: watch::Sender<Served>,
    pub(super) orders: mpsc::Receiver<DrainOrder>,
    pub(super) drivers: JoinSet<Ended>,
    pub(super) driven: BTreeMap<TopicPartition, Driven>,
    pub(super) by_task: BTreeMap<Id, TopicPartition>,
    /// Assigned again while the last run had not ended.
    pub(super) again: BTreeSet<TopicPartition>,
    /// Topics that exist, and how.
    pub(super) ensured: BTreeMap<TopicName, TopicSettings>,
    /// Topics that could not be created, and why.
    pub(super) refused: BTreeMap<TopicName, String>,
    /// Topics that were asked for: one whose existence is in doubt is not let go for that.
    pub(super) asked: BTreeSet<TopicName>,
    /// Groups whose Triggers have a place in every partition.
    pub(super) verified: HashSet<GroupName>,
    /// The Brokers of the table that were found to have all their places since it came.
    pub(super) placed: HashSet<BrokerId>,
    /// Why others were found not to.
    pub(super) unplaced: BTreeMap<BrokerId, String>,
    /// The log is not asked about places again before this.
    pub(super) patience: Option<TokioInstant>,
    /// For topics that were deleted while their Broker lived: the groups that stood there.
    pub(super) stood: BTreeMap<TopicName, Arc<HashSet<GroupName>>>,
    /// Partitions that are ours and were found gone: they are tried again until the log takes them away.
    pub(super) stranded: BTreeSet<TopicPartition>,
    /// When something that failed is tried again.
    pub(super) retry: Option<TokioInstant>,
    pub(super) progress: Arc<Notify>,
    pub(super) started: Arc<Notify>,
    pub(super) last_run: u64,
}

/// What the owner tells a driver.
pub(super) struct Driven {
    wishes: watch::Sender<Wish>,
    moves: mpsc::Sender<Vec<GroupName>>,
}

/// What the log is asked beside the loop: it may take its time.
#[derive(Default)]
struct Asked {
    topics: FuturesUnordered<BoxFuture<'static, Created>>,
    /// The topics that those are.
    under_way: BTreeSet<TopicName>,
    /// Topics that are created as soon as there is room; one that is under way already stays here until that ends.
    topics_next: VecDeque<(TopicName, TopicSettings)>,
    /// When the topics are handed over that are there by then.
    hand_over: Option<TokioInstant>,
    places: Option<BoxFuture<'static, Placing>>,
    moved: Option<BoxFuture<'static, Vec<Place>>>,
    extents: Option<BoxFuture<'static, Vec<Result<Extent, LogError>>>>,
    /// The seats that the extents are for, and how far they had come before.
    extents_of: Vec<(Arc<Seat>, Offset)>,
}

/// What became of a topic that was to be there.
struct Created {
    topic: TopicName,
    settings: TopicSettings,
    result: Result<Vec<Difference>, LogError>,
}

/// What the log says of the places, by Broker, and for which table.
struct Placing {
    generation: u64,
    answers: BTreeMap<BrokerId, Result<(), Unplaced>>,
}

/// What the owner's loop goes on with.
enum Woken {
    Ownership(Result<OwnershipChange, LogError>),
    Routes,
    Ended(Result<(Id, Ended), JoinError>),
    Retry,
    ExtentsDue,
    Extents(Vec<Result<Extent, LogError>>),
    MovedDue,
    Moved(Vec<Place>),
    Topic(Created),
    HandOver,
    Progress,
    Placed(Placing),
    Drain(DrainOrder),
}

impl Owner {
    pub(super) async fn run(mut self) -> Result<(), DispatcherError> {
        let mut ownership = self.shared.log.own(BTreeSet::new()).await.map_err(DispatcherError::Ownership)?;
        let mut extents = interval(EXTENT_INTERVAL);
        extents.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut moved = interval(MOVED_INTERVAL);
        moved.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut asked = Asked::default();
        self.ensure_topics(&mut *ownership, &mut asked);
        loop {
            let woken = tokio::select! {
                biased;
                Some(order) = self.orders.recv() => Woken::Drain(order),
                Some(ended) = self.drivers.join_next_with_id() => Woken::Ended(ended),
                change = ownership.changed() => Woken::Ownership(change),
                Ok(()) = self.source.changed() => Woken::Routes,
                () = until(self.retry) => Woken::Retry,
                Some(created) = asked.topics.next(), if !asked.topics.is_empty() => Woken::Topic(created),
                () = until(asked.hand_over) => Woken::HandOver,
                placed = end_of(&mut asked.places) => Woken::Placed(placed),
                () = self.progress.notified() => Woken::Progress,
                found = end_of(&mut asked.extents) => Woken::Extents(found),
                places = end_of(&mut asked.moved) => Woken::Moved(places),
                _ = extents.tick() => Woken::ExtentsDue,
                _ = moved.tick() => Woken::MovedDue,
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
                    self.ensure_topics(&mut *ownership, &mut asked);
                }
                Woken::Topic(created) => {
                    asked.under_way.remove(&created.topic);
                    self.take_topic(created);
                    self.create_topics(&mut *ownership, &mut asked);
                }
                Woken::HandOver => {
                    asked.hand_over = None;
                    self.hand_over(&mut *ownership);
                }
                Woken::ExtentsDue => self.look_up_extents(&mut asked),
                Woken::Extents(found) => {
                    asked.extents = None;
                    for ((seat, furthest), extent) in asked.extents_of.drain(..).zip(found) {
                        // An error shows where the partition is read; here the last extent stays.
                        if let Ok(extent) = extent {
                            seat.look(extent, furthest);
                        }
                    }
                }
                Woken::MovedDue => self.look_for_moves(&mut asked),
                Woken::Moved(places) => {
                    asked.moved = None;
                    self.tell_moves(places);
                }
                Woken::Progress => {}
                Woken::Placed(placing) => {
                    asked.places = None;
                    self.take_places(placing);
                }
            }
            if asked.places.is_none() && self.patience.is_none_or(|until| until <= TokioInstant::now()) {
                asked.places = self.ask_places();
            }
            self.tell_served();
        }
    }

    fn take_routes(&mut self) {
        let table = self.source.borrow_and_update().clone();
        let Routes { generation, table: last } = self.routes.borrow().clone();
        if !Arc::ptr_eq(&table, &last) {
            self.placed.clear();
            self.patience = None;
            let groups = table.brokers.values().flat_map(|broker| &broker.triggers);
            let groups: HashSet<&GroupName> = groups.map(|trigger| &trigger.group).collect();
            self.verified.retain(|group| groups.contains(group));
            self.routes.send_replace(Routes { generation: generation + 1, table });
        }
    }

    fn try_again_in(&mut self, wait: Duration) {
        let at = TokioInstant::now() + wait;
        self.retry = Some(self.retry.map_or(at, |retry| retry.min(at)));
    }

    /// Creates what is missing, beside the loop: a log that many share may take seconds.
    fn ensure_topics(&mut self, ownership: &mut dyn Ownership, asked: &mut Asked) {
        let wanted = self.wanted_topics();
        self.ensured.retain(|topic, _| wanted.contains_key(topic));
        self.refused.retain(|topic, _| wanted.contains_key(topic));
        let is_missing =
            |(topic, settings): &(TopicName, TopicSettings)| self.ensured.get(topic) != Some(settings);
        asked.topics_next = wanted.into_iter().filter(is_missing).collect();
        self.create_topics(ownership, asked);
    }

    /// Gets the next creations under way, and has what is there handed over: at once when that is all.
    fn create_topics(&mut self, ownership: &mut dyn Ownership, asked: &mut Asked) {
        let mut later = VecDeque::new();
        while asked.topics.len() < TOPICS_AT_ONCE
            && let Some((topic, settings)) = asked.topics_next.pop_front()
        {
            if asked.under_way.contains(&topic) {
                later.push_back((topic, settings));
                continue;
            }
            asked.under_way.insert(topic.clone());
            let log = Arc::clone(&self.shared.log);
            let create = async move {
                let result = log.create_topic(&topic, &settings).await;
                Created { topic, settings, result }
            };
            asked.topics.push(create.boxed());
        }
        asked.topics_next.append(&mut later);
        if asked.topics.is_empty() {
            asked.hand_over = None;
            self.hand_over(ownership);
        } else if asked.hand_over.is_none() {
            asked.hand_over = Some(TokioInstant::now() + HAND_OVER_INTERVAL);
        }
    }

    /// Asks to own the topics that are there, and drives again what was found gone.
    fn hand_over(&mut self, ownership: &mut dyn Ownership) {
        ownership.set_topics(self.topics());
        for at in std::mem::take(&mut self.stranded) {
            self.drive(at);
        }
        self.share_memory();
    }

    fn wanted_topics(&self) -> BTreeMap<TopicName, TopicSettings> {
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
        wanted
    }

    /// What could not be created is tried again.
    fn take_topic(&mut self, Created { topic, settings, result }: Created) {
        match result {
            Ok(differences) => {
                for difference in differences {
                    tracing::warn!(%topic, %difference, "the topic is not as its broker wants it");
                }
                self.refused.remove(&topic);
                self.ensured.insert(topic, settings);
            }
            Err(error) => {
                let reason = error.to_string();
                if self.refused.get(&topic) != Some(&reason) {
                    tracing::warn!(%topic, %error, "could not create the topic, it is tried again");
                    self.refused.insert(topic, reason);
                }
                self.try_again_in(RETRY_INTERVAL);
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
        // It may have gone a second time before they had their places in the first one.
        Arc::make_mut(self.stood.entry(topic.clone()).or_default()).extend(groups);
        self.placed.retain(|id| table.brokers.get(id).is_none_or(|broker| broker.topic != *topic));
        self.try_again_in(DOUBT_INTERVAL);
    }

    /// The topics to own: those of Brokers whose topics exist, or did.
    fn topics(&mut self) -> BTreeSet<TopicName> {
        let table = Arc::clone(&self.routes.borrow().table);
        let is_there = |broker: &&Arc<Broker>| {
            let exists = |topic| self.ensured.contains_key(topic);
            self.asked.contains(&broker.topic) || (exists(&broker.topic) && exists(&broker.parked_topic))
        };
        self.asked = table.brokers.values().filter(is_there).map(|broker| broker.topic.clone()).collect();
        self.asked.clone()
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

    /// Others join and leave while this one goes: what is drained already is theirs at once.
    fn change_in_drain(&mut self, ownership: &mut dyn Ownership, change: OwnershipChange, by: Instant) {
        match change {
            // They go to the others when this one leaves.
            OwnershipChange::Assigned(_) => {}
            OwnershipChange::Revoked(partitions) => {
                for at in partitions {
                    if self.driven.contains_key(&at) {
                        self.wish(&at, End::Drain(by.min(now() + REVOKE_DEADLINE)));
                    } else {
                        ownership.release(at);
                    }
                }
            }
            OwnershipChange::Lost(partitions) => {
                for at in &partitions {
                    self.wish(at, End::Abandon);
                }
            }
        }
    }

    fn drive(&mut self, at: TopicPartition) {
        let table = Arc::clone(&self.routes.borrow().table);
        let Some(broker) = table.brokers.values().find(|broker| broker.topic == at.topic) else {
            // Its Broker has just gone: it will be revoked, unless the Broker is back before that.
            self.stranded.insert(at);
            return;
        };
        tracing::debug!(topic = %at.topic, partition = %at.partition, broker = %broker.id, "partition assigned");
        self.last_run += 1;
        let machine = Partition::new(at.clone(), self.config.partition, now());
        let seat = Arc::new(Seat::new(broker, machine));
        let (moves, moved) = mpsc::channel(1);
        let (wishes, wish) = watch::channel(Wish { budget: self.config.partition.budget, end: End::Open });
        let driver = Driver {
            run: self.last_run,
            seat: Arc::clone(&seat),
            broker: Arc::clone(broker),
            log: Arc::clone(&self.shared.log),
            outbound: Arc::clone(&self.shared.outbound),
            metrics: self.metrics.clone(),
            clock: self.shared.clock.clone(),
            routes: self.routes.subscribe(),
            wish,
            moves: moved,
            taken: None,
            stood: self.stood.get(&at.topic).cloned().unwrap_or_default(),
            progress: Arc::clone(&self.progress),
            started: Arc::clone(&self.started),
        };
        let task = self.drivers.spawn(driver.run());
        self.by_task.insert(task.id(), at.clone());
        self.driven.insert(at.clone(), Driven { wishes, moves });
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
        if let Some(driven) = self.driven.get(at) {
            driven.wishes.send_modify(|wish| wish.end = end);
        }
    }

    fn share_memory(&self) {
        let share = self.config.memory / self.driven.len().max(1);
        for driven in self.driven.values() {
            driven.wishes.send_if_modified(|wish| std::mem::replace(&mut wish.budget, share) != share);
        }
    }

    fn ended(&mut self, ownership: &mut dyn Ownership, id: Id, ended: Ended) {
        let Some(at) = self.by_task.remove(&id) else { return };
        let wished = self.driven.remove(&at).map(|driven| driven.wishes.borrow().end);
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

    fn look_up_extents(&self, asked: &mut Asked) {
        if asked.extents.is_some() {
            return;
        }
        let seats = self.shared.seats();
        asked.extents_of = seats.into_iter().map(|seat| (Arc::clone(&seat), seat.furthest())).collect();
        let at: Vec<TopicPartition> = asked.extents_of.iter().map(|(seat, _)| seat.at.clone()).collect();
        if !at.is_empty() {
            let log = Arc::clone(&self.shared.log);
            asked.extents = Some(async move { log.extents(&at).await }.boxed());
        }
    }

    fn look_for_moves(&self, asked: &mut Asked) {
        if asked.moved.is_some() {
            return;
        }
        let mut all = Vec::new();
        for seat in self.shared.seats() {
            all.extend(seat.groups().into_iter().map(|group| Place { group, at: seat.at.clone() }));
        }
        if !all.is_empty() {
            let log = Arc::clone(&self.shared.log);
            asked.moved = Some(async move { log.moved(&all).await }.boxed());
        }
    }

    fn tell_moves(&self, places: Vec<Place>) {
        let mut moved: BTreeMap<TopicPartition, Vec<GroupName>> = BTreeMap::new();
        for Place { group, at } in places {
            moved.entry(at).or_default().push(group);
        }
        for (at, groups) in moved {
            // When the driver has yet to take the last ones, the log says these again.
            if let Some(driven) = self.driven.get(&at)
                && driven.moves.try_send(groups).is_err()
            {
                tracing::debug!(topic = %at.topic, partition = %at.partition, "places that were set wait");
            }
        }
    }

    /// Asks the log whether the Triggers have their places, of the Brokers of which that is not known yet and whose
    /// partitions here have all taken the current table in.
    fn ask_places(&self) -> Option<BoxFuture<'static, Placing>> {
        let Routes { generation, table } = self.routes.borrow().clone();
        let mut leave_out = self.placed.clone();
        for broker in table.brokers.values() {
            if self.hindrance(broker, generation).is_some() {
                leave_out.insert(broker.id.clone());
            }
        }
        if table.brokers.keys().all(|id| leave_out.contains(id)) {
            return None;
        }
        let (log, known) = (Arc::clone(&self.shared.log), self.verified.clone());
        let placing =
            async move { Placing { generation, answers: places(&*log, &table, &known, &leave_out).await } };
        Some(placing.boxed())
    }

    fn take_places(&mut self, placing: Placing) {
        let Routes { generation, table } = self.routes.borrow().clone();
        if placing.generation != generation {
            return;
        }
        self.unplaced.clear();
        for (id, answer) in placing.answers {
            let Some(broker) = table.brokers.get(&id) else { continue };
            match answer {
                // It may have been deleted while the log was asked.
                Ok(()) if self.ensured.contains_key(&broker.topic) => {
                    self.verified.extend(broker.triggers.iter().map(|trigger| trigger.group.clone()));
                    self.stood.remove(&broker.topic);
                    self.placed.insert(id);
                }
                Ok(()) => {}
                Err(unplaced) => {
                    self.unplaced.insert(id, unplaced.to_string());
                    self.patience = Some(TokioInstant::now() + PLACES_INTERVAL);
                    self.try_again_in(PLACES_INTERVAL);
                }
            }
        }
    }

    /// Why a Broker's places need not be asked about yet.
    fn hindrance(&self, broker: &Broker, generation: u64) -> Option<String> {
        for topic in [&broker.topic, &broker.parked_topic] {
            if let Some(reason) = self.refused.get(topic) {
                return Some(format!("could not create topic {topic}: {reason}"));
            }
            if !self.ensured.contains_key(topic) {
                return Some(format!("topic {topic} is being created"));
            }
        }
        let seats = self.shared.seats();
        let mut here = seats.iter().filter(|seat| seat.broker == broker.id);
        let loading = here.find(|seat| !seat.serves(generation))?;
        Some(format!("the places of its triggers in partition {} are being looked up", loading.at.partition))
    }

    /// Says of the current table what is served and what is not.
    fn tell_served(&self) {
        let Routes { generation, table } = self.routes.borrow().clone();
        let reason = |broker: &Arc<Broker>| {
            let reason =
                self.hindrance(broker, generation).or_else(|| self.unplaced.get(&broker.id).cloned());
            reason.unwrap_or_else(|| "the places of its triggers are being looked up".to_owned())
        };
        let unserved = table.brokers.values().filter(|broker| !self.placed.contains(&broker.id));
        let unserved: Vec<_> = unserved.map(|broker| (broker.id.clone(), reason(broker))).collect();
        self.served.send_if_modified(|served| {
            let is_same = Arc::ptr_eq(&served.table, &table) && served.unserved == unserved;
            *served = Served { table, unserved };
            !is_same
        });
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
        let mut is_member = true;
        while !self.drivers.is_empty() {
            tokio::select! {
                biased;
                Some(ended) = self.drivers.join_next_with_id() => {
                    let (id, ended) = ended.map_err(DispatcherError::Partition)?;
                    match ended {
                        Ended::Drained | Ended::Gone => result.drained += 1,
                        Ended::Abandoned => result.abandoned += 1,
                    }
                    self.ended(ownership, id, ended);
                }
                change = ownership.changed(), if is_member => match change {
                    Ok(change) => self.change_in_drain(ownership, change, by),
                    // What becomes of the partitions is not known any more; what is in flight ends all the same.
                    Err(_) => is_member = false,
                },
            }
        }
        tracing::info!(drained = result.drained, abandoned = result.abandoned, "dispatcher drained");
        if order.answer.send(result).is_err() {
            tracing::debug!("nobody waits any more for the drain");
        }
        Ok(())
    }
}
