//! Which offsets partitions have: one request per leader and question, however many partitions are asked for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::ListOffsetsPartitionResponse;
use kafka_protocol::messages::{BrokerId, ListOffsetsRequest, ListOffsetsResponse, TopicName as WireName};
use kafka_protocol::protocol::StrBytes;
use trigon_core::name::{PartitionId, TopicPartition};

use crate::LogError;
use crate::kafka::wire::{Cluster, Line, NodeId, Patience, Setback, WireError};

/// Asks for the oldest offset that is still there.
pub(in crate::kafka) const START: i64 = -2;

/// Asks for the offset of the next record that everybody may read.
pub(in crate::kafka) const END: i64 = -1;

/// What Kafka answers where no record is as young.
pub(super) const NONE: i64 = -1;

/// Not a broker that copies.
const CONSUMER: i32 = -1;

type Found<const N: usize> = HashMap<TopicPartition, Result<[i64; N], Setback>>;

/// The offsets of each partition at each of these times ([`START`], [`END`], or milliseconds).
///
/// A leader that has moved is looked up again, and asked within the cluster's deadline.
pub(super) async fn offsets<const N: usize>(
    cluster: &Cluster,
    at: &[TopicPartition],
    times: [i64; N],
) -> Vec<Result<[i64; N], LogError>> {
    let mut patience = Patience::new(cluster.deadline());
    let mut pending: BTreeSet<&TopicPartition> = at.iter().collect();
    let mut done: HashMap<&TopicPartition, Result<[i64; N], LogError>> = HashMap::new();
    let mut is_first = true;
    while !pending.is_empty() {
        let mut found = round(cluster, &pending, times).await;
        let mut setback = None;
        for partition in std::mem::take(&mut pending) {
            let missing = || Err(Setback::Passing(no_answer(partition)));
            match found.remove(partition).unwrap_or_else(missing) {
                Ok(offsets) => {
                    done.insert(partition, Ok(offsets));
                }
                // What we knew may be older than the partition.
                Err(Setback::Lasting(error @ LogError::UnknownPartition(_))) if is_first => {
                    pending.insert(partition);
                    done.insert(partition, Err(error.clone()));
                    setback = Some(error);
                }
                Err(Setback::Lasting(error)) => {
                    done.insert(partition, Err(error));
                }
                Err(Setback::Passing(error)) => {
                    pending.insert(partition);
                    done.insert(partition, Err(error.clone()));
                    setback = Some(error);
                }
            }
        }
        is_first = false;
        pending.iter().for_each(|partition| cluster.forget(&partition.topic));
        if let Some(setback) = setback
            && patience.after(Setback::Passing(setback)).await.is_err()
        {
            break;
        }
    }
    at.iter()
        .map(|partition| done.get(partition).cloned().unwrap_or_else(|| Err(no_answer(partition))))
        .collect()
}

fn no_answer(at: &TopicPartition) -> LogError {
    LogError::Failed(format!("the offsets of partition {} of topic {} were not told", at.partition, at.topic))
}

/// Asks each leader once.
async fn round<const N: usize>(
    cluster: &Cluster,
    pending: &BTreeSet<&TopicPartition>,
    times: [i64; N],
) -> Found<N> {
    let mut found = Found::new();
    let mut leaders: BTreeMap<NodeId, Vec<&TopicPartition>> = BTreeMap::new();
    for &at in pending {
        match leader(cluster, at).await {
            Ok(leader) => leaders.entry(leader).or_default().push(at),
            Err(setback) => {
                found.insert(at.clone(), Err(setback));
            }
        }
    }
    let asked = leaders.iter().map(|(leader, led)| ask(cluster, *leader, led, times));
    for answer in join_all(asked).await {
        found.extend(answer);
    }
    found
}

async fn leader(cluster: &Cluster, at: &TopicPartition) -> Result<NodeId, Setback> {
    let view = cluster.view(&at.topic).await?;
    view.leader(&at.topic, at.partition).map_err(|error| match error {
        LogError::Failed(_) => Setback::Passing(error),
        _ => Setback::Lasting(error),
    })
}

async fn ask<const N: usize>(
    cluster: &Cluster,
    leader: NodeId,
    led: &[&TopicPartition],
    times: [i64; N],
) -> Found<N> {
    let asked = async {
        let connection = cluster.connection(leader, Line::Admin).await?;
        let deadline = cluster.deadline();
        let requests = times.map(|time| request(led, time, deadline));
        let answers = requests.iter().map(|request| connection.call(request, deadline));
        Ok((connection.address().to_owned(), try_join_all(answers).await?))
    };
    let asked: Result<_, WireError> = asked.await;
    match asked.map_err(Setback::from) {
        Ok((address, answers)) => {
            let answers: Vec<_> = answers.iter().map(by_partition).collect();
            led.iter().map(|&at| (at.clone(), merged(at, &address, &answers))).collect()
        }
        Err(setback) => led.iter().map(|&at| (at.clone(), Err(setback.clone()))).collect(),
    }
}

fn request(led: &[&TopicPartition], time: i64, deadline: Duration) -> ListOffsetsRequest {
    let mut topics: BTreeMap<&str, Vec<ListOffsetsPartition>> = BTreeMap::new();
    for at in led {
        let partition = ListOffsetsPartition::default()
            .with_partition_index(i32::try_from(at.partition.0).unwrap_or(i32::MAX))
            .with_current_leader_epoch(-1)
            .with_timestamp(time);
        topics.entry(at.topic.as_str()).or_default().push(partition);
    }
    let topic = |(name, partitions): (&str, _)| {
        let name = WireName(StrBytes::from_string(name.to_owned()));
        ListOffsetsTopic::default().with_name(name).with_partitions(partitions)
    };
    ListOffsetsRequest::default()
        .with_replica_id(BrokerId(CONSUMER))
        .with_topics(topics.into_iter().map(topic).collect())
        .with_timeout_ms(i32::try_from(deadline.as_millis()).unwrap_or(i32::MAX))
}

type Answers<'a> = HashMap<(&'a str, PartitionId), &'a ListOffsetsPartitionResponse>;

fn by_partition(answer: &ListOffsetsResponse) -> Answers<'_> {
    let mut answers = Answers::new();
    for topic in &answer.topics {
        for told in &topic.partitions {
            if let Ok(partition) = u32::try_from(told.partition_index) {
                answers.insert((topic.name.as_str(), PartitionId(partition)), told);
            }
        }
    }
    answers
}

fn merged<const N: usize>(
    at: &TopicPartition,
    address: &str,
    answers: &[Answers<'_>],
) -> Result<[i64; N], Setback> {
    let mut offsets = [NONE; N];
    for (offset, answer) in offsets.iter_mut().zip(answers) {
        let told = answer.get(&(at.topic.as_str(), at.partition));
        let told = told.ok_or_else(|| Setback::Lasting(no_answer(at)))?;
        *offset = match ResponseError::try_from_code(told.error_code) {
            None => told.offset,
            Some(ResponseError::TopicAuthorizationFailed) => {
                let topic = &at.topic;
                let reason = format!("Describe on topic {topic} is not allowed for us");
                return Err(Setback::Lasting(LogError::Failed(reason)));
            }
            Some(error) => {
                let TopicPartition { topic, partition } = at;
                let doing =
                    format!("could not get the offsets of partition {partition} of {topic} from {address}");
                return Err(Setback::answered(error, doing));
            }
        };
    }
    Ok(offsets)
}
