//! The ConfigMap that a Broker's `spec.config` names, with the keys of Knative's Kafka broker (KAF-15).
//!
//! Where the cluster is, and who we are there, is told to the process and not by files: those keys are accepted, and
//! [`notes`](crate::notes) says that they decide nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use trigon_core::suggest::nearest;

use crate::annotation::MAX_PARTITIONS;
use crate::problem::Findings;
use crate::topic::{self, MIN_INSYNC_REPLICAS, RetentionBytes, TopicDraft, key_path, more_than_there_are};

/// How many partitions a topic is created with.
const PARTITIONS: &str = "default.topic.partitions";

/// On how many of Kafka's brokers each record is kept.
const REPLICATION_FACTOR: &str = "default.topic.replication.factor";

/// What a setting of a topic begins with, as Kafka names it from there on.
const SETTING: &str = "default.topic.config.";

/// What says where the cluster is and who we are there.
pub(crate) const OF_THE_PROCESS: [&str; 3] =
    ["bootstrap.servers", "auth.secret.ref.name", "auth.secret.ref.namespace"];

const KNOWN: [&str; 5] =
    [PARTITIONS, REPLICATION_FACTOR, OF_THE_PROCESS[0], OF_THE_PROCESS[1], OF_THE_PROCESS[2]];

/// Settings of topics, to find out which one was meant. Others are passed on to Kafka, which knows its own.
const SETTINGS: [&str; 24] = [
    "cleanup.policy",
    "compression.type",
    "delete.retention.ms",
    "file.delete.delay.ms",
    "flush.messages",
    "flush.ms",
    "index.interval.bytes",
    "local.retention.bytes",
    "local.retention.ms",
    "max.compaction.lag.ms",
    "max.message.bytes",
    "message.timestamp.type",
    "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms",
    "min.insync.replicas",
    "preallocate",
    "remote.storage.enable",
    "retention.bytes",
    "retention.ms",
    "segment.bytes",
    "segment.index.bytes",
    "segment.jitter.ms",
    "segment.ms",
    "unclean.leader.election.enable",
];

/// Reads the keys; what is wrong is noted and counts as absent.
pub(crate) fn topic_draft(data: &BTreeMap<String, String>, findings: &mut Findings) -> TopicDraft {
    let mut draft = TopicDraft::default();
    for (key, value) in data {
        let value = value.trim();
        let read = match (key.as_str(), key.strip_prefix(SETTING)) {
            (PARTITIONS, _) => match value.parse::<u32>() {
                Ok(partitions @ 1..=MAX_PARTITIONS) => {
                    draft.partitions = Some(partitions);
                    Ok(())
                }
                _ => Err(format!(
                    "{value:?} is not a number of partitions; write one from 1 to {MAX_PARTITIONS}"
                )),
            },
            // Kafka's word for leaving it to the cluster.
            (REPLICATION_FACTOR, _) if value == "-1" => Ok(()),
            (REPLICATION_FACTOR, _) => {
                topic::replicas(value).map(|factor| draft.replication_factor = Some(factor))
            }
            (_, Some(setting)) => take_setting(setting, value, &mut draft),
            (key, None) if KNOWN.contains(&key) => Ok(()),
            (key, None) => unknown(key),
        };
        if let Err(message) = read {
            findings.refuse(&key_path(key), message);
        }
    }
    if let (Some(factor), Some(min)) = (draft.replication_factor, draft.min_insync_replicas)
        && min > factor
    {
        let key = format!("{SETTING}{MIN_INSYNC_REPLICAS}");
        findings.refuse(&key_path(&key), more_than_there_are(min, factor, ""));
    }
    draft
}

fn take_setting(setting: &str, value: &str, draft: &mut TopicDraft) -> Result<(), String> {
    match setting {
        "retention.ms" => draft.retention_age = Some(limit(value)?.map(Duration::from_millis)),
        "retention.bytes" => draft.retention_bytes = Some(limit(value)?.map(RetentionBytes::Partition)),
        MIN_INSYNC_REPLICAS => draft.min_insync_replicas = Some(topic::replicas(value)?),
        // KAF-03: an event without data has no value, which compaction takes for a tombstone.
        "cleanup.policy" if value != "delete" => {
            return Err(format!("{value:?} would lose events; write \"delete\", or leave it out"));
        }
        setting => {
            if !SETTINGS.contains(&setting)
                && let Some(near) = nearest(setting, SETTINGS)
            {
                return Err(format!("unknown setting of a topic; did you mean \"{SETTING}{near}\"?"));
            }
            draft.kafka.insert(setting.to_owned(), value.to_owned());
        }
    }
    Ok(())
}

/// A limit; `None` is none.
fn limit(value: &str) -> Result<Option<u64>, String> {
    match value.parse::<i64>() {
        Ok(-1) => Ok(None),
        Ok(0) => Err("0 keeps nothing; write a larger number, or -1 for no limit".to_owned()),
        Ok(limit) if limit > 0 => Ok(Some(limit.unsigned_abs())),
        _ => Err(format!("{value:?} is not a limit; write a whole number, or -1 for none")),
    }
}

/// A key that nobody knows may be another program's, unless it looks like one of ours.
fn unknown(key: &str) -> Result<(), String> {
    let of_topics = key.strip_prefix("default.topic.");
    let setting = of_topics.and_then(|rest| SETTINGS.into_iter().find(|setting| rest.ends_with(setting)));
    match (setting, nearest(key, KNOWN), of_topics) {
        (Some(setting), _, _) => Err(format!("unknown key; did you mean \"{SETTING}{setting}\"?")),
        (None, Some(near), _) => Err(format!("unknown key; did you mean {near:?}?")),
        (None, None, Some(_)) => {
            Err(format!("unknown key; there are {PARTITIONS}, {REPLICATION_FACTOR} and {SETTING}…"))
        }
        (None, None, None) => Ok(()),
    }
}
