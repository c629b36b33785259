//! How a subscriber is asked, and what its answers mean.

use std::time::Duration;

use serde_json::json;
use trigon_tests::routes::sink;
use trigon_tests::{Deployment, Event, Reply, Subscriber, broker, trigger};

/// TST-29, DLV-02, DLV-04, DLV-05, DLV-07
async fn a_request_asks_for_a_reply_once_and_names_the_namespace<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    let trigon = D::start(&[broker("default"), trigger("t", &subscriber.url("/t"))]).await;
    let (mut headers, body) = Event::new("1").binary();
    headers.insert("prefer", "reply".parse().expect("it is a header value"));
    assert_eq!(trigon.producer().post(headers, body).await.status, 202);
    trigon.producer().accept(&Event::new("2")).await;
    for received in subscriber.receives("/t", 2).await {
        assert_eq!(received.method, "POST");
        let prefer: Vec<_> = received.headers.get_all("prefer").iter().collect();
        assert_eq!(prefer, ["reply"]);
        assert_eq!(received.header("kn-namespace"), Some("default"));
    }
}

/// HDR-01, HDR-02, HDR-04, TST-54, X-19
async fn only_headers_of_the_known_kinds_go_on_to_the_subscriber<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    let trigon = D::start(&[broker("default"), trigger("t", &subscriber.url("/t"))]).await;
    let (mut headers, body) = Event::new("1").binary();
    let passing = [("knative-hello", "world"), ("x-request-id", "r1"), ("x-b3-traceid", "80f198ee56343ba8")];
    let stopping = [("authorization", "Bearer secret"), ("cookie", "a=b"), ("foo", "bar"), ("x-b4", "no")];
    for (name, value) in passing.iter().chain(&stopping) {
        headers.insert(*name, value.parse().expect("it is a header value"));
    }
    assert_eq!(trigon.producer().post(headers, body).await.status, 202);
    let received = &subscriber.receives("/t", 1).await[0];
    for (name, value) in passing {
        assert_eq!(received.header(name), Some(value), "{name}");
    }
    for (name, _) in stopping {
        assert_eq!(received.header(name), None, "{name}");
    }
    assert_eq!(received.headers.get_all("ce-id").iter().count(), 1);
}

/// TST-42, DLV-03
async fn the_format_of_the_delivery_decides_how_an_event_is_encoded<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    let format =
        |name: &str| trigger(name, &subscriber.url(&format!("/{name}"))).delivery(json!({"format": name}));
    let unsaid = trigger("unsaid", &subscriber.url("/unsaid"));
    let trigon = D::start(&[broker("default"), format("json"), format("binary"), unsaid]).await;
    let event = Event::new("binary-in").data("application/json", r#"{"n": 1}"#);
    trigon.producer().accept(&event).await;
    let structured = Event::new("structured-in").data("application/json", r#"{"n": 1}"#);
    assert_eq!(trigon.producer().send_structured(&structured).await.status, 202);
    for received in subscriber.receives("/json", 2).await {
        let object = received.structured().expect("it is structured");
        assert_eq!(object["data"], json!({"n": 1}));
        assert_eq!(received.headers.get("ce-id"), None);
    }
    for path in ["/binary", "/unsaid"] {
        for received in subscriber.receives(path, 2).await {
            assert_eq!(received.header("content-type"), Some("application/json"));
            assert!(received.headers.contains_key("ce-id"));
        }
    }
}

/// Appendix 5, DLV-08 to DLV-13
async fn each_status_is_delivered_retried_or_given_up_by_the_table<D: Deployment>() {
    const DELIVERED: [u16; 4] = [200, 201, 202, 204];
    const RETRIED: [u16; 9] = [404, 408, 409, 429, 500, 501, 502, 503, 504];
    const GIVEN_UP: [u16; 16] =
        [300, 301, 302, 303, 304, 307, 308, 400, 401, 402, 403, 405, 406, 410, 413, 422];
    let subscriber = Subscriber::start().await;
    let elsewhere = subscriber.url("/elsewhere");
    subscriber.on("/t", move |received| {
        let status = received.attribute("id").and_then(|id| id.parse().ok()).unwrap_or(500);
        match received.attempt {
            1 => Reply::status(status).header("location", &elsewhere),
            _ => Reply::status(200),
        }
    });
    let delivery = json!({"retry": 2, "deadLetterSink": sink(&subscriber.url("/dead"))});
    let trigon = D::start(&[broker("default"), trigger("t", &subscriber.url("/t")).delivery(delivery)]).await;
    for status in DELIVERED.iter().chain(&RETRIED).chain(&GIVEN_UP) {
        trigon.producer().accept(&Event::new(status.to_string())).await;
    }
    subscriber.takes("/dead", GIVEN_UP.len()).await;
    trigon.settled().await;
    let ids = subscriber.ids("/t");
    let dead = subscriber.ids("/dead");
    let attempts = |status: &u16| ids.iter().filter(|id| **id == status.to_string()).count();
    let is_dead = |status: &u16| dead.contains(&status.to_string());
    for status in &DELIVERED {
        assert_eq!((attempts(status), is_dead(status)), (1, false), "{status}");
    }
    for status in &RETRIED {
        assert_eq!((attempts(status), is_dead(status)), (2, false), "{status}");
    }
    for status in &GIVEN_UP {
        assert_eq!((attempts(status), is_dead(status)), (1, true), "{status}");
    }
    // DLV-10, X-25
    assert_eq!(subscriber.count("/elsewhere"), 0, "a redirect was followed");
}

/// TST-30
async fn an_event_is_sent_again_until_it_is_taken<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    subscriber.on("/first-five", |received| Reply::status(if received.attempt <= 5 { 503 } else { 202 }));
    // Of the requests of all events, those at the places of the Fibonacci numbers fail.
    subscriber.on("/fibonacci", |received| {
        Reply::status(if [1, 2, 3, 5, 8].contains(&received.order) { 503 } else { 202 })
    });
    let delivery = json!({"retry": 5, "backoffPolicy": "linear", "backoffDelay": "PT0.01S"});
    let object = |name: &str| trigger(name, &subscriber.url(&format!("/{name}"))).delivery(delivery.clone());
    let trigon = D::start(&[broker("default"), object("first-five"), object("fibonacci")]).await;
    trigon.producer().accept(&Event::new("1")).await;
    trigon.producer().accept(&Event::new("2")).await;
    subscriber.takes("/first-five", 2).await;
    subscriber.takes("/fibonacci", 2).await;
    trigon.settled().await;
    assert_eq!(subscriber.count("/first-five"), 12);
    for (id, times) in subscriber.taken("/fibonacci").times {
        assert_eq!(times, 1, "{id}");
    }
    assert!(
        subscriber.received("/first-five").iter().all(|one| one.header("kn-namespace") == Some("default"))
    );
}

/// TST-47, DLV-14, DLV-22
async fn a_request_that_is_not_answered_in_time_is_sent_again<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    subscriber.on("/slow", |received| match received.attempt {
        1 => Reply::never(),
        _ => Reply::status(200),
    });
    let object = trigger("slow", &subscriber.url("/slow")).delivery(json!({"retry": 1, "timeout": "PT0.2S"}));
    let trigon = D::start(&[broker("default").delivery(json!({"timeout": "PT10S"})), object]).await;
    trigon.producer().accept(&Event::new("1")).await;
    subscriber.takes("/slow", 1).await;
    trigon.settled().await;
    assert_eq!(subscriber.count("/slow"), 2);
}

/// TST-48, DLV-23: the wait is asked for by the subscriber, so that it is not shorter is no matter of speed.
async fn a_retry_after_is_waited_for_and_capped<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    let busy = |wait: &'static str| {
        move |received: &trigon_tests::subscriber::Received| match received.attempt {
            1 => Reply::status(429).header("retry-after", wait),
            _ => Reply::status(200),
        }
    };
    subscriber.on("/asked", busy("1"));
    let capped = Subscriber::start().await;
    // A day would be far past the deadline of this test.
    capped.on("/capped", busy("86400"));
    let trigon = D::start(&[
        broker("default"),
        trigger("asked", &subscriber.url("/asked")).delivery(json!({"retry": 1, "retryAfterMax": "PT30S"})),
        trigger("capped", &capped.url("/capped")).delivery(json!({"retry": 1, "retryAfterMax": "PT0.5S"})),
    ])
    .await;
    trigon.producer().accept(&Event::new("1")).await;
    for (subscriber, path, least) in
        [(&subscriber, "/asked", Duration::from_secs(1)), (&capped, "/capped", Duration::from_millis(500))]
    {
        let received = subscriber.receives(path, 2).await;
        assert!(received[1].at - received[0].at >= least, "{path} was asked again too early");
    }
    trigon.settled().await;
    assert_eq!((subscriber.count("/asked"), capped.count("/capped")), (2, 2));
}

/// TST-40, DLV-28
async fn a_subscriber_that_always_fails_does_not_affect_another_trigger<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    subscriber.on("/bad", |_| Reply::status(500));
    let forever = json!({"retry": 1000, "backoffPolicy": "linear", "backoffDelay": "PT1H"});
    let trigon = D::start(&[
        broker("default"),
        trigger("bad", &subscriber.url("/bad")).delivery(forever),
        trigger("good", &subscriber.url("/good")),
    ])
    .await;
    trigon.producer().accept_many("e", 50).await;
    subscriber.takes("/good", 50).await;
    let bad = trigon.trigger("bad", "has all events waiting", |status| status.retrying == 50).await;
    assert_eq!((bad.delivered, bad.dead_lettered, bad.parked), (0, 0, 0), "{bad:?}");
}

/// DLV-27, TST-22
async fn an_event_in_flight_when_the_process_dies_is_delivered_afterwards<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    subscriber.hold("/t");
    let mut trigon = D::start(&[broker("default"), trigger("t", &subscriber.url("/t"))]).await;
    trigon.producer().accept_many("e", 5).await;
    subscriber.receives("/t", 5).await;
    trigon.kill().await;
    subscriber.release("/t");
    trigon.restart().await;
    subscriber.takes("/t", 5).await;
    trigon.settled().await;
    assert_eq!(subscriber.taken("/t").times.len(), 5);
}

/// DLV-15, DLV-27: attempts are kept across a restart.
async fn the_attempts_of_a_waiting_event_survive_a_restart<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    subscriber.on("/t", |_| Reply::status(503));
    let delivery = json!({
        "retry": 2,
        "backoffPolicy": "linear",
        "backoffDelay": "PT1S",
        "deadLetterSink": sink(&subscriber.url("/dead")),
    });
    let mut trigon =
        D::start(&[broker("default"), trigger("t", &subscriber.url("/t")).delivery(delivery)]).await;
    trigon.producer().accept(&Event::new("1")).await;
    subscriber.receives("/t", 2).await;
    // A clean stop commits, so that the count is exact.
    trigon.stop().await;
    trigon.restart().await;
    subscriber.receives("/dead", 1).await;
    trigon.settled().await;
    assert_eq!(subscriber.count("/t"), 3);
}

on_every_deployment!(
    a_request_asks_for_a_reply_once_and_names_the_namespace,
    only_headers_of_the_known_kinds_go_on_to_the_subscriber,
    the_format_of_the_delivery_decides_how_an_event_is_encoded,
    each_status_is_delivered_retried_or_given_up_by_the_table,
    an_event_is_sent_again_until_it_is_taken,
    a_request_that_is_not_answered_in_time_is_sent_again,
    a_retry_after_is_waited_for_and_capped,
    a_subscriber_that_always_fails_does_not_affect_another_trigger,
    an_event_in_flight_when_the_process_dies_is_delivered_afterwards,
    the_attempts_of_a_waiting_event_survive_a_restart,
);
