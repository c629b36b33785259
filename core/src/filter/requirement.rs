//! What an event cannot do without to pass a filter, for the index to file the filter under.
//!
//! Only exact values, compared as text, are seen. Missing a requirement costs time and is allowed; claiming one
//! that is none would lose events.

use std::sync::Arc;

use super::{Filter, Node};

/// The event must have one of `values`, as text, for `attribute`.
pub(super) struct Requirement<'a> {
    /// The attribute under the name that the filter gives it.
    pub(super) attribute: &'a Arc<str>,
    /// Sorted, each once, never empty.
    pub(super) values: Vec<&'a Arc<str>>,
}

impl Filter {
    /// An event that fails one of these fails the filter. Sorted by attribute, then by the number of values.
    pub(super) fn requirements(&self) -> Vec<Requirement<'_>> {
        match &*self.0 {
            Node::Everything | Node::Invalid(_) | Node::Not(_) => Vec::new(),
            Node::Clause(clause) => clause
                .required_text()
                .map(|(attribute, value)| Requirement { attribute, values: vec![value] })
                .into_iter()
                .collect(),
            Node::All(filters) => {
                let mut all: Vec<_> = filters.iter().flat_map(Self::requirements).collect();
                all.sort_by_key(|requirement| (requirement.attribute, requirement.values.len()));
                all
            }
            Node::Any(filters) => shared(&filters.iter().map(Self::requirements).collect::<Vec<_>>()),
        }
    }
}

/// What all branches require: the attributes that each of them requires, with the values of all.
fn shared<'a>(branches: &[Vec<Requirement<'a>>]) -> Vec<Requirement<'a>> {
    let mut attributes: Vec<_> = branches.iter().take(1).flatten().map(|first| first.attribute).collect();
    attributes.dedup();
    let values = |attribute| -> Option<Vec<_>> {
        let mut values = Vec::new();
        for branch in branches {
            // The first of an attribute has the fewest values.
            let requirement = branch.iter().find(|requirement| requirement.attribute == attribute)?;
            values.extend_from_slice(&requirement.values);
        }
        values.sort_unstable();
        values.dedup();
        Some(values)
    };
    attributes
        .into_iter()
        .filter_map(|attribute| Some(Requirement { attribute, values: values(attribute)? }))
        .collect()
}
