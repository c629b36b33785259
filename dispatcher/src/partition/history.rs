//! What became of the events that were finished last: for whoever asks about one, and for nothing else.
//!
//! Kept by where an event ended, so that many deliveries do not push out the few that failed. It begins empty with
//! the process.

use std::collections::VecDeque;

use trigon_core::cursor::Stage;
use trigon_core::name::Offset;

use crate::attempt::LaneId;

/// So many events are remembered per partition and stage.
pub const REMEMBERED: usize = 512;

/// How an event was finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finish {
    /// Who took it.
    pub stage: Stage,
    /// At which attempt there, counted from 1.
    pub attempt: u32,
}

#[derive(Debug, Default)]
pub(super) struct History {
    delivered: VecDeque<Past>,
    dead_lettered: VecDeque<Past>,
    parked: VecDeque<Past>,
}

#[derive(Clone, Copy, Debug)]
struct Past {
    lane: LaneId,
    offset: Offset,
    attempt: u32,
}

impl History {
    pub(super) fn note(&mut self, lane: LaneId, offset: Offset, Finish { stage, attempt }: Finish) {
        let past = match stage {
            Stage::Subscriber => &mut self.delivered,
            Stage::DeadLetter => &mut self.dead_lettered,
            Stage::Park => &mut self.parked,
        };
        if past.len() == REMEMBERED {
            past.pop_front();
        }
        past.push_back(Past { lane, offset, attempt });
    }

    pub(super) fn find(&self, lane: LaneId, offset: Offset) -> Option<Finish> {
        let all = [
            (Stage::Subscriber, &self.delivered),
            (Stage::DeadLetter, &self.dead_lettered),
            (Stage::Park, &self.parked),
        ];
        all.into_iter().find_map(|(stage, past)| {
            let found = past.iter().rev().find(|past| past.lane == lane && past.offset == offset)?;
            Some(Finish { stage, attempt: found.attempt })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_events_of_each_stage_are_remembered_and_no_more() {
        let mut history = History::default();
        let (busy, other) = (LaneId(1), LaneId(2));
        let sunk = Finish { stage: Stage::DeadLetter, attempt: 3 };
        history.note(other, Offset(7), sunk);
        let taken = Finish { stage: Stage::Subscriber, attempt: 1 };
        for offset in 0..=REMEMBERED as u64 {
            history.note(busy, Offset(offset), taken);
        }
        assert_eq!(history.find(busy, Offset(0)), None);
        assert_eq!(history.find(busy, Offset(1)), Some(taken));
        assert_eq!(history.find(busy, Offset(REMEMBERED as u64)), Some(taken));
        assert_eq!(history.find(other, Offset(7)), Some(sunk));
        assert_eq!(history.find(other, Offset(8)), None);
    }
}
