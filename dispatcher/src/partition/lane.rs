//! One Trigger in one partition: the events it holds, in which order they may go, and how far it has come.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use trigon_core::binding::record::Envelope;
use trigon_core::cursor::{Cursor, Progress, Stage, Unfinished};
use trigon_core::delivery::{Failure, Order};
use trigon_core::name::Offset;
use trigon_core::record::{Record, Timestamp};
use trigon_core::routing::{Trigger, TriggerState};

use super::history::Finish;
use super::step::{self, Step};
use super::whereabouts::{Turn, Whereabouts};
use super::{LaneCounts, ScanId};
use crate::attempt::{Attempt, AttemptId, LaneId, Outcome};

/// What an event takes in memory in each lane that holds it, beside its bytes.
pub(super) const EVENT_COST: usize = 256;

/// Where a lane gets its records from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seat {
    /// Its cursor is being read.
    Loading,
    /// From this scan.
    Scan(ScanId),
    /// From none: it is full, paused or retiring, or waits to be seated.
    Aside,
}

/// Whether the lane is there to stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tenure {
    /// Its Trigger is in the routing table.
    Staying,
    /// Its Trigger is not: the lane finishes what is in flight, commits, and goes.
    Retiring,
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) id: LaneId,
    pub(super) trigger: Arc<Trigger>,
    pub(super) seat: Seat,
    pub(super) tenure: Tenure,
    /// Everything below was looked at; while the lane is seated, everything below its scan's position too.
    pub(super) position: Offset,
    pub(super) counts: LaneCounts,
    pub(super) committed: Option<Cursor>,
    pub(super) committing: Option<Cursor>,
    /// Somebody has set its place: nothing is committed until that has been looked up.
    pub(super) is_doubted: bool,
    /// It had come further than the log now reaches: where it goes on is not where it stands.
    pub(super) is_beyond_end: bool,
    /// Where its cursor stood when it was loaded: what lies below is not its own doing.
    pub(super) floor: Offset,
    entries: BTreeMap<Offset, Entry>,
    /// Unfinished events of the loaded cursor that have not been read again yet.
    recovered: BTreeMap<Offset, Progress>,
    ready: BTreeSet<Offset>,
    /// In the ordered modes, the events of each key; only the first may go.
    chains: HashMap<Bytes, VecDeque<Offset>>,
    in_flight: usize,
    waiting: usize,
    bytes: usize,
    /// When the event was accepted that there was no room for, until it is taken.
    refused: Option<Timestamp>,
}

#[derive(Debug)]
struct Entry {
    envelope: Arc<Envelope>,
    record_key: Option<Bytes>,
    /// What the event is chained by.
    key: Option<Bytes>,
    accepted: Timestamp,
    size: usize,
    progress: Progress,
    failure: Option<Arc<Failure>>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Behind another event of its key.
    Blocked,
    Ready,
    InFlight,
    Waiting(Instant),
}

/// An event that a scan offers.
#[derive(Clone, Debug)]
pub(super) struct Offer<'a> {
    pub(super) offset: Offset,
    pub(super) record: &'a Record,
    pub(super) envelope: &'a Arc<Envelope>,
    /// What it takes in memory.
    pub(super) size: usize,
}

/// What became of an attempt's outcome.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// The event is finished.
    Finished(Finish),
    /// The event may go again at once.
    Ready,
    /// The event waits.
    Waiting(Instant),
    /// The outcome belongs to nothing that is in flight.
    Unknown,
}

impl Lane {
    pub(super) fn new(id: LaneId, trigger: Arc<Trigger>) -> Self {
        Self {
            id,
            trigger,
            seat: Seat::Loading,
            tenure: Tenure::Staying,
            position: Offset(0),
            counts: LaneCounts::default(),
            committed: None,
            committing: None,
            is_doubted: false,
            is_beyond_end: false,
            floor: Offset(0),
            entries: BTreeMap::new(),
            recovered: BTreeMap::new(),
            ready: BTreeSet::new(),
            chains: HashMap::new(),
            in_flight: 0,
            waiting: 0,
            bytes: 0,
            refused: None,
        }
    }

    /// The lane that goes on elsewhere with the Trigger of this one, which is forgotten.
    pub(super) fn successor(&self, id: LaneId) -> Self {
        let held = u64::try_from(self.entries.len()).unwrap_or(u64::MAX);
        let (matched, moved) = (self.counts.matched - held, self.counts.moved + 1);
        let counts = LaneCounts { matched, moved, ..self.counts };
        Self { counts, ..Self::new(id, Arc::clone(&self.trigger)) }
    }

    pub(super) fn load(&mut self, cursor: Cursor) {
        self.seat = Seat::Aside;
        self.floor = cursor.position;
        self.position = cursor.position;
        self.recovered = cursor.unfinished.iter().map(|u| (u.offset, u.progress)).collect();
        self.committed = Some(cursor);
    }

    /// The lowest offset that a scan has to read for this lane.
    pub(super) fn resume(&self) -> Offset {
        self.recovered.keys().next().copied().unwrap_or(self.position).min(self.position)
    }

    pub(super) fn recovered(&self) -> impl Iterator<Item = Offset> {
        self.recovered.keys().copied()
    }

    /// Whether the event at `offset` is still to be looked at, given that its scan has come there.
    pub(super) fn wants(&self, offset: Offset) -> bool {
        offset >= self.position || self.recovered.contains_key(&offset)
    }

    pub(super) fn has_room(&self, size: usize, events: usize, share: usize) -> bool {
        self.entries.is_empty() || (self.entries.len() < events && self.bytes + size <= share)
    }

    /// Half empty: a lane that takes a seat for every single event would read the log once per event.
    pub(super) fn is_hungry(&self, events: usize, share: usize) -> bool {
        self.entries.len() <= events / 2 && self.bytes <= share / 2
    }

    pub(super) fn may_send(&self) -> bool {
        self.trigger.state == TriggerState::Active && self.tenure == Tenure::Staying
    }

    pub(super) fn is_idle(&self) -> bool {
        self.in_flight == 0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Remembers an event that there is no room for.
    pub(super) fn refuse(&mut self, offer: &Offer<'_>) {
        self.refused = Some(offer.record.timestamp);
    }

    /// Takes an event in. The caller has asked [`has_room`](Self::has_room).
    pub(super) fn accept(&mut self, offer: &Offer<'_>) {
        self.refused = None;
        let progress = self.recovered.remove(&offer.offset).unwrap_or_default();
        let key = chain_key(self.trigger.order, offer.record.key.as_ref());
        self.bytes += offer.size;
        self.counts.matched += 1;
        let state = self.enqueue(key.as_ref(), offer.offset);
        let entry = Entry {
            envelope: Arc::clone(offer.envelope),
            record_key: offer.record.key.clone(),
            key,
            accepted: offer.record.timestamp,
            size: offer.size,
            progress,
            failure: None,
            state,
        };
        self.entries.insert(offer.offset, entry);
    }

    fn enqueue(&mut self, key: Option<&Bytes>, offset: Offset) -> State {
        if let Some(key) = key {
            let chain = self.chains.entry(key.clone()).or_default();
            chain.push_back(offset);
            if chain.len() > 1 {
                return State::Blocked;
            }
        }
        self.ready.insert(offset);
        State::Ready
    }

    /// The next attempt that the Trigger's order and concurrency allow.
    pub(super) fn start(&mut self) -> Option<Attempt> {
        let concurrency = usize::try_from(self.trigger.concurrency).unwrap_or(usize::MAX).max(1);
        if !self.may_send() || self.in_flight >= concurrency {
            return None;
        }
        let offset = self.ready.pop_first()?;
        let entry = self.entries.get_mut(&offset).expect("a ready event is held");
        let stage = step::current_stage(&self.trigger.delivery, entry.progress);
        if stage != entry.progress.stage {
            entry.progress = Progress { stage, attempts: 0, status: entry.progress.status };
        }
        if stage != Stage::Subscriber && entry.failure.is_none() {
            entry.failure = Some(step::remembered(entry.progress));
        }
        entry.state = State::InFlight;
        self.in_flight += 1;
        Some(Attempt {
            id: AttemptId { lane: self.id, offset },
            trigger: Arc::clone(&self.trigger),
            stage,
            envelope: Arc::clone(&entry.envelope),
            accepted: entry.accepted,
            number: entry.progress.attempts.saturating_add(1),
            failure: entry.failure.clone(),
        })
    }

    /// Takes the outcome of an attempt in.
    pub(super) fn settle(&mut self, now: Instant, offset: Offset, outcome: Outcome, jitter: f64) -> Settled {
        let Some(entry) = self.entries.get_mut(&offset).filter(|entry| entry.state == State::InFlight) else {
            return Settled::Unknown;
        };
        self.in_flight -= 1;
        match outcome {
            Outcome::Withdrawn => {
                self.let_go(offset);
                Settled::Ready
            }
            Outcome::Done => {
                self.counts.attempts += 1;
                let Progress { stage, attempts, .. } = entry.progress;
                match stage {
                    Stage::Subscriber => self.counts.delivered += 1,
                    Stage::DeadLetter => self.counts.dead_lettered += 1,
                    Stage::Park => self.counts.parked += 1,
                }
                self.finish(offset);
                Settled::Finished(Finish { stage, attempt: attempts.saturating_add(1) })
            }
            Outcome::Failed(failure) => {
                self.counts.attempts += 1;
                self.counts.failures += 1;
                entry.progress.attempts = entry.progress.attempts.saturating_add(1);
                if entry.progress.stage == Stage::Subscriber {
                    entry.progress.status = failure.status.unwrap_or(0);
                }
                match step::after_failure(&self.trigger.delivery, entry.progress, &failure, jitter) {
                    Step::Wait(wait) => {
                        let due = now + wait;
                        entry.state = State::Waiting(due);
                        self.waiting += 1;
                        Settled::Waiting(due)
                    }
                    Step::Advance(stage) => {
                        let before = entry.failure.as_deref();
                        entry.failure = Some(step::given_up(entry.progress, before, &failure));
                        entry.progress = Progress { stage, attempts: 0, status: entry.progress.status };
                        self.let_go(offset);
                        Settled::Ready
                    }
                }
            }
        }
    }

    fn finish(&mut self, offset: Offset) {
        let entry = self.entries.remove(&offset).expect("the caller has just seen it");
        self.bytes -= entry.size;
        let Some(key) = entry.key else { return };
        let chain = self.chains.get_mut(&key).expect("an event with a key stands in its chain");
        chain.retain(|held| *held != offset);
        let Some(&next) = chain.front() else {
            self.chains.remove(&key);
            return;
        };
        if self.entries.get(&next).expect("a chained event is held").state == State::Blocked {
            self.let_go(next);
        }
    }

    /// Makes an event ready, unless another of its chain is to go first: an edit of the order may have chained
    /// several that were on their way.
    fn let_go(&mut self, offset: Offset) {
        let entry = self.entries.get_mut(&offset).expect("the caller has just seen it");
        let chain = entry.key.as_ref().and_then(|key| self.chains.get(key));
        if chain.is_none_or(|chain| chain.front() == Some(&offset)) {
            entry.state = State::Ready;
            self.ready.insert(offset);
        } else {
            entry.state = State::Blocked;
        }
    }

    /// Makes an event ready whose wait is over; a timer that is out of date does nothing.
    pub(super) fn wake(&mut self, due: Instant, offset: Offset) {
        if self.entries.get(&offset).is_some_and(|entry| entry.state == State::Waiting(due)) {
            self.waiting -= 1;
            self.let_go(offset);
        }
    }

    /// Goes on by an edited Trigger. Events in flight end by the old one.
    pub(super) fn edit(&mut self, trigger: Arc<Trigger>) {
        let reorder = self.trigger.order != trigger.order;
        self.trigger = trigger;
        if reorder {
            self.rechain();
        }
    }

    /// Lines the held events up anew. What has started goes first in its chain, so that nothing else of its
    /// key starts before it is finished.
    fn rechain(&mut self) {
        self.chains.clear();
        self.ready.clear();
        let has_started = |entry: &Entry| matches!(entry.state, State::InFlight | State::Waiting(_));
        let (started, rest): (Vec<Offset>, Vec<Offset>) =
            self.entries.keys().partition(|offset| has_started(&self.entries[*offset]));
        for offset in started.into_iter().chain(rest) {
            let entry = self.entries.get_mut(&offset).expect("the offsets were read from the entries");
            let key = chain_key(self.trigger.order, entry.record_key.as_ref());
            entry.key = key.clone();
            if has_started(entry) {
                if let Some(key) = key {
                    self.chains.entry(key).or_default().push_back(offset);
                }
            } else {
                let state = self.enqueue(key.as_ref(), offset);
                self.entries.get_mut(&offset).expect("it was there above").state = state;
            }
        }
    }

    /// Forgets a recovered event that retention has removed.
    pub(super) fn forget_recovered(&mut self, offset: Offset) {
        self.recovered.remove(&offset);
    }

    /// The progress to be committed when everything below `position` was looked at.
    pub(super) fn cursor(&self, position: Offset) -> Cursor {
        let mut unfinished: Vec<Unfinished> = self
            .recovered
            .iter()
            .map(|(&offset, &progress)| Unfinished { offset, progress })
            .chain(
                self.entries.iter().map(|(&offset, entry)| Unfinished { offset, progress: entry.progress }),
            )
            .collect();
        unfinished.sort_unstable_by_key(|unfinished| unfinished.offset);
        Cursor { watermark: self.watermark(position), position, unfinished }
    }

    /// Everything below is finished, when everything below `position` was looked at.
    pub(super) fn watermark(&self, position: Offset) -> Offset {
        let held = self.entries.keys().next().copied();
        let recovered = self.recovered.keys().next().copied();
        held.into_iter().chain(recovered).min().unwrap_or(position)
    }

    /// Where an event stands that the lane has begun with and not finished.
    pub(super) fn held(&self, now: Instant, offset: Offset) -> Option<Whereabouts> {
        let Some(entry) = self.entries.get(&offset) else {
            return self.recovered.get(&offset).copied().map(Whereabouts::Recovering);
        };
        let turn = match entry.state {
            State::Blocked => Turn::Blocked,
            State::Ready => Turn::Ready,
            State::InFlight => Turn::InFlight,
            State::Waiting(due) => Turn::Waiting(due.saturating_duration_since(now)),
        };
        let reason = entry.failure.as_ref().map(|failure| failure.reason.clone());
        Some(Whereabouts::Held { turn, progress: entry.progress, reason })
    }

    pub(super) fn queued(&self) -> usize {
        self.entries.len() - self.in_flight - self.waiting
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(super) fn retrying(&self) -> usize {
        self.waiting
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.entries.values().next().map(|entry| entry.accepted).or(self.refused)
    }
}

/// What an event is chained by: with [`Order::Partition`] all share one chain.
fn chain_key(order: Order, record_key: Option<&Bytes>) -> Option<Bytes> {
    match order {
        Order::Unordered => None,
        Order::Partition => Some(Bytes::new()),
        Order::Key => record_key.cloned(),
    }
}
