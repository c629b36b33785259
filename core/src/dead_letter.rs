//! The event that goes to a dead letter sink or is parked: the original, with why it could not be delivered.
//!
//! Only extensions are added (DLS-07). Whatever a subscriber answers, this never fails (peer's R2): what is no
//! legal extension is left out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytestring::ByteString;

use crate::delivery::{Destination, Failure, MAX_ERROR_DATA};
use crate::event::rules::{CORE_ATTRIBUTES, forbidden_character, is_name};
use crate::event::{Attribute, Event, MAX_ATTRIBUTES, ValueType};

/// The subscriber, as it was configured (DLS-04).
pub const ERROR_DEST: &str = "knativeerrordest";

/// The HTTP status of the answer, when there was one (DLS-05, X-26).
pub const ERROR_CODE: &str = "knativeerrorcode";

/// The beginning of the answer's body in base64, when there was one (DLS-06, X-26).
pub const ERROR_DATA: &str = "knativeerrordata";

/// The event with the reason why `subscriber` did not take it.
///
/// What an earlier failure left behind under these names is replaced or removed.
pub fn with_error(event: &Event, subscriber: &Destination, failure: &Failure) -> Event {
    let mut event = event.clone();
    for name in [ERROR_DEST, ERROR_CODE, ERROR_DATA] {
        event.take(name);
    }
    let text: String = subscriber
        .text
        .chars()
        .filter(|c| forbidden_character(c.encode_utf8(&mut [0; 4])).is_none())
        .collect();
    event.set(extension(ERROR_DEST, text, ValueType::String));
    if let Some(status) = failure.status {
        event.set(extension(ERROR_CODE, status.to_string(), ValueType::Integer));
    }
    if !failure.body.is_empty() {
        let head = &failure.body[..failure.body.len().min(MAX_ERROR_DATA)];
        event.set(extension(ERROR_DATA, BASE64.encode(head), ValueType::String));
    }
    for (name, value) in &failure.extensions {
        let name = name.to_ascii_lowercase();
        if is_free(&event, &name) && forbidden_character(value).is_none() {
            event.set(Attribute {
                name: name.into(),
                value: value.as_str().into(),
                value_type: ValueType::String,
            });
        }
    }
    event
}

fn extension(name: &'static str, value: String, value_type: ValueType) -> Attribute {
    Attribute { name: ByteString::from_static(name), value: value.into(), value_type }
}

/// Whether an answer may add an extension of this name: it adds, it never overrides (DLS-08).
fn is_free(event: &Event, name: &str) -> bool {
    is_name(name)
        && !CORE_ATTRIBUTES.contains(&name)
        && !name.starts_with("knativeerror")
        && event.attribute(name).is_none()
        && event.attributes().len() < MAX_ATTRIBUTES
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::delivery::Retry;
    use crate::event::EventBuilder;

    fn original() -> EventBuilder {
        EventBuilder::new()
            .spec_version("1.0")
            .attribute("id", "1")
            .attribute("source", "/s")
            .attribute("type", "t")
            .attribute("time", "2018-04-05T17:31:00.50+01:00")
            .attribute("ext", "mine")
            .data("payload")
    }

    fn subscriber() -> Destination {
        Destination { text: "http://nowhere.example/%7Epath?q".to_owned(), uri: None }
    }

    fn failure(status: Option<u16>, body: &[u8], extensions: &[(&str, &str)]) -> Failure {
        Failure {
            reason: "for people".to_owned(),
            status,
            body: Bytes::copy_from_slice(body),
            extensions: extensions
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
            retry: Retry::Useless,
            retry_after: None,
        }
    }

    fn added(event: &Event) -> Vec<(&str, &str, ValueType)> {
        let added = &event.attributes()[original().build().unwrap().attributes().len()..];
        added.iter().map(|attribute| (&*attribute.name, &*attribute.value, attribute.value_type)).collect()
    }

    const DEST: (&str, &str, ValueType) = (ERROR_DEST, "http://nowhere.example/%7Epath?q", ValueType::String);

    /// DLS-04 to DLS-07
    #[test]
    fn the_original_gets_the_error_and_is_otherwise_unchanged() {
        let original = original().build().unwrap();
        let dead = with_error(&original, &subscriber(), &failure(Some(422), b"no \xff", &[]));
        let code = (ERROR_CODE, "422", ValueType::Integer);
        assert_eq!(added(&dead), [DEST, code, (ERROR_DATA, "bm8g/w==", ValueType::String)]);
        assert_eq!(dead.attributes()[..5], *original.attributes());
        assert_eq!((dead.data(), dead.spec_version()), (original.data(), original.spec_version()));
        assert_eq!(dead.clone().into_builder().build().unwrap(), dead);
    }

    /// X-26, DLS-05, DLS-06
    #[test]
    fn without_an_answer_there_is_no_code_and_without_a_body_no_data() {
        let original = original().build().unwrap();
        assert_eq!(added(&with_error(&original, &subscriber(), &failure(None, b"", &[]))), [DEST]);
        let dead = with_error(&original, &subscriber(), &failure(Some(500), b"", &[]));
        assert_eq!(added(&dead), [DEST, (ERROR_CODE, "500", ValueType::Integer)]);
    }

    /// DLS-06, X-26
    #[test]
    fn the_first_1024_bytes_of_the_body_are_kept() {
        let body = vec![0xff; 5_000];
        let dead = with_error(&original().build().unwrap(), &subscriber(), &failure(Some(500), &body, &[]));
        assert_eq!(BASE64.decode(dead.attribute(ERROR_DATA).unwrap()).unwrap(), body[..1024]);
    }

    /// DLS-08, peer's R2
    #[test]
    fn what_an_answer_adds_is_lower_cased_and_left_out_where_it_is_not_legal() {
        let extensions = [
            ("Reason", "busy"),
            ("reason", "second"),
            ("ext", "theirs"),
            ("id", "2"),
            ("subject", "s"),
            ("datacontenttype", "x"),
            ("specversion", "0.3"),
            ("knativeerrorcode", "1"),
            ("data", "x"),
            ("not-legal", "x"),
            ("", "x"),
            ("ünïcode", "x"),
            ("control", "a\u{7}b"),
            ("empty", ""),
        ];
        let original = original().build().unwrap();
        let dead = with_error(&original, &subscriber(), &failure(None, b"", &extensions));
        let reason = ("reason", "busy", ValueType::String);
        assert_eq!(added(&dead), [DEST, reason, ("empty", "", ValueType::String)]);
        assert_eq!(dead.clone().into_builder().build().unwrap(), dead);
    }

    #[test]
    fn an_event_that_fails_again_carries_the_last_error_only() {
        let first = with_error(&original().build().unwrap(), &subscriber(), &failure(Some(500), b"x", &[]));
        let again = with_error(&first, &subscriber(), &failure(None, b"", &[]));
        assert_eq!(added(&again), [DEST]);
    }

    #[test]
    fn an_event_at_its_limit_stays_valid_whatever_is_added() {
        let few = original().build().unwrap().attributes().len();
        let full = (few..MAX_ATTRIBUTES).fold(original(), |full, n| full.attribute(format!("x{n}"), ""));
        let full = crate::ttl::admit(full.build().unwrap()).unwrap();
        let failure = failure(Some(500), b"x", &[("reason", "busy")]);
        let dead = with_error(&full, &subscriber(), &failure);
        assert_eq!(dead.attributes().len(), MAX_ATTRIBUTES + 4);
        assert!(dead.into_builder().build().is_ok());
    }
}
