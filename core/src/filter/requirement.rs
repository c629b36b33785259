//! What an event cannot do without to pass a filter, for the index to file the filter under.
//!
//! Only whole values and their beginnings, compared as text, are seen, those that a CESQL expression compares
//! among them. Missing a requirement costs time and is allowed; claiming one that is none would lose events.

use std::sync::Arc;

use super::{Filter, Node};
use crate::cesql::Condition;

/// For `attribute` the event must have a text that one of `keys` fits.
pub(super) struct Requirement<'a> {
    /// The attribute under the name that the filter gives it.
    pub(super) attribute: &'a Arc<str>,
    /// Sorted and not empty. No text fits two of them.
    pub(super) keys: Vec<Key<'a>>,
}

/// A text that a value must be, or begin with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key<'a> {
    pub(super) text: &'a Arc<str>,
    pub(super) reach: Reach,
}

/// How much of the value the text of a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Reach {
    Start,
    Whole,
}

impl Filter {
    /// An event that fails one of these fails the filter. Sorted by attribute, then by the number of keys.
    pub(super) fn requirements(&self) -> Vec<Requirement<'_>> {
        match &*self.0 {
            Node::Everything | Node::Invalid(_) | Node::Not(_) => Vec::new(),
            Node::Clause(clause) => clause.requirement().into_iter().collect(),
            Node::Cesql(expression) => of_condition(expression.condition()),
            Node::All(filters) => sorted(filters.iter().flat_map(Self::requirements).collect()),
            Node::Any(filters) => shared(&filters.iter().map(Self::requirements).collect::<Vec<_>>()),
        }
    }
}

/// What a CESQL expression requires.
fn of_condition(condition: Condition<'_>) -> Vec<Requirement<'_>> {
    let one = |attribute, text, reach| vec![Requirement { attribute, keys: vec![Key { text, reach }] }];
    match condition {
        Condition::Open => Vec::new(),
        Condition::Is(attribute, text) => one(attribute, text, Reach::Whole),
        Condition::StartsWith(attribute, text) => one(attribute, text, Reach::Start),
        Condition::All(conditions) => sorted(conditions.into_iter().flat_map(of_condition).collect()),
        Condition::Any(conditions) => shared(&conditions.into_iter().map(of_condition).collect::<Vec<_>>()),
    }
}

fn sorted(mut all: Vec<Requirement<'_>>) -> Vec<Requirement<'_>> {
    all.sort_by_key(|requirement| (requirement.attribute, requirement.keys.len()));
    all
}

/// What all branches require: the attributes that each of them requires, with the keys of all. The branches are
/// sorted, and so is this.
fn shared<'a>(branches: &[Vec<Requirement<'a>>]) -> Vec<Requirement<'a>> {
    let mut attributes: Vec<_> = branches.iter().take(1).flatten().map(|first| first.attribute).collect();
    attributes.dedup();
    let keys = |attribute| -> Option<Vec<_>> {
        let mut keys = Vec::new();
        for branch in branches {
            // The first of an attribute has the fewest keys.
            let place = branch.partition_point(|requirement| requirement.attribute < attribute);
            let requirement = branch.get(place).filter(|requirement| requirement.attribute == attribute)?;
            keys.extend_from_slice(&requirement.keys);
        }
        keys.sort_unstable();
        // What a key covers stands right behind it, so this leaves no two that one text fits.
        keys.dedup_by(|key, kept| kept.covers(*key));
        Some(keys)
    };
    attributes
        .into_iter()
        .filter_map(|attribute| Some(Requirement { attribute, keys: keys(attribute)? }))
        .collect()
}

impl Key<'_> {
    /// Whether every text that fits `other` fits this key.
    fn covers(self, other: Key<'_>) -> bool {
        match self.reach {
            Reach::Start => other.text.starts_with(&**self.text),
            Reach::Whole => self == other,
        }
    }
}
