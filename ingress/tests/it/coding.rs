//! Compressed bodies.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use http::StatusCode;
use serde_json::json;
use trigon_ingress::IngressSettings;
use trigon_runtime::shutdown::DrainSettings;

use crate::world::{EVENT, JSON, World};

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn with(coding: &str) -> Vec<(&str, &str)> {
    let mut headers = EVENT.to_vec();
    headers.push(("content-encoding", coding));
    headers
}

#[tokio::test]
async fn gzip_and_deflate_are_inflated_in_every_mode() {
    let world = World::start().await;
    let mut deflate = ZlibEncoder::new(Vec::new(), Compression::default());
    deflate.write_all(b"data").unwrap();
    let structured = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "datacontenttype": "text/plain", "data": "data"});
    for (headers, body) in [
        (with("gzip"), gzip(b"data")),
        (with("deflate"), deflate.finish().unwrap()),
        (with("identity"), b"data".to_vec()),
        (vec![JSON, ("content-encoding", "gzip")], gzip(structured.to_string().as_bytes())),
    ] {
        let reply = world.post(&headers, body).await;
        assert_eq!(reply.status, StatusCode::ACCEPTED, "{headers:?}: {}", reply.body);
    }
    for stored in world.stored() {
        assert_eq!(stored.event.data().unwrap(), "data");
    }
}

#[tokio::test]
async fn a_body_that_inflates_beyond_the_limit_is_answered_413() {
    let world = World::start().await;
    let bomb = gzip(&vec![0; 64 << 20]);
    assert!(bomb.len() < 100_000);
    let reply = world.post(&with("gzip"), bomb).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(reply.body, "the body inflates to more than 1048576 bytes\n");
    world.metric("trigon_ingress_in_flight_bytes 0").await;
    assert_eq!(world.post(&EVENT, "").await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn the_limit_holds_before_and_after_inflating() {
    let settings = IngressSettings { max_body_bytes: 100, ..IngressSettings::default() };
    let world = World::with(settings, DrainSettings::default()).await;
    assert_eq!(world.post(&with("gzip"), gzip(&[b'x'; 100])).await.status, StatusCode::ACCEPTED);
    assert_eq!(world.post(&with("gzip"), gzip(&[b'x'; 101])).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(world.post(&with("gzip"), vec![0; 101]).await.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn an_unknown_coding_is_answered_415_with_those_that_are_known() {
    let world = World::start().await;
    for coding in ["br", "zstd", "gzip, gzip"] {
        let reply = world.post(&with(coding), "data").await;
        assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{coding}");
        assert_eq!(reply.headers["accept-encoding"], "gzip, deflate");
        assert!(reply.body.contains(coding), "{}", reply.body);
    }
}

#[tokio::test]
async fn a_body_that_is_not_what_its_header_says_is_answered_400() {
    let world = World::start().await;
    let whole = gzip(b"data");
    for body in [&whole[..whole.len() - 1], b"data", b""] {
        let reply = world.post(&with("gzip"), body.to_vec()).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
        assert!(reply.body.contains("content-encoding"), "{}", reply.body);
    }
}
