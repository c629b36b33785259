//! The CloudEvents SDK as an independent judge: it reads what we write, and we read what it writes.

use ::cloudevents::event::{AttributesReader as _, AttributesWriter as _, ExtensionValue};
use ::cloudevents::{Data as Payload, Event as Theirs, EventBuilder as _, EventBuilderV03, EventBuilderV10};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::event::Attribute;
use crate::event::rules::CORE_ATTRIBUTES;
use crate::event::strategy::event;

/// The SDK takes every JSON type for JSON, even if the bytes are not, where 0.3 has to say base64.
fn sdk_can_read(event: &Event) -> bool {
    event.spec_version() == SpecVersion::V10
        || !event.attribute("datacontenttype").is_none_or(is_json)
        || event.data().is_none_or(|data| serde_json::from_slice::<Value>(&decoded(event, data)).is_ok())
}

/// The bytes that the data stands for, which in 0.3 may be base64.
fn decoded(event: &Event, data: &Bytes) -> Vec<u8> {
    match event.attribute("datacontentencoding") {
        Some("base64") if event.spec_version() == SpecVersion::V03 => BASE64.decode(data).unwrap(),
        _ => data.to_vec(),
    }
}

/// The moment that a text of RFC 3339 names, to the nine digits of a second that the SDK reads.
fn moment(text: &str) -> Timestamp {
    const SECONDS: usize = "2026-01-31T09:30:00".len();
    let (local, rest) = text.split_at(SECONDS);
    let offset = rest.find(['Z', 'z', '+', '-']).unwrap();
    let (fraction, offset) = rest.split_at(offset);
    let fraction = &fraction[..fraction.len().min(".123456789".len())];
    format!("{local}{fraction}{offset}").parse().unwrap()
}

fn same_data(ours: Option<Vec<u8>>, theirs: Option<&Payload>) -> bool {
    match (ours, theirs) {
        (Some(ours), Some(Payload::Json(json))) => same_json(&serde_json::from_slice(&ours).unwrap(), json),
        (Some(ours), Some(Payload::String(text))) => ours == text.as_bytes(),
        (Some(ours), Some(Payload::Binary(bytes))) => ours == *bytes,
        (ours, theirs) => ours.is_none() && theirs.is_none(),
    }
}

/// Whether two values are the same but for the last digits of a number, which are lost each time that the SDK
/// reads one.
fn same_json(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            (a - b).abs() <= a.abs() * 1e-12
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_json(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same_json(a, b)))
        }
        (a, b) => a == b,
    }
}

fn assert_same(ours: &Event, theirs: &Theirs) {
    assert_eq!(theirs.specversion().as_str(), ours.spec_version().as_str());
    assert_eq!((theirs.id(), theirs.ty()), (ours.id(), ours.event_type()));
    assert_eq!(theirs.source(), ours.source());
    assert_eq!(theirs.subject(), ours.attribute("subject"));
    let time = theirs.time().map(|time| moment(&time.to_rfc3339()));
    assert_eq!(time, ours.attribute("time").map(moment));
    let is_v03 = ours.spec_version() == SpecVersion::V03;
    let (schema, core) = if is_v03 { ("schemaurl", 9) } else { ("dataschema", 8) };
    assert_eq!(theirs.dataschema().map(|uri| uri.as_str()), ours.attribute(schema));
    let data = ours.data().map(|data| decoded(ours, data));
    assert!(same_data(data, theirs.data()), "{:?} is not {:?}", theirs.data(), ours.data());

    let mut extensions = 0;
    for Attribute { name, value, value_type } in ours.attributes() {
        if CORE_ATTRIBUTES[..core].contains(&&**name)
            || name == schema
            || (is_v03 && name == "datacontentencoding")
        {
            continue;
        }
        let expected = match value_type {
            ValueType::String => ExtensionValue::String(value.to_string()),
            ValueType::Boolean => ExtensionValue::Boolean(value.parse().unwrap()),
            ValueType::Integer => ExtensionValue::Integer(value.parse().unwrap()),
        };
        assert_eq!(theirs.extension(name), Some(&expected), "{name}");
        extensions += 1;
    }
    assert_eq!(theirs.iter_extensions().count(), extensions);
}

/// Makes the event with the SDK's own builder.
fn made_by_sdk(ours: &Event) -> Theirs {
    let mut theirs = match ours.spec_version() {
        SpecVersion::V10 => EventBuilderV10::new().id("x").source("/x").ty("x").build().unwrap(),
        SpecVersion::V03 => EventBuilderV03::new().id("x").source("/x").ty("x").build().unwrap(),
    };
    theirs.set_id(ours.id());
    theirs.set_source(ours.source());
    theirs.set_type(ours.event_type());
    theirs.set_subject(ours.attribute("subject"));
    let timed = |text| EventBuilderV10::new().id("x").source("/x").ty("x").time(text).build().unwrap();
    let timed: Option<Theirs> = ours.attribute("time").map(timed);
    theirs.set_time(timed.and_then(|timed| timed.time().copied()));
    let schema = match ours.spec_version() {
        SpecVersion::V10 => ours.attribute("dataschema"),
        SpecVersion::V03 => ours.attribute("schemaurl"),
    };
    theirs.set_dataschema(schema.map(|uri| url::Url::parse(uri).unwrap()));
    theirs.set_datacontenttype(ours.attribute("datacontenttype"));
    if let Some(data) = ours.data() {
        let data = decoded(ours, data);
        match (
            ours.attribute("datacontenttype"),
            serde_json::from_slice(&data),
            String::from_utf8(data.clone()),
        ) {
            (Some(content_type), Ok(json), _) if is_json(content_type) => {
                theirs.set_data_unchecked(Payload::Json(json));
            }
            (Some(content_type), _, Ok(text)) if is_text(content_type) && !is_json(content_type) => {
                theirs.set_data_unchecked(Payload::String(text));
            }
            _ => {
                theirs.set_data_unchecked(Payload::Binary(data));
            }
        }
    }
    for Attribute { name, value, value_type } in ours.attributes() {
        if matches!(
            &**name,
            "id" | "source" | "type" | "subject" | "time" | "datacontenttype" | "dataschema" | "schemaurl"
        ) || name == "datacontentencoding"
        {
            continue;
        }
        match value_type {
            ValueType::String => theirs.set_extension(name, value.to_string()),
            ValueType::Boolean => theirs.set_extension(name, value.parse::<bool>().unwrap()),
            ValueType::Integer => theirs.set_extension(name, value.parse::<i64>().unwrap()),
        };
    }
    theirs
}

proptest! {
    /// CE-11, JSON-01 to JSON-07, X-17, CE-13
    #[test]
    fn the_sdk_reads_what_we_write(event in event().prop_filter("the SDK fails", sdk_can_read)) {
        let text = write(&event);
        let theirs: Theirs = serde_json::from_slice(&text).unwrap();
        assert_same(&event, &theirs);
        if let Some(content_type) = event.attribute("datacontenttype") {
            prop_assert_eq!(theirs.datacontenttype(), Some(content_type));
        }
    }

    /// CE-11, JSON-01 to JSON-07, X-17, CE-13
    #[test]
    fn we_read_what_the_sdk_writes(event in event()) {
        let theirs = made_by_sdk(&event);
        let text = Bytes::from(serde_json::to_vec(&theirs).unwrap());
        let ours = parse(&text).unwrap();
        assert_same(&ours, &theirs);
        if let Some(content_type) = theirs.datacontenttype() {
            prop_assert_eq!(ours.attribute("datacontenttype"), Some(content_type));
        }
    }
}
