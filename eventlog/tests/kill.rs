//! What was acknowledged before a `kill -9` is there after it, in order.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use trigon_core::name::{BrokerId, Installation, Offset, PartitionId, Position, TopicName, TopicPartition};
use trigon_core::record::Record;
use trigon_core::routing::TopicSettings;
use trigon_eventlog::{EmbeddedConfig, EmbeddedLog, EventLog};

/// The test starts itself again with this variable, to be the process that is killed.
const FOLDER: &str = "TRIGON_TEST_KILLED_LOG";

const KILLS: u64 = 10;
const PRODUCERS: u64 = 32;

/// Guards against an answer that is sent before its sync is complete, and against a start that cuts off, skips
/// or reorders what was answered.
#[test]
fn nothing_acknowledged_is_lost_by_kill_9() {
    if let Some(dir) = std::env::var_os(FOLDER) {
        append_until_killed(Path::new(&dir));
    }
    let dir = TempDir::new().expect("a folder can be made");
    let mut acknowledged = BTreeMap::new();
    let mut rng = fastrand::Rng::new();
    for kill in 0..KILLS {
        let appends = rng.usize(1..3_000);
        let before = acknowledged.len();
        run_and_kill(dir.path(), appends, &mut acknowledged);
        assert!(acknowledged.len() >= before + appends, "kill {kill} came before {appends} appends");
        check(dir.path(), &acknowledged);
    }
}

/// Starts the other process, and kills it when it has told of so many appends.
fn run_and_kill(dir: &Path, appends: usize, acknowledged: &mut BTreeMap<Position, String>) {
    let mut child = Command::new(std::env::current_exe().expect("the test has a path"))
        .args(["--exact", "nothing_acknowledged_is_lost_by_kill_9", "--nocapture"])
        .env(FOLDER, dir)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the test can be started again");
    let told = BufReader::new(child.stdout.take().expect("it is a pipe"));
    let mut count = 0;
    for line in told.split(b'\n') {
        let line = String::from_utf8(line.expect("the pipe is read")).expect("it is text");
        // The end of a line tells that the line is whole: each ends with a full stop.
        let Some(told) = line.strip_prefix("acknowledged ").and_then(|line| line.strip_suffix('.')) else {
            continue;
        };
        let mut parts = told.splitn(3, ' ');
        let mut next = || parts.next().expect("there are three parts");
        let partition = PartitionId(next().parse().expect("a number"));
        let offset = Offset(next().parse().expect("a number"));
        let twice = acknowledged.insert(Position { partition, offset }, next().to_owned());
        assert_eq!(twice, None, "{partition}/{offset} was given out twice");
        count += 1;
        if count == appends {
            child.kill().expect("it is running");
        }
    }
    child.wait().expect("it has ended");
}

/// Opens the log and looks for all that was acknowledged by all processes so far.
fn check(dir: &Path, acknowledged: &BTreeMap<Position, String>) {
    Runtime::new().expect("a runtime starts").block_on(async {
        let log = EmbeddedLog::open(EmbeddedConfig::new(dir)).expect("the log opens after a kill");
        let mut stored = BTreeMap::new();
        for partition in (0..4).map(PartitionId) {
            let at = TopicPartition { topic: topic(), partition };
            let end = log.extent(&at).await.expect("the partition is there").end;
            let mut scan = log.scan(&at, Offset(0)).await.expect("the partition is there");
            let mut next = Offset(0);
            while next < end {
                let batch = scan.read(1 << 20).await.expect("the log reads");
                next = batch.next;
                for (offset, record) in batch.records {
                    let value = record.value.expect("each record has a value");
                    stored
                        .insert(Position { partition, offset }, String::from_utf8_lossy(&value).into_owned());
                }
            }
        }
        for (position, value) in acknowledged {
            assert_eq!(stored.get(position), Some(value), "{position} of {} was acknowledged", stored.len());
        }
        // Each producer waited for its answers, so that its records are in the order of their numbers.
        let mut last: BTreeMap<(String, PartitionId), u64> = BTreeMap::new();
        for (position, value) in &stored {
            let (producer, number) = value.rsplit_once('-').expect("it was written so");
            let number = number.parse().expect("a number");
            if let Some(last) = last.insert((producer.to_owned(), position.partition), number) {
                assert!(last < number, "{value} stands after number {last}");
            }
        }
        log.close().await;
    });
}

/// The other process.
fn append_until_killed(dir: &Path) -> ! {
    Runtime::new().expect("a runtime starts").block_on(async {
        let log = Arc::new(EmbeddedLog::open(EmbeddedConfig::new(dir)).expect("the log opens"));
        log.create_topic(&topic(), &TopicSettings::default()).await.expect("the topic is created");
        let mut producers = JoinSet::new();
        for producer in 0..PRODUCERS {
            let log = log.clone();
            producers.spawn(async move {
                for number in 0_u64.. {
                    let value = format!("{}-{producer}-{number}", std::process::id());
                    let record = Record {
                        key: Some(Bytes::from(producer.to_string())),
                        value: Some(Bytes::from(value.clone())),
                        ..Record::default()
                    };
                    let position = log.append(&topic(), vec![record]).await.expect("it is stored")[0];
                    let Position { partition, offset } = position;
                    let line = format!("\nacknowledged {partition} {offset} {value}.\n");
                    // One write: the lines of two producers do not mix.
                    std::io::stdout().lock().write_all(line.as_bytes()).expect("the test reads");
                }
            });
        }
        producers.join_all().await;
    });
    unreachable!("producers do not end")
}

fn topic() -> TopicName {
    Installation::default().topic(&BrokerId::new("test", "killed"))
}
