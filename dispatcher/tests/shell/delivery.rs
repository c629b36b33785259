//! What a subscriber is sent, what its answer means, and that one does not harm another.

use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use bytes::Bytes;
use futures::stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use trigon_core::binding::record::Envelope;
use trigon_core::delivery::{Format, Order, RetryAfter};
use trigon_core::filter::Filter;
use trigon_core::routing::{Trigger, TriggerState};
use trigon_dispatcher::outlet::OutletState;

use crate::world::*;

/// DLV-02, DLV-03, DLV-04, DLV-07, TTL-04
#[tokio::test]
async fn a_subscriber_gets_the_event_in_binary_mode_with_the_headers_of_the_data_plane() {
    let (dir, subscriber) = (folder(), Subscriber::taking().await);
    let world = World::start(&log_in(&dir), vec![trigger("t", &subscriber.url)]).await;
    let sent = builder("1").attribute("datacontenttype", "text/plain").integer("knativebrokerttl", 7);
    world.send(sent.data("hello").build().unwrap()).await;
    let received = &subscriber.got(1).await[0];
    assert_eq!(received.path, "/in");
    assert_eq!(received.header("ce-id"), Some("1"));
    assert_eq!(received.header("ce-specversion"), Some("1.0"));
    assert_eq!(received.header("content-type"), Some("text/plain"));
    assert_eq!(received.headers.get_all("prefer").iter().collect::<Vec<_>>(), ["reply"]);
    assert_eq!(received.header("kn-namespace"), Some("ns"));
    assert_eq!(received.header("ce-knativebrokerttl"), None);
    assert_eq!(received.body, "hello");
    let standing = world.until("t", "delivered", |s| s.delivered == 1).await;
    assert_eq!((standing.matched, standing.attempts, standing.failures), (1, 1, 0));
    world.stop().await;
}

/// DLV-03
#[tokio::test]
async fn the_format_json_is_sent_in_structured_mode() {
    let (dir, subscriber) = (folder(), Subscriber::taking().await);
    let mut json = trigger("t", &subscriber.url);
    json.delivery.format = Format::Json;
    let world = World::start(&log_in(&dir), vec![json]).await;
    let sent = builder("1").attribute("datacontenttype", "application/json").data(r#"{"a":1}"#);
    world.send(sent.build().unwrap()).await;
    let received = &subscriber.got(1).await[0];
    assert_eq!(received.header("content-type"), Some("application/cloudevents+json"));
    assert_eq!(received.header("ce-id"), None);
    let body: serde_json::Value = serde_json::from_slice(&received.body).unwrap();
    assert_eq!((&body["id"], &body["data"]["a"]), (&"1".into(), &1.into()));
    world.stop().await;
}

/// HDR-01, HDR-02, HDR-04, HDR-06, DLV-05
#[tokio::test]
async fn headers_that_the_producer_may_pass_on_reach_the_subscriber() {
    let (dir, subscriber) = (folder(), Subscriber::taking().await);
    let world = World::start(&log_in(&dir), vec![trigger("t", &subscriber.url)]).await;
    let passed_through =
        vec![("knative-hello".into(), Bytes::from("world")), ("x-request-id".into(), Bytes::from("42"))];
    world.send_envelope(Envelope { passed_through, ..Envelope::of(event("1")) }).await;
    let received = &subscriber.got(1).await[0];
    assert_eq!(received.header("knative-hello"), Some("world"));
    assert_eq!(received.header("x-request-id"), Some("42"));
    assert_eq!(received.headers.get_all("ce-id").iter().count(), 1);
    assert_eq!(received.headers.get_all("prefer").iter().count(), 1);
    world.stop().await;
}

/// DLV-01: each match is a delivery of its own, even to the same subscriber.
#[tokio::test]
async fn two_triggers_with_one_subscriber_deliver_twice() {
    let (dir, subscriber) = (folder(), Subscriber::taking().await);
    let triggers = vec![trigger("a", &subscriber.url), trigger("b", &subscriber.url)];
    let world = World::start(&log_in(&dir), triggers).await;
    world.send(event("1")).await;
    subscriber.got(2).await;
    world.until("a", "delivered", |s| s.delivered == 1).await;
    world.until("b", "delivered", |s| s.delivered == 1).await;
    assert_eq!(subscriber.ids(), ["1", "1"]);
    world.stop().await;
}

/// DLS-12
#[tokio::test]
async fn an_event_that_does_not_match_is_passed_over_and_the_cursor_moves_on() {
    let (dir, subscriber) = (folder(), Subscriber::taking().await);
    let mut picky = trigger("t", &subscriber.url);
    picky.filter = Filter::exact(&[("type".to_owned(), "other".to_owned())].into()).unwrap();
    let world = World::start(&log_in(&dir), vec![picky]).await;
    let position = world.send(event("1")).await;
    eventually("passed over", || {
        let at = world.trigger("t").partitions[0].clone();
        if at.watermark > position.offset.0 { Ok(()) } else { Err(format!("{at:?}")) }
    })
    .await;
    assert_eq!(world.trigger("t").total.matched, 0);
    assert!(subscriber.received().is_empty());
    world.stop().await;
}

/// DLV-08, DLV-09, DLV-10, DLV-11, DLV-12, DLV-13, DLV-15, DLS-01, RPL-02, X-25, TST-64, Appendix 5: the whole
/// table; what is not delivered is parked, because there is no dead letter sink.
#[tokio::test]
async fn every_status_is_delivered_retried_or_given_up_by_the_table() {
    let delivered = [200, 201, 202, 203, 204, 206, 299];
    let retried = [404, 408, 409, 429, 500, 501, 502, 503, 504, 599];
    let given_up = [300, 301, 302, 307, 308, 400, 401, 402, 403, 405, 406, 410, 413, 415, 422, 451];
    let all = delivered.iter().chain(&retried).chain(&given_up);
    let (dir, mut subscribers, mut triggers) = (folder(), Vec::new(), Vec::new());
    for status in all {
        let subscriber = Subscriber::answering(*status).await;
        triggers.push(trigger(&format!("t{status}"), &subscriber.url));
        subscribers.push((*status, subscriber));
    }
    let world = World::start(&log_in(&dir), triggers).await;
    world.send(event("1")).await;
    for (status, subscriber) in subscribers {
        let name = format!("t{status}");
        let standing =
            world.until(&name, "finished", |s| s.matched == 1 && s.delivered + s.parked == 1).await;
        let sent = subscriber.received().len();
        if delivered.contains(&status) {
            assert_eq!((standing.delivered, sent), (1, 1), "{status}");
        } else if retried.contains(&status) {
            assert_eq!((standing.parked, sent), (1, 4), "{status}");
        } else {
            assert_eq!((standing.parked, sent), (1, 1), "{status}");
        }
    }
    world.stop().await;
}

/// DLV-15, DLV-16: the matrix of the conformance tests.
#[tokio::test]
async fn an_event_is_delivered_when_its_last_attempt_succeeds_and_given_up_after_it() {
    for (failures, retry, is_delivered) in
        [(3, 3, true), (4, 3, false), (2, 1, false), (0, 0, true), (1, 0, false)]
    {
        let dir = folder();
        let subscriber = Subscriber::scripted((0..failures).map(|_| Answer::status(500))).await;
        let mut tried = trigger("t", &subscriber.url);
        tried.delivery.retry = retry;
        let world = World::start(&log_in(&dir), vec![tried]).await;
        world.send(event("1")).await;
        let standing = world.until("t", "finished", |s| s.delivered + s.parked == 1).await;
        assert_eq!(standing.delivered == 1, is_delivered, "{failures} failures, {retry} retries");
        assert_eq!(subscriber.received().len(), (failures + 1).min(retry as usize + 1));
        world.stop().await;
    }
}

/// DLV-14, DLS-11, RES-15
#[tokio::test]
async fn a_subscriber_that_cannot_be_reached_is_a_transport_error_at_every_attempt() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refused = format!("http://{}/", closed.local_addr().unwrap());
    drop(closed);
    for url in ["bad://uri", "http://", "no uri at all", "http://no-such-host.invalid/", &refused] {
        let dir = folder();
        let world = World::start(&log_in(&dir), vec![trigger("t", url)]).await;
        world.send(event("1")).await;
        let standing = world.until("t", "parked", |s| s.parked == 1).await;
        assert_eq!((standing.attempts, standing.failures), (5, 4), "{url}");
        world.stop().await;
    }
}

/// DLV-14: the connection is reset in the middle of the exchange.
#[tokio::test]
async fn a_subscriber_that_resets_is_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let mut server = JoinSet::new();
    server.spawn(async move {
        for connection in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4096];
            let read = stream.read(&mut buffer).await.unwrap();
            assert!(read > 0);
            match connection {
                0 => stream.set_zero_linger().unwrap(),
                1 => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await.unwrap(),
                _ => stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap(),
            }
        }
    });
    let dir = folder();
    let world = World::start(&log_in(&dir), vec![trigger("t", url)]).await;
    world.send(event("1")).await;
    let standing = world.until("t", "delivered", |s| s.delivered == 1).await;
    assert_eq!((standing.attempts, standing.failures), (3, 2));
    world.stop().await;
}

/// DLV-22
#[tokio::test]
async fn a_subscriber_that_never_answers_times_out_and_is_tried_again() {
    let dir = folder();
    let subscriber = Subscriber::scripted([Answer::Never, Answer::Never]).await;
    let mut hasty = trigger("t", &subscriber.url);
    hasty.delivery.timeout = Duration::from_millis(50);
    let world = World::start(&log_in(&dir), vec![hasty]).await;
    world.send(event("1")).await;
    world.until("t", "delivered or parked", |s| s.delivered + s.parked == 1).await;
    assert!(subscriber.received().len() >= 3);
    assert!(world.metrics.encode().unwrap().contains("end=\"timeout\""));
    world.stop().await;
}

fn busy_for(retry_after: &'static str) -> Answer {
    Answer::Now((StatusCode::SERVICE_UNAVAILABLE, [("retry-after", retry_after)]).into_response())
}

/// DLV-23, DLV-24: the origin is left alone for as long as it asks, by every Trigger that sends there.
#[tokio::test]
async fn retry_after_closes_the_way_to_its_origin() {
    let dir = folder();
    let subscriber = Subscriber::scripted([busy_for("3000")]).await;
    let mut patient = trigger("t", &subscriber.url);
    patient.delivery.retry_after = RetryAfter::UpTo(Duration::from_secs(3600));
    let world = World::start(&log_in(&dir), vec![patient]).await;
    world.send(event("1")).await;
    world.until("t", "waiting", |s| s.retrying == 1).await;
    let outlet = world.status().outlets[0].clone();
    assert_eq!(outlet.state, OutletState::Gated);
    assert!(outlet.gated_ms.is_some_and(|left| left <= 3_000_000));
    world.send(event("2")).await;
    world.until("t", "queued", |s| s.matched == 2 && s.in_flight == 1).await;
    assert_eq!(world.status().outlets[0].queued, 1);
    assert_eq!(subscriber.ids(), ["1"]);
    world.stop().await;
}

/// DLV-23: no longer than `retryAfterMax`, and not at all when that is nothing.
#[tokio::test]
async fn retry_after_is_honoured_up_to_its_cap() {
    for retry_after in [RetryAfter::UpTo(Duration::from_millis(1)), RetryAfter::Ignore] {
        let dir = folder();
        let subscriber = Subscriber::scripted([busy_for("3000"), busy_for("soon")]).await;
        let mut hasty = trigger("t", &subscriber.url);
        hasty.delivery.retry_after = retry_after;
        let world = World::start(&log_in(&dir), vec![hasty]).await;
        world.send(event("1")).await;
        world.until("t", "delivered", |s| s.delivered == 1).await;
        assert_eq!(subscriber.received().len(), 3);
        world.stop().await;
    }
}

/// DLV-10, X-25
#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (dir, elsewhere) = (folder(), Subscriber::taking().await);
    let location = elsewhere.url.clone();
    let subscriber = Subscriber::new(move |_| {
        let headers = [("location", location.clone())];
        Answer::Now((StatusCode::TEMPORARY_REDIRECT, headers).into_response())
    })
    .await;
    let world = World::start(&log_in(&dir), vec![trigger("t", &subscriber.url)]).await;
    world.send(event("1")).await;
    let standing = world.until("t", "parked", |s| s.parked == 1).await;
    assert_eq!(standing.failures, 1);
    assert!(elsewhere.received().is_empty());
    world.stop().await;
}

/// DLS-06: only the beginning of an error's body is read, however long it is.
#[tokio::test]
async fn a_hundred_megabytes_of_error_are_not_read() {
    let dir = folder();
    let subscriber = Subscriber::new(|_| {
        let chunks = (0..1600).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 64 << 10])));
        let body = Body::from_stream(stream::iter(chunks));
        Answer::Now((StatusCode::BAD_REQUEST, body).into_response())
    })
    .await;
    let world = World::start(&log_in(&dir), vec![trigger("t", &subscriber.url)]).await;
    world.send(event("1")).await;
    world.until("t", "parked", |s| s.parked == 1).await;
    let parked = world.parked_events().await;
    let data = parked[0].envelope.event.attribute("knativeerrordata").unwrap();
    assert_eq!(data.len(), 1368, "1024 bytes in base64");
    world.stop().await;
}

/// DLV-28, DLV-29: a dead, a hanging and a healthy subscriber, counted and not timed.
#[tokio::test]
async fn a_bad_origin_does_not_hold_up_another() {
    let (dir, healthy) = (folder(), Subscriber::taking().await);
    let hanging = Subscriber::new(|_| Answer::Never).await;
    let triggers = vec![
        trigger("healthy", &healthy.url),
        trigger("hanging", &hanging.url),
        trigger("dead", "http://127.0.0.1:1/"),
    ];
    let world = World::start(&log_in(&dir), triggers).await;
    the_healthy_trigger_gets_all_while_the_hanging_one_gets_none(&world).await;
}

async fn the_healthy_trigger_gets_all_while_the_hanging_one_gets_none(world: &World) {
    let events = (0..500).map(|n| Envelope::of(event(&n.to_string())).encode(Default::default())).collect();
    world.append(events).await;
    let standing = world.until("healthy", "delivered", |s| s.delivered == 500).await;
    assert_eq!(standing.failures, 0);
    let hanging = world.trigger("hanging").total;
    assert_conserved(&hanging);
    assert_eq!((hanging.delivered, hanging.in_flight + hanging.queued), (0, 500));
}

/// DLV-28: a gateway serves many subscribers under one host and port; one that hangs there is alone with that.
#[tokio::test]
async fn a_path_that_never_answers_does_not_hold_up_another_path_of_its_origin() {
    let dir = folder();
    let gateway = Subscriber::new(|received| match received.path.as_str() {
        "/in/hanging" => Answer::Never,
        _ => Answer::status(200),
    })
    .await;
    let mut hanging = trigger("hanging", format!("{}/hanging", gateway.url));
    hanging.delivery.timeout = Duration::from_secs(3600);
    hanging.concurrency = 100;
    let world = World::start(&log_in(&dir), vec![trigger("healthy", &gateway.url), hanging]).await;
    the_healthy_trigger_gets_all_while_the_hanging_one_gets_none(&world).await;
}

/// DLV-30: one after the other, retries included.
#[tokio::test]
async fn in_order_within_the_partition_each_event_waits_for_the_one_before() {
    let dir = folder();
    let mut fails = (0..30).map(|n| n % 3 == 0).collect::<Vec<_>>().into_iter();
    let subscriber =
        Subscriber::new(move |_| Answer::status(if fails.next() == Some(true) { 503 } else { 200 })).await;
    let ordered = Trigger { order: Order::Partition, ..trigger("t", &subscriber.url) };
    let world = World::start(&log_in(&dir), vec![ordered]).await;
    for n in 0..20 {
        world.send(event(&format!("{n:02}"))).await;
    }
    world.until("t", "delivered", |s| s.delivered == 20).await;
    let mut ids = subscriber.ids();
    assert!(ids.is_sorted(), "{ids:?}");
    ids.dedup();
    assert_eq!(ids.len(), 20);
    world.stop().await;
}

/// DLV-31: in order within a key, and a stuck key does not hold up the others.
#[tokio::test]
async fn in_order_within_a_key_and_other_keys_go_on() {
    let dir = folder();
    let subscriber = Subscriber::new(|received| match received.header("ce-partitionkey") {
        Some("a") => Answer::Held(StatusCode::OK.into_response()),
        _ => Answer::status(200),
    })
    .await;
    let keyed = Trigger { order: Order::Key, ..trigger("t", &subscriber.url) };
    let world = World::start(&log_in(&dir), vec![keyed]).await;
    for n in 0..30 {
        let key = ["a", "b", "c"][n % 3];
        world.send(builder(&format!("{n:02}")).attribute("partitionkey", key).build().unwrap()).await;
    }
    world.until("t", "the other keys", |s| s.delivered == 20).await;
    let of = |key: &str| {
        let mut all = subscriber.received();
        all.retain(|received| received.header("ce-partitionkey") == Some(key));
        all.iter().map(|received| received.id().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of("a"), ["00"], "the second of a key waits for the first");
    subscriber.release();
    world.until("t", "all", |s| s.delivered == 30).await;
    for key in ["a", "b", "c"] {
        assert!(of(key).is_sorted());
        assert_eq!(of(key).len(), 10);
    }
    world.stop().await;
}

/// A Trigger with a rate holds its requests back, and lets another with the same subscriber pass.
#[tokio::test]
async fn a_trigger_ahead_of_its_rate_holds_its_requests_back() {
    let (dir, subscriber) = (folder(), Subscriber::taking().await);
    let slow = Trigger { rate: Some(0.001), ..trigger("slow", &subscriber.url) };
    let world = World::start(&log_in(&dir), vec![slow, trigger("fast", &subscriber.url)]).await;
    for n in 0..10 {
        world.send(event(&n.to_string())).await;
    }
    world.until("fast", "delivered", |s| s.delivered == 10).await;
    world.until("slow", "delivered", |s| s.matched == 10 && s.delivered == 1).await;
    assert_eq!(subscriber.received().len(), 11);
    assert_eq!(world.status().outlets[0].queued, 9);
    world.stop().await;
}

/// A paused Trigger keeps its place and sends nothing; what it missed comes when it goes on.
#[tokio::test]
async fn a_paused_trigger_goes_on_where_it_stood() {
    let (dir, subscriber) = (folder(), Subscriber::taking().await);
    let paused = || Trigger { state: TriggerState::Paused, ..trigger("t", &subscriber.url) };
    let other = Subscriber::taking().await;
    let world = World::start(&log_in(&dir), vec![paused(), trigger("other", &other.url)]).await;
    for n in 0..5 {
        world.send(event(&n.to_string())).await;
    }
    world.until("other", "delivered", |s| s.delivered == 5).await;
    assert!(subscriber.received().is_empty());
    world.route(vec![trigger("t", &subscriber.url), trigger("other", &other.url)]).await;
    world.until("t", "delivered", |s| s.delivered == 5).await;
    world.stop().await;
}

/// KAF-11: a record that is no CloudEvent is passed over and counted.
#[tokio::test]
async fn a_record_that_is_no_event_is_passed_over() {
    let (dir, subscriber) = (folder(), Subscriber::taking().await);
    let world = World::start(&log_in(&dir), vec![trigger("t", &subscriber.url)]).await;
    world.append(vec![trigon_core::record::Record { value: Some("?".into()), ..Default::default() }]).await;
    world.send(event("1")).await;
    world.until("t", "delivered", |s| s.delivered == 1).await;
    let metrics = world.metrics.encode().unwrap();
    assert!(metrics.contains("trigon_dispatcher_undecodable_total 1"), "{metrics}");
    world.stop().await;
}
