//! What was accepted against what was taken: losses and duplicates.

use std::collections::{BTreeMap, HashMap, HashSet};
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

/// A time in which what was taken may be taken again, because its commit could not be written or was not known of.
#[derive(Clone, Copy, Debug)]
pub struct Excuse {
    /// From the last commit before it.
    from: Instant,
    /// To the first after it, or to the end of the process.
    to: Instant,
}

impl Excuse {
    /// A process was killed.
    pub fn kill(at: Instant) -> Self {
        Self::between(at, at)
    }

    /// Commits were not written, or not believed, from the one instant to the other.
    pub fn between(from: Instant, to: Instant) -> Self {
        Self { from: from.checked_sub(UNCOMMITTED).unwrap_or(from), to: to + UNDER_WAY }
    }
}

/// How many duplicates those excuse: for each, what may have been in flight, which is the most that ever was, and
/// what was taken meanwhile.
pub fn excused(taken: &Taken, excuses: &[Excuse]) -> usize {
    let uncommitted =
        |excuse: &Excuse| taken.at.iter().filter(|&at| (excuse.from..=excuse.to).contains(at)).count();
    excuses.iter().map(|excuse| taken.most_at_once + uncommitted(excuse)).sum()
}

/// The pairs of accepted events of one sender and one key that were first taken in another order than they were
/// sent in. The ids are those of a [`Flood`](crate::flood::Flood) with so many keys.
pub fn out_of_order(accepted: &[String], taken: &Taken, keys: usize) -> Vec<(String, String)> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (place, id) in taken.ids.iter().enumerate() {
        places.entry(id).or_insert(place);
    }
    let mut chains: BTreeMap<(&str, usize), Vec<(usize, &String)>> = BTreeMap::new();
    for id in accepted {
        let number = id.rsplit_once('-').and_then(|(sender, n)| Some((sender, n.parse::<usize>().ok()?)));
        if let Some((sender, n)) = number {
            chains.entry((sender, n % keys)).or_default().push((n, id));
        }
    }
    let mut wrong = Vec::new();
    for chain in chains.values_mut() {
        chain.sort();
        for pair in chain.windows(2) {
            if let [(_, one), (_, next)] = pair
                && places.get(one.as_str()) > places.get(next.as_str())
            {
                wrong.push(((*one).clone(), (*next).clone()));
            }
        }
    }
    wrong
}

/// Asserts that everything accepted was taken, and that duplicates stay within what the kills excuse.
///
/// # Panics
/// When that is not so.
pub fn settle(what: &str, accepted: &[String], taken: &Taken, kills: &[Instant]) {
    let excuses: Vec<_> = kills.iter().copied().map(Excuse::kill).collect();
    settle_with(what, accepted, taken, &excuses);
}

/// The same with whatever excuses there are.
///
/// # Panics
/// When that is not so.
#[expect(clippy::print_stdout, reason = "the figures belong into the test's output, also when it passes")]
pub fn settle_with(what: &str, accepted: &[String], taken: &Taken, excuses: &[Excuse]) {
    let distinct: HashSet<_> = accepted.iter().collect();
    assert_eq!(distinct.len(), accepted.len(), "{what}: an id was sent twice, the account is worthless");
    let missing = missing(accepted, taken);
    let (duplicates, excused) = (duplicates(taken), excused(taken, excuses));
    println!(
        "{what}: {} accepted, {} taken, {} lost, {duplicates} duplicates of {excused} excused by {} breaks",
        accepted.len(),
        taken.times.len(),
        missing.len(),
        excuses.len()
    );
    let some: Vec<_> = missing.iter().take(10).collect();
    assert!(
        missing.is_empty(),
        "{what}: {} acknowledged events are lost, among them {some:?}",
        missing.len()
    );
    assert!(duplicates <= excused, "{what}: {duplicates} duplicates are more than {excused}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_checked_by_sender_and_key_and_by_what_was_taken_first() {
        let ids = |ids: &[&str]| ids.iter().map(|&id| id.to_owned()).collect::<Vec<_>>();
        let accepted = ids(&["e-0-0", "e-0-1", "e-0-2", "e-0-4", "e-1-0"]);
        let taken = |order: &[&str]| Taken { ids: ids(order), ..Taken::default() };
        let good = taken(&["e-1-0", "e-0-1", "e-0-0", "e-0-2", "e-0-0", "e-0-4"]);
        assert!(out_of_order(&accepted, &good, 2).is_empty());
        let bad = taken(&["e-1-0", "e-0-1", "e-0-0", "e-0-4", "e-0-2", "e-0-4"]);
        assert_eq!(out_of_order(&accepted, &bad, 2), [("e-0-2".to_owned(), "e-0-4".to_owned())]);
    }
}
