//! A few events of many, spread evenly, as they are shown.

use super::{Group, Placed, reason};
use crate::filter::Filter;
use crate::name::Position;
use crate::record::Timestamp;

/// So many events of a kind are shown.
pub const MAX_SAMPLES: usize = 5;

/// A text of an event is shown up to so many characters.
pub const MAX_SHOWN: usize = 256;

/// So many are held before every second one is let go.
const HELD: usize = 2 * MAX_SAMPLES;

/// An event as it is shown, its texts cut at [`MAX_SHOWN`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Where it stands in the log.
    pub position: Position,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// Its `id`.
    pub id: String,
    /// Its `source`.
    pub source: String,
    /// Its `type`.
    pub event_type: String,
    /// Its `time`, as its producer wrote it.
    pub time: Option<String>,
    /// Why the filter that does not pass it does not; `None` where there is no such filter.
    pub reason: Option<String>,
}

/// Keeps a few of those that are offered, evenly spread over all.
#[derive(Debug)]
pub(super) struct Spread {
    offered: u64,
    /// One of so many is held.
    every: u64,
    held: Vec<Sample>,
}

impl Sample {
    /// The event, and why `refusing` does not pass it.
    pub(super) fn of(placed: Placed<'_>, refusing: Option<&Filter>) -> Self {
        let event = placed.event;
        Self {
            position: placed.position,
            accepted: placed.accepted,
            id: cut(event.id()),
            source: cut(event.source()),
            event_type: cut(event.event_type()),
            time: event.attribute("time").map(cut),
            reason: refusing.map(|filter| cut(&reason::of(&filter.explain(event)))),
        }
    }
}

impl Spread {
    pub(super) fn offer(&mut self, sample: impl FnOnce() -> Sample) {
        if self.offered.is_multiple_of(self.every) {
            if self.held.len() == HELD {
                let mut is_kept = false;
                self.held.retain(|_| {
                    is_kept = !is_kept;
                    is_kept
                });
                self.every *= 2;
            }
            self.held.push(sample());
        }
        self.offered += 1;
    }

    pub(super) fn into_group(self) -> Group {
        let Self { offered: count, mut held, .. } = self;
        let last = held.len().saturating_sub(1);
        if held.len() > MAX_SAMPLES {
            let chosen: Vec<_> = (0..MAX_SAMPLES).map(|n| n * last / (MAX_SAMPLES - 1)).collect();
            let mut place = 0..;
            held.retain(|_| place.next().is_some_and(|place| chosen.contains(&place)));
        }
        Group { count, samples: held }
    }
}

impl Default for Spread {
    fn default() -> Self {
        Self { offered: 0, every: 1, held: Vec::new() }
    }
}

/// A text, cut when it is long.
pub(super) fn cut(text: &str) -> String {
    let mut characters = text.chars();
    let mut shown: String = characters.by_ref().take(MAX_SHOWN).collect();
    if characters.next().is_some() {
        shown.push('…');
    }
    shown
}
