//! Records that are no CloudEvents, on their way to the Broker's parked topic.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, FutureExt};
use trigon_core::name::{Offset, TopicName, TopicPartition};
use trigon_core::record::Record;
use trigon_eventlog::{AppendError, SharedLog};

use super::pause;
use super::trouble::Trouble;

/// Records that are parked with one append.
const BATCH: usize = 64;

/// How often it is said that there are such records, after the first.
const TELL_INTERVAL: Duration = Duration::from_secs(60);

/// What waits to be parked. Its bound is the machine's, which reads no further while too much waits.
#[derive(Debug, Default)]
pub(super) struct Parking {
    waiting: VecDeque<(Offset, Record)>,
    trouble: Trouble,
    told: Option<Instant>,
    untold: u64,
}

/// How an append to the parked topic has ended.
pub(super) struct ParkEnd {
    batch: Vec<(Offset, Record)>,
    result: Result<(), AppendError>,
}

impl Parking {
    /// Queues the parked form of a record; says so for the first one, and then how many there were from time to time.
    pub(super) fn push(
        &mut self,
        now: Instant,
        at: &TopicPartition,
        offset: Offset,
        record: Record,
        reason: &str,
    ) {
        self.waiting.push_back((offset, record));
        self.untold += 1;
        if self.told.is_none_or(|told| told + TELL_INTERVAL <= now) {
            let TopicPartition { topic, partition } = at;
            let records = std::mem::take(&mut self.untold);
            tracing::warn!(%topic, %partition, records, %offset, reason, "records are no CloudEvents, and are parked");
            self.told = Some(now);
        }
    }

    /// The next append, if there is anything to be parked.
    pub(super) fn next(&mut self, log: &SharedLog, topic: &TopicName) -> Option<BoxFuture<'static, ParkEnd>> {
        if self.waiting.is_empty() {
            return None;
        }
        let batch: Vec<_> = self.waiting.drain(..self.waiting.len().min(BATCH)).collect();
        let (log, topic, wait) = (Arc::clone(log), topic.clone(), self.trouble.wait());
        let park = async move {
            pause(wait).await;
            let records = batch.iter().map(|(_, record)| record.clone()).collect();
            let result = log.append(&topic, records).await.map(drop);
            ParkEnd { batch, result }
        };
        Some(park.boxed())
    }

    /// The records that are parked now; those that are not are tried again.
    pub(super) fn ended(&mut self, end: ParkEnd, at: &TopicPartition) -> Vec<Offset> {
        let ParkEnd { mut batch, result } = end;
        match result {
            Ok(()) => {
                self.trouble.over(at, "park records");
                batch.into_iter().map(|(offset, _)| offset).collect()
            }
            Err(error) => {
                if let AppendError::TooLarge { .. } = error {
                    // What says where it came from is larger than what the log takes beside it: it is still there.
                    if let Some((_, record)) = batch.iter_mut().max_by_key(|(_, record)| record.size()) {
                        crate::parked::strip(record);
                    }
                } else {
                    self.trouble.failed(&error, at, "park records");
                }
                for parked in batch.into_iter().rev() {
                    self.waiting.push_front(parked);
                }
                Vec::new()
            }
        }
    }
}
