//! What was accepted against what was taken: losses and duplicates.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::subscriber::Taken;

/// What counts as "finished since the last commit" when a process is killed: Trigon commits every 0.5 s, and a busy
/// machine may take half as long again for it.
pub const UNCOMMITTED: Duration = Duration::from_millis(750);

/// An answer that is on its way when the process dies is noted here only afterwards.
const UNDER_WAY: Duration = Duration::from_millis(100);

/// The accepted events that were never taken.
pub fn missing(accepted: &[String], taken: &Taken) -> Vec<String> {
    accepted.iter().filter(|id| !taken.times.contains_key(*id)).cloned().collect()
}

/// The events that were taken and never sent.
pub fn strange(sent_prefix: &str, taken: &Taken) -> Vec<String> {
    taken.times.keys().filter(|id| !id.starts_with(sent_prefix)).cloned().collect()
}

/// How often an event was taken that had been taken before.
pub fn duplicates(taken: &Taken) -> usize {
    taken.at.len() - taken.times.len()
}

/// How many duplicates those kills excuse: for each, what may have been in flight, which is the most that ever was,
/// and what was taken since the last commit.
pub fn excused(taken: &Taken, kills: &[Instant]) -> usize {
    let since_commit = |kill: &Instant| {
        taken.at.iter().filter(|at| **at + UNCOMMITTED >= *kill && **at <= *kill + UNDER_WAY).count()
    };
    kills.iter().map(|kill| taken.most_at_once + since_commit(kill)).sum()
}

/// Asserts that everything accepted was taken, and that duplicates stay within what the kills excuse.
///
/// # Panics
/// When that is not so.
#[expect(clippy::print_stdout, reason = "the figures belong into the test's output, also when it passes")]
pub fn settle(what: &str, accepted: &[String], taken: &Taken, kills: &[Instant]) {
    let distinct: HashSet<_> = accepted.iter().collect();
    assert_eq!(distinct.len(), accepted.len(), "{what}: an id was sent twice, the account is worthless");
    let missing = missing(accepted, taken);
    let (duplicates, excused) = (duplicates(taken), excused(taken, kills));
    println!(
        "{what}: {} accepted, {} taken, {} lost, {duplicates} duplicates of {excused} excused by {} kills",
        accepted.len(),
        taken.times.len(),
        missing.len(),
        kills.len()
    );
    let some: Vec<_> = missing.iter().take(10).collect();
    assert!(
        missing.is_empty(),
        "{what}: {} acknowledged events are lost, among them {some:?}",
        missing.len()
    );
    assert!(duplicates <= excused, "{what}: {duplicates} duplicates are more than {excused}");
}
