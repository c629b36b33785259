//! All filters of a Broker, compiled together: an event is matched once, whatever the number of Triggers.
//!
//! A filter that requires a value of an attribute, or its beginning, is filed under that text and evaluated only
//! for events that have it; of several requirements the one that the fewest filters share is chosen. The other
//! filters are evaluated for every event. Filing never decides: each candidate is evaluated in full.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::event::Event;
use crate::filter::requirement::{Key, Reach, Requirement};
use crate::filter::{Filter, clause};

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
    by_start: HashMap<Arc<str>, Vec<usize>>,
    /// The lengths in bytes of the keys of `by_start`; an event asks for one start of each.
    start_lengths: BTreeSet<usize>,
}

impl FilterIndex {
    /// Compiles the filters; they are spoken of by their place in the iteration.
    pub fn new<'a>(filters: impl IntoIterator<Item = &'a Filter>) -> Self {
        let filters: Vec<Filter> = filters.into_iter().cloned().collect();
        let requirements: Vec<_> = filters.iter().map(Filter::requirements).collect();
        let mut shares = HashMap::new();
        for Requirement { attribute, keys } in requirements.iter().flatten() {
            for key in keys {
                *shares.entry((*attribute, *key)).or_insert(0_usize) += 1;
            }
        }
        // Of equals a whole value is better than a beginning; then the first wins, which is the first by
        // name: so the drawers stay few.
        let crowd = |Requirement { attribute, keys }: &Requirement<'_>| -> (usize, bool) {
            let crowd = keys.iter().map(|key| shares[&(*attribute, *key)]).sum();
            (crowd, keys.iter().any(|key| key.reach == Reach::Start))
        };

        let mut drawers: Vec<Drawer> = Vec::new();
        let mut unfiled = Vec::new();
        for (place, required) in requirements.into_iter().enumerate() {
            let Some(Requirement { attribute, keys }) = required.into_iter().min_by_key(crowd) else {
                unfiled.push(place);
                continue;
            };
            let drawer = match drawers.iter().position(|drawer| drawer.attribute == *attribute) {
                Some(known) => &mut drawers[known],
                None => drawers.push_mut(Drawer::new(attribute)),
            };
            for key in keys {
                drawer.file(key, place);
            }
        }
        Self { filters, drawers, unfiled }
    }

    /// Appends the places of all filters that the event passes to `matches`, ascending and each once.
    pub fn matches(&self, event: &Event, matches: &mut Vec<usize>) {
        let start = matches.len();
        matches.extend(self.candidates(event).filter(|place| self.filters[*place].matches(event)));
        matches[start..].sort_unstable();
    }

    /// The filters that the event may pass, in no order. Each comes up once: a filter is in one drawer only, and
    /// no value fits two of its keys there.
    pub(super) fn candidates(&self, event: &Event) -> impl Iterator<Item = usize> {
        let filed = self.drawers.iter().filter_map(|drawer| {
            let value = clause::value(event, &drawer.attribute)?;
            Some(drawer.open(value))
        });
        filed.flatten().chain([&self.unfiled]).flatten().copied()
    }
}

impl Drawer {
    fn new(attribute: &Arc<str>) -> Self {
        Self {
            attribute: Arc::clone(attribute),
            by_value: HashMap::new(),
            by_start: HashMap::new(),
            start_lengths: BTreeSet::new(),
        }
    }

    fn file(&mut self, key: Key<'_>, place: usize) {
        let folders = match key.reach {
            Reach::Whole => &mut self.by_value,
            Reach::Start => {
                self.start_lengths.insert(key.text.len());
                &mut self.by_start
            }
        };
        folders.entry(Arc::clone(key.text)).or_default().push(place);
    }

    fn open(&self, value: &str) -> impl Iterator<Item = &Vec<usize>> {
        let starts = self.start_lengths.range(..=value.len()).filter_map(|length| value.get(..*length));
        self.by_value.get(value).into_iter().chain(starts.filter_map(|start| self.by_start.get(start)))
    }
}
