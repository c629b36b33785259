//! What can be wrong with an expression, and how it is told: the line, a caret, what was expected.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Where a part of an expression stands, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Span {
    pub(super) fn to(self, end: Self) -> Self {
        Self { start: self.start, end: end.end }
    }

    pub(super) fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

/// A place in an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
}

/// Something that can be said about a place in an expression.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    /// One line: what is wrong and what would be right.
    pub message: String,
    /// Where it is.
    pub position: Position,
    /// The same in bytes from the start of the expression, which may be its length.
    pub offset: usize,
    /// The line, cut when it is long, and a caret below it.
    #[serde(skip)]
    excerpt: String,
}

/// Why a text is no expression (SQLS-02, ParseError). The alternate form of its text is one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError(pub Box<Remark>);

/// What went wrong during an evaluation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvaluationError {
    /// In which way.
    pub kind: ErrorKind,
    /// Where and what.
    #[serde(flatten)]
    pub remark: Remark,
}

/// In which way an evaluation went wrong (SQLS-02).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ErrorKind {
    /// A division by zero, or a number that does not fit.
    Math,
    /// A value that has no counterpart in the type that was needed.
    Cast,
    /// The event has no such attribute.
    MissingAttribute,
    /// There is no such function, or none that takes as many arguments.
    MissingFunction,
    /// An argument that the function has no result for.
    FunctionEvaluation,
    /// The evaluation is too long.
    Generic,
}

impl Remark {
    pub(super) fn new(source: &str, span: Span, message: impl Into<String>) -> Self {
        let start = source.floor_char_boundary(span.start.min(source.len()));
        let line_start = source[..start].rfind('\n').map_or(0, |end| end + 1);
        let line_end = source[start..].find('\n').map_or(source.len(), |length| start + length);
        let position = Position {
            line: source[..start].matches('\n').count() + 1,
            column: source[line_start..start].chars().count() + 1,
        };
        let excerpt =
            excerpt(&source[line_start..line_end], position, &source[start..span.end.clamp(start, line_end)]);
        Self { message: message.into(), position, offset: start, excerpt }
    }
}

/// The line and the caret, as compilers show them.
fn excerpt(line: &str, Position { line: number, column }: Position, marked: &str) -> String {
    const BEFORE: usize = 48;
    const MOST: usize = 96;
    let cut = (column - 1).saturating_sub(BEFORE);
    let shown: String =
        line.chars().skip(cut).take(MOST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let lead = if cut > 0 { "…" } else { "" };
    let indent = " ".repeat(lead.chars().count() + column - 1 - cut);
    let carets = "^".repeat(marked.chars().count().clamp(1, (MOST - (column - 1 - cut)).max(1)));
    let margin = " ".repeat(number.to_string().len());
    format!("{margin} |\n{number} | {lead}{}\n{margin} | {indent}{carets}", shown.trim_end())
}

/// Four lines: what is wrong, and the line with the place marked.
impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.message, self.excerpt)
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            let Position { line, column } = self.0.position;
            return write!(f, "{line}:{column}: {}", self.0.message);
        }
        self.0.fmt(f)
    }
}

impl std::error::Error for ParseError {}

impl fmt::Display for EvaluationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { line, column } = self.remark.position;
        write!(f, "{line}:{column}: {}", self.remark.message)
    }
}
