//! The records that are no CloudEvents and are not parked yet, and which of them are to be parked at all.

use std::collections::BTreeMap;

use trigon_core::name::Offset;
use trigon_core::record::Record;

use super::lane::EVENT_COST;

/// While this many bytes of records wait to be parked, their partition is not read on.
pub const UNPARKED_BYTES: usize = 4 << 20;

/// What is to be parked in a partition.
///
/// A record is parked once: when a scan comes to it that is ahead of all others. What lies below the highest position
/// that a lane was loaded with, or that a scan has come to, was parked then, because no position above a record is
/// committed before it is parked. Two things follow: what every Trigger started behind is not parked, not even when a
/// Trigger is sent back there; and a crash between the parking and the next commit parks a record twice.
#[derive(Debug, Default)]
pub(super) struct Unparked {
    waiting: BTreeMap<Offset, usize>,
    bytes: usize,
    looked: Offset,
}

impl Unparked {
    /// Whether the record is to be parked.
    pub(super) fn insert(&mut self, offset: Offset, record: &Record) -> bool {
        if offset < self.looked {
            return false;
        }
        self.look(offset.next());
        let size = record.size() + EVENT_COST;
        self.bytes += size;
        self.waiting.insert(offset, size);
        true
    }

    pub(super) fn remove(&mut self, offset: Offset) {
        self.bytes -= self.waiting.remove(&offset).unwrap_or_default();
    }

    /// Everything below was looked at.
    pub(super) fn look(&mut self, below: Offset) {
        self.looked = self.looked.max(below);
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
