//! Why a filter does not pass an event, in one line: the clause that said no first.

use crate::filter::Explanation;

/// The reason of an explanation that says no.
pub(super) fn of(explanation: &Explanation) -> String {
    let mut refusing = explanation.children.iter().filter(|child| !child.passes);
    match (refusing.next(), &*explanation.children) {
        (Some(first), children) => {
            let alternatives = if children.len() > 1 && refusing.count() + 1 == children.len() {
                ", and nothing else passes it either"
            } else {
                ""
            };
            format!("{}{alternatives}", of(first))
        }
        // What is below `not` passes, and is a clause or has parts that pass.
        (None, [passing, ..]) => format!("what it excludes: {}", line(leaf(passing))),
        (None, []) => line(explanation),
    }
}

/// The first clause that an explanation comes down to.
fn leaf(explanation: &Explanation) -> &Explanation {
    explanation.children.iter().find(|child| child.passes == explanation.passes).map_or(explanation, leaf)
}

/// A clause and what it saw, without its mark; of an expression its first line.
fn line(clause: &Explanation) -> String {
    let text = clause.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.trim_start_matches(['✓', '✗', ' ']).to_owned()
}
