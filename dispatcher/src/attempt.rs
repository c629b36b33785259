//! One try to get one event to where it is due, and how it ended.

use std::sync::Arc;

use trigon_core::binding::record::Envelope;
use trigon_core::cursor::Stage;
use trigon_core::delivery::Failure;
use trigon_core::name::Offset;
use trigon_core::record::Timestamp;
use trigon_core::routing::Trigger;

/// Names a lane of one partition; a number is never used twice there, so that what finishes after its lane has
/// gone is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneId(pub u64);

/// Names an attempt: an event of a lane has at most one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptId {
    /// The lane.
    pub lane: LaneId,
    /// The event.
    pub offset: Offset,
}

/// What is to be tried.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Its name, to be given back with the outcome.
    pub id: AttemptId,
    /// The Trigger as it is now.
    pub trigger: Arc<Trigger>,
    /// Where the event is to go.
    pub stage: Stage,
    /// The event.
    pub envelope: Arc<Envelope>,
    /// When the event was accepted.
    pub accepted: Timestamp,
    /// Which try of this stage it is, counted from 1.
    pub number: u32,
    /// Why the stage before failed: for the error attributes of a dead letter or a parked event.
    pub failure: Option<Arc<Failure>>,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The event is where it was to go, and so is the reply, if there was one.
    Done,
    /// It is not.
    Failed(Arc<Failure>),
    /// The attempt was taken back before anything was sent; it does not count.
    Withdrawn,
}
