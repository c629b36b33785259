//! Where events go that the subscriber did not take.

use axum::http::StatusCode;
use axum::response::IntoResponse;
use trigon_core::delivery::RetryAfter;
use trigon_core::routing::Trigger;

use crate::world::*;

fn with_sink(trigger: Trigger, sink: &str) -> Trigger {
    let mut delivery = trigger.delivery.clone();
    delivery.dead_letter_sink = Some(destination(sink));
    delivery.retry_after = RetryAfter::Ignore;
    Trigger { delivery, ..trigger }
}

/// DLS-01, DLS-04, DLS-05, DLS-06, DLS-07, DLS-08, DLV-06, DLV-07, X-26
#[tokio::test]
async fn a_dead_letter_is_the_event_with_the_reason_added() {
    let (dir, sink) = (folder(), Subscriber::taking().await);
    let subscriber = Subscriber::new(|_| {
        let headers = [("kne-Reason", "full"), ("x-other", "no")];
        Answer::Now((StatusCode::UNPROCESSABLE_ENTITY, headers, "bad order").into_response())
    })
    .await;
    let world = World::start(&log_in(&dir), vec![with_sink(trigger("t", &subscriber.url), &sink.url)]).await;
    let sent = builder("1").attribute("myext", "kept").integer("knativebrokerttl", 5).data("order 7");
    world.send(sent.build().unwrap()).await;
    let got = &sink.got(1).await[0];
    assert_eq!(
        (got.id(), got.header("ce-source"), got.header("ce-type")),
        ("1", Some("/test"), Some("test.type"))
    );
    assert_eq!((got.header("ce-myext"), &got.body[..]), (Some("kept"), &b"order 7"[..]));
    assert_eq!(got.header("ce-knativeerrordest"), Some(&*subscriber.url));
    assert_eq!(got.header("ce-knativeerrorcode"), Some("422"));
    assert_eq!(got.header("ce-knativeerrordata"), Some("YmFkIG9yZGVy"));
    assert_eq!((got.header("ce-reason"), got.header("ce-other")), (Some("full"), None));
    assert_eq!((got.header("prefer"), got.header("kn-namespace")), (None, Some("ns")));
    assert_eq!(got.header("ce-knativebrokerttl"), None);
    let standing = world.until("t", "dead-lettered", |s| s.dead_lettered == 1).await;
    assert_eq!((standing.delivered, standing.parked), (0, 0));
    assert_eq!(subscriber.received().len(), 1);
    world.stop().await;
}

/// DLS-05, DLS-06, DLS-11, X-26: without an answer there is no code and no data.
#[tokio::test]
async fn every_event_for_a_bad_uri_is_dead_lettered_without_a_code() {
    let (dir, sink) = (folder(), Subscriber::taking().await);
    let world = World::start(&log_in(&dir), vec![with_sink(trigger("t", "bad://uri"), &sink.url)]).await;
    for n in 0..20 {
        world.send(event(&n.to_string())).await;
    }
    world.until("t", "dead-lettered", |s| s.dead_lettered == 20).await;
    for got in sink.received() {
        assert_eq!(got.header("ce-knativeerrordest"), Some("bad://uri"));
        assert_eq!((got.header("ce-knativeerrorcode"), got.header("ce-knativeerrordata")), (None, None));
    }
    world.stop().await;
}

/// DLS-02, DLS-03: the sink is retried as the subscriber is; what it does not take is parked and the partition
/// moves on.
#[tokio::test]
async fn what_the_sink_does_not_take_is_parked_after_its_retries() {
    let (dir, sink) = (folder(), Subscriber::answering(500).await);
    let subscriber = Subscriber::answering(400).await;
    let world = World::start(&log_in(&dir), vec![with_sink(trigger("t", &subscriber.url), &sink.url)]).await;
    world.send(event("1")).await;
    world.until("t", "parked", |s| s.parked == 1 && s.lag == 0).await;
    assert_eq!((subscriber.received().len(), sink.received().len()), (1, 4));
    let parked = &world.parked_events().await[0];
    assert!(parked.reason.contains("answered 400") && parked.reason.contains("answered 500"), "{parked:?}");
    assert_eq!(parked.envelope.event.attribute("knativeerrorcode"), Some("400"));
    world.stop().await;
}

/// DLS-02: a sink that fails at first gets the dead letter later.
#[tokio::test]
async fn a_sink_that_recovers_gets_the_dead_letter() {
    let dir = folder();
    let sink = Subscriber::scripted([Answer::status(503), Answer::status(500)]).await;
    let subscriber = Subscriber::answering(404).await;
    let world = World::start(&log_in(&dir), vec![with_sink(trigger("t", &subscriber.url), &sink.url)]).await;
    world.send(event("1")).await;
    world.until("t", "dead-lettered", |s| s.dead_lettered == 1).await;
    assert_eq!((subscriber.received().len(), sink.received().len()), (4, 3));
    world.stop().await;
}

/// RPL-13: an event in the sink's answer is no reply.
#[tokio::test]
async fn the_answer_of_a_sink_is_no_reply() {
    let dir = folder();
    let sink = Subscriber::new(|_| {
        let headers =
            [("ce-specversion", "1.0"), ("ce-id", "r"), ("ce-source", "/r"), ("ce-type", "reply.type")];
        Answer::Now((StatusCode::OK, headers, "x").into_response())
    })
    .await;
    let subscriber = Subscriber::answering(400).await;
    let world = World::start(&log_in(&dir), vec![with_sink(trigger("t", &subscriber.url), &sink.url)]).await;
    world.send(event("1")).await;
    world.until("t", "dead-lettered", |s| s.dead_lettered == 1).await;
    assert_eq!(world.records(&world.broker().topic).await.len(), 1);
    world.stop().await;
}

/// DLS-09, DLS-10, X-02, DLV-25: the routing table has resolved whose sink it is; no other one is asked.
#[tokio::test]
async fn each_trigger_uses_the_sink_that_it_was_given() {
    let (dir, of_trigger, of_broker) = (folder(), Subscriber::taking().await, Subscriber::taking().await);
    let subscriber = Subscriber::answering(400).await;
    let triggers = vec![
        with_sink(trigger("own", &subscriber.url), &of_trigger.url),
        with_sink(trigger("inherited", &subscriber.url), &of_broker.url),
    ];
    let world = World::start(&log_in(&dir), triggers).await;
    world.send(event("1")).await;
    world.until("own", "dead-lettered", |s| s.dead_lettered == 1).await;
    world.until("inherited", "dead-lettered", |s| s.dead_lettered == 1).await;
    assert_eq!((of_trigger.ids(), of_broker.ids()), (vec!["1".to_owned()], vec!["1".to_owned()]));
    world.stop().await;
}

/// DLV-26: no delivery options are one attempt and no sink.
#[tokio::test]
async fn without_delivery_options_there_is_one_attempt() {
    let (dir, subscriber) = (folder(), Subscriber::answering(500).await);
    let mut bare = trigger("t", &subscriber.url);
    bare.delivery.retry = 0;
    bare.delivery.backoff = None;
    let world = World::start(&log_in(&dir), vec![bare]).await;
    world.send(event("1")).await;
    world.until("t", "parked", |s| s.parked == 1).await;
    assert_eq!(subscriber.received().len(), 1);
    world.stop().await;
}

/// DLV-20: retries without a backoff follow at once, and they end.
#[tokio::test]
async fn without_a_backoff_the_retries_follow_at_once() {
    let (dir, subscriber) = (folder(), Subscriber::answering(500).await);
    let mut eager = trigger("t", &subscriber.url);
    eager.delivery.backoff = None;
    let world = World::start(&log_in(&dir), vec![eager]).await;
    world.send(event("1")).await;
    world.until("t", "parked", |s| s.parked == 1).await;
    assert_eq!(subscriber.received().len(), 4);
    world.stop().await;
}
