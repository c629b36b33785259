//! What a parked topic holds: how many events of each Trigger wait, and which were sent again.
//!
//! It follows the topic from its oldest record on, so that it says the same after a restart.

use std::collections::BTreeMap;

use trigon_core::name::{Offset, TopicPartition, TriggerId};
use trigon_core::record::Record;
use trigon_eventlog::{Extent, LogError, SharedLog};

use super::entry::Entry;
use super::ranges::Ranges;

/// Bytes that one read of a parked topic asks for.
const READ_BYTES: usize = 256 << 10;

/// The sum of a parked topic.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    extent: Extent,
    next: Offset,
    redriven: Ranges,
    waiting: BTreeMap<TriggerId, u64>,
}

impl Ledger {
    /// Reads what has come since the last time. When retention has removed something, it begins anew.
    pub(super) async fn follow(&mut self, log: &SharedLog, at: &TopicPartition) -> Result<(), LogError> {
        let extent = log.extent(at).await?;
        if extent.start != self.extent.start || extent.end < self.next {
            *self = Self { next: extent.start, ..Self::default() };
        }
        self.extent = extent;
        let from = self.next;
        each(log, at, from..extent.end, |offset, record| {
            self.enter(Entry::read(offset, record));
            std::ops::ControlFlow::Continue(())
        })
        .await?;
        self.next = extent.end;
        Ok(())
    }

    pub(super) fn extent(&self) -> Extent {
        self.extent
    }

    /// Parked events that have not been sent again, by Trigger.
    pub(super) fn waiting(&self) -> &BTreeMap<TriggerId, u64> {
        &self.waiting
    }

    pub(super) fn is_redriven(&self, offset: Offset) -> bool {
        self.redriven.contains(offset)
    }

    fn enter(&mut self, entry: Entry) {
        match entry {
            Entry::Event(event) => {
                // A record that is no CloudEvent is nobody's.
                if let Some(trigger) = event.trigger {
                    *self.waiting.entry(trigger).or_default() += 1;
                }
            }
            Entry::Redriven(trigger, offsets) => {
                let mut marked = 0_u64;
                for offset in offsets.iter() {
                    // What retention has removed is not counted, and an event that was sent twice only once.
                    if offset >= self.extent.start && self.redriven.insert(offset) {
                        marked += 1;
                    }
                }
                if let Some(waiting) = self.waiting.get_mut(&trigger) {
                    *waiting = waiting.saturating_sub(marked);
                }
            }
            Entry::Foreign => {}
        }
        self.waiting.retain(|_, waiting| *waiting > 0);
    }
}

/// Reads a stretch of a parked topic, one batch in memory at a time, until it is told to stop.
pub(super) async fn each(
    log: &SharedLog,
    at: &TopicPartition,
    stretch: std::ops::Range<Offset>,
    mut take: impl FnMut(Offset, &Record) -> std::ops::ControlFlow<()> + Send,
) -> Result<(), LogError> {
    if stretch.start >= stretch.end {
        return Ok(());
    }
    let mut next = stretch.start;
    let mut scan = log.scan(at, next).await?;
    while next < stretch.end {
        let batch = scan.read(READ_BYTES).await?;
        for (offset, record) in &batch.records {
            if *offset >= stretch.end || take(*offset, record).is_break() {
                return Ok(());
            }
        }
        next = batch.next;
    }
    Ok(())
}
