//! A sequential reader of one partition: looks while it is behind, and sits at the tail when it is not.
//!
//! Whatever is under way is kept in the scan, not in the call of `read`: a cancelled call loses nothing, and the next
//! one goes on where it was.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::{sleep, timeout};
use trigon_core::name::{Offset, TopicPartition};

use super::Fetcher;
use super::answer::Answer;
use super::look::{Look, Target};
use super::tail::{Next, Seat};
use crate::kafka::records::{self, Corrupt, Records};
use crate::{Batch, LogError, Scan};

/// The wait from one look to the next while no poll asks for the scan yet; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(2);

/// The longest such wait.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// A seat that brings nothing for longer, though there is more, is told to whoever debugs.
const LATE: Duration = Duration::from_secs(5);

/// A scan of the log in Kafka.
pub(super) struct KafkaScan {
    fetcher: Fetcher,
    target: Arc<Target>,
    position: Offset,
    /// The oldest offset of the partition, as the last answer had it.
    start: Offset,
    /// Where the partition ended, as the last answer had it.
    end: Offset,
    /// What was answered and not read yet.
    records: Option<Records>,
    /// From where on somebody looks, and what comes of it.
    look: Option<(Offset, BoxFuture<'static, Result<Look, LogError>>)>,
    seat: Option<Arc<Seat>>,
    pause: Duration,
}

impl KafkaScan {
    pub(super) fn new(fetcher: Fetcher, target: Target, from: Offset) -> Self {
        Self {
            fetcher,
            target: Arc::new(target),
            position: from,
            start: Offset(0),
            end: Offset(0),
            records: None,
            look: None,
            seat: None,
            pause: FIRST_PAUSE,
        }
    }

    /// What was answered and not read yet, about `max_bytes` of it.
    fn take(&mut self, max_bytes: usize) -> Result<Option<Batch>, LogError> {
        let Some(answered) = &mut self.records else { return Ok(None) };
        let read = answered.read(max_bytes);
        let next = answered.next();
        let read = match read {
            Ok(read) => read,
            Err(error) => {
                let error = self.corrupt(next, &error);
                // Nothing that was asked for meanwhile may lead past it.
                self.forget();
                return Err(error);
            }
        };
        if read.is_empty() {
            self.records = None;
            if next <= self.position {
                return Ok(None);
            }
        }
        self.position = next;
        Ok(Some(Batch { start: self.start, records: read, next }))
    }

    fn corrupt(&self, at: Offset, error: &Corrupt) -> LogError {
        let TopicPartition { topic, partition } = &self.target.at;
        LogError::Failed(format!(
            "could not read the batch at offset {at} of partition {partition} of topic {topic}: {error}"
        ))
    }

    /// Takes an answer that begins at the position, or above it where retention has removed what was between.
    fn load(&mut self, answer: Answer) {
        (self.start, self.end) = (answer.start, answer.end);
        self.pause = FIRST_PAUSE;
        let from = self.position.max(answer.from);
        self.records = Some(Records::new(answer.records, from, answer.aborted));
    }

    /// Takes what a look has found, and decides how to go on after it.
    fn found(&mut self, Look { leader, answer }: Look) {
        let (end, jumped) = (answer.end, answer.from > self.position);
        let next = records::end(&answer.records).unwrap_or(answer.from).max(self.position);
        let is_empty = answer.records.is_empty();
        if !is_empty || jumped {
            self.load(answer);
        } else {
            (self.start, self.end) = (answer.start, answer.end);
        }
        if next < end && !is_empty {
            self.seat = None;
            self.look_from(next, Duration::ZERO);
            return;
        }
        if self.seat.is_none() {
            self.seat = self.fetcher.join(leader, self.target.source(), next, end);
            if self.seat.is_none() {
                // The tail is ahead of what was found.
                let after = if is_empty { self.longer_pause() } else { Duration::ZERO };
                self.look_from(next, after);
            }
        }
    }

    /// Begins to look, and has the request sent if nothing is in the way of that.
    fn look_from(&mut self, from: Offset, after: Duration) {
        let target = Arc::clone(&self.target);
        let looking = async move {
            if !after.is_zero() {
                sleep(after).await;
            }
            target.look(from).await
        };
        let mut looking = looking.boxed();
        let looking = match (&mut looking).now_or_never() {
            Some(found) => ready(found).boxed(),
            None => looking,
        };
        self.look = Some((from, looking));
    }

    fn longer_pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        pause
    }

    fn forget(&mut self) {
        self.records = None;
        self.look = None;
        self.seat = None;
        self.pause = FIRST_PAUSE;
    }
}

#[async_trait]
impl Scan for KafkaScan {
    async fn read(&mut self, max_bytes: usize) -> Result<Batch, LogError> {
        loop {
            if let Some(batch) = self.take(max_bytes)? {
                return Ok(batch);
            }
            if let Some((from, looking)) = &mut self.look {
                let (from, found) = (*from, looking.await);
                self.look = None;
                match found {
                    // Otherwise it was begun before somebody knew where the position would be.
                    Ok(look) if from == self.position => self.found(look),
                    Ok(_) => {}
                    Err(error) => {
                        self.forget();
                        return Err(error);
                    }
                }
                continue;
            }
            let Some(seat) = self.seat.clone() else {
                self.look_from(self.position, Duration::ZERO);
                continue;
            };
            match seat.next() {
                Next::Answer(answer) if answer.from <= self.position => self.load(answer),
                Next::Answer(_) | Next::Closed => self.seat = None,
                Next::Waiting if self.position < self.end => {
                    if timeout(LATE, seat.changed()).await.is_err() {
                        let TopicPartition { topic, partition } = &self.target.at;
                        let (position, end) = (self.position, self.end);
                        tracing::debug!(%topic, %partition, %position, %end, "a seat waits for what is there");
                    }
                }
                Next::Waiting => seat.changed().await,
                Next::Joining => {
                    if timeout(self.longer_pause(), seat.changed()).await.is_err() {
                        self.look_from(self.position, Duration::ZERO);
                    }
                }
            }
        }
    }

    fn seek(&mut self, to: Offset) {
        if to != self.position {
            self.position = to;
            self.forget();
        }
    }
}
