//! Kafka's answer for one partition, and the request that it answers.

use std::collections::HashMap;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::{AbortedTransaction, PartitionData};
use kafka_protocol::messages::{FetchRequest, FetchResponse};
use trigon_core::name::{Offset, PartitionId};
use uuid::Uuid;

use super::tail::Source;
use crate::kafka::wire::LeaderEpoch;

/// Only what is not part of an open or aborted transaction.
pub(super) const READ_COMMITTED: i8 = 1;

/// What is wanted of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) source: Source,
    /// Without it a former leader would answer as the follower that it has become, and late.
    pub(super) epoch: LeaderEpoch,
    pub(super) from: Offset,
}

/// What there is of a partition.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    /// Everything from here on is in it.
    pub(super) from: Offset,
    /// The oldest record that the partition has.
    pub(super) start: Offset,
    /// Where the records end that readers may see.
    pub(super) end: Offset,
    /// Batches, the first of which may begin below `from`.
    pub(super) records: Bytes,
    pub(super) aborted: Vec<AbortedTransaction>,
}

impl Answer {
    fn new(from: Offset, partition: PartitionData) -> Self {
        let visible = if partition.last_stable_offset < 0 {
            partition.high_watermark
        } else {
            partition.last_stable_offset
        };
        Self {
            from,
            start: offset(partition.log_start_offset),
            end: offset(visible),
            records: partition.records.unwrap_or_default(),
            aborted: partition.aborted_transactions.unwrap_or_default(),
        }
    }
}

/// What Kafka says of each partition.
pub(super) type Answers = HashMap<Source, Result<Answer, ResponseError>>;

/// The bounds of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) wait_ms: i32,
    pub(super) bytes: usize,
    pub(super) partition_bytes: usize,
}

/// Asks for partitions, in their order. Each may be wanted once.
pub(super) fn request(wanted: &[Wanted], limits: Limits) -> FetchRequest {
    let mut topics: Vec<FetchTopic> = Vec::new();
    for Wanted { source, epoch, from } in wanted {
        let partition = FetchPartition::default()
            .with_partition(number(source.partition))
            .with_current_leader_epoch(epoch.0)
            .with_fetch_offset(from.0.try_into().unwrap_or(i64::MAX))
            .with_partition_max_bytes(bounded(limits.partition_bytes));
        match topics.last_mut() {
            Some(topic) if topic.topic_id == source.topic => topic.partitions.push(partition),
            _ => topics
                .push(FetchTopic::default().with_topic_id(source.topic).with_partitions(vec![partition])),
        }
    }
    FetchRequest::default()
        .with_max_wait_ms(limits.wait_ms)
        .with_min_bytes(1)
        .with_max_bytes(bounded(limits.bytes))
        .with_isolation_level(READ_COMMITTED)
        .with_topics(topics)
}

/// The answers for the partitions that were asked for. Where Kafka throttles us there are none for the time being.
///
/// # Errors
/// When there is no answer for any, and not because of throttling.
pub(super) fn answers(wanted: &[Wanted], response: FetchResponse) -> Result<Answers, ResponseError> {
    if let Some(error) = ResponseError::try_from_code(response.error_code) {
        return Err(error);
    }
    let is_throttled = response.throttle_time_ms > 0;
    let mut found: HashMap<(Uuid, i32), PartitionData> = HashMap::new();
    for topic in response.responses {
        for partition in topic.partitions {
            found.insert((topic.topic_id, partition.partition_index), partition);
        }
    }
    let answer = |wanted: &Wanted| {
        let partition = found.remove(&(wanted.source.topic, number(wanted.source.partition)));
        let Some(partition) = partition else {
            let left_out = (wanted.source, Err(ResponseError::UnknownServerError));
            return (!is_throttled).then_some(left_out);
        };
        let answer = match ResponseError::try_from_code(partition.error_code) {
            Some(error) => Err(error),
            None => Ok(Answer::new(wanted.from, partition)),
        };
        Some((wanted.source, answer))
    };
    Ok(wanted.iter().filter_map(answer).collect())
}

/// A partition's number as Kafka has it.
pub(super) fn number(partition: PartitionId) -> i32 {
    i32::try_from(partition.0).unwrap_or(i32::MAX)
}

/// An offset of Kafka's; those that it does not know are negative.
pub(super) fn offset(offset: i64) -> Offset {
    Offset(u64::try_from(offset).unwrap_or(0))
}

fn bounded(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
