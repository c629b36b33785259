//! What filters mean, in tables, each with the events that must not pass; here are the words that the tables
//! are written in.

use std::collections::BTreeMap;

use super::{Filter, FilterIndex};
use crate::event::{Event, EventBuilder};

mod attributes;
mod cesql;
mod compiled;
mod dialects;
mod explain;

/// An event of version 1.0 with id, source and type unless given.
fn event(attributes: &[(&str, &str)]) -> Event {
    event_of("1.0", attributes)
}

fn event_of(version: &str, attributes: &[(&str, &str)]) -> Event {
    let defaults = [("id", "1"), ("source", "/orders"), ("type", "order.created")];
    let missing = defaults.iter().filter(|(name, _)| attributes.iter().all(|(given, _)| given != name));
    let builder = EventBuilder::default().spec_version(version);
    missing
        .chain(attributes)
        .fold(builder, |builder, (name, value)| builder.attribute(*name, *value))
        .build()
        .expect("a valid event")
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn legacy(pairs: &[(&str, &str)]) -> Filter {
    Filter::attributes(&map(pairs)).expect("valid names")
}

fn exact(pairs: &[(&str, &str)]) -> Filter {
    Filter::exact(&map(pairs)).expect("valid names")
}

fn prefix(pairs: &[(&str, &str)]) -> Filter {
    Filter::prefix(&map(pairs)).expect("valid names")
}

fn suffix(pairs: &[(&str, &str)]) -> Filter {
    Filter::suffix(&map(pairs)).expect("valid names")
}

fn all<const N: usize>(filters: [Filter; N]) -> Filter {
    Filter::all(filters).expect("a small filter")
}

fn any<const N: usize>(filters: [Filter; N]) -> Filter {
    Filter::any(filters).expect("a small filter")
}

fn not(filter: Filter) -> Filter {
    Filter::not(filter).expect("a small filter")
}

/// A filter that passes every event that these tables send, and is no no-op.
fn pass() -> Filter {
    exact(&[("id", "1")])
}

/// A filter that passes no event that these tables send, and is not invalid.
fn fail() -> Filter {
    exact(&[("id", "2")])
}

#[track_caller]
fn assert_verdicts(filter: &Filter, cases: &[(&[(&str, &str)], bool)]) {
    for (attributes, passes) in cases {
        let event = event(attributes);
        assert_eq!(filter.matches(&event), *passes, "{filter}: {attributes:?}\n{}", filter.explain(&event));
        assert_eq!(filter.explain(&event).passes, *passes, "{filter}: {attributes:?}");
    }
}

/// What every filter passes of every event, by the one and by the index; `expected` has a row per event.
#[track_caller]
fn assert_matrix<const FILTERS: usize>(
    filters: &[Filter; FILTERS],
    events: &[Event],
    expected: &[[u8; FILTERS]],
) {
    let index = FilterIndex::new(filters);
    assert_eq!(events.len(), expected.len());
    for (event, expected) in events.iter().zip(expected) {
        let verdicts = filters.each_ref().map(|filter| u8::from(filter.matches(event)));
        assert_eq!(verdicts, *expected, "{event:?}");
        let mut found = Vec::new();
        index.matches(event, &mut found);
        let places: Vec<_> = (0..FILTERS).filter(|place| expected[*place] == 1).collect();
        assert_eq!(found, places, "{event:?}");
    }
}
