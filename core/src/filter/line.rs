//! A line of an explanation as people read it, with what a terminal colours it by.

use std::fmt;

/// One line: a part of a filter or of an expression, and what it came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// How deep it stands, from 0.
    pub depth: usize,
    /// What it came to.
    pub mark: Mark,
    /// In words, without the mark.
    pub text: String,
}

/// What a part came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A part of a filter that the event passes.
    Passes,
    /// A part of a filter that it does not pass.
    Fails,
    /// A part of an expression with its value.
    Value,
    /// A part of an expression that failed.
    Error,
    /// A part of an expression that was not evaluated.
    Skipped,
}

/// Indented by two blanks per level, without a line break.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.mark {
            Mark::Passes => "✓ ",
            Mark::Fails => "✗ ",
            Mark::Value | Mark::Error | Mark::Skipped => "",
        };
        write!(f, "{:indent$}{mark}{}", "", self.text, indent = 2 * self.depth)
    }
}

/// Writes lines one below the other, without a line break at the end.
pub(crate) fn write(f: &mut fmt::Formatter<'_>, lines: &[Line]) -> fmt::Result {
    for (place, line) in lines.iter().enumerate() {
        let separator = if place == 0 { "" } else { "\n" };
        write!(f, "{separator}{line}")?;
    }
    Ok(())
}
