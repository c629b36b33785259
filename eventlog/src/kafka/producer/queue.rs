//! What waits to be stored in one topic, and what is on its way. Asks nobody.
//!
//! A partition has one batch on its way at a time: what comes meanwhile goes together with the next, so nothing has to
//! linger, and records of one key cannot overtake one another. A batch is repeated as it was, under the same numbers,
//! and no number is ever given to another batch: Kafka would take that for a repetition and drop it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use trigon_core::name::{Offset, PartitionId, Position, TopicName};
use trigon_core::record::Record;

use super::append::{Cause, Fate, Ticket};
use super::partitioner::of_key;
use super::verdict::Verdict;
use crate::kafka::records::{Compression, Numbering, ProducerId, encode};
use crate::kafka::wire::{NodeId, TopicView};

/// The wait after the first failed attempt; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(20);

/// The longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// A record that waits.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) record: Record,
    pub(super) ticket: Ticket,
    /// When nobody waits for it any more.
    pub(super) deadline: Instant,
}

/// What a request takes along.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sending {
    /// To whom.
    pub(super) node: NodeId,
    /// Under whose numbers.
    pub(super) producer: ProducerId,
    pub(super) compression: Compression,
}

/// A batch as it is sent.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) partition: PartitionId,
    pub(super) bytes: Bytes,
    /// When the first of its records is given up.
    pub(super) deadline: Instant,
}

/// The records for one topic.
#[derive(Debug)]
pub(super) struct TopicQueue {
    name: TopicName,
    view: Option<Arc<TopicView>>,
    /// Records with a key whose partition is not known yet.
    unplaced: VecDeque<Queued>,
    /// Records without a key go wherever there is room first.
    free: VecDeque<Queued>,
    partitions: Vec<Partition>,
    batch_bytes: usize,
    /// Where the search for room begins.
    turn: usize,
    /// Records that wait, and batches that wait to be sent again.
    waiting: usize,
    /// Whether an answer has shown that the cluster has changed.
    is_outdated: bool,
}

#[derive(Debug, Default)]
struct Partition {
    /// Records that belong here.
    own: VecDeque<Queued>,
    slot: Slot,
    /// How the next batch is numbered.
    next: Option<Numbering>,
    /// Whose numbers are not to be used any more: one of them is in doubt.
    spent: Option<ProducerId>,
    /// Nothing is sent before.
    not_before: Option<Instant>,
    wait: Duration,
    /// How many records a batch may have, after one was refused.
    at_most: Option<usize>,
}

#[derive(Debug, Default)]
enum Slot {
    #[default]
    Idle,
    /// On its way.
    Sent(Batch),
    /// To be sent again.
    Again(Batch),
}

#[derive(Debug)]
struct Batch {
    bytes: Bytes,
    records: Vec<Queued>,
    /// What became of it if it is not sent again.
    fate: Fate,
}

impl TopicQueue {
    /// An empty queue, whose batches have no more than so many bytes unless one record has.
    pub(super) fn new(name: TopicName, batch_bytes: usize) -> Self {
        Self {
            name,
            view: None,
            unplaced: VecDeque::new(),
            free: VecDeque::new(),
            partitions: Vec::new(),
            batch_bytes,
            turn: 0,
            waiting: 0,
            is_outdated: false,
        }
    }

    /// What the cluster last said of the topic.
    pub(super) fn view(&self) -> Option<&Arc<TopicView>> {
        self.view.as_ref()
    }

    /// Whether something waits to be sent.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting > 0
    }

    /// Whether an answer has shown since the last [`seen`](Self::seen) that the cluster has changed, or a record waits
    /// for somebody to lead its partition.
    pub(super) fn is_outdated(&self) -> bool {
        let Some(view) = &self.view else { return true };
        let leaderless = |(at, leader): (usize, &Option<NodeId>)| {
            leader.is_none() && self.partitions.get(at).is_some_and(Partition::is_waiting)
        };
        self.is_outdated || (self.waiting > 0 && view.leaders.iter().enumerate().any(leaderless))
    }

    /// Takes a record.
    pub(super) fn push(&mut self, queued: Queued) {
        self.waiting += 1;
        match (&queued.record.key, &self.view) {
            (None, _) => self.free.push_back(queued),
            (Some(_), None) => self.unplaced.push_back(queued),
            (Some(key), Some(view)) => {
                let at = index(of_key(key, view.leaders.len()));
                self.partitions[at].own.push_back(queued);
            }
        }
    }

    /// The cluster knows no such topic: all that waits is given up.
    pub(super) fn unknown(&mut self) {
        self.view = None;
        self.fail(&Cause::UnknownTopic);
    }

    /// Takes what the cluster says of the topic.
    pub(super) fn seen(&mut self, view: Arc<TopicView>) {
        if self.partitions.len() < view.leaders.len() {
            self.partitions.resize_with(view.leaders.len(), Partition::default);
        }
        self.is_outdated = false;
        self.view = (!view.leaders.is_empty()).then_some(view);
        if self.view.is_some() {
            let unplaced = std::mem::take(&mut self.unplaced);
            self.waiting -= unplaced.len();
            unplaced.into_iter().for_each(|queued| self.push(queued));
        }
    }

    /// Adds the brokers to which something could be sent now.
    pub(super) fn ready(&self, now: Instant, nodes: &mut BTreeSet<NodeId>) {
        if self.waiting == 0 {
            return;
        }
        let Some(view) = &self.view else { return };
        for (partition, leader) in self.partitions.iter().zip(&view.leaders) {
            if let Some(leader) = leader
                && partition.may_send(now)
                && (partition.is_waiting() || !self.free.is_empty())
            {
                nodes.insert(*leader);
            }
        }
    }

    /// Whether something could be sent, if only its producer had new numbers.
    pub(super) fn wants_numbers(&self, producer: ProducerId, now: Instant) -> bool {
        self.waiting > 0
            && self.partitions.iter().any(|partition| {
                partition.spent == Some(producer)
                    && matches!(partition.slot, Slot::Idle)
                    && partition.may_send(now)
                    && (!partition.own.is_empty() || !self.free.is_empty())
            })
    }

    /// What goes to a broker now, of no more than `room` bytes or one batch.
    pub(super) fn send(&mut self, sending: Sending, now: Instant, room: &mut usize) -> Vec<Outgoing> {
        let mut batches = Vec::new();
        let Some(view) = self.view.clone() else { return batches };
        let count = view.leaders.len();
        let begin = self.turn;
        for at in (0..count).map(|step| (begin + step) % count) {
            if view.leaders[at] != Some(sending.node) || self.waiting == 0 || *room == 0 {
                continue;
            }
            let (partition, free) = (&mut self.partitions[at], &mut self.free);
            if !partition.may_send(now) {
                continue;
            }
            let batch = match std::mem::take(&mut partition.slot) {
                Slot::Again(batch) => {
                    self.waiting -= 1;
                    Some(batch)
                }
                _ => {
                    let at_most = partition.at_most.unwrap_or(usize::MAX);
                    let records = match partition.numbering(sending.producer) {
                        None => Vec::new(),
                        Some(_) if partition.own.is_empty() => {
                            self.turn = at + 1;
                            take(free, self.batch_bytes, at_most)
                        }
                        Some(_) => take(&mut partition.own, self.batch_bytes, at_most),
                    };
                    self.waiting -= records.len();
                    partition.number(records, sending)
                }
            };
            if let Some(batch) = batch {
                *room = room.saturating_sub(batch.bytes.len());
                let deadline = batch.deadline().unwrap_or(now);
                batches.push(Outgoing { partition: partition_id(at), bytes: batch.bytes.clone(), deadline });
                partition.slot = Slot::Sent(batch);
            }
        }
        batches
    }

    /// Takes what became of a batch that was sent.
    pub(super) fn answered(&mut self, at: PartitionId, verdict: Verdict, now: Instant) {
        let place = index(at);
        let Some(partition) = self.partitions.get_mut(place) else { return };
        let Slot::Sent(mut batch) = std::mem::take(&mut partition.slot) else { return };
        match verdict {
            Verdict::Stored(base) => {
                partition.not_before = None;
                partition.at_most = None;
                for (offset, queued) in (base.0..).zip(batch.records) {
                    queued.ticket.stored(Position { partition: at, offset: Offset(offset) });
                }
            }
            Verdict::Again(fate, _) => {
                self.is_outdated = true;
                if fate == Fate::Unknown {
                    batch.fate = Fate::Unknown;
                }
                partition.slot = Slot::Again(batch);
                self.waiting += 1;
                partition.hold(now);
            }
            Verdict::Split(cause) => {
                partition.spend();
                if batch.records.len() == 1 {
                    return batch.fail(&cause);
                }
                if cause == Cause::TooLarge {
                    let size: usize = batch.records.iter().map(|queued| queued.record.size()).sum();
                    self.batch_bytes = self.batch_bytes.min(size / 2).max(1);
                }
                partition.at_most = Some(batch.records.len() / 2);
                self.put_back(place, batch);
            }
            Verdict::Renumber(reason) => {
                partition.spend();
                if batch.fate == Fate::Unknown {
                    return batch.fail(&Cause::Refused(reason));
                }
                partition.hold(now);
                self.put_back(place, batch);
            }
            Verdict::Failed(cause, fate) => {
                partition.spend();
                if fate == Fate::Unknown {
                    batch.fate = Fate::Unknown;
                }
                batch.fail(&cause);
            }
        }
    }

    /// Gives up what nobody waits for any more. Tells whether there was something.
    pub(super) fn expire(&mut self, now: Instant, complaint: Option<&Arc<str>>) -> bool {
        let cause = Cause::Late(complaint.cloned());
        let before = self.waiting;
        let own = self.partitions.iter_mut().map(|partition| &mut partition.own);
        for queue in [&mut self.unplaced, &mut self.free].into_iter().chain(own) {
            while let Some(late) = queue.pop_front_if(|queued| queued.deadline <= now) {
                self.waiting -= 1;
                late.ticket.failed(cause.clone(), Fate::NotStored);
            }
        }
        for partition in &mut self.partitions {
            if let Slot::Again(batch) = &partition.slot
                && batch.deadline().is_some_and(|deadline| deadline <= now)
                && let Slot::Again(batch) = std::mem::take(&mut partition.slot)
            {
                self.waiting -= 1;
                partition.spend();
                batch.fail(&cause);
            }
        }
        before > self.waiting
    }

    /// Gives up everything that waits. What was stored in a topic that is gone is gone with it.
    pub(super) fn fail(&mut self, cause: &Cause) {
        let own = self.partitions.iter_mut().map(|partition| &mut partition.own);
        for queue in [&mut self.unplaced, &mut self.free].into_iter().chain(own) {
            for queued in queue.drain(..) {
                self.waiting -= 1;
                queued.ticket.failed(cause.clone(), Fate::NotStored);
            }
        }
        for partition in &mut self.partitions {
            if matches!(partition.slot, Slot::Again(_))
                && let Slot::Again(mut batch) = std::mem::take(&mut partition.slot)
            {
                self.waiting -= 1;
                partition.spend();
                if *cause == Cause::UnknownTopic {
                    batch.fate = Fate::NotStored;
                }
                batch.fail(cause);
            }
        }
    }

    /// When something changes although nobody answers.
    pub(super) fn next_change(&self, now: Instant) -> Option<Instant> {
        if self.waiting == 0 {
            return None;
        }
        let front = |queue: &VecDeque<Queued>| queue.front().map(|queued| queued.deadline);
        let of_partition = |partition: &Partition| {
            let again = match &partition.slot {
                Slot::Again(batch) => batch.deadline(),
                Slot::Idle | Slot::Sent(_) => None,
            };
            let held = partition.not_before.filter(|at| *at > now);
            [front(&partition.own), again, held].into_iter().flatten().min()
        };
        let partitions = self.partitions.iter().filter_map(of_partition);
        partitions.chain(front(&self.unplaced)).chain(front(&self.free)).min()
    }

    /// The name of the topic.
    pub(super) fn name(&self) -> &TopicName {
        &self.name
    }

    fn put_back(&mut self, at: usize, batch: Batch) {
        self.waiting += batch.records.len();
        for queued in batch.records.into_iter().rev() {
            self.partitions[at].own.push_front(queued);
        }
    }
}

impl Partition {
    fn is_waiting(&self) -> bool {
        !self.own.is_empty() || matches!(self.slot, Slot::Again(_))
    }

    fn may_send(&self, now: Instant) -> bool {
        !matches!(self.slot, Slot::Sent(_)) && self.not_before.is_none_or(|at| at <= now)
    }

    /// How a batch of this producer is numbered; `None` when its numbers are spent.
    fn numbering(&self, producer: ProducerId) -> Option<Numbering> {
        if self.spent == Some(producer) {
            return None;
        }
        let known = self.next.filter(|next| next.producer == producer);
        Some(known.unwrap_or(Numbering { producer, sequence: 0 }))
    }

    /// Makes a batch of some records, and gives it its numbers.
    fn number(&mut self, records: Vec<Queued>, sending: Sending) -> Option<Batch> {
        let numbering = self.numbering(sending.producer).filter(|_| !records.is_empty())?;
        let bytes = encode(records.iter().map(|queued| &queued.record), numbering, sending.compression);
        let count = i32::try_from(records.len()).unwrap_or(i32::MAX);
        // After the largest number comes 0.
        let sequence = numbering.sequence.wrapping_add(count) & i32::MAX;
        self.next = Some(Numbering { sequence, ..numbering });
        Some(Batch { bytes, records, fate: Fate::NotStored })
    }

    /// Uses the numbers no more: one of them was given to a batch that is given up.
    fn spend(&mut self) {
        self.spent = self.next.map(|next| next.producer);
    }

    fn hold(&mut self, now: Instant) {
        self.wait = match self.not_before {
            Some(_) => (self.wait * 2).min(LONGEST_WAIT),
            None => FIRST_WAIT,
        };
        self.not_before = Some(now + self.wait);
    }
}

impl Batch {
    /// That of its oldest record.
    fn deadline(&self) -> Option<Instant> {
        self.records.iter().map(|queued| queued.deadline).min()
    }

    fn fail(self, cause: &Cause) {
        for queued in self.records {
            queued.ticket.failed(cause.clone(), self.fate);
        }
    }
}

/// At least one record, if there is one.
fn take(queue: &mut VecDeque<Queued>, bytes: usize, at_most: usize) -> Vec<Queued> {
    let mut room = bytes;
    let mut fits = 0;
    for queued in queue.iter().take(at_most) {
        let size = queued.record.size();
        if fits > 0 && size > room {
            break;
        }
        room = room.saturating_sub(size);
        fits += 1;
    }
    queue.drain(..fits).collect()
}

fn index(partition: PartitionId) -> usize {
    usize::try_from(partition.0).unwrap_or(usize::MAX)
}

fn partition_id(index: usize) -> PartitionId {
    PartitionId(u32::try_from(index).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
