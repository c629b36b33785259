//! What is refused, with which status and which words.

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use trigon_ingress::settings::WebhookConsent;
use trigon_ingress::{IngressSettings, Served, Waiting};
use trigon_runtime::shutdown::DrainSettings;

use crate::world::{BROKER, EVENT, JSON, JSON_BATCH, World, broker_id};

const GOOD: &[(&str, &str)] = &EVENT;

fn without(name: &str) -> Vec<(&'static str, &'static str)> {
    EVENT.iter().filter(|(other, _)| *other != name).copied().collect()
}

fn with(name: &'static str, value: &'static str) -> Vec<(&'static str, &'static str)> {
    let mut headers = without(name);
    headers.push((name, value));
    headers
}

/// IN-03, IN-06, IN-07, TST-19, TST-51
#[tokio::test]
async fn a_bad_event_is_answered_exactly_400_with_the_attribute_and_nothing_is_stored() {
    let world = World::start().await;
    let cases = [
        (without("ce-specversion"), "specversion"),
        (without("ce-id"), "id"),
        (without("ce-source"), "source"),
        (without("ce-type"), "type"),
        (with("ce-id", ""), "id"),
        (with("ce-source", ""), "source"),
        (with("ce-type", ""), "type"),
        (with("ce-specversion", "19.0"), "specversion"),
        (with("ce-specversion", "9000.1"), "specversion"),
        (with("ce-time", "yesterday"), "time"),
        (with("ce-dataschema", "not/absolute"), "dataschema"),
        (with("ce-subject", ""), "subject"),
        (with("content-type", "not a media type"), "datacontenttype"),
        (with("ce-subject", "%C0%A0"), "subject"),
    ];
    for (headers, attribute) in cases {
        let reply = world.post(&headers, "data").await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{headers:?}");
        assert_eq!(reply.headers["content-type"], "text/plain; charset=utf-8");
        assert!(reply.body.contains(&format!("attribute {attribute}: ")), "{headers:?}: {}", reply.body);
    }
    assert_eq!(world.log.appends(), 0);
}

/// IN-06
#[tokio::test]
async fn what_is_no_event_at_all_is_answered_400_with_how_to_send_one() {
    let world = World::start().await;
    for headers in [vec![], vec![("content-type", "application/json")]] {
        let reply = world.post(&headers, "{}").await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
        assert!(reply.body.contains("ce-specversion"), "{}", reply.body);
    }
    for body in ["", "{", "[]", "null", "\"text\"", "{} {}"] {
        let reply = world.post(&[JSON], body).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{body:?}");
    }
    assert_eq!(world.log.appends(), 0);
}

/// HTTP-16
#[tokio::test]
async fn an_attribute_may_be_sent_only_once() {
    let world = World::start().await;
    for twice in [("ce-id", "2"), ("ce-id", "1")] {
        let mut headers = EVENT.to_vec();
        headers.push(twice);
        let reply = world.post(&headers, "").await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
        assert!(reply.body.contains("attribute id: "), "{}", reply.body);
    }
}

/// HTTP-17, HTTP-04
#[tokio::test]
async fn the_name_of_an_attribute_must_be_one() {
    let world = World::start().await;
    for name in ["ce-foo-bar", "ce-foo_bar", "ce-", "ce-data", "ce-datacontenttype"] {
        let reply = world.post(&with(name, "x"), "").await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{name}");
    }
    assert_eq!(world.log.appends(), 0);
}

/// IN-08, TST-19
#[tokio::test]
async fn other_methods_are_answered_405_with_those_that_are_allowed() {
    let world = World::start().await;
    for method in [Method::GET, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD, Method::TRACE] {
        let reply = world.send(method.clone(), BROKER, GOOD, "").await;
        assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(reply.headers["allow"], "POST, OPTIONS");
    }
}

/// IN-09, X-18
#[tokio::test]
async fn options_is_answered_405_when_senders_shall_not_register() {
    let settings = IngressSettings { webhook_consent: WebhookConsent::Nobody, ..IngressSettings::default() };
    let world = World::with(settings, DrainSettings::default()).await;
    let reply = world.send(Method::OPTIONS, BROKER, &[], "").await;
    assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(reply.headers["allow"], "POST");
    assert!(!reply.headers.contains_key("webhook-allowed-origin"));
}

/// IN-11, IN-12
#[tokio::test]
async fn the_path_is_a_namespace_and_a_broker() {
    let world = World::start().await;
    let cases = [
        ("/default/orders", StatusCode::ACCEPTED, ""),
        ("/default/orders/", StatusCode::ACCEPTED, ""),
        ("/default/orders?query=ignored", StatusCode::ACCEPTED, ""),
        ("/", StatusCode::NOT_FOUND, "send events to /NAMESPACE/BROKER\n"),
        ("/default", StatusCode::BAD_REQUEST, "the path is not of the form /NAMESPACE/BROKER\n"),
        ("/default/", StatusCode::BAD_REQUEST, "the path is not of the form /NAMESPACE/BROKER\n"),
        ("/a/b/c", StatusCode::BAD_REQUEST, "the path is not of the form /NAMESPACE/BROKER\n"),
        ("//orders", StatusCode::BAD_REQUEST, "the path is not of the form /NAMESPACE/BROKER\n"),
        ("/default/orders//", StatusCode::BAD_REQUEST, "the path is not of the form /NAMESPACE/BROKER\n"),
        (
            "/default/missing",
            StatusCode::NOT_FOUND,
            "broker default/missing does not exist; the admin address lists those that do\n",
        ),
    ];
    for (path, status, body) in cases {
        let reply = world.send(Method::POST, path, GOOD, "data").await;
        assert_eq!((reply.status, &*reply.body), (status, body), "{path}");
    }
}

/// IN-12: a 404 means try again, and a Broker that appears is found without a restart.
#[tokio::test]
async fn a_broker_is_served_as_soon_as_the_table_has_it_and_no_longer() {
    let world = World::start().await;
    let served = world.served.swap(Arc::new(Served::default()));
    assert_eq!(world.post(GOOD, "").await.status, StatusCode::NOT_FOUND);
    world.served.store(served);
    assert_eq!(world.post(GOOD, "").await.status, StatusCode::ACCEPTED);
}

/// IN-12, IN-13: a Broker that is known and cannot take events yet is there, so the sender tries again soon.
#[tokio::test]
async fn a_broker_that_waits_is_answered_with_what_it_waits_for() {
    let world = World::start().await;
    let served = world.served.load_full();
    let broker = Arc::clone(&served.table.brokers[&broker_id()]);
    let waiting = Waiting { broker, reason: "topic t does not exist".into() };
    world.served.store(Arc::new(Served { waiting: [(broker_id(), waiting)].into(), ..Served::default() }));
    let reply = world.post(GOOD, "").await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.headers["retry-after"], "1");
    let text = "broker default/orders takes no events yet: topic t does not exist; send the event again\n";
    assert_eq!(reply.body, text);
    let counted =
        "trigon_ingress_refused_requests_total{broker=\"default/orders\",reason=\"waiting_broker\"} 1";
    let metrics = world.metrics.encode().unwrap();
    assert!(metrics.contains(counted), "{metrics}");
    world.served.store(served);
    assert_eq!(world.post(GOOD, "").await.status, StatusCode::ACCEPTED);
}

/// IN-14
#[tokio::test]
async fn the_first_check_that_fails_answers() {
    let settings = IngressSettings { max_body_bytes: 8, ..IngressSettings::default() };
    let world = World::with(settings, DrainSettings::default()).await;
    let bad = without("ce-id");
    let looping = with("ce-knativebrokerttl", "1");
    let large = "x".repeat(9);
    // Each case has every fault of the cases below it.
    let cases = [
        (Method::GET, "/a", &bad, &*large, StatusCode::METHOD_NOT_ALLOWED),
        (Method::POST, "/a", &bad, &*large, StatusCode::BAD_REQUEST),
        (Method::POST, "/default/missing", &bad, &*large, StatusCode::NOT_FOUND),
        (Method::POST, BROKER, &bad, &*large, StatusCode::PAYLOAD_TOO_LARGE),
        (Method::POST, BROKER, &bad, "", StatusCode::BAD_REQUEST),
        (Method::POST, BROKER, &looping, "", StatusCode::BAD_REQUEST),
    ];
    let texts = ["POST", "form", "exist", "larger", "attribute id", "attribute knativebrokerttl"];
    for ((method, path, headers, body, status), text) in cases.into_iter().zip(texts) {
        let reply = world.send(method, path, headers, body.to_owned()).await;
        assert_eq!(reply.status, status, "{text}");
        assert!(reply.body.contains(text), "{text}: {}", reply.body);
    }
    assert_eq!(world.log.appends(), 0);
}

/// IN-15, HTTP-02, HTTP-03
#[tokio::test]
async fn a_format_that_is_not_read_is_answered_415_and_never_stored_as_data() {
    let world = World::start().await;
    for content_type in ["application/cloudevents-batch+avro", "application/cloudevents+avro"] {
        let mut headers = EVENT.to_vec();
        headers.push(("content-type", content_type));
        let reply = world.post(&headers, "data").await;
        assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{content_type}");
        assert!(reply.body.contains(content_type), "{}", reply.body);
        assert!(reply.body.contains("application/cloudevents-batch+json"), "{}", reply.body);
    }
    assert_eq!(world.log.appends(), 0);
}

/// IN-15
#[tokio::test]
async fn a_batch_in_which_one_event_is_wrong_is_refused_as_a_whole_and_names_it() {
    let world = World::start().await;
    let good = json!({"specversion": "1.0", "id": "a", "source": "/test", "type": "t"});
    let cases: [(Value, &[&str]); 3] = [
        (
            json!([good, {"specversion": "1.0", "id": "wrong", "source": "/test"}]),
            &["1", "wrong", "attribute type"],
        ),
        (json!([good, good, 7]), &["2"]),
        (
            json!([good, {"specversion": "1.0", "id": "around", "source": "/s", "type": "t", "knativebrokerttl": 1}]),
            &["event 1", "\"around\"", "attribute knativebrokerttl"],
        ),
    ];
    for (batch, texts) in cases {
        let reply = world.post(&[JSON_BATCH], batch.to_string()).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{batch}");
        for text in texts {
            assert!(reply.body.contains(text), "{text}: {}", reply.body);
        }
        assert!(reply.body.contains("no event of the batch was taken"), "{}", reply.body);
    }
    let reply = world.post(&[JSON_BATCH], good.to_string()).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    assert_eq!(world.log.appends(), 0);
}

#[tokio::test]
async fn a_batch_of_too_many_events_is_answered_413_with_the_limit() {
    let settings = IngressSettings { max_batch_events: 2, ..IngressSettings::default() };
    let world = World::with(settings, DrainSettings::default()).await;
    let event = json!({"specversion": "1.0", "id": "a", "source": "/test", "type": "t"});
    let batch = |events: usize| Value::from(vec![event.clone(); events]).to_string();
    assert_eq!(world.post(&[JSON_BATCH], batch(2)).await.status, StatusCode::ACCEPTED);
    let reply = world.post(&[JSON_BATCH], batch(3)).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(reply.body, "the batch has 3 events, more than 2; no event of it was taken\n");
}

/// HDR-01: every event of a batch stores the headers that travel on, so a small request could fill the log.
#[tokio::test]
async fn a_batch_whose_headers_would_be_stored_too_often_is_answered_413() {
    let settings = IngressSettings { max_body_bytes: 1000, ..IngressSettings::default() };
    let world = World::with(settings, DrainSettings::default()).await;
    let event = json!({"specversion": "1.0", "id": "a", "source": "/test", "type": "t"});
    let batch = |events: usize| Value::from(vec![event.clone(); events]).to_string();
    let large = "x".repeat(200);
    let headers = [JSON_BATCH, ("x-b3-flood", large.as_str())];
    assert_eq!(world.post(&headers, batch(4)).await.status, StatusCode::ACCEPTED);
    let reply = world.post(&headers, batch(5)).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(
        reply.body.contains("more than 1000 bytes") && reply.body.contains("send fewer events"),
        "{}",
        reply.body
    );
    assert_eq!(world.post(&[JSON_BATCH, ("x-other", &large)], batch(5)).await.status, StatusCode::ACCEPTED);
    assert_eq!(world.stored().len(), 9);
}

/// TST-64: the rows of the reference's ingress handler, with Trigon's answers
#[tokio::test]
async fn the_table_of_the_reference() {
    let world = World::start().await;
    let structured = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}).to_string();
    let rows = [
        ("wrong method PATCH", Method::PATCH, BROKER, GOOD, "", 405),
        ("wrong method PUT", Method::PUT, BROKER, GOOD, "", 405),
        ("wrong method GET", Method::GET, BROKER, GOOD, "", 405),
        ("wrong method DELETE", Method::DELETE, BROKER, GOOD, "", 405),
        ("options", Method::OPTIONS, BROKER, &[][..], "", 200),
        ("one segment", Method::POST, "/default", GOOD, "", 400),
        ("three segments", Method::POST, "/default/orders/extra", GOOD, "", 400),
        ("root", Method::POST, "/", GOOD, "", 404),
        ("unknown broker", Method::POST, "/default/missing", GOOD, "", 404),
        ("no event", Method::POST, BROKER, &[], "not an event", 400),
        ("no hops left", Method::POST, BROKER, &with("ce-knativebrokerttl", "0"), "", 400),
        ("binary", Method::POST, BROKER, GOOD, "data", 202),
        ("structured", Method::POST, BROKER, &[JSON], &*structured, 202),
        ("trailing slash", Method::POST, "/default/orders/", GOOD, "data", 202),
    ];
    for (row, method, path, headers, body, status) in rows {
        let reply = world.send(method, path, headers, body.to_owned()).await;
        assert_eq!(reply.status.as_u16(), status, "{row}: {}", reply.body);
    }
    assert_eq!(world.stored().len(), 3);
}

#[tokio::test]
async fn refusals_are_counted_without_making_labels_from_what_is_sent() {
    let world = World::start().await;
    world.post(&without("ce-id"), "").await;
    for path in ["/default/missing", "/default/other"] {
        world.send(Method::POST, path, GOOD, "").await;
    }
    let refused = |broker: &str, reason: &str, count: usize| {
        let labels = format!("broker=\"{broker}\",reason=\"{reason}\"");
        format!("trigon_ingress_refused_requests_total{{{labels}}} {count}")
    };
    assert!(world.has_metric(&refused("default/orders", "invalid_event", 1)));
    assert!(world.has_metric(&refused("", "unknown_broker", 2)));

    world.ingress.forget(&broker_id());
    assert!(!world.metrics.encode().unwrap().contains("default/orders"));
    assert!(world.has_metric(&refused("", "unknown_broker", 2)));
}
