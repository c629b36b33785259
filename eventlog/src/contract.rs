//! What every backend of the event log must do, as test cases that any backend runs.
//!
//! [`contract_tests!`](crate::contract_tests) turns them into tests. A backend says how to open a log with a
//! [`Fixture`]; the cases know nothing else about it. Each case makes topics and groups of its own, so that
//! they may share one server.
//!
//! Deliberately not here: what a backend promises beyond the trait, such as surviving a full disk.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use trigon_core::cursor::{Cursor, Progress, Stage, Unfinished};
use trigon_core::name::{GroupName, Installation, Offset, PartitionId, Position, TopicName, TopicPartition};
use trigon_core::record::{Record, Timestamp};
use trigon_core::routing::TopicSettings;

use crate::{
    AppendError, Commit, CommitError, Difference, EventLog, Extent, Health, LogError, Ownership,
    OwnershipChange, Place, Scan, SharedLog, TopicDescription,
};

/// Nothing in the contract takes longer, on the slowest machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// More than any case appends.
const ALL: usize = 1 << 20;

/// How to open the log under test.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// Opens the log: empty the first time, and with all that it acknowledged after a [`close`](Self::close).
    async fn open(&self) -> SharedLog;

    /// Closes the log as an orderly process would.
    async fn close(&self, log: SharedLog);

    /// The largest record that the log takes, in bytes.
    fn max_record_bytes(&self) -> usize;
}

/// Makes one test of each case. The argument is an expression that makes a [`Fixture`].
#[macro_export]
macro_rules! contract_tests {
    ($fixture:expr) => {
        $crate::contract_tests! { $fixture;
            a_record_comes_back_as_it_was
            positions_are_where_a_scan_finds_the_records
            offsets_count_from_zero_in_the_order_of_the_appends
            records_of_one_key_share_a_partition_in_order
            keys_go_where_kafka_puts_them
            a_batch_keeps_its_order
            an_append_of_nothing_stores_nothing
            appends_at_once_all_get_places_of_their_own
            a_read_returns_about_what_was_asked_for_and_at_least_one_record
            a_read_at_the_tail_waits_for_the_next_record
            a_cancelled_read_loses_nothing
            a_scan_ahead_of_the_end_waits_until_its_offset_is_there
            a_scan_reads_where_it_is_sent
            scans_do_not_disturb_one_another
            the_extent_follows_the_appends
            an_offset_is_found_by_time
            a_group_without_a_commit_has_no_cursor
            a_cursor_comes_back_as_it_was_committed
            many_groups_commit_at_once
            each_commit_has_its_own_result
            a_deleted_group_has_no_cursors
            a_topic_is_described_as_it_was_created
            a_topic_that_exists_keeps_its_partitions
            a_deleted_topic_is_gone_and_its_readers_are_told
            a_recreated_topic_starts_clean
            deleting_what_is_not_there_is_no_error
            unknown_topics_and_partitions_are_errors
            a_record_over_the_limit_is_refused_and_the_next_one_is_not
            what_was_acknowledged_is_there_after_reopening
            ownership_follows_the_topics_that_are_asked_for
            ownership_of_a_topic_begins_with_the_topic
            a_revoked_partition_is_not_assigned_again_before_it_is_released
            a_healthy_log_takes_appends
        }
    };
    ($fixture:expr; $($case:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $crate::contract::$case(&$fixture).await;
            }
        )*
    };
}

/// All parts of a record survive: absent and empty keys and values, the order of headers, any bytes.
pub async fn a_record_comes_back_as_it_was(fixture: &dyn Fixture) {
    let log = fixture.open().await;
    let at = topic(&log, 1).await;
    let header = |name: &str, value: &[u8]| (name.into(), Bytes::copy_from_slice(value));
    let full = Record {
        key: Some(Bytes::from_static(b"key")),
        headers: vec![header("ce_id", b"1"), header("ce_id", "zwei \u{2603}".as_bytes()), header("e", b"")],
        value: Some(Bytes::from((0..=255).collect::<Vec<u8>>())),
        timestamp: Timestamp(1_700_000_000_123),
    };
    let empty = Record {
        key: Some(Bytes::new()),
        value: Some(Bytes::new()),
        timestamp: Timestamp(1_700_000_000_124),
        ..Record::default()
    };
    let absent = Record { timestamp: Timestamp(1_700_000_000_125), ..Record::default() };
    let records = vec![full, empty, absent];
    append(&log, &at.topic, records.clone()).await;
    let read = read(&mut *scan(&log, &at, 0).await, 3).await;
    assert_eq!(read.into_iter().map(|(_, record)| record).collect::<Vec<_>>(), records);
    fixture.close(log).await;
}

/// The answer to an append tells where each record is.
pub async fn positions_are_where_a_scan_finds_the_records(fixture: &dyn Fixture) {
    let log = fixture.open().await;
    let at = topic(&log, 4).await;
    let records: Vec<_> = (0..100).map(|n| keyed(&format!("key-{}", n % 13), n)).collect();
    let positions = append(&log, &at.topic, records.clone()).await;
    assert_eq!(positions.len(), records.len());
    let mut stored = read_topic(&log, &at.topic, 100).await;
    for (position, record) in positions.iter().zip(&records) {
        assert_eq!(stored.remove(position).as_ref(), Some(record), "{position}");
    }
    fixture.close(log).await;
}

/// A fresh partition begins with offset 0 and has no gaps.
pub async fn offsets_count_from_zero_in_the_order_of_the_appends(fixture: &dyn Fixture) {
    let log = fixture.open().await;
    let at = topic(&log, 1).await;
    for n in 0..20 {
        let positions = append(&log, &at.topic, vec![plain(n)]).await;
        assert_eq!(positions, [Position { partition: PartitionId(0), offset: Offset(n) }]);
    }
    let expected: Vec<_> = (0..20).map(|n| (Offset(n), plain(n))).collect();
    assert_eq!(read(&mut *scan(&log, &at, 0).await, 20).await, expected);
    fixture.close(log).await;
}

/// The order of one key's records is the order of their appends.
pub async fn records_of_one_key_share_a_partition_in_order(fixture: &dyn Fixture) {
    let log = fixture.open().await;
    let at = topic(&log, 4).await;
    let mut partitions: BTreeMap<u64, BTreeSet<PartitionId>> = BTreeMap::new();
    for n in 0..120 {
        let key = n % 6;
        let positions = append(&log, &at.topic, vec![keyed(&format!("key-{key}"), n)]).await;
        partitions.entry(key).or_default().insert(positions[0].partition);
    }
    assert!(partitions.values().all(|partitions| partitions.len() == 1), "{partitions:?}");
    let stored = read_topic(&log, &at.topic, 120).await;
    for key in 0..6 {
        let of_key = Bytes::from(format!("key-{key}"));
        let numbers: Vec<_> = stored.values().filter(|record| record.key == Some(of_key.clone())).collect();
        let expected: Vec<_> = (0..20).map(|n| keyed(&format!("key-{key}"), n * 6 + key)).collect();
        assert_eq!(numbers, expected.iter().collect::<Vec<_>>(), "key-{key}");
    }
    fixture.close(log).await;
}

/// KAF-09: murmur2 of the key, the sign bit cleared, modulo the partitions; so says Kafka's default
/// partitioner, and the known hashes are from its own tests.
pub async fn keys_go_where_kafka_puts_them(fixture: &dyn Fixture) {
    let log = fixture.open().await;
    let at = topic(&log, 7).await;
    let hashes = [("21", -973_932_308_i32), ("foobar", -790_332_482), ("abc", 479_470_107)];
    for (key, hash) in hashes {
        let positions = append(&log, &at.topic, vec![keyed(key, 0)]).await;
        let expected = (hash & i32::MAX).unsigned_abs() % 7;
        assert_eq!(positions[0].partition, PartitionId(expected), "{key}");
    }
    fixture.close(log).await;
}

/// Within each partition the records of a batch are in the order of the batch.
pub async fn a_batch_keeps_its_order(fixture: &dyn Fixture) {
    let log = fixture.open().await;
    let at = topic(&log, 3).await;
    let batch: Vec<_> = (0..300).map(|n| keyed(&format!("key-{}", n % 31), n)).collect();
    let positions = append(&log, &at.topic, batch).await;
    for partition in 0..3 {
        let offsets: Vec<_> = positions
            .iter()
            .filter(|position| position.partition == PartitionId(partition))
            .map(|position| position.offset)
            .collect();
        assert!(offsets.windows(2).all(|pair| pair[0] < pair[1]), "{partition}: {offsets:?}");
    }
    fixture.close(log).await;
}

/// No records are no error and no offset.
pub async fn an_append_of_nothing_stores_nothing(fixture: &dyn Fixture) {
    let log = fixture.open().await;
    let at = topic(&log, 1).await;
    assert_eq!(append(&log, &at.topic, Vec::new()).await, []);
    assert_eq!(extent(&log, &at).await, Extent::default());
    fixture.close(log).await;
}

/// Concurrent producers never share a position, and nothing of theirs is missing.
pub async fn appends_at_once_all_get_places_of_their_own(fixture: &dyn Fixture) {
    let log = fixture.open().await;
    let at = topic(&log, 4).await;
    let mut producers = JoinSet::new();
    for producer in 0..16 {
        let (log, topic) = (log.clone(), at.topic.clone());
        producers.spawn(async move {
            let mut placed = Vec::new();
            for n in 0..25 {
                let record = plain(producer * 1000 + n);
                placed.push((append(&log, &topic, vec![record.clone()]).await[0], record));
            }
            placed
        });
    }
    let placed: Vec<_> = producers.join_all().await.into_iter().flatten().collect();
    let expected: BTreeMap<_, _> = placed.into_iter().collect();
    assert_eq!(expected.len(), 16 * 25);
    assert_eq!(read_topic(&log, &at.topic, 16 * 25).await, expected);
    fixture.close(log).await;
}

/// A small limit gives small batches, not none.
pub async fn a_read_returns_about_what_was_asked_for_and_at_least_one_record(fixture: &dyn Fixture) {
    let log = fixture.open().await;
    let at = topic(&log, 1).await;
    let large = |n| Record { value: Some(Bytes::from(vec![b'x'; 10_000])), ..plain(n) };
    append(&log, &at.topic, (0..50).map(large).collect()).await;
    let mut scan = scan(&log, &at, 0).await;
    let one = within(scan.read(1)).await.expect("the log reads");
    assert_eq!(one.records, [(Offset(0), large(0))]);
    assert_eq!(one.next, Offset(1));
    let some = within(scan.read(100_000)).await.expect("the log reads");
    assert_eq!(some.records.first().map(|(offset, _)| *offset), Some(Offset(1)));
    assert!((2..=25).contains(&some.records.len()), "{} records", some.records.len());
    fixture.close(log).await;
}

/// The wait ends with the append, whichever partition of the log is busy meanwhile.
pub async fn a_read_at_the_tail_waits_for_the_next_record(fixture: &dyn Fixture) {
    let log = fixture.open().await;
    let at = topic(&log, 1).await;
    append(&log, &at.topic, vec![plain(0)]).await;
    let mut scan = scan(&log, &at, 0).await;
    read(&mut *scan, 1).await;
    let mut readers = JoinSet::new();
    readers.spawn(async move { read(&mut *scan, 1).await });
    assert!(timeout(Duration::from_millis(50), readers.join_next()).await.is_err(), "nothing was appended");
    append(&log, &at.topic, vec![plain(1)]).await;
    let woken = within(readers.join_next()).await.expect("there is one").expect("it does not panic");
    assert_eq!(woken, [(Offset(1), plain(1))]);
    fixture.close(log).await;
}

/// `read` is cancel safe.
pub async fn a_cancelled_read_loses_nothing(fixture: &dyn Fixture) {
    const RECORDS: u64 = 200;
    let log = fixture.open().await;
    let at = topic(&log, 1).await;
    let mut scan = scan(&log, &at, 0).await;
    let produce = async {
        for n in 0..RECORDS {
            append(&log, &at.topic, vec![plain(n)]).await;
        }
    };
    let consume = async {
        let mut read = Vec::new();
        let mut patience = 0;
        while read.len() < usize::try_from(RECORDS).expect("it is small") {
            patience = (patience + 1) % 7;
            if let Ok(batch) = timeout(Duration::from_micros(patience * 100), scan.read(100)).await {
                read.extend(batch.expect("the log reads").records);
            }
        }
        read
    };
    let ((), read) = within(async { tokio::join!(produce, consume) }).await;
    assert_eq!(read, (0..RECORDS).map(|n| (Offset(n), plain(n))).collect::<Vec<_>>());
    fixture.close(log).await;
}

/// An offset that does not exist yet is waited for.
pub async fn a_scan_ahead_of_the_end_waits_until_its_offset_is_there(fixture: &dyn Fixture) {
    let log = fixture.open().await;
    let at = topic(&log, 1).await;
    let mut scan = scan(&log, &at, 2).await;
    for n in 0..2 {
        append(&log, &at.topic, vec![plain(n)]).await;
        assert!(timeout(Duration::from_millis(50), scan.read(ALL)).await.is_err(), "2 is not there yet");
    }
    append(&log, &at.topic, vec![plain(2)]).await;
    assert_eq!(read(&mut *scan, 1).await, [(Offset(2), plain(2))]);
    fixture.close(log).await;
}

/// Backward and forward, also over what was read before.
pub async fn a_scan_reads_where_it_is_sent(fixture: &dyn Fixture) {
    let log = fixture.open().await;
    let at = topic(&log, 1).await;
    append(&log, &at.topic, (0..50).map(plain).collect()).await;
    let mut scan = scan(&log, &at, 30).await;
    for to in [30, 3, 3, 49, 0, 17] {
        scan.seek(Offset(to));
        assert_eq!(read(&mut *scan, 1).await[0], (Offset(to), plain(to)));
    }
    fixture.close(log).await;
}

/// Each has its own position.
pub async fn scans_do_not_disturb_one_another(fixture: &dyn Fixture) {
    let log = fixture.open().await;
    let at = topic(&log, 1).await;
    append(&log, &at.topic, (0..40).map(plain).collect()).await;
    let mut readers = JoinSet::new();
    for from in 0..40 {
        let mut scan = scan(&log, &at, from).await;
        readers.spawn(async move { (from, read(&mut *scan, usize::try_from(40 - from).unwrap_or(0)).await) });
    }
    for (from, records) in within(readers.join_all()).await {
        assert_eq!(records, (from..40).map(|n| (Offset(n), plain(n))).collect::<Vec<_>>());
    }
    fixture.close(log).await;
}

/// `start..end`, per partition.
pub async fn the_extent_follows_the_appends(fixture: &dyn Fixture) {
    let log = fixture.open().await;
    let at = topic(&log, 2).await;
    let positions = append(&log, &at.topic, (0..10).map(|n| keyed("one", n)).collect()).await;
    let used = TopicPartition { partition: positions[0].partition, ..at.clone() };
    let other = TopicPartition { partition: PartitionId(1 - used.partition.0), ..at };
    assert_eq!(extent(&log, &used).await, Extent { start: Offset(0), end: Offset(10) });
    assert_eq!(extent(&log, &other).await, Extent::default());
    fixture.close(log).await;
}

/// The first record accepted at that time or later; the end when there is none.
pub async fn an_offset_is_found_by_time(fixture: &dyn Fixture) {
    let log = fixture.open().await;
    let at = topic(&log, 1).await;
    let start = 1_700_000_000_000;
    assert_eq!(log.offset_at(&at, Timestamp(start)).await, Ok(Offset(0)));
    for n in 0..20 {
        let record = Record { timestamp: Timestamp(start + n * 10), ..plain(0) };
        append(&log, &at.topic, vec![record]).await;
    }
    let cases = [(0, 0), (start, 0), (start + 1, 1), (start + 100, 10), (start + 191, 20)];
    for (time, offset) in cases {
        assert_eq!(log.offset_at(&at, Timestamp(time)).await, Ok(Offset(offset)), "{time}");
    }
    fixture.close(log).await;
}

/// `None`, in the order that was asked for.
pub async fn a_group_without_a_commit_has_no_cursor(fixture: &dyn Fixture) {
    let log = fixture.open().await;
    let at = topic(&log, 2).await;
    let second = TopicPartition { partition: PartitionId(1), ..at.clone() };
    let group = group();
    assert_eq!(load(&*log, &group, &[second.clone(), at.clone()]).await, Ok(vec![None, None]));
    let cursor = Cursor::at(Offset(3));
    commit(&log, &group, &second, &cursor).await;
    assert_eq!(load(&*log, &group, &[second, at]).await, Ok(vec![Some(cursor), None]));
    fixture.close(log).await;
}

/// With what is unfinished, and the attempts; a later commit replaces it, also with a lower watermark.
pub async fn a_cursor_comes_back_as_it_was_committed(fixture: &dyn Fixture) {
    let log = fixture.open().await;
    let at = topic(&log, 1).await;
    let group = group();
    let unfinished = |offset, stage, attempts, status| Unfinished {
        offset: Offset(offset),
        progress: Progress { stage, attempts, status },
    };
    let cursor = Cursor {
        watermark: Offset(5),
        position: Offset(1_000),
        unfinished: vec![
            unfinished(5, Stage::Subscriber, 0, 0),
            unfinished(6, Stage::Subscriber, 7, 503),
            unfinished(400, Stage::DeadLetter, 300, 404),
            unfinished(999, Stage::Park, 1, 0),
        ],
    };
    for cursor in [cursor, Cursor::at(Offset(2_000)), Cursor::at(Offset(10))] {
        commit(&log, &group, &at, &cursor).await;
        assert_eq!(load(&*log, &group, std::slice::from_ref(&at)).await, Ok(vec![Some(cursor)]));
    }
    fixture.close(log).await;
}

/// In one call and in many.
pub async fn many_groups_commit_at_once(fixture: &dyn Fixture) {
    let log = fixture.open().await;
    let at = topic(&log, 1).await;
    let groups: Vec<_> = (0..50).map(|_| group()).collect();
    let cursor = |n: usize, round: u64| Cursor::at(Offset(n as u64 * 10 + round));
    let commits = |round| {
        let commit = |(n, group): (usize, &GroupName)| Commit {
            group: group.clone(),
            at: at.clone(),
            cursor: cursor(n, round),
        };
        groups.iter().enumerate().map(commit).collect::<Vec<_>>()
    };
    assert_eq!(within(log.commit(commits(1))).await, vec![Ok(()); groups.len()]);
    let mut committers = JoinSet::new();
    for commit in commits(2) {
        let log = log.clone();
        committers.spawn(async move { log.commit(vec![commit]).await });
    }
    assert!(within(committers.join_all()).await.iter().all(|results| *results == [Ok(())]));
    for (n, group) in groups.iter().enumerate() {
        assert_eq!(load(&*log, group, std::slice::from_ref(&at)).await, Ok(vec![Some(cursor(n, 2))]));
    }
    fixture.close(log).await;
}

/// One that fails does not hold the others back.
pub async fn each_commit_has_its_own_result(fixture: &dyn Fixture) {
    let log = fixture.open().await;
    let at = topic(&log, 1).await;
    let nowhere = TopicPartition { topic: topic_name(), ..at.clone() };
    let group = group();
    let cursor = Cursor::at(Offset(1));
    let commit =
        |at: &TopicPartition| Commit { group: group.clone(), at: at.clone(), cursor: cursor.clone() };
    let results = within(log.commit(vec![commit(&nowhere), commit(&at)])).await;
    assert_eq!(results, [Err(CommitError::Log(LogError::UnknownTopic(nowhere.topic))), Ok(())]);
    assert_eq!(load(&*log, &group, &[at]).await, Ok(vec![Some(cursor)]));
    fixture.close(log).await;
}

/// In all topics, and no other group's.
pub async fn a_deleted_group_has_no_cursors(fixture: &dyn Fixture) {
    let log = fixture.open().await;
    let (one, two) = (topic(&log, 1).await, topic(&log, 1).await);
    let (gone, kept) = (group(), group());
    let cursor = Cursor::at(Offset(1));
    for at in [&one, &two] {
        commit(&log, &gone, at, &cursor).await;
        commit(&log, &kept, at, &cursor).await;
    }
    assert_eq!(log.delete_group(&gone).await, Ok(()));
    let both = [one, two];
    assert_eq!(load(&*log, &gone, &both).await, Ok(vec![None, None]));
    assert_eq!(load(&*log, &kept, &both).await, Ok(vec![Some(cursor.clone()), Some(cursor)]));
    fixture.close(log).await;
}

/// `None` before, its partitions after.
pub async fn a_topic_is_described_as_it_was_created(fixture: &dyn Fixture) {
    let log = fixture.open().await;
    assert_eq!(log.describe_topic(&topic_name()).await, Ok(None));
    let at = topic(&log, 3).await;
    let described = log.describe_topic(&at.topic).await.expect("the log describes").expect("it is there");
    assert_eq!(described.partitions, 3);
    fixture.close(log).await;
}

/// Creating it again is no error and loses nothing.
pub async fn a_topic_that_exists_keeps_its_partitions(fixture: &dyn Fixture) {
    let log = fixture.open().await;
    let at = topic(&log, 2).await;
    append(&log, &at.topic, vec![keyed("a", 1)]).await;
    let settings = TopicSettings {
        partitions: 5,
        retention_age: Some(Duration::from_secs(3600)),
        retention_bytes: Some(1 << 30),
        ..TopicSettings::default()
    };
    let differences = log.create_topic(&at.topic, &settings).await.expect("it is there");
    let partitions = Difference { setting: "partitions".into(), wanted: "5".into(), actual: "2".into() };
    assert!(differences.contains(&partitions), "{differences:?}");
    let described = log.describe_topic(&at.topic).await.expect("the log describes").expect("it is there");
    assert_eq!(described.partitions, 2);
    assert_eq!(read_topic(&log, &at.topic, 1).await.len(), 1);
    fixture.close(log).await;
}

/// Waiting readers are woken with an error, and appends are refused.
pub async fn a_deleted_topic_is_gone_and_its_readers_are_told(fixture: &dyn Fixture) {
    let log = fixture.open().await;
    let at = topic(&log, 1).await;
    append(&log, &at.topic, vec![plain(0)]).await;
    let mut scan = scan(&log, &at, 0).await;
    read(&mut *scan, 1).await;
    let mut readers = JoinSet::new();
    readers.spawn(async move { scan.read(ALL).await });
    assert_eq!(log.delete_topic(&at.topic).await, Ok(()));
    let told = within(readers.join_next()).await.expect("there is one").expect("it does not panic");
    let unknown = LogError::UnknownTopic(at.topic.clone());
    assert_eq!(told.map(|batch| batch.next), Err(unknown));
    gone(&log, &at.topic).await;
    let refused = within(log.append(&at.topic, vec![plain(1)])).await;
    assert_eq!(refused, Err(AppendError::UnknownTopic(at.topic.clone())));
    fixture.close(log).await;
}

/// Neither records nor cursors of the earlier one come back, also not after reopening.
pub async fn a_recreated_topic_starts_clean(fixture: &dyn Fixture) {
    let log = fixture.open().await;
    let at = topic(&log, 1).await;
    let group = group();
    append(&log, &at.topic, (0..10).map(plain).collect()).await;
    commit(&log, &group, &at, &Cursor::at(Offset(7))).await;
    assert_eq!(log.delete_topic(&at.topic).await, Ok(()));
    gone(&log, &at.topic).await;
    create(&log, &at.topic, 1).await;
    assert_eq!(extent(&log, &at).await, Extent::default());
    assert_eq!(load(&*log, &group, std::slice::from_ref(&at)).await, Ok(vec![None]));
    append(&log, &at.topic, vec![plain(100)]).await;
    fixture.close(log).await;
    let log = fixture.open().await;
    assert_eq!(load(&*log, &group, std::slice::from_ref(&at)).await, Ok(vec![None]));
    assert_eq!(read(&mut *scan(&log, &at, 0).await, 1).await, [(Offset(0), plain(100))]);
    assert_eq!(extent(&log, &at).await.end, Offset(1));
    fixture.close(log).await;
}

/// Deleting is for what should not be there, so that it succeeds when it is not.
pub async fn deleting_what_is_not_there_is_no_error(fixture: &dyn Fixture) {
    let log = fixture.open().await;
    assert_eq!(log.delete_topic(&topic_name()).await, Ok(()));
    assert_eq!(log.delete_group(&group()).await, Ok(()));
    fixture.close(log).await;
}

/// And tell which one it is.
pub async fn unknown_topics_and_partitions_are_errors(fixture: &dyn Fixture) {
    let log = fixture.open().await;
    let name = topic_name();
    let nowhere = TopicPartition { topic: name.clone(), partition: PartitionId(0) };
    let unknown = LogError::UnknownTopic(name.clone());
    let refused = within(log.append(&name, vec![plain(0)])).await;
    assert_eq!(refused, Err(AppendError::UnknownTopic(name)));
    assert_eq!(log.scan(&nowhere, Offset(0)).await.err(), Some(unknown.clone()));
    assert_eq!(log.extent(&nowhere).await, Err(unknown.clone()));
    assert_eq!(log.offset_at(&nowhere, Timestamp(0)).await, Err(unknown));

    let at = topic(&log, 2).await;
    let beyond = TopicPartition { partition: PartitionId(2), ..at };
    let unknown = LogError::UnknownPartition(beyond.clone());
    assert_eq!(log.scan(&beyond, Offset(0)).await.err(), Some(unknown.clone()));
    assert_eq!(log.extent(&beyond).await, Err(unknown.clone()));
    assert_eq!(log.offset_at(&beyond, Timestamp(0)).await, Err(unknown));
    fixture.close(log).await;
}

/// The answer is exact, and nothing of its batch is stored.
pub async fn a_record_over_the_limit_is_refused_and_the_next_one_is_not(fixture: &dyn Fixture) {
    let log = fixture.open().await;
    let at = topic(&log, 1).await;
    let large = Record { value: Some(Bytes::from(vec![0; fixture.max_record_bytes() + 1])), ..plain(0) };
    let refused = within(log.append(&at.topic, vec![plain(0), large])).await;
    assert!(matches!(refused, Err(AppendError::TooLarge { .. })), "{refused:?}");
    append(&log, &at.topic, vec![plain(1)]).await;
    assert_eq!(read(&mut *scan(&log, &at, 0).await, 1).await, [(Offset(0), plain(1))]);
    fixture.close(log).await;
}

/// Records, offsets, topics and cursors; and offsets go on where they were.
pub async fn what_was_acknowledged_is_there_after_reopening(fixture: &dyn Fixture) {
    let mut log = fixture.open().await;
    let at = topic(&log, 3).await;
    let group = group();
    let mut expected = BTreeMap::new();
    for round in 0..3 {
        let records: Vec<_> = (0..40).map(|n| keyed(&format!("key-{n}"), round * 100 + n)).collect();
        let positions = append(&log, &at.topic, records.clone()).await;
        let before = expected.len();
        expected.extend(positions.into_iter().zip(records));
        assert_eq!(expected.len(), before + 40, "no offset is used twice");
        commit(&log, &group, &at, &Cursor::at(Offset(round))).await;
        fixture.close(log).await;
        log = fixture.open().await;
        assert_eq!(read_topic(&log, &at.topic, expected.len()).await, expected);
        let loaded = load(&*log, &group, std::slice::from_ref(&at)).await;
        assert_eq!(loaded, Ok(vec![Some(Cursor::at(Offset(round)))]));
    }
    fixture.close(log).await;
}

/// What is added is assigned, what is taken away is revoked.
pub async fn ownership_follows_the_topics_that_are_asked_for(fixture: &dyn Fixture) {
    let log = fixture.open().await;
    let (one, two) = (topic(&log, 2).await.topic, topic(&log, 1).await.topic);
    let mut ownership = log.own(BTreeSet::from([one.clone()])).await.expect("the log is reached");
    let mut owned = BTreeSet::new();
    owns(&mut *ownership, &mut owned, &[(&one, 2)]).await;
    ownership.set_topics(BTreeSet::from([one.clone(), two.clone()]));
    owns(&mut *ownership, &mut owned, &[(&one, 2), (&two, 1)]).await;
    ownership.set_topics(BTreeSet::from([two.clone()]));
    owns(&mut *ownership, &mut owned, &[(&two, 1)]).await;
    drop(ownership);
    fixture.close(log).await;
}

/// A topic may be asked for before it exists.
pub async fn ownership_of_a_topic_begins_with_the_topic(fixture: &dyn Fixture) {
    let log = fixture.open().await;
    let name = topic_name();
    let mut ownership = log.own(BTreeSet::from([name.clone()])).await.expect("the log is reached");
    let early = timeout(Duration::from_millis(50), ownership.changed()).await;
    assert!(early.is_err(), "{early:?}");
    create(&log, &name, 2).await;
    let mut owned = BTreeSet::new();
    owns(&mut *ownership, &mut owned, &[(&name, 2)]).await;
    drop(ownership);
    fixture.close(log).await;
}

/// Or two would dispatch it at once.
pub async fn a_revoked_partition_is_not_assigned_again_before_it_is_released(fixture: &dyn Fixture) {
    let log = fixture.open().await;
    let name = topic(&log, 1).await.topic;
    let wanted = BTreeSet::from([name.clone()]);
    let mut ownership = log.own(wanted.clone()).await.expect("the log is reached");
    let at = TopicPartition { topic: name, partition: PartitionId(0) };
    let assigned = within(ownership.changed()).await;
    assert_eq!(assigned, Ok(OwnershipChange::Assigned(vec![at.clone()])));
    ownership.set_topics(BTreeSet::new());
    let revoked = within(ownership.changed()).await;
    assert_eq!(revoked, Ok(OwnershipChange::Revoked(vec![at.clone()])));
    ownership.set_topics(wanted);
    let early = timeout(Duration::from_millis(50), ownership.changed()).await;
    assert!(early.is_err(), "{early:?}");
    ownership.release(at.clone());
    assert_eq!(within(ownership.changed()).await, Ok(OwnershipChange::Assigned(vec![at])));
    drop(ownership);
    fixture.close(log).await;
}

/// Health is what a readiness check shows.
pub async fn a_healthy_log_takes_appends(fixture: &dyn Fixture) {
    let log = fixture.open().await;
    let at = topic(&log, 1).await;
    append(&log, &at.topic, vec![plain(0)]).await;
    assert_eq!(log.health(), Health::Writable);
    fixture.close(log).await;
}

/// A name that no other case and no earlier run has.
fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("contract-{}-{}", since_epoch.as_nanos(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn topic_name() -> TopicName {
    TopicName::external(unique())
}

fn group() -> GroupName {
    let id = trigon_core::name::BrokerId::new("contract", unique());
    Installation::default().group(&id, &trigon_core::name::TriggerId::new("contract", "trigger"))
}

fn plain(n: u64) -> Record {
    Record {
        headers: vec![("ce_id".into(), Bytes::from(n.to_string()))],
        value: Some(Bytes::from(format!("value {n}"))),
        timestamp: Timestamp(1_700_000_000_000),
        key: None,
    }
}

fn keyed(key: &str, n: u64) -> Record {
    Record { key: Some(Bytes::copy_from_slice(key.as_bytes())), ..plain(n) }
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    timeout(DEADLINE, work).await.expect("it is done within the deadline")
}

async fn create(log: &SharedLog, topic: &TopicName, partitions: u32) {
    let settings = TopicSettings { partitions, ..TopicSettings::default() };
    within(log.create_topic(topic, &settings)).await.expect("the topic is created");
}

/// A new topic; returns its first partition.
async fn topic(log: &SharedLog, partitions: u32) -> TopicPartition {
    let topic = topic_name();
    create(log, &topic, partitions).await;
    TopicPartition { topic, partition: PartitionId(0) }
}

async fn gone(log: &SharedLog, topic: &TopicName) {
    let gone = async {
        while log.describe_topic(topic).await != Ok(None) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    within(gone).await;
}

async fn append(log: &SharedLog, topic: &TopicName, records: Vec<Record>) -> Vec<Position> {
    within(log.append(topic, records)).await.expect("the records are stored")
}

async fn scan(log: &SharedLog, at: &TopicPartition, from: u64) -> Box<dyn Scan> {
    within(log.scan(at, Offset(from))).await.expect("the partition is there")
}

async fn extent(log: &SharedLog, at: &TopicPartition) -> Extent {
    within(log.extent(at)).await.expect("the partition is there")
}

async fn commit(log: &SharedLog, group: &GroupName, at: &TopicPartition, cursor: &Cursor) {
    let commit = Commit { group: group.clone(), at: at.clone(), cursor: cursor.clone() };
    assert_eq!(within(log.commit(vec![commit])).await, [Ok(())]);
}

/// Reads a group's cursors.
///
/// # Errors
/// The first one.
pub async fn load(
    log: &dyn EventLog,
    group: &GroupName,
    at: &[TopicPartition],
) -> Result<Vec<Option<Cursor>>, LogError> {
    let places: Vec<_> = at.iter().map(|at| Place { group: group.clone(), at: at.clone() }).collect();
    within(log.load(&places)).await.into_iter().collect()
}

/// Reads until there are so many records, and checks what holds for every batch.
async fn read(scan: &mut dyn Scan, count: usize) -> Vec<(Offset, Record)> {
    let mut records: Vec<(Offset, Record)> = Vec::new();
    while records.len() < count {
        let batch = within(scan.read(ALL)).await.expect("the log reads");
        records.extend(batch.records);
        assert!(records.last().is_none_or(|(last, _)| *last < batch.next), "{:?}", batch.next);
    }
    assert!(records.windows(2).all(|pair| pair[0].0 < pair[1].0), "offsets ascend");
    records
}

/// Reads a whole topic, which must have exactly so many records.
async fn read_topic(log: &SharedLog, topic: &TopicName, count: usize) -> BTreeMap<Position, Record> {
    let described = log.describe_topic(topic).await.expect("the log describes").expect("it is there");
    let TopicDescription { partitions, .. } = described;
    let mut stored = BTreeMap::new();
    for partition in (0..partitions).map(PartitionId) {
        let at = TopicPartition { topic: topic.clone(), partition };
        let end = extent(log, &at).await.end;
        let mut scan = scan(log, &at, 0).await;
        let records = read(&mut *scan, usize::try_from(end.0).expect("it is small")).await;
        stored.extend(records.into_iter().map(|(offset, record)| (Position { partition, offset }, record)));
    }
    assert_eq!(stored.len(), count);
    stored
}

/// Follows the changes, releasing what is revoked, until exactly these topics' partitions are owned.
async fn owns(
    ownership: &mut dyn Ownership,
    owned: &mut BTreeSet<TopicPartition>,
    topics: &[(&TopicName, u32)],
) {
    let expected: BTreeSet<_> = topics
        .iter()
        .flat_map(|(topic, partitions)| {
            let description = TopicDescription { partitions: *partitions, bytes: None };
            description.partitions_of(topic)
        })
        .collect();
    while *owned != expected {
        match within(ownership.changed()).await.expect("ownership goes on") {
            OwnershipChange::Assigned(added) => owned.extend(added),
            OwnershipChange::Revoked(removed) => {
                for at in removed {
                    assert!(owned.remove(&at), "{at:?} was not owned");
                    ownership.release(at);
                }
            }
            OwnershipChange::Lost(lost) => owned.retain(|at| !lost.contains(at)),
        }
    }
}
