//! Clients and subscribers that mean harm: the process lives, its memory stays bounded, and others are served.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::HeaderMap;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use trigon_tests::{Deployment, Event, Reply, Standalone, Subscriber, broker, trigger};

const MIB: u64 = 1 << 20;

/// More than this no attack here may add to the memory of the process.
const MEMORY: u64 = 128 * MIB;

struct Target {
    trigon: Standalone,
    subscriber: Subscriber,
    before: u64,
    events: usize,
}

impl Target {
    async fn start() -> Self {
        let subscriber = Subscriber::start().await;
        let trigon = Standalone::start(&[broker("default"), trigger("t", &subscriber.url("/t"))]).await;
        let before = trigon.process().resident_bytes();
        let mut target = Self { trigon, subscriber, before, events: 0 };
        target.serves().await;
        target
    }

    /// Asserts that others are served, the process is well, and its memory bounded.
    async fn serves(&mut self) {
        self.events += 1;
        self.trigon.producer().accept(&Event::new(format!("good-{}", self.events))).await;
        self.subscriber.takes("/t", self.events).await;
        let health = self.trigon.admin().ask("/healthz").await.expect("the admin address answers");
        assert_eq!(health.status, 200, "{}", health.body);
        let now = self.trigon.process().resident_bytes();
        assert!(now < self.before + MEMORY, "{} MiB, {} MiB before", now / MIB, self.before / MIB);
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.trigon.address()).await.expect("it takes connections")
    }

    /// Writes all of it, as far as it is taken, and gives the first line of the answer.
    async fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        // It may have answered and closed before all was written.
        let written = stream.write_all(bytes).await;
        let mut answer = vec![0; 4_096];
        let read = stream.read(&mut answer).await.unwrap_or(0);
        drop((written, stream));
        String::from_utf8_lossy(&answer[..read]).lines().next().unwrap_or_default().to_owned()
    }
}

#[tokio::test]
async fn garbage_instead_of_http_harms_nobody() {
    let mut target = Target::start().await;
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..200 {
        let mut bytes = vec![0; random.usize(1..4_096)];
        random.fill(&mut bytes);
        bytes.extend(b"\r\n\r\n");
        let answer = target.exchange(&bytes).await;
        assert!(!answer.contains(" 2"), "{answer}");
    }
    for text in [
        "POST /default/default HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        "POST /default/default HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        "POST /default/default HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\0\0\0\0\0\0\0\0\0",
        "\0\0\0\0",
    ] {
        let answer = target.exchange(text.as_bytes()).await;
        assert!(!answer.contains(" 2"), "{text:?}: {answer}");
    }
    target.serves().await;
}

#[tokio::test]
async fn ten_megabytes_of_headers_are_refused_before_they_are_held() {
    let mut target = Target::start().await;
    let mut request = b"POST /default/default HTTP/1.1\r\nHost: x\r\n".to_vec();
    let line = format!("x-{}: {}\r\n", "a".repeat(30), "b".repeat(990));
    for _ in 0..10_000 {
        request.extend(line.as_bytes());
    }
    for _ in 0..5 {
        let answer = target.exchange(&request).await;
        assert!(!answer.contains(" 2"), "{answer}");
    }
    let mut many = b"POST /default/default HTTP/1.1\r\nHost: x\r\n".to_vec();
    for n in 0..100_000 {
        many.extend(format!("x{n}: y\r\n").as_bytes());
    }
    assert!(!target.exchange(&many).await.contains(" 2"));
    target.serves().await;
}

#[tokio::test]
async fn requests_that_never_end_do_not_keep_others_out() {
    let mut target = Target::start().await;
    let mut open = Vec::new();
    for n in 0..300 {
        let mut stream = target.connect().await;
        let start: &[u8] = match n % 3 {
            0 => b"POST /def",
            1 => b"POST /default/default HTTP/1.1\r\nHost: x\r\nce-id: 1\r\n",
            _ => b"POST /default/default HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx",
        };
        stream.write_all(start).await.unwrap();
        open.push(stream);
    }
    for _ in 0..20 {
        target.serves().await;
    }
    drop(open);
}

/// IN-21
#[tokio::test]
async fn huge_bodies_are_refused_without_being_read() {
    let mut target = Target::start().await;
    let head = "POST /default/default HTTP/1.1\r\nHost: x\r\nce-specversion: 1.0\r\nce-id: 1\r\nce-type: t\r\n\
                ce-source: /s\r\n";
    let announced = format!("{head}Content-Length: 10000000000\r\n\r\n");
    let answer = target.exchange(announced.as_bytes()).await;
    assert!(answer.contains("413"), "{answer}");
    let mut endless = format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    let chunk = [format!("{:x}\r\n", 1 << 16).into_bytes(), vec![b'x'; 1 << 16], b"\r\n".to_vec()].concat();
    for _ in 0..512 {
        endless.extend(&chunk);
    }
    let answer = target.exchange(&endless).await;
    assert!(!answer.contains(" 2"), "{answer}");
    target.serves().await;
}

/// IN-21
#[tokio::test]
async fn a_body_that_inflates_to_gigabytes_is_refused_at_the_limit() {
    let mut target = Target::start().await;
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    let zeroes = vec![0; 1 << 20];
    for _ in 0..512 {
        bomb.write_all(&zeroes).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    let (mut headers, _) = Event::new("bomb").data("text/plain", "x").binary();
    headers.insert("content-encoding", "gzip".parse().unwrap());
    for _ in 0..5 {
        let answer = target.trigon.producer().post(headers.clone(), bomb.clone()).await;
        assert_eq!(answer.status, 413, "{}", answer.body);
    }
    target.serves().await;
}

#[tokio::test]
async fn json_that_is_nested_without_end_is_refused() {
    let mut target = Target::start().await;
    for media_type in ["application/cloudevents+json", "application/cloudevents-batch+json"] {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", media_type.parse().unwrap());
        for open in ["[", r#"{"a":"#] {
            let answer = target.trigon.producer().post(headers.clone(), open.repeat(100_000)).await;
            assert_eq!(answer.status, 400, "{media_type}: {}", answer.body);
        }
    }
    target.serves().await;
}

#[tokio::test]
async fn two_thousand_idle_connections_cost_little_and_keep_nobody_out() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    let mut target = Target::start().await;
    let mut idle = Vec::new();
    for _ in 0..2_000 {
        idle.push(target.connect().await);
    }
    target.serves().await;
    drop(idle);
    target.serves().await;
}

/// DLV-29: what a subscriber answers is bounded too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_that_answers_without_end_or_with_garbage_is_a_failed_attempt() {
    let subscriber = Subscriber::start().await;
    let large = vec![b'x'; 32 << 20];
    subscriber.on("/large", move |_| Reply::status(500).body("text/plain", large.clone()));
    let reply = vec![b'x'; 32 << 20];
    subscriber.on("/reply", move |_| {
        Reply::event(&Event::new("r").with("type", "reply").data("text/plain", reply.clone()))
    });
    let trigon = Standalone::start(&[
        broker("default"),
        trigger("large", &subscriber.url("/large")).filter("type", "test"),
        trigger("reply", &subscriber.url("/reply")).filter("type", "test"),
        trigger("good", &subscriber.url("/good")),
    ])
    .await;
    let before = trigon.process().resident_bytes();
    trigon.producer().accept_many("e", 20).await;
    subscriber.takes("/good", 20).await;
    for name in ["large", "reply"] {
        trigon.trigger(name, "has parked all", |status| status.parked == 20).await;
    }
    let now = trigon.process().resident_bytes();
    assert!(now < before + MEMORY, "{} MiB, {} MiB before", now / MIB, before / MIB);
}
