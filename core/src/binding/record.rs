//! Events as records of the event log: the CloudEvents Kafka binding, with what travels beside the event.
//!
//! Records are written in binary mode; structured ones, from other producers on a topic of theirs, are read
//! too. Headers that begin with `trigon_` are Trigon's own. Unlike in HTTP, nothing is percent-encoded.
//! Reading shares the memory of the record.

use std::fmt::Write as _;

use bytes::Bytes;
use bytestring::ByteString;
use http::{HeaderName, HeaderValue};

use crate::binding::http::is_passed_through;
use crate::binding::known::{known, shared_name};
use crate::binding::{Mode, json};
use crate::event::{Attribute, Event, EventBuilder, InvalidEvent, ValueType};
use crate::name::TriggerId;
use crate::record::{Record, Timestamp};
use crate::ttl;

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
        let event = &self.event;
        let mut headers = Vec::with_capacity(event.attributes().len() + self.passed_through.len() + 3);
        let spec_version = Bytes::from_static(event.spec_version().as_str().as_bytes());
        headers.push((ByteString::from_static("ce_specversion"), spec_version));
        let mut key = None;
        for attribute in event.attributes() {
            let name = match (known(&attribute.name), &*attribute.name) {
                (Some(known), _) => ByteString::from_static(known.record),
                (None, "datacontenttype") => ByteString::from_static(CONTENT_TYPE),
                (None, name) => format!("{PREFIX}{name}").into(),
            };
            let value = attribute.value.as_bytes().clone();
            if attribute.name == "partitionkey" && !value.is_empty() {
                key = Some(value.clone());
            }
            headers.push((name, value));
        }
        let types = types(event);
        if !types.is_empty() {
            headers.push((ByteString::from_static(TYPES), types));
        }
        for (name, value) in &self.passed_through {
            headers.push((format!("{HEADER_PREFIX}{name}").into(), value.clone()));
        }
        if let Audience::Only(trigger) = &self.audience {
            headers.push((ByteString::from_static(ONLY), trigger.to_string().into()));
        }
        Record { key, headers, value: event.data().cloned(), timestamp: accepted }
    }

    /// Reads a record, in binary or structured mode (KAF-05).
    ///
    /// # Errors
    /// When the record is not a CloudEvent (KAF-11).
    pub fn decode(record: &Record) -> Result<Self, Undecodable> {
        let event = match Mode::of(record.header(CONTENT_TYPE).map(|value| &**value)) {
            Mode::Binary => decode_binary(record)?,
            Mode::Json => decode_json(record)?,
            Mode::JsonBatch => return Err(Undecodable::of("a batch in one record is not read")),
            Mode::Unknown => return Err(Undecodable::of("the event format is not known")),
        };
        let mut envelope = Self::of(event);
        for (name, value) in &record.headers {
            if &**name == ONLY {
                let only = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                let only = only.ok_or_else(|| Undecodable::of("trigon_only is not the name of a Trigger"))?;
                envelope.audience = Audience::Only(only);
            } else if let Some(header) = name.strip_prefix(HEADER_PREFIX)
                && is_sendable(header, value)
            {
                envelope.passed_through.push((name.slice_ref(header), value.clone()));
            }
        }
        Ok(envelope)
    }
}

/// The header that is the attribute `datacontenttype`.
const CONTENT_TYPE: &str = "content-type";

/// The prefix of the headers that are attributes.
const PREFIX: &str = "ce_";

/// The types of the attributes that are not strings, as in `retries=integer,urgent=boolean`.
const TYPES: &str = "trigon_types";

/// The types of an event whose only typed attribute is the one that the ingress sets, as nearly all are.
const HOPS_ALONE: &str = "knativebrokerttl=integer";

/// The prefix of the headers that were HTTP headers of the producer (HDR-05).
const HEADER_PREFIX: &str = "trigon_header_";

/// The Trigger that the record is for, when it is not for all of them.
const ONLY: &str = "trigon_only";

/// What [`TYPES`] says of an event.
fn types(event: &Event) -> Bytes {
    let typed = event.attributes().iter().filter(|attribute| attribute.value_type != ValueType::String);
    let mut first = typed.clone();
    match (first.next(), first.next()) {
        (None, _) => Bytes::new(),
        (Some(only), None) if only.name == ttl::ATTRIBUTE && only.value_type == ValueType::Integer => {
            Bytes::from_static(HOPS_ALONE.as_bytes())
        }
        _ => {
            let mut types = String::new();
            for attribute in typed {
                note_type(attribute, &mut types);
            }
            types.into()
        }
    }
}

fn note_type(attribute: &Attribute, types: &mut String) {
    let text = match attribute.value_type {
        ValueType::String => return,
        ValueType::Boolean => "boolean",
        ValueType::Integer => "integer",
    };
    let separator = if types.is_empty() { "" } else { "," };
    write!(types, "{separator}{}={text}", attribute.name).expect("a string is written to memory");
}

fn noted_type(types: &str, name: &str) -> ValueType {
    let noted = types.split(',').filter_map(|pair| pair.split_once('=')).find(|(noted, _)| *noted == name);
    match noted {
        Some((_, "boolean")) => ValueType::Boolean,
        Some((_, "integer")) => ValueType::Integer,
        _ => ValueType::String,
    }
}

fn decode_binary(record: &Record) -> Result<Event, Undecodable> {
    let types = record.header(TYPES).and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default();
    let mut builder = EventBuilder::with_capacity(record.headers.len());
    for (header, value) in &record.headers {
        let name = match header.strip_prefix(PREFIX) {
            Some(name) => name,
            None if &**header == CONTENT_TYPE => "datacontenttype",
            None => continue,
        };
        builder = match ByteString::try_from(value.clone()) {
            Ok(value) => {
                let shared = shared_name(name).unwrap_or_else(|| header.slice_ref(name));
                builder.typed(shared, value, noted_type(types, name))
            }
            Err(_) => builder.problem(name, "is not UTF-8"),
        };
    }
    if let Some(data) = &record.value {
        builder = builder.data(data.clone());
    }
    Ok(builder.build()?)
}

fn decode_json(record: &Record) -> Result<Event, Undecodable> {
    let value = record.value.as_ref().ok_or_else(|| Undecodable::of("a structured event without a value"))?;
    json::parse(value).map_err(|error| Undecodable { reason: error.to_string() })
}

/// Whether HTTP can carry the header: other producers may write what they like into a topic of theirs.
fn is_sendable(name: &str, value: &[u8]) -> bool {
    is_passed_through(name)
        && HeaderName::from_bytes(name.as_bytes()).is_ok_and(|header| header.as_str() == name)
        && HeaderValue::from_bytes(value).is_ok()
}

/// A record that is not a CloudEvent, and why not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Undecodable {
    /// `attribute id: is missing, every event needs one`
    pub reason: String,
}

impl Undecodable {
    fn of(reason: &str) -> Self {
        Self { reason: reason.to_owned() }
    }
}

impl From<InvalidEvent> for Undecodable {
    fn from(invalid: InvalidEvent) -> Self {
        Self { reason: invalid.to_string() }
    }
}

#[cfg(test)]
mod tests;
