//! How a Broker's topic is kept: what its annotations say, then what its ConfigMap says, then the defaults.

use std::collections::BTreeMap;
use std::time::Duration;

use trigon_core::name::TopicName;
use trigon_core::routing::TopicSettings;

use crate::annotation;
use crate::path::Path;
use crate::problem::Findings;

/// The setting of Kafka that says how many replicas must have a record before it is acknowledged.
pub(crate) const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";

/// What one place says of a topic.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TopicDraft {
    pub(crate) partitions: Option<u32>,
    pub(crate) retention_age: Option<Option<Duration>>,
    pub(crate) retention_bytes: Option<Option<RetentionBytes>>,
    pub(crate) replication_factor: Option<u16>,
    pub(crate) min_insync_replicas: Option<u16>,
    pub(crate) kafka: BTreeMap<String, String>,
    pub(crate) external: Option<TopicName>,
}

/// How large a topic may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RetentionBytes {
    /// All of it, as Trigon counts.
    Topic(u64),
    /// Each partition, as Kafka counts.
    Partition(u64),
}

impl TopicDraft {
    /// The settings; `self` are the annotations, `config` what the ConfigMap says, by the name that it is known by.
    pub(crate) fn settle(self, config: Option<(&str, &Self)>, findings: &mut Findings) -> TopicSettings {
        let default = TopicSettings::default();
        if let Some(external) = self.external.clone() {
            self.refuse_beside_external(findings);
            return TopicSettings { external: Some(external), ..default };
        }
        let nothing = Self::default();
        let (config_name, config) = config.unwrap_or(("", &nothing));
        let replication_factor = self.replication_factor.or(config.replication_factor);
        let min_insync_replicas = self.min_insync_replicas.or(config.min_insync_replicas);
        if let (Some(factor), Some(min)) = (replication_factor, min_insync_replicas)
            && min > factor
        {
            // Where both are of the ConfigMap, it is told there.
            let place = match (self.min_insync_replicas, self.replication_factor) {
                (Some(_), None) => {
                    Some((annotation::MIN_INSYNC_REPLICAS, format!(" of ConfigMap {config_name}")))
                }
                (Some(_), Some(_)) => Some((annotation::MIN_INSYNC_REPLICAS, String::new())),
                (None, Some(_)) => Some((annotation::REPLICATION_FACTOR, String::new())),
                (None, None) => None,
            };
            if let Some((name, of)) = place {
                findings.refuse(&annotation::path(name), more_than_there_are(min, factor, &of));
            }
        }
        let mut kafka = config.kafka.clone();
        kafka.extend(min_insync_replicas.map(|min| (MIN_INSYNC_REPLICAS.to_owned(), min.to_string())));
        let partitions = self.partitions.or(config.partitions).unwrap_or(default.partitions);
        let bytes = self.retention_bytes.or(config.retention_bytes).map(|bytes| {
            bytes.map(|bytes| match bytes {
                RetentionBytes::Topic(bytes) => bytes,
                RetentionBytes::Partition(bytes) => bytes.saturating_mul(partitions.into()),
            })
        });
        TopicSettings {
            partitions,
            retention_age: self.retention_age.or(config.retention_age).unwrap_or(default.retention_age),
            retention_bytes: bytes.unwrap_or(default.retention_bytes),
            replication_factor,
            kafka,
            external: None,
        }
    }

    fn refuse_beside_external(&self, findings: &mut Findings) {
        let given = [
            (annotation::PARTITIONS, self.partitions.is_some()),
            (annotation::RETENTION, self.retention_age.is_some()),
            (annotation::RETENTION_BYTES, self.retention_bytes.is_some()),
            (annotation::REPLICATION_FACTOR, self.replication_factor.is_some()),
            (annotation::MIN_INSYNC_REPLICAS, self.min_insync_replicas.is_some()),
        ];
        for (name, _) in given.into_iter().filter(|(_, is_given)| *is_given) {
            let message =
                "has no effect: the topic is external, and whoever keeps it decides; remove the annotation";
            findings.refuse(&annotation::path(name), message);
        }
    }
}

/// What to say when no record could ever be acknowledged; `of` says whose the replication factor is.
pub(crate) fn more_than_there_are(min: u16, factor: u16, of: &str) -> String {
    format!(
        "{min} replicas in sync are more than the replication factor{of} of {factor}: nothing would be accepted"
    )
}

/// The number of replicas that a text is.
///
/// # Errors
/// What to write.
pub(crate) fn replicas(text: &str) -> Result<u16, String> {
    const MOST: u16 = i16::MAX.unsigned_abs();
    match text.parse::<u16>() {
        Ok(number @ 1..=MOST) => Ok(number),
        _ => Err(format!("{text:?} is not a number of replicas; write one from 1 to {MOST}")),
    }
}

/// The name of a topic, by Kafka's rules.
///
/// # Errors
/// What to write.
pub(crate) fn topic_name(text: &str) -> Result<TopicName, String> {
    const LONGEST: usize = 249;
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if text.is_empty() || text.len() > LONGEST || text == "." || text == ".." || !text.bytes().all(is_legal) {
        return Err(format!(
            "{text:?} is not a topic; write letters, digits, '.', '_' and '-', at most {LONGEST}"
        ));
    }
    Ok(TopicName::external(text))
}

/// The path of a key of a ConfigMap.
pub(crate) fn key_path(key: &str) -> Path {
    Path::of(&["data", key])
}
