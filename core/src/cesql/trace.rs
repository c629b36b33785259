//! What each part of an expression came to with an event.

use std::fmt;
use std::ops::Range;

use serde::Serialize;

use super::error::EvaluationError;
use super::evaluate::Outcome;
use super::program::{Node, NodeKind};
use super::value::Value;

/// An expression or a part of one, and what it came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trace {
    /// The part, as it was written.
    pub expression: String,
    /// `None` for a part that was not evaluated, because what was before it had decided.
    pub value: Option<Value<'static>>,
    /// Whether the part failed, by itself or by one of its own parts.
    pub is_failed: bool,
    /// What went wrong here, and not already in one of its parts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<EvaluationError>,
    /// The parts that this one is made of, without what is the same with every event.
    #[serde(skip_serializing_if = "Vec::is_empty")]
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

    /// Writes one line per part, each level two blanks deeper than the one above.
    pub(crate) fn write_at(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        write!(f, "{:indent$}{}", "", self.expression, indent = 2 * depth)?;
        match &self.value {
            None => f.write_str(": not evaluated")?,
            Some(value) => write!(f, ": {value}")?,
        }
        match &*self.errors {
            [] if self.is_failed => f.write_str(", for an error below")?,
            errors => {
                for error in errors {
                    write!(f, ", {error}")?;
                }
            }
        }
        for part in &self.parts {
            writeln!(f)?;
            part.write_at(f, depth + 1)?;
        }
        Ok(())
    }
}

/// One line per part, without a line break at the end.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_at(f, 0)
    }
}

/// The part as it was written, on one line.
fn written(node: &Node, source: &str) -> String {
    source[node.span.range()].replace(['\n', '\r', '\t'], " ")
}
