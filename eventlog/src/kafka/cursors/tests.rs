//! Against a real Kafka.

use std::sync::atomic::{AtomicU64, Ordering};

use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::{CreateTopicsRequest, DeleteTopicsRequest, TopicName as WireName};
use kafka_protocol::protocol::StrBytes;
use tokio::sync::watch;
use tokio::time::timeout;
use trigon_core::cursor::{Progress, Stage, Unfinished};
use trigon_core::name::{BrokerId, Installation, Offset, PartitionId, TopicPartition, TriggerId};

use super::requests::Write;
use super::*;
use crate::kafka::KafkaConfig;
use crate::kafka::security::Security;

/// Nothing here takes longer, on the slowest machine.
const DEADLINE: Duration = Duration::from_secs(60);

fn cursors() -> Cursors {
    let address = crate::kafka::test_server::address();
    let security = watch::Sender::new(Arc::new(Security::default())).subscribe();
    let config = KafkaConfig {
        request_deadline: Duration::from_secs(30),
        ..KafkaConfig::new(vec![address], security)
    };
    Cursors::new(Cluster::new(&config))
}

/// A name that no other test and no earlier run has.
fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("cursors-{}-{}", since_epoch.as_nanos(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn group() -> GroupName {
    Installation::default().group(&BrokerId::new("cursors", unique()), &TriggerId::new("cursors", "t"))
}

async fn create(cursors: &Cursors, name: &TopicName, partitions: i32) {
    let wire_name = WireName(StrBytes::from_string(name.as_str().to_owned()));
    let topic = CreatableTopic::default()
        .with_name(wire_name)
        .with_num_partitions(partitions)
        .with_replication_factor(1);
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
    let created = async {
        // The name of a topic that is being deleted is taken for a while.
        while cursors.shared.cluster.ask_any(&request).await.unwrap().topics[0].error_code != 0 {
            sleep(Duration::from_millis(50)).await;
        }
        while cursors.shared.cluster.topic(name).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, created).await.unwrap();
}

/// A new topic of two partitions; its first one.
async fn topic(cursors: &Cursors) -> TopicPartition {
    let topic = TopicName::external(unique());
    create(cursors, &topic, 2).await;
    TopicPartition { topic, partition: PartitionId(0) }
}

fn place(group: &GroupName, at: &TopicPartition) -> Place {
    Place { group: group.clone(), at: at.clone() }
}

fn commit_at(place: &Place, offset: u64) -> Commit {
    let Place { group, at } = place.clone();
    Commit { group, at, cursor: Cursor::at(Offset(offset)) }
}

async fn commit(cursors: &Cursors, place: &Place, offset: u64) -> Result<(), CommitError> {
    timeout(DEADLINE, cursors.commit(vec![commit_at(place, offset)])).await.unwrap().remove(0)
}

async fn load(cursors: &Cursors, place: &Place) -> Option<Cursor> {
    timeout(DEADLINE, cursors.load(std::slice::from_ref(place))).await.unwrap().remove(0).unwrap()
}

fn at(offset: u64) -> Option<Cursor> {
    Some(Cursor::at(Offset(offset)))
}

/// What Kafka's own tool does.
async fn set_by_a_person(cursors: &Cursors, place: &Place, offset: u64) {
    set(cursors, place, Stored { offset: Offset(offset), metadata: String::new() }).await;
}

async fn set(cursors: &Cursors, place: &Place, stored: Stored) {
    let node = cursors.shared.coordinators.find([&place.group]).await.remove(&place.group).unwrap().unwrap();
    let connection = cursors.shared.cluster.connection(node, Line::Admin).await.unwrap();
    let Stored { offset, metadata } = stored;
    let write = Write { at: place.at.clone(), offset, metadata };
    let ends = requests::commit(&connection, node, &place.group, &[write], DEADLINE).await;
    assert_eq!(ends, [Ok(())]);
}

#[tokio::test]
async fn a_cursor_comes_back_as_it_was_committed() {
    let cursors = cursors();
    let (one, group) = (topic(&cursors).await, group());
    let two = TopicPartition { partition: PartitionId(1), ..one.clone() };
    let places = [place(&group, &two), place(&group, &one)];
    assert_eq!(cursors.load(&places).await, [Ok(None), Ok(None)]);
    let progress = Progress { stage: Stage::DeadLetter, attempts: 300, status: 404 };
    let unfinished = vec![Unfinished { offset: Offset(400), progress }];
    let cursor = Cursor { watermark: Offset(5), position: Offset(1_000), unfinished };
    for cursor in [cursor, Cursor::at(Offset(2_000)), Cursor::at(Offset(10))] {
        let commit = Commit { group: group.clone(), at: two.clone(), cursor: cursor.clone() };
        assert_eq!(cursors.commit(vec![commit]).await, [Ok(())]);
        assert_eq!(cursors.load(&places).await, [Ok(Some(cursor)), Ok(None)]);
    }
}

#[tokio::test]
async fn each_commit_has_its_own_result() {
    let cursors = cursors();
    let (here, group) = (topic(&cursors).await, group());
    let nowhere = TopicPartition { topic: TopicName::external(unique()), ..here.clone() };
    let beyond = TopicPartition { partition: PartitionId(2), ..here.clone() };
    let commits = [&nowhere, &here, &beyond].map(|at| commit_at(&place(&group, at), 1)).to_vec();
    let results = cursors.commit(commits).await;
    let unknown_topic = LogError::UnknownTopic(nowhere.topic.clone());
    let unknown_partition = LogError::UnknownPartition(beyond);
    assert_eq!(results, [Err(unknown_topic.into()), Ok(()), Err(unknown_partition.into())]);
    assert_eq!(load(&cursors, &place(&group, &here)).await, at(1));
    let unknown = LogError::UnknownTopic(nowhere.topic.clone());
    assert_eq!(cursors.load(&[place(&group, &nowhere)]).await, [Err(unknown)]);
}

#[tokio::test]
async fn a_recreated_topic_starts_clean() {
    let cursors = cursors();
    let here = place(&group(), &topic(&cursors).await);
    assert_eq!(commit(&cursors, &here, 7).await, Ok(()));
    let name = WireName(StrBytes::from_string(here.at.topic.as_str().to_owned()));
    let old = cursors.stored(&[&here]).await.remove(0).unwrap().unwrap();
    let deleted = DeleteTopicState::default().with_name(Some(name));
    let request = DeleteTopicsRequest::default().with_topics(vec![deleted]).with_timeout_ms(30_000);
    cursors.shared.cluster.ask_any(&request).await.unwrap();
    cursors.shared.cluster.forget(&here.at.topic);
    create(&cursors, &here.at.topic, 2).await;
    let gone = LogError::UnknownTopic(here.at.topic.clone());
    assert_eq!(commit(&cursors, &here, 8).await, Err(gone.into()), "it is another topic of that name");
    // As if Kafka had not deleted the offset yet, which it does some time after the topic.
    set(&cursors, &here, old).await;
    assert_eq!(load(&cursors, &here).await, None);
    assert_eq!(commit(&cursors, &here, 1).await, Ok(()));
    assert_eq!(load(&cursors, &here).await, at(1));
    cursors.forget_topic(&here.at.topic);
    set_by_a_person(&cursors, &here, 3).await;
    assert_eq!(cursors.moved(std::slice::from_ref(&here)).await, [], "nobody stands there any more");
}

/// An offset that a person resets takes effect, and does so once.
#[tokio::test]
async fn what_a_person_sets_is_taken_up() {
    let cursors = cursors();
    let here = place(&group(), &topic(&cursors).await);
    assert_eq!(load(&cursors, &here).await, None);
    assert_eq!(commit(&cursors, &here, 9).await, Ok(()));
    assert_eq!(cursors.moved(std::slice::from_ref(&here)).await, []);
    set_by_a_person(&cursors, &here, 3).await;
    assert_eq!(commit(&cursors, &here, 10).await, Err(CommitError::Moved(here.clone())));
    assert_eq!(cursors.moved(std::slice::from_ref(&here)).await, std::slice::from_ref(&here));
    assert_eq!(load(&cursors, &here).await, at(3));
    assert_eq!(cursors.moved(std::slice::from_ref(&here)).await, []);
    assert_eq!(commit(&cursors, &here, 4).await, Ok(()));
    assert_eq!(load(&cursors, &here).await, at(4));
}

/// A reset of one place does not hold up the others of its group.
#[tokio::test]
async fn only_the_place_that_was_set_is_refused() {
    let cursors = cursors();
    let (one, group) = (topic(&cursors).await, group());
    let two = place(&group, &TopicPartition { partition: PartitionId(1), ..one.clone() });
    let one = place(&group, &one);
    let both = |offset| vec![commit_at(&one, offset), commit_at(&two, offset)];
    assert_eq!(cursors.commit(both(5)).await, [Ok(()), Ok(())]);
    set_by_a_person(&cursors, &one, 2).await;
    assert_eq!(cursors.commit(both(6)).await, [Err(CommitError::Moved(one.clone())), Ok(())]);
    assert_eq!(cursors.load(&[one, two]).await, [Ok(at(2)), Ok(at(6))]);
}

/// A zombie's commit cannot skip an event.
#[tokio::test]
async fn a_zombies_late_commit_is_refused() {
    let (zombie, owner) = (cursors(), cursors());
    let here = place(&group(), &topic(&zombie).await);
    assert_eq!(load(&zombie, &here).await, None);
    assert_eq!(commit(&zombie, &here, 1).await, Ok(()));
    assert_eq!(load(&owner, &here).await, at(1));
    assert_eq!(commit(&zombie, &here, 2).await, Ok(()), "who has only loaded is not in the way");
    assert_eq!(commit(&owner, &here, 2).await, Ok(()));
    let refused = commit(&zombie, &here, 99).await.unwrap_err().to_string();
    assert!(refused.ends_with("another dispatcher has taken over"), "{refused}");
    assert_eq!(load(&owner, &here).await, at(2));
}

#[tokio::test]
async fn a_group_that_somebody_deletes_is_restored() {
    let (cursors, person) = (cursors(), cursors());
    let (here, other) = (topic(&cursors).await, group());
    let (here, other) = (place(&group(), &here), place(&other, &here));
    for place in [&here, &other] {
        assert_eq!(commit(&cursors, place, 5).await, Ok(()));
    }
    assert_eq!(person.delete_group(&here.group).await, Ok(()));
    assert_eq!(person.delete_group(&here.group).await, Ok(()), "it is gone already");
    assert_eq!(person.load(&[here.clone(), other]).await, [Ok(None), Ok(at(5))]);
    assert_eq!(commit(&cursors, &here, 6).await, Ok(()));
    assert_eq!(load(&person, &here).await, at(6));
}

/// In one call and in many: each group's last wins.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_groups_commit_at_once() {
    let cursors = Arc::new(cursors());
    let here = topic(&cursors).await;
    let places: Vec<_> = (0..1_000).map(|_| place(&group(), &here)).collect();
    let loaded = cursors.load(&places).await;
    assert!(loaded.iter().all(|result| *result == Ok(None)), "{:?}", loaded[0]);
    let results = cursors.commit(places.iter().map(|place| commit_at(place, 1)).collect()).await;
    assert!(results.iter().all(|result| *result == Ok(())), "{results:?}");
    let mut committers = JoinSet::new();
    for place in places.clone() {
        let cursors = Arc::clone(&cursors);
        committers.spawn(async move { cursors.commit(vec![commit_at(&place, 2)]).await });
    }
    let results = timeout(DEADLINE, committers.join_all()).await.unwrap();
    assert!(results.iter().all(|result| *result == [Ok(())]));
    let loaded = cursors.load(&places).await;
    assert!(loaded.iter().all(|result| *result == Ok(at(2))));
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_told_within_the_deadline() {
    let security = watch::Sender::new(Arc::new(Security::default())).subscribe();
    let config = KafkaConfig {
        request_deadline: Duration::from_millis(300),
        ..KafkaConfig::new(vec!["127.0.0.1:1".to_owned()], security)
    };
    let nobody = Cursors::new(Cluster::new(&config));
    let here = TopicPartition { topic: TopicName::external("any"), partition: PartitionId(0) };
    let here = place(&group(), &here);
    let error = commit(&nobody, &here, 1).await.unwrap_err().to_string();
    assert!(error.contains("could not connect to 127.0.0.1:1"), "{error}");
    let deleted = nobody.delete_group(&here.group).await.unwrap_err().to_string();
    assert!(deleted.contains("could not connect to 127.0.0.1:1"), "{deleted}");
}
