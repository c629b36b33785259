//! Where one event stands for one Trigger, as far as its lane knows.

use std::time::{Duration, Instant};

use trigon_core::cursor::Progress;
use trigon_core::name::{Offset, TriggerId};

use super::Partition;
use super::history::Finish;
use super::lane::Seat;

/// Where an event stands for a Trigger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// It is not known yet where the Trigger stands: its cursor is being read.
    Starting,
    /// The Trigger has not come to it.
    Unread,
    /// An earlier run had begun with it, and it is still to be read again.
    Recovering(Progress),
    /// The Trigger holds it.
    Held {
        /// What it waits for.
        turn: Turn,
        /// How far it has come.
        progress: Progress,
        /// Why the stage before gave up.
        reason: Option<String>,
    },
    /// The Trigger is past it and was the one to finish it, in this run.
    Finished(Finish),
    /// The Trigger is past it, and how is not known: it did not match, it was finished too long ago, or the Trigger
    /// began or was set behind it.
    Passed,
}

/// What an event waits for that a Trigger holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Another event that goes first by the Trigger's order.
    Blocked,
    /// Room among the attempts of its Trigger.
    Ready,
    /// Its attempt, which is being sent or next in line at its destination.
    InFlight,
    /// Its next attempt, for so long.
    Waiting(Duration),
}

impl Partition {
    /// Where the event at `offset` stands for a Trigger; `None` when the Trigger is not known here.
    pub fn whereabouts(&self, now: Instant, trigger: &TriggerId, offset: Offset) -> Option<Whereabouts> {
        let lane = &self.lanes[self.by_trigger.get(trigger)?];
        if lane.seat == Seat::Loading {
            return Some(Whereabouts::Starting);
        }
        Some(if let Some(held) = lane.held(now, offset) {
            held
        } else if offset >= self.position_of(lane) {
            Whereabouts::Unread
        } else {
            self.history.find(lane.id, offset).map_or(Whereabouts::Passed, Whereabouts::Finished)
        })
    }
}
