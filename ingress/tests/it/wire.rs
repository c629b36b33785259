//! What comes over the wire: good and bad HTTP, byte by byte.

use std::time::Duration;

use http::{StatusCode, Version};
use trigon_ingress::IngressSettings;
use trigon_runtime::shutdown::DrainSettings;

use crate::world::{EVENT, World, request};

async fn still_serves(world: &World) {
    assert_eq!(world.post(&EVENT, "").await.status, StatusCode::ACCEPTED, "the server lives");
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_served() {
    let world = World::start().await;
    let replies = futures::future::join_all((0..20).map(|_| world.post_by_http2(&EVENT, "data"))).await;
    for reply in replies {
        assert_eq!((reply.status, reply.version), (StatusCode::ACCEPTED, Version::HTTP_2));
    }
    assert_eq!(world.stored().len(), 20);
    assert!(world.has_metric("trigon_accepted_connections_total{listener=\"ingress\"} 1"));
}

#[tokio::test]
async fn requests_may_be_pipelined_and_are_answered_in_order() {
    let world = World::start().await;
    let mut producer = world.connect().await;
    let good = |id: &str| request(id, "content-length: 4\r\n", "data");
    let bad = "POST /default/missing HTTP/1.1\r\nhost: trigon\r\ncontent-length: 0\r\n\r\n";
    producer.write(format!("{}{bad}{}", good("1"), good("2"))).await;
    for status in ["202 Accepted", "404 Not Found", "202 Accepted"] {
        let head = producer.read_until("\r\n\r\n").await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{head}");
        if status.starts_with("404") {
            producer.read_until("do\n").await;
        }
    }
    let ids: Vec<_> = world.stored().iter().map(|stored| stored.event.id().to_owned()).collect();
    assert_eq!(ids, ["1", "2"]);
}

#[tokio::test]
async fn a_producer_that_expects_100_continue_gets_it() {
    let world = World::start().await;
    let mut producer = world.connect().await;
    producer.write(request("1", "content-length: 4\r\nexpect: 100-continue\r\n", "")).await;
    assert_eq!(producer.read_until("\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    producer.write("data").await;
    assert!(producer.read_until("\r\n\r\n").await.starts_with("HTTP/1.1 202 Accepted\r\n"));
    assert_eq!(world.only_stored().event.data().unwrap(), "data");
}

/// IN-21
#[tokio::test]
async fn a_body_that_announces_too_much_is_answered_413_before_a_byte_of_it_is_sent() {
    let world = World::start().await;
    let mut producer = world.connect().await;
    producer.write(request("1", "content-length: 1048577\r\nexpect: 100-continue\r\n", "")).await;
    let answer = producer.read_until("bytes\n").await;
    assert!(answer.starts_with("HTTP/1.1 413 Payload Too Large\r\n"), "{answer}");
    assert!(answer.ends_with("the body is larger than 1048576 bytes\n"), "{answer}");
    still_serves(&world).await;
}

/// IN-21
#[tokio::test]
async fn a_chunked_body_is_answered_413_as_soon_as_it_is_too_large() {
    let settings = IngressSettings { max_body_bytes: 8, ..IngressSettings::default() };
    let world = World::with(settings, DrainSettings::default()).await;
    let mut producer = world.connect().await;
    // The body never ends: what is answered was decided before its end.
    producer.write(request("1", "transfer-encoding: chunked\r\n", "8\r\n12345678\r\n1\r\n9\r\n")).await;
    let answer = producer.read_until("bytes\n").await;
    assert!(answer.starts_with("HTTP/1.1 413 Payload Too Large\r\n"), "{answer}");
    assert_eq!(world.log.appends(), 0);
    still_serves(&world).await;
}

#[tokio::test]
async fn ten_megabytes_of_headers_are_answered_431_and_the_connection_is_closed() {
    let world = World::start().await;
    let mut producer = world.connect().await;
    producer.write("POST /default/orders HTTP/1.1\r\nhost: trigon\r\nx-large: ").await;
    assert!(!producer.try_write(&vec![b'x'; 10 << 20]).await, "the server read all of it");
    let answer = producer.read_to_end().await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    still_serves(&world).await;
}

#[tokio::test]
async fn a_head_just_beyond_the_limit_is_answered_431() {
    let world = World::start().await;
    let mut producer = world.connect().await;
    let head = "POST /default/orders HTTP/1.1\r\nhost: trigon\r\nx-large: ";
    producer.write(format!("{head}{}", "x".repeat(64 * 1024 - head.len()))).await;
    let answer = producer.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"), "{answer}");
    still_serves(&world).await;
}

#[tokio::test]
async fn more_headers_than_may_be_are_answered_431() {
    let world = World::start().await;
    let names: Vec<String> = (0..100).map(|n| format!("x-{n}")).collect();
    let mut headers = EVENT.to_vec();
    headers.extend(names.iter().map(|name| (&**name, "x")));
    assert_eq!(world.post(&headers, "").await.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    let reply = world.post_by_http2(&headers, "").await;
    assert_eq!(reply.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    assert_eq!(reply.body, "a request may have at most 100 headers\n");
    still_serves(&world).await;
}

#[tokio::test]
async fn garbage_ends_its_connection_and_nothing_else() {
    let world = World::start().await;
    let garbage: [&[u8]; 5] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 is a TLS hello\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        b"POST /default/orders HTTP/1.1\r\nbad header\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nand then something that is no frame of HTTP/2 at all, but long enough",
    ];
    for bytes in garbage {
        let mut producer = world.connect().await;
        producer.try_write(bytes).await;
        let answer = producer.read_to_end().await;
        assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
        still_serves(&world).await;
    }
}

/// Two lengths, or a length that is none, are how requests are smuggled past a proxy.
#[tokio::test]
async fn a_body_whose_length_is_ambiguous_is_refused() {
    let world = World::start().await;
    for lengths in [
        "content-length: 4\r\ncontent-length: 5\r\n",
        "content-length: 4, 5\r\n",
        "content-length: -1\r\n",
        "transfer-encoding: chunked, gzip\r\n",
    ] {
        let mut producer = world.connect().await;
        producer.write(request("1", lengths, "data")).await;
        let answer = producer.read_to_end().await;
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{lengths}: {answer}");
    }
    assert_eq!(world.log.appends(), 0);
}

#[tokio::test]
async fn a_slow_producer_is_served() {
    let world = World::start().await;
    let mut producer = world.connect().await;
    for byte in request("1", "content-length: 4\r\n", "data").as_bytes() {
        producer.write([*byte]).await;
        tokio::task::yield_now().await;
    }
    assert!(producer.read_until("\r\n\r\n").await.starts_with("HTTP/1.1 202 Accepted\r\n"));
    assert_eq!(world.only_stored().event.data().unwrap(), "data");
}

#[tokio::test]
async fn a_producer_that_closes_its_half_is_answered_all_the_same() {
    let world = World::start().await;
    world.log.hold();
    let mut producer = world.connect().await;
    producer.write(request("1", "content-length: 4\r\n", "data")).await;
    producer.close_half().await;
    world.log.begun(1).await;
    world.log.release();
    assert!(producer.read_to_end().await.starts_with("HTTP/1.1 202 Accepted\r\n"));
    assert_eq!(world.stored().len(), 1);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_answered_408() {
    let settings = IngressSettings { body_timeout: Duration::from_millis(50), ..IngressSettings::default() };
    let world = World::with(settings, DrainSettings::default()).await;
    let mut producer = world.connect().await;
    producer.write(request("1", "content-length: 4\r\n", "dat")).await;
    let answer = producer.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
    assert!(answer.ends_with("the body did not arrive within 50ms\n"), "{answer}");
    world.metric("trigon_ingress_in_flight_bytes 0").await;
    assert_eq!(world.log.appends(), 0);
}

#[tokio::test]
async fn a_producer_that_leaves_in_the_middle_of_a_body_leaves_nothing_behind() {
    let world = World::start().await;
    let mut producer = world.connect().await;
    producer.write(request("1", "content-length: 4\r\n", "dat")).await;
    world.metric("trigon_ingress_in_flight_bytes 4").await;
    drop(producer);
    world.metric("trigon_ingress_in_flight_bytes 0").await;
    world.metric("trigon_ingress_in_flight_requests 0").await;
    assert_eq!(world.log.appends(), 0);
}
