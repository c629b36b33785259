//! What each part of an expression came to with an event.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::error::EvaluationError;
use super::evaluate::Outcome;
use super::program::{Node, NodeKind};
use super::value::Value;
use crate::filter::line::{self, Line, Mark};

/// An expression or a part of one, and what it came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// The part, as it was written.
    pub expression: String,
    /// `None` for a part that was not evaluated, because what was before it had decided.
    pub value: Option<Value<'static>>,
    /// Whether the part failed, by itself or by one of its own parts.
    pub is_failed: bool,
    /// What went wrong here, and not already in one of its parts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<EvaluationError>,
    /// The parts that this one is made of, without what is the same with every event.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Trace>,
}

/// What the evaluation notes of a part.
pub(super) struct Traced<'e> {
    pub(super) node: &'e Node,
    pub(super) outcome: Outcome<'e>,
    /// Its own.
    pub(super) errors: Vec<EvaluationError>,
    /// Where in the log the errors are, those of its parts included.
    pub(super) logged: Range<usize>,
    pub(super) parts: Vec<Traced<'e>>,
}

impl Trace {
    /// Puts what was noted into words; `source` is the text of the expression.
    pub(super) fn new(traced: Traced<'_>, source: &str) -> Self {
        let is_failed = traced.outcome.is_err();
        let (Ok(value) | Err(value)) = traced.outcome;
        let evaluated = traced.parts.len();
        let skipped = traced.node.operands().skip(evaluated).map(|node| Self {
            expression: written(node, source),
            value: None,
            is_failed: false,
            errors: Vec::new(),
            parts: Vec::new(),
        });
        let is_worth_telling = |node: &Node, errors: &[EvaluationError]| {
            !errors.is_empty() || !matches!(node.kind, NodeKind::Constant { .. })
        };
        Self {
            expression: written(traced.node, source),
            value: Some(value.into_owned()),
            is_failed,
            errors: traced.errors,
            parts: traced
                .parts
                .into_iter()
                .filter(|part| is_worth_telling(part.node, &part.errors))
                .map(|part| Self::new(part, source))
                .chain(skipped)
                .collect(),
        }
    }

    /// Adds one line per part, each before its own parts.
    pub(crate) fn write_lines(&self, depth: usize, lines: &mut Vec<Line>) {
        let mut text = match &self.value {
            None => format!("{}: not evaluated", self.expression),
            Some(value) => format!("{}: {value}", self.expression),
        };
        for error in &self.errors {
            text.push_str(&format!(", {error}"));
        }
        if self.is_failed && self.errors.is_empty() {
            text.push_str(", for an error below");
        }
        let mark = match &self.value {
            None => Mark::Skipped,
            Some(_) if self.is_failed => Mark::Error,
            Some(_) => Mark::Value,
        };
        lines.push(Line { depth, mark, text });
        for part in &self.parts {
            part.write_lines(depth + 1, lines);
        }
    }
}

/// One line per part, without a line break at the end.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = Vec::new();
        self.write_lines(0, &mut lines);
        line::write(f, &lines)
    }
}

/// The part as it was written, on one line.
fn written(node: &Node, source: &str) -> String {
    source[node.span.range()].replace(['\n', '\r', '\t'], " ")
}
