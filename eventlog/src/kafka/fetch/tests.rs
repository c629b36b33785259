//! Against a real Kafka; records come from librdkafka.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::{
    CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest, TopicName as WireName,
};
use kafka_protocol::protocol::StrBytes;
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use trigon_core::name::{PartitionId, TopicName};
use trigon_core::record::Record;

use super::*;
use crate::Batch;
use crate::kafka::security::Security;
use crate::kafka::wire::Line;
use crate::kafka::{KafkaConfig, test_server};

/// Nothing here takes longer.
const DEADLINE: Duration = Duration::from_secs(30);

/// Where a case finds its own topic.
struct World {
    cluster: Cluster,
    fetcher: Fetcher,
    topic: TopicName,
}

impl World {
    async fn new(partitions: i32) -> Self {
        Self::with(partitions, &[]).await
    }

    async fn with(partitions: i32, configs: &[(&str, &str)]) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!("fetch-{}-{}", since_epoch.as_nanos(), COUNT.fetch_add(1, Ordering::Relaxed));
        let security = watch::Sender::new(Arc::new(Security::default())).subscribe();
        let cluster = Cluster::new(&KafkaConfig::new(vec![test_server::address()], security));
        let world =
            Self { fetcher: Fetcher::new(cluster.clone()), cluster, topic: TopicName::external(name) };
        world.create(partitions, configs).await;
        world
    }

    async fn create(&self, partitions: i32, configs: &[(&str, &str)]) {
        let config = |(name, value): &(&str, &str)| {
            CreatableTopicConfig::default()
                .with_name(StrBytes::from_string((*name).to_owned()))
                .with_value(Some(StrBytes::from_string((*value).to_owned())))
        };
        let topic = CreatableTopic::default()
            .with_name(self.wire_name())
            .with_num_partitions(partitions)
            .with_replication_factor(1)
            .with_configs(configs.iter().map(config).collect());
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
        let answer = self.cluster.ask_any(&request).await.expect("Kafka answers");
        assert_eq!(answer.topics[0].error_code, 0, "{:?}", answer.topics[0].error_message);
        self.cluster.forget(&self.topic);
        let there = async {
            while self.cluster.topic(&self.topic).await.is_err() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        within(there).await;
    }

    async fn delete(&self) {
        let topic = DeleteTopicState::default().with_name(Some(self.wire_name()));
        let request = DeleteTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
        let answer = self.cluster.ask_any(&request).await.expect("Kafka answers");
        assert_eq!(answer.responses[0].error_code, 0);
    }

    /// Does what retention does.
    async fn remove_below(&self, partition: u32, offset: i64) {
        let at = self.at(partition);
        let view = self.cluster.topic(&self.topic).await.expect("it is there");
        let node = view.leader(&self.topic, at.partition).expect("it is led");
        let partition = DeleteRecordsPartition::default()
            .with_partition_index(answer::number(at.partition))
            .with_offset(offset);
        let topic =
            DeleteRecordsTopic::default().with_name(self.wire_name()).with_partitions(vec![partition]);
        let request = DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
        let answer = self.cluster.ask(node, Line::Admin, &request).await.expect("Kafka answers");
        assert_eq!(answer.topics[0].partitions[0].error_code, 0);
    }

    fn wire_name(&self) -> WireName {
        WireName(StrBytes::from_string(self.topic.as_str().to_owned()))
    }

    fn at(&self, partition: u32) -> TopicPartition {
        TopicPartition { topic: self.topic.clone(), partition: PartitionId(partition) }
    }

    async fn scan(&self, partition: u32, from: u64) -> Box<dyn Scan> {
        self.fetcher.scan(&self.at(partition), Offset(from)).await.expect("it is there")
    }

    async fn send(&self, producer: &FutureProducer, partition: i32, value: &str) {
        let record = FutureRecord::<(), str>::to(self.topic.as_str()).partition(partition).payload(value);
        producer.send(record, DEADLINE).await.expect("Kafka takes it");
    }

    /// Sends `value 0`, `value 1`, …; all that fit in one batch.
    async fn fill(&self, producer: &FutureProducer, partition: i32, numbers: std::ops::Range<u64>) {
        let sends = numbers.map(|n| async move { self.send(producer, partition, &value(n)).await });
        futures::future::join_all(sends).await;
    }
}

fn producer(properties: &[(&str, &str)]) -> FutureProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", test_server::address()).set("linger.ms", "0");
    for (name, value) in properties {
        config.set(*name, *value);
    }
    config.create().expect("it can be made")
}

fn value(n: u64) -> String {
    format!("value {n}")
}

fn text(record: &Record) -> &str {
    std::str::from_utf8(record.value.as_deref().unwrap_or_default()).expect("it is text")
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    timeout(DEADLINE, work).await.expect("it is done within the deadline")
}

async fn batch(scan: &mut dyn Scan) -> Batch {
    within(scan.read(1 << 20)).await.expect("it is read")
}

/// Reads until there are so many records, which must be all those from `from` on.
async fn expect_values(scan: &mut dyn Scan, from: u64, count: u64) {
    let mut read = Vec::new();
    while (read.len() as u64) < count {
        read.extend(batch(scan).await.records);
    }
    let read: Vec<_> = read.iter().map(|(offset, record)| (offset.0, text(record).to_owned())).collect();
    let expected: Vec<_> = (from..from + count).map(|n| (n, value(n))).collect();
    assert_eq!(read, expected);
}

#[tokio::test]
async fn what_is_there_and_what_comes_later_is_read() {
    let world = World::new(1).await;
    let producer = producer(&[]);
    world.fill(&producer, 0, 0..100).await;
    let mut scan = world.scan(0, 0).await;
    expect_values(&mut *scan, 0, 100).await;
    for n in 100..150 {
        let read = expect_values(&mut *scan, n, 1);
        within(async { tokio::join!(read, world.fill(&producer, 0, n..n + 1)) }).await;
    }
}

#[tokio::test]
async fn every_compression_of_librdkafka_is_read() {
    for compression in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let world = World::new(1).await;
        let producer = producer(&[("compression.type", compression), ("linger.ms", "20")]);
        world.fill(&producer, 0, 0..500).await;
        expect_values(&mut *world.scan(0, 123).await, 123, 377).await;
    }
}

#[tokio::test]
async fn many_scans_of_one_partition_do_not_disturb_one_another() {
    let world = World::new(1).await;
    let producer = producer(&[]);
    world.fill(&producer, 0, 0..50).await;
    let mut readers = JoinSet::new();
    for from in 0..60 {
        let mut scan = world.scan(0, from).await;
        readers.spawn(async move { expect_values(&mut *scan, from, 80 - from).await });
    }
    world.fill(&producer, 0, 50..80).await;
    within(readers.join_all()).await;
}

#[tokio::test]
async fn a_scan_ahead_of_the_end_waits_until_its_offset_is_there() {
    let world = World::new(1).await;
    let producer = producer(&[]);
    let mut scan = world.scan(0, 5).await;
    for n in 0..5 {
        let early = timeout(Duration::from_millis(30), scan.read(100)).await;
        assert!(early.is_err(), "5 is not there yet: {early:?}");
        world.fill(&producer, 0, n..n + 1).await;
    }
    world.fill(&producer, 0, 5..6).await;
    expect_values(&mut *scan, 5, 1).await;
}

#[tokio::test]
async fn a_scan_reads_where_it_is_sent_also_from_the_tail() {
    let world = World::new(1).await;
    world.fill(&producer(&[]), 0, 0..50).await;
    let mut scan = world.scan(0, 0).await;
    expect_values(&mut *scan, 0, 50).await;
    assert!(timeout(Duration::from_millis(20), scan.read(100)).await.is_err(), "it is at the end");
    for to in [30, 3, 3, 49, 0, 17] {
        scan.seek(Offset(to));
        assert_eq!(batch(&mut *scan).await.records[0].0, Offset(to));
    }
}

#[tokio::test]
async fn a_cancelled_read_loses_nothing() {
    let world = World::new(1).await;
    let producer = producer(&[]);
    let mut scan = world.scan(0, 0).await;
    let consume = async {
        let mut next = 0;
        let mut patience = 0;
        while next < 200 {
            patience = (patience + 1) % 7;
            let Ok(read) = timeout(Duration::from_micros(patience * 100), scan.read(100)).await else {
                continue;
            };
            for (offset, record) in read.expect("it is read").records {
                assert_eq!((offset.0, text(&record)), (next, value(next).as_str()));
                next += 1;
            }
        }
    };
    let produce = async {
        for n in 0..200 {
            world.fill(&producer, 0, n..n + 1).await;
        }
    };
    within(async { tokio::join!(consume, produce) }).await;
}

#[tokio::test]
async fn what_retention_has_removed_shows_in_the_start_of_the_next_batch() {
    let world = World::new(1).await;
    let producer = producer(&[]);
    world.fill(&producer, 0, 0..20).await;
    world.remove_below(0, 12).await;
    let mut scan = world.scan(0, 3).await;
    let read = batch(&mut *scan).await;
    assert_eq!(read.start, Offset(12));
    assert_eq!(read.records.first().map(|(offset, _)| *offset), Some(Offset(12)));
    // Also when nothing is left.
    world.remove_below(0, 20).await;
    let read = batch(&mut *world.scan(0, 3).await).await;
    assert_eq!((read.start, read.next, read.records.len()), (Offset(20), Offset(20), 0));
}

#[tokio::test]
async fn a_deleted_topic_is_told_to_whoever_waits_at_its_tail() {
    let world = World::new(1).await;
    world.fill(&producer(&[]), 0, 0..1).await;
    let mut scan = world.scan(0, 0).await;
    expect_values(&mut *scan, 0, 1).await;
    let mut readers = JoinSet::new();
    readers.spawn(async move { scan.read(100).await });
    assert!(timeout(Duration::from_millis(100), readers.join_next()).await.is_err(), "nothing was sent");
    world.delete().await;
    let told = within(readers.join_next()).await.expect("there is one").expect("it does not panic");
    assert_eq!(told.map(|read| read.next), Err(LogError::UnknownTopic(world.topic.clone())));
}

#[tokio::test]
async fn a_recreated_topic_is_unknown_to_an_earlier_scan() {
    let world = World::new(1).await;
    let producer = producer(&[]);
    world.fill(&producer, 0, 0..3).await;
    let mut scan = world.scan(0, 3).await;
    world.delete().await;
    let gone = async {
        while world.cluster.topic(&world.topic).await.is_ok() {
            world.cluster.forget(&world.topic);
            sleep(Duration::from_millis(10)).await;
        }
    };
    within(gone).await;
    world.create(1, &[]).await;
    let told = within(scan.read(100)).await;
    assert_eq!(told.map(|read| read.next), Err(LogError::UnknownTopic(world.topic.clone())));
}

#[tokio::test]
async fn what_is_not_there_is_told() {
    let world = World::new(2).await;
    let beyond = world.at(2);
    assert_eq!(
        world.fetcher.scan(&beyond, Offset(0)).await.err(),
        Some(LogError::UnknownPartition(beyond.clone()))
    );
    let nowhere = TopicPartition { topic: TopicName::external("fetch-no-such-topic"), ..beyond };
    assert_eq!(
        world.fetcher.scan(&nowhere, Offset(0)).await.err(),
        Some(LogError::UnknownTopic(nowhere.topic.clone()))
    );
}

#[tokio::test]
async fn records_larger_than_what_is_asked_for_come() {
    let world = World::with(1, &[("max.message.bytes", "5000000")]).await;
    let producer = producer(&[("message.max.bytes", "5000000")]);
    let large = "x".repeat(3 << 20);
    let mut scan = world.scan(0, 0).await;
    for n in 0..3 {
        // Alternately behind the end and at the tail.
        let send = world.send(&producer, 0, &large);
        let read = async {
            let read = within(scan.read(1)).await.expect("it is read");
            assert_eq!(read.records.len(), 1);
            assert_eq!((read.records[0].0, text(&read.records[0].1).len()), (Offset(n), large.len()));
        };
        tokio::join!(send, read);
    }
}

#[tokio::test]
async fn aborted_and_open_transactions_are_not_read() {
    let world = World::new(1).await;
    let id = world.topic.as_str().to_owned();
    let transactional = producer(&[("transactional.id", &id)]);
    let plain = producer(&[]);
    let deadline = rdkafka::util::Timeout::After(DEADLINE);
    let transact = async |values: &[&str], commits: bool| {
        transactional.begin_transaction().expect("it begins");
        for value in values {
            world.send(&transactional, 0, value).await;
        }
        let producer = transactional.clone();
        let end = move || match commits {
            true => producer.commit_transaction(deadline),
            false => producer.abort_transaction(deadline),
        };
        tokio::task::spawn_blocking(end).await.expect("it does not panic").expect("it ends");
    };
    let starting = transactional.clone();
    tokio::task::spawn_blocking(move || starting.init_transactions(deadline))
        .await
        .expect("it does not panic")
        .expect("it is let in");
    transact(&["aborted", "aborted"], false).await;
    transact(&["committed"], true).await;
    world.send(&plain, 0, "plain").await;
    let mut scan = world.scan(0, 0).await;
    let mut read = Vec::new();
    while read.len() < 2 {
        read.extend(batch(&mut *scan).await.records);
    }
    // Two were aborted, and a marker says so. Kafka may write the commit's marker after it has said that it is done.
    assert_eq!(read[0].0, Offset(3));
    let read: Vec<_> = read.iter().map(|(_, record)| text(record)).collect();
    assert_eq!(read, ["committed", "plain"]);

    transactional.begin_transaction().expect("it begins");
    world.send(&transactional, 0, "late").await;
    let early = timeout(Duration::from_millis(100), scan.read(100)).await;
    assert!(early.is_err(), "it is not committed: {early:?}");
    let ending = transactional.clone();
    let end = tokio::task::spawn_blocking(move || ending.commit_transaction(deadline));
    end.await.expect("it does not panic").expect("it ends");
    assert_eq!(text(&batch(&mut *scan).await.records[0].1), "late");
}

#[tokio::test]
async fn a_slow_reader_at_the_tail_loses_its_seat_and_no_record() {
    let world = World::new(1).await;
    let producer = producer(&[("linger.ms", "5")]);
    let mut slow = world.scan(0, 0).await;
    assert!(timeout(Duration::from_millis(700), slow.read(100)).await.is_err(), "nothing was sent");
    let large = "x".repeat(10_000);
    for _ in 0..4 {
        let sends = (0..100).map(|_| world.send(&producer, 0, &large));
        futures::future::join_all(sends).await;
    }
    let mut next = 0;
    while next < 400 {
        for (offset, _) in within(slow.read(50_000)).await.expect("it is read").records {
            assert_eq!(offset, Offset(next));
            next += 1;
        }
    }
}

#[tokio::test]
async fn polling_ends_when_nobody_waits() {
    let world = World::new(3).await;
    let mut scans = Vec::new();
    for partition in 0..3 {
        let mut scan = world.scan(partition, 0).await;
        let seated = async {
            while !lock(&world.fetcher.0.tails).values().any(|tail| tail.has(world.at(partition).partition)) {
                let read = timeout(Duration::from_millis(20), scan.read(100)).await;
                assert!(read.is_err(), "nothing was sent: {read:?}");
            }
        };
        within(seated).await;
        scans.push(scan);
    }
    drop(scans);
    let ended = async {
        while !lock(&world.fetcher.0.tails).is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    within(ended).await;
}

#[tokio::test]
async fn a_record_at_the_tail_does_not_wait_for_those_who_joined_before() {
    let world = World::new(20).await;
    let producer = producer(&[]);
    world.fill(&producer, 0, 0..1).await;
    // A poll that waits for the first partition is under way when the others join.
    let mut waits = Vec::new();
    let mut scans = Vec::new();
    for partition in 0..20 {
        let mut scan = world.scan(partition, u64::from(partition == 0)).await;
        assert!(timeout(Duration::from_millis(30), scan.read(100)).await.is_err(), "nothing was sent");
        let began = Instant::now();
        let number = u64::from(partition == 0);
        let send = world.fill(&producer, partition.cast_signed(), number..number + 1);
        tokio::join!(send, batch(&mut *scan));
        waits.push(began.elapsed());
        scans.push(scan);
    }
    // A busy machine holds up some of them; a poll that is not cut short, all.
    waits.sort();
    assert!(waits[waits.len() / 2] < Duration::from_millis(400), "{waits:?}");
}
