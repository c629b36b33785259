//! Probes, and how the ingress ends.

use std::time::Duration;

use http::{Method, StatusCode};
use tokio::net::TcpStream;
use trigon_ingress::IngressSettings;
use trigon_runtime::shutdown::DrainSettings;

use crate::world::{BROKER, EVENT, World, request, within};

const KUBELET: (&str, &str) = ("user-agent", "kube-probe/1.31");
const NETWORK: (&str, &str) = ("k-network-probe", "probe");
const HASH: (&str, &str) = ("k-network-hash", "abc");

/// Long enough for everything that a test does before the quiet period would end.
fn quiet() -> DrainSettings {
    DrainSettings { quiet_period: Duration::from_secs(600), deadline: Duration::from_secs(900) }
}

/// IN-22
#[tokio::test]
async fn probes_are_answered_on_any_path() {
    let world = World::start().await;
    for path in ["/", "/healthz", "/a/b/c", BROKER] {
        for method in [Method::GET, Method::POST] {
            let reply = world.send(method.clone(), path, &[KUBELET], "").await;
            assert_eq!(reply.status, StatusCode::OK, "{method} {path}");
            let reply = world.send(method.clone(), path, &[NETWORK, HASH], "").await;
            assert_eq!(reply.status, StatusCode::OK, "{method} {path}");
            assert_eq!(reply.headers["k-network-hash"], "abc");
        }
    }
    assert_eq!(world.send(Method::GET, "/", &[NETWORK], "").await.status, StatusCode::BAD_REQUEST);
    let missing = world.send(Method::GET, "/default/missing", &[NETWORK, HASH], "").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    let other = world.send(Method::GET, "/", &[("k-network-probe", "queue"), HASH], "").await;
    assert_eq!(other.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(world.log.appends(), 0);
}

/// IN-22, IN-23
#[tokio::test]
async fn in_the_quiet_period_probes_fail_and_events_are_still_taken() {
    let world = World::with(IngressSettings::default(), quiet()).await;
    let reply = world.post(&EVENT, "").await;
    assert!(!reply.headers.contains_key("connection"));

    world.shutdown.drain();
    for probe in [&[KUBELET][..], &[NETWORK, HASH]] {
        let reply = world.send(Method::GET, "/", probe, "").await;
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    }
    let reply = world.post(&EVENT, "").await;
    assert_eq!(reply.status, StatusCode::ACCEPTED);
    assert_eq!(reply.headers["connection"], "close");
}

/// IN-23
#[tokio::test]
async fn a_drain_finishes_what_is_in_flight_and_refuses_new_connections() {
    let mut world = World::start().await;
    let mut idle = world.connect().await;
    idle.write(request("0", "content-length: 0\r\n", "")).await;
    idle.read_until("\r\n\r\n").await;

    world.log.hold();
    let mut producer = world.connect().await;
    producer.write(request("1", "content-length: 4\r\n", "data")).await;
    world.log.begun(2).await;
    world.shutdown.drain();
    assert_eq!(idle.read_to_end().await, "", "an idle connection is closed");
    within("the listener to close", async {
        while TcpStream::connect(world.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;

    world.log.release();
    let answer = producer.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 202 Accepted\r\n"), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert_eq!(world.stored().len(), 2);
    assert!(within("the server to end", world.tasks.first_failure()).await.is_none());
}

/// A request whose head came before the drain and which is decided on after it.
#[tokio::test]
async fn a_request_that_comes_while_the_listener_closes_is_answered_503() {
    let world = World::start().await;
    let mut producer = world.connect().await;
    // The drain finds this connection in the middle of a head, and has to wait for its request.
    producer.write("POST /default/orders HTTP/1.1\r\nhost: trigon\r\n").await;
    world.metric("trigon_open_connections{listener=\"ingress\"} 1").await;
    let mut second = world.connect().await;
    second.write(request("1", "content-length: 0\r\n", "")).await;
    second.read_until("\r\n\r\n").await;

    world.shutdown.drain();
    second.read_to_end().await;
    producer.write("content-length: 0\r\n\r\n").await;
    let answer = producer.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
    assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert!(answer.ends_with("this process is stopping, send the event again\n"), "{answer}");
    assert_eq!(world.log.appends(), 1);
}
