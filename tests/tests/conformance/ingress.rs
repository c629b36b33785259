//! What producers are answered.

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::json;
use trigon_tests::{Deployment, Event, Producer, Subscriber, broker, trigger};

/// TST-19, TST-51, IN-01, IN-02, IN-05
async fn a_good_event_of_either_version_in_either_mode_is_answered_202<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    let trigon = D::start(&[broker("default"), trigger("t", &subscriber.url("/t"))]).await;
    for (n, version) in ["1.0", "0.3"].into_iter().enumerate() {
        let event = Event::new(format!("{n}")).with("specversion", version).data("application/json", "{}");
        for answer in [
            trigon.producer().send(&event).await,
            trigon.producer().send_structured(&event).await,
            Producer::by_http2(trigon.broker_url("default")).send(&event).await,
        ] {
            assert_eq!((answer.status.as_u16(), answer.body.as_str()), (202, ""), "{version}");
        }
        // TST-52, TST-56: no upgrade.
        let received = subscriber.receives("/t", 3 * (n + 1)).await;
        let with_version =
            received.iter().filter(|one| one.attribute("specversion").as_deref() == Some(version));
        assert_eq!(with_version.count(), 3, "{version}");
    }
}

/// TST-19, TST-51, IN-03, IN-06, IN-07
async fn a_malformed_event_is_answered_400_with_the_attribute_and_arrives_nowhere<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    let trigon = D::start(&[broker("default"), trigger("t", &subscriber.url("/t"))]).await;
    for (event, named) in [
        (Event::new("1").with("specversion", "19.0"), "specversion"),
        (Event::new("1").with("specversion", "9000.1"), "specversion"),
        (Event::new("1").without("id"), "id"),
        (Event::new("1").without("source"), "source"),
        (Event::new("1").without("type"), "type"),
        (Event::new(""), "id"),
        (Event::new("1").with("time", "yesterday"), "time"),
        (Event::new("1").with("dataschema", "not a uri"), "dataschema"),
    ] {
        for answer in [trigon.producer().send(&event).await, trigon.producer().send_structured(&event).await]
        {
            assert_eq!(answer.status, 400, "{event:?}: {}", answer.body);
            assert!(answer.body.contains(named), "{named} is not named: {}", answer.body);
        }
    }
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/cloudevents+json".parse().expect("it is a header value"));
    assert_eq!(trigon.producer().post(headers, r#"{"specversion": "1.0", "id"#).await.status, 400);
    assert_eq!(trigon.producer().post(HeaderMap::new(), "neither").await.status, 400);
    trigon.producer().accept(&Event::new("good")).await;
    subscriber.receives("/t", 1).await;
    trigon.settled().await;
    assert_eq!(subscriber.ids("/t"), ["good"]);
}

/// TST-19, TST-51, IN-08, IN-09, IN-10
async fn other_methods_are_answered_405_and_options_says_what_is_allowed<D: Deployment>() {
    let trigon = D::start(&[broker("default")]).await;
    let producer = trigon.producer();
    for method in [Method::GET, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
        let answer = producer.request(method.clone(), HeaderMap::new(), Bytes::new()).await;
        let answer = answer.expect("it answers");
        let wanted = if method == Method::OPTIONS { 200 } else { 405 };
        assert_eq!(answer.status, wanted, "{method}");
        assert_eq!(answer.header("allow"), Some("POST, OPTIONS"), "{method}");
    }
}

/// IN-11, IN-12, TST-64, Appendix 6
async fn a_path_that_names_no_broker_is_answered_404_or_400<D: Deployment>() {
    let trigon = D::start(&[broker("default")]).await;
    let base = trigon.broker_url("default").replace("/default/default", "");
    for (path, status) in [
        ("/default/default", 202),
        ("/default/default/", 202),
        ("/", 404),
        ("/default/nobody", 404),
        ("/nobody/default", 404),
        ("/default", 400),
        ("/default/default/more", 400),
    ] {
        let answer = Producer::new(format!("{base}{path}")).send(&Event::new("1")).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
    }
}

/// IN-15 asks that a batch is never taken for one event; Trigon takes all of it or nothing.
async fn a_batch_is_taken_as_a_whole_or_not_at_all<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    let trigon = D::start(&[broker("default"), trigger("t", &subscriber.url("/t"))]).await;
    let batch = |events: &[Event]| {
        let mut headers = HeaderMap::new();
        let media_type = "application/cloudevents-batch+json".parse().expect("it is a header value");
        headers.insert("content-type", media_type);
        (headers, Bytes::from(json!(events.iter().map(Event::json).collect::<Vec<_>>()).to_string()))
    };
    let good: Vec<_> = (0..5).map(|n| Event::new(format!("good-{n}"))).collect();
    let (headers, body) = batch(&good);
    assert_eq!(trigon.producer().post(headers, body).await.status, 202);
    let bad = [Event::new("bad-0"), Event::new("bad-1").without("source"), Event::new("bad-2")];
    let (headers, body) = batch(&bad);
    let answer = trigon.producer().post(headers, body).await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("source") && answer.body.contains('1'), "{}", answer.body);
    subscriber.takes("/t", 5).await;
    trigon.settled().await;
    let mut ids = subscriber.ids("/t");
    ids.sort();
    assert_eq!(ids, ["good-0", "good-1", "good-2", "good-3", "good-4"]);
}

/// IN-21
async fn an_event_over_the_limit_is_answered_413_with_the_limit<D: Deployment>() {
    let trigon = D::start(&[broker("default")]).await;
    let answer = trigon.producer().send(&Event::new("1").data("text/plain", vec![b'x'; (1 << 20) + 1])).await;
    assert_eq!(answer.status, 413);
    assert!(answer.body.contains("1048576"), "{}", answer.body);
    trigon.producer().accept(&Event::new("2").data("text/plain", vec![b'x'; 1 << 19])).await;
}

/// IN-25
async fn an_event_that_is_sent_twice_is_accepted_twice<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    let trigon = D::start(&[broker("default"), trigger("t", &subscriber.url("/t"))]).await;
    trigon.producer().accept(&Event::new("same")).await;
    trigon.producer().accept(&Event::new("same")).await;
    subscriber.receives("/t", 2).await;
    trigon.settled().await;
    assert_eq!(subscriber.ids("/t"), ["same", "same"]);
}

on_every_deployment!(
    a_good_event_of_either_version_in_either_mode_is_answered_202,
    a_malformed_event_is_answered_400_with_the_attribute_and_arrives_nowhere,
    other_methods_are_answered_405_and_options_says_what_is_allowed,
    a_path_that_names_no_broker_is_answered_404_or_400,
    a_batch_is_taken_as_a_whole_or_not_at_all,
    an_event_over_the_limit_is_answered_413_with_the_limit,
    an_event_that_is_sent_twice_is_accepted_twice,
);
