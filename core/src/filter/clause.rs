//! One condition on one attribute, the leaf of a [`Filter`](super::Filter).
//!
//! Owns which names an attribute answers to (FLA-04) and how values are compared: as text, byte by byte, but
//! for `time` (instants) and `datamediatype` (media types know no case). Guarantees that looking allocates
//! nothing.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::explain::Hint;
use super::requirement::{Key, Reach, Requirement};
use crate::event::{Event, SpecVersion};

/// A condition on one attribute; an event without the attribute never meets it (FLA-01, FLN-10).
#[derive(Debug, PartialEq)]
pub(super) struct Clause {
    attribute: Arc<str>,
    test: Test,
}

#[derive(Debug, PartialEq)]
enum Test {
    Present,
    Is(Arc<str>),
    IsInstant { text: Arc<str>, instant: Timestamp },
    IsMediaType(Arc<str>),
    StartsWith(Arc<str>),
    EndsWith(Box<str>),
}

impl Clause {
    pub(super) fn present(attribute: &str) -> Self {
        Self { attribute: attribute.into(), test: Test::Present }
    }

    pub(super) fn is(attribute: &str, value: &str) -> Self {
        let test = match (attribute, instant(value)) {
            ("time", Some(instant)) => Test::IsInstant { text: value.into(), instant },
            ("datamediatype", _) => Test::IsMediaType(value.into()),
            _ => Test::Is(value.into()),
        };
        Self { attribute: attribute.into(), test }
    }

    pub(super) fn starts_with(attribute: &str, value: &str) -> Self {
        Self { attribute: attribute.into(), test: Test::StartsWith(value.into()) }
    }

    pub(super) fn ends_with(attribute: &str, value: &str) -> Self {
        Self { attribute: attribute.into(), test: Test::EndsWith(value.into()) }
    }

    /// The name of the attribute.
    pub(super) fn attribute(&self) -> &Arc<str> {
        &self.attribute
    }

    /// How little keeps a value from meeting this clause, where it is little.
    pub(super) fn near_miss(&self, seen: &str) -> Option<Hint> {
        let (wanted, compare): (&str, fn(&str, &str) -> bool) = match &self.test {
            Test::Is(wanted) | Test::IsMediaType(wanted) => (wanted, |seen, wanted| seen == wanted),
            Test::StartsWith(start) => (start, |seen, start| seen.starts_with(start)),
            Test::EndsWith(end) => (end, |seen, end| seen.ends_with(end)),
            Test::Present | Test::IsInstant { .. } => return None,
        };
        if compare(&seen.to_lowercase(), &wanted.to_lowercase()) {
            return Some(Hint::Case);
        }
        compare(seen.trim(), wanted.trim()).then_some(Hint::WhiteSpace)
    }

    /// What the event has for the attribute of this clause.
    pub(super) fn saw<'e>(&self, event: &'e Event) -> Option<&'e str> {
        value(event, &self.attribute)
    }

    pub(super) fn matches(&self, event: &Event) -> bool {
        self.saw(event).is_some_and(|seen| match &self.test {
            Test::Present => true,
            Test::Is(wanted) => seen == &**wanted,
            Test::IsInstant { text, instant: wanted } => {
                seen == &**text || instant(seen).is_some_and(|seen| seen == *wanted)
            }
            Test::IsMediaType(wanted) => seen.eq_ignore_ascii_case(wanted),
            Test::StartsWith(start) => seen.starts_with(&**start),
            Test::EndsWith(end) => seen.ends_with(&**end),
        })
    }

    /// What an event must have to meet this clause, where comparing text can tell.
    pub(super) fn requirement(&self) -> Option<Requirement<'_>> {
        let key = match &self.test {
            Test::Is(text) => Key { text, reach: Reach::Whole },
            Test::StartsWith(text) => Key { text, reach: Reach::Start },
            Test::Present | Test::IsInstant { .. } | Test::IsMediaType(_) | Test::EndsWith(_) => return None,
        };
        Some(Requirement { attribute: &self.attribute, keys: vec![key] })
    }
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let attribute = &self.attribute;
        match &self.test {
            Test::Present => write!(f, "{attribute} is present"),
            Test::Is(value) | Test::IsMediaType(value) | Test::IsInstant { text: value, .. } => {
                write!(f, "{attribute} is {value:?}")
            }
            Test::StartsWith(start) => write!(f, "{attribute} starts with {start:?}"),
            Test::EndsWith(end) => write!(f, "{attribute} ends with {end:?}"),
        }
    }
}

/// The value of an attribute under the name that a filter gives it: an attribute that the event really has
/// comes first, then the aliases (FLA-04).
pub(super) fn value<'e>(event: &'e Event, name: &str) -> Option<&'e str> {
    event.attribute(name).or_else(|| match (name, event.spec_version()) {
        ("schemaurl", SpecVersion::V10) => event.attribute("dataschema"),
        ("dataschema", SpecVersion::V03) => event.attribute("schemaurl"),
        ("datamediatype", _) => event.attribute("datacontenttype").map(media_type),
        _ => None,
    })
}

/// A content type without its parameters.
fn media_type(content_type: &str) -> &str {
    content_type.split_once(';').map_or(content_type, |(media_type, _)| media_type).trim()
}

/// Reads an RFC 3339 timestamp. A leap second has no instant of its own, and the parser knows forms that
/// RFC 3339 does not: both are compared as text.
fn instant(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let has_form = bytes.len() >= "2026-11-21T00:00:00Z".len()
        && matches!(bytes[10], b'T' | b't')
        && bytes[13] == b':'
        && bytes[16] == b':'
        && &bytes[17..19] != b"60"
        && !bytes.ends_with(b"]");
    has_form.then(|| text.parse().ok()).flatten()
}
