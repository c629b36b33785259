//! What goes into the machine, and what comes out.

use std::sync::Arc;

use trigon_core::cursor::Cursor;
use trigon_core::name::Offset;
use trigon_core::record::Record;
use trigon_core::routing::{Broker, Trigger};
use trigon_eventlog::Batch;

use super::ScanId;
use crate::attempt::{Attempt, AttemptId, LaneId, Outcome};

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
    /// Somebody has set the lane's place in the log: it is to go on there.
    Moved {
        /// The lane.
        lane: LaneId,
    },
    /// The log has lost its records from here on: lanes that stand beyond look again where they stand.
    Truncated {
        /// Where the log ends now.
        end: Offset,
    },
    /// The cursor that [`Action::Reload`] asked for.
    Reloaded {
        /// The lane that asked.
        lane: LaneId,
        /// Where it is to go on; `None` when its place was deleted, and it is to go on where it is.
        cursor: Option<Cursor>,
    },
    /// What [`Action::Undecodable`] asked for is durable.
    Parked {
        /// The record.
        offset: Offset,
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
    /// It was not written, because somebody has set the place meanwhile.
    Moved,
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
    /// Look again where the Trigger stands in this partition, place it nowhere, and answer with [`Input::Reloaded`].
    Reload {
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
    /// A record is not a CloudEvent; it was passed over (KAF-11). Park it and answer with [`Input::Parked`]. Until then
    /// no progress beyond it is committed.
    Undecodable {
        /// Where it is.
        offset: Offset,
        /// It.
        record: Record,
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
    /// Somebody had set the Trigger's place: what it held is forgotten, and it goes on there.
    Moved {
        /// Whose place.
        trigger: Arc<Trigger>,
        /// Up to where it was finished.
        from: Offset,
        /// Where it goes on.
        to: Offset,
    },
    /// Everything is finished and committed; the machine does nothing more.
    Drained,
}
