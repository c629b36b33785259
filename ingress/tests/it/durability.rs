//! 202 means durable.

use std::sync::Mutex;

use http::{Method, StatusCode};
use serde_json::json;
use trigon_eventlog::AppendError;
use trigon_ingress::IngressSettings;
use trigon_runtime::server::HalfClose;
use trigon_runtime::shutdown::DrainSettings;

use crate::world::{EVENT, JSON_BATCH, World, request, topic};

/// IN-04, IN-05
#[tokio::test]
async fn answers_202_only_after_the_event_is_durable() {
    let world = World::start().await;
    world.log.hold();
    let order = Mutex::new(Vec::new());
    let producer = async {
        let reply = world.post(&EVENT, "data").await;
        order.lock().unwrap().push("answered");
        reply
    };
    let log = async {
        world.log.begun(1).await;
        // Whatever is answered too early would overtake this round trip.
        for _ in 0..3 {
            assert_eq!(world.send(Method::GET, "/", &[], "").await.status, StatusCode::METHOD_NOT_ALLOWED);
        }
        order.lock().unwrap().push("durable");
        world.log.release();
    };
    let (reply, ()) = tokio::join!(producer, log);
    assert_eq!(*order.lock().unwrap(), ["durable", "answered"]);
    assert_eq!((reply.status, &*reply.body), (StatusCode::ACCEPTED, ""));
    assert_eq!(world.stored().len(), 1);
}

/// IN-13
#[tokio::test]
async fn an_append_that_fails_is_never_answered_2xx_nor_as_the_producers_fault() {
    let cases = [
        (AppendError::Busy, "1", "log_busy"),
        (AppendError::NoSpace, "10", "log_full"),
        (AppendError::Failed("the disk is gone".into()), "10", "log_failed"),
        (AppendError::UnknownTopic(topic()), "1", "log_failed"),
    ];
    for (error, after, reason) in cases {
        let world = World::start().await;
        world.log.refuse(error.clone());
        let reply = world.post(&EVENT, "data").await;
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{error}");
        assert_eq!(reply.headers["retry-after"], after, "{error}");
        assert!(reply.body.starts_with(&error.to_string()), "{}", reply.body);
        assert!(world.stored().is_empty());
        assert!(world.has_metric(&format!(
            "trigon_ingress_refused_requests_total{{broker=\"default/orders\",reason=\"{reason}\"}} 1"
        )));
        assert_eq!(world.post(&EVENT, "data").await.status, StatusCode::ACCEPTED, "after {error}");
    }
}

/// IN-21
#[tokio::test]
async fn an_event_that_is_too_large_for_the_log_is_the_producers_fault() {
    let world = World::start().await;
    world.log.refuse(AppendError::TooLarge { size: 20, limit: 10 });
    let reply = world.post(&EVENT, "data").await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(reply.body, "a record of 20 bytes is larger than the log's limit of 10 bytes\n");
}

/// JSON-08
#[tokio::test]
async fn a_batch_is_one_append_and_a_failed_one_stores_nothing() {
    let world = World::start().await;
    let batch = json!([
        {"specversion": "1.0", "id": "a", "source": "/test", "type": "t", "data": 1},
        {"specversion": "1.0", "id": "b", "source": "/test", "type": "t"},
        {"specversion": "0.3", "id": "c", "source": "/test", "type": "t"},
    ])
    .to_string();
    world.log.refuse(AppendError::Busy);
    assert_eq!(world.post(&[JSON_BATCH], batch.clone()).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(world.stored().is_empty());

    assert_eq!(world.post(&[JSON_BATCH], batch).await.status, StatusCode::ACCEPTED);
    let stored: Vec<_> = world.stored().iter().map(|stored| stored.event.id().to_owned()).collect();
    assert_eq!(stored, ["a", "b", "c"]);
    assert_eq!(world.log.appends(), 2);
    assert!(world.has_metric("trigon_ingress_accepted_events_total{broker=\"default/orders\"} 3"));
}

/// IN-25
#[tokio::test]
async fn an_event_that_is_sent_twice_is_stored_twice() {
    let world = World::start().await;
    for _ in 0..2 {
        assert_eq!(world.post(&EVENT, "data").await.status, StatusCode::ACCEPTED);
    }
    assert_eq!(world.stored().len(), 2);
}

#[tokio::test]
async fn an_append_goes_on_when_its_producer_has_left_and_nothing_leaks() {
    // Where its leaving ends the connection, and the request with it, as a reset stream of HTTP/2 does.
    let (settings, drain) = (IngressSettings::default(), DrainSettings::default());
    let world = World::with_half_close(settings, drain, HalfClose::Leaves).await;
    world.log.hold();
    let mut producer = world.connect().await;
    producer.write(request("1", "content-length: 4\r\n", "data")).await;
    world.log.begun(1).await;
    world.metric("trigon_ingress_in_flight_requests 1").await;
    world.metric("trigon_ingress_in_flight_bytes 4").await;
    drop(producer);
    world.metric("trigon_open_connections{listener=\"ingress\"} 0").await;
    assert!(world.has_metric("trigon_ingress_in_flight_requests 1"));

    world.log.release();
    world.log.stored(&topic(), 1).await;
    world.metric("trigon_ingress_in_flight_requests 0").await;
    world.metric("trigon_ingress_in_flight_bytes 0").await;
    assert!(world.has_metric("trigon_ingress_accepted_events_total{broker=\"default/orders\"} 1"));
}

#[tokio::test]
async fn a_producer_that_has_left_is_noticed_when_it_is_answered() {
    let world = World::start().await;
    world.log.hold();
    let mut producer = world.connect().await;
    producer.write(request("1", "content-length: 4\r\n", "data")).await;
    world.log.begun(1).await;
    drop(producer);
    world.log.release();
    world.log.stored(&topic(), 1).await;
    world.metric("trigon_open_connections{listener=\"ingress\"} 0").await;
    world.metric("trigon_ingress_in_flight_requests 0").await;
}
