//! What makes a set of attributes a CloudEvent.
//!
//! The rules are those for an intermediary: what a producer should do but a hop must let pass (long names,
//! names that start with a digit) passes. Extensions are only checked for their names, their types and the
//! characters in their values.

use jiff::civil::DateTime;
use mediatype::MediaType;

use crate::dead_letter::{ERROR_CODE, ERROR_DATA, ERROR_DEST};
use crate::ttl;

use super::{Attribute, InvalidEvent, MAX_ATTRIBUTES, MAX_NAME, Shown, SpecVersion, ValueType};

/// The reason for an attribute that occurs more than once (CE-03, HTTP-16).
pub(super) const TWICE: &str = "occurs more than once, send it once";

/// Reads `specversion`; anything but a known one is a problem (IN-03).
pub(super) fn spec_version(text: Option<&str>, invalid: &mut InvalidEvent) -> SpecVersion {
    match text {
        Some("1.0") => return SpecVersion::V10,
        Some("0.3") => return SpecVersion::V03,
        Some(other) => {
            invalid.add("specversion", || format!("\"{}\" is not supported, use 1.0 or 0.3", Shown(other)));
        }
        None => invalid.add("specversion", || "is missing, use 1.0".to_owned()),
    }
    SpecVersion::V10
}

/// Checks all attributes but `specversion`.
pub(super) fn check(version: SpecVersion, attributes: &[Attribute], invalid: &mut InvalidEvent) {
    for attribute in attributes {
        check_one(version, attribute, invalid);
    }
    for name in ["id", "source", "type"] {
        if !attributes.iter().any(|attribute| attribute.name == name) {
            invalid.add(name, || "is missing, every event needs one".to_owned());
        }
    }
    let own = || attributes.iter().filter(|attribute| is_own(&attribute.name)).count();
    let is_too_many = attributes.len() > MAX_ATTRIBUTES && attributes.len() - own() > MAX_ATTRIBUTES;
    if is_too_many {
        invalid.add("*", || format!("there are too many, at most {MAX_ATTRIBUTES} are taken"));
    } else {
        check_duplicates(attributes, invalid);
    }
}

/// The attributes that CloudEvents 1.0 and 0.3 name themselves, but for the encoding of 0.3; `schemaurl`, which only
/// 0.3 has, comes last.
pub(crate) const CORE_ATTRIBUTES: [&str; 9] =
    ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "schemaurl"];

/// Whether this may be the name of an attribute (CE-03, CE-04).
pub(crate) fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name != "data"
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// The first character that no String may contain (CE-06).
pub(crate) fn forbidden_character(value: &str) -> Option<char> {
    if value.bytes().all(|byte| (0x20..=0x7e).contains(&byte)) {
        return None;
    }
    value.chars().find(|&character| {
        let code = u32::from(character);
        character.is_control() || (0xfdd0..=0xfdef).contains(&code) || code & 0xfffe == 0xfffe
    })
}

fn check_one(version: SpecVersion, attribute: &Attribute, invalid: &mut InvalidEvent) {
    let (name, value) = (&*attribute.name, &*attribute.value);
    if !is_name(name) {
        return invalid.add(name, || name_reason(name));
    }
    if let Some(character) = forbidden_character(value) {
        let code = u32::from(character);
        return invalid.add(name, || format!("the value contains U+{code:04X}, which no string may"));
    }
    let wrong = match attribute.value_type {
        ValueType::String => is_wrong(version, name, value),
        ValueType::Boolean | ValueType::Integer if is_core(version, name) => Some("send a JSON string"),
        ValueType::Boolean if !matches!(value, "true" | "false") => Some("a boolean is true or false"),
        ValueType::Integer if !is_integer(value) => {
            Some("an integer has 32 bits and a sign: -2147483648 to 2147483647")
        }
        ValueType::Boolean | ValueType::Integer => None,
    };
    if let Some(right) = wrong {
        invalid.add(name, || match value {
            "" => format!("is empty; {right}"),
            _ => format!("\"{}\" is not valid; {right}", Shown(value)),
        });
    }
}

/// What would be right, when the value is wrong (CE-01, CE-02, IN-07).
fn is_wrong(version: SpecVersion, name: &str, value: &str) -> Option<&'static str> {
    match (name, version) {
        ("id" | "source" | "type", _) if value.trim().is_empty() => Some("it must not be blank"),
        ("subject", _) if value.is_empty() => Some("leave it out or give it a value"),
        ("time", _) if !is_timestamp(value) => Some("use RFC 3339, as in 2026-01-31T09:30:00Z"),
        ("datacontenttype", _) if !is_media_type(value) => Some("use a media type, as in application/json"),
        // The schemaurl of 0.3 is a URI-reference without constraints.
        ("dataschema", SpecVersion::V10) if !is_absolute_uri(value) => {
            Some("use an absolute URI, as in https://example.com/schema")
        }
        _ => None,
    }
}

/// Whether Trigon adds it itself. These do not count: an event that was taken must stay valid on its way.
fn is_own(name: &str) -> bool {
    [ttl::ATTRIBUTE, ERROR_DEST, ERROR_CODE, ERROR_DATA].contains(&name)
}

fn is_core(version: SpecVersion, name: &str) -> bool {
    match name {
        "id" | "source" | "type" | "subject" | "time" | "datacontenttype" => true,
        "dataschema" => version == SpecVersion::V10,
        "schemaurl" | "datacontentencoding" => version == SpecVersion::V03,
        _ => false,
    }
}

fn name_reason(name: &str) -> String {
    match name {
        "" => "the name is empty, use a-z and 0-9".to_owned(),
        "data" => "this name is reserved for the payload, rename the attribute".to_owned(),
        _ if name.len() > MAX_NAME => format!("the name is longer than {MAX_NAME} characters"),
        _ => "the name must consist of a-z and 0-9".to_owned(),
    }
}

/// A decimal number without fraction, exponent or plus sign, of 32 bits (CE-05).
fn is_integer(value: &str) -> bool {
    let digits = value.strip_prefix('-').unwrap_or(value);
    (digits == "0" || !digits.starts_with(['0', '+'])) && value.parse::<i32>().is_ok()
}

fn is_media_type(value: &str) -> bool {
    matches!(value, "application/json" | "text/plain") || MediaType::parse(value).is_ok()
}

/// RFC 3986, section 4.3, as far as a hop needs it: a scheme, and no character that no URI has.
fn is_absolute_uri(value: &str) -> bool {
    let Some((scheme, rest)) = value.split_once(':') else { return false };
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        && !rest.is_empty()
        && !rest.contains([' ', '"', '<', '>', '\\', '^', '`', '{', '|', '}'])
}

/// RFC 3339, section 5.6.
///
/// jiff reads the larger grammar of ISO 8601, and fewer digits of a second than the RFC allows. So the shape is
/// checked here, and the calendar by jiff.
fn is_timestamp(value: &str) -> bool {
    const SHAPE: &[u8] = b"dddd-dd-ddTdd:dd:dd";
    let Some((local, rest)) = value.as_bytes().split_at_checked(SHAPE.len()) else { return false };
    let fits = local.iter().zip(SHAPE).all(|(byte, shape)| match shape {
        b'd' => byte.is_ascii_digit(),
        b'T' => byte.eq_ignore_ascii_case(shape),
        _ => byte == shape,
    });
    let fraction = match rest {
        [b'.', digits @ ..] => 1 + digits.iter().take_while(|digit| digit.is_ascii_digit()).count(),
        _ => 0,
    };
    fits && fraction != 1
        && is_offset(&rest[fraction..])
        && value.get(..SHAPE.len()).is_some_and(|local| local.parse::<DateTime>().is_ok())
}

fn is_offset(offset: &[u8]) -> bool {
    match offset {
        b"Z" | b"z" => true,
        [b'+' | b'-', h1 @ b'0'..=b'2', h2 @ b'0'..=b'9', b':', b'0'..=b'5', b'0'..=b'9'] => {
            (h1 - b'0') * 10 + (h2 - b'0') < 24
        }
        _ => false,
    }
}

fn check_duplicates(attributes: &[Attribute], invalid: &mut InvalidEvent) {
    // Comparing each with each is fastest for the handful that events have, but would take a producer of
    // thousands of them seconds of our time.
    const FEW: usize = 32;
    if attributes.len() <= FEW {
        for (n, attribute) in attributes.iter().enumerate() {
            if attributes[..n].iter().any(|earlier| earlier.name == attribute.name) {
                invalid.add(&attribute.name, || TWICE.to_owned());
            }
        }
        return;
    }
    let mut names: Vec<&str> = attributes.iter().map(|attribute| &*attribute.name).collect();
    names.sort_unstable();
    for pair in names.windows(2) {
        if pair[0] == pair[1] {
            invalid.add(pair[0], || TWICE.to_owned());
        }
    }
}
