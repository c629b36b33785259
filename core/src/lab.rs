//! The filter lab: what new filters would have done with events that really came, beside those in force.
//!
//! A [`Lab`] is shown events, oldest first, and ends in a [`Comparison`] per filter: counts of all of them, and
//! samples of a few. Pure; where the events come from is not known here. What it keeps does not grow with their
//! number: at most [`MAX_SAMPLES`] of a kind are shown and twice as many held, texts are cut at [`MAX_SHOWN`]
//! characters, and at most [`MAX_NAMES`] names of attributes are remembered.

use std::collections::BTreeSet;

use bytestring::ByteString;

use crate::event::Event;
use crate::filter::{Filter, Mention};
use crate::name::Position;
use crate::record::Timestamp;
use crate::suggest::nearest;

mod reason;
mod sample;
mod warning;

pub use sample::{MAX_SAMPLES, MAX_SHOWN, Sample};
use sample::{Spread, cut};
pub use warning::Warning;

/// So many different names of attributes are remembered, to suggest one for a name that no event has.
pub const MAX_NAMES: usize = 1_000;

/// A filter to try, and what it is to replace.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The new filter.
    pub filter: Filter,
    /// The one in force; `None` for a Trigger that there is not yet.
    pub running: Option<Filter>,
}

/// An event and where it stands in the log.
#[derive(Clone, Copy, Debug)]
pub struct Placed<'a> {
    /// Its partition and offset.
    pub position: Position,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// The event.
    pub event: &'a Event,
}

/// Shows events to filters.
#[derive(Debug)]
pub struct Lab {
    trials: Vec<Trial>,
    events: u64,
    names: BTreeSet<ByteString>,
}

/// What a filter would have done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// The filter in words.
    pub filter: String,
    /// The filter in force in words; `None` for a Trigger that there is not yet.
    pub running: Option<String>,
    /// How many of the events it would have matched.
    pub matched: u64,
    /// How many the one in force matches, with its present text; 0 where there is none.
    pub matched_by_running: u64,
    /// Events that it matches and the one in force does not.
    pub gained: Group,
    /// Events that the one in force matches and it does not.
    pub lost: Group,
    /// When it matches nothing, events that it does not match.
    pub unmatched: Vec<Sample>,
    /// What its author may not expect.
    pub warnings: Vec<Warning>,
}

/// Events of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// How many there are.
    pub count: u64,
    /// A few of them, spread evenly from the first to the last.
    pub samples: Vec<Sample>,
}

/// One filter under trial.
#[derive(Debug)]
struct Trial {
    change: Change,
    matched: u64,
    matched_by_running: u64,
    gained: Spread,
    lost: Spread,
    unmatched: Spread,
    failed: u64,
    first_error: Option<String>,
    /// Attributes that the filter speaks of and no event has had so far.
    unseen: Vec<Mention>,
}

impl Lab {
    /// A lab that has seen nothing yet.
    pub fn new(changes: impl IntoIterator<Item = Change>) -> Self {
        Self { trials: changes.into_iter().map(Trial::new).collect(), events: 0, names: BTreeSet::new() }
    }

    /// How many filters are tried.
    pub fn filters(&self) -> usize {
        self.trials.len()
    }

    /// How many events were shown.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Shows an event to all filters.
    pub fn show(&mut self, placed: Placed<'_>) {
        self.events += 1;
        for attribute in placed.event.attributes() {
            if self.names.len() < MAX_NAMES && !self.names.contains(&attribute.name) {
                // Sharing the name would keep the record that it is a part of.
                self.names.insert(ByteString::from(&*attribute.name));
            }
        }
        self.trials.iter_mut().for_each(|trial| trial.show(placed));
    }

    /// What came of it, in the order of the changes.
    pub fn finish(self) -> Vec<Comparison> {
        let Self { trials, events, names } = self;
        trials.into_iter().map(|trial| trial.finish(events, &names)).collect()
    }
}

impl Trial {
    fn new(change: Change) -> Self {
        Self {
            unseen: change.filter.mentions(),
            change,
            matched: 0,
            matched_by_running: 0,
            gained: Spread::default(),
            lost: Spread::default(),
            unmatched: Spread::default(),
            failed: 0,
            first_error: None,
        }
    }

    fn show(&mut self, placed: Placed<'_>) {
        let Change { filter, running } = &self.change;
        let event = placed.event;
        self.unseen.retain(|mention| !mention.is_in(event));
        let verdict = filter.verdict(event);
        if verdict.is_failed() {
            self.failed += 1;
            if self.first_error.is_none() {
                self.first_error = verdict.error(event).map(|error| cut(&error.to_string()));
            }
        }
        let passed_before = running.as_ref().is_some_and(|running| running.matches(event));
        self.matched += u64::from(verdict.passes);
        self.matched_by_running += u64::from(passed_before);
        match (passed_before, verdict.passes) {
            (false, true) => self.gained.offer(|| Sample::of(placed, running.as_ref())),
            (true, false) => self.lost.offer(|| Sample::of(placed, Some(filter))),
            (true, true) | (false, false) => {}
        }
        if self.matched == 0 {
            self.unmatched.offer(|| Sample::of(placed, Some(filter)));
        }
    }

    fn finish(self, events: u64, names: &BTreeSet<ByteString>) -> Comparison {
        let Change { filter, running } = &self.change;
        let mut warnings = Vec::new();
        if events > 0 {
            if self.matched == 0 {
                warnings.push(Warning::MatchesNothing);
            }
            if self.matched == events && *filter != Filter::everything() {
                warnings.push(Warning::MatchesEverything);
            }
            if let Some(first) = self.first_error {
                warnings.push(Warning::Errors { events: self.failed, first });
            }
            let mut named = BTreeSet::new();
            let unseen = self.unseen.iter().map(Mention::name).filter(|name| named.insert(*name));
            warnings.extend(unseen.map(|name| {
                let near = nearest(name, names.iter().map(|name| &**name)).filter(|near| *near != name);
                Warning::UnknownAttribute { name: name.to_owned(), nearest: near.map(cut) }
            }));
        }
        Comparison {
            filter: cut(&filter.to_string()),
            running: running.as_ref().map(|running| cut(&running.to_string())),
            matched: self.matched,
            matched_by_running: self.matched_by_running,
            gained: self.gained.into_group(),
            lost: self.lost.into_group(),
            unmatched: if self.matched == 0 { self.unmatched.into_group().samples } else { Vec::new() },
            warnings,
        }
    }
}

#[cfg(test)]
mod tests;
