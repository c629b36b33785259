//! The CloudEvents HTTP binding, both ways.
//!
//! Decoding takes what producers send, in binary, structured and batched mode, and says what is wrong with it.
//! Encoding writes what subscribers get, in binary or structured mode; a batch is never written, because
//! nobody solicits one (HTTP-13). Data is never looked into.

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode, utf8_percent_encode};

use crate::binding::known::{known, shared_name};
use crate::binding::{Mode, json};
use crate::delivery::Format;
use crate::event::{Event, EventBuilder, InvalidEvent};

/// What a request holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// One event, in binary or structured mode.
    One(Event),
    /// A batch, in its order; it may be empty (JSON-08).
    Batch(Vec<Event>),
}

/// Why a message is not an event. The text is for the sender of the message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// There is no sign of a CloudEvent: for a producer 400 (IN-06).
    #[error(
        "this is not a CloudEvent: send its attributes as headers (ce-specversion: 1.0, ce-id, ce-source, \
         ce-type), or all of it as JSON with content-type application/cloudevents+json"
    )]
    NotAnEvent,
    /// An event format that is not read here: for a producer 415.
    #[error("content-type {found} is not read here, use {}", supported.join(" or "))]
    UnsupportedFormat {
        /// The content type as it came.
        found: String,
        /// Those that could be used.
        supported: &'static [&'static str],
    },
    /// The attributes are wrong: for a producer 400.
    #[error("the CloudEvent is not valid: {0}")]
    Invalid(InvalidEvent),
    /// The body is not the JSON format: for a producer 400.
    #[error("the body is not a CloudEvent in JSON: {0}")]
    Malformed(json::Malformed),
    /// One event of a batch is wrong: for a producer 400, and no event of the batch is taken.
    #[error("{0}; no event of the batch was taken")]
    InBatch(json::InvalidElement),
}

/// Reads a request.
///
/// # Errors
/// When it does not hold valid events; see [`DecodeError`].
pub fn decode(headers: &HeaderMap, body: Bytes) -> Result<Incoming, DecodeError> {
    match mode(headers) {
        Mode::Binary => decode_binary(headers, body).map(Incoming::One),
        Mode::Json => decode_json(&body).map(Incoming::One),
        Mode::JsonBatch => match json::parse_batch(&body) {
            Ok(events) => Ok(Incoming::Batch(events)),
            Err(json::BatchError::Malformed(malformed)) => Err(DecodeError::Malformed(malformed)),
            Err(json::BatchError::Element(element)) => Err(DecodeError::InBatch(element)),
        },
        Mode::Unknown => Err(unsupported(headers, &[json::CONTENT_TYPE, json::BATCH_CONTENT_TYPE])),
    }
}

/// Reads a subscriber's answer; `None` when it holds no event, which is its right (RPL-04).
///
/// # Errors
/// When there is something in the answer that is not one valid event (RPL-05 to RPL-07, RPL-12).
pub fn decode_reply(headers: &HeaderMap, body: Bytes) -> Result<Option<Event>, DecodeError> {
    if body.is_empty() && !has_attributes(headers) {
        return Ok(None);
    }
    match mode(headers) {
        Mode::Binary => decode_binary(headers, body).map(Some),
        Mode::Json => decode_json(&body).map(Some),
        Mode::JsonBatch | Mode::Unknown => Err(unsupported(headers, &[json::CONTENT_TYPE])),
    }
}

/// Writes an event as the headers and the body of a message.
pub fn encode(event: &Event, format: Format) -> (HeaderMap, Bytes) {
    match format {
        Format::Binary => (attribute_headers(event), event.data().cloned().unwrap_or_default()),
        Format::Json => {
            let mut headers = HeaderMap::with_capacity(1);
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(json::CONTENT_TYPE));
            (headers, json::write(event))
        }
    }
}

/// The headers of a request or a reply that travel on with its event, beside the attributes (HDR-01, HDR-03).
pub fn passed_through(headers: &HeaderMap) -> Vec<(ByteString, Bytes)> {
    headers
        .iter()
        .filter(|(name, _)| is_passed_through(name.as_str()))
        .map(|(name, value)| (name.as_str().into(), Bytes::copy_from_slice(value.as_bytes())))
        .collect()
}

/// Whether a header of this lower-case name travels on. Attributes do not: they are in the event (HDR-04).
pub(super) fn is_passed_through(name: &str) -> bool {
    matches!(name, "x-request-id" | "retry-after")
        || name.starts_with("knative-")
        || name.starts_with("x-b3-")
}

/// The prefix of the headers that are attributes.
const PREFIX: &str = "ce-";

fn mode(headers: &HeaderMap) -> Mode {
    Mode::of(headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes))
}

fn has_attributes(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name.as_str().starts_with(PREFIX))
}

fn unsupported(headers: &HeaderMap, supported: &'static [&'static str]) -> DecodeError {
    let found = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    DecodeError::UnsupportedFormat { found: found.escape_ascii().to_string(), supported }
}

fn decode_json(body: &Bytes) -> Result<Event, DecodeError> {
    json::parse(body).map_err(|error| match error {
        json::ParseError::Malformed(malformed) => DecodeError::Malformed(malformed),
        json::ParseError::Invalid(invalid) => DecodeError::Invalid(invalid),
    })
}

fn decode_binary(headers: &HeaderMap, body: Bytes) -> Result<Event, DecodeError> {
    // All values (and names that are not known) share one piece of memory; decoding never makes them longer.
    let mut room = 0;
    let mut count = 0;
    for (name, value) in headers {
        if name.as_str().starts_with(PREFIX) {
            room += name.as_str().len() + value.len();
            count += 1;
        } else if name == CONTENT_TYPE {
            room += value.len();
        }
    }
    if count == 0 {
        return Err(DecodeError::NotAnEvent);
    }
    let mut texts = BytesMut::with_capacity(room);
    // One of them is specversion, which is none of the builder's; room for content-type and the hops comes to that.
    let mut builder = EventBuilder::with_capacity(count + 1);
    for (header, value) in headers {
        let name = match header.as_str().strip_prefix(PREFIX) {
            Some("datacontenttype") => {
                builder =
                    builder.problem("datacontenttype", "send it as the header content-type, without ce-");
                continue;
            }
            Some(name) => name,
            None if header == CONTENT_TYPE => "datacontenttype",
            None => continue,
        };
        if header == CONTENT_TYPE {
            texts.put_slice(value.as_bytes());
        } else {
            put_decoded(value.as_bytes(), &mut texts);
        }
        builder = match ByteString::try_from(texts.split().freeze()) {
            Ok(value) => {
                builder.attribute(shared_name(name).unwrap_or_else(|| copy(name, &mut texts)), value)
            }
            Err(_) => builder.problem(name, "the header's value is not UTF-8, percent-encode it as UTF-8"),
        };
    }
    // An empty body is no data: binary mode cannot tell the two apart (HTTP-15).
    if !body.is_empty() {
        builder = builder.data(body);
    }
    builder.build().map_err(DecodeError::Invalid)
}

fn copy(name: &str, texts: &mut BytesMut) -> ByteString {
    texts.put_slice(name.as_bytes());
    ByteString::try_from(texts.split().freeze()).expect("a header's name is ASCII")
}

/// Undoes the double quotes, if there are any, and then one round of percent-encoding (HTTP-08). A `%` that
/// begins no escape stands for itself, as senders mean it that do not encode (HTTP-11, X-11).
fn put_decoded(value: &[u8], texts: &mut BytesMut) {
    if !value.iter().any(|byte| matches!(byte, b'%' | b'"')) {
        return texts.put_slice(value);
    }
    match unquoted(value) {
        Some(value) => texts.extend(percent_decode(&value)),
        None => texts.extend(percent_decode(value)),
    }
}

/// The content of a quoted string (RFC 7230, section 3.2.6); `None` when the value as a whole is not one.
fn unquoted(value: &[u8]) -> Option<Vec<u8>> {
    let inner = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let mut text = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'"' => return None,
            b'\\' => text.push(*bytes.next()?),
            _ => text.push(byte),
        }
    }
    Some(text)
}

/// Everything outside U+0021 to U+007E, and `"` and `%` (HTTP-06).
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

fn attribute_headers(event: &Event) -> HeaderMap {
    const SPEC_VERSION: HeaderName = HeaderName::from_static("ce-specversion");
    let mut headers = HeaderMap::with_capacity(event.attributes().len() + 1);
    headers.insert(SPEC_VERSION, HeaderValue::from_static(event.spec_version().as_str()));
    let mut scratch = String::new();
    for attribute in event.attributes() {
        if attribute.name == "datacontenttype" {
            headers.insert(CONTENT_TYPE, shared_value(&attribute.value));
            continue;
        }
        let name = match known(&attribute.name) {
            Some(known) => known.header.clone(),
            None => {
                scratch.clear();
                scratch.push_str(PREFIX);
                scratch.push_str(&attribute.name);
                HeaderName::from_bytes(scratch.as_bytes())
                    .expect("an attribute's name has at most MAX_NAME letters and digits")
            }
        };
        headers.insert(name, encoded_value(&attribute.value));
    }
    headers
}

fn encoded_value(value: &ByteString) -> HeaderValue {
    if value.bytes().all(|byte| matches!(byte, 0x21..=0x7e) && byte != b'"' && byte != b'%') {
        return shared_value(value);
    }
    let encoded: String = utf8_percent_encode(value, ENCODED).collect();
    HeaderValue::try_from(encoded).expect("what is percent-encoded is visible ASCII")
}

fn shared_value(value: &ByteString) -> HeaderValue {
    HeaderValue::from_maybe_shared(value.as_bytes().clone())
        .expect("an attribute's value has no control characters")
}

#[cfg(test)]
mod tests;
