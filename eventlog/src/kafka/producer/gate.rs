//! The bound of what waits for Kafka's acknowledgement.

use std::sync::{Arc, Mutex};

/// A lock is held for a few additions: nothing panics under it.
const LOCKED: &str = "nobody panics while holding the load";

/// Lets appends in while there is room.
#[derive(Debug)]
pub(super) struct Gate {
    limit: Load,
    load: Mutex<Load>,
}

/// So many records of so many bytes in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

/// What one append adds to the load, until it is dropped.
#[derive(Debug)]
pub(super) struct Charge {
    gate: Arc<Gate>,
    load: Load,
}

impl Gate {
    pub(super) fn new(limit: Load) -> Self {
        Self { limit, load: Mutex::default() }
    }

    /// Lets an append in; `None` when there is no room.
    pub(super) fn admit(self: &Arc<Self>, append: Load) -> Option<Charge> {
        let mut load = self.load.lock().expect(LOCKED);
        let records = load.records + append.records;
        let bytes = load.bytes + append.bytes;
        // A batch that is alone larger than the bounds must get through when nothing else waits.
        if load.records > 0 && (records > self.limit.records || bytes > self.limit.bytes) {
            return None;
        }
        *load = Load { records, bytes };
        drop(load);
        Some(Charge { gate: self.clone(), load: append })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let mut load = self.gate.load.lock().expect(LOCKED);
        load.records -= self.load.records;
        load.bytes -= self.load.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate() -> Arc<Gate> {
        Arc::new(Gate::new(Load { records: 3, bytes: 100 }))
    }

    #[test]
    fn there_is_room_again_when_an_append_is_answered() {
        let gate = gate();
        let first = gate.admit(Load { records: 2, bytes: 10 }).unwrap();
        let second = gate.admit(Load { records: 1, bytes: 10 }).unwrap();
        assert!(gate.admit(Load { records: 1, bytes: 10 }).is_none(), "three wait");
        drop(first);
        assert!(gate.admit(Load { records: 1, bytes: 91 }).is_none(), "101 bytes would wait");
        assert!(gate.admit(Load { records: 2, bytes: 90 }).is_some());
        drop(second);
    }

    #[test]
    fn a_batch_that_never_fits_gets_through_alone() {
        let gate = gate();
        let large = gate.admit(Load { records: 4, bytes: 1_000 }).unwrap();
        assert!(gate.admit(Load { records: 1, bytes: 1 }).is_none());
        drop(large);
        assert!(gate.admit(Load { records: 1, bytes: 1 }).is_some());
    }
}
