//! Offsets of groups, asked of and told to the broker that coordinates them.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::{
    DeleteGroupsRequest, GroupId, OffsetCommitRequest, OffsetFetchRequest, TopicName as WireName,
};
use kafka_protocol::protocol::StrBytes;
use trigon_core::name::{GroupName, Offset, TopicName, TopicPartition};

use super::answer::{Asked, answer_to, unreached};
use super::memory::Stored;
use crate::kafka::wire::{Connection, NodeId, Setback};
use crate::{LogError, Place};

/// `GROUP_ID_NOT_FOUND`.
const NO_SUCH_GROUP: i16 = 69;

/// An offset to commit.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) at: TopicPartition,
    pub(super) offset: Offset,
    pub(super) metadata: String,
}

/// Reads what is stored in places whose groups this broker coordinates; one result each.
pub(super) async fn fetch(
    connection: &Connection,
    node: NodeId,
    places: &[&Place],
    deadline: Duration,
) -> Vec<Result<Option<Stored>, Setback>> {
    let answer = match connection.call(&fetch_request(places), deadline).await {
        Ok(answer) => answer,
        Err(error) => return places.iter().map(|place| Err(unreached(&place.group, &error))).collect(),
    };
    let mut refused = HashMap::new();
    let mut told = HashMap::new();
    for group in &answer.groups {
        if group.error_code != 0 {
            refused.insert(&**group.group_id, group.error_code);
        }
        for topic in &group.topics {
            for partition in &topic.partitions {
                told.insert((&**group.group_id, &**topic.name, partition.partition_index), partition);
            }
        }
    }
    let end = |place: &&Place| {
        let Place { group, at } = *place;
        let asked = Asked { doing: "load", right: "Read", group, topic: None, node };
        if let Some(setback) = refused.get(group.as_str()).and_then(|&code| answer_to(&asked, code)) {
            return Err(setback);
        }
        let Some(partition) = told.get(&(group.as_str(), at.topic.as_str(), index(at))) else {
            return Err(unanswered("load", group, connection));
        };
        let asked = Asked { topic: Some(&at.topic), ..asked };
        match answer_to(&asked, partition.error_code) {
            Some(setback) => Err(setback),
            None => Ok(u64::try_from(partition.committed_offset).ok().map(|offset| Stored {
                offset: Offset(offset),
                metadata: partition.metadata.as_deref().unwrap_or_default().to_owned(),
            })),
        }
    };
    places.iter().map(end).collect()
}

fn fetch_request(places: &[&Place]) -> OffsetFetchRequest {
    let mut groups: BTreeMap<&GroupName, BTreeMap<&TopicName, Vec<i32>>> = BTreeMap::new();
    for Place { group, at } in places {
        groups.entry(group).or_default().entry(&at.topic).or_default().push(index(at));
    }
    let groups = groups.into_iter().map(|(group, topics)| {
        let topics = topics.into_iter().map(|(topic, partitions)| {
            OffsetFetchRequestTopics::default().with_name(wire_name(topic)).with_partition_indexes(partitions)
        });
        // Nobody in particular asks: no member, no epoch.
        OffsetFetchRequestGroup::default()
            .with_group_id(wire_group(group))
            .with_member_id(None)
            .with_member_epoch(-1)
            .with_topics(Some(topics.collect()))
    });
    OffsetFetchRequest::default().with_groups(groups.collect())
}

/// Commits offsets of one group, as a group without members; one result each.
pub(super) async fn commit(
    connection: &Connection,
    node: NodeId,
    group: &GroupName,
    writes: &[Write],
    deadline: Duration,
) -> Vec<Result<(), Setback>> {
    let answer = match connection.call(&commit_request(group, writes), deadline).await {
        Ok(answer) => answer,
        Err(error) => return writes.iter().map(|_| Err(unreached(group, &error))).collect(),
    };
    let mut told = HashMap::new();
    for topic in &answer.topics {
        for partition in &topic.partitions {
            told.insert((&**topic.name, partition.partition_index), partition.error_code);
        }
    }
    let end = |Write { at, .. }: &Write| {
        let code = told.get(&(at.topic.as_str(), index(at)));
        let code = code.ok_or_else(|| unanswered("commit to", group, connection))?;
        let asked = Asked { doing: "commit to", right: "Read", group, topic: Some(&at.topic), node };
        answer_to(&asked, *code).map_or(Ok(()), Err)
    };
    writes.iter().map(end).collect()
}

fn commit_request(group: &GroupName, writes: &[Write]) -> OffsetCommitRequest {
    let mut topics: BTreeMap<&TopicName, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
    for Write { at, offset, metadata } in writes {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(index(at))
            .with_committed_offset(i64::try_from(offset.0).unwrap_or(i64::MAX))
            .with_committed_metadata(Some(StrBytes::from_string(metadata.clone())));
        topics.entry(&at.topic).or_default().push(partition);
    }
    let topics = topics.into_iter().map(|(topic, partitions)| {
        OffsetCommitRequestTopic::default().with_name(wire_name(topic)).with_partitions(partitions)
    });
    OffsetCommitRequest::default()
        .with_group_id(wire_group(group))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(topics.collect())
}

/// Deletes a group; one that is not there is no error.
pub(super) async fn delete(
    connection: &Connection,
    node: NodeId,
    group: &GroupName,
    deadline: Duration,
) -> Result<(), Setback> {
    let request = DeleteGroupsRequest::default().with_groups_names(vec![wire_group(group)]);
    let answer = connection.call(&request, deadline).await;
    let answer = answer.map_err(|error| unreached(group, &error))?;
    let told = answer.results.first().ok_or_else(|| unanswered("delete", group, connection))?;
    if told.error_code == NO_SUCH_GROUP {
        return Ok(());
    }
    let asked = Asked { doing: "delete", right: "Delete", group, topic: None, node };
    answer_to(&asked, told.error_code).map_or(Ok(()), Err)
}

fn unanswered(doing: &str, group: &GroupName, connection: &Connection) -> Setback {
    let address = connection.address();
    Setback::Lasting(LogError::Failed(format!(
        "could not {doing} group {group}: the answer of {address} does not speak of it"
    )))
}

fn index(at: &TopicPartition) -> i32 {
    i32::try_from(at.partition.0).unwrap_or(i32::MAX)
}

fn wire_name(topic: &TopicName) -> WireName {
    WireName(StrBytes::from_string(topic.as_str().to_owned()))
}

fn wire_group(group: &GroupName) -> GroupId {
    GroupId(StrBytes::from_string(group.as_str().to_owned()))
}
