//! The metrics of the dispatcher: what was tried, how it ended, and how every Trigger and outlet stands.
//!
//! Labels come from configuration only: Brokers, Triggers and origins, never an attribute of an event.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric, LabelValueEncoder,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use trigon_core::cursor::Stage;
use trigon_core::record::Timestamp;
use trigon_runtime::metrics::Metrics as Shelf;

use crate::dispatcher::Shared;
use crate::status::{Standing, Status};

/// The counters that are written where things happen.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    attempts: Family<AttemptLabels, Counter>,
    attempt_duration: Family<StageLabels, Histogram, fn() -> Histogram>,
    delivery_latency: Histogram,
    replies: Family<ReplyLabels, Counter>,
    pub(crate) undecodable: Counter,
    pub(crate) overtaken: Counter,
    pub(crate) moved: Counter,
    pub(crate) beyond: Counter,
    pub(crate) commit_failures: Counter,
    pub(crate) read_failures: Counter,
    pub(crate) redriven: Counter,
}

/// How an attempt ended, as far as a label tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum AttemptEnd {
    Taken,
    Status1xx3xx,
    Status4xx,
    Status5xx,
    Timeout,
    Transport,
    BadReply,
    Unsendable,
    Log,
}

/// What became of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ReplyEnd {
    Accepted,
    Exhausted,
    Malformed,
    NotStored,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    stage: StageLabel,
    end: AttemptEnd,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabels {
    stage: StageLabel,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReplyLabels {
    end: ReplyEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum StageLabel {
    Subscriber,
    DeadLetter,
    Park,
}

/// Label values are words, not the names of Rust variants.
macro_rules! label_values {
    ($type:ident { $($variant:ident => $value:literal,)* }) => {
        impl EncodeLabelValue for $type {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant => $value.encode(encoder),)*
                }
            }
        }
    };
}

label_values!(AttemptEnd {
    Taken => "taken",
    Status1xx3xx => "status_1xx_3xx",
    Status4xx => "status_4xx",
    Status5xx => "status_5xx",
    Timeout => "timeout",
    Transport => "transport",
    BadReply => "bad_reply",
    Unsendable => "unsendable",
    Log => "log",
});

label_values!(ReplyEnd {
    Accepted => "accepted",
    Exhausted => "ttl_exhausted",
    Malformed => "malformed",
    NotStored => "not_stored",
});

label_values!(StageLabel {
    Subscriber => "subscriber",
    DeadLetter => "dead_letter",
    Park => "park",
});

impl AttemptEnd {
    /// How an answer that is a failure is counted.
    pub(crate) fn of_status(status: u16) -> Self {
        match status {
            400..=499 => Self::Status4xx,
            500.. => Self::Status5xx,
            _ => Self::Status1xx3xx,
        }
    }
}

impl From<Stage> for StageLabel {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Subscriber => Self::Subscriber,
            Stage::DeadLetter => Self::DeadLetter,
            Stage::Park => Self::Park,
        }
    }
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        // From half a millisecond to about four minutes.
        let durations: fn() -> Histogram = || Histogram::new(exponential_buckets(0.000_5, 2.0, 20));
        let metrics = Self {
            attempts: Family::default(),
            attempt_duration: Family::new_with_constructor(durations),
            delivery_latency: durations(),
            replies: Family::default(),
            undecodable: Counter::default(),
            overtaken: Counter::default(),
            moved: Counter::default(),
            beyond: Counter::default(),
            commit_failures: Counter::default(),
            read_failures: Counter::default(),
            redriven: Counter::default(),
        };
        let registry = registry.sub_registry_with_prefix("dispatcher");
        registry.register("attempts", "Attempts that ended, by stage and end", metrics.attempts.clone());
        registry.register_with_unit(
            "attempt_duration",
            "How long attempts took",
            Unit::Seconds,
            metrics.attempt_duration.clone(),
        );
        registry.register_with_unit(
            "delivery_latency",
            "From the acceptance of an event to the subscriber's answer that took it",
            Unit::Seconds,
            metrics.delivery_latency.clone(),
        );
        registry.register(
            "replies",
            "Replies of subscribers, by what became of them",
            metrics.replies.clone(),
        );
        registry.register(
            "undecodable",
            "Records that are no CloudEvents, parked",
            metrics.undecodable.clone(),
        );
        registry.register(
            "overtaken",
            "Offsets that retention removed before a Trigger got there",
            metrics.overtaken.clone(),
        );
        registry.register(
            "moved",
            "Places of Triggers that somebody has set with the log's tools",
            metrics.moved.clone(),
        );
        registry.register(
            "beyond_end",
            "Places of Triggers found beyond the end of the log",
            metrics.beyond.clone(),
        );
        registry.register("commit_failures", "Cursors not written", metrics.commit_failures.clone());
        registry.register("read_failures", "Reads of the log that failed", metrics.read_failures.clone());
        registry.register("redriven", "Parked events sent again", metrics.redriven.clone());
        metrics
    }

    pub(crate) fn attempt(&self, stage: Stage, end: AttemptEnd, took: Duration) {
        let stage = stage.into();
        self.attempts.get_or_create(&AttemptLabels { stage, end }).inc();
        self.attempt_duration.get_or_create(&StageLabels { stage }).observe(took.as_secs_f64());
    }

    pub(crate) fn delivered(&self, accepted: Timestamp, now: Timestamp) {
        let millis = u64::try_from(now.0 - accepted.0).unwrap_or(0);
        self.delivery_latency.observe(Duration::from_millis(millis).as_secs_f64());
    }

    pub(crate) fn reply(&self, end: ReplyEnd) {
        self.replies.get_or_create(&ReplyLabels { end }).inc();
    }
}

/// Registers what is read off the state when somebody asks, so that deleted Triggers vanish.
pub(crate) fn register_status(shelf: &Shelf, shared: &Arc<Shared>) {
    // Weak, so that the registry does not keep the connections of a dispatcher that has ended.
    let collector = StatusCollector(Arc::downgrade(shared));
    shelf.register(|registry| {
        registry.sub_registry_with_prefix("dispatcher").register_collector(Box::new(collector));
    });
}

#[derive(Debug)]
struct StatusCollector(Weak<Shared>);

/// Names and values.
type Labels<'a, const N: usize> = [(&'static str, &'a str); N];

type Count = (&'static str, &'static str, fn(&Standing) -> u64);
type Level = (&'static str, &'static str, fn(&Standing) -> usize);

const COUNTS: [Count; 7] = [
    ("trigger_matched", "Events that a Trigger's filter let through", |s| s.matched),
    ("trigger_delivered", "Events that a subscriber took", |s| s.delivered),
    ("trigger_dead_lettered", "Events that a dead letter sink took", |s| s.dead_lettered),
    ("trigger_parked", "Events that went to the parked topic", |s| s.parked),
    ("trigger_attempts", "Attempts that ended", |s| s.attempts),
    ("trigger_failures", "Attempts that failed", |s| s.failures),
    ("trigger_overtaken", "Offsets that retention removed before the Trigger got there", |s| s.overtaken),
];

const LEVELS: [Level; 4] = [
    ("trigger_queued", "Events that wait for their turn", |s| s.queued),
    ("trigger_in_flight", "Events that are being sent", |s| s.in_flight),
    ("trigger_retrying", "Events that wait for their next attempt", |s| s.retrying),
    ("trigger_held_bytes", "Bytes of the events that are held", |s| s.bytes),
];

impl Collector for StatusCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(shared) = self.0.upgrade() else { return Ok(()) };
        let status = Status::of(&shared, false);
        let triggers: Vec<(Labels<'_, 2>, Standing)> = status
            .brokers
            .iter()
            .flat_map(|broker| broker.triggers.iter().map(|trigger| (broker.broker.as_str(), trigger)))
            // A Trigger to which nothing has happened has no series: there may be thousands.
            .filter(|(_, trigger)| !trigger.total.is_zero())
            .map(|(broker, trigger)| {
                ([("broker", broker), ("trigger", trigger.trigger.as_str())], trigger.total)
            })
            .collect();
        for (name, help, value) in COUNTS {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (labels, standing) in &triggers {
                ConstCounter::new(value(standing)).encode(family.encode_family(labels)?)?;
            }
        }
        for (name, help, value) in LEVELS {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (labels, standing) in &triggers {
                ConstGauge::new(gauge(value(standing))).encode(family.encode_family(labels)?)?;
            }
        }
        let mut lag =
            encoder.encode_descriptor("trigger_lag", "Offsets to the end", None, MetricType::Gauge)?;
        for (labels, standing) in &triggers {
            let value = i64::try_from(standing.lag).unwrap_or(i64::MAX);
            ConstGauge::new(value).encode(lag.encode_family(labels)?)?;
        }
        let mut waiting = encoder.encode_descriptor(
            "trigger_parked_waiting",
            "Parked events that have not been sent again, those before a restart included",
            None,
            MetricType::Gauge,
        )?;
        for broker in &status.brokers {
            for (trigger, count) in &broker.waiting {
                let labels: Labels<'_, 2> = [("broker", &broker.broker), ("trigger", trigger)];
                let value = i64::try_from(*count).unwrap_or(i64::MAX);
                ConstGauge::new(value).encode(waiting.encode_family(&labels)?)?;
            }
        }
        let now = shared.clock.now();
        let mut age = encoder.encode_descriptor(
            "trigger_oldest_age",
            "How long ago the oldest unfinished event was accepted",
            Some(&Unit::Seconds),
            MetricType::Gauge,
        )?;
        for (labels, standing) in &triggers {
            let oldest = standing.oldest.map_or(0, |oldest| now.0.saturating_sub(oldest.0).max(0));
            let seconds = Duration::from_millis(oldest.unsigned_abs()).as_secs_f64();
            ConstGauge::new(seconds).encode(age.encode_family(labels)?)?;
        }
        let mut family = encoder.encode_descriptor(
            "in_flight",
            "Attempts that are being sent",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(gauge(status.in_flight)).encode(family.encode_family(&NO_LABELS)?)?;
        let mut stalled = encoder.encode_descriptor(
            "stalled_partitions",
            "Partitions that wait for the log without progress",
            None,
            MetricType::Gauge,
        )?;
        let partitions = status.brokers.iter().flat_map(|broker| &broker.partitions);
        let count = partitions.filter(|partition| partition.stalled.is_some()).count();
        ConstGauge::new(gauge(count)).encode(stalled.encode_family(&NO_LABELS)?)?;
        let mut limits = encoder.encode_descriptor(
            "outlet_limit",
            "Attempts at once at most, all lanes together",
            None,
            MetricType::Gauge,
        )?;
        for outlet in &status.outlets {
            let labels: Labels<'_, 1> = [("origin", &outlet.origin)];
            ConstGauge::new(gauge(outlet.limit)).encode(limits.encode_family(&labels)?)?;
        }
        let mut in_flight = encoder.encode_descriptor(
            "outlet_in_flight",
            "Attempts that are being sent",
            None,
            MetricType::Gauge,
        )?;
        for outlet in &status.outlets {
            let labels: Labels<'_, 1> = [("origin", &outlet.origin)];
            ConstGauge::new(gauge(outlet.in_flight)).encode(in_flight.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

const NO_LABELS: Labels<'static, 0> = [];

fn gauge(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
