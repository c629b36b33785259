//! Notices when a partition waits for the log and nothing comes.
//!
//! It decides only: the driver says what is awaited, and is told what has been awaited for too long.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use trigon_core::name::Offset;

use crate::partition::ScanId;

/// What makes no progress for so long is a stall.
pub const STALL_AFTER: Duration = Duration::from_secs(30);

/// How often it is looked whether there is one.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// What a partition waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Awaited {
    Commit,
    Load,
    Park,
    /// A read, although the partition has records there.
    Read(ScanId, Offset),
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commit => f.write_str("a commit of cursors"),
            Self::Load => f.write_str("the places of triggers"),
            Self::Park => f.write_str("records to be parked"),
            Self::Read(_, from) => write!(f, "a read at offset {from}"),
        }
    }
}

/// Since when what is awaited.
#[derive(Debug, Default)]
pub(super) struct Watchdog {
    since: BTreeMap<Awaited, Wait>,
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    /// Another number is another wait.
    turn: u64,
    since: Instant,
    told: Option<Instant>,
}

/// What has been awaited for too long.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Stalls {
    /// All of it.
    pub(super) all: Vec<Awaited>,
    /// What is to be said, and healed if it can be: when it begins, and again after each further [`STALL_AFTER`].
    pub(super) due: Vec<Awaited>,
}

impl Watchdog {
    /// Takes what is awaited now, each with a number that changes when there is progress.
    pub(super) fn observe(&mut self, now: Instant, awaited: &[(Awaited, u64)]) -> Stalls {
        let before = std::mem::take(&mut self.since);
        let mut stalls = Stalls::default();
        for &(what, turn) in awaited {
            let same = before.get(&what).filter(|wait| wait.turn == turn);
            let mut wait = same.copied().unwrap_or(Wait { turn, since: now, told: None });
            if wait.since + STALL_AFTER <= now {
                stalls.all.push(what);
                if wait.told.is_none_or(|told| told + STALL_AFTER <= now) {
                    wait.told = Some(now);
                    stalls.due.push(what);
                }
            }
            self.since.insert(what, wait);
        }
        stalls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Awaited = Awaited::Read(ScanId(1), Offset(7));

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn what_ends_in_time_is_no_stall() {
        let (mut dog, start) = (Watchdog::default(), Instant::now());
        for second in (0..300).step_by(5) {
            // Each commit takes 25 seconds.
            let stalls = dog.observe(after(start, second), &[(Awaited::Commit, second / 25)]);
            assert_eq!(stalls, Stalls::default(), "{second}");
        }
    }

    #[test]
    fn what_is_awaited_too_long_is_told_again_only_after_as_long() {
        let (mut dog, start) = (Watchdog::default(), Instant::now());
        let mut told = Vec::new();
        for second in (0..=100).step_by(5) {
            let stalls = dog.observe(after(start, second), &[(READ, 1), (Awaited::Load, second)]);
            assert_eq!(stalls.all, if second < 30 { vec![] } else { vec![READ] }, "{second}");
            told.extend(stalls.due.iter().map(|_| second));
        }
        assert_eq!(told, [30, 60, 90]);
    }

    #[test]
    fn a_wait_that_was_interrupted_begins_anew() {
        let (mut dog, start) = (Watchdog::default(), Instant::now());
        dog.observe(start, &[(READ, 1)]);
        dog.observe(after(start, 20), &[]);
        dog.observe(after(start, 25), &[(READ, 1)]);
        assert_eq!(dog.observe(after(start, 50), &[(READ, 1)]), Stalls::default());
        assert_eq!(dog.observe(after(start, 55), &[(READ, 1)]).due, [READ]);
    }
}
