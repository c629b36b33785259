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

use self::partition::{Batch, Partition, Slot};
use super::append::{Cause, Fate, Ticket};
use super::partitioner::of_key;
use super::verdict::Verdict;
use crate::kafka::records::{Compression, ProducerId};
use crate::kafka::wire::{NodeId, TopicView};

mod partition;
#[cfg(test)]
mod tests;

/// How long batches stay small after Kafka has refused one for its size: the limit may be raised.
const SMALL_FOR: Duration = Duration::from_secs(60);

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
    /// How large batches become.
    most_bytes: usize,
    /// The same, since Kafka has refused one, and until when.
    small: Option<(usize, Instant)>,
    /// Where the search for room begins.
    turn: usize,
    /// Records that wait, and batches that wait to be sent again.
    waiting: usize,
    /// Whether an answer has shown that the cluster has changed.
    is_outdated: bool,
}

impl TopicQueue {
    /// An empty queue, whose batches have no more than so many bytes unless one record has.
    pub(super) fn new(name: TopicName, most_bytes: usize) -> Self {
        Self {
            name,
            view: None,
            unplaced: VecDeque::new(),
            free: VecDeque::new(),
            partitions: Vec::new(),
            most_bytes,
            small: None,
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
        let is_leaderless =
            |(leader, partition): (&Option<NodeId>, &Partition)| leader.is_none() && partition.is_waiting();
        let nobody_leads = || view.leaders.iter().all(Option::is_none);
        self.is_outdated
            || (!self.free.is_empty() && nobody_leads())
            || (self.waiting > 0 && view.leaders.iter().zip(&self.partitions).any(is_leaderless))
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
        if self.view.as_ref().is_some_and(|before| before.id != view.id) {
            self.small = None;
        }
        self.is_outdated = false;
        let count = view.leaders.len();
        self.view = (count > 0).then_some(view);
        if count == 0 {
            return;
        }
        if self.partitions.len() < count {
            self.partitions.resize_with(count, Partition::default);
        }
        // Those of a former topic of this name are gone.
        let mut homeless = std::mem::take(&mut self.unplaced);
        for partition in &mut self.partitions[count..] {
            homeless.append(&mut partition.own);
            if let Slot::Again(batch) = std::mem::take(&mut partition.slot) {
                self.waiting -= 1;
                partition.leave_epoch();
                batch.fail(&Cause::UnknownTopic);
            }
        }
        self.waiting -= homeless.len();
        homeless.into_iter().for_each(|queued| self.push(queued));
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
                partition.has_spent(producer)
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
        let batch_bytes = self.batch_bytes(now);
        for at in (0..count).map(|step| (begin + step) % count) {
            if self.waiting == 0 || *room == 0 {
                break;
            }
            let partition = &mut self.partitions[at];
            if view.leaders[at] != Some(sending.node) || !partition.may_send(now) {
                continue;
            }
            let batch = match std::mem::take(&mut partition.slot) {
                Slot::Again(batch) => {
                    self.waiting -= 1;
                    Some(batch)
                }
                Slot::Idle | Slot::Sent(_) if partition.has_spent(sending.producer) => None,
                Slot::Idle | Slot::Sent(_) => {
                    let at_most = partition.at_most.unwrap_or(usize::MAX);
                    let own = !partition.own.is_empty();
                    let from = if own { &mut partition.own } else { &mut self.free };
                    let records = take(from, batch_bytes, at_most);
                    self.waiting -= records.len();
                    partition.number(records, sending)
                }
            };
            let Some(batch) = batch else { continue };
            if batches.is_empty() {
                // Another begins next time, or one that is always full would leave no room for the others.
                self.turn = at + 1;
            }
            *room = room.saturating_sub(batch.size().max(1));
            let deadline = batch.deadline().unwrap_or(now);
            batches.push(Outgoing { partition: partition_id(at), bytes: batch.bytes.clone(), deadline });
            partition.slot = Slot::Sent(batch);
        }
        batches
    }

    fn batch_bytes(&mut self, now: Instant) -> usize {
        self.small.take_if(|(_, until)| *until <= now);
        self.small.map_or(self.most_bytes, |(bytes, _)| bytes)
    }

    /// Takes what became of a batch that was sent.
    pub(super) fn answered(&mut self, at: PartitionId, verdict: Verdict, now: Instant) {
        let place = index(at);
        let Some(partition) = self.partitions.get_mut(place) else { return };
        let mut batch = match std::mem::take(&mut partition.slot) {
            Slot::Sent(batch) => batch,
            other => return partition.slot = other,
        };
        match verdict {
            Verdict::Stored(base) => {
                partition.release();
                partition.at_most = None;
                for (offset, queued) in (base.0..).zip(batch.records) {
                    queued.ticket.stored(Position { partition: at, offset: Offset(offset) });
                }
            }
            Verdict::Again(fate, _) => {
                self.is_outdated = true;
                batch.doubt(fate);
                partition.slot = Slot::Again(batch);
                self.waiting += 1;
                partition.hold(now);
            }
            Verdict::Split(cause) => {
                partition.leave_epoch();
                partition.release();
                // One that may be stored would be stored again in parts.
                if batch.records.len() == 1 || batch.fate == Fate::Unknown {
                    return batch.fail(&cause);
                }
                if cause == Cause::TooLarge {
                    self.small = Some(((batch.size() / 2).max(1), now + SMALL_FOR));
                }
                partition.at_most = Some(batch.records.len() / 2);
                self.put_back(place, batch);
            }
            Verdict::Renumber(reason) => {
                partition.leave_id();
                if batch.fate == Fate::Unknown {
                    partition.release();
                    return batch.fail(&Cause::Refused(reason));
                }
                partition.hold(now);
                self.put_back(place, batch);
            }
            Verdict::Failed(cause, fate) => {
                partition.leave_epoch();
                partition.release();
                batch.doubt(fate);
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
                partition.leave_epoch();
                partition.release();
                batch.fail(&cause);
            }
        }
        before > self.waiting
    }

    /// Gives up everything that waits.
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
                && let Slot::Again(batch) = std::mem::take(&mut partition.slot)
            {
                self.waiting -= 1;
                partition.leave_epoch();
                partition.release();
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
            let held = partition.held_until(now);
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
