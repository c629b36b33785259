//! A sequential reader of one partition: from memory at the tail, from the files behind it.
//!
//! It holds no thread, and no file unless it stands in one. A wait costs a waker.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_blocking;
use trigon_core::name::{Offset, PartitionId};

use super::catchup::{self, Place};
use super::tail::Tail;
use super::topic::{Reach, State, Topic};
use crate::{Batch, LogError, Scan};

/// A scan of the embedded log.
pub(crate) struct EmbeddedScan {
    topic: Arc<Topic>,
    partition: PartitionId,
    tail: Arc<Tail>,
    reach: watch::Receiver<Reach>,
    /// What reads of files wait for.
    reads: Arc<Semaphore>,
    position: u64,
    place: Option<Place>,
}

impl EmbeddedScan {
    pub(crate) fn new(
        topic: Arc<Topic>,
        partition: PartitionId,
        from: Offset,
        reads: Arc<Semaphore>,
    ) -> Result<Self, LogError> {
        let shared = topic.partition(partition)?;
        let (tail, reach) = (shared.tail.clone(), shared.reach.subscribe());
        Ok(Self { topic, partition, tail, reach, reads, position: from.0, place: None })
    }

    /// Waits until the partition ends above the position, and tells where.
    async fn end(&mut self) -> Result<u64, LogError> {
        let position = self.position;
        let wanted = |reach: &Reach| reach.state != State::Open || reach.end > position;
        let reach = *self.reach.wait_for(wanted).await.map_err(|_| LogError::Closed)?;
        match reach.state {
            State::Open => Ok(reach.end),
            State::Deleted => Err(LogError::UnknownTopic(self.topic.name.clone())),
            State::Closed => Err(LogError::Closed),
        }
    }

    fn move_to(&mut self, next: u64) -> Offset {
        self.position = next;
        Offset(next)
    }
}

#[async_trait]
impl Scan for EmbeddedScan {
    async fn read(&mut self, max_bytes: usize) -> Result<Batch, LogError> {
        let max_bytes = max_bytes.max(1);
        loop {
            let end = self.end().await?;
            let start = self.topic.start(self.partition);
            let from = self.position.max(start);
            if from >= end {
                let next = self.move_to(from);
                return Ok(Batch { start: Offset(start), records: Vec::new(), next });
            }
            if let Some(records) = self.tail.read(from, max_bytes) {
                let next = records.last().map_or(from, |(last, _)| last.next().0);
                let next = self.move_to(next);
                return Ok(Batch { start: Offset(start), records, next });
            }
            let permit = self.reads.clone().acquire_owned().await.map_err(|_| LogError::Closed)?;
            // When this future is dropped meanwhile, the place is lost and is looked up again.
            let (topic, partition, place) = (self.topic.clone(), self.partition, self.place.take());
            let read = move || {
                let _permit = permit;
                catchup::read(&topic, partition, from, end, place, max_bytes)
            };
            let caught_up = spawn_blocking(read)
                .await
                .map_err(|error| LogError::Failed(format!("could not read the log: {error}")))?
                .map_err(|error| LogError::Failed(format!("could not read {}: {error}", self.topic.name)))?;
            self.place = caught_up.place;
            if !caught_up.records.is_empty() || caught_up.next > from {
                let next = self.move_to(caught_up.next);
                return Ok(Batch { start: Offset(start), records: caught_up.records, next });
            }
        }
    }

    fn seek(&mut self, to: Offset) {
        self.position = to.0;
    }
}
