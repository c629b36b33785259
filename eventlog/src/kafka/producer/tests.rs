//! The producer against a real Kafka, and against librdkafka's mock cluster where Kafka has to fail on command.

use bytes::Bytes;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tokio::sync::watch;
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
    Producer::start(config).expect("librdkafka takes the configuration")
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

/// Kafka refuses a batch for its size although each of its records fits: nobody is to blame for that but us.
#[tokio::test(flavor = "multi_thread")]
async fn batches_become_as_small_as_a_topic_wants_them() {
    let topics = Topics::of(&test_server::address());
    let topic = TopicName::external(fresh("small"));
    topics.create(&topic, 1, &[("max.message.bytes", "100000")]).await;
    let producer = start(&config(&test_server::address()));
    let deadline = Instant::now() + DEADLINE;
    loop {
        let records = std::iter::repeat_with(|| sized(10_000)).take(20).collect();
        match append(&producer, &topic, records).await {
            Ok(positions) => break assert_eq!(positions.len(), 20),
            Err(AppendError::Unavailable(_) | AppendError::Failed(_)) => {
                assert!(Instant::now() < deadline, "they stay too large")
            }
            Err(error) => panic!("{error:?}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
    producer.close().await;
}

/// Or one topic would slow down all others.
#[tokio::test(flavor = "multi_thread")]
async fn batches_do_not_become_tiny_for_a_topic_and_it_is_told_why() {
    let topics = Topics::of(&test_server::address());
    let topic = TopicName::external(fresh("tiny"));
    topics.create(&topic, 1, &[("max.message.bytes", "20000")]).await;
    let producer = start(&config(&test_server::address()));
    let before = producer.shared.limits.batch_bytes();
    let deadline = Instant::now() + DEADLINE;
    loop {
        let records = std::iter::repeat_with(|| sized(10_000)).take(20).collect();
        match append(&producer, &topic, records).await {
            Err(AppendError::Unavailable(reason)) => break assert!(reason.contains("65536"), "{reason}"),
            // A first part went alone.
            Err(AppendError::Failed(_)) => assert!(Instant::now() < deadline, "it is never told"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(producer.shared.limits.batch_bytes(), before);
    producer.close().await;
}

/// A topic as Trigon makes it takes what Trigon sends, from the first batch on.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_of_our_own_takes_a_large_append_at_once() {
    let topics = Topics::of(&test_server::address());
    let topic = TopicName::external(fresh("own"));
    topics.create(&topic, 1, &[("max.message.bytes", "165536")]).await;
    let config = KafkaConfig { max_record_bytes: 100_000, ..config(&test_server::address()) };
    let producer = start(&config);
    let records = std::iter::repeat_with(|| sized(10_000)).take(50).collect();
    let positions = append(&producer, &topic, records).await.expect("Kafka takes it");
    assert_eq!(positions.len(), 50);
    producer.close().await;
}

/// A part that fits is stored and the rest is refused: that must not go on for ever.
#[tokio::test(flavor = "multi_thread")]
async fn batches_become_smaller_also_when_a_part_was_stored() {
    let topics = Topics::of(&test_server::address());
    let topic = TopicName::external(fresh("small"));
    topics.create(&topic, 2, &[("max.message.bytes", "100000")]).await;
    let producer = start(&config(&test_server::address()));
    let keyed = |key: &str, bytes| Record { key: Some(Bytes::from(key.to_owned())), ..sized(bytes) };
    // Keys of two partitions: the one record of the second fits.
    let mut records: Vec<_> = std::iter::repeat_with(|| keyed("a", 10_000)).take(50).collect();
    records.extend((0..8).map(|n| keyed(&n.to_string(), 100)));
    let deadline = Instant::now() + DEADLINE;
    let mut in_part = 0;
    loop {
        match append(&producer, &topic, records.clone()).await {
            Ok(positions) => break assert_eq!(positions.len(), 58),
            Err(AppendError::Failed(_)) => in_part += 1,
            Err(error) => panic!("{error:?}"),
        }
        assert!(Instant::now() < deadline, "they stay too large");
        sleep(Duration::from_millis(20)).await;
    }
    assert!(in_part > 0, "nothing was stored in part");
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
    eventually("the queue is full", || producer.shared.gate.admit(Load { records: 1, bytes: 1 }).is_none())
        .await;
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

/// A fatal error ends a client of librdkafka's for good; a new one takes its place.
#[tokio::test(flavor = "multi_thread")]
async fn a_fatal_error_heals_by_itself() {
    let cluster: MockCluster<'_, DefaultProducerContext> =
        MockCluster::new(1).expect("a mock cluster starts");
    let topic = TopicName::external("orders");
    cluster.create_topic(topic.as_str(), 1, 1).expect("a topic can be made");
    let denied = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED; 2];
    cluster.request_errors(RDKafkaApiKey::InitProducerId, &denied);
    let producer = start(&config(&cluster.bootstrap_servers()));
    let reason = refuses(&producer).await;
    assert!(reason.contains("authorization"), "{reason}");
    append_at_last(&producer, &topic).await;
    eventually("the producer is well again", || producer.health() == Health::Writable).await;
    producer.close().await;
}

/// Certificates and passwords rotate while events come in.
#[tokio::test(flavor = "multi_thread")]
async fn new_security_takes_effect_without_a_restart() {
    let topics = Topics::of(&test_server::address());
    let topic = topics.fresh(1).await;
    let login = Login { user: "trigon".to_owned(), password: Secret::new("hunter2") };
    let wrong = Security { tls: None, sasl: Some(Sasl::Plain(login)) };
    let (rotate, security) = watch::channel(Arc::new(Security::default()));
    let producer = start(&KafkaConfig { security, ..config(&test_server::address()) });
    append(&producer, &topic, vec![plain(0)]).await.expect("Kafka takes it");
    // The listener knows no SASL.
    rotate.send_replace(Arc::new(wrong));
    let reason = refuses(&producer).await;
    assert!(!reason.contains("hunter2"), "{reason}");
    rotate.send_replace(Arc::new(Security::default()));
    append_at_last(&producer, &topic).await;
    eventually("the producer is well again", || producer.health() == Health::Writable).await;
    producer.close().await;
}

/// Also what an earlier client took.
#[tokio::test(flavor = "multi_thread")]
async fn closing_waits_for_what_a_replaced_client_took() {
    let topics = Topics::of(&test_server::address());
    let topic = topics.fresh(1).await;
    // Long enough that nothing is sent before the client is replaced.
    let properties = [("linger.ms".to_owned(), "2000".to_owned())].into();
    let producer = start(&KafkaConfig { properties, ..config(&test_server::address()) });
    let mut appending = Box::pin(append(&producer, &topic, vec![plain(0)]));
    let early = timeout(Duration::from_millis(100), &mut appending).await;
    assert!(early.is_err(), "it was sent at once: {early:?}");
    producer.shared.replace().expect("a client starts");
    producer.close().await;
    let answer = timeout(Duration::from_millis(100), appending).await.expect("it was waited for");
    assert_eq!(answer.expect("Kafka takes it").len(), 1);
}

/// A client that takes over leaves nothing behind.
#[tokio::test(flavor = "multi_thread")]
async fn appends_in_flight_survive_a_new_client() {
    let topics = Topics::of(&test_server::address());
    let topic = topics.fresh(3).await;
    let producer = Arc::new(start(&config(&test_server::address())));
    let mut appends = JoinSet::new();
    for n in 0..200 {
        let (appending, topic) = (producer.clone(), topic.clone());
        appends.spawn(async move { append(&appending, &topic, vec![plain(n); 5]).await });
        if n % 50 == 25 {
            producer.shared.replace().expect("a client starts");
        }
    }
    let mut stored = std::collections::BTreeSet::new();
    while let Some(answer) = appends.join_next().await {
        let positions = answer.expect("it does not panic").expect("Kafka takes it");
        let before = stored.len();
        let count = positions.len();
        stored.extend(positions);
        assert_eq!(stored.len(), before + count, "a position was given twice");
    }
    assert_eq!(stored.len(), 1_000);
    producer.close().await;
}
