//! Which events a Trigger wants.

use crate::event::Event;

pub mod index;

pub use index::FilterIndex;

/// A compiled filter.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {}

impl Filter {
    /// Whether the event passes. Pure, total, and free of allocation.
    pub fn matches(&self, event: &Event) -> bool {
        unimplemented!("{event:?}")
    }
}
