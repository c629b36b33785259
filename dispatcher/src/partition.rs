//! One partition as a state machine without I/O: records and outcomes go in, reads, attempts and commits come
//! out.
//!
//! The machine owns who reads where ([`Scan`]s), who is sent what ([`Lane`]s), what waits for a retry, and how
//! far each Trigger has come. It reads no clock: `now` is an argument. It buffers no more than its
//! [`Limits`] say; a lane that is full leaves its scan and is served by another scan later.
//!
//! The shell calls [`Partition::handle`] with what happened, then takes every [`Action`] from
//! [`Partition::next_action`], and calls [`Partition::handle_timeout`] at [`Partition::next_timeout`].

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use trigon_core::binding::record::{Audience, Envelope};
use trigon_core::cursor::Cursor;
use trigon_core::name::{Offset, TopicPartition, TriggerId};
use trigon_core::record::Record;
use trigon_core::routing::{Broker, Trigger, TriggerState};
use trigon_eventlog::Batch;

use self::lane::{EVENT_COST, Lane, Offer, Seat, Settled, Tenure};
use self::standing::Standing;
use crate::attempt::{Attempt, AttemptId, LaneId, Outcome};

mod lane;
mod standing;
mod step;
#[cfg(test)]
mod tests;

/// Names a scan within its partition; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScanId(pub u64);

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// The Broker has new Triggers or settings.
    Routes(Arc<Broker>),
    /// The cursor that [`Action::Load`] asked for. The shell has resolved where a Trigger without progress
    /// starts, and has committed that.
    Loaded {
        /// The lane that asked.
        lane: LaneId,
        /// Where it stands.
        cursor: Cursor,
    },
    /// What [`Action::Read`] asked for.
    Read {
        /// The scan that asked.
        scan: ScanId,
        /// The records.
        batch: Batch,
    },
    /// What [`Action::Start`] asked for has ended.
    Finished {
        /// The attempt.
        attempt: AttemptId,
        /// How it ended.
        outcome: Outcome,
        /// A random number between 0 and 1 for the jitter of the next wait.
        jitter: f64,
    },
    /// What [`Action::Commit`] asked for is durable, or could not be written and is tried again later.
    Committed {
        /// The lane.
        lane: LaneId,
        /// Whether it is durable.
        result: CommitResult,
    },
    /// The share of memory for held events has changed.
    Budget(usize),
    /// Start nothing any more; finish what is in flight, commit, and say [`Action::Drained`].
    Drain,
}

/// How a commit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitResult {
    /// It is durable.
    Durable,
    /// It was not written.
    Failed,
}

/// What is to be done.
#[derive(Debug)]
pub enum Action {
    /// Find out where the Trigger stands in this partition and answer with [`Input::Loaded`].
    Load {
        /// To be given back.
        lane: LaneId,
        /// Whose cursor is wanted.
        trigger: Arc<Trigger>,
    },
    /// Read one batch at an offset and answer with [`Input::Read`]. There is at most one read per scan.
    Read {
        /// To be given back.
        scan: ScanId,
        /// Where to read.
        from: Offset,
    },
    /// The scan is over: abandon its read.
    Close {
        /// The scan.
        scan: ScanId,
    },
    /// Try this and answer with [`Input::Finished`].
    Start(Attempt),
    /// Attempts of this lane that have not begun to send are not wanted any more: answer
    /// [`Outcome::Withdrawn`] for each.
    Withdraw {
        /// The lane.
        lane: LaneId,
    },
    /// Make this progress durable and answer with [`Input::Committed`]. There is at most one commit per lane.
    Commit {
        /// To be given back.
        lane: LaneId,
        /// Whose progress it is.
        trigger: Arc<Trigger>,
        /// The progress.
        cursor: Cursor,
    },
    /// A record is not a CloudEvent; it was passed over (KAF-11).
    Undecodable {
        /// Where it is.
        offset: Offset,
        /// Why it is not.
        reason: String,
    },
    /// Retention removed events before the Trigger got to see them.
    Overtaken {
        /// Whose events.
        trigger: Arc<Trigger>,
        /// The first offset that is missing.
        from: Offset,
        /// The first offset that is there again.
        to: Offset,
    },
    /// Everything is finished and committed; the machine does nothing more.
    Drained,
}

/// The bounds of one partition.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Events that one lane holds, queued, in flight or waiting for a retry.
    pub lane_events: usize,
    /// Bytes of events that all lanes of the partition hold; each lane gets an equal share of it.
    pub budget: usize,
    /// The least share of a lane, whatever the budget, in bytes; one event is always held.
    pub lane_floor: usize,
    /// Scans at the same time: the tail and those that catch up. At least 2, or a lane behind the tail would
    /// wait for ever.
    pub scans: usize,
    /// How long progress may stay uncommitted.
    pub commit_interval: Duration,
    /// How long the progress of a lane that nothing matched may stay uncommitted.
    pub idle_commit_interval: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            lane_events: 1024,
            budget: 32 << 20,
            lane_floor: 64 << 10,
            scans: 4,
            commit_interval: Duration::from_millis(500),
            idle_commit_interval: Duration::from_secs(60),
        }
    }
}

/// One Trigger's standing in the partition, for status and metrics.
#[derive(Clone, Debug)]
pub struct LaneStatus {
    /// The Trigger.
    pub trigger: Arc<Trigger>,
    /// Everything below is finished.
    pub watermark: Offset,
    /// Everything from here on has not been looked at.
    pub position: Offset,
    /// Events that wait for their turn.
    pub queued: usize,
    /// Events that are being sent.
    pub in_flight: usize,
    /// Events that wait for their next attempt.
    pub retrying: usize,
    /// Bytes of the events that are held.
    pub bytes: usize,
    /// When the oldest unfinished event was accepted.
    pub oldest: Option<trigon_core::record::Timestamp>,
    /// What has happened since the process started.
    pub counts: LaneCounts,
    /// What the lane is doing.
    pub phase: LanePhase,
}

/// What has happened in a lane since the process started.
///
/// `matched = delivered + dead_lettered + parked + queued + in_flight + retrying` at any time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneCounts {
    /// Events that the filter let through.
    pub matched: u64,
    /// Events that the subscriber took.
    pub delivered: u64,
    /// Events that the dead letter sink took.
    pub dead_lettered: u64,
    /// Events that went to the parked topic.
    pub parked: u64,
    /// Attempts that ended, by whatever stage and outcome.
    pub attempts: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Offsets that retention removed before the lane got there.
    pub overtaken: u64,
}

/// What a lane is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LanePhase {
    /// Its cursor is being read.
    Loading,
    /// It is served by a scan.
    Reading,
    /// It is full, or waits for a scan to come by.
    Behind,
    /// It is paused.
    Paused,
}

/// The state machine.
#[derive(Debug)]
pub struct Partition {
    at: TopicPartition,
    limits: Limits,
    broker: Option<Arc<Broker>>,
    lanes: HashMap<LaneId, Lane>,
    by_trigger: HashMap<TriggerId, LaneId>,
    /// The lanes in the order of the Broker's Triggers, which is how the filter index names them.
    by_place: Vec<LaneId>,
    scans: BTreeMap<ScanId, Scan>,
    standing: Standing,
    /// Lanes that held too much for a seat when they were last asked: their share may have grown since.
    crowded: BTreeSet<LaneId>,
    /// The events that an earlier run left unfinished and that a seated lane has yet to be offered.
    recovering: BTreeSet<(Offset, LaneId)>,
    /// Waits for the next attempt. An entry whose event has moved on is ignored when it is due.
    timers: BinaryHeap<Reverse<(Instant, LaneId, Offset)>>,
    /// Lanes whose progress is not committed.
    dirty: BTreeSet<LaneId>,
    /// Lanes with a commit under way.
    committing: usize,
    commit_due: Option<Instant>,
    idle_commit_due: Instant,
    actions: VecDeque<Action>,
    /// Lanes that hold events: the budget is shared between them.
    busy: usize,
    drain: Drain,
    next_lane: u64,
    next_scan: u64,
    /// Scratch for the filter index.
    matches: Vec<usize>,
}

#[derive(Debug)]
struct Scan {
    position: Offset,
    read: ReadState,
    lanes: BTreeSet<LaneId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadState {
    Idle,
    Asked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drain {
    No,
    /// Attempts are in flight.
    Asked,
    /// They have ended; the last commits are under way.
    Committing,
    Done,
}

/// With no more lanes than this on a scan, their filters are evaluated one by one: an index over all Triggers
/// would find the ones that are not there.
const FEW_LANES: usize = 4;

impl Partition {
    /// A partition that nobody reads yet; send it [`Input::Routes`] first.
    pub fn new(at: TopicPartition, mut limits: Limits, now: Instant) -> Self {
        limits.scans = limits.scans.max(2);
        Self {
            at,
            broker: None,
            lanes: HashMap::new(),
            by_trigger: HashMap::new(),
            by_place: Vec::new(),
            scans: BTreeMap::new(),
            standing: Standing::default(),
            crowded: BTreeSet::new(),
            recovering: BTreeSet::new(),
            timers: BinaryHeap::new(),
            dirty: BTreeSet::new(),
            committing: 0,
            commit_due: None,
            idle_commit_due: now + limits.idle_commit_interval,
            actions: VecDeque::new(),
            busy: 0,
            drain: Drain::No,
            next_lane: 0,
            next_scan: 0,
            matches: Vec::new(),
            limits,
        }
    }

    /// Which partition this is.
    pub fn at(&self) -> &TopicPartition {
        &self.at
    }

    /// Takes in what happened.
    pub fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Routes(broker) => self.route(broker),
            Input::Loaded { lane, cursor } => self.loaded(lane, cursor),
            Input::Read { scan, batch } => self.read(now, scan, &batch),
            Input::Finished { attempt, outcome, jitter } => self.finished(now, attempt, outcome, jitter),
            Input::Committed { lane, result } => self.committed(now, lane, result),
            Input::Budget(bytes) => {
                self.limits.budget = bytes;
                self.ask_crowded_lanes();
            }
            Input::Drain => self.start_drain(),
        }
        self.seat_lanes();
        self.finish_drain();
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&Reverse((due, id, offset))) = self.timers.peek()
            && due <= now
        {
            self.timers.pop();
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.wake(due, offset);
                self.start_attempts(id);
            }
        }
        if self.idle_commit_due <= now {
            self.idle_commit_due = now + self.limits.idle_commit_interval;
            self.mark_moved_lanes();
            self.commit_due = Some(now);
        }
        if self.commit_due.is_some_and(|due| due <= now) {
            self.commit_dirty_lanes(now);
            // A lane that has become empty leaves more to the others, and is dirty: so this is not missed.
            self.ask_crowded_lanes();
            self.seat_lanes();
        }
        self.finish_drain();
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due next.
    pub fn next_timeout(&self) -> Option<Instant> {
        if self.drain == Drain::Done {
            return None;
        }
        let retry = self.timers.peek().map(|Reverse((due, _, _))| *due);
        [retry, self.commit_due, Some(self.idle_commit_due)].into_iter().flatten().min()
    }

    /// The next thing to be done.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// How every lane stands.
    pub fn status(&self) -> Vec<LaneStatus> {
        let mut all: Vec<LaneStatus> = self.lanes.values().map(|lane| self.lane_status(lane)).collect();
        all.sort_by(|a, b| a.trigger.id.cmp(&b.trigger.id));
        all
    }

    fn lane_status(&self, lane: &Lane) -> LaneStatus {
        let position = self.position_of(lane);
        LaneStatus {
            trigger: Arc::clone(&lane.trigger),
            watermark: lane.watermark(position),
            position,
            queued: lane.queued(),
            in_flight: lane.in_flight(),
            retrying: lane.retrying(),
            bytes: lane.bytes(),
            oldest: lane.oldest(),
            counts: lane.counts,
            phase: match lane.seat {
                Seat::Loading => LanePhase::Loading,
                _ if lane.trigger.state == TriggerState::Paused => LanePhase::Paused,
                Seat::Scan(_) => LanePhase::Reading,
                Seat::Aside => LanePhase::Behind,
            },
        }
    }

    // Routes and cursors

    fn route(&mut self, broker: Arc<Broker>) {
        let mut gone: BTreeSet<LaneId> = self.by_trigger.values().copied().collect();
        self.by_place.clear();
        for trigger in &broker.triggers {
            let id = match self.by_trigger.get(&trigger.id) {
                Some(&id) => id,
                None => self.open_lane(trigger),
            };
            gone.remove(&id);
            self.by_place.push(id);
            self.edit_lane(id, trigger);
        }
        for id in gone {
            self.retire_lane(id);
        }
        self.broker = Some(broker);
    }

    fn open_lane(&mut self, trigger: &Arc<Trigger>) -> LaneId {
        let id = LaneId(self.next_lane);
        self.next_lane += 1;
        self.lanes.insert(id, Lane::new(id, Arc::clone(trigger)));
        self.by_trigger.insert(trigger.id.clone(), id);
        self.actions.push_back(Action::Load { lane: id, trigger: Arc::clone(trigger) });
        id
    }

    fn edit_lane(&mut self, id: LaneId, trigger: &Arc<Trigger>) {
        let lane = self.lanes.get_mut(&id).expect("every Trigger has a lane");
        lane.tenure = Tenure::Staying;
        if !Arc::ptr_eq(&lane.trigger, trigger) && lane.trigger != *trigger {
            lane.edit(Arc::clone(trigger));
            // What waits in the outlet of a dead subscriber must not wait there when the edit names another.
            self.actions.push_back(Action::Withdraw { lane: id });
        }
        if lane.may_send() {
            self.start_attempts(id);
            self.stand_up(id);
        } else {
            self.actions.push_back(Action::Withdraw { lane: id });
            self.leave_seat(id, None);
        }
    }

    /// The lane's progress stays in the log, so that a Trigger that comes back goes on where it was.
    fn retire_lane(&mut self, id: LaneId) {
        self.leave_seat(id, None);
        let lane = self.lanes.get_mut(&id).expect("by_trigger names lanes only");
        lane.tenure = Tenure::Retiring;
        self.actions.push_back(Action::Withdraw { lane: id });
        self.dirty.insert(id);
        self.bury(id);
    }

    /// Ends a retiring lane once nothing of it is under way: commits, then forgets it.
    fn bury(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get(&id) else { return };
        if lane.tenure == Tenure::Staying || !lane.is_idle() || lane.committing.is_some() {
            return;
        }
        if lane.seat != Seat::Loading && lane.committed.as_ref() != Some(&lane.cursor(lane.position)) {
            self.commit_lane(id);
            return;
        }
        if !lane.is_empty() {
            self.busy -= 1;
        }
        self.standing.remove(id);
        self.by_trigger.remove(&lane.trigger.id);
        self.lanes.remove(&id);
        self.dirty.remove(&id);
    }

    fn loaded(&mut self, id: LaneId, cursor: Cursor) {
        let Some(lane) = self.lanes.get_mut(&id).filter(|lane| lane.seat == Seat::Loading) else { return };
        lane.load(cursor);
        self.stand_up(id);
        self.bury(id);
    }

    // Seats

    fn position_of(&self, lane: &Lane) -> Offset {
        match lane.seat {
            Seat::Scan(scan) => lane.position.max(self.scans[&scan].position),
            Seat::Loading | Seat::Aside => lane.position,
        }
    }

    fn share(&self) -> usize {
        (self.limits.budget / self.busy.max(1)).max(self.limits.lane_floor)
    }

    /// Lets a lane ask for a seat if it has use for one.
    fn stand_up(&mut self, id: LaneId) {
        let share = self.share();
        let lane = &self.lanes[&id];
        if self.drain != Drain::No || lane.seat != Seat::Aside || !lane.may_send() {
            return;
        }
        if lane.is_hungry(self.limits.lane_events, share) {
            self.standing.insert(id, lane.resume());
        } else {
            self.crowded.insert(id);
        }
    }

    fn ask_crowded_lanes(&mut self) {
        for id in std::mem::take(&mut self.crowded) {
            if self.lanes.contains_key(&id) {
                self.stand_up(id);
            }
        }
    }

    fn take_seat(&mut self, id: LaneId, scan: ScanId) {
        self.standing.remove(id);
        let lane = self.lanes.get_mut(&id).expect("only lanes stand");
        lane.seat = Seat::Scan(scan);
        self.recovering.extend(lane.recovered().map(|offset| (offset, id)));
        self.scans.get_mut(&scan).expect("the caller has seen the scan").lanes.insert(id);
    }

    /// Takes the lane off its scan; `at` is the event that it could not take.
    fn leave_seat(&mut self, id: LaneId, at: Option<Offset>) {
        let lane = &self.lanes[&id];
        let position = at.map_or_else(|| self.position_of(lane), |at| at.max(lane.position));
        self.standing.remove(id);
        let lane = self.lanes.get_mut(&id).expect("it was there two lines above");
        let Seat::Scan(scan) = lane.seat else { return };
        lane.seat = Seat::Aside;
        lane.position = position;
        for offset in lane.recovered() {
            self.recovering.remove(&(offset, id));
        }
        if let Some(scan) = self.scans.get_mut(&scan) {
            scan.lanes.remove(&id);
        }
    }

    /// Seats the lanes that stand, opens scans for them, closes those that nobody needs, and reads on.
    fn seat_lanes(&mut self) {
        let there: Vec<(ScanId, Offset)> = self.scans.iter().map(|(id, scan)| (*id, scan.position)).collect();
        for (scan, position) in there {
            self.pick_up(scan, position, position.next());
        }
        while self.scans.len() < self.limits.scans
            && let Some(position) = self.standing.next()
        {
            let scan = ScanId(self.next_scan);
            self.next_scan += 1;
            let fresh = Scan { position, read: ReadState::Idle, lanes: BTreeSet::new() };
            self.scans.insert(scan, fresh);
            self.pick_up(scan, position, position.next());
        }
        let actions = &mut self.actions;
        self.scans.retain(|&id, scan| {
            if scan.lanes.is_empty() {
                actions.push_back(Action::Close { scan: id });
                return false;
            }
            if scan.read == ReadState::Idle {
                scan.read = ReadState::Asked;
                actions.push_back(Action::Read { scan: id, from: scan.position });
            }
            true
        });
    }

    // Records

    fn read(&mut self, now: Instant, id: ScanId, batch: &Batch) {
        let Some(scan) = self.scans.get_mut(&id) else { return };
        scan.read = ReadState::Idle;
        let from = scan.position;
        // Where another scan stands, this one ends: its lanes go on with the other.
        let other = self
            .scans
            .iter()
            .filter(|(other, scan)| **other != id && scan.position > from && scan.position <= batch.next)
            .min_by_key(|(_, scan)| scan.position)
            .map(|(other, scan)| (*other, scan.position));
        let to = other.map_or(batch.next, |(_, position)| position);
        self.pick_up(id, from, to);
        self.overtake(id, from, batch.start.min(to));
        for (offset, record) in &batch.records {
            if *offset < from {
                continue;
            }
            if *offset >= to || self.scans[&id].lanes.is_empty() {
                break;
            }
            self.offer(id, *offset, record);
        }
        let scan = self.scans.get_mut(&id).expect("nothing above closes scans");
        scan.position = to.max(from);
        self.forget_missing(id, from, to);
        if let Some((other, _)) = other {
            for lane in std::mem::take(&mut self.scans.get_mut(&id).expect("as above").lanes) {
                self.lanes.get_mut(&lane).expect("only lanes sit").seat = Seat::Scan(other);
                self.scans.get_mut(&other).expect("found above").lanes.insert(lane);
            }
        }
        self.schedule_commit(now);
    }

    /// Seats the lanes that stand between two offsets on a scan that is about to pass there.
    fn pick_up(&mut self, scan: ScanId, from: Offset, to: Offset) {
        for id in self.standing.between(from, to) {
            self.take_seat(id, scan);
        }
    }

    /// Counts what retention took away between `from` and `start`.
    fn overtake(&mut self, id: ScanId, from: Offset, start: Offset) {
        // Nearly always: otherwise every event at the tail would cost a look at every lane.
        if start <= from {
            return;
        }
        for lane in self.scans[&id].lanes.clone() {
            let lane = self.lanes.get_mut(&lane).expect("only lanes sit");
            let first = lane.position.max(from);
            if first < start {
                lane.counts.overtaken += start.0 - first.0;
                let trigger = Arc::clone(&lane.trigger);
                self.actions.push_back(Action::Overtaken { trigger, from: first, to: start });
                self.dirty.insert(lane.id);
            }
        }
    }

    /// Recovered events that the scan has passed without seeing them are not in the log any more.
    fn forget_missing(&mut self, scan: ScanId, from: Offset, to: Offset) {
        if to <= from {
            return;
        }
        let missing: Vec<(Offset, LaneId)> = self
            .recovering
            .range((from, LaneId(0))..(to, LaneId(0)))
            .filter(|(_, id)| self.lanes[id].seat == Seat::Scan(scan))
            .copied()
            .collect();
        for (offset, id) in missing {
            self.recovering.remove(&(offset, id));
            let lane = self.lanes.get_mut(&id).expect("only lanes recover");
            lane.forget_recovered(offset);
            lane.counts.overtaken += 1;
            let trigger = Arc::clone(&lane.trigger);
            self.actions.push_back(Action::Overtaken { trigger, from: offset, to: offset.next() });
            self.dirty.insert(id);
        }
    }

    fn offer(&mut self, scan: ScanId, offset: Offset, record: &Record) {
        let envelope = match Envelope::decode(record) {
            Ok(envelope) => Arc::new(envelope),
            Err(undecodable) => {
                self.actions.push_back(Action::Undecodable { offset, reason: undecodable.reason });
                return;
            }
        };
        let size = record.size() + EVENT_COST;
        let offer = Offer { offset, record, envelope: &envelope, size };
        let due = (offset, LaneId(0))..(offset.next(), LaneId(0));
        for (_, id) in self.recovering.range(due).copied().collect::<Vec<_>>() {
            self.hand_over(scan, id, &offer);
        }
        let broker = Arc::clone(self.broker.as_ref().expect("there are no scans before the first routes"));
        match &envelope.audience {
            Audience::Only(trigger) => {
                if let Some(&id) = self.by_trigger.get(trigger) {
                    self.hand_over(scan, id, &offer);
                }
            }
            Audience::Matching if self.scans[&scan].lanes.len() <= FEW_LANES => {
                let mut lanes = [None; FEW_LANES];
                for (slot, id) in lanes.iter_mut().zip(&self.scans[&scan].lanes) {
                    *slot = Some(*id);
                }
                for id in lanes.into_iter().flatten() {
                    if self.lanes[&id].trigger.filter.matches(&envelope.event) {
                        self.hand_over(scan, id, &offer);
                    }
                }
            }
            Audience::Matching => {
                let mut matches = std::mem::take(&mut self.matches);
                matches.clear();
                broker.index.matches(&envelope.event, &mut matches);
                for place in &matches {
                    self.hand_over(scan, self.by_place[*place], &offer);
                }
                self.matches = matches;
            }
        }
    }

    fn hand_over(&mut self, scan: ScanId, id: LaneId, offer: &Offer<'_>) {
        let share = self.share();
        let lane = self.lanes.get_mut(&id).expect("the index and the seats name lanes only");
        if lane.seat != Seat::Scan(scan) || !lane.wants(offer.offset) {
            return;
        }
        if !lane.has_room(offer.size, self.limits.lane_events, share) {
            self.leave_seat(id, Some(offer.offset));
            self.crowded.insert(id);
            return;
        }
        if lane.is_empty() {
            self.busy += 1;
        }
        lane.accept(offer);
        self.recovering.remove(&(offer.offset, id));
        self.start_attempts(id);
    }

    // Attempts

    fn start_attempts(&mut self, id: LaneId) {
        if self.drain != Drain::No {
            return;
        }
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        while let Some(attempt) = lane.start() {
            self.actions.push_back(Action::Start(attempt));
        }
    }

    fn finished(&mut self, now: Instant, attempt: AttemptId, outcome: Outcome, jitter: f64) {
        let id = attempt.lane;
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        match lane.settle(now, attempt.offset, outcome, jitter) {
            Settled::Unknown => return,
            Settled::Finished => {
                if lane.is_empty() {
                    self.busy -= 1;
                }
            }
            Settled::Waiting(due) => self.timers.push(Reverse((due, id, attempt.offset))),
            Settled::Ready => {}
        }
        self.dirty.insert(id);
        self.schedule_commit(now);
        self.start_attempts(id);
        self.stand_up(id);
        self.bury(id);
    }

    // Commits

    fn schedule_commit(&mut self, now: Instant) {
        if !self.dirty.is_empty() && self.commit_due.is_none() {
            self.commit_due = Some(now + self.limits.commit_interval);
        }
    }

    fn mark_moved_lanes(&mut self) {
        for (id, lane) in &self.lanes {
            if lane.committed.as_ref().is_some_and(|cursor| *cursor != lane.cursor(self.position_of(lane))) {
                self.dirty.insert(*id);
            }
        }
    }

    fn commit_dirty_lanes(&mut self, now: Instant) {
        for id in self.dirty.iter().copied().collect::<Vec<_>>() {
            self.commit_lane(id);
        }
        self.commit_due = None;
        self.schedule_commit(now);
    }

    /// Asks for a commit unless one is under way; then the lane stays dirty.
    fn commit_lane(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get(&id) else { return };
        let cursor = lane.cursor(self.position_of(lane));
        let lane = self.lanes.get_mut(&id).expect("it was there a line above");
        if lane.committing.is_some() || lane.seat == Seat::Loading {
            return;
        }
        self.dirty.remove(&id);
        if lane.committed.as_ref() == Some(&cursor) {
            return;
        }
        lane.committing = Some(cursor.clone());
        self.committing += 1;
        self.actions.push_back(Action::Commit { lane: id, trigger: Arc::clone(&lane.trigger), cursor });
    }

    fn committed(&mut self, now: Instant, id: LaneId, result: CommitResult) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let Some(cursor) = lane.committing.take() else { return };
        self.committing -= 1;
        match result {
            CommitResult::Durable => {
                lane.committed = Some(cursor);
                if self.drain == Drain::Committing && self.dirty.contains(&id) {
                    self.commit_lane(id);
                }
                self.bury(id);
            }
            CommitResult::Failed => {
                self.dirty.insert(id);
            }
        }
        self.schedule_commit(now);
    }

    // Drain

    fn start_drain(&mut self) {
        if self.drain != Drain::No {
            return;
        }
        self.drain = Drain::Asked;
        let ids: Vec<LaneId> = self.lanes.keys().copied().collect();
        for id in ids {
            self.leave_seat(id, None);
            self.actions.push_back(Action::Withdraw { lane: id });
        }
        self.standing.clear();
    }

    /// Commits what the last attempts have changed, and is done when that is durable.
    fn finish_drain(&mut self) {
        if self.drain == Drain::Asked && self.lanes.values().all(Lane::is_idle) {
            self.drain = Drain::Committing;
            self.mark_moved_lanes();
            for id in self.dirty.iter().copied().collect::<Vec<_>>() {
                self.commit_lane(id);
            }
        }
        if self.drain == Drain::Committing && self.dirty.is_empty() && self.committing == 0 {
            self.drain = Drain::Done;
            self.actions.push_back(Action::Drained);
        }
    }
}
