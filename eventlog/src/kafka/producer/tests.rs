//! The producer against a real Kafka, and against librdkafka's mock cluster where Kafka has to fail on command.

use std::collections::BTreeSet;

use bytes::Bytes;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tokio::sync::watch;
use tokio::time::sleep;
use trigon_core::name::{Offset, PartitionId};
use trigon_core::record::Timestamp;

use super::*;
use crate::kafka::security::{Login, Sasl, Secret, Security};
use crate::kafka::test_server;
use crate::kafka::test_topics::{DEADLINE, Topics, config, eventually, fresh};

fn plain(n: usize) -> Record {
    Record {
        value: Some(Bytes::from(n.to_string())),
        timestamp: Timestamp(1_700_000_000_000),
        ..Record::default()
    }
}

/// Of that size also when it is compressed.
fn sized(bytes: usize) -> Record {
    let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(bytes).collect();
    Record { value: Some(Bytes::from(noise)), ..plain(0) }
}

fn start(config: &KafkaConfig) -> Producer {
    Producer::start(config, &Cluster::new(config))
}

async fn append(
    producer: &Producer,
    topic: &TopicName,
    records: Vec<Record>,
) -> Result<Vec<Position>, AppendError> {
    timeout(DEADLINE, producer.append(topic, records)).await.expect("an append ends")
}

/// Appends until it works: what went wrong before is over.
async fn append_at_last(producer: &Producer, topic: &TopicName) {
    let deadline = Instant::now() + DEADLINE;
    while let Err(error) = append(producer, topic, vec![plain(0)]).await {
        assert!(Instant::now() < deadline, "{error}");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn refuses(producer: &Producer) -> String {
    eventually("the producer says that it refuses", || producer.health() != Health::Writable).await;
    match producer.health() {
        Health::Refusing(reason) => reason,
        Health::Writable => String::new(),
    }
}

/// KAF-01, KAF-03: null and empty differ, headers keep their order, the time is the event's.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_stored_as_it_is() {
    let topics = Topics::of(&test_server::address());
    let topic = topics.fresh(1).await;
    let producer = start(&config(&test_server::address()));
    let header = |name: &str, value: &[u8]| (name.into(), Bytes::copy_from_slice(value));
    let records = vec![
        Record {
            key: Some(Bytes::from_static(b"key")),
            headers: vec![header("ce_id", b"1"), header("a", b""), header("ce_id", b"2")],
            ..plain(1)
        },
        Record { key: Some(Bytes::new()), value: Some(Bytes::new()), ..plain(2) },
        Record { value: None, ..plain(3) },
    ];
    let positions = append(&producer, &topic, records.clone()).await.expect("Kafka takes it");
    let expected: Vec<_> =
        (0..3).map(|n| Position { partition: PartitionId(0), offset: Offset(n) }).collect();
    assert_eq!(positions, expected);
    assert_eq!(topics.read(&topic, 0, 3), records);
    producer.close().await;
}

/// KAF-09: an empty key is a key. Its murmur2 hash is 275 646 681.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_key_has_its_own_partition() {
    let topics = Topics::of(&test_server::address());
    let topic = topics.fresh(7).await;
    let producer = start(&config(&test_server::address()));
    let records = vec![Record { key: Some(Bytes::new()), ..plain(0) }; 20];
    let positions = append(&producer, &topic, records).await.expect("Kafka takes it");
    assert!(positions.iter().all(|at| at.partition == PartitionId(275_646_681 % 7)), "{positions:?}");
    producer.close().await;
}

/// Positions belong to their records although partitions answer in any order.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_over_several_partitions_keeps_its_order_in_each() {
    let topics = Topics::of(&test_server::address());
    let topic = topics.fresh(3).await;
    let producer = start(&config(&test_server::address()));
    let keyed = |n: usize| Record { key: Some(Bytes::from((n % 10).to_string())), ..plain(n) };
    let records: Vec<_> = (0..500).map(keyed).collect();
    let positions = append(&producer, &topic, records.clone()).await.expect("Kafka takes it");
    for partition in 0..3 {
        let expected: Vec<_> = positions
            .iter()
            .zip(&records)
            .filter(|(at, _)| at.partition == PartitionId(partition))
            .map(|(_, record)| record.clone())
            .collect();
        let partition = i32::try_from(partition).expect("it is small");
        assert_eq!(topics.read(&topic, partition, expected.len()), expected);
    }
    producer.close().await;
}

/// R11: it is refused at once, every time, and others do not wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_never_was_is_unknown_at_once_and_hinders_nobody() {
    let topics = Topics::of(&test_server::address());
    let topic = topics.fresh(1).await;
    let missing = TopicName::external(fresh("missing"));
    let producer = start(&config(&test_server::address()));
    append(&producer, &topic, vec![plain(0)]).await.expect("Kafka takes it");
    for round in 0..5 {
        let refused = append(&producer, &missing, vec![plain(round)]).await;
        assert_eq!(refused, Err(AppendError::UnknownTopic(missing.clone())));
        append(&producer, &topic, vec![plain(round)]).await.expect("Kafka takes it");
    }
    producer.close().await;
}

/// R11: and when the topic is there again, so are its appends.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_deleted_under_our_feet_is_unknown_until_it_is_created_again() {
    let topics = Topics::of(&test_server::address());
    let (topic, other) = (topics.fresh(2).await, topics.fresh(1).await);
    let producer = start(&config(&test_server::address()));
    for _ in 0..10 {
        append(&producer, &topic, vec![plain(0); 10]).await.expect("Kafka takes it");
    }
    topics.delete(&topic).await;
    let refused = append(&producer, &topic, vec![plain(0)]).await;
    assert_eq!(refused, Err(AppendError::UnknownTopic(topic.clone())));
    append(&producer, &other, vec![plain(0)]).await.expect("the other topic goes on");
    topics.create(&topic, 3, &[]).await;
    append_at_last(&producer, &topic).await;
    let positions = append(&producer, &topic, vec![plain(0); 10]).await.expect("Kafka takes it");
    assert_eq!(positions.len(), 10);
    producer.close().await;
}

/// The limit is exact, and nothing of the batch is sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_over_our_limit_is_refused_before_anything_is_sent() {
    let topics = Topics::of(&test_server::address());
    let topic = topics.fresh(1).await;
    let config = KafkaConfig { max_record_bytes: 1_000, ..config(&test_server::address()) };
    let producer = start(&config);
    let refused = append(&producer, &topic, vec![plain(0), sized(1_001)]).await;
    assert_eq!(refused, Err(AppendError::TooLarge { size: 1_001, limit: 1_000 }));
    let positions = append(&producer, &topic, vec![sized(1_000)]).await.expect("Kafka takes it");
    assert_eq!(positions[0].offset, Offset(0));
    producer.close().await;
}

/// The topic's own limit, `max.message.bytes`, is named where it is smaller than ours.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_over_the_topics_limit_is_refused_with_that_limit() {
    let topics = Topics::of(&test_server::address());
    let topic = TopicName::external(fresh("small"));
    topics.create(&topic, 1, &[("max.message.bytes", "20000")]).await;
    let producer = start(&config(&test_server::address()));
    let refused = append(&producer, &topic, vec![sized(30_000)]).await;
    assert_eq!(refused, Err(AppendError::TooLarge { size: 30_000, limit: 20_000 }));
    producer.close().await;
}

/// Kafka refuses a batch for its size although each of its records fits: nobody is to notice.
#[tokio::test(flavor = "multi_thread")]
async fn batches_become_as_small_as_a_topic_wants_them() {
    let topics = Topics::of(&test_server::address());
    let producer = start(&config(&test_server::address()));
    for limit in ["100000", "11000"] {
        let topic = TopicName::external(fresh("small"));
        topics.create(&topic, 1, &[("max.message.bytes", limit)]).await;
        let records: Vec<_> = std::iter::repeat_with(|| sized(10_000)).take(20).collect();
        let positions = append(&producer, &topic, records.clone()).await.expect("Kafka takes it");
        let expected: Vec<_> =
            (0..20).map(|n| Position { partition: PartitionId(0), offset: Offset(n) }).collect();
        assert_eq!(positions, expected);
        assert_eq!(topics.read(&topic, 0, 20), records);
    }
    producer.close().await;
}

/// One that is too large is refused by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_too_large_does_not_take_its_neighbours_with_it() {
    let topics = Topics::of(&test_server::address());
    let topic = TopicName::external(fresh("small"));
    topics.create(&topic, 1, &[("max.message.bytes", "20000")]).await;
    let producer = Arc::new(start(&config(&test_server::address())));
    let mut appends = JoinSet::new();
    for n in 0..40 {
        let (appending, topic) = (Arc::clone(&producer), topic.clone());
        let size = if n == 20 { 30_000 } else { 1_000 };
        appends.spawn(async move { append(&appending, &topic, vec![sized(size)]).await });
    }
    let answers = appends.join_all().await;
    let refused: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
    assert_eq!(refused, [&AppendError::TooLarge { size: 30_000, limit: 20_000 }]);
    producer.close().await;
}

/// In bounded time, whatever the broker does; what was let in ends by its deadline, as not stored.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_busy_at_once_and_empties_by_the_deadline() {
    let config = KafkaConfig {
        max_queued_records: 2,
        append_deadline: Duration::from_secs(3),
        // Nobody listens on the discard port.
        ..config("127.0.0.1:9")
    };
    let producer = Arc::new(start(&config));
    let topic = TopicName::external("orders");
    let mut waiting = JoinSet::new();
    let waits = {
        let (producer, topic) = (producer.clone(), topic.clone());
        async move { append(&producer, &topic, vec![plain(0); 2]).await }
    };
    waiting.spawn(waits);
    eventually("the queue is full", || producer.gate.admit(Load { records: 1, bytes: 1 }).is_none()).await;
    assert_eq!(append(&producer, &topic, vec![plain(0)]).await, Err(AppendError::Busy));
    let answer = waiting.join_next().await.expect("one waits").expect("it does not panic");
    let Err(AppendError::Unavailable(reason)) = answer else { panic!("{answer:?}") };
    assert!(reason.contains("127.0.0.1:9"), "{reason}");
    assert!(refuses(&producer).await.contains("127.0.0.1:9"));
    producer.close().await;
    assert!(matches!(append(&producer, &topic, vec![plain(0)]).await, Err(AppendError::Unavailable(_))));
}

/// Recovery without a restart, also when nobody appends meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_comes_back_is_used_again() {
    let cluster: MockCluster<'_, DefaultProducerContext> =
        MockCluster::new(1).expect("a mock cluster starts");
    let topic = TopicName::external("orders");
    cluster.create_topic(topic.as_str(), 1, 1).expect("a topic can be made");
    let config =
        KafkaConfig { append_deadline: Duration::from_secs(3), ..config(&cluster.bootstrap_servers()) };
    let producer = start(&config);
    append(&producer, &topic, vec![plain(0)]).await.expect("the cluster takes it");
    assert_eq!(producer.health(), Health::Writable);
    cluster.broker_down(1).expect("it can fall");
    let reason = refuses(&producer).await;
    assert!(reason.contains("127.0.0.1"), "{reason}");
    let refused = append(&producer, &topic, vec![plain(0)]).await;
    assert!(matches!(refused, Err(AppendError::Unavailable(_))), "{refused:?}");
    cluster.broker_up(1).expect("it can rise");
    eventually("the producer is well again", || producer.health() == Health::Writable).await;
    append(&producer, &topic, vec![plain(0)]).await.expect("the cluster takes it");
    producer.close().await;
}

/// A broker that answers nothing may have stored the record: a retry may store it twice.
#[tokio::test(flavor = "multi_thread")]
async fn an_append_without_an_answer_may_be_stored() {
    let cluster: MockCluster<'_, DefaultProducerContext> =
        MockCluster::new(1).expect("a mock cluster starts");
    let topic = TopicName::external("orders");
    cluster.create_topic(topic.as_str(), 1, 1).expect("a topic can be made");
    let config =
        KafkaConfig { append_deadline: Duration::from_secs(3), ..config(&cluster.bootstrap_servers()) };
    let producer = start(&config);
    append(&producer, &topic, vec![plain(0)]).await.expect("the cluster takes it");
    cluster.broker_round_trip_time(1, Duration::from_secs(60)).expect("it can be slow");
    let refused = append(&producer, &topic, vec![plain(0)]).await;
    assert!(matches!(refused, Err(AppendError::Failed(_))), "{refused:?}");
    refuses(&producer).await;
    producer.close().await;
}

/// Without numbers nothing is sent, and it says why until there are some.
#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_are_refused_are_asked_for_again() {
    let cluster: MockCluster<'_, DefaultProducerContext> =
        MockCluster::new(1).expect("a mock cluster starts");
    let topic = TopicName::external("orders");
    cluster.create_topic(topic.as_str(), 1, 1).expect("a topic can be made");
    let denied = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED; 2];
    cluster.request_errors(RDKafkaApiKey::InitProducerId, &denied);
    let producer = start(&config(&cluster.bootstrap_servers()));
    let reason = refuses(&producer).await;
    assert!(reason.contains("not authorised"), "{reason}");
    // By itself: nobody sends events to what is not ready.
    eventually("the producer is well again", || producer.health() == Health::Writable).await;
    append(&producer, &topic, vec![plain(0)]).await.expect("the cluster takes it");
    producer.close().await;
}

/// A leader that is asked too early or too late, and followers that are away for a moment: nobody is to notice.
#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_waited_for_and_stored_once() {
    let cluster: MockCluster<'_, DefaultProducerContext> =
        MockCluster::new(1).expect("a mock cluster starts");
    let topic = TopicName::external("orders");
    cluster.create_topic(topic.as_str(), 1, 1).expect("a topic can be made");
    let producer = start(&config(&cluster.bootstrap_servers()));
    append(&producer, &topic, vec![plain(0)]).await.expect("the cluster takes it");
    let passing = [
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
    ];
    cluster.request_errors(RDKafkaApiKey::Produce, &passing);
    let positions = append(&producer, &topic, vec![plain(1)]).await.expect("the cluster takes it");
    assert_eq!(positions, [Position { partition: PartitionId(0), offset: Offset(1) }]);
    producer.close().await;
}

/// Kafka forgets a producer that it has not heard of for a day: the next batch is numbered anew.
#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_kafka_does_not_know_any_more_are_replaced() {
    let cluster: MockCluster<'_, DefaultProducerContext> =
        MockCluster::new(1).expect("a mock cluster starts");
    let topic = TopicName::external("orders");
    cluster.create_topic(topic.as_str(), 1, 1).expect("a topic can be made");
    let producer = start(&config(&cluster.bootstrap_servers()));
    append(&producer, &topic, vec![plain(0)]).await.expect("the cluster takes it");
    for forgotten in [
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
    ] {
        cluster.request_errors(RDKafkaApiKey::Produce, &[forgotten]);
        append(&producer, &topic, vec![plain(1)]).await.expect("the cluster takes it");
    }
    producer.close().await;
}

/// A password that is rotated wrongly must not end what works: the connections that are open serve on.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_security_does_not_end_what_works() {
    let topics = Topics::of(&test_server::address());
    let topic = topics.fresh(1).await;
    let login = Login { user: "trigon".to_owned(), password: Secret::new("hunter2") };
    // The listener knows no SASL.
    let wrong = Security { tls: None, sasl: Some(Sasl::Plain(login)) };
    let (rotate, security) = watch::channel(Arc::new(Security::default()));
    let producer = start(&KafkaConfig { security, ..config(&test_server::address()) });
    append(&producer, &topic, vec![plain(0)]).await.expect("Kafka takes it");
    rotate.send_replace(Arc::new(wrong));
    append(&producer, &topic, vec![plain(1)]).await.expect("Kafka takes it");
    rotate.send_replace(Arc::new(Security::default()));
    append(&producer, &topic, vec![plain(2)]).await.expect("Kafka takes it");
    producer.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_waits_for_what_was_taken() {
    let topics = Topics::of(&test_server::address());
    let topic = topics.fresh(1).await;
    let producer = start(&config(&test_server::address()));
    let mut appending = Box::pin(append(&producer, &topic, vec![plain(0)]));
    let early = timeout(Duration::ZERO, &mut appending).await;
    assert!(early.is_err(), "it was answered at once: {early:?}");
    producer.close().await;
    let answer = timeout(Duration::ZERO, appending).await.expect("it was waited for");
    assert_eq!(answer.expect("Kafka takes it").len(), 1);
    let refused = append(&producer, &topic, vec![plain(0)]).await;
    assert!(matches!(refused, Err(AppendError::Unavailable(_))), "{refused:?}");
}

/// KAF-09: many at once, and each key's records are in the order in which they were appended.
#[tokio::test(flavor = "multi_thread")]
async fn records_of_a_key_stay_in_order_and_each_has_a_place_of_its_own() {
    let topics = Topics::of(&test_server::address());
    let topic = topics.fresh(3).await;
    let producer = Arc::new(start(&config(&test_server::address())));
    let mut keys = JoinSet::new();
    for key in 0..20 {
        let (producer, topic) = (Arc::clone(&producer), topic.clone());
        keys.spawn(async move {
            let mut at = Vec::new();
            for n in 0..20 {
                let record = Record { key: Some(Bytes::from(key.to_string())), ..plain(n) };
                let free = plain(n);
                let positions = append(&producer, &topic, vec![record, free]).await.expect("Kafka takes it");
                at.extend(positions);
            }
            at
        });
    }
    let mut all = BTreeSet::new();
    for at in keys.join_all().await {
        let keyed: Vec<_> = at.iter().step_by(2).collect();
        assert!(keyed.is_sorted_by(|a, b| a.partition == b.partition && a.offset < b.offset), "{keyed:?}");
        all.extend(at);
    }
    assert_eq!(all.len(), 800, "a place was given twice");
    producer.close().await;
}
