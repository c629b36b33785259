//! The HTTP binding as a producer sees it, from the socket to the record.

use bytes::Bytes;
use http::StatusCode;
use serde_json::json;
use trigon_core::event::ValueType;

use crate::world::{EVENT, JSON, World, topic};

/// HTTP-12
#[tokio::test]
async fn in_structured_mode_the_payload_wins_over_attributes_in_headers() {
    let world = World::start().await;
    let body = json!({"specversion": "1.0", "id": "payload", "source": "/payload", "type": "payload"});
    let mut headers = EVENT.to_vec();
    headers.extend([JSON, ("ce-extra", "header")]);
    assert_eq!(world.post(&headers, body.to_string()).await.status, StatusCode::ACCEPTED);
    let event = world.only_stored().event;
    assert_eq!((event.id(), event.source(), event.event_type()), ("payload", "/payload", "payload"));
    assert_eq!(event.attribute("extra"), None);
}

/// HTTP-15
#[tokio::test]
async fn an_empty_body_is_no_data_and_invents_no_content_type() {
    let world = World::start().await;
    assert_eq!(world.post(&EVENT, "").await.status, StatusCode::ACCEPTED);
    let event = world.only_stored().event;
    assert_eq!(event.data(), None);
    assert_eq!(event.attribute("datacontenttype"), None);
    let records = world.log.records(&topic());
    assert_eq!(records[0].header("content-type"), None);
    assert_eq!(records[0].value, None);
}

/// HTTP-02
#[tokio::test]
async fn the_mode_is_found_in_the_content_type_whatever_its_case() {
    let world = World::start().await;
    let event = json!({"specversion": "1.0", "id": "1", "source": "/test", "type": "t"});
    let one = event.to_string();
    let two = json!([event, event]).to_string();
    for (content_type, body) in
        [("Application/CloudEvents+JSON; charset=UTF-8", one), ("APPLICATION/CLOUDEVENTS-BATCH+JSON", two)]
    {
        let reply = world.post(&[("content-type", content_type)], body).await;
        assert_eq!(reply.status, StatusCode::ACCEPTED, "{content_type}: {}", reply.body);
    }
    assert_eq!(world.stored().len(), 3);
}

/// HTTP-08, HTTP-11, HTTP-18, X-11
#[tokio::test]
async fn attributes_in_headers_are_decoded_once() {
    let world = World::start().await;
    let mut headers = EVENT.to_vec();
    headers.extend([
        ("ce-encoded", "Euro%20%e2%82%AC%20%F0%9F%98%80"),
        ("ce-quoted", "\"a \\\"quoted\\\" text\""),
        ("ce-twice", "%2520"),
        ("ce-raw", "100% of %zz"),
    ]);
    assert_eq!(world.post(&headers, "").await.status, StatusCode::ACCEPTED);
    let event = world.only_stored().event;
    assert_eq!(event.attribute("encoded"), Some("Euro € 😀"));
    assert_eq!(event.attribute("quoted"), Some("a \"quoted\" text"));
    assert_eq!(event.attribute("twice"), Some("%20"));
    assert_eq!(event.attribute("raw"), Some("100% of %zz"));
}

/// JSON-02, JSON-03, JSON-04, JSON-05, JSON-06, JSON-07
#[tokio::test]
async fn data_in_json_is_stored_as_what_it_means() {
    let cases: [(&str, Option<&[u8]>); 7] = [
        (r#""data": {"n": 12345678901234567890.50}"#, Some(br#"{"n": 12345678901234567890.50}"#)),
        (r#""data": "I'm just a string""#, Some(br#""I'm just a string""#)),
        (r#""datacontenttype": "text/plain", "data": "text""#, Some(b"text")),
        (r#""data": null"#, Some(b"null")),
        (r#""data_base64": "AP8=""#, Some(&[0, 255])),
        (r#""subject": null"#, None),
        (r#""number": 7, "flag": true"#, None),
    ];
    for (member, data) in cases {
        let world = World::start().await;
        let body = format!(r#"{{"specversion": "1.0", "id": "1", "source": "/s", "type": "t", {member}}}"#);
        let reply = world.post(&[JSON], body).await;
        assert_eq!(reply.status, StatusCode::ACCEPTED, "{member}: {}", reply.body);
        let event = world.only_stored().event;
        assert_eq!(event.data().map(Bytes::as_ref), data, "{member}");
        assert_eq!(event.attribute("subject"), None);
    }
}

/// JSON-02, CE-05
#[tokio::test]
async fn extensions_keep_the_text_of_their_values_and_wrong_types_are_refused() {
    let world = World::start().await;
    let event = |member: &str| {
        format!(r#"{{"specversion": "1.0", "id": "1", "source": "/s", "type": "t", {member}}}"#)
    };
    let reply = world.post(&[JSON], event(r#""number": -7, "flag": true, "text": "7""#)).await;
    assert_eq!(reply.status, StatusCode::ACCEPTED, "{}", reply.body);
    let stored = world.only_stored().event;
    assert_eq!(stored.attribute("number"), Some("-7"));
    assert_eq!(stored.attribute("flag"), Some("true"));
    assert_eq!(stored.attribute("text"), Some("7"));
    let text = stored.attributes().iter().find(|attribute| attribute.name == "text").unwrap();
    assert_eq!(text.value_type, ValueType::String);

    // JSON-09
    for member in [r#""bad": {}"#, r#""bad": [1]"#, r#""bad": 1.5"#, r#""bad": 2147483648"#] {
        let reply = world.post(&[JSON], event(member)).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{member}");
        assert!(reply.body.contains("attribute bad"), "{member}: {}", reply.body);
    }
}
