//! Arbitrary events for property tests, here and in other crates (feature `proptest`).
//!
//! They are valid and otherwise as odd as the specification allows: every attribute, both versions, all types,
//! texts that look like escapes, data that does not fit its content type.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::rules::{CORE_ATTRIBUTES, forbidden_character, is_name};
use super::{Event, EventBuilder, SpecVersion, ValueType};

/// Any valid event.
pub fn event() -> impl Strategy<Value = Event> {
    prop_oneof![event_of(SpecVersion::V10), event_of(SpecVersion::V03)]
}

/// Any valid event of one version.
pub fn event_of(version: SpecVersion) -> impl Strategy<Value = Event> {
    let required = (not_blank(), not_blank(), not_blank());
    let subject = option::of(text().prop_filter("not empty", |text| !text.is_empty()));
    let optional = (subject, option::of(time()), option::of(schema()));
    (required, optional, extensions(), payload(version)).prop_map(
        move |((id, source, event_type), (subject, time, schema), extensions, payload)| {
            let schema_name = match version {
                SpecVersion::V10 => "dataschema",
                SpecVersion::V03 => "schemaurl",
            };
            let builder = EventBuilder::new().spec_version(version.as_str());
            let builder =
                builder.attribute("id", id).attribute("source", source).attribute("type", event_type);
            let optional = [("subject", subject), ("time", time), (schema_name, schema)];
            let builder = optional.into_iter().chain(payload.attributes).fold(builder, add);
            let builder = extensions
                .into_iter()
                .fold(builder, |builder, (name, (value, value_type))| builder.typed(name, value, value_type));
            match payload.data {
                Some(data) => builder.data(data),
                None => builder,
            }
            .build()
            .expect("the strategies of the parts follow the rules")
        },
    )
}

/// A text that may be an attribute's value.
pub fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z0-9./:-]{0,24}",
        3 => "[ -~]{0,16}",
        2 => "\\PC{0,12}",
        1 => proptest::sample::select(vec!["%41", "100%", "%C0%A0", "\"", "\"q\"", "\"\\\"", " x ", "+", "true"])
            .prop_map(str::to_owned),
    ]
    .prop_filter("a character that no string has", |text| forbidden_character(text).is_none())
}

/// The name of an extension: no core attribute of any version, and none that Trigon adds.
pub fn extension_name() -> impl Strategy<Value = String> {
    const ALSO_TAKEN: [&str; 2] = ["datacontentencoding", "partitionkey"];
    let name = prop_oneof![
        4 => "[a-z0-9]{1,8}",
        1 => "[a-z0-9]{21,40}",
        1 => Just("traceparent".to_owned()),
    ];
    name.prop_filter("a name that is taken", |name| {
        let taken = CORE_ATTRIBUTES.iter().chain(&ALSO_TAKEN).any(|taken| taken == name);
        is_name(name) && !taken && !name.starts_with("knative")
    })
}

/// A time of RFC 3339 in any of its spellings, but no leap second.
pub fn time() -> impl Strategy<Value = String> {
    let date = (1..10_000_i32, 1..13, 1..29);
    let time = (0..24, 0..60, 0..60, option::of("[0-9]{1,12}"));
    let offset = prop_oneof![
        3 => Just("Z".to_owned()),
        1 => Just("z".to_owned()),
        2 => ("[+-]", 0..24, 0..60).prop_map(|(sign, h, m)| format!("{sign}{h:02}:{m:02}")),
    ];
    (date, "[Tt]", time, offset).prop_map(|((year, month, day), t, (h, m, s, fraction), offset)| {
        let fraction = fraction.map_or(String::new(), |digits| format!(".{digits}"));
        format!("{year:04}-{month:02}-{day:02}{t}{h:02}:{m:02}:{s:02}{fraction}{offset}")
    })
}

type Extensions = std::collections::BTreeMap<String, (String, ValueType)>;

/// The data and the attributes that describe it.
#[derive(Clone, Debug)]
struct Payload {
    attributes: [(&'static str, Option<String>); 2],
    data: Option<Bytes>,
}

fn not_blank() -> impl Strategy<Value = String> {
    text().prop_filter("not blank", |text| !text.trim().is_empty())
}

fn schema() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("urn:example:schema".to_owned()),
        "https://example[.]com/[a-z]{1,8}([?]v=[0-9])?(#[a-z])?"
    ]
}

fn extensions() -> impl Strategy<Value = Extensions> {
    let value = prop_oneof![
        4 => text().prop_map(|text| (text, ValueType::String)),
        1 => any::<bool>().prop_map(|value| (value.to_string(), ValueType::Boolean)),
        1 => any::<i32>().prop_map(|value| (value.to_string(), ValueType::Integer)),
    ];
    let key = option::of(value.clone());
    (btree_map(extension_name(), value, 0..6), key).prop_map(|(mut extensions, key)| {
        extensions.extend(key.map(|value| ("partitionkey".to_owned(), value)));
        extensions
    })
}

fn payload(version: SpecVersion) -> BoxedStrategy<Payload> {
    let content_type = option::of(proptest::sample::select(vec![
        "application/json",
        "application/json; charset=utf-8",
        "text/json",
        "application/geo+json",
        "text/plain",
        "text/plain; charset=UTF-8",
        "application/xml",
        "application/octet-stream",
        "image/png",
    ]));
    let data = option::of(prop_oneof![
        json().prop_map(Bytes::from),
        "\\PC{0,24}".prop_map(Bytes::from),
        vec(any::<u8>(), 0..24).prop_map(Bytes::from),
    ]);
    let encoded = any::<bool>().prop_map(move |encoded| encoded && version == SpecVersion::V03);
    (content_type, data, encoded)
        .prop_map(|(content_type, data, encoded)| {
            let content_type = ("datacontenttype", content_type.map(str::to_owned));
            let encoding = ("datacontentencoding", encoded.then(|| "base64".to_owned()));
            let data = if encoded { data.map(|data| Bytes::from(BASE64.encode(data))) } else { data };
            Payload { attributes: [content_type, encoding], data }
        })
        .boxed()
}

/// Texts of JSON values, with what parsing them would lose: digits, repeated names, space.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just(" 1 ".to_owned()),
        "-?(0|[1-9][0-9]{0,30})([.][0-9]{1,20})?([eE][+-]?[0-9]{1,2})?",
        "\"([ !#-\\[\\]-~]|\\\\n|\\\\u20ac|é){0,8}\"",
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
            vec(("\"[a-c]\"", inner), 0..4).prop_map(|members| {
                let members: Vec<_> = members.iter().map(|(name, value)| format!("{name}:{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

fn add(builder: EventBuilder, (name, value): (&'static str, Option<String>)) -> EventBuilder {
    match value {
        Some(value) => builder.attribute(name, value),
        None => builder,
    }
}
