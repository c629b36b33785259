//! The newest records of each partition, kept in memory, so that readers at the tail touch no file.
//!
//! What they may take together is one bound over all topics; the oldest batch goes first, whosever it is.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use trigon_core::name::Offset;
use trigon_core::record::Record;

use super::segment::LOCKED;

/// What a header takes in memory beside its bytes: a name and a value of four words each.
const HEADER_COST: usize = 64;

/// What a record takes in memory beside its bytes and headers.
const RECORD_COST: usize = 128;

/// The newest records of one partition.
#[derive(Default)]
pub(crate) struct Tail {
    batches: Mutex<VecDeque<Arc<TailBatch>>>,
}

/// Records that were appended together: ascending and without gaps, also towards the next batch.
pub(crate) struct TailBatch {
    records: Vec<(Offset, Record)>,
    cost: usize,
}

/// Keeps all tails together within their bound. The committer owns it.
pub(crate) struct TailBudget {
    limit: usize,
    used: usize,
    batches: VecDeque<(Arc<Tail>, usize)>,
}

/// What a record takes in memory.
pub(crate) fn cost(record: &Record) -> usize {
    record.size() + RECORD_COST + HEADER_COST * record.headers.len()
}

impl TailBatch {
    pub(crate) fn new(records: Vec<(Offset, Record)>) -> Self {
        let cost = records.iter().map(|(_, record)| cost(record)).sum();
        Self { records, cost }
    }

    pub(crate) fn cost(&self) -> usize {
        self.cost
    }
}

impl Tail {
    pub(crate) fn push(&self, batch: TailBatch) {
        self.batches.lock().expect(LOCKED).push_back(Arc::new(batch));
    }

    /// The records from `from` on, about `max_bytes` of them and at least one; `None` when the tail begins
    /// above `from`.
    pub(crate) fn read(&self, from: u64, max_bytes: usize) -> Option<Vec<(Offset, Record)>> {
        // Records are cloned outside the lock, which the committer waits for.
        let batches = {
            let batches = self.batches.lock().expect(LOCKED);
            let after = batches.partition_point(|batch| batch.records[0].0.0 <= from);
            let mut room = max_bytes;
            let mut wanted = Vec::new();
            for batch in batches.range(after.checked_sub(1)?..) {
                if room == 0 {
                    break;
                }
                // The first one may hold only few records at `from` or above, so that it does not count.
                if !wanted.is_empty() {
                    room = room.saturating_sub(batch.cost);
                }
                wanted.push(batch.clone());
            }
            wanted
        };
        let mut room = max_bytes;
        let mut records = Vec::new();
        for (offset, record) in batches.iter().flat_map(|batch| &batch.records) {
            if offset.0 < from {
                continue;
            }
            if room == 0 {
                break;
            }
            room = room.saturating_sub(cost(record));
            records.push((*offset, record.clone()));
        }
        (!records.is_empty()).then_some(records)
    }

    /// What it takes in memory.
    #[cfg(test)]
    pub(crate) fn cost(&self) -> usize {
        self.batches.lock().expect(LOCKED).iter().map(|batch| batch.cost).sum()
    }

    fn drop_oldest(&self) {
        self.batches.lock().expect(LOCKED).pop_front();
    }
}

impl TailBudget {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, used: 0, batches: VecDeque::new() }
    }

    /// Counts a batch that was pushed, and drops the oldest ones until the bound holds again.
    pub(crate) fn charge(&mut self, tail: Arc<Tail>, cost: usize) {
        self.used += cost;
        self.batches.push_back((tail, cost));
        while self.used > self.limit {
            let Some((oldest, cost)) = self.batches.pop_front() else { break };
            self.used -= cost;
            oldest.drop_oldest();
        }
    }
}
