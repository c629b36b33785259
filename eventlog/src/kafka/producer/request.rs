//! One Produce request, and what its answer means for each batch.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::TopicProduceResponse;
use kafka_protocol::messages::{ProduceRequest, ProduceResponse, TopicName as WireName};
use kafka_protocol::protocol::StrBytes;
use tokio::time::{Instant, timeout_at};
use trigon_core::name::{PartitionId, TopicName};
use uuid::Uuid;

use super::append::Fate;
use super::queue::Outgoing;
use super::verdict::Verdict;
use crate::kafka::wire::{Cluster, Line, NodeId};

/// All in-sync replicas.
const ALL: i16 = -1;

/// From this version on, topics are named by their identifiers.
const BY_ID: i16 = 13;

/// How long Kafka is given at least, however soon a record is given up: the others of the request have more time, and
/// whoever waits for that one waits a little longer than its deadline.
const LEAST_PATIENCE: Duration = Duration::from_secs(4);

/// The batches for one topic.
#[derive(Debug)]
pub(super) struct Sent {
    /// Where the sender keeps the topic.
    pub(super) place: usize,
    pub(super) topic: TopicName,
    pub(super) id: Uuid,
    pub(super) batches: Vec<Outgoing>,
}

/// What became of batches.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// One for each: where the sender keeps its topic, its partition, and what it met.
    pub(super) verdicts: Vec<(usize, PartitionId, Verdict)>,
    /// For how long Kafka takes nothing more from us: a quota is used up.
    pub(super) throttled: Duration,
}

/// Sends batches to a broker.
pub(super) async fn produce(cluster: Cluster, node: NodeId, sent: Vec<Sent>) -> Answers {
    let limit = cluster.deadline();
    let until = Instant::now() + patience(&sent, Instant::now(), limit);
    let connection = match timeout_at(until, cluster.connection(node, Line::Appends)).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return all(&sent, Fate::NotStored, error.to_string()),
        Err(_) => {
            return all(&sent, Fate::NotStored, format!("broker {} could not be reached in time", node.0));
        }
    };
    let version = match connection.version::<ProduceRequest>() {
        Ok(version) => version,
        Err(error) => return all(&sent, Fate::NotStored, error.to_string()),
    };
    let patience = patience(&sent, Instant::now(), limit);
    match connection.call(&request(&sent, version, patience), patience).await {
        Ok(answer) => verdicts(&sent, &answer, version),
        Err(error) => all(&sent, Fate::Unknown, error.to_string()),
    }
}

/// Until the first record is given up.
fn patience(sent: &[Sent], now: Instant, limit: Duration) -> Duration {
    let deadlines = sent.iter().flat_map(|sent| &sent.batches).map(|batch| batch.deadline);
    let left = deadlines.min().map_or(limit, |first| first.saturating_duration_since(now));
    left.max(LEAST_PATIENCE).min(limit)
}

fn request(sent: &[Sent], version: i16, patience: Duration) -> ProduceRequest {
    let topics = sent.iter().map(|sent| {
        let batches = sent.batches.iter().map(|batch| {
            PartitionProduceData::default()
                .with_index(i32::try_from(batch.partition.0).unwrap_or(i32::MAX))
                .with_records(Some(batch.bytes.clone()))
        });
        let topic = TopicProduceData::default().with_partition_data(batches.collect());
        if version >= BY_ID {
            topic.with_topic_id(sent.id)
        } else {
            topic.with_name(WireName(StrBytes::from_string(sent.topic.as_str().to_owned())))
        }
    });
    // Kafka is to answer that it took too long before we stop listening.
    let timeout = i32::try_from((patience * 3 / 4).as_millis()).unwrap_or(i32::MAX);
    ProduceRequest::default().with_acks(ALL).with_timeout_ms(timeout).with_topic_data(topics.collect())
}

fn verdicts(sent: &[Sent], answer: &ProduceResponse, version: i16) -> Answers {
    let is_of = |topic: &TopicProduceResponse, sent: &Sent| {
        if version >= BY_ID { topic.topic_id == sent.id } else { topic.name.as_str() == sent.topic.as_str() }
    };
    let verdict = |sent: &Sent, partition: PartitionId| {
        let topic = answer.responses.iter().find(|topic| is_of(topic, sent));
        let mut found = topic.into_iter().flat_map(|topic| &topic.partition_responses);
        let found = found.find(|found| u32::try_from(found.index) == Ok(partition.0));
        found.map_or_else(
            || Verdict::Again(Fate::Unknown, "Kafka's answer leaves the partition out".into()),
            |found| Verdict::of(&sent.topic, found),
        )
    };
    let throttled = Duration::from_millis(u64::try_from(answer.throttle_time_ms).unwrap_or(0));
    Answers { verdicts: each(sent, verdict), throttled }
}

fn all(sent: &[Sent], fate: Fate, reason: String) -> Answers {
    let reason: Arc<str> = reason.into();
    let verdicts = each(sent, |_, _| Verdict::Again(fate, Arc::clone(&reason)));
    Answers { verdicts, throttled: Duration::ZERO }
}

fn each(
    sent: &[Sent],
    verdict: impl Fn(&Sent, PartitionId) -> Verdict,
) -> Vec<(usize, PartitionId, Verdict)> {
    let of_topic = |sent: &Sent| {
        let batches = sent.batches.iter();
        batches.map(|batch| (sent.place, batch.partition, verdict(sent, batch.partition))).collect::<Vec<_>>()
    };
    sent.iter().flat_map(of_topic).collect()
}
