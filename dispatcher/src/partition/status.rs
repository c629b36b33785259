//! How every lane of a partition stands.

use std::sync::Arc;

use trigon_core::name::Offset;
use trigon_core::record::Timestamp;
use trigon_core::routing::{Trigger, TriggerState};

use super::Partition;
use super::lane::{Lane, Seat};

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
    pub oldest: Option<Timestamp>,
    /// What has happened since the process started.
    pub counts: LaneCounts,
    /// What the lane is doing.
    pub phase: LanePhase,
}

/// What has happened in a lane since the process started.
///
/// `matched = delivered + dead_lettered + parked + queued + in_flight + retrying` at any time: what a lane forgets
/// because its place was set has not matched.
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
    /// How often somebody has set the lane's place.
    pub moved: u64,
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

impl Partition {
    /// How every lane stands.
    pub fn status(&self) -> Vec<LaneStatus> {
        let mut all: Vec<LaneStatus> = self.lanes.values().map(|lane| self.lane_status(lane)).collect();
        all.sort_by(|a, b| a.trigger.id.cmp(&b.trigger.id));
        all
    }

    fn lane_status(&self, lane: &Lane) -> LaneStatus {
        let position = self.position_of(lane);
        LaneStatus {
            trigger: Arc::clone(&lane.trigger),
            watermark: lane.watermark(position),
            position,
            queued: lane.queued(),
            in_flight: lane.in_flight(),
            retrying: lane.retrying(),
            bytes: lane.bytes(),
            oldest: lane.oldest(),
            counts: lane.counts,
            phase: match lane.seat {
                Seat::Loading => LanePhase::Loading,
                _ if lane.trigger.state == TriggerState::Paused => LanePhase::Paused,
                Seat::Scan(_) => LanePhase::Reading,
                Seat::Aside => LanePhase::Behind,
            },
        }
    }
}
