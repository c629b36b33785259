//! What happens when the ingress is full.

use http::StatusCode;
use trigon_ingress::IngressSettings;
use trigon_runtime::shutdown::DrainSettings;

use crate::world::{EVENT, World, request};

#[tokio::test]
async fn more_requests_than_may_be_in_flight_are_answered_429_until_there_is_room() {
    let settings = IngressSettings { max_requests_in_flight: 2, ..IngressSettings::default() };
    let world = World::with(settings, DrainSettings::default()).await;
    world.log.hold();
    let first = world.post(&EVENT, "a");
    let second = world.post(&EVENT, "b");
    let third = async {
        world.log.begun(2).await;
        let reply = world.post(&EVENT, "c").await;
        assert_eq!(reply.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(reply.headers["retry-after"], "1");
        world.log.release();
    };
    let (first, second, ()) = tokio::join!(first, second, third);
    assert_eq!([first.status, second.status], [StatusCode::ACCEPTED; 2]);
    assert_eq!(world.post(&EVENT, "d").await.status, StatusCode::ACCEPTED);
    assert!(world.has_metric(
        "trigon_ingress_refused_requests_total{broker=\"default/orders\",reason=\"too_many_requests\"} 1"
    ));
}

#[tokio::test]
async fn more_bytes_than_may_be_in_flight_are_answered_429_until_there_is_room() {
    let settings =
        IngressSettings { max_bytes_in_flight: 10, max_body_bytes: 10, ..IngressSettings::default() };
    let world = World::with(settings, DrainSettings::default()).await;
    world.log.hold();
    let first = world.post(&EVENT, "sixsix");
    let others = async {
        world.log.begun(1).await;
        assert_eq!(world.post(&EVENT, "fives").await.status, StatusCode::TOO_MANY_REQUESTS);
        let fits = world.post(&EVENT, "four");
        let release = async {
            world.log.begun(2).await;
            world.log.release();
        };
        tokio::join!(fits, release).0
    };
    let (first, fits) = tokio::join!(first, others);
    assert_eq!([first.status, fits.status], [StatusCode::ACCEPTED; 2]);
    assert!(world.has_metric("trigon_ingress_in_flight_bytes 0"));
}

/// IN-21: 429 would have the producer send the event again, for ever.
#[tokio::test]
async fn a_body_that_is_too_large_is_answered_413_even_when_it_would_not_fit_anyway() {
    let settings =
        IngressSettings { max_bytes_in_flight: 10, max_body_bytes: 10, ..IngressSettings::default() };
    let world = World::with(settings, DrainSettings::default()).await;
    assert_eq!(world.post(&EVENT, vec![b'x'; 11]).await.status, StatusCode::PAYLOAD_TOO_LARGE);
}

/// A body of unknown length counts as the largest until it is read, and as what it is from then on.
#[tokio::test]
async fn a_chunked_body_counts_as_what_it_is_once_it_is_read() {
    let settings =
        IngressSettings { max_bytes_in_flight: 10, max_body_bytes: 10, ..IngressSettings::default() };
    let world = World::with(settings, DrainSettings::default()).await;
    world.log.hold();
    let mut producer = world.connect().await;
    producer.write(request("1", "transfer-encoding: chunked\r\n", "")).await;
    world.metric("trigon_ingress_in_flight_bytes 10").await;
    assert_eq!(world.post(&EVENT, "x").await.status, StatusCode::TOO_MANY_REQUESTS);
    producer.write("4\r\ndata\r\n0\r\n\r\n").await;
    world.log.begun(1).await;
    assert!(world.has_metric("trigon_ingress_in_flight_bytes 4"));
    world.log.release();
    let answer = producer.read_until("\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 202 Accepted\r\n"), "{answer}");
}
