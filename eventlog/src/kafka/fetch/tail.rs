//! Who waits for the next records of a broker's partitions: decides what the next poll asks for, and hands out what
//! an answer brings. No I/O.
//!
//! A partition is polled once however many scans read it. A seat whose scan does not keep up, or whose partition is
//! in trouble, is taken away: the scan reads what is in it, and then looks for itself.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use trigon_core::name::{Offset, PartitionId};
use uuid::Uuid;

use super::answer::{Answer, Answers, Wanted};
use super::{POLL_WAIT, SEAT_BYTES};
use crate::kafka::records;
use crate::kafka::wire::LeaderEpoch;

/// How long Kafka keeps a poll that has nothing to answer with when somebody has joined; it doubles with each poll.
const FIRST_WAIT: Duration = Duration::from_millis(10);

/// A partition of one topic among all of that name that there ever were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Source {
    pub(super) topic: Uuid,
    pub(super) partition: PartitionId,
}

/// The seats at one broker.
#[derive(Debug, Default)]
pub(super) struct Tail {
    feeds: BTreeMap<Source, Feed>,
    /// How long Kafka may keep the next poll.
    wait: Duration,
    /// Where the last poll began. Kafka fills an answer from the front, so that each partition is first in turn.
    first: Option<Source>,
}

/// A partition that is polled.
#[derive(Debug)]
struct Feed {
    /// The newest that a scan knows.
    epoch: LeaderEpoch,
    next: Offset,
    /// Whether the poll that is under way asks for it.
    is_polled: bool,
    seats: Vec<Weak<Seat>>,
}

/// What was polled for one scan. The scan is the only one that takes from it.
#[derive(Debug, Default)]
pub(super) struct Seat {
    queue: Mutex<Queue>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    answers: VecDeque<Answer>,
    bytes: usize,
    is_polled: bool,
    is_closed: bool,
}

/// What a scan finds in its seat.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// The next records.
    Answer(Answer),
    /// Nothing, and a poll waits for more.
    Waiting,
    /// Nothing, and no poll waits yet: the one that is under way began before.
    Joining,
    /// Nothing, and there will not be more.
    Closed,
}

impl Tail {
    /// Takes a seat for a scan at `at`, where records end at `end`; `None` when the tail is already above `at`.
    pub(super) fn join(
        &mut self,
        source: Source,
        epoch: LeaderEpoch,
        at: Offset,
        end: Offset,
    ) -> Option<Arc<Seat>> {
        let new = || Feed { epoch, next: at.min(end), is_polled: false, seats: Vec::new() };
        let feed = self.feeds.entry(source).or_insert_with(new);
        feed.epoch = feed.epoch.max(epoch);
        if feed.next > at {
            return None;
        }
        let seat = Arc::new(Seat::default());
        seat.queue().is_polled = feed.is_polled;
        feed.seats.push(Arc::downgrade(&seat));
        Some(seat)
    }

    /// Whether anybody has a seat for a partition of that number.
    #[cfg(test)]
    pub(super) fn has(&self, partition: PartitionId) -> bool {
        self.feeds.keys().any(|source| source.partition == partition)
    }

    /// What the next poll asks for, and how long it may wait; nothing when there are no seats any more.
    ///
    /// Those who join during a poll have to look for themselves until it ends. Where some have joined more come
    /// soon, as when a process begins: polls are short then.
    pub(super) fn poll(&mut self) -> Option<(Vec<Wanted>, Duration)> {
        self.feeds.retain(|_, feed| {
            feed.seats.retain(|seat| seat.strong_count() > 0);
            !feed.seats.is_empty()
        });
        let mut some_joined = false;
        for feed in self.feeds.values_mut() {
            feed.is_polled = true;
            for seat in feed.seats.iter().filter_map(Weak::upgrade) {
                some_joined |= seat.polled();
            }
        }
        self.wait = if some_joined { FIRST_WAIT } else { (self.wait * 2).min(POLL_WAIT) };
        let wanted =
            |(source, feed): (&Source, &Feed)| Wanted { source: *source, epoch: feed.epoch, from: feed.next };
        let mut wanted: Vec<_> = self.feeds.iter().map(wanted).collect();
        let first = wanted.partition_point(|wanted| Some(wanted.source) <= self.first);
        let first = if first == wanted.len() { 0 } else { first };
        wanted.rotate_left(first);
        self.first = Some(wanted.first()?.source);
        Some((wanted, self.wait))
    }

    /// Hands out what a poll has brought.
    pub(super) fn answered(&mut self, wanted: &[Wanted], mut answers: Answers) {
        let total: usize = answers.values().flatten().map(|answer| answer.records.len()).sum();
        for Wanted { source, from, .. } in wanted {
            let Some(feed) = self.feeds.get_mut(source) else { continue };
            feed.is_polled = false;
            if feed.next != *from {
                continue;
            }
            match answers.remove(source) {
                Some(Ok(answer)) => feed.take(answer, total),
                // Scans look for themselves what it is.
                Some(Err(_)) => feed.close(),
                None => {}
            }
        }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.feeds.values_mut().for_each(Feed::close);
    }
}

impl Feed {
    fn take(&mut self, mut answer: Answer, total: usize) {
        let next = records::end(&answer.records).unwrap_or(self.next);
        if next <= self.next {
            // There are records, and there was no room for them in the answer; or they cannot be read.
            if answer.end > self.next || !answer.records.is_empty() {
                self.close();
            }
            return;
        }
        self.next = next;
        // Or a seat would keep the whole answer from being freed for a small part of it.
        if answer.records.len() < total / 2 {
            answer.records = Bytes::copy_from_slice(&answer.records);
        }
        self.seats.retain(|seat| seat.upgrade().is_some_and(|seat| seat.put(answer.clone())));
    }

    fn close(&mut self) {
        for seat in self.seats.drain(..).filter_map(|seat| seat.upgrade()) {
            seat.close();
        }
    }
}

impl Seat {
    /// The next records for the scan.
    pub(super) fn next(&self) -> Next {
        let mut queue = self.queue();
        if let Some(answer) = queue.answers.pop_front() {
            queue.bytes -= answer.records.len();
            return Next::Answer(answer);
        }
        match *queue {
            Queue { is_closed: true, .. } => Next::Closed,
            Queue { is_polled: true, .. } => Next::Waiting,
            Queue { .. } => Next::Joining,
        }
    }

    /// Waits until [`next`](Self::next) may say something else. Cancel safe.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Puts records in; false when they do not fit, and the seat is lost.
    fn put(&self, answer: Answer) -> bool {
        let mut queue = self.queue();
        let bytes = queue.bytes + answer.records.len();
        if bytes > SEAT_BYTES && !queue.answers.is_empty() {
            drop(queue);
            self.close();
            return false;
        }
        queue.bytes = bytes;
        queue.answers.push_back(answer);
        self.changed.notify_one();
        true
    }

    /// Says that a poll asks for its partition; whether that is new.
    fn polled(&self) -> bool {
        let is_new = !std::mem::replace(&mut self.queue().is_polled, true);
        if is_new {
            self.changed.notify_one();
        }
        is_new
    }

    fn close(&self) {
        self.queue().is_closed = true;
        self.changed.notify_one();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
