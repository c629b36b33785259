//! The records of a parked topic: events with where they come from, and marks that say which were sent again.

use bytes::Bytes;
use bytestring::ByteString;
use trigon_core::binding::record::{Audience, Envelope};
use trigon_core::event::Event;
use trigon_core::event::EventBuilder;
use trigon_core::name::{Offset, PartitionId, Position, TopicPartition, TriggerId};
use trigon_core::record::{Record, Timestamp};

use super::ranges::Ranges;
use crate::attempt::Attempt;

const TRIGGER: &str = "trigon_parked_trigger";
const PARTITION: &str = "trigon_parked_partition";
const OFFSET: &str = "trigon_parked_offset";
const REASON: &str = "trigon_parked_reason";
const ADDED: &str = "trigon_parked_added";
const REDRIVEN: &str = "trigon_parked_redriven";

/// The prefix of the headers that were headers of a record that is not a CloudEvent.
const HEADER_PREFIX: &str = "trigon_parked_header_";

/// The key of such a record.
const KEY: &str = "trigon_parked_key";

/// The type of the event that such a record becomes when it is parked.
pub const UNDECODABLE: &str = "dev.trigon.record.undecodable";

/// One mark names at most this many events.
pub(super) const MARK_MAX: usize = 64;

/// A parked event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedEvent {
    /// Its offset in the parked topic, by which it is asked for.
    pub offset: Offset,
    /// Whose event it is; `None` for a record that is not a CloudEvent, which no Trigger has seen.
    pub trigger: Option<TriggerId>,
    /// Where it stood in the Broker's topic.
    pub original: Position,
    /// Why it could not be delivered, in words.
    pub reason: String,
    /// When it was parked.
    pub parked_at: Timestamp,
    /// The event with its error attributes, and what travels beside it.
    pub envelope: Envelope,
    /// The headers of a record that is not a CloudEvent, and its key as `key`.
    pub headers: Vec<(ByteString, Bytes)>,
    /// The attributes that were added or overwritten to say why it failed.
    added: Vec<String>,
}

/// What a record of a parked topic is.
#[derive(Debug)]
pub(super) enum Entry {
    Event(Box<ParkedEvent>),
    Redriven(TriggerId, Ranges),
    /// Somebody else wrote it.
    Foreign,
}

/// The record of an event that is parked.
pub(crate) fn record(attempt: &Attempt, event: &Event, partition: PartitionId, now: Timestamp) -> Record {
    let original = &attempt.envelope.event;
    let added: Vec<&str> = event
        .attributes()
        .iter()
        .filter(|attribute| original.attribute(&attribute.name) != Some(&*attribute.value))
        .map(|attribute| &*attribute.name)
        .collect();
    let envelope = Envelope {
        event: event.clone(),
        passed_through: attempt.envelope.passed_through.clone(),
        audience: Audience::Matching,
    };
    let mut record = envelope.encode(now);
    let reason = attempt.failure.as_deref().map_or("", |failure| failure.reason.as_str());
    note(&mut record, TRIGGER, attempt.trigger.id.to_string());
    note(&mut record, PARTITION, partition.to_string());
    note(&mut record, OFFSET, attempt.id.offset.to_string());
    note(&mut record, REASON, reason.to_owned());
    note(&mut record, ADDED, added.join(","));
    record
}

/// The parked form of a record that is not a CloudEvent: an event that carries its value, with its headers beside it.
pub(crate) fn undecodable(
    at: &TopicPartition,
    offset: Offset,
    foreign: &Record,
    reason: &str,
    now: Timestamp,
) -> Record {
    let event = |content_type: Option<&str>| {
        let mut builder = EventBuilder::new()
            .spec_version("1.0")
            .attribute("id", format!("{}-{offset}", at.partition))
            .attribute("source", format!("/topics/{}", at.topic))
            .attribute("type", UNDECODABLE);
        if let Some(content_type) = content_type {
            builder = builder.attribute("datacontenttype", content_type.to_owned());
        }
        if let Some(value) = &foreign.value {
            builder = builder.data(value.clone());
        }
        builder.build()
    };
    // One that announces a CloudEvent would have the parked record read as one.
    let content_type = text(foreign, "content-type")
        .filter(|text| !text.trim_start().to_ascii_lowercase().starts_with("application/cloudevents"));
    let event = event(content_type)
        .or_else(|_| event(None))
        .expect("the name of a topic, numbers and constants make a valid event");
    let mut parked = Envelope::of(event).encode(now);
    note(&mut parked, PARTITION, at.partition.to_string());
    note(&mut parked, OFFSET, offset.to_string());
    note(&mut parked, REASON, reason.to_owned());
    note(&mut parked, ADDED, String::new());
    if let Some(key) = &foreign.key {
        parked.headers.push((ByteString::from_static(KEY), key.clone()));
    }
    for (name, value) in &foreign.headers {
        parked.headers.push((format!("{HEADER_PREFIX}{name}").into(), value.clone()));
    }
    parked
}

/// Takes from the parked form of a record what makes it too large for the log.
pub(crate) fn strip(parked: &mut Record) {
    let size = parked.value.as_ref().map_or(0, Bytes::len);
    parked.value = None;
    parked.headers.retain(|(name, _)| !name.starts_with(HEADER_PREFIX) && &**name != KEY);
    if let Some((_, reason)) = parked.headers.iter_mut().find(|(name, _)| &**name == REASON) {
        let told = String::from_utf8_lossy(reason);
        *reason = format!("{told} (its {size} bytes of data are too large to be parked)").into();
    }
}

/// The record that marks parked events of a Trigger as sent again.
pub(super) fn mark(trigger: &TriggerId, offsets: &Ranges, now: Timestamp) -> Record {
    let mut record = Record { timestamp: now, ..Record::default() };
    note(&mut record, TRIGGER, trigger.to_string());
    note(&mut record, REDRIVEN, offsets.to_string());
    record
}

impl Entry {
    pub(super) fn read(offset: Offset, record: &Record) -> Self {
        Self::parse(offset, record).unwrap_or(Self::Foreign)
    }

    fn parse(offset: Offset, record: &Record) -> Option<Self> {
        let trigger: Option<TriggerId> = match record.header(TRIGGER) {
            Some(_) => Some(text(record, TRIGGER)?.parse().ok()?),
            None => None,
        };
        if let Some(offsets) = text(record, REDRIVEN) {
            return Some(Self::Redriven(trigger?, Ranges::parse(offsets, MARK_MAX as u64)?));
        }
        let original = Position {
            partition: PartitionId(text(record, PARTITION)?.parse().ok()?),
            offset: Offset(text(record, OFFSET)?.parse().ok()?),
        };
        let added = text(record, ADDED)?;
        Some(Self::Event(Box::new(ParkedEvent {
            offset,
            trigger,
            original,
            reason: text(record, REASON)?.to_owned(),
            parked_at: record.timestamp,
            envelope: Envelope::decode(record).ok()?,
            headers: foreign_headers(record),
            added: added.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        })))
    }
}

impl ParkedEvent {
    /// The event as it is sent again: to this Trigger alone, without the error attributes.
    pub(super) fn again(&self, trigger: &TriggerId) -> Envelope {
        let mut builder = self.envelope.event.clone().into_builder();
        for name in &self.added {
            builder = builder.remove(name);
        }
        // Only optional attributes are ever added, so what is left was valid before it was parked.
        let event = builder.build().unwrap_or_else(|_| self.envelope.event.clone());
        Envelope {
            event,
            passed_through: self.envelope.passed_through.clone(),
            audience: Audience::Only(trigger.clone()),
        }
    }
}

fn note(record: &mut Record, name: &'static str, value: String) {
    record.headers.push((ByteString::from_static(name), Bytes::from(value)));
}

fn foreign_headers(record: &Record) -> Vec<(ByteString, Bytes)> {
    let headers = record.headers.iter().filter_map(|(name, value)| match name.strip_prefix(HEADER_PREFIX) {
        Some(own) => Some((name.slice_ref(own), value.clone())),
        None => (&**name == KEY).then(|| (ByteString::from_static("key"), value.clone())),
    });
    headers.collect()
}

fn text<'a>(record: &'a Record, name: &str) -> Option<&'a str> {
    std::str::from_utf8(record.header(name)?).ok()
}
