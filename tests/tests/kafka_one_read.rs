//! A topic is read once per dispatcher, however many Triggers there are, by the account that Kafka keeps; and Triggers
//! cost neither threads nor connections to Kafka.

use std::collections::HashSet;
use std::fs;

use trigon_test_servers::{Kafka, Options};
use trigon_tests::kafka::{installation, topic};
use trigon_tests::routes::Folder;
use trigon_tests::service::{Command, Service};
use trigon_tests::{Event, Object, Producer, Subscriber, broker, trigger, wait};

/// How many Triggers there are, phase by phase.
const COUNTS: [usize; 3] = [1, 100, 1_000];

/// So many of them want every event, if there are as many; each of the others wants a type of its own.
const MATCH_ALL: usize = 5;

/// The events of a phase: fewer than a lane holds, so that none leaves the common read.
const EVENTS: usize = 500;

/// The data of an event, in bytes.
const BYTES: usize = 2_048;

/// The most that is read, in percent of what was written. Kafka hands out whole batches: a read that begins within
/// one brings its beginning again.
const READ_PERCENT: u64 = 103;

/// The bounds of connections in ARCHITECTURE.md, and three for the client of librdkafka: to the address that it was
/// given, to the broker, and to the coordinator.
const CONNECTIONS: usize = 16 + 4 + 4 + 1 + 1 + 1 + 3;

/// Threads for what blocks come and go with the work, whatever the Triggers.
const PASSING_THREADS: usize = 4;

/// What a process has.
#[derive(Clone, Copy, Debug, Default)]
struct Footprint {
    threads: usize,
    connections: usize,
}

impl Footprint {
    /// The threads of a process, and its connections to a port.
    fn of(process: u32, port: u16) -> Self {
        let count = |name: &str| fs::read_dir(format!("/proc/{process}/{name}")).expect("it is running");
        let sockets: HashSet<String> = count("fd")
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
            .filter_map(|target| {
                Some(target.to_str()?.strip_prefix("socket:[")?.trim_end_matches(']').to_owned())
            })
            .collect();
        let table = fs::read_to_string(format!("/proc/{process}/net/tcp")).expect("it is running");
        let remote = format!(":{port:04X}");
        let is_one = |line: &&str| {
            let fields: Vec<_> = line.split_whitespace().collect();
            matches!(fields[..], [_, _, to, _, _, _, _, _, _, inode, ..]
                if to.ends_with(&remote) && sockets.contains(inode))
        };
        let connections = table.lines().skip(1).filter(is_one).count();
        Self { threads: count("task").count(), connections }
    }

    fn or_more(self, other: Self) -> Self {
        Self {
            threads: self.threads.max(other.threads),
            connections: self.connections.max(other.connections),
        }
    }
}

fn routes(count: usize, subscriber: &Subscriber) -> Vec<Object> {
    let object = |n: usize| match n {
        0..MATCH_ALL => trigger(&format!("t{n}"), &subscriber.url(&path(n))),
        _ => trigger(&format!("t{n}"), &subscriber.url(&path(n))).filter("type", &format!("t{n}")),
    };
    std::iter::once(broker("default")).chain((0..count).map(object)).collect()
}

fn path(n: usize) -> String {
    format!("/{n}")
}

/// Waits until every Trigger has finished everything, and says what the most was that the process had meanwhile.
async fn settled(dispatcher: &Service, port: u16) -> Footprint {
    let mut most = Footprint::default();
    wait::until("all triggers to have nothing left to do", async || {
        most = most.or_more(Footprint::of(dispatcher.process().id(), port));
        let triggers = dispatcher.admin().whole_triggers().await?;
        let busy: Vec<_> = triggers.iter().filter(|(_, status)| !status.is_settled()).take(5).collect();
        if busy.is_empty() { Ok(()) } else { Err(format!("{busy:?}")) }
    })
    .await;
    most
}

/// One read, whatever the Triggers: bytes fetched, threads and connections stay those of one reader.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_triggers_read_what_one_reader_reads() {
    let kafka = Kafka::single(Options::default().metrics()).expect("Kafka starts");
    let (bootstrap, installation) = (kafka.bootstrap(), installation());
    let port = bootstrap.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("one broker");
    let topic = topic(&installation, "default");
    let subscriber = Subscriber::start().await;
    let folder = Folder::new(&routes(COUNTS[0], &subscriber));
    let path_of_routes = folder.path().display().to_string();
    let arguments = ["--kafka", &bootstrap, "--installation", &installation, "--routes", &path_of_routes];
    let service = |command| Service::new(command, arguments.iter().map(|&word| word.to_owned()).collect());
    let (mut ingress, mut dispatcher) = (service(Command::Ingress), service(Command::Dispatcher));
    ingress.launch();
    dispatcher.launch();
    ingress.ready().await;
    dispatcher.ready().await;
    let producer = Producer::new(format!("http://{}/default/default", ingress.address()));
    // The ingress compresses, and random bytes stay as many as they are.
    let data: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(BYTES).collect();

    let mut footprints = Vec::new();
    let mut sent = 0;
    let mut before = kafka.topic_bytes(&topic).expect("Kafka tells");
    for count in COUNTS {
        if count > COUNTS[0] {
            let generation = dispatcher.generation().await.expect("it is running");
            folder.replace(&routes(count, &subscriber));
            dispatcher.passes(generation).await;
        }
        let mut most = settled(&dispatcher, port).await;
        for _ in 0..EVENTS {
            let event = Event::new(format!("e-{sent}")).with("type", format!("t{}", sent % COUNTS[2]));
            producer.accept(&event.data("application/octet-stream", data.clone())).await;
            most = most.or_more(Footprint::of(dispatcher.process().id(), port));
            sent += 1;
        }
        for n in 0..count.min(MATCH_ALL) {
            let earlier = if n == 0 { 0 } else { EVENTS };
            subscriber.takes(&path(n), sent - earlier).await;
        }
        most = most.or_more(settled(&dispatcher, port).await);
        for n in 0..count.min(MATCH_ALL) {
            // It began with the phase, and nothing is read that was there before.
            let earlier = if n == 0 { 0 } else { EVENTS };
            assert_eq!(subscriber.taken_count(&path(n)), sent - earlier, "{n}");
        }
        let after = kafka.topic_bytes(&topic).expect("Kafka tells");
        let (written, read) = (after.written - before.written, after.read - before.read);
        println!("{count} triggers: {EVENTS} events, {written} bytes written, {read} read; {most:?}");
        assert!(written > (EVENTS * BYTES) as u64, "{written} bytes were written");
        assert!(read * 100 <= written * READ_PERCENT, "{count} triggers read {read} bytes of {written}");
        footprints.push(most);
        before = after;
    }
    // Each of those that want one type has had what there was of it.
    let expected = |n: usize| (sent - EVENTS..sent).filter(|e| e % COUNTS[2] == n).count();
    for n in MATCH_ALL..COUNTS[2] {
        assert!(subscriber.taken_count(&path(n)) >= expected(n), "{n}");
    }

    let lone = kafka.tools().console_consumer(&topic, sent).expect("Kafka's tool reads");
    assert_eq!(lone.iter().filter(|line| line.contains("ce_id:")).count(), sent);
    let after = kafka.topic_bytes(&topic).expect("Kafka tells");
    let lone = after.read - before.read;
    println!("a lone reader: {sent} events, {lone} bytes read; {} by the dispatcher", before.read);
    assert!(before.read * 100 <= lone * READ_PERCENT, "{} bytes, a lone reader {lone}", before.read);

    for footprint in &footprints {
        assert!(footprint.threads <= footprints[0].threads + PASSING_THREADS, "{footprints:?}");
        assert!(footprint.connections <= CONNECTIONS, "{footprints:?}");
    }
}
