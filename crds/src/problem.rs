//! What is wrong with a file of routes, said so that its author can put it right without a manual.

use std::fmt;

use crate::path::Path;

/// At most this many problems are reported at once: of one document's form, of one object's meaning, and in all.
pub const MAX_PROBLEMS: usize = 1_000;

/// One thing that is wrong, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as it was named to [`parse`](crate::parse).
    pub file: String,
    /// The line of the offending field, counted from 1.
    pub line: usize,
    /// The column of the offending field, counted from 1 in characters.
    pub column: usize,
    /// The path of the field in its object, as `spec.delivery.retry`; empty when it concerns the whole document.
    pub field: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

/// Collects what is wrong with one object, before it is known where the object came from.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<Finding>);

/// One thing that is wrong with an object.
#[derive(Debug)]
pub(crate) struct Finding {
    /// The field.
    pub(crate) path: Path,
    /// The place in the field's text, in bytes; at its start when the field as a whole is meant.
    pub(crate) offset: usize,
    /// What is wrong and what would be right.
    pub(crate) message: String,
}

impl Findings {
    /// Notes that a field is wrong.
    pub(crate) fn refuse(&mut self, path: &Path, message: impl Into<String>) {
        self.refuse_at(path, 0, message);
    }

    /// Notes that a field is wrong from a place of its text on.
    pub(crate) fn refuse_at(&mut self, path: &Path, offset: usize, message: impl Into<String>) {
        if self.0.len() < MAX_PROBLEMS {
            self.0.push(Finding { path: path.clone(), offset, message: message.into() });
        }
    }

    /// Adds what was noted elsewhere.
    pub(crate) fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Whether nothing was noted.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl IntoIterator for Findings {
    type Item = Finding;
    type IntoIter = std::vec::IntoIter<Finding>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
