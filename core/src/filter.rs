//! Which events a Trigger wants: the legacy `filter.attributes` and the `filters` dialects, compiled.
//!
//! A filter is an immutable tree; cloning shares it. Matching is pure and total, and costs at most one look at an
//! attribute per clause, of which there are at most [`MAX_CLAUSES`], nested at most [`MAX_DEPTH`] deep (FLN-17). A
//! CESQL expression is one clause and has bounds of its own; functions that make new texts are all that allocates.
//! Attribute names are checked here (VAL-21); where in a manifest they stand, and
//! that an object sets one dialect only, is for the reader of manifests.
//!
//! Two leaves stand for what is no condition on the event. A *no-op* (`{}`, an empty map or list, and whatever
//! is made of nothing else, `not: {}` included) passes every event (FLN-11). An *invalid* filter (an empty
//! value, an unknown dialect) passes none, and neither does a `not` around it, lest it fail open.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::cesql::Expression;
use crate::event::Event;

mod clause;
pub mod explain;
pub mod index;
pub mod line;
mod mention;
#[cfg(test)]
mod reference;
mod requirement;
#[cfg(test)]
mod tests;
mod verdict;

use clause::Clause;
pub use explain::Explanation;
pub use index::FilterIndex;
pub use mention::Mention;
pub use verdict::Verdict;

/// How deep `all`, `any` and `not` may nest, a clause counting as one. Lists within lists of the same kind, and
/// lists of one element, are merged first and count once.
pub const MAX_DEPTH: usize = 32;

/// How many clauses a filter may have.
pub const MAX_CLAUSES: usize = 4_096;

/// A compiled filter; cloning shares it.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter(Arc<Node>);

#[derive(Debug, PartialEq)]
enum Node {
    Everything,
    Invalid(Box<str>),
    Clause(Clause),
    Cesql(Expression),
    All(Box<[Filter]>),
    Any(Box<[Filter]>),
    Not(Filter),
}

/// Why a filter could not be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// These attribute names are none (VAL-21).
    #[error("no attribute can be called {names:?}: write lower-case letters and digits, a letter first")]
    AttributeNames {
        /// All bad names of the map.
        names: Vec<String>,
    },
    /// More than [`MAX_DEPTH`].
    #[error("the filter nests {depth} deep: write it with at most {MAX_DEPTH} levels of all, any and not")]
    TooDeep {
        /// How deep it nests.
        depth: usize,
    },
    /// More than [`MAX_CLAUSES`].
    #[error("the filter has {clauses} clauses: write it with at most {MAX_CLAUSES}")]
    TooManyClauses {
        /// How many it has.
        clauses: usize,
    },
}

impl Filter {
    /// The filter that every event passes: `{}`, or none at all (FLN-01).
    pub fn everything() -> Self {
        Node::Everything.into()
    }

    /// The legacy `filter.attributes`: every attribute has exactly its value; the empty value asks for presence
    /// only (FLA-01, FLA-02). An empty map is [`everything`](Self::everything) (FLA-03).
    ///
    /// # Errors
    /// When a name is not the name of an attribute, or there are more than [`MAX_CLAUSES`].
    pub fn attributes(attributes: &BTreeMap<String, String>) -> Result<Self, FilterError> {
        Self::clauses(attributes, |name, value| match value {
            "" => Node::Clause(Clause::present(name)),
            _ => Node::Clause(Clause::is(name, value)),
        })
    }

    /// The dialect `exact` (FLN-04).
    ///
    /// # Errors
    /// When a name is not the name of an attribute, or there are more than [`MAX_CLAUSES`].
    pub fn exact(attributes: &BTreeMap<String, String>) -> Result<Self, FilterError> {
        Self::dialect(attributes, Clause::is)
    }

    /// The dialect `prefix` (FLN-05).
    ///
    /// # Errors
    /// When a name is not the name of an attribute, or there are more than [`MAX_CLAUSES`].
    pub fn prefix(attributes: &BTreeMap<String, String>) -> Result<Self, FilterError> {
        Self::dialect(attributes, Clause::starts_with)
    }

    /// The dialect `suffix` (FLN-05).
    ///
    /// # Errors
    /// When a name is not the name of an attribute, or there are more than [`MAX_CLAUSES`].
    pub fn suffix(attributes: &BTreeMap<String, String>) -> Result<Self, FilterError> {
        Self::dialect(attributes, Clause::ends_with)
    }

    /// The dialect `cesql`: an event passes when the expression is true, and there is no error (FLN-07).
    pub fn cesql(expression: Expression) -> Self {
        Node::Cesql(expression).into()
    }

    /// The filter that passes what all of `filters` pass: the dialect `all`, and the list `filters` itself (FLN-01).
    ///
    /// # Errors
    /// When the result exceeds [`MAX_DEPTH`] or [`MAX_CLAUSES`].
    pub fn all(filters: impl IntoIterator<Item = Self>) -> Result<Self, FilterError> {
        let mut merged = Vec::new();
        for filter in filters {
            match &*filter.0 {
                Node::Everything => {}
                Node::All(inner) => merged.extend_from_slice(inner),
                _ => merged.push(filter),
            }
        }
        match merged.len() {
            0 => Ok(Self::everything()),
            1 => Ok(merged.remove(0)),
            _ => Self::bounded(Node::All(merged.into())),
        }
    }

    /// The filter that passes what at least one of `filters` passes: the dialect `any`. An empty list is a
    /// no-op, and so is a list of nothing but no-ops.
    ///
    /// # Errors
    /// When the result exceeds [`MAX_DEPTH`] or [`MAX_CLAUSES`].
    pub fn any(filters: impl IntoIterator<Item = Self>) -> Result<Self, FilterError> {
        let mut merged = Vec::new();
        for filter in filters {
            match &*filter.0 {
                Node::Any(inner) => merged.extend_from_slice(inner),
                _ => merged.push(filter),
            }
        }
        if merged.iter().all(|filter| *filter.0 == Node::Everything) {
            return Ok(Self::everything());
        }
        if merged.len() == 1 {
            return Ok(merged.remove(0));
        }
        Self::bounded(Node::Any(merged.into()))
    }

    /// The filter that passes what `filter` does not: the dialect `not`. A no-op stays one (FLN-11), and what
    /// contains an invalid filter becomes one.
    ///
    /// # Errors
    /// When the result exceeds [`MAX_DEPTH`].
    #[expect(clippy::should_implement_trait, reason = "it is named like its dialect, and it can fail")]
    pub fn not(filter: Self) -> Result<Self, FilterError> {
        if *filter.0 == Node::Everything {
            return Ok(filter);
        }
        if filter.is_invalid() {
            return Ok(Node::Invalid(format!("not ({filter})").into()).into());
        }
        Self::bounded(Node::Not(filter))
    }

    /// The filter of a Trigger: all of its `filters`, or the legacy `attributes` when that list is empty (FLN-02).
    ///
    /// # Errors
    /// When an attribute name is not one, or the result exceeds [`MAX_DEPTH`] or [`MAX_CLAUSES`].
    pub fn of_trigger(
        attributes: &BTreeMap<String, String>,
        filters: impl IntoIterator<Item = Self>,
    ) -> Result<Self, FilterError> {
        let mut filters = filters.into_iter().peekable();
        if filters.peek().is_none() { Self::attributes(attributes) } else { Self::all(filters) }
    }

    /// A filter in a dialect that Trigon does not know: no event passes it (FLN-03).
    pub fn unknown(dialect: &str) -> Self {
        Node::Invalid(format!("the dialect {dialect:?}, which is unknown and passes no event").into()).into()
    }

    /// Whether the event passes. Pure and total.
    pub fn matches(&self, event: &Event) -> bool {
        match &*self.0 {
            Node::Everything => true,
            Node::Invalid(_) => false,
            Node::Clause(clause) => clause.matches(event),
            Node::Cesql(expression) => expression.passes(event),
            Node::All(filters) => filters.iter().all(|filter| filter.matches(event)),
            Node::Any(filters) => filters.iter().any(|filter| filter.matches(event)),
            Node::Not(filter) => !filter.matches(event),
        }
    }

    fn dialect(
        attributes: &BTreeMap<String, String>,
        clause: fn(&str, &str) -> Clause,
    ) -> Result<Self, FilterError> {
        Self::clauses(attributes, |name, value| {
            let clause = clause(name, value);
            match value {
                "" => Node::Invalid(format!("{clause}, which is empty and passes no event").into()),
                _ => Node::Clause(clause),
            }
        })
    }

    fn clauses(
        attributes: &BTreeMap<String, String>,
        node: impl Fn(&str, &str) -> Node,
    ) -> Result<Self, FilterError> {
        let names: Vec<_> = attributes.keys().filter(|name| !is_attribute_name(name)).cloned().collect();
        if !names.is_empty() {
            return Err(FilterError::AttributeNames { names });
        }
        Self::all(attributes.iter().map(|(name, value)| node(name, value).into()))
    }

    fn bounded(node: Node) -> Result<Self, FilterError> {
        let filter = Self::from(node);
        let (depth, clauses) = filter.extent();
        if depth > MAX_DEPTH {
            return Err(FilterError::TooDeep { depth });
        }
        if clauses > MAX_CLAUSES {
            return Err(FilterError::TooManyClauses { clauses });
        }
        Ok(filter)
    }

    /// The depth and the number of clauses.
    fn extent(&self) -> (usize, usize) {
        self.children()
            .iter()
            .map(Self::extent)
            .reduce(|a, b| (a.0.max(b.0), a.1 + b.1))
            .map_or((1, 1), |(depth, clauses)| (depth + 1, clauses))
    }

    fn is_invalid(&self) -> bool {
        matches!(*self.0, Node::Invalid(_)) || self.children().iter().any(Self::is_invalid)
    }

    fn children(&self) -> &[Self] {
        match &*self.0 {
            Node::All(filters) | Node::Any(filters) => filters,
            Node::Not(filter) => std::slice::from_ref(filter),
            Node::Everything | Node::Invalid(_) | Node::Clause(_) | Node::Cesql(_) => &[],
        }
    }
}

impl Default for Filter {
    fn default() -> Self {
        Self::everything()
    }
}

impl From<Node> for Filter {
    fn from(node: Node) -> Self {
        Self(Arc::new(node))
    }
}

/// One line of English.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, filters: &[Self], conjunction: &str| {
            for (place, filter) in filters.iter().enumerate() {
                if place > 0 {
                    write!(f, " {conjunction} ")?;
                }
                match *filter.0 {
                    Node::All(_) | Node::Any(_) => write!(f, "({filter})")?,
                    _ => write!(f, "{filter}")?,
                }
            }
            Ok(())
        };
        match &*self.0 {
            Node::Everything => f.write_str("every event"),
            Node::Invalid(words) => f.write_str(words),
            Node::Clause(clause) => write!(f, "{clause}"),
            Node::Cesql(expression) => write!(f, "`{expression}`"),
            Node::All(filters) => list(f, filters, "and"),
            Node::Any(filters) => list(f, filters, "or"),
            Node::Not(filter) => write!(f, "not ({filter})"),
        }
    }
}

/// Whether a filter can speak of an attribute of this name: `^[a-z][a-z0-9]*$`, of any length (VAL-21, VAL-22).
pub fn is_attribute_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}
