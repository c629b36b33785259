//! What waits for one partition, and the one batch that is on its way there.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::{Queued, Sending};
use crate::kafka::producer::append::{Cause, Fate};
use crate::kafka::records::{Numbering, ProducerId, encode};

/// The wait after the first failed attempt; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(20);

/// The longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
pub(super) struct Partition {
    /// Records that belong here.
    pub(super) own: VecDeque<Queued>,
    pub(super) slot: Slot,
    /// How the next batch is numbered.
    next: Option<Numbering>,
    /// The producer id that is not to be used any more: Kafka does not know our numbers, or there are no more.
    spent: Option<i64>,
    /// Nothing is sent before.
    not_before: Option<Instant>,
    wait: Duration,
    /// How many records a batch may have, after one was refused.
    pub(super) at_most: Option<usize>,
}

#[derive(Debug, Default)]
pub(super) enum Slot {
    #[default]
    Idle,
    /// On its way.
    Sent(Batch),
    /// To be sent again.
    Again(Batch),
}

#[derive(Debug)]
pub(super) struct Batch {
    pub(super) bytes: Bytes,
    pub(super) records: Vec<Queued>,
    /// What became of it if it is not sent again.
    pub(super) fate: Fate,
}

impl Partition {
    pub(super) fn is_waiting(&self) -> bool {
        !self.own.is_empty() || matches!(self.slot, Slot::Again(_))
    }

    pub(super) fn may_send(&self, now: Instant) -> bool {
        !matches!(self.slot, Slot::Sent(_)) && self.not_before.is_none_or(|at| at <= now)
    }

    /// Until when nothing is sent.
    pub(super) fn held_until(&self, now: Instant) -> Option<Instant> {
        self.not_before.filter(|at| *at > now)
    }

    /// Whether a new batch cannot be numbered under this id.
    pub(super) fn has_spent(&self, producer: ProducerId) -> bool {
        self.spent == Some(producer.id)
    }

    /// Makes a batch of some records, and gives it its numbers; `None` when there are no records, or no numbers.
    pub(super) fn number(&mut self, records: Vec<Queued>, sending: Sending) -> Option<Batch> {
        if records.is_empty() || self.has_spent(sending.producer) {
            return None;
        }
        let known = self.next.filter(|next| next.producer.id == sending.producer.id);
        let numbering = known.unwrap_or(Numbering { producer: sending.producer, sequence: 0 });
        let bytes = encode(records.iter().map(|queued| &queued.record), numbering, sending.compression);
        let count = i32::try_from(records.len()).unwrap_or(i32::MAX);
        // After the largest number comes 0.
        let sequence = numbering.sequence.wrapping_add(count) & i32::MAX;
        self.next = Some(Numbering { sequence, ..numbering });
        Some(Batch { bytes, records, fate: Fate::NotStored })
    }

    /// Leaves the numbers behind of a batch that is given up. In the next epoch of the same id they begin anew, and
    /// Kafka refuses what may still come of the one before.
    pub(super) fn leave_epoch(&mut self) {
        if let Some(Numbering { producer: ProducerId { id, epoch }, .. }) = self.next {
            match epoch.checked_add(1) {
                Some(epoch) => {
                    self.next = Some(Numbering { producer: ProducerId { id, epoch }, sequence: 0 });
                }
                None => self.spent = Some(id),
            }
        }
    }

    /// Leaves the id behind.
    pub(super) fn leave_id(&mut self) {
        self.spent = self.next.map(|next| next.producer.id);
    }

    /// Sends nothing for a while, for twice as long as the last time.
    pub(super) fn hold(&mut self, now: Instant) {
        self.wait = match self.not_before {
            Some(_) => (self.wait * 2).min(LONGEST_WAIT),
            None => FIRST_WAIT,
        };
        self.not_before = Some(now + self.wait);
    }

    /// Nothing is in the way any more.
    pub(super) fn release(&mut self) {
        self.not_before = None;
    }
}

#[cfg(test)]
impl Partition {
    /// As after so many records.
    pub(super) fn skip_to(&mut self, sequence: i32) {
        self.next = self.next.map(|next| Numbering { sequence, ..next });
    }
}

impl Batch {
    /// The bytes of its records.
    pub(super) fn size(&self) -> usize {
        self.records.iter().map(|queued| queued.record.size()).sum()
    }

    /// That of its oldest record.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.records.iter().map(|queued| queued.deadline).min()
    }

    pub(super) fn doubt(&mut self, fate: Fate) {
        if fate == Fate::Unknown {
            self.fate = Fate::Unknown;
        }
    }

    pub(super) fn fail(self, cause: &Cause) {
        for queued in self.records {
            queued.ticket.failed(cause.clone(), self.fate);
        }
    }
}
