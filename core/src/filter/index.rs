//! All filters of a Broker, compiled together: an event is matched once, whatever the number of Triggers.
//!
//! A filter that requires an exact value of an attribute is filed under that value, and evaluated only for
//! events that have it; of several requirements the one that the fewest filters share is chosen. The other
//! filters are evaluated for every event. Filing never decides: each candidate is evaluated in full.

use std::collections::HashMap;
use std::sync::Arc;

use crate::event::Event;
use crate::filter::{Filter, Requirement, clause};

/// Finds the filters that an event passes without evaluating all of them.
#[derive(Clone, Debug, Default)]
pub struct FilterIndex {
    filters: Vec<Filter>,
    drawers: Vec<Drawer>,
    unfiled: Vec<usize>,
}

/// The filters that are filed under the values of one attribute.
#[derive(Clone, Debug)]
struct Drawer {
    attribute: Arc<str>,
    by_value: HashMap<Arc<str>, Vec<usize>>,
}

impl FilterIndex {
    /// Compiles the filters; they are spoken of by their place in the iteration.
    pub fn new<'a>(filters: impl IntoIterator<Item = &'a Filter>) -> Self {
        let filters: Vec<Filter> = filters.into_iter().cloned().collect();
        let mut shares = HashMap::new();
        for requirement in filters.iter().flat_map(Filter::requirements) {
            for value in requirement.values {
                *shares.entry((requirement.attribute, value)).or_insert(0_usize) += 1;
            }
        }
        let crowd = |requirement: &Requirement<'_>| -> usize {
            requirement.values.iter().map(|value| shares[&(requirement.attribute, *value)]).sum()
        };

        let mut drawers: Vec<Drawer> = Vec::new();
        let mut unfiled = Vec::new();
        for (place, filter) in filters.iter().enumerate() {
            // Of equals the first wins, which is the first by name: so the drawers stay few.
            let Some(requirement) = filter.requirements().into_iter().min_by_key(crowd) else {
                unfiled.push(place);
                continue;
            };
            let drawer = match drawers.iter().position(|drawer| drawer.attribute == *requirement.attribute) {
                Some(known) => &mut drawers[known],
                None => drawers.push_mut(Drawer {
                    attribute: Arc::clone(requirement.attribute),
                    by_value: HashMap::new(),
                }),
            };
            for value in requirement.values {
                drawer.by_value.entry(Arc::clone(value)).or_default().push(place);
            }
        }
        Self { filters, drawers, unfiled }
    }

    /// Appends the places of all filters that the event passes to `matches`, ascending and each once.
    pub fn matches(&self, event: &Event, matches: &mut Vec<usize>) {
        let start = matches.len();
        // A filter is in one drawer only, and there an event opens one folder at most: each comes up once.
        let filed = self.drawers.iter().filter_map(|drawer| {
            let value = clause::value(event, &drawer.attribute)?;
            drawer.by_value.get(value)
        });
        let candidates = filed.chain([&self.unfiled]).flatten().copied();
        matches.extend(candidates.filter(|place| self.filters[*place].matches(event)));
        matches[start..].sort_unstable();
    }
}
