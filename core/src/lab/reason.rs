//! Why a filter does not pass an event, in one line: the clause that said no first.

use crate::cesql::{Trace, Value};
use crate::filter::Explanation;

/// So many parts of an expression are told.
const PARTS: usize = 3;

/// The reason of an explanation that says no.
pub(super) fn of(explanation: &Explanation) -> String {
    let first = explanation.children.iter().find(|child| !child.passes);
    match (first, &*explanation.children) {
        (Some(first), [_, _, ..]) if explanation.clause == "any of" => {
            format!("{}, and nothing else passes it either", of(first))
        }
        (Some(first), _) => of(first),
        // What is below `not` passes, and is a clause or has parts that pass.
        (None, [passing, ..]) => format!("what it excludes: {}", line(leaf(passing))),
        (None, []) => match &explanation.trace {
            Some(trace) => of_trace(trace),
            None => line(explanation),
        },
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

/// What decided an expression: its first error, or the part that alone is false and what that is made of.
fn of_trace(trace: &Trace) -> String {
    let expression = &trace.expression;
    if let Some(error) = trace.errors.first() {
        return format!("`{expression}`: {}", error.remark.message);
    }
    if let Some(failed) = trace.parts.iter().find(|part| part.is_failed) {
        return of_trace(failed);
    }
    let mut refusing = trace.parts.iter().filter(|part| part.value == Some(Value::Boolean(false)));
    if let (Some(only), None) = (refusing.next(), refusing.next()) {
        return of_trace(only);
    }
    let parts = trace.parts.iter().take(PARTS);
    let parts = parts.filter_map(|part| Some(format!("{} is {}", part.expression, part.value.as_ref()?)));
    let parts: Vec<_> = parts.collect();
    let value = trace.value.as_ref().map(ToString::to_string).unwrap_or_default();
    let separator = if parts.is_empty() { "" } else { ", because " };
    format!("`{expression}` is {value}{separator}{}", parts.join(" and "))
}
