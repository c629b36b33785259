//! The log against a map of what was acknowledged, over random steps with crashes, full disks and failing
//! syncs in between.
//!
//! The bugs that it guards against: an acknowledged record or cursor that is gone after a crash; a record that
//! was refused and is there all the same, without a crash; a batch of which a crash leaves a part; an offset
//! that is given out twice; a log that does not go on when space returns.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use fastrand::Rng;
use proptest::prelude::*;
use tokio::task::JoinSet;
use trigon_core::name::{BrokerId, Installation, PartitionId, TriggerId};

use super::faulty::FaultyDisk;
use super::*;
use crate::contract::load;

const TOPICS: usize = 2;
const PARTITIONS: u32 = 3;
const GROUPS: usize = 2;

#[derive(Clone, Debug)]
enum Action {
    /// An append of records with these keys.
    Append {
        topic: usize,
        keys: Vec<u8>,
    },
    Commit {
        topic: usize,
        group: usize,
        offset: u64,
    },
    DeleteGroup {
        group: usize,
    },
    DeleteTopic {
        topic: usize,
    },
}

#[derive(Clone, Debug)]
enum Step {
    /// All at once.
    Do(Vec<Action>),
    Retain {
        topic: usize,
    },
    Reopen,
    /// All at once, with a crash after so many operations of the disk.
    Crash {
        actions: Vec<Action>,
        after: u64,
        seed: u64,
    },
    /// The disk has only this much space left.
    Fill {
        left: u64,
    },
    Free,
    FailSyncs {
        count: u32,
    },
    LimitWrites {
        bytes: usize,
    },
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let append = (0..TOPICS, proptest::collection::vec(any::<u8>(), 1..6))
        .prop_map(|(topic, keys)| Action::Append { topic, keys });
    let commit = (0..TOPICS, 0..GROUPS, 0..1_000_u64).prop_map(|(topic, group, offset)| Action::Commit {
        topic,
        group,
        offset,
    });
    let action = prop_oneof![
        12 => append,
        4 => commit,
        1 => (0..GROUPS).prop_map(|group| Action::DeleteGroup { group }),
        1 => (0..TOPICS).prop_map(|topic| Action::DeleteTopic { topic }),
    ];
    proptest::collection::vec(action, 1..8)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => actions().prop_map(Step::Do),
        1 => (0..TOPICS).prop_map(|topic| Step::Retain { topic }),
        1 => Just(Step::Reopen),
        5 => (actions(), 0..60_u64, any::<u64>())
            .prop_map(|(actions, after, seed)| Step::Crash { actions, after, seed }),
        1 => (0..3_000_u64).prop_map(|left| Step::Fill { left }),
        2 => Just(Step::Free),
        1 => (1..3_u32).prop_map(|count| Step::FailSyncs { count }),
        1 => (1..300_usize).prop_map(|bytes| Step::LimitWrites { bytes }),
    ];
    proptest::collection::vec(step, 1..25)
}

/// What must be there, and what may be.
#[derive(Default)]
struct Expected {
    topics: [ExpectedTopic; TOPICS],
    cursors: BTreeMap<(usize, usize), ExpectedCursor>,
}

#[derive(Default)]
struct ExpectedTopic {
    /// What was acknowledged, or was there after a crash.
    records: BTreeMap<Position, Record>,
    /// Batches without an acknowledgement: after a crash each may be there, as a whole.
    doubtful: Vec<Vec<Record>>,
    /// The lowest offsets; retention raises them.
    starts: BTreeMap<PartitionId, Offset>,
    deletion: Deletion,
}

#[derive(Default)]
struct ExpectedCursor {
    acknowledged: Option<Cursor>,
    doubtful: Vec<Option<Cursor>>,
}

#[derive(Default, PartialEq, Eq)]
enum Deletion {
    #[default]
    No,
    /// It failed, or was not acknowledged: either way is right after a crash.
    Doubtful,
}

/// What became of an append: its topic, its records, and the answer.
type Appended = (usize, Vec<Record>, Result<Vec<Position>, AppendError>);

struct Run {
    disk: FaultyDisk,
    log: Arc<EmbeddedLog>,
    expected: Expected,
    serial: u64,
}

fn topic_name(topic: usize) -> TopicName {
    Installation::default().topic(&BrokerId::new("model", topic.to_string()))
}

fn group_name(group: usize) -> GroupName {
    Installation::default().group(&BrokerId::new("model", "b"), &TriggerId::new("model", group.to_string()))
}

fn at(topic: usize, partition: u32) -> TopicPartition {
    TopicPartition { topic: topic_name(topic), partition: PartitionId(partition) }
}

fn open(disk: &FaultyDisk) -> Arc<EmbeddedLog> {
    let config = EmbeddedConfig {
        segment_bytes: 1_500,
        tail_bytes: 2_000,
        retention_interval: Duration::from_secs(3_600),
        ..EmbeddedConfig::new("/log")
    };
    Arc::new(EmbeddedLog::open_on(Arc::new(disk.clone()), config, None).unwrap())
}

impl Run {
    async fn start() -> Self {
        let disk = FaultyDisk::new();
        let log = open(&disk);
        let mut run = Self { disk, log, expected: Expected::default(), serial: 0 };
        run.create_topics().await;
        run
    }

    async fn create_topics(&mut self) {
        for topic in 0..TOPICS {
            self.log.create_topic(&topic_name(topic), &settings()).await.unwrap();
        }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Do(actions) => self.act(actions).await,
            Step::Retain { topic } => {
                let Ok(found) = self.log.topic(&topic_name(topic)) else { return };
                retention::retain(&found, clock::now(), self.log.config.roll_at());
                for partition in 0..PARTITIONS {
                    let extent = self.log.extent(&at(topic, partition)).await.unwrap();
                    let start = self.expected.topics[topic].starts.entry(PartitionId(partition)).or_default();
                    assert!(extent.start >= *start, "the start only grows");
                    *start = extent.start;
                }
            }
            Step::Reopen => {
                self.free();
                self.log.close().await;
                self.log = open(&self.disk);
            }
            Step::Crash { actions, after, seed } => {
                self.disk.world().operations_left = after;
                self.act(actions).await;
                let disk = self.disk.crash(&mut Rng::with_seed(seed));
                self.log.close().await;
                self.disk = disk;
                self.log = open(&self.disk);
                self.settle().await;
            }
            Step::Fill { left } => {
                let mut world = self.disk.world();
                world.space = world.used() + left;
            }
            Step::Free => {
                self.free();
                for topic in 0..TOPICS {
                    if self.log.describe_topic(&topic_name(topic)).await.unwrap().is_none() {
                        assert!(
                            self.expected.topics[topic].deletion == Deletion::Doubtful,
                            "a topic is gone"
                        );
                        self.forget(topic);
                    }
                }
                self.create_topics().await;
                // Whatever happened before: with space, and syncs that work, it goes on by itself.
                let actions = (0..TOPICS).map(|topic| Action::Append { topic, keys: vec![0] }).collect();
                let before: usize = self.expected.topics.iter().map(|topic| topic.records.len()).sum();
                self.act(actions).await;
                let after: usize = self.expected.topics.iter().map(|topic| topic.records.len()).sum();
                assert_eq!(after, before + TOPICS, "the log does not go on");
                assert_eq!(self.log.health(), Health::Writable);
            }
            Step::FailSyncs { count } => self.disk.world().failing_syncs = count,
            Step::LimitWrites { bytes } => self.disk.world().write_limit = bytes,
        }
        self.check().await;
    }

    fn free(&self) {
        let mut world = self.disk.world();
        world.space = u64::MAX;
        world.failing_syncs = 0;
        world.write_limit = usize::MAX;
    }

    async fn act(&mut self, actions: Vec<Action>) {
        let mut appends: JoinSet<Appended> = JoinSet::new();
        for action in actions {
            match action {
                Action::Append { topic, keys } => {
                    let records: Vec<_> = keys.iter().map(|key| self.record(*key)).collect();
                    let log = self.log.clone();
                    appends.spawn(async move {
                        let stored = log.append(&topic_name(topic), records.clone()).await;
                        (topic, records, stored)
                    });
                }
                Action::Commit { topic, group, offset } => {
                    let cursor = Cursor::at(Offset(offset));
                    let commit =
                        Commit { group: group_name(group), at: at(topic, 0), cursor: cursor.clone() };
                    let result = self.log.commit(vec![commit]).await.remove(0);
                    let expected = self.expected.cursors.entry((topic, group)).or_default();
                    match result {
                        Ok(()) => expected.acknowledged = Some(cursor),
                        Err(_) => expected.doubtful.push(Some(cursor)),
                    }
                }
                Action::DeleteGroup { group } => {
                    let result = self.log.delete_group(&group_name(group)).await;
                    for topic in 0..TOPICS {
                        let expected = self.expected.cursors.entry((topic, group)).or_default();
                        match result {
                            Ok(()) => expected.acknowledged = None,
                            Err(_) => expected.doubtful.push(None),
                        }
                    }
                }
                Action::DeleteTopic { topic } => {
                    // Appends that are under way may be refused or not; the model wants to know.
                    self.collect(&mut appends).await;
                    match self.log.delete_topic(&topic_name(topic)).await {
                        Ok(()) => {
                            self.forget(topic);
                            if self.log.create_topic(&topic_name(topic), &settings()).await.is_err() {
                                self.expected.topics[topic].deletion = Deletion::Doubtful;
                            }
                        }
                        // It may be gone all the same, and be back after a crash.
                        Err(_) => self.expected.topics[topic].deletion = Deletion::Doubtful,
                    }
                }
            }
        }
        self.collect(&mut appends).await;
    }

    async fn collect(&mut self, appends: &mut JoinSet<Appended>) {
        while let Some(append) = appends.join_next().await {
            let (topic, records, stored) = append.unwrap();
            let expected = &mut self.expected.topics[topic];
            match stored {
                Ok(positions) => {
                    for (position, record) in positions.into_iter().zip(records) {
                        let twice = expected.records.insert(position, record);
                        assert_eq!(twice, None, "{position} was given out twice");
                    }
                }
                Err(_) => expected.doubtful.push(records),
            }
        }
    }

    fn forget(&mut self, topic: usize) {
        self.expected.topics[topic] = ExpectedTopic::default();
        self.expected.cursors.retain(|(of, _), _| *of != topic);
    }

    fn record(&mut self, key: u8) -> Record {
        self.serial += 1;
        Record {
            key: (key > 30).then(|| Bytes::from(vec![key])),
            value: Some(Bytes::from(format!("{:>1$}", self.serial, usize::from(key)))),
            ..Record::default()
        }
    }

    /// After a crash: what was in doubt is decided.
    async fn settle(&mut self) {
        for topic in 0..TOPICS {
            let described = self.log.describe_topic(&topic_name(topic)).await.unwrap();
            if described.is_none() {
                assert!(self.expected.topics[topic].deletion == Deletion::Doubtful, "a topic is gone");
                self.forget(topic);
                continue;
            }
            let stored = self.stored(topic).await;
            let expected = &mut self.expected.topics[topic];
            expected.deletion = Deletion::No;
            for (position, record) in &expected.records {
                // What retention removed may be back, or not.
                let kept =
                    expected.starts.get(&position.partition).is_none_or(|start| position.offset >= *start);
                let found = stored.get(position);
                assert!(
                    found == Some(record) || !kept && found.is_none(),
                    "{position} is {found:?} after a crash"
                );
            }
            for batch in std::mem::take(&mut expected.doubtful) {
                let found: BTreeMap<_, _> =
                    stored.iter().filter(|(_, record)| batch.contains(record)).collect();
                assert!(found.is_empty() || found.len() == batch.len(), "a part of a batch is there");
                for (position, record) in found {
                    expected.records.insert(*position, record.clone());
                }
            }
            // Segments that retention removed may be back.
            expected.starts.clear();
            for partition in 0..PARTITIONS {
                let extent = self.log.extent(&at(topic, partition)).await.unwrap();
                self.expected.topics[topic].starts.insert(PartitionId(partition), extent.start);
            }
        }
        self.create_topics().await;
        for ((topic, group), expected) in &mut self.expected.cursors {
            let loaded = load(&*self.log, &group_name(*group), &[at(*topic, 0)]).await.unwrap().remove(0);
            let possible = loaded == expected.acknowledged || expected.doubtful.contains(&loaded);
            assert!(possible, "{loaded:?} instead of {:?}", expected.acknowledged);
            *expected = ExpectedCursor { acknowledged: loaded, doubtful: Vec::new() };
        }
    }

    async fn check(&self) {
        for topic in 0..TOPICS {
            let expected = &self.expected.topics[topic];
            if self.log.describe_topic(&topic_name(topic)).await.unwrap().is_none() {
                assert!(expected.deletion == Deletion::Doubtful, "a topic is gone");
                continue;
            }
            let wanted: BTreeMap<_, _> = expected
                .records
                .iter()
                .filter(|(position, _)| {
                    expected.starts.get(&position.partition).is_none_or(|start| position.offset >= *start)
                })
                .map(|(position, record)| (*position, record.clone()))
                .collect();
            let stored = self.stored(topic).await;
            let (wanted_at, stored_at): (BTreeSet<_>, BTreeSet<_>) =
                (wanted.keys().copied().collect(), stored.keys().copied().collect());
            assert_eq!(wanted_at, stored_at, "positions in topic {topic}");
            assert!(wanted == stored, "the records of topic {topic} are others");
        }
        for ((topic, group), expected) in &self.expected.cursors {
            if self.log.describe_topic(&topic_name(*topic)).await.unwrap().is_none() {
                continue;
            }
            let loaded = load(&*self.log, &group_name(*group), &[at(*topic, 0)]).await.unwrap().remove(0);
            assert_eq!(loaded, expected.acknowledged);
        }
    }

    async fn stored(&self, topic: usize) -> BTreeMap<Position, Record> {
        let mut stored = BTreeMap::new();
        for partition in 0..PARTITIONS {
            let at = at(topic, partition);
            let end = self.log.extent(&at).await.unwrap().end;
            let mut scan = self.log.scan(&at, Offset(0)).await.unwrap();
            let mut next = Offset(0);
            while next < end {
                let batch = scan.read(700).await.unwrap();
                next = batch.next;
                for (offset, record) in batch.records {
                    stored.insert(Position { partition: PartitionId(partition), offset }, record);
                }
            }
        }
        stored
    }
}

fn settings() -> TopicSettings {
    TopicSettings {
        partitions: PARTITIONS,
        retention_age: None,
        retention_bytes: Some(3_000),
        ..TopicSettings::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn keeps_what_it_acknowledged_whatever_happens(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut run = Run::start().await;
            for step in steps {
                run.step(step).await;
            }
        });
    }
}
