//! Trigon's own settings: annotations under `trigon.dev/`, and those of upstream that mean the same.
//!
//! An annotation under `trigon.dev/` that nobody knows is an error: a misspelt one would silently do nothing.
//! Annotations of others are left alone.

use std::collections::BTreeMap;
use std::time::Duration;

use trigon_core::delivery::Order;
use trigon_core::record::Timestamp;
use trigon_core::routing::{DEFAULT_CONCURRENCY, StartFrom, TriggerState};
use trigon_core::suggest::nearest;

use crate::path::Path;
use crate::problem::Findings;
use crate::topic::{RetentionBytes, TopicDraft};
use crate::{bytes, duration, topic};

/// What every annotation of Trigon starts with.
pub const PREFIX: &str = "trigon.dev/";

/// On a Trigger, the order of its events: `unordered` (default), `partition` or `key`.
pub const ORDER: &str = "trigon.dev/order";

/// On a Trigger, the same as upstream's Kafka class has it: `unordered` or `ordered`, which is `partition`
/// (DLV-30).
pub const KAFKA_ORDER: &str = "kafka.eventing.knative.dev/delivery.order";

/// On a Trigger, how many requests may be in flight at once per partition: 1 to [`MAX_CONCURRENCY`], by default
/// [`DEFAULT_CONCURRENCY`].
pub const CONCURRENCY: &str = "trigon.dev/concurrency";

/// On a Trigger, the most requests per second over all partitions; by default no limit.
pub const RATE: &str = "trigon.dev/rate";

/// On a Trigger, where it starts when it has no progress: `latest` (default), `earliest` or a time in RFC 3339.
pub const START_FROM: &str = "trigon.dev/start-from";

/// On a Trigger, whether it keeps its place and sends nothing: `true` or `false` (default).
pub const PAUSED: &str = "trigon.dev/paused";

/// On a Broker, how many partitions its topic is created with: 1 to [`MAX_PARTITIONS`].
pub const PARTITIONS: &str = "trigon.dev/partitions";

/// On a Broker, how long events are kept: an ISO-8601 duration or `forever`.
pub const RETENTION: &str = "trigon.dev/retention";

/// On a Broker, how large its topic may grow before the oldest events may be removed: bytes as `10Gi`, or `none`
/// (default).
pub const RETENTION_BYTES: &str = "trigon.dev/retention-bytes";

/// On a Broker, on how many of Kafka's brokers each record is kept: 1 to 32 767; by default the cluster decides.
pub const REPLICATION_FACTOR: &str = "trigon.dev/replication-factor";

/// On a Broker, how many of these must have a record before it counts as accepted; by default the cluster decides,
/// and with three replicas or more it is 2.
pub const MIN_INSYNC_REPLICAS: &str = "trigon.dev/min-insync-replicas";

/// On a Broker, a topic of Kafka that somebody else keeps, as upstream's Kafka class has it (KAF-15).
pub const EXTERNAL_TOPIC: &str = "kafka.eventing.knative.dev/external.topic";

/// The most requests that a Trigger may have in flight per partition.
pub const MAX_CONCURRENCY: u32 = 10_000;

/// The most partitions of a topic.
pub const MAX_PARTITIONS: u32 = 1_024;

const OF_TRIGGERS: [&str; 5] = [ORDER, CONCURRENCY, RATE, START_FROM, PAUSED];
const OF_BROKERS: [&str; 5] =
    [PARTITIONS, RETENTION, RETENTION_BYTES, REPLICATION_FACTOR, MIN_INSYNC_REPLICAS];

/// What the annotations of a Trigger say.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TriggerSettings {
    /// [`ORDER`]
    pub(crate) order: Order,
    /// [`CONCURRENCY`]
    pub(crate) concurrency: u32,
    /// [`RATE`]
    pub(crate) rate: Option<f64>,
    /// [`START_FROM`]
    pub(crate) start_from: StartFrom,
    /// [`PAUSED`]
    pub(crate) state: TriggerState,
}

/// Reads the annotations of a Trigger; what is wrong is noted and counts as absent.
pub(crate) fn trigger_settings(
    annotations: &BTreeMap<String, String>,
    findings: &mut Findings,
) -> TriggerSettings {
    let mut reader = Reader { annotations, findings };
    reader.refuse_unknown(&OF_TRIGGERS, &OF_BROKERS, "Broker");
    let order = reader.order();
    let asked = reader.read(CONCURRENCY, |text| match text.parse::<u32>() {
        Ok(concurrency @ 1..=MAX_CONCURRENCY) => Ok(concurrency),
        _ => Err(format!("{text:?} is not a number of requests; write one from 1 to {MAX_CONCURRENCY}")),
    });
    let concurrency = match (order, asked) {
        (Order::Partition, Some(2..)) => {
            let message = "an order by partition has one request in flight; leave the concurrency out, or write \
                           the order \"key\"";
            reader.refuse(CONCURRENCY, message);
            1
        }
        (Order::Partition, _) => 1,
        (_, asked) => asked.unwrap_or(DEFAULT_CONCURRENCY),
    };
    let rate = reader.read(RATE, |text| match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
        _ => Err(format!("{text:?} is not a rate; write requests per second, such as \"50\" or \"0.5\"")),
    });
    let start_from = reader.read(START_FROM, |text| match text {
        "latest" => Ok(StartFrom::Latest),
        "earliest" => Ok(StartFrom::Earliest),
        _ => match text.parse::<jiff::Timestamp>() {
            Ok(time) => Ok(StartFrom::Time(Timestamp(time.as_millisecond()))),
            Err(_) => Err(format!(
                "{text:?} is not a start; write \"latest\", \"earliest\" or a time such as \"2026-11-21T08:00:00Z\""
            )),
        },
    });
    let state = reader.read(PAUSED, |text| match text {
        "true" => Ok(TriggerState::Paused),
        "false" => Ok(TriggerState::Active),
        _ => Err(format!("{text:?} is neither \"true\" nor \"false\"; write one of them")),
    });
    TriggerSettings {
        order,
        concurrency,
        rate,
        start_from: start_from.unwrap_or_default(),
        state: state.unwrap_or_default(),
    }
}

/// Reads the annotations of a Broker; what is wrong is noted and counts as absent.
pub(crate) fn topic_draft(annotations: &BTreeMap<String, String>, findings: &mut Findings) -> TopicDraft {
    let mut reader = Reader { annotations, findings };
    reader.refuse_unknown(&OF_BROKERS, &OF_TRIGGERS, "Trigger");
    let partitions = reader.read(PARTITIONS, |text| match text.parse::<u32>() {
        Ok(partitions @ 1..=MAX_PARTITIONS) => Ok(partitions),
        _ => Err(format!("{text:?} is not a number of partitions; write one from 1 to {MAX_PARTITIONS}")),
    });
    let retention_age = reader.read(RETENTION, |text| match text {
        "forever" => Ok(None),
        _ => match duration::parse(text) {
            Ok(Duration::ZERO) => {
                Err(format!("{text:?} keeps nothing; write a longer duration or \"forever\""))
            }
            Ok(age) => Ok(Some(age)),
            Err(error) => Err(format!("{error}, or \"forever\"")),
        },
    });
    let retention_bytes = reader.read(RETENTION_BYTES, |text| match text {
        "none" => Ok(None),
        _ => match bytes::parse(text) {
            Some(0) => Err(format!("{text:?} keeps nothing; write a larger size or \"none\"")),
            Some(bytes) => Ok(Some(RetentionBytes::Topic(bytes))),
            None => Err(format!("{text:?} is not a size; write bytes as \"500Mi\" or \"10Gi\", or \"none\"")),
        },
    });
    TopicDraft {
        partitions,
        retention_age,
        retention_bytes,
        replication_factor: reader.read(REPLICATION_FACTOR, topic::replicas),
        min_insync_replicas: reader.read(MIN_INSYNC_REPLICAS, topic::replicas),
        kafka: BTreeMap::new(),
        external: reader.read(EXTERNAL_TOPIC, topic::topic_name),
    }
}

/// The path of an annotation.
pub(crate) fn path(name: &str) -> Path {
    Path::of(&["metadata", "annotations", name])
}

struct Reader<'a> {
    annotations: &'a BTreeMap<String, String>,
    findings: &'a mut Findings,
}

impl Reader<'_> {
    fn order(&mut self) -> Order {
        let order = self.read(ORDER, |text| match text {
            "unordered" => Ok(Order::Unordered),
            "partition" => Ok(Order::Partition),
            "key" => Ok(Order::Key),
            _ => Err(format!("{text:?} is not an order; write \"unordered\", \"partition\" or \"key\"")),
        });
        let upstream = self.read(KAFKA_ORDER, |text| match text {
            "unordered" => Ok(Order::Unordered),
            "ordered" => Ok(Order::Partition),
            _ => Err(format!("{text:?} is not an order; write \"unordered\" or \"ordered\"")),
        });
        if let (Some(order), Some(upstream)) = (order, upstream)
            && order != upstream
        {
            self.refuse(KAFKA_ORDER, format!("contradicts {ORDER}; remove one of them"));
        }
        order.or(upstream).unwrap_or_default()
    }

    fn read<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        match parse(self.annotations.get(name)?) {
            Ok(value) => Some(value),
            Err(message) => {
                self.refuse(name, message);
                None
            }
        }
    }

    fn refuse_unknown(&mut self, known: &[&'static str], elsewhere: &[&str], other_kind: &str) {
        for name in self.annotations.keys().filter(|name| name.starts_with(PREFIX)) {
            let name = name.as_str();
            if known.contains(&name) {
                continue;
            }
            let message = if elsewhere.contains(&name) {
                format!("is a setting of a {other_kind}; move it there")
            } else if let Some(near) = nearest(name, known.iter().copied()) {
                format!("unknown setting; did you mean {near:?}?")
            } else {
                format!("unknown setting; there are {}", known.join(", "))
            };
            self.findings.refuse(&path(name), message);
        }
    }

    fn refuse(&mut self, name: &str, message: impl Into<String>) {
        self.findings.refuse(&path(name), message);
    }
}

#[cfg(test)]
mod tests {
    use trigon_core::routing::TopicSettings;

    use super::*;

    fn annotations(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn of_trigger(pairs: &[(&str, &str)]) -> Result<TriggerSettings, Vec<String>> {
        let mut findings = Findings::default();
        let settings = trigger_settings(&annotations(pairs), &mut findings);
        outcome(settings, findings)
    }

    fn of_broker(pairs: &[(&str, &str)]) -> Result<TopicSettings, Vec<String>> {
        let mut findings = Findings::default();
        let settings = topic_draft(&annotations(pairs), &mut findings).settle(None, &mut findings);
        outcome(settings, findings)
    }

    fn outcome<T>(settings: T, findings: Findings) -> Result<T, Vec<String>> {
        let messages: Vec<_> = findings.into_iter().map(|f| format!("{}: {}", f.path, f.message)).collect();
        if messages.is_empty() { Ok(settings) } else { Err(messages) }
    }

    #[test]
    fn a_trigger_without_annotations_has_the_defaults() {
        let settings = of_trigger(&[("example.com/mine", "x")]).unwrap();
        assert_eq!(settings.order, Order::Unordered);
        assert_eq!(settings.concurrency, DEFAULT_CONCURRENCY);
        assert_eq!(settings.rate, None);
        assert_eq!(settings.start_from, StartFrom::Latest);
        assert_eq!(settings.state, TriggerState::Active);
        assert_eq!(of_broker(&[]), Ok(TopicSettings::default()));
    }

    #[test]
    fn all_settings_of_a_trigger_are_read() {
        let settings = of_trigger(&[
            (ORDER, "key"),
            (CONCURRENCY, "7"),
            (RATE, "0.5"),
            (START_FROM, "1970-01-01T00:00:01.5Z"),
            (PAUSED, "true"),
        ])
        .unwrap();
        assert_eq!(settings.order, Order::Key);
        assert_eq!(settings.concurrency, 7);
        assert_eq!(settings.rate, Some(0.5));
        assert_eq!(settings.start_from, StartFrom::Time(Timestamp(1_500)));
        assert_eq!(settings.state, TriggerState::Paused);
        assert_eq!(of_trigger(&[(START_FROM, "earliest")]).unwrap().start_from, StartFrom::Earliest);
    }

    #[test]
    fn all_settings_of_a_broker_are_read() {
        let settings =
            of_broker(&[(PARTITIONS, "12"), (RETENTION, "P1D"), (RETENTION_BYTES, "10Gi")]).unwrap();
        assert_eq!(settings.partitions, 12);
        assert_eq!(settings.retention_age, Some(Duration::from_secs(86_400)));
        assert_eq!(settings.retention_bytes, Some(10 << 30));
        let settings = of_broker(&[(RETENTION, "forever"), (RETENTION_BYTES, "none")]).unwrap();
        assert_eq!((settings.retention_age, settings.retention_bytes), (None, None));
    }

    /// DLV-30
    #[test]
    fn the_order_of_the_kafka_class_means_the_same() {
        assert_eq!(of_trigger(&[(KAFKA_ORDER, "ordered")]).unwrap().order, Order::Partition);
        assert_eq!(of_trigger(&[(KAFKA_ORDER, "unordered")]).unwrap().order, Order::Unordered);
        assert!(of_trigger(&[(KAFKA_ORDER, "ordered"), (ORDER, "partition")]).is_ok());
        assert!(of_trigger(&[(KAFKA_ORDER, "ordered"), (ORDER, "key")]).is_err());
        assert!(of_trigger(&[(KAFKA_ORDER, "partition")]).is_err());
    }

    #[test]
    fn an_order_by_partition_has_one_request_in_flight() {
        assert_eq!(of_trigger(&[(ORDER, "partition")]).unwrap().concurrency, 1);
        assert_eq!(of_trigger(&[(ORDER, "partition"), (CONCURRENCY, "1")]).unwrap().concurrency, 1);
        assert!(of_trigger(&[(ORDER, "partition"), (CONCURRENCY, "2")]).is_err());
    }

    #[test]
    fn bad_values_are_refused_all_together() {
        let problems = of_trigger(&[
            (ORDER, "Key"),
            (CONCURRENCY, "0"),
            (RATE, "inf"),
            (START_FROM, "2026-11-21"),
            (PAUSED, "yes"),
        ])
        .unwrap_err();
        assert_eq!(problems.len(), 5, "{problems:#?}");
        for rate in ["0", "-1", "NaN", "fast", ""] {
            assert!(of_trigger(&[(RATE, rate)]).is_err(), "{rate}");
        }
        let problems =
            of_broker(&[(PARTITIONS, "1025"), (RETENTION, "7d"), (RETENTION_BYTES, "-1")]).unwrap_err();
        assert_eq!(problems.len(), 3, "{problems:#?}");
        assert!(problems[1].contains("write \"P7D\", or \"forever\""), "{}", problems[1]);
        assert!(of_broker(&[(RETENTION, "PT0S"), (RETENTION_BYTES, "0")]).is_err());
    }

    #[test]
    fn an_unknown_setting_is_refused_with_a_suggestion() {
        let problem = |pairs| of_trigger(pairs).unwrap_err().remove(0);
        assert_eq!(
            problem(&[("trigon.dev/ordering", "key")]),
            "metadata.annotations[trigon.dev/ordering]: unknown setting; did you mean \"trigon.dev/order\"?"
        );
        assert!(problem(&[("trigon.dev/colour", "red")]).contains("unknown setting"));
        assert!(problem(&[(PARTITIONS, "3")]).contains("setting of a Broker"));
        assert!(of_broker(&[(ORDER, "key")]).unwrap_err()[0].contains("setting of a Trigger"));
    }
}
