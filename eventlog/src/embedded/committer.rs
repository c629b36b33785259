//! Group commit of appends: one thread stores whatever is queued, syncs once per topic, and answers all.
//!
//! Nobody waits for a group to fill up. While one is being synced the next one gathers, so that throughput
//! grows with concurrency and a lone append is as fast as the disk.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::oneshot;
use trigon_core::name::Position;
use trigon_core::record::Record;

use super::clock;
use super::refusal::Refusal;
use super::segment::LOCKED;
use super::tail::{self, TailBudget};
use super::topic::Topic;
use super::writer::{RollAt, StoredGroup};
use crate::AppendError;

/// Appends that may wait in the queue; more are answered [`AppendError::Busy`].
pub(crate) const MAX_QUEUED_APPENDS: usize = 16 * 1024;

/// Bytes that may wait in the queue; more are answered [`AppendError::Busy`].
pub(crate) const MAX_QUEUED_BYTES: usize = 128 * 1024 * 1024;

/// A group takes no further append once it has this many bytes.
const MAX_GROUP_BYTES: usize = 8 * 1024 * 1024;

/// Topics of one group that are written and synced at the same time.
const MAX_PARALLEL_TOPICS: usize = 8;

/// While there is no space, it is tried this often whether there is again.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// The thread and its queue.
pub(crate) struct Committer {
    queue: RwLock<Option<SyncSender<Append>>>,
    queued_bytes: Arc<AtomicUsize>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// An append that waits.
struct Append {
    topic: Arc<Topic>,
    records: Vec<Record>,
    bytes: usize,
    answer: oneshot::Sender<Answer>,
}

type Answer = Result<Vec<Position>, AppendError>;

/// Limits of the thread.
#[derive(Clone, Copy)]
pub(crate) struct CommitterLimits {
    pub(crate) tail_bytes: usize,
    pub(crate) roll_at: RollAt,
}

impl Committer {
    pub(crate) fn start(limits: CommitterLimits, refusal: Arc<Refusal>) -> std::io::Result<Self> {
        let (queue, appends) = sync_channel(MAX_QUEUED_APPENDS);
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let group = Group {
            appends,
            queued_bytes: queued_bytes.clone(),
            budget: TailBudget::new(limits.tail_bytes),
            roll_at: limits.roll_at,
            refusal,
        };
        let thread = thread::Builder::new().name("log-committer".into()).spawn(move || group.run())?;
        Ok(Self { queue: RwLock::new(Some(queue)), queued_bytes, thread: Mutex::new(Some(thread)) })
    }

    /// Queues an append; the answer comes when it is durable.
    pub(crate) fn append(
        &self,
        topic: Arc<Topic>,
        records: Vec<Record>,
    ) -> Result<oneshot::Receiver<Answer>, AppendError> {
        let bytes = records.iter().map(tail::cost).sum();
        let queued = self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        let sent = match &*self.queue.read().expect(LOCKED) {
            // A batch that is alone larger than the queue must get through when nothing else waits.
            Some(_) if queued > 0 && queued + bytes > MAX_QUEUED_BYTES => Err(AppendError::Busy),
            Some(queue) => match queue.try_send(Append { topic, records, bytes, answer }) {
                Ok(()) => Ok(answered),
                Err(TrySendError::Full(_)) => Err(AppendError::Busy),
                Err(TrySendError::Disconnected(_)) => Err(closed()),
            },
            None => Err(closed()),
        };
        if sent.is_err() {
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        sent
    }

    /// Whether nothing is stored any more: it was closed, or its thread has panicked.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.lock().expect(LOCKED).as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Takes no more appends, stores those that wait, and returns when the thread has ended.
    pub(crate) fn close(&self) {
        self.queue.write().expect(LOCKED).take();
        let thread = self.thread.lock().expect(LOCKED).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the log's committer panicked");
        }
    }
}

/// What an append gets from a log that is closed, or whose thread is gone.
pub(crate) fn closed() -> AppendError {
    AppendError::Failed("the log is closed".into())
}

/// What the thread works with.
struct Group {
    appends: Receiver<Append>,
    queued_bytes: Arc<AtomicUsize>,
    budget: TailBudget,
    roll_at: RollAt,
    refusal: Arc<Refusal>,
}

/// What goes to one topic.
struct Share {
    topic: Arc<Topic>,
    batches: Vec<Vec<Record>>,
    answers: Vec<oneshot::Sender<Answer>>,
}

impl Group {
    fn run(mut self) {
        // The topic that found no space: the next try is made there.
        let mut starved: Option<Arc<Topic>> = None;
        loop {
            let first = match &starved {
                None => self.appends.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(_) => self.appends.recv_timeout(PROBE_INTERVAL),
            };
            match first {
                Ok(first) => {
                    let shares = self.gather(first);
                    starved = self.store(shares);
                }
                Err(RecvTimeoutError::Timeout) => {
                    let probed = starved.as_ref().map(|topic| topic.writer.lock().expect(LOCKED).probe());
                    if let Some(Ok(())) = probed {
                        starved = None;
                        self.refusal.lift();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Takes what is queued, by topic, in the order of the queue.
    fn gather(&self, first: Append) -> Vec<Share> {
        let mut shares: Vec<Share> = Vec::new();
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(append) = next {
            bytes += append.bytes;
            let share = match shares.iter_mut().find(|share| Arc::ptr_eq(&share.topic, &append.topic)) {
                Some(share) => share,
                None => {
                    shares.push(Share { topic: append.topic, batches: Vec::new(), answers: Vec::new() });
                    shares.last_mut().expect("it was just pushed")
                }
            };
            share.batches.push(append.records);
            share.answers.push(append.answer);
            next = (bytes < MAX_GROUP_BYTES).then(|| self.appends.try_recv().ok()).flatten();
        }
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        shares
    }

    /// Stores and answers; returns the topic that found no space.
    fn store(&mut self, mut shares: Vec<Share>) -> Option<Arc<Topic>> {
        let mut starved = None;
        while !shares.is_empty() {
            let later = shares.split_off(shares.len().min(MAX_PARALLEL_TOPICS));
            let outcomes = store_together(shares, self.roll_at);
            shares = later;
            // Before the answers: whoever gets one finds the health that goes with it.
            let no_space =
                outcomes.iter().find(|outcome| matches!(outcome.stored, Err(AppendError::NoSpace)));
            match no_space {
                Some(outcome) => {
                    starved = Some(outcome.topic.clone());
                    self.refusal.no_space();
                }
                None if starved.is_none() && outcomes.iter().any(|outcome| outcome.stored.is_ok()) => {
                    self.refusal.lift();
                }
                None => {}
            }
            for outcome in outcomes {
                self.answer(outcome);
            }
        }
        starved
    }

    fn answer(&mut self, outcome: Outcome) {
        // A receiver that is gone has cancelled, which does not undo the append.
        match outcome.stored {
            Ok(stored) => {
                for (answer, positions) in outcome.answers.into_iter().zip(stored.positions) {
                    answer.send(Ok(positions)).ok();
                }
                for (tail, cost) in stored.charges {
                    self.budget.charge(tail, cost);
                }
            }
            Err(error) => {
                for answer in outcome.answers {
                    answer.send(Err(error.clone())).ok();
                }
            }
        }
    }
}

/// What became of a share.
struct Outcome {
    topic: Arc<Topic>,
    answers: Vec<oneshot::Sender<Answer>>,
    stored: Result<StoredGroup, AppendError>,
}

/// Several syncs at once take about as long as one.
fn store_together(mut shares: Vec<Share>, roll_at: RollAt) -> Vec<Outcome> {
    let Some(last) = shares.pop() else { return Vec::new() };
    if shares.is_empty() {
        return vec![last.store(roll_at)];
    }
    thread::scope(|scope| {
        let others: Vec<_> =
            shares.into_iter().map(|share| scope.spawn(move || share.store(roll_at))).collect();
        let last = last.store(roll_at);
        others.into_iter().filter_map(|other| other.join().ok()).chain([last]).collect()
    })
}

impl Share {
    fn store(self, roll_at: RollAt) -> Outcome {
        let Self { topic, batches, answers } = self;
        let roll_at = roll_at.within(&topic.shape.lock().expect(LOCKED).settings);
        let stored = topic.writer.lock().expect(LOCKED).store(&topic, batches, clock::now(), roll_at);
        Outcome { topic, answers, stored }
    }
}
