//! What Kafka is told about a topic's settings, and in what an existing topic differs. Asks nobody.

use std::collections::BTreeMap;

use trigon_core::routing::TopicSettings;

use crate::Difference;

/// What Kafka adds to a record as [`Record::size`](trigon_core::record::Record::size) counts it, at most: some
/// bytes per header, and a batch's own.
const RECORD_OVERHEAD: usize = 64 << 10;

/// The replication that is asked for where the cluster decides.
pub(super) const CLUSTER_DEFAULT: i16 = -1;

/// On so many brokers and more, a record is acknowledged by two at least unless the settings say otherwise.
const SAFE_REPLICATION: u16 = 3;

/// The settings of a topic that Trigon creates, as Kafka names them.
///
/// Trigon's limit on bytes is for the whole topic and Kafka's for each partition: it is divided by `partitions`, and
/// rounded up.
pub(super) fn wanted(
    settings: &TopicSettings,
    partitions: u32,
    max_record_bytes: usize,
) -> BTreeMap<String, String> {
    let unlimited = || "-1".to_owned();
    let age = settings.retention_age.map_or_else(unlimited, |age| age.as_millis().to_string());
    let bytes = settings.retention_bytes;
    let bytes =
        bytes.map_or_else(unlimited, |bytes| bytes.div_ceil(u64::from(partitions.max(1))).to_string());
    let mut wanted = BTreeMap::from([
        // KAF-03: an event without data has no value, and compaction would take it for a tombstone.
        ("cleanup.policy".to_owned(), "delete".to_owned()),
        ("max.message.bytes".to_owned(), (max_record_bytes + RECORD_OVERHEAD).to_string()),
        ("retention.bytes".to_owned(), bytes),
        ("retention.ms".to_owned(), age),
    ]);
    if settings.replication_factor.is_some_and(|replication| replication >= SAFE_REPLICATION) {
        wanted.insert("min.insync.replicas".to_owned(), "2".to_owned());
    }
    wanted.extend(settings.kafka.clone());
    wanted
}

/// In what the settings of an existing topic differ; those that it has not are `none`.
pub(super) fn differences(
    wanted: &BTreeMap<String, String>,
    actual: &BTreeMap<String, String>,
) -> Vec<Difference> {
    let differs = |(setting, wanted): (&String, &String)| {
        let actual = actual.get(setting);
        let suffices = actual.is_some_and(|actual| suffices(setting, wanted, actual));
        (!suffices).then(|| difference(setting, wanted, actual.map_or("none", String::as_str)))
    };
    wanted.iter().filter_map(differs).collect()
}

/// A difference.
pub(super) fn difference(setting: &str, wanted: impl ToString, actual: impl ToString) -> Difference {
    Difference { setting: setting.to_owned(), wanted: wanted.to_string(), actual: actual.to_string() }
}

/// Whether a policy of cleaning up loses events (KAF-03).
pub(super) fn is_compacted(policy: &str) -> bool {
    policy.split(',').any(|part| part.trim() == "compact")
}

fn suffices(setting: &str, wanted: &str, actual: &str) -> bool {
    match (setting, wanted.parse::<u64>(), actual.parse::<u64>()) {
        // A larger limit breaks nothing.
        ("max.message.bytes", Ok(wanted), Ok(actual)) => wanted <= actual,
        _ => wanted == actual,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_limit_for_the_topic_becomes_one_for_each_partition() {
        let settings = TopicSettings {
            retention_age: Some(Duration::from_secs(3600)),
            retention_bytes: Some(100),
            ..TopicSettings::default()
        };
        let expected = map(&[
            ("cleanup.policy", "delete"),
            ("max.message.bytes", "2097152"),
            ("retention.bytes", "34"),
            ("retention.ms", "3600000"),
        ]);
        assert_eq!(wanted(&settings, 3, (2 << 20) - (64 << 10)), expected);
    }

    #[test]
    fn no_limit_is_minus_one() {
        let settings =
            TopicSettings { retention_age: None, retention_bytes: None, ..TopicSettings::default() };
        let wanted = wanted(&settings, 1, 0);
        assert_eq!((&*wanted["retention.ms"], &*wanted["retention.bytes"]), ("-1", "-1"));
    }

    #[test]
    fn three_replicas_ask_for_two_acknowledgements_unless_the_settings_say_otherwise() {
        let settings = |replication, kafka: &[_]| TopicSettings {
            replication_factor: replication,
            kafka: map(kafka),
            ..TopicSettings::default()
        };
        let min = |settings| wanted(&settings, 1, 0).get("min.insync.replicas").cloned();
        assert_eq!(min(settings(None, &[])), None);
        assert_eq!(min(settings(Some(2), &[])), None);
        assert_eq!(min(settings(Some(3), &[])), Some("2".to_owned()));
        assert_eq!(min(settings(Some(3), &[("min.insync.replicas", "1")])), Some("1".to_owned()));
    }

    #[test]
    fn a_topic_differs_in_what_it_has_otherwise_or_not_at_all() {
        let wanted = map(&[("a", "1"), ("b", "2"), ("c", "3"), ("max.message.bytes", "10")]);
        let actual = map(&[("a", "1"), ("b", "3"), ("max.message.bytes", "11")]);
        assert_eq!(differences(&wanted, &actual), [difference("b", 2, 3), difference("c", 3, "none")]);
        let actual = map(&[("max.message.bytes", "9")]);
        assert!(differences(&wanted, &actual).contains(&difference("max.message.bytes", 10, 9)));
    }

    /// KAF-03
    #[test]
    fn compaction_is_recognised_beside_deletion() {
        assert!(is_compacted("compact") && is_compacted("delete, compact"));
        assert!(!is_compacted("delete"));
    }
}
