//! Against a real Kafka.

use std::sync::Arc;

use tokio::sync::watch;
use trigon_core::name::TopicName;

use super::*;
use crate::LogError;
use crate::kafka::KafkaConfig;
use crate::kafka::security::Security;

fn cluster() -> Cluster {
    let address = crate::kafka::test_server::address();
    let security = watch::Sender::new(Arc::new(Security::default())).subscribe();
    Cluster::new(&KafkaConfig::new(vec![address], security))
}

#[tokio::test]
async fn a_topic_that_is_not_there_is_told_by_the_cluster() {
    let topic = TopicName::external("wire-no-such-topic");
    assert_eq!(cluster().topic(&topic).await, Err(LogError::UnknownTopic(topic.clone())));
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_named() {
    let security = watch::Sender::new(Arc::new(Security::default())).subscribe();
    let nobody = Cluster::new(&KafkaConfig::new(vec!["127.0.0.1:1".to_owned()], security));
    let error = nobody.topic(&TopicName::external("any")).await.unwrap_err();
    assert!(error.to_string().starts_with("could not connect to 127.0.0.1:1: "), "{error}");
}
