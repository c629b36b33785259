//! Against a real Kafka.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use trigon_core::name::PartitionId;

use super::*;
use crate::kafka::security::Security;
use crate::kafka::test_server;

fn topics() -> Topics {
    let security = watch::Sender::new(Arc::new(Security::default())).subscribe();
    let config = KafkaConfig::new(vec![test_server::address()], security);
    Topics::new(Cluster::new(&config), &config)
}

/// A name that no other test has.
fn name() -> TopicName {
    TopicName::external(format!("topics-{}", Uuid::new_v4()))
}

fn settings(partitions: u32, kafka: &[(&str, &str)]) -> TopicSettings {
    let kafka = kafka.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    TopicSettings { partitions, kafka, ..TopicSettings::default() }
}

fn external(topic: &TopicName) -> TopicSettings {
    TopicSettings { external: Some(topic.clone()), ..TopicSettings::default() }
}

fn at(topic: &TopicName, partition: u32) -> TopicPartition {
    TopicPartition { topic: topic.clone(), partition: PartitionId(partition) }
}

/// KAF-03
#[tokio::test]
async fn a_new_topic_is_as_it_was_wanted_and_answers_at_once() {
    let (topics, topic) = (topics(), name());
    let settings = TopicSettings {
        retention_age: Some(Duration::from_secs(60)),
        retention_bytes: Some(10),
        ..settings(3, &[("segment.bytes", "1048576")])
    };
    assert_eq!(topics.create_topic(&topic, &settings).await, Ok(Vec::new()));
    let partitions: Vec<_> = (0..3).map(|partition| at(&topic, partition)).collect();
    let empty = Extent { start: Offset(0), end: Offset(0) };
    assert_eq!(topics.extents(&partitions).await, [Ok(empty), Ok(empty), Ok(empty)]);
    assert_eq!(topics.offset_at(&partitions[0], Timestamp(0)).await, Ok(Offset(0)));
    let wanted = ["cleanup.policy", "retention.ms", "retention.bytes", "max.message.bytes", "segment.bytes"];
    let wanted = wanted.map(|setting| (setting.to_owned(), String::new())).into();
    let actual = topics.settings_of(&topic, &wanted).await.unwrap();
    let actual: Vec<_> = actual.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let expected = [
        "cleanup.policy=delete",
        "max.message.bytes=2097152",
        "retention.bytes=4",
        "retention.ms=60000",
        "segment.bytes=1048576",
    ];
    assert_eq!(actual, expected);
    assert_eq!(topics.delete_topic(&topic).await, Ok(()));
}

#[tokio::test]
async fn an_existing_topic_is_left_as_it_is_and_its_differences_are_told() {
    let (topics, topic) = (topics(), name());
    let first = TopicSettings { replication_factor: Some(1), ..settings(2, &[]) };
    assert_eq!(topics.create_topic(&topic, &first).await, Ok(Vec::new()));
    assert_eq!(topics.create_topic(&topic, &first).await, Ok(Vec::new()));
    let second = TopicSettings {
        retention_age: None,
        replication_factor: Some(3),
        ..settings(5, &[("min.insync.replicas", "1")])
    };
    let expected = [
        difference("partitions", 5, 2),
        difference("replication.factor", 3, 1),
        difference("retention.ms", -1, "604800000"),
    ];
    for _ in 0..2 {
        assert_eq!(topics.create_topic(&topic, &second).await.as_deref(), Ok(&expected[..]));
    }
    let description = TopicDescription { partitions: 2, bytes: None };
    assert_eq!(topics.describe_topic(&topic).await, Ok(Some(description)));
    assert_eq!(topics.delete_topic(&topic).await, Ok(()));
}

#[tokio::test]
async fn a_deleted_topic_is_gone_and_can_be_created_again_at_once() {
    let (topics, topic) = (topics(), name());
    assert_eq!(topics.delete_topic(&topic).await, Ok(()));
    for partitions in [1, 3, 2] {
        assert_eq!(topics.create_topic(&topic, &settings(partitions, &[])).await, Ok(Vec::new()));
        let described = topics.describe_topic(&topic).await.unwrap().unwrap();
        assert_eq!(described.partitions, partitions);
        assert_eq!(topics.delete_topic(&topic).await, Ok(()));
        assert_eq!(topics.describe_topic(&topic).await, Ok(None));
    }
}

#[tokio::test]
async fn many_that_create_a_topic_at_once_all_find_it_created() {
    let topic = name();
    let creators: Vec<_> = (0..8).map(|_| topics()).collect();
    let settings = settings(2, &[]);
    let created = creators.iter().map(|topics| topics.create_topic(&topic, &settings));
    for outcome in futures::future::join_all(created).await {
        assert_eq!(outcome, Ok(Vec::new()));
    }
    assert_eq!(creators[0].delete_topic(&topic).await, Ok(()));
}

/// KAF-03
#[tokio::test]
async fn an_external_topic_must_be_there_and_must_not_be_compacted() {
    let (topics, topic) = (topics(), name());
    let unknown = Err(LogError::UnknownTopic(topic.clone()));
    assert_eq!(topics.create_topic(&topic, &external(&topic)).await, unknown);
    assert_eq!(topics.describe_topic(&topic).await, Ok(None));
    assert_eq!(topics.create_topic(&topic, &settings(1, &[])).await, Ok(Vec::new()));
    assert_eq!(topics.create_topic(&topic, &external(&topic)).await, Ok(Vec::new()));
    assert_eq!(topics.delete_topic(&topic).await, Ok(()));

    let policy = CreatableTopicConfig::default()
        .with_name(StrBytes::from_static_str("cleanup.policy"))
        .with_value(Some(StrBytes::from_static_str("compact,delete")));
    let compacted = CreatableTopic::default()
        .with_name(wire_name(&topic))
        .with_num_partitions(1)
        .with_replication_factor(CLUSTER_DEFAULT)
        .with_configs(vec![policy]);
    let request = CreateTopicsRequest::default().with_topics(vec![compacted]).with_timeout_ms(10_000);
    let created = topics.cluster.ask_any(&request).await.unwrap();
    assert_eq!(created.topics[0].error_code, 0, "{created:?}");
    within(async || topics.describe_topic(&topic).await.unwrap().is_some()).await;
    let expected = [difference("cleanup.policy", "delete", "compact,delete")];
    assert_eq!(topics.create_topic(&topic, &external(&topic)).await.as_deref(), Ok(&expected[..]));
    assert_eq!(topics.delete_topic(&topic).await, Ok(()));
}

/// Waits until it holds.
async fn within(mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "it does not hold within 10 s");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn what_the_cluster_refuses_is_told_with_its_words() {
    let (topics, topic) = (topics(), name());
    let refused = |outcome: Result<_, LogError>| match outcome {
        Err(LogError::Failed(reason)) => reason,
        other => panic!("{other:?}"),
    };
    let replicated = TopicSettings { replication_factor: Some(9), ..settings(1, &[]) };
    let reason = refused(topics.create_topic(&topic, &replicated).await);
    assert!(reason.starts_with(&format!("could not create topic {topic} at ")), "{reason}");
    assert!(reason.contains("replica") && reason.ends_with(": InvalidReplicationFactor"), "{reason}");
    let unheard_of = settings(1, &[("retention.moons", "3")]);
    let reason = refused(topics.create_topic(&topic, &unheard_of).await);
    assert!(reason.contains("retention.moons") && reason.ends_with(": InvalidConfig"), "{reason}");
    let compacted = settings(1, &[("cleanup.policy", "compact")]);
    let reason = refused(topics.create_topic(&topic, &compacted).await);
    assert_eq!(reason, format!("could not create topic {topic}: cleanup.policy=compact would lose events"));
    assert_eq!(topics.describe_topic(&topic).await, Ok(None));
}

#[tokio::test]
async fn each_partition_has_a_result_of_its_own_in_the_order_of_the_question() {
    let (topics, topic, nowhere) = (topics(), name(), name());
    assert_eq!(topics.create_topic(&topic, &settings(2, &[])).await, Ok(Vec::new()));
    let asked = [at(&topic, 1), at(&nowhere, 0), at(&topic, 2), at(&topic, 0), at(&topic, 1)];
    let empty = Ok(Extent::default());
    let expected = [
        empty.clone(),
        Err(LogError::UnknownTopic(nowhere.clone())),
        Err(LogError::UnknownPartition(at(&topic, 2))),
        empty.clone(),
        empty,
    ];
    assert_eq!(topics.extents(&asked).await, expected);
    let unknown = Err(LogError::UnknownPartition(at(&topic, 2)));
    assert_eq!(topics.offset_at(&at(&topic, 2), Timestamp(0)).await, unknown);
    assert_eq!(topics.delete_topic(&topic).await, Ok(()));
    let unknown = Err(LogError::UnknownTopic(topic.clone()));
    assert_eq!(topics.offset_at(&at(&topic, 0), Timestamp(0)).await, unknown);
}

#[tokio::test]
async fn a_cluster_that_cannot_be_reached_is_named_at_the_deadline() {
    let security = watch::Sender::new(Arc::new(Security::default())).subscribe();
    let config = KafkaConfig {
        request_deadline: Duration::from_millis(500),
        ..KafkaConfig::new(vec!["127.0.0.1:1".to_owned()], security)
    };
    let topics = Topics::new(Cluster::new(&config), &config);
    let error = topics.create_topic(&name(), &settings(1, &[])).await.unwrap_err();
    assert!(error.to_string().starts_with("could not connect to 127.0.0.1:1: "), "{error}");
}
