//! Topics for the tests of librdkafka's clients, made and read by librdkafka itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::sync::watch;
use trigon_core::name::TopicName;
use trigon_core::record::{Record, Timestamp};

use super::KafkaConfig;
use super::security::Security;

/// Nothing in these tests takes longer, on the slowest machine.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);

/// The configuration for a cluster without security.
pub(super) fn config(bootstrap: &str) -> KafkaConfig {
    let security = watch::channel(Arc::new(Security::default())).1;
    KafkaConfig::new(vec![bootstrap.to_owned()], security)
}

/// A name that no other test and no earlier run has.
pub(super) fn fresh(what: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{what}-{}-{}", since_epoch.as_nanos(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The topics of a cluster.
pub(super) struct Topics {
    bootstrap: String,
    admin: AdminClient<DefaultClientContext>,
}

impl Topics {
    pub(super) fn of(bootstrap: &str) -> Self {
        let admin = ClientConfig::new().set("bootstrap.servers", bootstrap).create();
        Self { bootstrap: bootstrap.to_owned(), admin: admin.expect("an admin client can be made") }
    }

    /// A new topic.
    pub(super) async fn fresh(&self, partitions: i32) -> TopicName {
        let topic = TopicName::external(fresh("topic"));
        self.create(&topic, partitions, &[]).await;
        topic
    }

    /// Creates a topic, and waits until it can be used.
    pub(super) async fn create(&self, topic: &TopicName, partitions: i32, settings: &[(&str, &str)]) {
        let new = NewTopic::new(topic.as_str(), partitions, TopicReplication::Fixed(1));
        let new = settings.iter().fold(new, |new, (name, value)| new.set(name, value));
        let made = self.admin.create_topics(&[new], &AdminOptions::new()).await;
        assert!(matches!(made.as_deref(), Ok([Ok(_)])), "{made:?}");
        let wanted = usize::try_from(partitions).expect("it is small");
        eventually("the topic is there", || self.partitions(topic) == wanted).await;
    }

    pub(super) async fn delete(&self, topic: &TopicName) {
        let gone = self.admin.delete_topics(&[topic.as_str()], &AdminOptions::new()).await;
        assert!(matches!(gone.as_deref(), Ok([Ok(_)])), "{gone:?}");
        eventually("the topic is gone", || self.partitions(topic) == 0).await;
    }

    pub(super) async fn grow(&self, topic: &TopicName, partitions: usize) {
        let new = NewPartitions::new(topic.as_str(), partitions);
        let grown = self.admin.create_partitions(&[new], &AdminOptions::new()).await;
        assert!(matches!(grown.as_deref(), Ok([Ok(_)])), "{grown:?}");
    }

    fn partitions(&self, topic: &TopicName) -> usize {
        let found = self.admin.inner().fetch_metadata(Some(topic.as_str()), Duration::from_secs(5));
        found.map_or(0, |found| found.topics().iter().map(|topic| topic.partitions().len()).sum())
    }

    /// Reads so many records of one partition from its beginning; blocks.
    pub(super) fn read(&self, topic: &TopicName, partition: i32, count: usize) -> Vec<Record> {
        let reader: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap)
            .set("group.id", "unused")
            .create()
            .expect("a consumer can be made");
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic.as_str(), partition, Offset::Beginning).expect("it is a partition");
        reader.assign(&list).expect("it can be read");
        let deadline = Instant::now() + DEADLINE;
        let mut records = Vec::new();
        while records.len() < count {
            assert!(Instant::now() < deadline, "only {} of {count} records came", records.len());
            if let Some(Ok(message)) = reader.poll(Duration::from_millis(100)) {
                records.push(record(&message));
            }
        }
        records
    }
}

/// Waits until it is so.
pub(super) async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn record(message: &BorrowedMessage<'_>) -> Record {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    Record {
        key: message.key().map(Bytes::copy_from_slice),
        headers: headers
            .map(|header| (header.key.into(), Bytes::copy_from_slice(header.value.unwrap_or_default())))
            .collect(),
        value: message.payload().map(Bytes::copy_from_slice),
        timestamp: Timestamp(message.timestamp().to_millis().unwrap_or_default()),
    }
}
