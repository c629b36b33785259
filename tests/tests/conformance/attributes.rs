//! The older filter, `spec.filter.attributes`, and which attributes filters know.

use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Value, json};
use trigon_tests::{Deployment, Event, Object};

use super::filters::{check_with, filters};

fn attributes(object: Object, attributes: Value) -> Object {
    object.spec("filter", json!({"attributes": attributes}))
}

fn binary(events: &[Event]) -> Vec<(HeaderMap, Bytes)> {
    events.iter().map(Event::binary).collect()
}

/// FLA-01, FLA-02, FLA-03, X-08
async fn all_attributes_must_be_there_and_equal_and_an_empty_value_takes_any<D: Deployment>() {
    let events = [
        Event::new("both").with("type", "order").with("colour", "red"),
        Event::new("case").with("type", "Order").with("colour", "Red"),
        Event::new("long").with("type", "order.created").with("colour", "red"),
        Event::new("none").with("type", "order"),
    ];
    check_with::<D>(
        &binary(&events),
        &[
            ("one", |t| attributes(t, json!({"type": "order"})), &["both", "none"]),
            ("two", |t| attributes(t, json!({"type": "order", "colour": "red"})), &["both"]),
            ("any", |t| attributes(t, json!({"colour": ""})), &["both", "case", "long"]),
            ("any-and-one", |t| attributes(t, json!({"type": "order", "colour": ""})), &["both"]),
            ("any-missing", |t| attributes(t, json!({"nothere": ""})), &[]),
            ("missing", |t| attributes(t, json!({"type": "order", "nothere": "x"})), &[]),
            ("nothing", |t| attributes(t, json!({})), &["both", "case", "long", "none"]),
            ("absent", |t| t.spec("filter", json!({})), &["both", "case", "long", "none"]),
        ],
    )
    .await;
}

/// FLA-04, X-17
async fn filters_know_the_attributes_of_both_versions<D: Deployment>() {
    let new = Event::new("new")
        .with("subject", "cool")
        .with("time", "2026-11-21T04:00:00Z")
        .with("dataschema", "urn:schema")
        .data("text/cheers; mate=yes", "hi");
    let old = Event::new("old")
        .with("specversion", "0.3")
        .with("schemaurl", "urn:schema")
        .with("datacontentencoding", "base64")
        .data("Application/JSON;charset=utf-8", "e30=");
    check_with::<D>(
        &binary(&[new, old]),
        &[
            ("version", |t| attributes(t, json!({"specversion": "1.0"})), &["new"]),
            ("version-old", |t| attributes(t, json!({"specversion": "0.3"})), &["old"]),
            ("id", |t| attributes(t, json!({"id": "new"})), &["new"]),
            ("type", |t| attributes(t, json!({"type": "test"})), &["new", "old"]),
            ("source", |t| attributes(t, json!({"source": "/tests"})), &["new", "old"]),
            ("subject", |t| attributes(t, json!({"subject": "cool"})), &["new"]),
            ("time", |t| attributes(t, json!({"time": "2026-11-21T04:00:00Z"})), &["new"]),
            ("dataschema", |t| attributes(t, json!({"dataschema": "urn:schema"})), &["new", "old"]),
            ("schemaurl", |t| attributes(t, json!({"schemaurl": "urn:schema"})), &["new", "old"]),
            (
                "content-type",
                |t| attributes(t, json!({"datacontenttype": "text/cheers; mate=yes"})),
                &["new"],
            ),
            ("media-type", |t| attributes(t, json!({"datamediatype": "text/cheers"})), &["new"]),
            ("media-type-old", |t| attributes(t, json!({"datamediatype": "application/json"})), &["old"]),
            ("encoding", |t| attributes(t, json!({"datacontentencoding": "base64"})), &["old"]),
            ("other-version", |t| attributes(t, json!({"specversion": "1"})), &[]),
            ("other-media-type", |t| attributes(t, json!({"datamediatype": "text/cheers; mate=yes"})), &[]),
        ],
    )
    .await;
}

/// FLA-05
async fn what_is_absent_is_missing_for_the_filter_that_takes_any_value<D: Deployment>() {
    let full = Event::new("full")
        .with("subject", "s")
        .with("time", "2026-11-21T04:00:00Z")
        .with("dataschema", "urn:schema")
        .data("text/plain", "hi");
    check_with::<D>(
        &binary(&[full, Event::new("bare")]),
        &[
            ("subject", |t| attributes(t, json!({"subject": ""})), &["full"]),
            ("time", |t| attributes(t, json!({"time": ""})), &["full"]),
            ("dataschema", |t| attributes(t, json!({"dataschema": ""})), &["full"]),
            ("schemaurl", |t| attributes(t, json!({"schemaurl": ""})), &["full"]),
            ("content-type", |t| attributes(t, json!({"datacontenttype": ""})), &["full"]),
            ("media-type", |t| attributes(t, json!({"datamediatype": ""})), &["full"]),
            ("encoding", |t| attributes(t, json!({"datacontentencoding": ""})), &[]),
            ("id", |t| attributes(t, json!({"id": ""})), &["bare", "full"]),
        ],
    )
    .await;
}

/// FLA-06, FLN-09
async fn numbers_and_truths_are_compared_by_their_text_in_either_mode<D: Deployment>() {
    let mut typed = Event::new("structured").json();
    typed["amount"] = json!(-42);
    typed["paid"] = json!(true);
    let (headers, _) = Event::new("").structured();
    let plain = Event::new("binary").with("amount", "-42").with("paid", "true");
    let other = Event::new("other").with("amount", "-042").with("paid", "TRUE");
    let events = [(headers, typed.to_string().into()), plain.binary(), other.binary()];
    check_with::<D>(
        &events,
        &[
            ("number", |t| attributes(t, json!({"amount": "-42"})), &["binary", "structured"]),
            ("truth", |t| attributes(t, json!({"paid": "true"})), &["binary", "structured"]),
            ("any", |t| attributes(t, json!({"amount": "", "paid": ""})), &["binary", "other", "structured"]),
            ("decimal", |t| attributes(t, json!({"amount": "-42.0"})), &[]),
            ("one", |t| attributes(t, json!({"paid": "1"})), &[]),
            ("exact", |t| filters(t, json!([{"exact": {"amount": "-42"}}])), &["binary", "structured"]),
            ("exact-truth", |t| filters(t, json!([{"exact": {"paid": "true"}}])), &["binary", "structured"]),
            ("exact-case", |t| filters(t, json!([{"exact": {"paid": "TRUE"}}])), &["other"]),
            ("prefix", |t| filters(t, json!([{"prefix": {"amount": "-4"}}])), &["binary", "structured"]),
            ("suffix", |t| filters(t, json!([{"suffix": {"paid": "ue"}}])), &["binary", "structured"]),
        ],
    )
    .await;
}

/// FLA-07, FLN-09
async fn times_are_equal_when_they_are_the_same_instant<D: Deployment>() {
    let at = |id: &str, time: &str| Event::new(id).with("time", time).with("due", time);
    let events = [
        at("east", "2026-11-21T05:00:00+01:00"),
        at("later", "2026-11-21T04:00:00.001Z"),
        at("millis", "2026-11-21T04:00:00.000Z"),
        at("same", "2026-11-21T04:00:00Z"),
    ];
    check_with::<D>(
        &binary(&events),
        &[
            (
                "older",
                |t| attributes(t, json!({"time": "2026-11-21T04:00:00Z"})),
                &["east", "millis", "same"],
            ),
            (
                "exact",
                |t| filters(t, json!([{"exact": {"time": "2026-11-20T20:00:00-08:00"}}])),
                &["east", "millis", "same"],
            ),
            ("other", |t| attributes(t, json!({"time": "2026-11-21T04:00:01Z"})), &[]),
            // An extension is text, whatever it looks like.
            ("extension", |t| attributes(t, json!({"due": "2026-11-21T04:00:00Z"})), &["same"]),
        ],
    )
    .await;
}

/// FLA-08, TST-34: upstream's four events with its four filters.
async fn many_triggers_on_type_and_source_get_theirs_and_nothing_else<D: Deployment>() {
    let event = |id: &str, event_type: &str, source: &str| {
        Event::new(id).with("type", event_type).with("source", format!("http://{source}.com"))
    };
    let events = [
        event("11", "type1", "source1"),
        event("12", "type1", "source2"),
        event("21", "type2", "source1"),
        event("22", "type2", "source2"),
    ];
    check_with::<D>(
        &binary(&events),
        &[
            ("any-any", |t| attributes(t, json!({"type": "", "source": ""})), &["11", "12", "21", "22"]),
            ("type-any", |t| attributes(t, json!({"type": "type1", "source": ""})), &["11", "12"]),
            (
                "any-source",
                |t| attributes(t, json!({"type": "", "source": "http://source1.com"})),
                &["11", "21"],
            ),
            (
                "type-source",
                |t| attributes(t, json!({"type": "type1", "source": "http://source1.com"})),
                &["11"],
            ),
        ],
    )
    .await;
}

/// FLA-08, TST-34: upstream's eight events with its eight filters.
async fn many_triggers_on_two_extensions_get_theirs_and_nothing_else<D: Deployment>() {
    let event = |id: &str, event_type: &str, source: &str, extensions: &[(&str, &str)]| {
        let event = Event::new(id).with("type", event_type).with("source", source);
        extensions.iter().fold(event, |event, (name, value)| event.with(name, *value))
    };
    let (first, second) = (("extname1", "extval1"), ("extname2", "extvalue2"));
    let events = [
        event("1", "type1", "/1", &[first]),
        event("2", "type1", "/1", &[first, second]),
        event("3", "type1", "/1", &[second]),
        event("4", "type1", "/2", &[first]),
        event("5", "type2", "/1", &[("extname1", "otherval")]),
        event("6", "type2", "/2", &[("othername", "extval1")]),
        event("7", "type2", "/2", &[first, second]),
        event("8", "type2", "/2", &[first, ("othername", "extvalue2")]),
    ];
    check_with::<D>(
        &binary(&events),
        &[
            (
                "first",
                |t| attributes(t, json!({"type": "", "extname1": "extval1"})),
                &["1", "2", "4", "7", "8"],
            ),
            (
                "both",
                |t| attributes(t, json!({"type": "", "extname1": "extval1", "extname2": "extvalue2"})),
                &["2", "7"],
            ),
            ("second", |t| attributes(t, json!({"type": "", "extname2": "extvalue2"})), &["2", "3", "7"]),
            ("type", |t| attributes(t, json!({"type": "type1", "extname1": "extval1"})), &["1", "2", "4"]),
            ("any", |t| attributes(t, json!({"type": "", "extname1": ""})), &["1", "2", "4", "5", "7", "8"]),
            ("source", |t| attributes(t, json!({"source": "/1", "extname1": "extval1"})), &["1", "2"]),
            (
                "source-both",
                |t| attributes(t, json!({"source": "/1", "extname1": "extval1", "extname2": "extvalue2"})),
                &["2"],
            ),
            (
                "source-other",
                |t| attributes(t, json!({"source": "/2", "extname1": "extval1", "extname2": "extval1"})),
                &[],
            ),
        ],
    )
    .await;
}

on_every_deployment!(
    all_attributes_must_be_there_and_equal_and_an_empty_value_takes_any,
    filters_know_the_attributes_of_both_versions,
    what_is_absent_is_missing_for_the_filter_that_takes_any_value,
    numbers_and_truths_are_compared_by_their_text_in_either_mode,
    times_are_equal_when_they_are_the_same_instant,
    many_triggers_on_type_and_source_get_theirs_and_nothing_else,
    many_triggers_on_two_extensions_get_theirs_and_nothing_else,
);
