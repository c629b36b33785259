//! Notices when a partition waits for the log and nothing comes.
//!
//! It decides only: the driver says what is awaited, and is told what has been awaited for too long.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use trigon_core::name::Offset;
use trigon_eventlog::CommitError;

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

/// Counts what has ended with progress, each kind by itself: one that goes on says nothing of one that hangs.
#[derive(Debug, Default)]
pub(super) struct Turns {
    pub(super) commits: u64,
    pub(super) loads: u64,
    pub(super) parks: u64,
}

impl Turns {
    /// A commit has ended. One of which the log took nothing is no progress; a place that somebody has set is an answer.
    pub(super) fn committed<'a>(&mut self, results: impl IntoIterator<Item = &'a Result<(), CommitError>>) {
        let is_answer = |result: &Result<(), CommitError>| !matches!(result, Err(CommitError::Log(_)));
        self.commits += u64::from(results.into_iter().any(is_answer));
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
    use trigon_eventlog::LogError;

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
    fn a_load_that_hangs_is_told_while_commits_go_on() {
        let (mut dog, mut turns, start) = (Watchdog::default(), Turns::default(), Instant::now());
        for second in (0..30).step_by(5) {
            turns.committed(&[Ok(())]);
            let awaited = [(Awaited::Commit, turns.commits), (Awaited::Load, turns.loads)];
            assert_eq!(dog.observe(after(start, second), &awaited), Stalls::default(), "{second}");
        }
        turns.committed(&[Ok(())]);
        let awaited = [(Awaited::Commit, turns.commits), (Awaited::Load, turns.loads)];
        assert_eq!(dog.observe(after(start, 30), &awaited).due, [Awaited::Load]);
    }

    #[test]
    fn a_commit_of_which_nothing_was_taken_is_no_progress() {
        let mut turns = Turns::default();
        let failed = || Err(CommitError::Log(LogError::Failed("told to fail".into())));
        turns.committed(&[failed(), failed()]);
        assert_eq!(turns.commits, 0);
        turns.committed(&[failed(), Ok(())]);
        assert_eq!(turns.commits, 1);
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
