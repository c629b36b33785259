//! The machine against a slow and obvious model, under random orders of everything that can happen.
//!
//! The [`World`] plays the log, the subscribers and the clock. It answers what the machine asks for in any
//! order, fails attempts and commits, edits and removes Triggers, removes old records, kills the process and
//! drains it. What it knows of each event it knows by looking: `finished` is a plain set.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;
use trigon_core::binding::record::Envelope;
use trigon_core::cursor::{Cursor, MAX_METADATA, Progress, Stage, Unfinished};
use trigon_core::delivery::{
    Backoff, BackoffPolicy, DeliveryPolicy, Destination, Failure, Format, Order, Retry, RetryAfter,
};
use trigon_core::event::{Event, EventBuilder};
use trigon_core::filter::Filter;
use trigon_core::name::{BrokerId, Installation, Offset, PartitionId, TopicPartition, TriggerId};
use trigon_core::record::{Record, Timestamp};
use trigon_core::routing::{Broker, StartFrom, TopicSettings, Trigger, TriggerState};
use trigon_eventlog::Batch;

use super::*;
use crate::attempt::Attempt;

mod scenarios;

const TRIGGERS: usize = 6;
const TYPES: [&str; 2] = ["a", "b"];
const KEYS: [Option<&str>; 3] = [None, Some("x"), Some("y")];

#[derive(Clone, Debug)]
struct Plan {
    order: Order,
    filter: Option<&'static str>,
    retry: u32,
    sink: bool,
    concurrency: u32,
    edits: Edits,
}

/// Which edits a run makes to a Trigger: those that change what is expected of it are kept apart.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Edits {
    None,
    PauseAndRetry,
    Order,
    Remove,
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Load(usize),
    Read(usize, usize),
    Finish(usize, Fate),
    Commit(usize, bool),
    Append(usize, usize),
    Gap,
    Retain(usize),
    Advance(u64),
    Edit(usize),
    Crash,
    Drain,
    /// A record that is not a CloudEvent.
    Junk,
    Park(usize),
    /// Somebody sets a Trigger's place, or deletes it.
    Reset(usize, Option<usize>),
    /// The log says that somebody has.
    Tell(usize),
    Reload(usize),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Done,
    Fail,
    Refuse,
    Withdraw,
}

fn plans() -> impl Strategy<Value = Plan> {
    (
        prop_oneof![Just(Order::Unordered), Just(Order::Partition), Just(Order::Key)],
        prop_oneof![Just(None), Just(Some("a")), Just(Some("b"))],
        0..3_u32,
        any::<bool>(),
        1..4_u32,
        prop_oneof![
            3 => Just(Edits::None),
            1 => Just(Edits::PauseAndRetry),
            1 => Just(Edits::Order),
            1 => Just(Edits::Remove),
        ],
    )
        .prop_map(|(order, filter, retry, sink, concurrency, edits)| Plan {
            order,
            filter,
            retry,
            sink,
            concurrency,
            edits,
        })
}

fn ops() -> impl Strategy<Value = Op> {
    let fate = prop_oneof![
        6 => Just(Fate::Done),
        4 => Just(Fate::Fail),
        1 => Just(Fate::Refuse),
        1 => Just(Fate::Withdraw),
    ];
    prop_oneof![
        3 => any::<usize>().prop_map(Op::Load),
        10 => (any::<usize>(), 1..12_usize).prop_map(|(n, size)| Op::Read(n, size)),
        20 => (any::<usize>(), fate).prop_map(|(n, fate)| Op::Finish(n, fate)),
        5 => (any::<usize>(), prop_oneof![4 => Just(true), 1 => Just(false)]).prop_map(|(n, ok)| Op::Commit(n, ok)),
        8 => (1..8_usize, any::<usize>()).prop_map(|(n, kind)| Op::Append(n, kind)),
        1 => Just(Op::Gap),
        1 => (1..6_usize).prop_map(Op::Retain),
        8 => (1..3_000_u64).prop_map(Op::Advance),
        2 => any::<usize>().prop_map(Op::Edit),
        1 => Just(Op::Crash),
        2 => Just(Op::Junk),
        3 => any::<usize>().prop_map(Op::Park),
        1 => (any::<usize>(), any::<Option<usize>>()).prop_map(|(n, to)| Op::Reset(n, to)),
        2 => any::<usize>().prop_map(Op::Tell),
        3 => any::<usize>().prop_map(Op::Reload),
        1 => Just(Op::Drain),
    ]
}

struct World {
    now: Instant,
    at: TopicPartition,
    limits: Limits,
    metadata_limit: usize,
    partition: Partition,
    plans: Vec<Plan>,
    /// The Triggers of the table now, by plan.
    table: BTreeMap<usize, Arc<Trigger>>,
    log: BTreeMap<Offset, Record>,
    log_start: Offset,
    log_end: Offset,
    durable: HashMap<TriggerId, (Offset, String)>,
    loads: Vec<(LaneId, Arc<Trigger>)>,
    reloads: Vec<(LaneId, Arc<Trigger>)>,
    /// Records that are no CloudEvents and are being parked.
    parks: Vec<Offset>,
    /// How often each was parked.
    parked: BTreeMap<Offset, u32>,
    /// Triggers whose place somebody has set or deleted, and the machine has not looked yet.
    set: BTreeSet<TriggerId>,
    /// Those that went on where somebody had set them.
    moved: BTreeSet<TriggerId>,
    /// What such a Trigger passed over.
    skipped: BTreeSet<(TriggerId, Offset)>,
    restarted: bool,
    reads: Vec<(ScanId, Offset)>,
    in_flight: Vec<Attempt>,
    commits: Vec<(LaneId, Arc<Trigger>, Cursor)>,
    /// The lanes of which was taken back what had not begun.
    withdrawn: Vec<LaneId>,
    drained: bool,
    /// (trigger, offset): how often it came to its end.
    finished: HashMap<(TriggerId, Offset), u32>,
    lost_to_retention: BTreeSet<(TriggerId, Offset)>,
    /// The attempts of each event's present stage in this run of the process.
    attempts: HashMap<(TriggerId, Offset, Stage), u32>,
    /// The cursors with which this run of the process started.
    loaded: HashMap<TriggerId, Cursor>,
    /// Whether events may have been delivered twice.
    crashed: bool,
}

fn record(kind: usize, offset: Offset) -> Record {
    let mut builder = EventBuilder::default()
        .spec_version("1.0")
        .attribute("id", offset.to_string())
        .attribute("source", "/world")
        .attribute("type", TYPES[kind % TYPES.len()]);
    if let Some(key) = KEYS[kind / TYPES.len() % KEYS.len()] {
        builder = builder.attribute("partitionkey", key);
    }
    Envelope::of(builder.build().unwrap()).encode(Timestamp(0))
}

fn failure(retry: Retry) -> Arc<Failure> {
    Arc::new(Failure {
        reason: "answered 500".into(),
        status: Some(500),
        body: Bytes::new(),
        extensions: Vec::new(),
        retry,
        retry_after: None,
    })
}

fn is_wanted_event(plan: &Plan, event: &Event) -> bool {
    plan.filter.is_none_or(|wanted| event.event_type() == wanted)
}

impl World {
    fn new(plans: Vec<Plan>, limits: Limits, metadata_limit: usize) -> Self {
        let now = Instant::now();
        let broker = BrokerId::new("default", "default");
        let at = TopicPartition { topic: Installation::default().topic(&broker), partition: PartitionId(0) };
        let mut world = Self {
            now,
            partition: Partition::new(at.clone(), limits, now),
            at,
            limits,
            metadata_limit,
            table: BTreeMap::new(),
            log: BTreeMap::new(),
            log_start: Offset(0),
            log_end: Offset(0),
            durable: HashMap::new(),
            loads: Vec::new(),
            reloads: Vec::new(),
            parks: Vec::new(),
            parked: BTreeMap::new(),
            set: BTreeSet::new(),
            moved: BTreeSet::new(),
            skipped: BTreeSet::new(),
            restarted: false,
            reads: Vec::new(),
            in_flight: Vec::new(),
            commits: Vec::new(),
            withdrawn: Vec::new(),
            drained: false,
            finished: HashMap::new(),
            lost_to_retention: BTreeSet::new(),
            attempts: HashMap::new(),
            loaded: HashMap::new(),
            crashed: false,
            plans,
        };
        for plan in 0..world.plans.len() {
            let trigger = world.trigger(plan);
            world.table.insert(plan, trigger);
        }
        world.publish();
        world
    }

    fn trigger(&self, n: usize) -> Arc<Trigger> {
        let plan = &self.plans[n];
        let broker = BrokerId::new("default", "default");
        let id = TriggerId::new("default", format!("t{n}"));
        let destination = |uri: &str| Destination { text: uri.to_owned(), uri: uri.parse().ok() };
        Arc::new(Trigger {
            group: Installation::default().group(&broker, &id),
            broker,
            id,
            filter: match plan.filter {
                None => Filter::everything(),
                Some(wanted) => {
                    Filter::exact(&BTreeMap::from([("type".to_owned(), wanted.to_owned())])).unwrap()
                }
            },
            subscriber: destination("http://subscriber/"),
            delivery: DeliveryPolicy {
                retry: plan.retry,
                backoff: Some(Backoff { policy: BackoffPolicy::Linear, delay: Duration::from_secs(1) }),
                timeout: Duration::from_secs(1),
                retry_after: RetryAfter::Ignore,
                format: Format::Binary,
                dead_letter_sink: plan.sink.then(|| destination("http://sink/")),
            },
            order: plan.order,
            concurrency: plan.concurrency,
            rate: None,
            start_from: StartFrom::Latest,
            state: TriggerState::Active,
        })
    }

    fn publish(&mut self) {
        let broker = Broker::new(
            &Installation::default(),
            BrokerId::new("default", "default"),
            TopicSettings::default(),
            self.table.values().cloned().collect(),
        );
        self.give(Input::Routes(Arc::new(broker)));
    }

    fn give(&mut self, input: Input) {
        self.partition.handle(self.now, input);
        self.obey();
    }

    fn obey(&mut self) {
        while let Some(action) = self.partition.next_action() {
            match action {
                Action::Load { lane, trigger } => self.loads.push((lane, trigger)),
                Action::Read { scan, from } => {
                    assert!(self.reads.iter().all(|(other, _)| *other != scan), "two reads of one scan");
                    self.reads.push((scan, from));
                    assert!(self.reads.len() <= self.limits.scans, "more scans than the limit");
                }
                Action::Close { scan } => self.reads.retain(|(other, _)| *other != scan),
                Action::Start(attempt) => self.started(attempt),
                Action::Withdraw { lane } => self.withdrawn.push(lane),
                Action::Commit { lane, trigger, cursor } => {
                    assert!(self.commits.iter().all(|(other, ..)| *other != lane), "two commits of one lane");
                    self.check_cursor(&trigger, &cursor);
                    self.commits.push((lane, trigger, cursor));
                }
                Action::Reload { lane, trigger } => {
                    assert!(self.reloads.iter().all(|(other, _)| *other != lane), "two reloads of one lane");
                    assert!(
                        self.commits.iter().all(|(other, ..)| *other != lane),
                        "a reload beside a commit"
                    );
                    self.reloads.push((lane, trigger));
                }
                Action::Undecodable { offset, record, .. } => {
                    assert_eq!(self.log.get(&offset), Some(&record));
                    *self.parked.entry(offset).or_default() += 1;
                    self.parks.push(offset);
                }
                Action::Moved { trigger, to, .. } => self.moved_to(&trigger.id, &Cursor::at(to)),
                Action::Overtaken { trigger, from, to } => {
                    for offset in (from.0..to.0).map(Offset) {
                        assert!(offset < self.log_start, "only what is gone is overtaken");
                        self.lost_to_retention.insert((trigger.id.clone(), offset));
                    }
                }
                Action::Drained => {
                    assert!(self.commits.is_empty() && self.parks.is_empty() && self.reloads.is_empty());
                    let current = |attempt: &Attempt| self.is_current(attempt);
                    assert!(!self.in_flight.iter().any(current));
                    self.drained = true;
                }
            }
        }
        for lane in self.partition.status() {
            let counts = lane.counts;
            let held = (lane.queued + lane.in_flight + lane.retrying) as u64;
            let ended = counts.delivered + counts.dead_lettered + counts.parked;
            assert_eq!(counts.matched, ended + held, "conservation of {}", lane.trigger.id);
            assert!(held <= self.limits.lane_events as u64, "more events held than the limit");
            assert!(lane.watermark <= lane.position);
        }
    }

    fn is_wanted(&self, plan: &Plan, record: &Record) -> bool {
        Envelope::decode(record).is_ok_and(|envelope| is_wanted_event(plan, &envelope.event))
    }

    /// Whether its outcome matters: not when its Trigger has gone on elsewhere.
    fn is_current(&self, attempt: &Attempt) -> bool {
        self.partition.lane_of(&attempt.trigger.group) == Some(attempt.id.lane)
    }

    /// A Trigger goes on at a place that it has not come to itself.
    fn moved_to(&mut self, trigger: &TriggerId, cursor: &Cursor) {
        let to = cursor.watermark;
        self.moved.insert(trigger.clone());
        self.finished.retain(|(id, offset), _| id != trigger || *offset < to);
        self.skipped.retain(|(id, offset)| id != trigger || *offset < to);
        self.attempts.retain(|(id, ..), _| id != trigger);
        self.loaded.insert(trigger.clone(), cursor.clone());
        for offset in self.log.range(..to).map(|(offset, _)| *offset) {
            if !self.finished.contains_key(&(trigger.clone(), offset)) {
                self.skipped.insert((trigger.clone(), offset));
            }
        }
    }

    fn plan_of(&self, trigger: &TriggerId) -> &Plan {
        &self.plans[trigger.name[1..].parse::<usize>().unwrap()]
    }

    fn is_finished(&self, trigger: &TriggerId, offset: Offset) -> bool {
        let key = (trigger.clone(), offset);
        self.finished.contains_key(&key)
            || self.lost_to_retention.contains(&key)
            || self.skipped.contains(&key)
    }

    /// What is committed as finished is finished.
    fn check_cursor(&self, trigger: &Trigger, cursor: &Cursor) {
        assert!(cursor.position <= self.log_end);
        for offset in &self.parks {
            let stood = self.loaded[&trigger.id].position;
            let is_behind = *offset < stood || cursor.position <= *offset;
            assert!(is_behind, "{offset} is not parked, and {cursor:?} passes it");
        }
        let plan = self.plan_of(&trigger.id);
        let unfinished: BTreeSet<Offset> = cursor.unfinished.iter().map(|u| u.offset).collect();
        assert!(unfinished.iter().all(|offset| (cursor.watermark..cursor.position).contains(offset)));
        for (offset, record) in self.log.range(..cursor.position) {
            if self.is_wanted(plan, record) && !unfinished.contains(offset) {
                assert!(self.is_finished(&trigger.id, *offset), "{} of {} was skipped", offset, trigger.id);
            }
        }
    }

    fn started(&mut self, attempt: Attempt) {
        let trigger = &attempt.trigger;
        let offset = attempt.id.offset;
        let plan = self.plan_of(&trigger.id).clone();
        let same = |other: &&Attempt| other.id.lane == attempt.id.lane;
        assert!(self.in_flight.iter().all(|other| other.id != attempt.id), "two attempts of one event");
        let beside = self.in_flight.iter().filter(same).count();
        assert!(beside < trigger.concurrency as usize || plan.edits != Edits::None, "over the concurrency");
        assert!(is_wanted_event(&plan, &attempt.envelope.event));
        if let Some(loaded) = self.loaded.get(&trigger.id) {
            let unfinished = loaded.unfinished.iter().any(|unfinished| unfinished.offset == offset);
            assert!(offset >= loaded.position || unfinished, "{offset} of {} was committed", trigger.id);
        }
        if !self.crashed {
            assert!(!self.is_finished(&trigger.id, offset), "{offset} of {} again", trigger.id);
        }
        assert!(attempt.number <= 1 + plan.retry.max(2) || attempt.stage == Stage::Park);
        assert_eq!(attempt.stage == Stage::Subscriber, attempt.failure.is_none());
        let key = (trigger.id.clone(), offset, attempt.stage);
        if let Some(before) = self.attempts.insert(key, attempt.number) {
            assert!(attempt.number == before || attempt.number == before + 1, "attempts are counted");
        }
        if plan.edits != Edits::Order {
            self.check_order(&plan, &attempt);
        }
        self.in_flight.push(attempt);
    }

    /// Nothing starts while an earlier event of its chain is unfinished.
    fn check_order(&self, plan: &Plan, attempt: &Attempt) {
        let key = attempt.envelope.event.attribute("partitionkey");
        let chained = |record: &Record| match plan.order {
            Order::Unordered => false,
            Order::Partition => true,
            Order::Key => key.is_some() && record.key.as_deref() == key.map(str::as_bytes),
        };
        for (offset, record) in self.log.range(..attempt.id.offset) {
            if chained(record) && self.is_wanted(plan, record) {
                let id = &attempt.trigger.id;
                assert!(self.is_finished(id, *offset), "{} of {id} before {offset}", attempt.id.offset);
            }
        }
    }

    fn finish(&mut self, n: usize, fate: Fate) {
        let attempt = self.in_flight.remove(n);
        let is_current = self.is_current(&attempt);
        if is_current {
            let Attempt { stage, number, .. } = attempt;
            let at = self.whereabouts(&attempt.trigger.id, attempt.id.offset);
            let Some(Whereabouts::Held { turn: Turn::InFlight, progress, .. }) = at else { panic!("{at:?}") };
            assert_eq!((progress.stage, progress.attempts + 1), (stage, number));
        }
        let outcome = match fate {
            Fate::Done if !is_current => Outcome::Done,
            Fate::Done => {
                *self.finished.entry((attempt.trigger.id.clone(), attempt.id.offset)).or_default() += 1;
                Outcome::Done
            }
            Fate::Fail => Outcome::Failed(failure(Retry::Useful)),
            Fate::Refuse => Outcome::Failed(failure(Retry::Useless)),
            Fate::Withdraw => Outcome::Withdrawn,
        };
        self.give(Input::Finished { attempt: attempt.id, outcome, jitter: 0.5 });
        if is_current && fate == Fate::Done {
            let finish = Finish { stage: attempt.stage, attempt: attempt.number };
            // A Trigger that is removed is forgotten with its last event.
            if let Some(at) = self.whereabouts(&attempt.trigger.id, attempt.id.offset) {
                assert_eq!(at, Whereabouts::Finished(finish));
            }
        }
    }

    fn whereabouts(&self, trigger: &TriggerId, offset: Offset) -> Option<Whereabouts> {
        self.partition.whereabouts(self.now, trigger, offset)
    }

    fn load(&mut self, n: usize) {
        let (lane, trigger) = self.loads.remove(n);
        // Its place was deleted, and nothing was committed since.
        let is_anew = self.loaded.contains_key(&trigger.id) && !self.durable.contains_key(&trigger.id);
        let start = Cursor::at(Offset(0));
        let (watermark, metadata) = self
            .durable
            .entry(trigger.id.clone())
            .or_insert_with(|| (start.watermark, start.to_metadata(self.metadata_limit)))
            .clone();
        let cursor = Cursor::from_metadata(watermark, &metadata).unwrap();
        if self.set.remove(&trigger.id) | is_anew {
            self.moved_to(&trigger.id, &cursor);
        }
        self.loaded.insert(trigger.id.clone(), cursor.clone());
        self.give(Input::Loaded { lane, cursor });
    }

    fn reload(&mut self, n: usize) {
        let (lane, trigger) = self.reloads.remove(n);
        self.set.remove(&trigger.id);
        let durable = self.durable.get(&trigger.id);
        let cursor =
            durable.map(|(watermark, metadata)| Cursor::from_metadata(*watermark, metadata).unwrap());
        self.give(Input::Reloaded { lane, cursor });
    }

    fn reset(&mut self, n: usize, to: Option<usize>) {
        let id = TriggerId::new("default", format!("t{}", n % self.plans.len()));
        if !self.durable.contains_key(&id) {
            return;
        }
        match to {
            Some(to) => {
                let to = Offset(to as u64 % (self.log_end.0 + 1));
                self.durable.insert(id.clone(), (to, String::new()));
            }
            None => {
                self.durable.remove(&id);
            }
        }
        self.set.insert(id);
    }

    /// The log finds out that somebody has set a place.
    fn tell(&mut self, n: usize) {
        let Some(id) = self.set.iter().nth(n % self.set.len().max(1)).cloned() else { return };
        let group = Installation::default().group(&BrokerId::new("default", "default"), &id);
        if let Some(lane) = self.partition.lane_of(&group) {
            self.give(Input::Moved { lane });
        }
    }

    fn park(&mut self, n: usize) {
        let offset = self.parks.remove(n);
        self.give(Input::Parked { offset });
    }

    fn read(&mut self, n: usize, size: usize) {
        let (scan, from) = self.reads[n];
        if from >= self.log_end {
            return;
        }
        let from_there = from.max(self.log_start);
        self.reads.remove(n);
        let records: Vec<(Offset, Record)> =
            self.log.range(from_there..).take(size).map(|(o, r)| (*o, r.clone())).collect();
        let ended = records.len() < size;
        let next = match records.last() {
            Some((last, _)) if !ended => last.next(),
            _ => self.log_end,
        };
        self.give(Input::Read { scan, batch: Batch { start: self.log_start, records, next } });
    }

    fn commit(&mut self, n: usize, ok: bool) {
        let (lane, trigger, cursor) = self.commits.remove(n);
        if self.set.contains(&trigger.id) {
            return self.give(Input::Committed { lane, result: CommitResult::Moved });
        }
        if ok {
            self.durable
                .insert(trigger.id.clone(), (cursor.watermark, cursor.to_metadata(self.metadata_limit)));
        }
        let result = if ok { CommitResult::Durable } else { CommitResult::Failed };
        self.give(Input::Committed { lane, result });
    }

    fn advance(&mut self, by: Duration) {
        self.now += by;
        if self.partition.next_timeout().is_some_and(|due| due <= self.now) {
            self.partition.handle_timeout(self.now);
            self.obey();
        }
    }

    fn edit(&mut self, n: usize) {
        let n = n % self.plans.len();
        match (self.plans[n].edits, self.table.get(&n).cloned()) {
            (Edits::None, _) => return,
            (Edits::PauseAndRetry, Some(old)) => {
                let state = match old.state {
                    TriggerState::Active => TriggerState::Paused,
                    TriggerState::Paused => TriggerState::Active,
                };
                let mut delivery = old.delivery.clone();
                delivery.retry = (delivery.retry + 1) % 3;
                let fresh = self.trigger(n);
                let fresh = Arc::into_inner(fresh).unwrap();
                self.table.insert(n, Arc::new(Trigger { state, delivery, ..fresh }));
            }
            (Edits::Order, Some(old)) => {
                let order = match old.order {
                    Order::Unordered => Order::Key,
                    Order::Key => Order::Partition,
                    Order::Partition => Order::Unordered,
                };
                let fresh = Arc::into_inner(self.trigger(n)).unwrap();
                self.table.insert(n, Arc::new(Trigger { order, ..fresh }));
            }
            (Edits::Remove, Some(_)) => {
                self.table.remove(&n);
            }
            (_, None) => {
                let trigger = self.trigger(n);
                self.table.insert(n, trigger);
            }
        }
        self.publish();
    }

    /// The process is gone, and with it everything but the log and what is durable.
    fn restart(&mut self) {
        self.partition = Partition::new(self.at.clone(), self.limits, self.now);
        self.restarted = true;
        self.loads.clear();
        self.reloads.clear();
        self.parks.clear();
        self.reads.clear();
        self.in_flight.clear();
        self.commits.clear();
        self.attempts.clear();
        self.drained = false;
        self.publish();
    }

    fn crash(&mut self) {
        self.crashed = true;
        self.restart();
    }

    /// A clean stop: afterwards nothing at all is delivered twice.
    fn drain(&mut self) {
        self.give(Input::Drain);
        for _ in 0..1_000 {
            if self.drained {
                break;
            }
            while !self.in_flight.is_empty() {
                self.finish(0, Fate::Done);
            }
            while !self.loads.is_empty() {
                self.load(0);
            }
            while !self.parks.is_empty() {
                self.park(0);
            }
            while !self.commits.is_empty() {
                self.commit(0, true);
            }
            while !self.reloads.is_empty() {
                self.reload(0);
            }
            self.advance(self.limits.commit_interval);
        }
        assert!(self.drained, "the drain never ends");
        // Metadata that is too small for a window costs duplicates.
        self.crashed |= self.metadata_limit < MAX_METADATA;
        self.restart();
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Load(n) if !self.loads.is_empty() => self.load(n % self.loads.len()),
            Op::Read(n, size) if !self.reads.is_empty() => self.read(n % self.reads.len(), size),
            Op::Finish(n, fate) if !self.in_flight.is_empty() => self.finish(n % self.in_flight.len(), fate),
            Op::Commit(n, ok) if !self.commits.is_empty() => self.commit(n % self.commits.len(), ok),
            Op::Park(n) if !self.parks.is_empty() => self.park(n % self.parks.len()),
            Op::Reload(n) if !self.reloads.is_empty() => self.reload(n % self.reloads.len()),
            Op::Reset(n, to) => self.reset(n, to),
            Op::Tell(n) => self.tell(n),
            Op::Junk => {
                let value = Some(Bytes::from_static(b"not an event"));
                self.log.insert(self.log_end, Record { value, ..Record::default() });
                self.log_end = self.log_end.next();
            }
            Op::Park(_) | Op::Reload(_) => {}
            Op::Load(_) | Op::Read(..) | Op::Finish(..) | Op::Commit(..) => {}
            Op::Append(count, kind) => {
                for n in 0..count {
                    let offset = self.log_end;
                    self.log.insert(offset, record(kind.wrapping_add(n), offset));
                    self.log_end = offset.next();
                }
            }
            Op::Gap => self.log_end = self.log_end.next(),
            Op::Retain(count) => {
                for _ in 0..count {
                    if let Some((offset, _)) = self.log.pop_first() {
                        self.log_start = offset.next();
                    }
                }
            }
            Op::Advance(millis) => self.advance(Duration::from_millis(millis)),
            Op::Edit(n) => self.edit(n),
            Op::Crash => self.crash(),
            Op::Drain => self.drain(),
        }
    }

    /// Everything works from now on: every Trigger is back, and every request is answered.
    fn settle(&mut self) {
        for n in 0..self.plans.len() {
            let trigger = self.trigger(n);
            self.table.insert(n, trigger);
        }
        self.publish();
        for _ in 0..10_000 {
            while !self.loads.is_empty() {
                self.load(0);
            }
            while !self.in_flight.is_empty() {
                self.finish(0, Fate::Done);
            }
            while !self.parks.is_empty() {
                self.park(0);
            }
            for n in 0..self.set.len() {
                self.tell(n);
            }
            while !self.reloads.is_empty() {
                self.reload(0);
            }
            while !self.commits.is_empty() {
                self.commit(0, true);
            }
            let before = self.reads.clone();
            for n in (0..self.reads.len()).rev() {
                if n < self.reads.len() {
                    self.read(n, 16);
                }
            }
            let quiet = self.in_flight.is_empty() && self.reads == before && self.set.is_empty();
            let done = self
                .partition
                .status()
                .iter()
                .all(|lane| lane.watermark == self.log_end && lane.phase == LanePhase::Reading);
            if quiet && done {
                return;
            }
            self.advance(Duration::from_secs(5));
        }
        panic!("never comes to rest: {:#?}", self.partition.status());
    }

    fn check_end(&self) {
        for (n, plan) in self.plans.iter().enumerate() {
            let id = TriggerId::new("default", format!("t{n}"));
            for (offset, record) in &self.log {
                if Envelope::decode(record).is_err() {
                    let parked = self.parked.get(offset).copied().unwrap_or(0);
                    assert!(parked >= 1 || !self.moved.is_empty(), "{offset} is not parked");
                    assert!(parked <= 1 || self.restarted, "{offset} is parked {parked} times");
                    continue;
                }
                let times = self.finished.get(&(id.clone(), *offset)).copied().unwrap_or(0);
                let at = self.whereabouts(&id, *offset);
                match at {
                    Some(Whereabouts::Finished(_)) => assert!(times >= 1, "{offset} of {id} is not finished"),
                    None | Some(Whereabouts::Passed) => {}
                    other => panic!("{offset} of {id}, at the end: {other:?}"),
                }
                if !self.is_wanted(plan, record) {
                    assert_eq!(times, 0, "{offset} does not match {id}");
                } else if self.skipped.contains(&(id.clone(), *offset)) {
                    assert_eq!(times, 0, "{id} passed {offset} over");
                } else if self.crashed || self.moved.contains(&id) {
                    assert!(times >= 1, "{offset} of {id} is lost");
                } else {
                    assert_eq!(times, 1, "{offset} of {id} came to {times} ends");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// CPB-02, DLV-01, DLV-15, DLV-27, DLV-29, DLV-30, DLS-12: nothing is lost, nothing is sent twice without
    /// a crash, and order, concurrency and bounds hold, whatever the order of completions, failures, timers,
    /// edits, restarts and drains. What is no CloudEvent is parked (KAF-11), and a Trigger whose place somebody sets
    /// goes on there.
    #[test]
    fn every_matching_event_comes_to_its_end(
        plans in proptest::collection::vec(plans(), 1..=TRIGGERS),
        ops in proptest::collection::vec(ops(), 0..250),
        lane_events in 1..8_usize,
        scans in 2..4_usize,
        metadata_limit in prop_oneof![Just(MAX_METADATA), 24..60_usize],
    ) {
        let limits = Limits { lane_events, scans, ..Limits::default() };
        let mut world = World::new(plans, limits, metadata_limit);
        for op in ops {
            world.apply(op);
        }
        world.settle();
        world.check_end();
    }
}
