//! The CloudEvents JSON format, both ways.
//!
//! JSON data is kept as the text that it was, so that no number loses a digit (JSON-07). What is read shares
//! the memory of the message wherever JSON's escapes permit.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use bytestring::ByteString;
use mediatype::{MediaType, ReadParams as _};
use serde::Deserialize;
use serde::de::{self, Deserializer as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::binding::known::shared_name;
use crate::event::{Event, EventBuilder, InvalidEvent, Shown, SpecVersion, ValueType};

/// The media type of one event.
pub const CONTENT_TYPE: &str = "application/cloudevents+json";

/// The media type of a batch.
pub const BATCH_CONTENT_TYPE: &str = "application/cloudevents-batch+json";

/// A text that is not of the JSON format: what, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(String);

impl From<serde_json::Error> for Malformed {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
    }
}

/// Why a text is not an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// It is not a JSON object.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Its members are not a CloudEvent.
    #[error(transparent)]
    Invalid(#[from] InvalidEvent),
}

/// Why a text is not a batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// It is not a JSON array.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// One of its elements is not an event.
    #[error(transparent)]
    Element(#[from] InvalidElement),
}

/// The first element of a batch that is not an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidElement {
    /// Its place, counted from 0.
    pub index: usize,
    /// Its attribute `id`, when it has one.
    pub id: Option<String>,
    /// What is wrong with it.
    pub error: ParseError,
}

impl fmt::Display for InvalidElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {} of the batch", self.index)?;
        if let Some(id) = &self.id {
            write!(f, " (id \"{}\")", Shown(id))?;
        }
        write!(f, " is not valid: {}", self.error)
    }
}

impl std::error::Error for InvalidElement {}

/// Reads one event.
///
/// # Errors
/// When the text is not JSON, or not a valid CloudEvent.
pub fn parse(text: &Bytes) -> Result<Event, ParseError> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let members = json.deserialize_map(MembersVisitor).map_err(Malformed::from)?;
    json.end().map_err(Malformed::from)?;
    Ok(builder(members, text).build()?)
}

/// Reads a batch, up to the first event that is not valid.
///
/// # Errors
/// When the text is not a JSON array of valid CloudEvents.
pub fn parse_batch(text: &Bytes) -> Result<Vec<Event>, BatchError> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let mut invalid = None;
    let events = json.deserialize_seq(BatchVisitor { text, invalid: &mut invalid });
    if let Some(element) = invalid {
        return Err(BatchError::Element(element));
    }
    let events = events.map_err(Malformed::from)?;
    json.end().map_err(Malformed::from)?;
    Ok(events)
}

/// Writes one event.
pub fn write(event: &Event) -> Bytes {
    let mut text = Vec::with_capacity(event.size() + 32 * (event.attributes().len() + 2));
    write_to(event, &mut text);
    text.into()
}

/// Writes a batch.
pub fn write_batch<'a>(events: impl IntoIterator<Item = &'a Event>) -> Bytes {
    let mut text = vec![b'['];
    for (n, event) in events.into_iter().enumerate() {
        if n > 0 {
            text.push(b',');
        }
        write_to(event, &mut text);
    }
    text.push(b']');
    text.into()
}

/// The members of an object, their values unread.
type Members<'a> = Vec<(Cow<'a, str>, &'a RawValue)>;

struct MembersVisitor;

impl<'a> Visitor<'a> for MembersVisitor {
    type Value = Members<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object with the event's attributes")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Members<'a>, A::Error> {
        let mut members = Vec::with_capacity(12);
        while let Some((Text(name), value)) = map.next_entry()? {
            members.push((name, value));
        }
        Ok(members)
    }
}

/// A JSON string, borrowed unless it has escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

struct BatchVisitor<'b> {
    text: &'b Bytes,
    invalid: &'b mut Option<InvalidElement>,
}

impl<'a> Visitor<'a> for BatchVisitor<'_> {
    type Value = Vec<Event>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON array of events")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut elements: A) -> Result<Vec<Event>, A::Error> {
        let mut events = Vec::new();
        while let Some(element) = elements.next_element::<&RawValue>()? {
            match parse_element(element, self.text) {
                Ok(event) => events.push(event),
                Err((id, error)) => {
                    *self.invalid = Some(InvalidElement { index: events.len(), id, error });
                    return Err(de::Error::custom("an element is not an event"));
                }
            }
        }
        Ok(events)
    }
}

fn parse_element(element: &RawValue, text: &Bytes) -> Result<Event, (Option<String>, ParseError)> {
    let mut json = serde_json::Deserializer::from_str(element.get());
    let members = match json.deserialize_map(MembersVisitor) {
        Ok(members) => members,
        Err(error) => return Err((None, Malformed::from(error).into())),
    };
    let builder = builder(members, text);
    let id = builder.value("id").cloned();
    builder.build().map_err(|invalid| (id.map(|id| id.to_string()), invalid.into()))
}

fn builder(members: Members<'_>, text: &Bytes) -> EventBuilder {
    let mut builder = refuse_repeated_nulls(&members, EventBuilder::with_capacity(members.len()));
    let (mut data, mut data_base64) = (None, None);
    for (name, value) in members {
        let slot = match &*name {
            "data" => &mut data,
            "data_base64" => &mut data_base64,
            // JSON-02: an attribute that is null is absent.
            _ if is_null(value) => continue,
            _ => {
                builder = add_attribute(builder, name, value, text);
                continue;
            }
        };
        if slot.replace(value).is_some() {
            builder = builder.problem("data", TWICE);
        }
    }
    match (data, data_base64.filter(|value| !is_null(value))) {
        (None, None) => builder,
        (Some(value), None) => add_data(builder, value, text),
        (None, Some(value)) => add_base64(builder, value, text),
        (Some(_), Some(_)) => builder.problem("data", "data and data_base64 exclude each other, send one"),
    }
}

/// A member that is null sets nothing, so the builder does not see that it occurs beside another.
fn refuse_repeated_nulls(members: &Members<'_>, mut builder: EventBuilder) -> EventBuilder {
    let is_attribute = |name: &str| !matches!(name, "data" | "data_base64");
    let nulls = members.iter().filter(|(name, value)| is_null(value) && is_attribute(name));
    let nulls: HashSet<&str> = nulls.map(|(name, _)| &**name).collect();
    if nulls.is_empty() {
        return builder;
    }
    let mut seen = HashSet::with_capacity(nulls.len());
    for (name, _) in members {
        if nulls.contains(&**name) && !seen.insert(&**name) {
            builder = builder.problem(name, TWICE);
        }
    }
    builder
}

fn add_attribute(builder: EventBuilder, name: Cow<'_, str>, value: &RawValue, text: &Bytes) -> EventBuilder {
    let value_type = match value.get().as_bytes().first() {
        Some(b'"') => ValueType::String,
        Some(b't' | b'f') => ValueType::Boolean,
        Some(b'-' | b'0'..=b'9') => ValueType::Integer,
        _ => return builder.problem(&name, "objects and arrays are no attribute types, send a string"),
    };
    let value = match value_type {
        ValueType::String => match string(value, text) {
            Some(value) => value,
            None => return builder.problem(&name, LONE_SURROGATE),
        },
        ValueType::Boolean | ValueType::Integer => slice(value.get(), text),
    };
    let name = shared_name(&name).unwrap_or_else(|| share(name, text));
    builder.typed(name, value, value_type)
}

/// JSON-04 to JSON-06
fn add_data(builder: EventBuilder, value: &RawValue, text: &Bytes) -> EventBuilder {
    let content_type = builder.value("datacontenttype");
    let implied = content_type.is_none();
    if builder.is_v03() && builder.value("datacontentencoding").is_some_and(|encoding| is_base64(encoding)) {
        // CE-13: the text stays encoded, and the attribute says so wherever the event goes.
        let builder = match string(value, text) {
            Some(data) => builder.data(data.into_bytes()),
            None => builder.problem("data", "must be a JSON string, because datacontentencoding is base64"),
        };
        return if implied { imply_json(builder) } else { builder };
    }
    if implied {
        return imply_json(builder.data(slice(value.get(), text).into_bytes()));
    }
    if content_type.is_some_and(|content_type| is_json(content_type)) {
        return builder.data(slice(value.get(), text).into_bytes());
    }
    if is_null(value) {
        return builder;
    }
    match string(value, text) {
        Some(data) => builder.data(data.into_bytes()),
        None => builder.problem("data", "must be a JSON string, because datacontenttype is not JSON"),
    }
}

/// JSON-03
fn add_base64(builder: EventBuilder, value: &RawValue, text: &Bytes) -> EventBuilder {
    if builder.is_v03() {
        return builder
            .problem("data", "CloudEvents 0.3 has no data_base64, use data and datacontentencoding");
    }
    match string(value, text).and_then(|encoded| BASE64.decode(encoded).ok()) {
        Some(data) => builder.data(data),
        None => builder.problem("data", "data_base64 must be a JSON string in base64 (RFC 4648, section 4)"),
    }
}

/// CE-10: other encodings imply nothing, so what JSON implies is said from now on.
fn imply_json(builder: EventBuilder) -> EventBuilder {
    builder.attribute(ByteString::from_static("datacontenttype"), ByteString::from_static("application/json"))
}

/// As the builder says it of attributes.
const TWICE: &str = "occurs more than once, send it once";

const LONE_SURROGATE: &str = "is not Unicode text, a surrogate stands alone";

fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}

/// The text of a JSON string; `None` when the value is none, or holds a lone surrogate (CE-06).
fn string(value: &RawValue, text: &Bytes) -> Option<ByteString> {
    let Text(string) = serde_json::from_str(value.get()).ok()?;
    Some(share(string, text))
}

fn share(string: Cow<'_, str>, text: &Bytes) -> ByteString {
    match string {
        Cow::Borrowed(string) => slice(string, text),
        Cow::Owned(string) => string.into(),
    }
}

/// A part of the text, sharing its memory.
fn slice(part: &str, text: &Bytes) -> ByteString {
    ByteString::try_from(text.slice_ref(part.as_bytes())).expect("a part of a str is UTF-8")
}

/// Which member the data is written as.
enum Data<'a> {
    Absent,
    Json(&'a RawValue),
    Text(&'a str),
    Base64(&'a Bytes),
}

impl<'a> Data<'a> {
    fn of(event: &'a Event) -> Self {
        let Some(data) = event.data() else { return Self::Absent };
        let is_encoded = event.spec_version() == SpecVersion::V03
            && event.attribute("datacontentencoding").is_some_and(is_base64);
        let content_type = event.attribute("datacontenttype");
        if !is_encoded && content_type.is_some_and(is_json) {
            return serde_json::from_slice(data).map_or(Self::Base64(data), Self::Json);
        }
        match std::str::from_utf8(data) {
            Ok(text) if is_encoded || content_type.is_some_and(is_text) => Self::Text(text),
            _ => Self::Base64(data),
        }
    }
}

fn write_to(event: &Event, text: &mut Vec<u8>) {
    let version = event.spec_version();
    let data = Data::of(event);
    let is_v03_base64 = version == SpecVersion::V03 && matches!(data, Data::Base64(_));
    text.extend_from_slice(b"{\"specversion\":");
    write_string(version.as_str(), text);
    for attribute in event.attributes() {
        if is_v03_base64 && attribute.name == "datacontentencoding" {
            continue;
        }
        write_name(&attribute.name, text);
        match attribute.value_type {
            ValueType::String => write_string(&attribute.value, text),
            ValueType::Boolean | ValueType::Integer => text.extend_from_slice(attribute.value.as_bytes()),
        }
    }
    match data {
        Data::Absent => {}
        Data::Json(json) => {
            write_name("data", text);
            text.extend_from_slice(json.get().as_bytes());
        }
        Data::Text(string) => {
            write_name("data", text);
            write_string(string, text);
        }
        Data::Base64(bytes) => {
            if is_v03_base64 {
                if event.attribute("datacontenttype").is_none() {
                    // In 0.3 a reader would take it for JSON.
                    write_name("datacontenttype", text);
                    write_string("application/octet-stream", text);
                }
                write_name("datacontentencoding", text);
                write_string("base64", text);
            }
            write_name(if is_v03_base64 { "data" } else { "data_base64" }, text);
            // Nothing in base64 needs an escape.
            text.push(b'"');
            text.extend_from_slice(BASE64.encode(bytes).as_bytes());
            text.push(b'"');
        }
    }
    text.push(b'}');
}

fn write_name(name: &str, text: &mut Vec<u8>) {
    text.push(b',');
    write_string(name, text);
    text.push(b':');
}

fn write_string(string: &str, text: &mut Vec<u8>) {
    serde_json::to_writer(text, string).expect("a string is written to memory");
}

fn is_base64(encoding: &str) -> bool {
    encoding.eq_ignore_ascii_case("base64")
}

/// Whether data of this type is a JSON value: `*/json` and `*/*+json`, in any case (JSON-04, CE-07).
fn is_json(content_type: &str) -> bool {
    if content_type == "application/json" {
        return true;
    }
    MediaType::parse(content_type)
        .is_ok_and(|parsed| parsed.subty == "json" || parsed.suffix.is_some_and(|suffix| suffix == "json"))
}

/// Whether data of this type, which is not JSON, is text that people write as a string (JSON-05). Where this
/// does not know it, base64 is never wrong.
fn is_text(content_type: &str) -> bool {
    let Ok(parsed) = MediaType::parse(content_type) else { return false };
    let is_utf8 = parsed.get_param(mediatype::names::CHARSET).is_none_or(|charset| {
        let charset = charset.unquoted_str();
        charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("us-ascii")
    });
    let format = parsed.suffix.unwrap_or(parsed.subty);
    let is_textual =
        ["xml", "yaml", "javascript", "x-www-form-urlencoded"].iter().any(|name| format == *name);
    is_utf8 && (parsed.ty == "text" || is_textual)
}

#[cfg(test)]
mod sdk;
#[cfg(test)]
mod tests;
