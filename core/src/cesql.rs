//! CESQL, the CloudEvents SQL Expression Language, version 1: expressions about the attributes of one event.
//!
//! An [`Expression`] is read once and evaluated often. Evaluating is pure and total: every event gives a value and
//! a set of errors (SQLS-02, SQLS-19), and a filter passes what comes to `TRUE` without any (SQLS-18). Whatever
//! the expression and the event, reading is bounded by [`MAX_LENGTH`] and [`MAX_DEPTH`], with what it computes
//! ahead, and evaluating by [`MAX_WORK`]; characters are Unicode characters (SQLS-13, SQLS-15).
//!
//! Deliberately not here: functions of users, and the data of events.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::event::Event;

mod ast;
mod condition;
mod equality;
mod error;
mod evaluate;
mod folding;
mod function;
mod like;
mod parser;
mod program;
#[cfg(test)]
pub(crate) mod reference;
#[cfg(test)]
mod tests;
mod token;
mod trace;
mod value;

use ast::Expr;
pub(crate) use condition::Condition;
use error::Span;
pub use error::{ErrorKind, EvaluationError, ParseError, Position, Remark};
use evaluate::Evaluator;
use folding::Folding;
pub(crate) use program::Attribute;
use program::{Node, NodeKind};
pub use trace::Trace;
pub use value::{Type, Value};

/// An expression has at most this many bytes.
pub const MAX_LENGTH: usize = 65_536;

/// How deep operators and functions may nest; parentheses twice as deep. A chain of one of `AND`, `OR` and `XOR`
/// counts once.
pub const MAX_DEPTH: usize = 64;

/// How much an evaluation may do: bytes of attributes and of texts that functions take and make, attributes passed by
/// while looking for one, and steps of a pattern. What exceeds it fails. What is computed when an expression is read
/// may do [`MAX_LENGTH`] of it; what exceeds that is computed with every event.
pub const MAX_WORK: usize = 16 * 1024 * 1024;

/// An evaluation tells at most this many errors, and an expression has at most this many remarks: of the errors that
/// come up with every event the first that are found.
pub const MAX_ERRORS: usize = 64;

/// An expression, ready for evaluation; cloning shares it. Two are equal when they print equally.
#[derive(Clone)]
pub struct Expression(Arc<Inner>);

struct Inner {
    source: Box<str>,
    expr: Expr,
    program: Node,
    remarks: Box<[Remark]>,
}

/// What an expression comes to with an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluation<'a> {
    /// After an error what the specification has for it, mostly the zero value of the type.
    pub value: Value<'a>,
    /// In the order in which they came up.
    pub errors: Vec<EvaluationError>,
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// When the text is no expression, or exceeds [`MAX_LENGTH`] or [`MAX_DEPTH`]. A function that there is not is
    /// none of that (SQLS-16), but among the [`remarks`](Self::remarks).
    pub fn parse(source: &str) -> Result<Self, ParseError> {
        if source.len() > MAX_LENGTH {
            let end = Span { start: MAX_LENGTH, end: MAX_LENGTH };
            let message = format!("the expression is longer than {MAX_LENGTH} bytes; make it shorter");
            return Err(ParseError(Box::new(Remark::new(source, end, message))));
        }
        let (expr, mut remarks) = parser::parse(source)?;
        let program = Node::new(&expr, &mut Folding::new(source));
        program.remarks(&mut remarks);
        remarks.sort_by_key(|remark| remark.offset);
        remarks.truncate(MAX_ERRORS);
        Ok(Self(Arc::new(Inner { source: source.into(), expr, program, remarks: remarks.into() })))
    }

    /// Evaluates the expression. After an error the evaluation goes on, so that all errors are found that are not
    /// behind an operator that has decided.
    pub fn evaluate<'e>(&'e self, event: &'e Event) -> Evaluation<'e> {
        let mut errors = Vec::new();
        let outcome = Evaluator::new(event, &self.0.source, &mut errors).evaluate(&self.0.program);
        let (Ok(value) | Err(value)) = outcome;
        Evaluation { value, errors }
    }

    /// Whether the event passes the expression as a filter: it comes to `TRUE`, without errors (SQLS-18). Ends with
    /// the first error (SQLS-17).
    pub fn passes(&self, event: &Event) -> bool {
        Evaluator::of_filter(event).passes(&self.0.program)
    }

    /// The same, and `None` when it fails.
    pub(crate) fn verdict(&self, event: &Event) -> Option<bool> {
        Evaluator::of_filter(event).verdict(&self.0.program)
    }

    /// Evaluates the expression, and tells what each part of it came to.
    pub fn trace(&self, event: &Event) -> Trace {
        let mut errors = Vec::new();
        let mut evaluator = Evaluator::tracing(event, &self.0.source, &mut errors);
        // The outcome is in the trace.
        drop(evaluator.evaluate(&self.0.program));
        let root = evaluator.into_traced().pop().expect("the evaluation notes every part that it comes to");
        Trace::new(root, &self.0.source)
    }

    /// The text that it was read from.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// What may not mean what its author thinks, or fails with every event that comes there.
    pub fn remarks(&self) -> &[Remark] {
        &self.0.remarks
    }

    /// The attributes that the expression speaks of, in the order in which it does, as often as it does.
    pub(crate) fn attributes(&self) -> Vec<&Attribute> {
        let mut attributes = Vec::new();
        let mut nodes = vec![&self.0.program];
        while let Some(node) = nodes.pop() {
            if let NodeKind::Attribute(attribute) | NodeKind::Exists(attribute) = &node.kind {
                attributes.push(attribute);
            }
            let above = nodes.len();
            nodes.extend(node.operands());
            nodes[above..].reverse();
        }
        attributes
    }

    /// What an event needs to pass.
    pub(crate) fn condition(&self) -> Condition<'_> {
        self.0.program.condition()
    }
}

impl FromStr for Expression {
    type Err = ParseError;

    fn from_str(source: &str) -> Result<Self, ParseError> {
        Self::parse(source)
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.0.expr == other.0.expr
    }
}

/// The expression in its normal form: keywords and functions in upper case, attributes in lower case, no
/// parentheses that are not needed. It reads as the same expression.
impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expr.fmt(f)
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.source()).finish()
    }
}
