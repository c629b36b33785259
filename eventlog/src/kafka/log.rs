//! The log in Kafka as one: who takes what.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout;
use trigon_core::cursor::Cursor;
use trigon_core::name::{GroupName, Offset, Position, TopicName, TopicPartition};
use trigon_core::record::{Record, Timestamp};
use trigon_core::routing::TopicSettings;

use super::KafkaConfig;
use super::cursors::Cursors;
use super::fetch::Fetcher;
use super::ownership::{Departure, KafkaOwnership};
use super::producer::Producer;
use super::properties::{self, PropertyError};
use super::topics::Topics;
use super::wire::Cluster;
use crate::{
    AppendError, Commit, CommitError, Difference, EventLog, Extent, Health, LogError, Ownership, Place, Scan,
    TopicDescription,
};

/// A Kafka cluster as the event log.
pub struct KafkaLog {
    config: KafkaConfig,
    producer: Producer,
    topics: Topics,
    cursors: Cursors,
    fetcher: Fetcher,
    departures: Mutex<Vec<Departure>>,
}

impl fmt::Debug for KafkaLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaLog").field("bootstrap", &self.config.bootstrap).finish_non_exhaustive()
    }
}

/// Why a log in Kafka cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    /// A property of librdkafka that Trigon does not let be set, or that does not exist.
    #[error(transparent)]
    Property(#[from] PropertyError),
}

/// How long a log may take to close.
const CLOSE_DEADLINE: Duration = Duration::from_secs(10);

impl KafkaLog {
    /// Opens the log. Has to be called on the async runtime; the cluster need not be up.
    ///
    /// # Errors
    /// When a property is wrong.
    pub fn open(config: KafkaConfig) -> Result<Self, KafkaError> {
        properties::check(&config.properties)?;
        let cluster = Cluster::new(&config);
        Ok(Self {
            producer: Producer::start(&config, &cluster),
            topics: Topics::new(cluster.clone(), &config),
            cursors: Cursors::new(cluster.clone()),
            fetcher: Fetcher::new(cluster),
            departures: Mutex::default(),
            config,
        })
    }

    /// Waits until what was appended is acknowledged, and until the group of the dispatchers knows that we have left,
    /// for 10 s at most.
    ///
    /// Whoever owns partitions has to let go of them first.
    pub async fn close(&self) {
        let departures = {
            let mut departures = self.departures.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *departures)
        };
        let departed = async {
            for departure in departures {
                departure.wait().await;
            }
        };
        let closed = async { tokio::join!(departed, self.producer.close()) };
        if timeout(CLOSE_DEADLINE, closed).await.is_err() {
            tracing::warn!(
                "the log in kafka is left behind: not everything in it ended within {CLOSE_DEADLINE:?}"
            );
        }
    }
}

#[async_trait]
impl EventLog for KafkaLog {
    async fn append(&self, topic: &TopicName, records: Vec<Record>) -> Result<Vec<Position>, AppendError> {
        self.producer.append(topic, records).await
    }

    async fn scan(&self, at: &TopicPartition, from: Offset) -> Result<Box<dyn Scan>, LogError> {
        self.fetcher.scan(at, from).await
    }

    async fn own(&self, topics: BTreeSet<TopicName>) -> Result<Box<dyn Ownership>, LogError> {
        let ownership = KafkaOwnership::start(&self.config, topics)?;
        self.departures.lock().unwrap_or_else(PoisonError::into_inner).push(ownership.departure());
        Ok(Box::new(ownership))
    }

    async fn load(&self, places: &[Place]) -> Vec<Result<Option<Cursor>, LogError>> {
        self.cursors.load(places).await
    }

    async fn commit(&self, commits: Vec<Commit>) -> Vec<Result<(), CommitError>> {
        self.cursors.commit(commits).await
    }

    async fn moved(&self, places: &[Place]) -> Vec<Place> {
        self.cursors.moved(places).await
    }

    async fn create_topic(
        &self,
        topic: &TopicName,
        settings: &TopicSettings,
    ) -> Result<Vec<Difference>, LogError> {
        self.topics.create_topic(topic, settings).await
    }

    async fn describe_topic(&self, topic: &TopicName) -> Result<Option<TopicDescription>, LogError> {
        self.topics.describe_topic(topic).await
    }

    async fn delete_topic(&self, topic: &TopicName) -> Result<(), LogError> {
        self.topics.delete_topic(topic).await?;
        self.cursors.forget_topic(topic);
        Ok(())
    }

    async fn delete_group(&self, group: &GroupName) -> Result<(), LogError> {
        self.cursors.delete_group(group).await
    }

    async fn extents(&self, at: &[TopicPartition]) -> Vec<Result<Extent, LogError>> {
        self.topics.extents(at).await
    }

    async fn offset_at(&self, at: &TopicPartition, time: Timestamp) -> Result<Offset, LogError> {
        self.topics.offset_at(at, time).await
    }

    fn health(&self) -> Health {
        self.producer.health()
    }
}
