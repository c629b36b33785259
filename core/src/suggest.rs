//! "Did you mean …?": the known name that is nearest to an unknown one.

use crate::event::Event;

/// The candidate that the text was probably meant to be, if one is near enough.
pub fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A text that long is no misspelt name, and the distance costs the product of both lengths.
    if text.len() > 64 {
        return None;
    }
    let text = text.to_lowercase();
    let length = text.chars().count();
    let allowed = (length / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (candidate.to_lowercase(), candidate))
        .filter_map(|(lower, candidate)| {
            let is_part = lower.contains(&text) && length > 2;
            // A difference in length is the least distance, and costs nothing.
            let may_be = is_part || lower.chars().count().abs_diff(length) <= allowed;
            let distance = may_be.then(|| distance(&text, &lower))?;
            (is_part || distance <= allowed).then_some((distance, candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The attribute of the event that an unknown name was probably meant to be, if one is near enough.
pub fn nearest_attribute<'e>(event: &'e Event, name: &str) -> Option<&'e str> {
    const MOST: usize = 100;
    let names = event.attributes().iter().map(|attribute| &*attribute.name);
    let names = std::iter::once("specversion").chain(names.filter(|name| name.len() <= MOST).take(MOST));
    nearest(name, names)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_keyboard_finds_its_name() {
        let names = ["subscriber", "delivery", "filter", "filters", "broker"];
        assert_eq!(nearest("subscribr", names), Some("subscriber"));
        assert_eq!(nearest("Broker", names), Some("broker"));
        assert_eq!(nearest("delviery", names), Some("delivery"));
        assert_eq!(nearest("fliter", names), Some("filter"));
        assert_eq!(nearest("sql", ["exact", "cesql"]), Some("cesql"));
        assert_eq!(nearest("er", names), None);
        assert_eq!(nearest("replicas", names), None);
        assert_eq!(nearest("", names), None);
        assert_eq!(nearest(&"subscriber".repeat(100), names), None);
    }
}
