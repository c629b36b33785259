//! Where events go that a subscriber does not take.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use trigon_tests::routes::sink;
use trigon_tests::subscriber::{Received, dead_address};
use trigon_tests::{Deployment, Event, Reply, Subscriber, broker, trigger};

/// One Trigger of a delivery test: its delivery, how many attempts fail, how many there are, where the event ends.
struct Case {
    delivery: Value,
    fails: u32,
    attempts: usize,
    ends: End,
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    Delivered,
    BrokerSink,
    TriggerSink,
    Parked,
}

async fn check<D: Deployment>(broker_delivery: impl Fn(&Subscriber) -> Value, cases: [Case; 2]) {
    let subscriber = Subscriber::start().await;
    let mut routes = vec![broker("default").delivery(broker_delivery(&subscriber))];
    for (n, case) in cases.iter().enumerate() {
        let fails = case.fails;
        subscriber.on(&format!("/t{n}"), move |received| {
            Reply::status(if received.attempt <= fails { 503 } else { 200 })
        });
        let mut delivery = case.delivery.clone();
        if delivery.get("deadLetterSink").is_some() {
            delivery["deadLetterSink"] = sink(&subscriber.url(&format!("/sink{n}")));
        }
        let object = trigger(&format!("t{n}"), &subscriber.url(&format!("/t{n}")));
        routes.push(if delivery.is_null() { object } else { object.delivery(delivery) });
    }
    let trigon = D::start(&routes).await;
    trigon.producer().accept(&Event::new("1")).await;
    for (n, case) in cases.iter().enumerate() {
        subscriber.receives(&format!("/t{n}"), case.attempts).await;
    }
    trigon.settled().await;
    let mut at_broker_sink = 0;
    for (n, case) in cases.iter().enumerate() {
        let status = trigon.trigger(&format!("t{n}"), "is there", |_| true).await;
        assert_eq!(subscriber.count(&format!("/t{n}")), case.attempts, "attempts of trigger {n}");
        assert_eq!(subscriber.count(&format!("/sink{n}")) == 1, case.ends == End::TriggerSink, "sink of {n}");
        assert_eq!(status.delivered == 1, case.ends == End::Delivered, "{status:?}");
        assert_eq!(status.parked == 1, case.ends == End::Parked, "{status:?}");
        at_broker_sink += usize::from(case.ends == End::BrokerSink);
    }
    assert_eq!(subscriber.count("/sink"), at_broker_sink, "the Broker's sink");
}

fn broker_sink(retry: u32) -> impl Fn(&Subscriber) -> Value {
    move |subscriber| json!({"retry": retry, "deadLetterSink": sink(&subscriber.url("/sink"))})
}

/// TST-14, DLV-26: upstream drops the event here, Trigon parks it.
async fn without_delivery_there_is_one_attempt_and_then_the_event_is_parked<D: Deployment>() {
    let case = |fails, ends| Case { delivery: Value::Null, fails, attempts: 1, ends };
    check::<D>(|_| json!({}), [case(1, End::Parked), case(0, End::Delivered)]).await;
}

/// TST-15, DLV-15, DLV-16
async fn the_retries_of_the_broker_count_for_triggers_without_delivery<D: Deployment>() {
    let case = |fails, ends| Case { delivery: Value::Null, fails, attempts: 4, ends };
    check::<D>(broker_sink(3), [case(3, End::Delivered), case(4, End::BrokerSink)]).await;
}

/// TST-16, DLV-25
async fn the_retries_of_a_trigger_replace_those_of_the_broker<D: Deployment>() {
    let first = Case {
        delivery: json!({"retry": 3, "deadLetterSink": {}}),
        fails: 3,
        attempts: 4,
        ends: End::Delivered,
    };
    let second = Case { delivery: json!({"retry": 1}), fails: 2, attempts: 2, ends: End::Parked };
    check::<D>(|_| json!({"retry": 0}), [first, second]).await;
}

/// TST-17
async fn a_trigger_without_delivery_falls_back_to_that_of_the_broker<D: Deployment>() {
    let first = Case {
        delivery: json!({"retry": 3, "deadLetterSink": {}}),
        fails: 3,
        attempts: 4,
        ends: End::Delivered,
    };
    let second = Case { delivery: Value::Null, fails: 2, attempts: 2, ends: End::BrokerSink };
    check::<D>(broker_sink(1), [first, second]).await;
}

/// TST-18, TST-39, DLS-09
async fn a_sink_of_the_trigger_is_used_instead_of_that_of_the_broker<D: Deployment>() {
    let first = Case {
        delivery: json!({"retry": 3, "deadLetterSink": {}}),
        fails: 4,
        attempts: 4,
        ends: End::TriggerSink,
    };
    let second = Case { delivery: Value::Null, fails: 2, attempts: 2, ends: End::BrokerSink };
    check::<D>(broker_sink(1), [first, second]).await;
}

/// X-02, DLS-10
async fn a_delivery_without_a_sink_falls_back_to_the_sink_of_the_broker_only<D: Deployment>() {
    let first = Case { delivery: json!({"retry": 2}), fails: 9, attempts: 3, ends: End::BrokerSink };
    let second = Case { delivery: json!({"timeout": "PT5S"}), fails: 9, attempts: 1, ends: End::BrokerSink };
    check::<D>(broker_sink(7), [first, second]).await;
}

/// TST-58: the Broker's retries must not leak in.
async fn a_trigger_with_a_sink_and_no_retry_rejects_exactly_once<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    subscriber.on("/busy", |_| Reply::status(429));
    subscriber.on("/wrong", |_| Reply::status(422).body("application/json", r#"{"why":"no"}"#));
    let object = |name: &str| {
        trigger(name, &subscriber.url(&format!("/{name}")))
            .delivery(json!({"deadLetterSink": sink(&subscriber.url(&format!("/{name}-sink")))}))
    };
    let trigon = D::start(&[
        broker("default").delivery(json!({"retry": 10})),
        object("busy"),
        object("wrong"),
        object("well"),
    ])
    .await;
    trigon.producer().accept(&Event::new("1")).await;
    subscriber.receives("/busy-sink", 1).await;
    subscriber.receives("/wrong-sink", 1).await;
    trigon.settled().await;
    let counts = ["/busy", "/busy-sink", "/wrong", "/wrong-sink", "/well", "/well-sink"];
    assert_eq!(counts.map(|path| subscriber.count(path)), [1, 1, 1, 1, 1, 0]);
}

/// TST-27
async fn what_a_flaky_subscriber_does_not_take_goes_to_the_sink_and_the_rest_to_it<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    subscriber.on("/flaky", |received| Reply::status(if received.order <= 2 { 500 } else { 200 }));
    let trigon = D::start(&[
        broker("default").delivery(json!({"deadLetterSink": sink(&subscriber.url("/dead"))})),
        trigger("flaky", &subscriber.url("/flaky")),
    ])
    .await;
    for n in 1..=3 {
        trigon.producer().accept(&Event::new(format!("{n}"))).await;
        subscriber.receives("/flaky", n).await;
    }
    subscriber.takes("/dead", 2).await;
    trigon.settled().await;
    assert_eq!(subscriber.ids("/dead"), ["1", "2"]);
    assert_eq!(subscriber.taken("/flaky").times.into_keys().collect::<Vec<_>>(), ["3"]);
}

/// TST-26, TST-38, DLS-11, RES-15
async fn every_event_for_an_address_that_cannot_be_reached_ends_in_the_sink<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    let trigon = D::start(&[
        broker("default").delivery(json!({"deadLetterSink": sink(&subscriber.url("/broker"))})),
        trigger("own", "bad://uri").delivery(json!({"deadLetterSink": sink(&subscriber.url("/own"))})),
        trigger("none", "bad://uri"),
    ])
    .await;
    trigon.producer().accept_many("e", 3).await;
    subscriber.takes("/own", 3).await;
    subscriber.takes("/broker", 3).await;
    trigon.settled().await;
    assert_eq!(["/own", "/broker"].map(|path| subscriber.count(path)), [3, 3]);
    assert_eq!(subscriber.received("/own")[0].attribute("knativeerrordest").as_deref(), Some("bad://uri"));
}

fn sole(received: &[Received]) -> &Received {
    assert_eq!(received.len(), 1);
    &received[0]
}

/// TST-32, TST-59, DLS-04 to DLS-08, DLV-06, DLV-07
async fn a_dead_letter_says_where_it_failed_and_how<D: Deployment>() {
    let large = "0123456789".repeat(200);
    let html = "<!doctype html><p>Not here</p>";
    let subscriber = Subscriber::start().await;
    subscriber.on("/bare", |_| Reply::status(422));
    subscriber.on("/json", |_| Reply::status(422).body("application/json", r#"{"message":"catastrophe"}"#));
    let body = large.clone();
    subscriber.on("/large", move |_| Reply::status(500).body("text/plain", body.clone()));
    subscriber.on("/html", move |_| Reply::status(404).body("text/html", html));
    subscriber
        .on("/header", |_| Reply::status(400).header("Kne-TestHeader", "seen").header("x-other", "unseen"));
    let refused = format!("http://{}/nobody", dead_address());
    let mut routes = vec![broker("default"), trigger("refused", &refused)];
    let answering = ["bare", "json", "large", "html", "header"];
    routes.extend(answering.map(|name| trigger(name, &subscriber.url(&format!("/{name}")))));
    let routes: Vec<_> = routes
        .into_iter()
        .zip(["", "refused", "bare", "json", "large", "html", "header"])
        .map(|(object, name)| match name {
            "" => object,
            _ => object.delivery(json!({"deadLetterSink": sink(&subscriber.url(&format!("/dead-{name}")))})),
        })
        .collect();
    let trigon = D::start(&routes).await;
    let event = Event::new("1").with("extra", "kept").with("time", "2026-11-21T08:00:00Z");
    trigon.producer().accept(&event.clone().data("text/plain", "hello")).await;
    for (name, code, data) in [
        ("refused", None, None),
        ("bare", Some("422"), None),
        ("json", Some("422"), Some(r#"{"message":"catastrophe"}"#)),
        ("large", Some("500"), Some(&large[..1024])),
        ("html", Some("404"), Some(html)),
        ("header", Some("400"), None),
    ] {
        let path = format!("/dead-{name}");
        let received = subscriber.receives(&path, 1).await;
        let dead = sole(&received);
        let destination =
            if name == "refused" { refused.clone() } else { subscriber.url(&format!("/{name}")) };
        assert_eq!(dead.attribute("knativeerrordest"), Some(destination), "{name}");
        assert_eq!(dead.attribute("knativeerrorcode").as_deref(), code, "{name}");
        assert_eq!(dead.attribute("knativeerrordata"), data.map(|data| STANDARD.encode(data)), "{name}");
        let header = (name == "header").then(|| "seen".to_owned());
        assert_eq!(dead.attribute("testheader"), header, "{name}");
        assert_eq!(dead.attribute("x-other"), None, "{name}");
        for (attribute, value) in event.attributes() {
            assert_eq!(dead.attribute(attribute).as_deref(), Some(value.as_str()), "{name}: {attribute}");
        }
        assert_eq!(dead.body, "hello", "{name}");
        assert_eq!(dead.header("kn-namespace"), Some("default"), "{name}");
        assert_eq!(dead.header("prefer"), None, "{name}");
    }
}

/// DLS-02, DLS-03: upstream drops it in the end, Trigon parks it.
async fn a_sink_is_tried_as_often_as_the_subscriber_and_then_the_event_is_parked<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    subscriber.on("/t", |_| Reply::status(503));
    subscriber.on("/dead", |_| Reply::status(503));
    let delivery = json!({"retry": 2, "deadLetterSink": sink(&subscriber.url("/dead"))});
    let trigon = D::start(&[broker("default"), trigger("t", &subscriber.url("/t")).delivery(delivery)]).await;
    trigon.producer().accept(&Event::new("1")).await;
    trigon.trigger("t", "has parked the event", |status| status.parked == 1).await;
    trigon.settled().await;
    assert_eq!(["/t", "/dead"].map(|path| subscriber.count(path)), [3, 3]);
}

/// RPL-13
async fn what_a_sink_replies_goes_nowhere<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    subscriber.on("/t", |received| match received.attribute("id").as_deref() {
        Some("1") => Reply::status(400),
        _ => Reply::status(202),
    });
    subscriber.on("/dead", |_| Reply::event(&Event::new("reply-of-sink")));
    let delivery = json!({"deadLetterSink": sink(&subscriber.url("/dead"))});
    let trigon = D::start(&[broker("default"), trigger("t", &subscriber.url("/t")).delivery(delivery)]).await;
    trigon.producer().accept(&Event::new("1")).await;
    subscriber.receives("/dead", 1).await;
    trigon.settled().await;
    assert_eq!(subscriber.ids("/t"), ["1"]);
}

on_every_deployment!(
    without_delivery_there_is_one_attempt_and_then_the_event_is_parked,
    the_retries_of_the_broker_count_for_triggers_without_delivery,
    the_retries_of_a_trigger_replace_those_of_the_broker,
    a_trigger_without_delivery_falls_back_to_that_of_the_broker,
    a_sink_of_the_trigger_is_used_instead_of_that_of_the_broker,
    a_delivery_without_a_sink_falls_back_to_the_sink_of_the_broker_only,
    a_trigger_with_a_sink_and_no_retry_rejects_exactly_once,
    what_a_flaky_subscriber_does_not_take_goes_to_the_sink_and_the_rest_to_it,
    every_event_for_an_address_that_cannot_be_reached_ends_in_the_sink,
    a_dead_letter_says_where_it_failed_and_how,
    a_sink_is_tried_as_often_as_the_subscriber_and_then_the_event_is_parked,
    what_a_sink_replies_goes_nowhere,
);
