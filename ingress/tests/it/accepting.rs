//! What is accepted, and that it is stored as it came.

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::json;
use trigon_core::event::SpecVersion;

use crate::world::{EVENT, JSON, JSON_BATCH, World};

fn with<'a>(headers: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let replaced = |name: &str| headers.iter().any(|(other, _)| *other == name);
    EVENT.iter().filter(|(name, _)| !replaced(name)).chain(headers).copied().collect()
}

/// IN-01, IN-05, TST-19, TST-51, HTTP-01
#[tokio::test]
async fn a_good_event_is_answered_exactly_202_in_binary_and_structured_mode() {
    let world = World::start().await;
    let structured = json!({"specversion": "1.0", "id": "1", "source": "/test", "type": "test.done"});
    for (headers, body) in [(EVENT.to_vec(), String::new()), (vec![JSON], structured.to_string())] {
        let reply = world.post(&headers, body).await;
        assert_eq!((reply.status, &*reply.body), (StatusCode::ACCEPTED, ""));
    }
    let stored = world.stored();
    assert_eq!(stored[0].event, stored[1].event);
}

/// IN-02, TST-19, TST-51, X-17
#[tokio::test]
async fn cloudevents_0_3_is_accepted_and_not_upgraded() {
    let world = World::start().await;
    let structured = json!({"specversion": "0.3", "id": "1", "source": "/test", "type": "test.done"});
    for (headers, body) in
        [(with(&[("ce-specversion", "0.3")]), String::new()), (vec![JSON], structured.to_string())]
    {
        assert_eq!(world.post(&headers, body).await.status, StatusCode::ACCEPTED);
    }
    for stored in world.stored() {
        assert_eq!(stored.event.spec_version(), SpecVersion::V03);
    }
}

/// IN-17
#[tokio::test]
async fn data_is_stored_byte_for_byte() {
    let world = World::start().await;
    let data: Vec<u8> = (0..=255).collect();
    assert_eq!(world.post(&EVENT, data.clone()).await.status, StatusCode::ACCEPTED);
    assert_eq!(world.only_stored().event.data(), Some(&Bytes::from(data)));
}

/// IN-18, IN-24
#[tokio::test]
async fn attributes_arrive_unchanged_and_only_the_hops_are_added() {
    let world = World::start().await;
    let sent = [
        ("ce-time", "2018-04-05T03:56:24.123456789012+02:00"),
        ("ce-subject", "Euro%20%e2%82%ac"),
        ("ce-dataschema", "http://example.com/schema"),
        ("CE-MyExtension", "1"),
        ("ce-traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("content-type", "Application/JSON; charset=utf-8"),
    ];
    assert_eq!(world.post(&with(&sent), "{}").await.status, StatusCode::ACCEPTED);
    let event = world.only_stored().event;
    let mut attributes: Vec<_> =
        event.attributes().iter().map(|attribute| (&*attribute.name, &*attribute.value)).collect();
    attributes.sort_unstable();
    let expected = [
        ("datacontenttype", "Application/JSON; charset=utf-8"),
        ("dataschema", "http://example.com/schema"),
        ("id", "1"),
        ("knativebrokerttl", "255"),
        ("myextension", "1"),
        ("source", "/test"),
        ("subject", "Euro €"),
        ("time", "2018-04-05T03:56:24.123456789012+02:00"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("type", "test.done"),
    ];
    assert_eq!(attributes, expected);
}

/// IN-19, TST-19
#[tokio::test]
async fn any_content_type_is_accepted_with_any_body_in_binary_mode() {
    let world = World::start().await;
    for content_type in ["application/xml", "application/json", "application/vnd.apache.thrift.binary"] {
        let headers = with(&[("content-type", content_type)]);
        assert_eq!(
            world.post(&headers, "neither of them").await.status,
            StatusCode::ACCEPTED,
            "{content_type}"
        );
    }
    assert_eq!(world.stored().len(), 3);
}

/// IN-20, CE-09
#[tokio::test]
async fn events_of_64_kib_are_accepted() {
    let world = World::start().await;
    for size in [36_864, 64 * 1024] {
        assert_eq!(world.post(&EVENT, vec![b'x'; size]).await.status, StatusCode::ACCEPTED, "{size}");
    }
    let sizes: Vec<_> = world.stored().iter().map(|stored| stored.event.data().unwrap().len()).collect();
    assert_eq!(sizes, [36_864, 64 * 1024]);
}

/// IN-16
#[tokio::test]
async fn negotiation_headers_are_ignored() {
    let world = World::start().await;
    let headers = with(&[("upgrade", "h2c"), ("connection", "upgrade"), ("prefer", "reply")]);
    assert_eq!(world.post(&headers, "").await.status, StatusCode::ACCEPTED);
}

/// HDR-01, HDR-02, HDR-04, X-19
#[tokio::test]
async fn some_headers_travel_with_the_event_and_others_do_not() {
    let world = World::start().await;
    let headers = with(&[
        ("Knative-Hello", "world"),
        ("X-B3-TraceId", "abc"),
        ("x-request-id", "r1"),
        ("retry-after", "3"),
        ("traceparent", "00-1-2-03"),
        ("authorization", "Bearer x"),
        ("cookie", "a=b"),
        ("foo", "bar"),
    ]);
    assert_eq!(world.post(&headers, "").await.status, StatusCode::ACCEPTED);
    let stored = world.only_stored();
    let mut passed: Vec<_> =
        stored.passed_through.iter().map(|(name, value)| (&**name, &value[..])).collect();
    passed.sort_unstable();
    let expected: [(&str, &[u8]); 4] = [
        ("knative-hello", b"world"),
        ("retry-after", b"3"),
        ("x-b3-traceid", b"abc"),
        ("x-request-id", b"r1"),
    ];
    assert_eq!(passed, expected);
}

/// TTL-02, TTL-03
#[tokio::test]
async fn the_hops_of_an_event_are_set_or_counted_down() {
    for (sent, stored) in [(None, "255"), (Some("10"), "9"), (Some("XYZ"), "255")] {
        let world = World::start().await;
        let extension: Vec<_> = sent.map(|hops| ("ce-knativebrokerttl", hops)).into_iter().collect();
        assert_eq!(world.post(&with(&extension), "").await.status, StatusCode::ACCEPTED);
        assert_eq!(world.only_stored().event.attribute("knativebrokerttl"), Some(stored), "{sent:?}");
    }
}

/// JSON-08
#[tokio::test]
async fn an_empty_batch_is_accepted_and_nothing_is_stored() {
    let world = World::start().await;
    assert_eq!(world.post(&[JSON_BATCH], "[]").await.status, StatusCode::ACCEPTED);
    assert_eq!(world.log.appends(), 0);
}

/// The key is the `partitionkey`, so that events that belong together stay in order (KAF-09).
#[tokio::test]
async fn the_partitionkey_is_the_key_of_the_record() {
    let world = World::start().await;
    assert_eq!(world.post(&with(&[("ce-partitionkey", "k")]), "").await.status, StatusCode::ACCEPTED);
    let records = world.log.records(&crate::world::topic());
    assert_eq!(records[0].key, Some(Bytes::from_static(b"k")));
}

/// IN-09, IN-10, WH-07, WH-09, X-18
#[tokio::test]
async fn options_consents_to_any_sender_on_any_path() {
    let world = World::start().await;
    for path in ["/default/orders", "/default/missing", "/", "/a/b/c"] {
        let origin =
            [("webhook-request-origin", "eventemitter.example.com"), ("webhook-request-rate", "120")];
        let reply = world.send(Method::OPTIONS, path, &origin, "").await;
        assert_eq!(reply.status, StatusCode::OK, "{path}");
        assert_eq!(reply.headers["allow"], "POST, OPTIONS");
        assert_eq!(reply.headers["webhook-allowed-origin"], "*");
        assert_eq!(reply.headers["webhook-allowed-rate"], "*");
    }
}
