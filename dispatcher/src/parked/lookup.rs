//! Which events of a Broker's topic were parked, and for whom.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use trigon_core::name::{Offset, Position, TriggerId};
use trigon_core::record::Timestamp;
use trigon_core::routing::Broker;
use trigon_eventlog::LogError;

use super::entry::Entry;
use super::ledger::each;
use super::{PAGE_RECORDS, Parked, ParkedError, partition_of};

/// That an event was parked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedPlace {
    /// Its offset in the parked topic.
    pub offset: Offset,
    /// Why it could not be delivered, in words.
    pub reason: String,
    /// When it was parked.
    pub parked_at: Timestamp,
    /// Whether it was sent again since.
    pub is_redriven: bool,
}

/// What is known of events that may have been parked.
#[derive(Clone, Debug, Default)]
pub struct Lookup {
    places: BTreeMap<(Position, TriggerId), ParkedPlace>,
    /// Whether all of the parked topic was looked at, and not only its newest [`PAGE_RECORDS`] records.
    pub is_whole: bool,
}

impl Lookup {
    /// Where the event was parked last for a Trigger.
    pub fn get(&self, original: Position, trigger: &TriggerId) -> Option<&ParkedPlace> {
        self.places.get(&(original, trigger.clone()))
    }
}

impl Parked {
    /// Looks for the events that stood at these places of the Broker's topic, those included that were sent again.
    ///
    /// # Errors
    /// When the parked topic cannot be read.
    pub async fn lookup(
        &self,
        broker: &Broker,
        originals: &BTreeSet<Position>,
    ) -> Result<Lookup, ParkedError> {
        let ledger = match self.ledger(broker).await {
            Ok(ledger) => ledger,
            // Nothing was ever parked.
            Err(ParkedError::Read(LogError::UnknownTopic(_))) => {
                return Ok(Lookup { is_whole: true, ..Lookup::default() });
            }
            Err(error) => return Err(error),
        };
        let extent = ledger.extent();
        let start = extent.start.max(Offset(extent.end.0.saturating_sub(PAGE_RECORDS)));
        let mut lookup = Lookup { is_whole: start == extent.start, ..Lookup::default() };
        let at = partition_of(&broker.parked_topic);
        each(&self.shared.log, &at, start..extent.end, |offset, record| {
            if let Entry::Event(event) = Entry::read(offset, record)
                && originals.contains(&event.original)
                && let Some(trigger) = event.trigger
            {
                let place = ParkedPlace {
                    offset,
                    reason: event.reason,
                    parked_at: event.parked_at,
                    is_redriven: ledger.is_redriven(offset),
                };
                lookup.places.insert((event.original, trigger), place);
            }
            ControlFlow::Continue(())
        })
        .await?;
        Ok(lookup)
    }
}
