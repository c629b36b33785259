//! Who reads where: scans, the lanes that sit on them, and what the records that they read do to those.
//!
//! Normally there is one scan, at the tail. A lane that is full leaves it, stands up when it has room again, and is
//! served by a scan of its own, which it shares with every lane that it meets, until that scan reaches another.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use trigon_core::binding::record::{Audience, Envelope};
use trigon_core::name::Offset;
use trigon_core::record::Record;
use trigon_eventlog::Batch;

use super::lane::{EVENT_COST, Lane, Offer, Seat};
use super::{Action, Drain, Partition, ScanId};
use crate::attempt::LaneId;

#[derive(Debug)]
pub(super) struct Scan {
    pub(super) position: Offset,
    read: ReadState,
    lanes: BTreeSet<LaneId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadState {
    Idle,
    Asked,
}

/// With no more lanes than this on a scan, their filters are evaluated one by one: an index over all Triggers
/// would find the ones that are not there.
const FEW_LANES: usize = 4;

impl Partition {
    pub(super) fn position_of(&self, lane: &Lane) -> Offset {
        match lane.seat {
            Seat::Scan(scan) => lane.position.max(self.scans[&scan].position),
            Seat::Loading | Seat::Aside => lane.position,
        }
    }

    fn share(&self) -> usize {
        (self.limits.budget / self.busy.max(1)).max(self.limits.lane_floor)
    }

    /// Lets a lane ask for a seat if it has use for one.
    pub(super) fn stand_up(&mut self, id: LaneId) {
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

    pub(super) fn ask_crowded_lanes(&mut self) {
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
    pub(super) fn leave_seat(&mut self, id: LaneId, at: Option<Offset>) {
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
    pub(super) fn seat_lanes(&mut self) {
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
        let has_room = self.unparked.has_room();
        let actions = &mut self.actions;
        self.scans.retain(|&id, scan| {
            if scan.lanes.is_empty() {
                actions.push_back(Action::Close { scan: id });
                return false;
            }
            if scan.read == ReadState::Idle && has_room {
                scan.read = ReadState::Asked;
                actions.push_back(Action::Read { scan: id, from: scan.position });
            }
            true
        });
    }

    pub(super) fn read(&mut self, now: Instant, id: ScanId, batch: &Batch) {
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
        let mut looked = to;
        for (offset, record) in &batch.records {
            if *offset < from {
                continue;
            }
            if *offset >= to {
                break;
            }
            if self.scans[&id].lanes.is_empty() {
                looked = *offset;
                break;
            }
            self.offer(id, *offset, record);
        }
        self.unparked.look(from, looked);
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
                // A lane that only fetches again what it left unfinished has passed the rest.
                let concerns = |id: &LaneId| self.lanes[id].position <= offset;
                if self.scans[&scan].lanes.iter().any(concerns) && self.unparked.insert(offset, record) {
                    let (record, reason) = (record.clone(), undecodable.reason);
                    self.actions.push_back(Action::Undecodable { offset, record, reason });
                }
                return;
            }
        };
        let size = record.size() + EVENT_COST;
        let offer = Offer { offset, record, envelope: &envelope, size };
        let due = (offset, LaneId(0))..(offset.next(), LaneId(0));
        for (_, id) in self.recovering.range(due).copied().collect::<Vec<_>>() {
            self.hand_over(scan, id, &offer);
        }
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
                let broker = self.broker.as_ref().expect("there are no scans before the first routes");
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
            lane.refuse(offer);
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
}
