//! What the log does when the disk is full, fails, or holds damage: one test for each promise.
//!
//! The disk is the one in memory, except where a real one is asked for by name.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use bytes::Bytes;
use fastrand::Rng;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use trigon_core::name::{BrokerId, Installation, PartitionId, TriggerId};

use super::disk::read_full;
use super::faulty::FaultyDisk;
use super::*;
use crate::contract::load;

const DEADLINE: Duration = Duration::from_secs(30);

fn config(dir: impl Into<PathBuf>) -> EmbeddedConfig {
    // The passes of retention are made by hand.
    EmbeddedConfig { retention_interval: Duration::from_secs(3_600), ..EmbeddedConfig::new(dir) }
}

fn open(disk: &FaultyDisk) -> Arc<EmbeddedLog> {
    open_with(disk, config("/log"))
}

fn open_with(disk: &FaultyDisk, config: EmbeddedConfig) -> Arc<EmbeddedLog> {
    Arc::new(EmbeddedLog::open_on(Arc::new(disk.clone()), config, None).unwrap())
}

fn topic() -> TopicName {
    Installation::default().topic(&BrokerId::new("test", "faults"))
}

fn at() -> TopicPartition {
    TopicPartition { topic: topic(), partition: PartitionId(0) }
}

fn settings() -> TopicSettings {
    TopicSettings { partitions: 1, retention_age: None, ..TopicSettings::default() }
}

fn group(number: u32) -> GroupName {
    Installation::default()
        .group(&BrokerId::new("test", "faults"), &TriggerId::new("test", number.to_string()))
}

fn record(n: u64, size: usize) -> Record {
    let value = format!("{n:>size$}");
    Record { value: Some(Bytes::from(value)), timestamp: Timestamp(n.cast_signed()), ..Record::default() }
}

async fn append(log: &EmbeddedLog, n: u64, size: usize) -> Result<Offset, AppendError> {
    let positions = timeout(DEADLINE, log.append(&topic(), vec![record(n, size)])).await.unwrap()?;
    Ok(positions[0].offset)
}

/// The numbers of all records, by offset.
async fn stored(log: &EmbeddedLog) -> BTreeMap<u64, u64> {
    let Extent { start, end } = log.extent(&at()).await.unwrap();
    let mut scan = log.scan(&at(), start).await.unwrap();
    let mut next = start;
    let mut stored = BTreeMap::new();
    while next < end {
        let batch = timeout(DEADLINE, scan.read(10_000)).await.unwrap().unwrap();
        next = batch.next;
        for (offset, record) in batch.records {
            let value = record.value.unwrap();
            stored.insert(offset.0, String::from_utf8_lossy(&value).trim().parse().unwrap());
        }
    }
    stored
}

/// The path of a segment of the only topic.
fn segment(sequence: u64) -> PathBuf {
    Path::new("/log/topics").join(topic().as_str()).join(segment::file_name(sequence))
}

fn contents(disk: &FaultyDisk, path: &Path) -> Vec<u8> {
    let file = disk.open(path).unwrap();
    let mut bytes = vec![0; usize::try_from(file.size().unwrap()).unwrap()];
    read_full(&*file, &mut bytes, 0).unwrap();
    bytes
}

fn overwrite(disk: &FaultyDisk, path: &Path, at: usize, bytes: &[u8]) {
    let file = disk.open(path).unwrap();
    disk::write_all(&*file, bytes, at as u64).unwrap();
    file.sync().unwrap();
}

/// What the head of a segment takes when the topic has one partition.
const HEAD_BYTES: usize = 48;

async fn numbers(log: &EmbeddedLog, numbers: std::ops::Range<u64>) {
    for n in numbers {
        assert_eq!(append(log, n, 10).await, Ok(Offset(n)));
    }
}

/// Guards against a commit that syncs for every append: throughput would not grow with concurrency.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_appends_share_a_sync() {
    let disk = FaultyDisk::new();
    let log = open(&disk);
    log.create_topic(&topic(), &settings()).await.unwrap();
    disk.world().sync_takes = Duration::from_millis(2);
    let before = disk.world().syncs;
    let mut producers = JoinSet::new();
    for _ in 0..64 {
        let log = log.clone();
        producers.spawn(async move {
            for n in 0..10 {
                append(&log, n, 100).await.unwrap();
            }
        });
    }
    producers.join_all().await;
    let syncs = disk.world().syncs - before;
    assert_eq!(stored(&log).await.len(), 640);
    assert!(syncs < 640 / 4, "{syncs} syncs for 640 appends, 64 at once");
}

/// Guards against a crash during an append that keeps the log from opening, costs an earlier record, or leaves
/// bytes that spoil the next one.
#[tokio::test]
async fn a_tail_torn_at_any_byte_is_cut_off() {
    let disk = FaultyDisk::new();
    let log = open(&disk);
    log.create_topic(&topic(), &settings()).await.unwrap();
    numbers(&log, 0..3).await;
    let before = log.describe_topic(&topic()).await.unwrap().unwrap().bytes.unwrap();
    numbers(&log, 3..4).await;
    let after = log.describe_topic(&topic()).await.unwrap().unwrap().bytes.unwrap();
    log.close().await;
    let (before, after) = (usize::try_from(before).unwrap(), usize::try_from(after).unwrap());
    let whole = contents(&disk, &segment(1));
    assert_eq!(whole.len(), after);
    for cut in before..after {
        let rests: [&[u8]; 3] = [&[], &[0; 300], &[0xa5; 300]];
        for rest in rests {
            let disk = disk.crash(&mut Rng::with_seed(0));
            let file = disk.open(&segment(1)).unwrap();
            file.set_size(cut as u64).unwrap();
            overwrite(&disk, &segment(1), cut, rest);
            let log = open(&disk);
            let context = format!("cut at {cut} of {before}..{after}, then {rest:?}");
            assert_eq!(stored(&log).await, BTreeMap::from([(0, 0), (1, 1), (2, 2)]), "{context}");
            assert_eq!(append(&log, 7, 5).await, Ok(Offset(3)), "{context}");
            log.close().await;
            let log = open(&disk);
            assert_eq!(stored(&log).await, BTreeMap::from([(0, 0), (1, 1), (2, 2), (3, 7)]), "{context}");
            log.close().await;
        }
    }
}

/// Guards against a deletion that fails half-way, is done by the word of a second call, and comes undone in a crash.
#[tokio::test]
async fn a_deletion_that_was_confirmed_is_not_undone_by_a_crash() {
    for operations in 0..12 {
        for seed in 0..8 {
            let disk = FaultyDisk::new();
            let log = open(&disk);
            log.create_topic(&topic(), &settings()).await.unwrap();
            numbers(&log, 0..3).await;
            disk.world().operations_left = operations;
            let first = log.delete_topic(&topic()).await;
            let second = log.delete_topic(&topic()).await;
            let log = open(&disk.crash(&mut Rng::with_seed(seed)));
            if first.is_ok() || second.is_ok() {
                let context = format!("{operations} operations, seed {seed}: {first:?}, then {second:?}");
                assert_eq!(log.describe_topic(&topic()).await, Ok(None), "{context}");
            }
        }
    }
}

/// Guards against one bad sector that keeps the log from opening, or hides what stands after it.
#[tokio::test]
async fn damage_costs_the_frame_that_it_hits_and_nothing_else() {
    let disk = FaultyDisk::new();
    let small = EmbeddedConfig { segment_bytes: 600, tail_bytes: 0, ..config("/log") };
    let log = open_with(&disk, small.clone());
    log.create_topic(&topic(), &settings()).await.unwrap();
    numbers(&log, 0..30).await;
    log.close().await;
    let segments = disk.list(segment(1).parent().unwrap()).unwrap().len() as u64 - 1;
    assert!(segments >= 3, "{segments}");
    let lengths: Vec<_> = (1..=segments).map(|sequence| contents(&disk, &segment(sequence)).len()).collect();
    for (sequence, length) in (1..).zip(lengths) {
        let path = segment(sequence);
        for at in (0..length).step_by(7) {
            let disk = disk.crash(&mut Rng::with_seed(0));
            let damaged = contents(&disk, &path)[at] ^ 0x40;
            overwrite(&disk, &path, at, &[damaged]);
            let log = open_with(&disk, small.clone());
            let context = format!("segment {sequence} of {segments}, byte {at} of {length}");
            let left = stored(&log).await;
            let is_head = at < HEAD_BYTES;
            assert!(left.len() >= if is_head { 30 } else { 29 }, "{context}: {left:?}");
            assert!(left.iter().all(|(offset, n)| offset == n), "{context}: {left:?}");
            // What the last frame of all held looks like a torn tail: its offset may be given out again.
            let next = append(&log, 99, 10).await.unwrap().0;
            assert!(next == 30 || next == 29 && !left.contains_key(&29), "{context}: {next}");
            log.close().await;
        }
    }
}

/// Guards against a sync that failed and is taken for done when it is asked again: the kernel forgets what it
/// could not write.
#[tokio::test]
async fn a_failed_sync_refuses_its_group_and_the_log_goes_on_in_another_segment() {
    let disk = FaultyDisk::new();
    let log = open(&disk);
    log.create_topic(&topic(), &settings()).await.unwrap();
    numbers(&log, 0..2).await;
    disk.world().failing_syncs = 1;
    let failed = append(&log, 2, 10).await;
    assert!(matches!(failed, Err(AppendError::Failed(_))), "{failed:?}");
    assert_eq!(stored(&log).await, BTreeMap::from([(0, 0), (1, 1)]));
    assert_eq!(append(&log, 3, 10).await, Ok(Offset(2)));
    let expected = BTreeMap::from([(0, 0), (1, 1), (2, 3)]);
    assert_eq!(stored(&log).await, expected);
    assert!(!contents(&disk, &segment(2)).is_empty(), "there is a second segment");
    log.close().await;
    // In some of them the refused record is in its segment again, beyond the length that the next one states.
    for seed in 0..400 {
        let log = open(&disk.crash(&mut Rng::with_seed(seed)));
        assert_eq!(stored(&log).await, expected);
        log.close().await;
    }
}

/// Guards against retention that removes what it should keep, disturbs a reader that is not concerned, or
/// leaves a reader that is behind without a word.
#[tokio::test]
async fn retention_by_size_removes_the_oldest_and_tells_readers_that_are_behind() {
    let disk = FaultyDisk::new();
    let small = EmbeddedConfig { segment_bytes: 2_000, tail_bytes: 0, ..config("/log") };
    let log = open_with(&disk, small.clone());
    let bounded = TopicSettings { retention_bytes: Some(8_000), ..settings() };
    log.create_topic(&topic(), &bounded).await.unwrap();
    numbers(&log, 0..10).await;
    let mut behind = log.scan(&at(), Offset(0)).await.unwrap();
    assert_eq!(behind.read(1).await.unwrap().start, Offset(0));
    numbers(&log, 10..500).await;
    let mut at_end = log.scan(&at(), Offset(490)).await.unwrap();
    assert_eq!(at_end.read(1).await.unwrap().records[0].0, Offset(490));

    let found = log.topic(&topic()).unwrap();
    retention::retain(&found, clock::now(), small.roll_at());

    let Extent { start, end } = log.extent(&at()).await.unwrap();
    assert_eq!(end, Offset(500));
    assert!(start > Offset(200), "{start}");
    let bytes = log.describe_topic(&topic()).await.unwrap().unwrap().bytes.unwrap();
    assert!((4_000..=8_000).contains(&bytes), "{bytes}");
    let batch = behind.read(1).await.unwrap();
    assert_eq!((batch.start, batch.records[0].0), (start, start));
    assert_eq!(at_end.read(1).await.unwrap().records[0].0, Offset(491));
    let kept = stored(&log).await;
    assert_eq!(kept, (start.0..500).map(|n| (n, n)).collect());
    log.close().await;
    assert_eq!(stored(&open_with(&disk, small)).await, kept);
}

/// Guards against events that stay for ever because no new ones complete their segment, and against offsets
/// that begin again when nothing is left.
#[tokio::test]
async fn retention_by_age_removes_all_records_of_a_quiet_topic_and_keeps_its_offsets() {
    let disk = FaultyDisk::new();
    let log = open(&disk);
    let hour = Duration::from_secs(3_600);
    log.create_topic(&topic(), &TopicSettings { retention_age: Some(hour), ..settings() }).await.unwrap();
    numbers(&log, 0..10).await;
    let found = log.topic(&topic()).unwrap();
    let later = |hours: i64| Timestamp(clock::now().0 + hours * 3_600_000 + 1_000);
    retention::retain(&found, clock::now(), log.config.roll_at());
    assert_eq!(log.extent(&at()).await, Ok(Extent { start: Offset(0), end: Offset(10) }));
    retention::retain(&found, later(1), log.config.roll_at());
    assert_eq!(log.extent(&at()).await, Ok(Extent { start: Offset(0), end: Offset(10) }), "just completed");
    retention::retain(&found, later(2), log.config.roll_at());
    let empty = Extent { start: Offset(10), end: Offset(10) };
    assert_eq!(log.extent(&at()).await, Ok(empty));
    log.close().await;
    let log = open(&disk);
    assert_eq!(log.extent(&at()).await, Ok(empty));
    assert_eq!(append(&log, 10, 10).await, Ok(Offset(10)));
    let mut behind = log.scan(&at(), Offset(3)).await.unwrap();
    let batch = behind.read(1_000).await.unwrap();
    assert_eq!((batch.start, batch.next), (Offset(10), Offset(11)));
}

/// Guards against a journal of cursors that grows for ever, or that loses one when it is written anew.
#[tokio::test]
async fn the_journal_of_cursors_stays_small() {
    let disk = FaultyDisk::new();
    let log = open(&disk);
    log.create_topic(&topic(), &settings()).await.unwrap();
    let commits = |round| {
        let cursor = Cursor::at(Offset(round));
        let commit = |number| Commit { group: group(number), at: at(), cursor: cursor.clone() };
        (0..500).map(commit).collect::<Vec<_>>()
    };
    for round in 0..200 {
        assert!(log.commit(commits(round)).await.iter().all(Result::is_ok));
    }
    log.delete_group(&group(3)).await.unwrap();
    log.close().await;
    let size = contents(&disk, Path::new("/log/cursors.journal")).len();
    assert!(size < 6_000_000, "{size} bytes after about 9 000 000 were written");
    let log = open(&disk);
    for number in 0..500 {
        let expected = (number != 3).then(|| Cursor::at(Offset(199)));
        assert_eq!(load(&*log, &group(number), &[at()]).await, Ok(vec![expected]));
    }
}

/// Guards against memory that grows with the backlog.
#[tokio::test]
async fn the_tail_in_memory_stays_within_its_bound() {
    let log = open_with(&FaultyDisk::new(), EmbeddedConfig { tail_bytes: 50_000, ..config("/log") });
    log.create_topic(&topic(), &settings()).await.unwrap();
    for n in 0..300 {
        append(&log, n, 1_000).await.unwrap();
        let found = log.topic(&topic()).unwrap();
        let held = found.partitions[0].tail.cost();
        // A batch counts when its append was answered: one may be on top.
        assert!(held <= 52_000, "{held}");
    }
    assert_eq!(stored(&log).await.len(), 300);
}

/// Guards against a file, or a thread, for every scan.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_scans_share_the_open_files() {
    let dir = TempDir::new().unwrap();
    let log = EmbeddedLog::open(EmbeddedConfig { tail_bytes: 0, ..config(dir.path()) }).unwrap();
    log.create_topic(&topic(), &settings()).await.unwrap();
    for n in 0..3 {
        append(&log, n, 10).await.unwrap();
    }
    let open_files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open_files();
    let mut scans = Vec::new();
    for _ in 0..3_000 {
        let mut scan = log.scan(&at(), Offset(1)).await.unwrap();
        assert_eq!(scan.read(1).await.unwrap().records.len(), 1);
        scans.push(scan);
    }
    let more = open_files().saturating_sub(before);
    assert!(more < 300, "{more} files for {} scans", scans.len());
}

/// Guards against two processes that write one log.
#[tokio::test]
async fn a_folder_is_opened_once_and_the_error_names_the_folder_and_the_process() {
    let dir = TempDir::new().unwrap();
    let log = EmbeddedLog::open(config(dir.path())).unwrap();
    let refused = EmbeddedLog::open(config(dir.path())).err().unwrap().to_string();
    assert!(refused.contains(&dir.path().canonicalize().unwrap().display().to_string()), "{refused}");
    assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
    drop(log);
    EmbeddedLog::open(config(dir.path())).unwrap();
}

/// Guards against a close that leaves its callers waiting, or an append that is queued and never answered.
#[tokio::test]
async fn closing_answers_what_is_queued_and_ends_scans() {
    let log = open(&FaultyDisk::new());
    log.create_topic(&topic(), &settings()).await.unwrap();
    let mut scan = log.scan(&at(), Offset(100)).await.unwrap();
    let reader = async { scan.read(1).await.err() };
    let appends = async {
        let one = append(&log, 1, 10);
        let (one, ()) = tokio::join!(one, log.close());
        one
    };
    let (read, appended) = timeout(DEADLINE, async { tokio::join!(reader, appends) }).await.unwrap();
    assert_eq!(read, Some(LogError::Closed));
    assert_eq!(appended, Ok(Offset(0)));
    assert_eq!(append(&log, 2, 10).await, Err(closed()));
    assert_eq!(log.extent(&at()).await, Err(LogError::Closed));
}

/// A full disk, as it comes and goes.
struct Space {
    fill: Box<dyn Fn()>,
    free: Box<dyn Fn()>,
}

/// The story of a full disk: producers are refused, nothing is lost, delivery goes on, and when there is space
/// again the log goes on without being told.
async fn a_full_disk(disk: Arc<dyn Disk>, dir: &Path, space: Space) {
    let open = || Arc::new(EmbeddedLog::open_on(disk.clone(), config(dir), None).unwrap());
    let log = open();
    log.create_topic(&topic(), &settings()).await.unwrap();
    let mut acknowledged = BTreeMap::new();
    let mut n = 0;
    let mut rounds = 0;
    while rounds < 2 {
        rounds += 1;
        append(&log, n, 1_000).await.map(|offset| acknowledged.insert(offset.0, n)).unwrap();
        (space.fill)();
        loop {
            n += 1;
            match append(&log, n, 1_000).await {
                Ok(offset) => drop(acknowledged.insert(offset.0, n)),
                Err(error) => {
                    assert_eq!(error, AppendError::NoSpace);
                    break;
                }
            }
        }
        assert!(matches!(log.health(), Health::Refusing(_)));
        for _ in 0..5 {
            n += 1;
            assert_eq!(append(&log, n, 1_000).await, Err(AppendError::NoSpace));
        }
        // Delivery goes on: records are read, and cursors are taken or refused at once.
        assert_eq!(stored(&log).await, acknowledged);
        let mut refused = 0;
        let mut committed = 0;
        while refused < 3 {
            committed += 1;
            let cursor = Cursor::at(Offset(committed));
            let commit = Commit { group: group(1), at: at(), cursor };
            match timeout(DEADLINE, log.commit(vec![commit])).await.unwrap().remove(0) {
                Ok(()) => {}
                Err(error) => {
                    assert_eq!(error, CommitError::Log(LogError::NoSpace));
                    refused += 1;
                }
            }
        }
        (space.free)();
        // No append is needed: a readiness check that keeps producers away ends too.
        let start = Instant::now();
        while log.health() != Health::Writable {
            assert!(start.elapsed() < DEADLINE, "the log does not notice that there is space");
            sleep(Duration::from_millis(20)).await;
        }
        n += 1;
        append(&log, n, 1_000).await.map(|offset| acknowledged.insert(offset.0, n)).unwrap();
        let cursor = Cursor::at(Offset(n));
        let commit = Commit { group: group(1), at: at(), cursor: cursor.clone() };
        assert_eq!(log.commit(vec![commit]).await, [Ok(())]);
        assert_eq!(load(&*log, &group(1), &[at()]).await, Ok(vec![Some(cursor)]));
        n += 1;
    }
    assert_eq!(stored(&log).await, acknowledged);
    log.close().await;
    assert_eq!(stored(&open()).await, acknowledged);
}

#[tokio::test]
async fn a_full_disk_refuses_producers_loses_nothing_and_recovers_by_itself() {
    let disk = FaultyDisk::new();
    let (full, free) = (disk.clone(), disk.clone());
    let fill = move || {
        let mut world = full.world();
        world.space = world.used() + 300_000;
    };
    let free = move || free.world().space = u64::MAX;
    let space = Space { fill: Box::new(fill), free: Box::new(free) };
    a_full_disk(Arc::new(disk), Path::new("/log"), space).await;
}

/// A small file system of its own, which needs a privileged process.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(dir.path()).output();
        mount.is_ok_and(|output| output.status.success()).then_some(Self(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        assert!(Command::new("umount").arg(self.0.path()).status().unwrap().success());
    }
}

/// The same on a real file system, if this process may mount one; otherwise the test above is all there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_full_disk_refuses_producers_loses_nothing_and_recovers_by_itself() {
    let Some(small) = SmallDisk::mount() else {
        return eprintln!("no file system can be mounted here: only the disk in memory was filled");
    };
    let filler = small.0.path().join("filler");
    let to_remove = filler.clone();
    let fill = move || {
        let full = std::fs::write(&filler, vec![1; 22 << 20]);
        // It takes what there is.
        assert!(full.is_ok() || filler.exists());
    };
    let free = move || std::fs::remove_file(&to_remove).unwrap();
    let space = Space { fill: Box::new(fill), free: Box::new(free) };
    let dir = small.0.path().join("log");
    a_full_disk(Arc::new(RealDisk), &dir, space).await;
}
