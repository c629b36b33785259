//! Events as records of the event log.

use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;

use crate::event::Event;
use crate::name::TriggerId;
use crate::record::{Record, Timestamp};

/// An event with what travels beside it through the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The event.
    pub event: Event,
    /// HTTP headers of the producer's request that subscribers get too (HDR-01), by their lower-case name.
    pub passed_through: Vec<(ByteString, Bytes)>,
    /// Who may get the event.
    pub audience: Audience,
}

/// Who may get an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Audience {
    /// Every Trigger whose filter matches.
    #[default]
    Matching,
    /// One Trigger, whatever its filter says: the event was parked for it and is sent again.
    Only(TriggerId),
}

impl Envelope {
    /// The event alone, for everyone.
    pub fn of(event: Event) -> Self {
        Self { event, passed_through: Vec::new(), audience: Audience::Matching }
    }

    /// Writes the record that [`decode`](Self::decode) reads; the key is the `partitionkey` (KAF-09).
    pub fn encode(&self, accepted: Timestamp) -> Record {
        unimplemented!("{accepted:?}")
    }

    /// Reads a record, in binary or structured mode (KAF-05).
    ///
    /// # Errors
    /// When the record is not a CloudEvent (KAF-11).
    pub fn decode(record: &Record) -> Result<Self, Undecodable> {
        unimplemented!("{record:?}")
    }
}

/// A record that is not a CloudEvent, and why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecodable {
    /// `attribute id is missing`
    pub reason: String,
}

impl fmt::Display for Undecodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}
