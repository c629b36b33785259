//! What becomes of the events that subscribers answer with.

use serde_json::json;
use trigon_tests::routes::sink;
use trigon_tests::{Deployment, Event, Reply, Subscriber, broker, trigger};

/// RPL-01, RPL-09, TST-52, TST-56
async fn a_reply_in_either_mode_is_accepted_as_it_is<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    let reply = |id: &str| {
        Event::new(id).with("type", "reply").with("own", "mine").data("application/json", r#"{"a":[1,2]}"#)
    };
    let (binary, structured) = (reply("binary"), reply("structured"));
    subscriber.on("/asked", move |received| match received.attribute("id").as_deref() {
        Some("b") => Reply::event(&binary),
        _ => Reply::structured_event(&structured).with_status(201),
    });
    let trigon = D::start(&[
        broker("default"),
        trigger("asked", &subscriber.url("/asked")).filter("type", "test"),
        trigger("told", &subscriber.url("/told")).filter("type", "reply"),
    ])
    .await;
    let event = |id: &str| Event::new(id).with("notcopied", "x");
    trigon.producer().accept(&event("b")).await;
    trigon.producer().accept(&event("s")).await;
    for received in subscriber.receives("/told", 2).await {
        assert_eq!(received.attribute("own").as_deref(), Some("mine"));
        assert_eq!(received.attribute("notcopied"), None);
        assert_eq!(received.attribute("datacontenttype").as_deref(), Some("application/json"));
        assert_eq!(
            serde_json::from_slice::<serde_json::Value>(&received.body).ok(),
            Some(json!({"a": [1, 2]}))
        );
    }
}

/// RPL-02, RPL-03, RPL-04, X-04
async fn a_202_is_no_reply_even_if_it_looks_like_one<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    subscriber.on("/t", |_| Reply::event(&Event::new("no-reply").with("type", "reply")).with_status(202));
    let trigon = D::start(&[
        broker("default"),
        trigger("t", &subscriber.url("/t")).filter("type", "test"),
        trigger("replies", &subscriber.url("/replies")).filter("type", "reply"),
    ])
    .await;
    trigon.producer().accept(&Event::new("1")).await;
    subscriber.receives("/t", 1).await;
    trigon.settled().await;
    assert_eq!(["/t", "/replies"].map(|path| subscriber.count(path)), [1, 0]);
}

/// RPL-05, RPL-06, RPL-07, RPL-12, X-05
async fn an_answer_that_should_be_an_event_and_is_none_is_a_failed_attempt<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    subscriber.on("/foreign", |_| Reply::status(200).body("text/html", "<p>thanks</p>"));
    subscriber.on("/torn", |_| Reply::status(200).body("application/cloudevents+json", r#"{"id": "#));
    subscriber.on("/invalid", |_| Reply::event(&Event::new("1").without("source")));
    subscriber.on("/batch", |_| Reply::status(200).body("application/cloudevents-batch+json", "[]"));
    let names = ["foreign", "torn", "invalid", "batch"];
    let mut routes = vec![broker("default")];
    for name in names {
        let delivery = json!({"retry": 1, "deadLetterSink": sink(&subscriber.url(&format!("/dead-{name}")))});
        routes.push(trigger(name, &subscriber.url(&format!("/{name}"))).delivery(delivery));
    }
    let trigon = D::start(&routes).await;
    trigon.producer().accept(&Event::new("original")).await;
    for name in names {
        let dead = subscriber.receives(&format!("/dead-{name}"), 1).await;
        assert_eq!(dead[0].attribute("id").as_deref(), Some("original"), "{name}");
    }
    trigon.settled().await;
    assert_eq!(names.map(|name| subscriber.count(&format!("/{name}"))), [2; 4]);
}

/// TTL-02 to TTL-05, RPL-11, X-20, X-32
async fn a_loop_ends_when_the_hops_are_used_up_and_the_original_is_delivered<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    subscriber.on("/echo", |received| {
        // A subscriber cannot lengthen its loop.
        Reply::event(&Event::new(format!("r{}", received.order)).with("knativebrokerttl", "200"))
    });
    let delivery = json!({"retry": 5, "deadLetterSink": sink(&subscriber.url("/dead"))});
    let trigon =
        D::start(&[broker("default"), trigger("echo", &subscriber.url("/echo")).delivery(delivery)]).await;
    trigon.producer().accept(&Event::new("1").with("knativebrokerttl", "5")).await;
    subscriber.receives("/echo", 4).await;
    trigon.settled().await;
    // 5 counts down to 4 at the ingress, and by one with each reply.
    assert_eq!(["/echo", "/dead"].map(|path| subscriber.count(path)), [4, 0]);
    assert!(subscriber.received("/echo").iter().all(|one| one.attribute("knativebrokerttl").is_none()));
    let answer = trigon.producer().send(&Event::new("2").with("knativebrokerttl", "1")).await;
    assert_eq!(answer.status, 400, "{}", answer.body);
}

/// TST-33, IN-20
async fn long_events_and_long_replies_arrive_once_and_whole<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    let reply = "r".repeat(36_000);
    let body = reply.clone();
    subscriber.on("/asked", move |_| {
        Reply::event(&Event::new("reply").with("type", "reply").data("text/plain", body.clone()))
    });
    let trigon = D::start(&[
        broker("default"),
        trigger("asked", &subscriber.url("/asked")).filter("type", "test"),
        trigger("told", &subscriber.url("/told")).filter("type", "reply"),
    ])
    .await;
    let data = "e".repeat(36_864);
    trigon.producer().accept(&Event::new("1").data("text/plain", data.clone())).await;
    let told = subscriber.receives("/told", 1).await;
    trigon.settled().await;
    assert_eq!(["/asked", "/told"].map(|path| subscriber.count(path)), [1, 1]);
    assert!(subscriber.received("/asked")[0].body == data, "the event changed");
    assert!(told[0].body == reply, "the reply changed");
}

on_every_deployment!(
    a_reply_in_either_mode_is_accepted_as_it_is,
    a_202_is_no_reply_even_if_it_looks_like_one,
    an_answer_that_should_be_an_event_and_is_none_is_a_failed_attempt,
    a_loop_ends_when_the_hops_are_used_up_and_the_original_is_delivered,
    long_events_and_long_replies_arrive_once_and_whole,
);
