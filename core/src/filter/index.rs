//! All filters of a Broker, compiled together: an event is matched once, whatever the number of Triggers.

use crate::event::Event;
use crate::filter::Filter;

/// Finds the filters that an event passes without evaluating all of them.
#[derive(Clone, Debug, Default)]
pub struct FilterIndex {}

impl FilterIndex {
    /// Compiles the filters; they are spoken of by their place in the iteration.
    pub fn new<'a>(filters: impl IntoIterator<Item = &'a Filter>) -> Self {
        unimplemented!("{}", filters.into_iter().count())
    }

    /// Appends the places of all filters that the event passes to `matches`, ascending and each once.
    pub fn matches(&self, event: &Event, matches: &mut Vec<usize>) {
        unimplemented!("{event:?} {matches:?}")
    }
}
