//! One partition as a state machine without I/O: records and outcomes go in, reads, attempts and commits come
//! out.
//!
//! The machine owns who reads where (scans), who is sent what (lanes), what waits for a retry, and how
//! far each Trigger has come. It reads no clock: `now` is an argument. It buffers no more than its
//! [`Limits`] say; a lane that is full leaves its scan and is served by another scan later.
//!
//! The shell calls [`Partition::handle`] with what happened, then takes every [`Action`] from
//! [`Partition::next_action`], and calls [`Partition::handle_timeout`] at [`Partition::next_timeout`].

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use trigon_core::cursor::Cursor;
use trigon_core::name::{GroupName, Offset, TopicPartition, TriggerId};
use trigon_core::routing::{Broker, Trigger};

use self::history::History;
use self::lane::{Lane, Seat, Settled, Tenure};
use self::scan::Scan;
use self::standing::Standing;
use self::unparked::Unparked;
use crate::attempt::{AttemptId, LaneId, Outcome};

pub use self::history::{Finish, REMEMBERED};
pub use self::message::{Action, CommitResult, Input};
pub use self::status::{LaneCounts, LanePhase, LaneStatus};
pub use self::unparked::UNPARKED_BYTES;
pub use self::whereabouts::{Turn, Whereabouts};

mod history;
mod lane;
mod message;
mod scan;
mod standing;
mod status;
mod step;
#[cfg(test)]
mod tests;
mod unparked;
mod whereabouts;

/// Names a scan within its partition; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScanId(pub u64);

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
    /// How often what was committed is committed again: Kafka forgets an offset seven days after its last commit.
    pub refresh_interval: Duration,
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
            refresh_interval: Duration::from_secs(60 * 60),
        }
    }
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
    /// Lanes whose place is being looked up again.
    doubted: usize,
    /// Records that are no CloudEvents and are not parked yet.
    unparked: Unparked,
    /// Lanes whose progress could not be committed to its end because of those.
    held_back: BTreeSet<LaneId>,
    commit_due: Option<Instant>,
    idle_commit_due: Instant,
    refresh_due: Instant,
    actions: VecDeque<Action>,
    /// Lanes that hold events: the budget is shared between them.
    busy: usize,
    drain: Drain,
    next_lane: u64,
    next_scan: u64,
    history: History,
    /// Scratch for the filter index.
    matches: Vec<usize>,
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
            doubted: 0,
            unparked: Unparked::default(),
            held_back: BTreeSet::new(),
            commit_due: None,
            idle_commit_due: now + limits.idle_commit_interval,
            refresh_due: now + limits.refresh_interval,
            actions: VecDeque::new(),
            busy: 0,
            drain: Drain::No,
            next_lane: 0,
            next_scan: 0,
            history: History::default(),
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
            Input::Moved { lane } => self.doubt(lane),
            Input::Truncated { end } => self.truncate(end),
            Input::Reloaded { lane, cursor } => self.reloaded(now, lane, cursor),
            Input::Parked { offset } => self.parked(now, offset),
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
            if self.refresh_due <= now {
                self.refresh_due = now + self.limits.refresh_interval;
                self.mark_all_lanes();
            }
            self.commit_due = Some(now);
        }
        if self.commit_due.is_some_and(|due| due <= now) {
            self.commit_dirty_lanes();
            self.commit_due = None;
            self.schedule_commit(now);
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

    /// Whether the answer to [`Action::Load`] or [`Action::Reload`] is still wanted.
    pub fn is_loading(&self, lane: LaneId) -> bool {
        self.lanes.get(&lane).is_some_and(|lane| lane.seat == Seat::Loading || lane.is_doubted)
    }

    /// The groups that have their place here.
    pub fn groups(&self) -> Vec<GroupName> {
        let loaded = self.lanes.values().filter(|lane| lane.seat != Seat::Loading);
        loaded.map(|lane| lane.trigger.group.clone()).collect()
    }

    /// The furthest offset that a lane has come to.
    pub fn furthest(&self) -> Offset {
        let loaded = self.lanes.values().filter(|lane| lane.seat != Seat::Loading);
        loaded.map(|lane| self.position_of(lane)).max().unwrap_or_default()
    }

    /// The lane of a group.
    pub fn lane_of(&self, group: &GroupName) -> Option<LaneId> {
        self.lanes.values().find(|lane| lane.trigger.group == *group).map(|lane| lane.id)
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
            // What waits in the outlet of a dead subscriber must not wait there when the edit names another; and
            // what a Trigger has queued that is paused is not sent.
            self.actions.push_back(Action::Withdraw { lane: id });
        }
        if lane.may_send() {
            self.start_attempts(id);
            self.stand_up(id);
        } else {
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
        if lane.tenure == Tenure::Staying || !lane.is_idle() || lane.committing.is_some() || lane.is_doubted {
            return;
        }
        if self.unparked.gate(lane.floor).is_some_and(|gate| gate < lane.position) {
            self.held_back.insert(id);
            return;
        }
        if lane.seat != Seat::Loading && lane.committed.as_ref() != Some(&self.cursor_of(lane)) {
            self.commit_lane(id);
            return;
        }
        self.by_trigger.remove(&lane.trigger.id);
        self.forget(id);
    }

    /// Removes a lane that has left its seat.
    fn forget(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.remove(&id) else { return };
        if !lane.is_empty() {
            self.busy -= 1;
        }
        self.standing.remove(id);
        self.dirty.remove(&id);
        self.crowded.remove(&id);
        self.held_back.remove(&id);
    }

    fn loaded(&mut self, id: LaneId, cursor: Cursor) {
        let Some(lane) = self.lanes.get_mut(&id).filter(|lane| lane.seat == Seat::Loading) else { return };
        lane.load(cursor);
        self.stand_up(id);
        self.bury(id);
    }

    /// Somebody has set the lane's place: it commits nothing until that is looked up, after a commit that is under way.
    fn doubt(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        if lane.seat == Seat::Loading || lane.is_doubted {
            return;
        }
        lane.is_doubted = true;
        self.doubted += 1;
        if lane.committing.is_none() {
            self.actions.push_back(Action::Reload { lane: id, trigger: Arc::clone(&lane.trigger) });
        }
    }

    /// A lane beyond the new end would wait for the old one to come round, and miss what is accepted until then.
    fn truncate(&mut self, end: Offset) {
        self.unparked.truncate(end);
        let beyond = self.lanes.values().filter(|lane| self.position_of(lane) > end);
        for id in beyond.map(|lane| lane.id).collect::<Vec<_>>() {
            self.lanes.get_mut(&id).expect("it was there above").is_beyond_end = true;
            self.doubt(id);
        }
    }

    fn reloaded(&mut self, now: Instant, id: LaneId, cursor: Option<Cursor>) {
        let Some(lane) = self.lanes.get_mut(&id).filter(|lane| lane.is_doubted) else { return };
        lane.is_doubted = false;
        self.doubted -= 1;
        // A commit may have restored a place that somebody was seen to delete: what we have written ourselves is no
        // reason to go back to it.
        let is_its_own = !lane.is_beyond_end && cursor.is_some() && lane.committed == cursor;
        match cursor {
            Some(cursor) if !is_its_own => self.relocate(id, cursor),
            _ => {
                lane.committed = cursor;
                self.dirty.insert(id);
                if self.drain == Drain::Committing {
                    self.commit_lane(id);
                }
                self.schedule_commit(now);
                self.bury(id);
            }
        }
    }

    /// Lets another lane go on elsewhere in the place of this one, so that nothing that this one has begun is taken for
    /// the other's.
    fn relocate(&mut self, id: LaneId, cursor: Cursor) {
        self.leave_seat(id, None);
        self.actions.push_back(Action::Withdraw { lane: id });
        let old = &self.lanes[&id];
        let (trigger, from, to) = (Arc::clone(&old.trigger), old.watermark(old.position), cursor.watermark);
        if old.tenure == Tenure::Retiring {
            self.by_trigger.remove(&trigger.id);
        } else {
            let fresh = LaneId(self.next_lane);
            self.next_lane += 1;
            let mut lane = old.successor(fresh);
            lane.load(cursor);
            self.lanes.insert(fresh, lane);
            self.by_trigger.insert(trigger.id.clone(), fresh);
            for place in self.by_place.iter_mut().filter(|place| **place == id) {
                *place = fresh;
            }
            self.stand_up(fresh);
        }
        self.forget(id);
        self.actions.push_back(Action::Moved { trigger, from, to });
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
            Settled::Finished(finish) => {
                self.history.note(id, attempt.offset, finish);
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
        let moved =
            |lane: &&Lane| lane.committed.as_ref().is_some_and(|cursor| *cursor != self.cursor_of(lane));
        let moved: Vec<LaneId> = self.lanes.values().filter(moved).map(|lane| lane.id).collect();
        self.dirty.extend(moved);
    }

    /// Has every lane commit, whether it has moved or not.
    fn mark_all_lanes(&mut self) {
        for lane in self.lanes.values_mut().filter(|lane| lane.committed.is_some()) {
            lane.committed = None;
            self.dirty.insert(lane.id);
        }
    }

    /// The progress that may be committed: not beyond a record that has yet to be parked, or a crash would lose it.
    fn cursor_of(&self, lane: &Lane) -> Cursor {
        let cursor = lane.cursor(self.position_of(lane));
        match self.unparked.gate(lane.floor) {
            Some(gate) => cursor.up_to(gate),
            None => cursor,
        }
    }

    fn parked(&mut self, now: Instant, offset: Offset) {
        self.unparked.remove(offset);
        let held_back = std::mem::take(&mut self.held_back);
        self.dirty.extend(&held_back);
        for id in held_back {
            self.bury(id);
        }
        self.schedule_commit(now);
    }

    fn commit_dirty_lanes(&mut self) {
        for id in self.dirty.iter().copied().collect::<Vec<_>>() {
            self.commit_lane(id);
        }
    }

    /// Asks for a commit unless one is under way; then the lane stays dirty.
    fn commit_lane(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get(&id) else { return };
        if lane.committing.is_some() || lane.is_doubted || lane.seat == Seat::Loading {
            return;
        }
        let cursor = self.cursor_of(lane);
        if self.unparked.gate(lane.floor).is_some() {
            self.held_back.insert(id);
        }
        self.dirty.remove(&id);
        let lane = self.lanes.get_mut(&id).expect("it was there above");
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
        let is_doubted = lane.is_doubted;
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
            CommitResult::Moved => {
                self.dirty.insert(id);
                if !is_doubted {
                    self.doubt(id);
                }
            }
        }
        if is_doubted && let Some(lane) = self.lanes.get(&id) {
            self.actions.push_back(Action::Reload { lane: id, trigger: Arc::clone(&lane.trigger) });
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
        if self.drain == Drain::Asked && self.unparked.is_empty() && self.lanes.values().all(Lane::is_idle) {
            self.drain = Drain::Committing;
            self.mark_moved_lanes();
            self.commit_dirty_lanes();
        }
        if self.drain == Drain::Committing
            && self.dirty.is_empty()
            && self.committing == 0
            && self.doubted == 0
        {
            self.drain = Drain::Done;
            self.actions.push_back(Action::Drained);
        }
    }
}
