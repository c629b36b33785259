//! The records that are no CloudEvents and are not parked yet, and which of them are to be parked at all.

use std::collections::BTreeMap;

use trigon_core::name::Offset;
use trigon_core::record::Record;

use super::lane::EVENT_COST;

/// While this many bytes of records wait to be parked, their partition is not read on.
pub const UNPARKED_BYTES: usize = 4 << 20;

/// What is to be parked in a partition.
///
/// A record is parked once in a run: when the first scan comes to it that serves a Trigger which has not passed it.
/// Another scan that is ahead, or a Trigger that begins further on, hides nothing from one that is behind. What an
/// earlier run has parked is not known: a Trigger that comes to a record after a restart which others have passed parks
/// it a second time, as the same event.
#[derive(Debug, Default)]
pub(super) struct Unparked {
    waiting: BTreeMap<Offset, usize>,
    bytes: usize,
    /// What the scans of this run have looked at: ranges that neither touch nor overlap, by their start.
    looked: BTreeMap<Offset, Offset>,
}

impl Unparked {
    /// Whether the record is to be parked.
    pub(super) fn insert(&mut self, offset: Offset, record: &Record) -> bool {
        let before = self.looked.range(..=offset).next_back();
        if before.is_some_and(|(_, end)| offset < *end) || self.waiting.contains_key(&offset) {
            return false;
        }
        let size = record.size() + EVENT_COST;
        self.bytes += size;
        self.waiting.insert(offset, size);
        true
    }

    pub(super) fn remove(&mut self, offset: Offset) {
        self.bytes -= self.waiting.remove(&offset).unwrap_or_default();
    }

    /// Everything from one offset up to another was looked at.
    pub(super) fn look(&mut self, mut from: Offset, mut to: Offset) {
        if to <= from {
            return;
        }
        while let Some((&start, &end)) = self.looked.range(..=to).next_back()
            && end >= from
        {
            self.looked.remove(&start);
            (from, to) = (from.min(start), to.max(end));
        }
        self.looked.insert(from, to);
    }

    /// The log has lost what lay from here on: other records come in its place.
    pub(super) fn truncate(&mut self, end: Offset) {
        self.looked.split_off(&end);
        if let Some(mut last) = self.looked.last_entry() {
            let to = (*last.get()).min(end);
            last.insert(to);
        }
    }

    /// No cursor may be committed that looks further than this, of a lane that was loaded at `floor`.
    pub(super) fn gate(&self, floor: Offset) -> Option<Offset> {
        self.waiting.range(floor..).next().map(|(offset, _)| *offset)
    }

    pub(super) fn has_room(&self) -> bool {
        self.bytes < UNPARKED_BYTES
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_looked_at_is_not_parked(
            looks in proptest::collection::vec((0..40_u64, 0..8_u64), 0..20),
            end in 0..50_u64,
        ) {
            let mut unparked = Unparked::default();
            let is_looked = |offset: u64| looks.iter().any(|(from, size)| (*from..from + size).contains(&offset));
            for (from, size) in &looks {
                unparked.look(Offset(*from), Offset(from + size));
            }
            unparked.truncate(Offset(end));
            for offset in 0..50 {
                let is_new = offset >= end || !is_looked(offset);
                prop_assert_eq!(unparked.insert(Offset(offset), &Record::default()), is_new, "{}", offset);
                prop_assert!(!unparked.insert(Offset(offset), &Record::default()));
            }
        }
    }
}
