//! What becomes of a subscriber's answer.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use trigon_core::binding::record::Envelope;
use trigon_core::filter::Filter;
use trigon_core::routing::Trigger;

use crate::world::*;

const CE: [(&str, &str); 4] =
    [("ce-specversion", "1.0"), ("ce-id", "r"), ("ce-source", "/reply"), ("ce-type", "reply.type")];

fn reply(status: StatusCode) -> Response {
    (status, CE, "reply data").into_response()
}

fn only(event_type: &str, trigger: Trigger) -> Trigger {
    let filter = Filter::exact(&[("type".to_owned(), event_type.to_owned())].into()).unwrap();
    Trigger { filter, ..trigger }
}

/// RPL-01, RPL-09, RPL-10, RPL-11, DLV-27
#[tokio::test]
async fn a_reply_is_an_event_of_the_broker_for_every_trigger() {
    let dir = folder();
    let (replier, reader) =
        (Subscriber::new(|_| Answer::Now(reply(StatusCode::OK))).await, Subscriber::taking().await);
    let triggers =
        vec![only("test.type", trigger("a", &replier.url)), only("reply.type", trigger("b", &reader.url))];
    let world = World::start(&log_in(&dir), triggers).await;
    let sent = builder("1").attribute("myext", "stays with the request").integer("knativebrokerttl", 9);
    world.send(sent.build().unwrap()).await;
    let got = &reader.got(1).await[0];
    assert_eq!((got.id(), got.header("ce-source"), &got.body[..]), ("r", Some("/reply"), &b"reply data"[..]));
    assert_eq!(got.header("ce-myext"), None);
    let records = world.records(&world.broker().topic).await;
    let stored = Envelope::decode(&records[1].1).unwrap();
    assert_eq!(stored.event.attribute("knativebrokerttl"), Some("8"));
    world.stop().await;
}

/// RPL-02, RPL-03, X-04: a CloudEvent is a reply on every 2xx but 202.
#[tokio::test]
async fn a_cloud_event_is_a_reply_on_any_success_but_accepted() {
    for (status, replies) in [(200, 1), (201, 1), (206, 1), (299, 1), (202, 0)] {
        let dir = folder();
        let status = StatusCode::from_u16(status).unwrap();
        let subscriber = Subscriber::new(move |_| Answer::Now(reply(status))).await;
        let world = World::start(&log_in(&dir), vec![only("test.type", trigger("t", &subscriber.url))]).await;
        world.send(event("1")).await;
        world.until("t", "delivered", |s| s.delivered == 1).await;
        assert_eq!(world.records(&world.broker().topic).await.len(), 1 + replies, "{status}");
        world.stop().await;
    }
}

/// RPL-01: a reply in structured mode.
#[tokio::test]
async fn a_structured_reply_is_taken() {
    let dir = folder();
    let subscriber = Subscriber::new(|_| {
        let body = r#"{"specversion":"1.0","id":"r","source":"/r","type":"reply.type","data":{"a":1}}"#;
        let headers = [("content-type", "application/cloudevents+json; charset=utf-8")];
        Answer::Now((StatusCode::OK, headers, body).into_response())
    })
    .await;
    let world = World::start(&log_in(&dir), vec![only("test.type", trigger("t", &subscriber.url))]).await;
    world.send(event("1")).await;
    world.until("t", "delivered", |s| s.delivered == 1).await;
    let records = world.records(&world.broker().topic).await;
    assert_eq!(Envelope::decode(&records[1].1).unwrap().event.id(), "r");
    world.stop().await;
}

/// RPL-04, RPL-05, RPL-06, RPL-07, RPL-12, X-05, Appendix 5: no reply is fine; something that is none is a failure
/// that is retried.
#[tokio::test]
async fn an_answer_that_is_neither_empty_nor_an_event_is_a_failure() {
    let structured = |body: &'static str| {
        move || (StatusCode::OK, [("content-type", "application/cloudevents+json")], body).into_response()
    };
    type Make = Box<dyn Fn() -> Response + Send>;
    let cases: Vec<(&str, Make, bool)> = vec![
        ("empty", Box::new(|| StatusCode::OK.into_response()), true),
        ("no content", Box::new(|| StatusCode::NO_CONTENT.into_response()), true),
        ("foreign text", Box::new(|| (StatusCode::OK, "thanks").into_response()), false),
        (
            "foreign json",
            Box::new(|| (StatusCode::OK, [("content-type", "application/json")], "{}").into_response()),
            false,
        ),
        ("malformed", Box::new(structured("{")), false),
        ("invalid", Box::new(structured(r#"{"specversion":"1.0"}"#)), false),
        ("binary without an id", Box::new(|| (StatusCode::OK, [CE[0], CE[2], CE[3]]).into_response()), false),
        (
            "batch",
            Box::new(|| {
                let headers = [("content-type", "application/cloudevents-batch+json")];
                (StatusCode::OK, headers, "[]").into_response()
            }),
            false,
        ),
    ];
    for (name, make, is_delivered) in cases {
        let dir = folder();
        let subscriber = Subscriber::new(move |_| Answer::Now(make())).await;
        let world = World::start(&log_in(&dir), vec![trigger("t", &subscriber.url)]).await;
        world.send(event("1")).await;
        let standing = world.until("t", "finished", |s| s.delivered + s.parked == 1).await;
        assert_eq!(standing.delivered == 1, is_delivered, "{name}");
        assert_eq!(subscriber.received().len(), if is_delivered { 1 } else { 4 }, "{name}");
        assert_eq!(world.records(&world.broker().topic).await.len(), 1, "{name}");
        world.stop().await;
    }
}

/// A reply larger than an event may be is a failure; it is not buffered.
#[tokio::test]
async fn a_reply_that_is_too_large_is_a_failure() {
    let dir = folder();
    let subscriber =
        Subscriber::new(|_| Answer::Now((StatusCode::OK, CE, vec![b'x'; (1 << 20) + 1]).into_response()))
            .await;
    let world = World::start(&log_in(&dir), vec![only("test.type", trigger("t", &subscriber.url))]).await;
    world.send(event("1")).await;
    world.until("t", "parked", |s| s.parked == 1).await;
    assert_eq!(world.records(&world.broker().topic).await.len(), 1);
    assert!(world.parked_events().await[0].reason.contains("more than 1048576 bytes"));
    world.stop().await;
}

/// HDR-03: of a reply's headers those travel on that a producer's do.
#[tokio::test]
async fn headers_of_a_reply_pass_the_same_filter_as_those_of_a_producer() {
    let dir = folder();
    let replier = Subscriber::new(|_| {
        let headers = [("knative-a", "1"), ("retry-after", "7"), ("test-header", "no"), ("cookie", "no")];
        Answer::Now((StatusCode::OK, CE, headers).into_response())
    })
    .await;
    let reader = Subscriber::taking().await;
    let triggers =
        vec![only("test.type", trigger("a", &replier.url)), only("reply.type", trigger("b", &reader.url))];
    let world = World::start(&log_in(&dir), triggers).await;
    world.send(event("1")).await;
    let got = &reader.got(1).await[0];
    assert_eq!((got.header("knative-a"), got.header("retry-after")), (Some("1"), Some("7")));
    assert_eq!((got.header("test-header"), got.header("cookie")), (None, None));
    world.stop().await;
}

/// TTL-04, TTL-05, X-32: the loop ends by itself, and no event of it counts as failed.
#[tokio::test]
async fn a_subscriber_that_replies_to_its_replies_stops_after_255_hops() {
    let dir = folder();
    let subscriber = Subscriber::new(|_| {
        // Whatever it says about its hops is overridden.
        Answer::Now((StatusCode::OK, CE, [("ce-knativebrokerttl", "250")]).into_response())
    })
    .await;
    let world = World::start(&log_in(&dir), vec![trigger("t", &subscriber.url)]).await;
    world.send(builder("1").integer("knativebrokerttl", 255).build().unwrap()).await;
    world.until("t", "all hops", |s| s.delivered == 255).await;
    let standing = world.until("t", "idle", |s| s.lag == 0).await;
    assert_eq!((standing.matched, standing.failures), (255, 0));
    assert!(world.metrics.encode().unwrap().contains(r#"replies_total{end="ttl_exhausted"} 1"#));
    world.stop().await;
}
