//! Topics of a Kafka cluster: made, described, deleted, and which offsets their partitions have.
//!
//! A topic that is there is never altered.

use std::collections::BTreeMap;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{
    CreateTopicsRequest, DeleteTopicsRequest, DescribeConfigsRequest, TopicName as WireName,
};
use kafka_protocol::protocol::StrBytes;
use trigon_core::name::{Offset, TopicName, TopicPartition};
use trigon_core::record::Timestamp;
use trigon_core::routing::TopicSettings;
use uuid::Uuid;

pub(super) use self::offsets::{END, START};
use self::offsets::{NONE, offsets};
use self::settings::{CLUSTER_DEFAULT, difference, differences, is_compacted, wanted};
use super::KafkaConfig;
use super::wire::{Cluster, Patience, Setback};
use crate::log::TopicDescription;
use crate::{Difference, Extent, LogError};

mod offsets;
mod settings;
#[cfg(test)]
mod tests;

/// What Kafka's protocol calls a topic among the things that have settings.
const TOPIC_RESOURCE: i8 = 2;

/// The first version in which topics to delete may be named by their identifier, and so stand elsewhere.
const DELETES_STATES: i16 = 6;

/// The topics of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Topics {
    cluster: Cluster,
    max_record_bytes: usize,
}

impl Topics {
    pub(crate) fn new(cluster: Cluster, config: &KafkaConfig) -> Self {
        Self { cluster, max_record_bytes: config.max_record_bytes }
    }

    /// Creates a topic if there is none, and tells in what an existing one differs from what is wanted.
    ///
    /// Of an external topic it tells only what would lose events. Returns when each partition of a new topic answers.
    pub(crate) async fn create_topic(
        &self,
        topic: &TopicName,
        settings: &TopicSettings,
    ) -> Result<Vec<Difference>, LogError> {
        let mut patience = Patience::new(self.cluster.deadline());
        let mut created = None;
        loop {
            let step = match settings.external {
                Some(_) => self.check_external(topic).await,
                None => self.create_or_check(topic, settings, &mut created).await,
            };
            match step {
                Ok(differences) => return Ok(differences),
                Err(setback) => patience.after(setback).await?,
            }
        }
    }

    /// Describes a topic; `None` when there is none. Kafka tells its size only to who may describe the cluster: it
    /// is not asked.
    pub(crate) async fn describe_topic(
        &self,
        topic: &TopicName,
    ) -> Result<Option<TopicDescription>, LogError> {
        let mut patience = Patience::new(self.cluster.deadline());
        loop {
            match self.cluster.look_up(topic).await {
                Ok(found) => {
                    let partitions = partitions(&found);
                    return Ok(Some(TopicDescription { partitions, bytes: None }));
                }
                Err(Setback::Lasting(LogError::UnknownTopic(_))) => return Ok(None),
                Err(setback) => patience.after(setback).await?,
            }
        }
    }

    /// Deletes a topic; Kafka deletes the cursors in it. Returns when the cluster does not show it any more.
    pub(crate) async fn delete_topic(&self, topic: &TopicName) -> Result<(), LogError> {
        let mut patience = Patience::new(self.cluster.deadline());
        let mut deleted = None;
        loop {
            match self.delete_or_wait(topic, &mut deleted).await {
                Ok(()) => {
                    self.cluster.forget(topic);
                    return Ok(());
                }
                Err(setback) => patience.after(setback).await?,
            }
        }
    }

    /// The offsets that partitions have, one result each; one request per leader and end, however many there are.
    pub(crate) async fn extents(&self, at: &[TopicPartition]) -> Vec<Result<Extent, LogError>> {
        let found = offsets(&self.cluster, at, [START, END]).await;
        let extent = |(at, found): (&TopicPartition, Result<[i64; 2], LogError>)| {
            let [start, end] = found?;
            Ok(Extent { start: offset(at, start)?, end: offset(at, end)? })
        };
        at.iter().zip(found).map(extent).collect()
    }

    /// The first offset whose record was accepted at `time` or later; the end when there is none.
    pub(crate) async fn offset_at(&self, at: &TopicPartition, time: Timestamp) -> Result<Offset, LogError> {
        // What is negative has a meaning of its own.
        let time = time.0.max(0);
        let found = offsets(&self.cluster, std::slice::from_ref(at), [time, END]).await;
        match found.into_iter().next() {
            Some(Ok([NONE, end])) => offset(at, end),
            Some(Ok([found, _])) => offset(at, found),
            Some(Err(error)) => Err(error),
            None => Err(LogError::UnknownPartition(at.clone())),
        }
    }

    async fn check_external(&self, topic: &TopicName) -> Result<Vec<Difference>, Setback> {
        const POLICY: &str = "cleanup.policy";
        const DELETE: &str = "delete";
        self.cluster.look_up(topic).await?;
        let wanted = BTreeMap::from([(POLICY.to_owned(), DELETE.to_owned())]);
        match self.settings_of(topic, &wanted).await {
            Ok(actual) => {
                // KAF-03
                let policy = actual.get(POLICY).filter(|policy| is_compacted(policy));
                Ok(policy.map(|policy| difference(POLICY, DELETE, policy)).into_iter().collect())
            }
            // Events can be stored and read all the same.
            Err(Setback::Lasting(error)) => {
                Ok(vec![difference(POLICY, DELETE, format!("not known: {error}"))])
            }
            Err(setback) => Err(setback),
        }
    }

    /// `created` is the identifier of the topic that an earlier step has created.
    async fn create_or_check(
        &self,
        topic: &TopicName,
        settings: &TopicSettings,
        created: &mut Option<Uuid>,
    ) -> Result<Vec<Difference>, Setback> {
        match (self.cluster.look_up(topic).await, *created) {
            (Ok(found), None) => self.check(topic, settings, &found).await,
            (Ok(found), Some(id)) if id.is_nil() || id == found.topic_id => {
                self.answers(topic, &found).await?;
                Ok(Vec::new())
            }
            (Err(Setback::Lasting(LogError::UnknownTopic(_))), None) => {
                *created = Some(self.create(topic, settings).await?);
                Err(not_shown(topic))
            }
            (Ok(_) | Err(Setback::Lasting(LogError::UnknownTopic(_))), Some(_)) => Err(not_shown(topic)),
            (Err(setback), _) => Err(setback),
        }
    }

    async fn create(&self, topic: &TopicName, settings: &TopicSettings) -> Result<Uuid, Setback> {
        let wanted = wanted(settings, settings.partitions, self.max_record_bytes);
        if let Some(policy) = wanted.get("cleanup.policy").filter(|policy| is_compacted(policy)) {
            let reason = format!("could not create topic {topic}: cleanup.policy={policy} would lose events");
            return Err(Setback::Lasting(LogError::Failed(reason)));
        }
        let replication = settings.replication_factor;
        let replication =
            replication.map_or(CLUSTER_DEFAULT, |factor| i16::try_from(factor).unwrap_or(i16::MAX));
        let config = |(name, value): (String, String)| {
            let value = Some(StrBytes::from_string(value));
            CreatableTopicConfig::default().with_name(StrBytes::from_string(name)).with_value(value)
        };
        let creatable = CreatableTopic::default()
            .with_name(wire_name(topic))
            .with_num_partitions(i32::try_from(settings.partitions).unwrap_or(i32::MAX))
            .with_replication_factor(replication)
            .with_configs(wanted.into_iter().map(config).collect());
        let request =
            CreateTopicsRequest::default().with_topics(vec![creatable]).with_timeout_ms(self.timeout());
        let controller = self.cluster.controller().await?;
        let answer = controller.call(&request, self.cluster.deadline()).await?;
        let told = answer.topics.into_iter().next().ok_or_else(|| not_shown(topic))?;
        let doing = || {
            let address = controller.address();
            let message = told.error_message.as_deref().map_or_else(String::new, |said| format!(" ({said})"));
            format!("could not create topic {topic} at {address}{message}")
        };
        match ResponseError::try_from_code(told.error_code) {
            None => Ok(told.topic_id),
            // Somebody else did, or this broker has not finished deleting it: look again.
            Some(ResponseError::TopicAlreadyExists) => Err(not_shown(topic)),
            Some(ResponseError::TopicAuthorizationFailed) => Err(not_allowed("Create", topic)),
            Some(error) => Err(Setback::answered(error, doing())),
        }
    }

    /// In what a topic that is there differs.
    async fn check(
        &self,
        topic: &TopicName,
        settings: &TopicSettings,
        found: &MetadataResponseTopic,
    ) -> Result<Vec<Difference>, Setback> {
        let mut differing = Vec::new();
        let partitions = partitions(found);
        if partitions != settings.partitions {
            differing.push(difference("partitions", settings.partitions, partitions));
        }
        let replicas = found.partitions.iter().map(|partition| partition.replica_nodes.len()).min();
        if let (Some(wanted), Some(actual)) = (settings.replication_factor, replicas)
            && usize::from(wanted) != actual
        {
            differing.push(difference("replication.factor", wanted, actual));
        }
        let wanted = wanted(settings, partitions, self.max_record_bytes);
        let actual = self.settings_of(topic, &wanted).await?;
        differing.extend(differences(&wanted, &actual));
        Ok(differing)
    }

    /// The largest batch that a topic takes, in bytes; `None` when it is not known.
    pub(super) async fn max_message_bytes(&self, topic: &TopicName) -> Option<usize> {
        const SETTING: &str = "max.message.bytes";
        let wanted = BTreeMap::from([(SETTING.to_owned(), String::new())]);
        let settings = self.settings_of(topic, &wanted).await;
        let settings = settings
            .inspect_err(|setback| tracing::debug!(%topic, ?setback, "the limit of a topic is not known"));
        settings.ok()?.get(SETTING)?.parse().ok()
    }

    /// The settings that a topic has, of those that are wanted.
    async fn settings_of(
        &self,
        topic: &TopicName,
        wanted: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, Setback> {
        let keys = wanted.keys().map(|key| StrBytes::from_string(key.clone())).collect();
        let resource = DescribeConfigsResource::default()
            .with_resource_type(TOPIC_RESOURCE)
            .with_resource_name(StrBytes::from_string(topic.as_str().to_owned()))
            .with_configuration_keys(Some(keys));
        let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
        let answer = self.cluster.ask_any(&request).await?;
        let told = answer.results.into_iter().next().ok_or_else(|| not_shown(topic))?;
        match ResponseError::try_from_code(told.error_code) {
            None => {}
            Some(ResponseError::TopicAuthorizationFailed) => {
                return Err(not_allowed("DescribeConfigs", topic));
            }
            Some(error) => {
                return Err(Setback::answered(error, format!("could not get the settings of topic {topic}")));
            }
        }
        let text = |text: &StrBytes| text.as_str().to_owned();
        let told = told.configs.iter();
        Ok(told.filter_map(|config| Some((text(&config.name), text(config.value.as_ref()?)))).collect())
    }

    /// Whether every partition has a leader who knows that it is.
    async fn answers(&self, topic: &TopicName, found: &MetadataResponseTopic) -> Result<(), Setback> {
        self.cluster.forget(topic);
        let description = TopicDescription { partitions: partitions(found), bytes: None };
        let extents = self.extents(&description.partitions_of(topic)).await;
        extents.into_iter().try_for_each(|extent| extent.map(|_| ()).map_err(Setback::Passing))
    }

    /// `deleted` is the identifier of the topic that an earlier step has deleted.
    async fn delete_or_wait(&self, topic: &TopicName, deleted: &mut Option<Uuid>) -> Result<(), Setback> {
        let found = match self.cluster.look_up(topic).await {
            Ok(found) => found,
            Err(Setback::Lasting(LogError::UnknownTopic(_))) => return Ok(()),
            Err(setback) => return Err(setback),
        };
        match *deleted {
            Some(id) if id == found.topic_id => {}
            // Somebody has made it anew.
            Some(_) => return Ok(()),
            None => {
                self.delete(topic).await?;
                *deleted = Some(found.topic_id);
            }
        }
        let reason = format!("topic {topic} is deleted, and the cluster still shows it");
        Err(Setback::Passing(LogError::Failed(reason)))
    }

    async fn delete(&self, topic: &TopicName) -> Result<(), Setback> {
        let controller = self.cluster.controller().await?;
        let request = DeleteTopicsRequest::default().with_timeout_ms(self.timeout());
        let request = if controller.version::<DeleteTopicsRequest>()? >= DELETES_STATES {
            request.with_topics(vec![DeleteTopicState::default().with_name(Some(wire_name(topic)))])
        } else {
            request.with_topic_names(vec![wire_name(topic)])
        };
        let answer = controller.call(&request, self.cluster.deadline()).await?;
        let told = answer.responses.into_iter().next().ok_or_else(|| not_shown(topic))?;
        match ResponseError::try_from_code(told.error_code) {
            None | Some(ResponseError::UnknownTopicOrPartition) => Ok(()),
            Some(ResponseError::TopicAuthorizationFailed) => Err(not_allowed("Delete", topic)),
            Some(error) => {
                let address = controller.address();
                Err(Setback::answered(error, format!("could not delete topic {topic} at {address}")))
            }
        }
    }

    /// How long the cluster may take, in milliseconds.
    fn timeout(&self) -> i32 {
        i32::try_from(self.cluster.deadline().as_millis()).unwrap_or(i32::MAX)
    }
}

fn wire_name(topic: &TopicName) -> WireName {
    WireName(StrBytes::from_string(topic.as_str().to_owned()))
}

fn partitions(found: &MetadataResponseTopic) -> u32 {
    u32::try_from(found.partitions.len()).unwrap_or(u32::MAX)
}

fn offset(at: &TopicPartition, told: i64) -> Result<Offset, LogError> {
    let TopicPartition { topic, partition } = at;
    let negative =
        |_| LogError::Failed(format!("partition {partition} of topic {topic} is said to be at {told}"));
    u64::try_from(told).map(Offset).map_err(negative)
}

fn not_shown(topic: &TopicName) -> Setback {
    Setback::Passing(LogError::Failed(format!("topic {topic} exists, and the cluster does not show it yet")))
}

fn not_allowed(operation: &str, topic: &TopicName) -> Setback {
    Setback::Lasting(LogError::Failed(format!("{operation} on topic {topic} is not allowed for us")))
}
