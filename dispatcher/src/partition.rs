//! One partition as a state machine without I/O: records and outcomes go in, reads, attempts and commits come
//! out.
//!
//! The machine owns who reads where ([`Scan`]s), who is sent what ([`Lane`]s), what waits for a retry, and how
//! far each Trigger has come. It reads no clock: `now` is an argument. It buffers no more than its
//! [`Limits`] say; a lane that is full leaves its scan and is served by another scan later.
//!
//! The shell calls [`Partition::handle`] with what happened, then takes every [`Action`] from
//! [`Partition::next_action`], and calls [`Partition::handle_timeout`] at [`Partition::next_timeout`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use trigon_core::cursor::Cursor;
use trigon_core::name::{Offset, TopicPartition};
use trigon_core::routing::{Broker, Trigger};
use trigon_eventlog::Batch;

use crate::attempt::{Attempt, AttemptId, LaneId, Outcome};

/// Names a scan within its partition; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScanId(pub u64);

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// The Broker has new Triggers or settings.
    Routes(Arc<Broker>),
    /// The cursor that [`Action::Load`] asked for. The shell has resolved where a Trigger without progress
    /// starts, and has committed that.
    Loaded {
        /// The lane that asked.
        lane: LaneId,
        /// Where it stands.
        cursor: Cursor,
    },
    /// What [`Action::Read`] asked for.
    Read {
        /// The scan that asked.
        scan: ScanId,
        /// The records.
        batch: Batch,
    },
    /// What [`Action::Start`] asked for has ended.
    Finished {
        /// The attempt.
        attempt: AttemptId,
        /// How it ended.
        outcome: Outcome,
        /// A random number between 0 and 1 for the jitter of the next wait.
        jitter: f64,
    },
    /// What [`Action::Commit`] asked for is durable, or could not be written and is tried again later.
    Committed {
        /// The lane.
        lane: LaneId,
        /// Whether it is durable.
        result: CommitResult,
    },
    /// The share of memory for held events has changed.
    Budget(usize),
    /// Start nothing any more; finish what is in flight, commit, and say [`Action::Drained`].
    Drain,
}

/// How a commit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitResult {
    /// It is durable.
    Durable,
    /// It was not written.
    Failed,
}

/// What is to be done.
#[derive(Debug)]
pub enum Action {
    /// Find out where the Trigger stands in this partition and answer with [`Input::Loaded`].
    Load {
        /// To be given back.
        lane: LaneId,
        /// Whose cursor is wanted.
        trigger: Arc<Trigger>,
    },
    /// Read one batch at an offset and answer with [`Input::Read`]. There is at most one read per scan.
    Read {
        /// To be given back.
        scan: ScanId,
        /// Where to read.
        from: Offset,
    },
    /// The scan is over: abandon its read.
    Close {
        /// The scan.
        scan: ScanId,
    },
    /// Try this and answer with [`Input::Finished`].
    Start(Attempt),
    /// Attempts of this lane that have not begun to send are not wanted any more: answer
    /// [`Outcome::Withdrawn`] for each.
    Withdraw {
        /// The lane.
        lane: LaneId,
    },
    /// Make this progress durable and answer with [`Input::Committed`]. There is at most one commit per lane.
    Commit {
        /// To be given back.
        lane: LaneId,
        /// Whose progress it is.
        trigger: Arc<Trigger>,
        /// The progress.
        cursor: Cursor,
    },
    /// A record is not a CloudEvent; it was passed over (KAF-11).
    Undecodable {
        /// Where it is.
        offset: Offset,
        /// Why it is not.
        reason: String,
    },
    /// Retention removed events before the Trigger got to see them.
    Overtaken {
        /// Whose events.
        trigger: Arc<Trigger>,
        /// The first offset that is missing.
        from: Offset,
        /// The first offset that is there again.
        to: Offset,
    },
    /// Everything is finished and committed; the machine does nothing more.
    Drained,
}

/// The bounds of one partition.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Events that one lane holds, queued, in flight or waiting for a retry.
    pub lane_events: usize,
    /// Bytes of events that all lanes of the partition hold; each lane gets an equal share of it.
    pub budget: usize,
    /// The least share of a lane, whatever the budget, in bytes; one event is always held.
    pub lane_floor: usize,
    /// Scans at the same time: the tail and those that catch up.
    pub scans: usize,
    /// How long progress may stay uncommitted.
    pub commit_interval: Duration,
    /// How long the progress of a lane that nothing matched may stay uncommitted.
    pub idle_commit_interval: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            lane_events: 1024,
            budget: 32 << 20,
            lane_floor: 64 << 10,
            scans: 4,
            commit_interval: Duration::from_millis(500),
            idle_commit_interval: Duration::from_secs(60),
        }
    }
}

/// One Trigger's standing in the partition, for status and metrics.
#[derive(Clone, Debug)]
pub struct LaneStatus {
    /// The Trigger.
    pub trigger: Arc<Trigger>,
    /// Everything below is finished.
    pub watermark: Offset,
    /// Everything from here on has not been looked at.
    pub position: Offset,
    /// Events that wait for their turn.
    pub queued: usize,
    /// Events that are being sent.
    pub in_flight: usize,
    /// Events that wait for their next attempt.
    pub retrying: usize,
    /// Bytes of the events that are held.
    pub bytes: usize,
    /// When the oldest unfinished event was accepted.
    pub oldest: Option<trigon_core::record::Timestamp>,
    /// What has happened since the process started.
    pub counts: LaneCounts,
    /// What the lane is doing.
    pub phase: LanePhase,
}

/// What has happened in a lane since the process started.
///
/// `matched = delivered + dead_lettered + parked + queued + in_flight + retrying` at any time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneCounts {
    /// Events that the filter let through.
    pub matched: u64,
    /// Events that the subscriber took.
    pub delivered: u64,
    /// Events that the dead letter sink took.
    pub dead_lettered: u64,
    /// Events that went to the parked topic.
    pub parked: u64,
    /// Attempts that ended, by whatever stage and outcome.
    pub attempts: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Offsets that retention removed before the lane got there.
    pub overtaken: u64,
}

/// What a lane is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LanePhase {
    /// Its cursor is being read.
    Loading,
    /// It is served by a scan.
    Reading,
    /// It is full, or waits for a scan to come by.
    Behind,
    /// It is paused.
    Paused,
}

/// The state machine.
#[derive(Debug)]
pub struct Partition {
    at: TopicPartition,
}

impl Partition {
    /// A partition that nobody reads yet; send it [`Input::Routes`] first.
    pub fn new(at: TopicPartition, limits: Limits, now: Instant) -> Self {
        unimplemented!("{at:?} {limits:?} {now:?}")
    }

    /// Which partition this is.
    pub fn at(&self) -> &TopicPartition {
        &self.at
    }

    /// Takes in what happened.
    pub fn handle(&mut self, now: Instant, input: Input) {
        unimplemented!("{now:?} {input:?}")
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        unimplemented!("{now:?}")
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due next.
    pub fn next_timeout(&self) -> Option<Instant> {
        unimplemented!()
    }

    /// The next thing to be done.
    pub fn next_action(&mut self) -> Option<Action> {
        unimplemented!()
    }

    /// How every lane stands.
    pub fn status(&self) -> Vec<LaneStatus> {
        unimplemented!()
    }
}
