//! What a filter lab says in JSON, and what the tools read of it.

use serde::{Deserialize, Serialize};
use trigon_core::lab::{Comparison, Group, Sample, Warning};

use crate::shown;

/// What came of a lab: filters beside those in force, over the last events of a Broker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LabView {
    /// The `namespace/name` of the Broker.
    pub(crate) broker: String,
    /// How many events were asked for.
    pub(crate) last: u64,
    /// How many were looked at, each once. Of more Triggers than one question takes, for the first ones.
    pub(crate) events: u64,
    /// Whether the Broker has no more.
    pub(crate) all: bool,
    /// When the first of them was accepted; none when there are none.
    pub(crate) from: Option<String>,
    /// When the last of them was accepted.
    pub(crate) to: Option<String>,
    /// Records among the last ones that are no CloudEvents, and were passed over.
    pub(crate) undecodable: u64,
    /// Parked events that were sent again to one Trigger whatever its filter says, and were passed over.
    pub(crate) sent_again: u64,
    /// Records that retention removed before they were read.
    pub(crate) missed: u64,
    /// The Triggers that were compared.
    pub(crate) triggers: Vec<ComparisonView>,
    /// Those that were not, because they are of other Brokers: `namespace/name`.
    pub(crate) skipped: Vec<String>,
    /// Why it went no further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// What a Trigger's filter would have done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ComparisonView {
    /// `namespace/name`
    pub(crate) trigger: String,
    /// Its filter in words.
    pub(crate) filter: String,
    /// The filter in force in words; none for a Trigger that there is not yet.
    pub(crate) running: Option<String>,
    /// Whether the two are the same.
    pub(crate) unchanged: bool,
    /// How many events both were tried on.
    pub(crate) events: u64,
    /// Events that the filter would have matched.
    pub(crate) matched: u64,
    /// Events that the one in force matches.
    pub(crate) matched_by_running: u64,
    /// Events that it matches and the one in force does not.
    pub(crate) gained: GroupView,
    /// Events that the one in force matches and it does not.
    pub(crate) lost: GroupView,
    /// When it matches nothing, some of the events that it does not match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) unmatched: Vec<SampleView>,
    /// What its author may not expect.
    pub(crate) warnings: Vec<WarningView>,
}

/// Events of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GroupView {
    /// How many there are.
    pub(crate) count: u64,
    /// A few of them, from the first to the last.
    pub(crate) samples: Vec<SampleView>,
}

/// An event; long texts are cut.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SampleView {
    /// Its partition.
    pub(crate) partition: u32,
    /// Its offset there.
    pub(crate) offset: u64,
    /// When it was accepted.
    pub(crate) accepted: String,
    /// `id`
    pub(crate) id: String,
    /// `source`
    pub(crate) source: String,
    /// `type`
    #[serde(rename = "type")]
    pub(crate) event_type: String,
    /// `time`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) time: Option<String>,
    /// Why the filter that does not match it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// What an author may not expect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WarningView {
    /// `matches_nothing`, `matches_everything`, `errors` or `unknown_attribute`
    pub(crate) kind: String,
    /// The same in words.
    pub(crate) message: String,
}

impl ComparisonView {
    pub(super) fn of(trigger: String, unchanged: bool, events: u64, comparison: Comparison) -> Self {
        Self {
            trigger,
            filter: comparison.filter,
            running: comparison.running,
            unchanged,
            events,
            matched: comparison.matched,
            matched_by_running: comparison.matched_by_running,
            gained: GroupView::of(comparison.gained),
            lost: GroupView::of(comparison.lost),
            unmatched: comparison.unmatched.into_iter().map(SampleView::of).collect(),
            warnings: comparison.warnings.iter().map(WarningView::of).collect(),
        }
    }
}

impl GroupView {
    fn of(group: Group) -> Self {
        Self { count: group.count, samples: group.samples.into_iter().map(SampleView::of).collect() }
    }
}

impl SampleView {
    fn of(sample: Sample) -> Self {
        Self {
            partition: sample.position.partition.0,
            offset: sample.position.offset.0,
            accepted: shown::rfc3339(sample.accepted),
            id: sample.id,
            source: sample.source,
            event_type: sample.event_type,
            time: sample.time,
            reason: sample.reason,
        }
    }
}

impl WarningView {
    fn of(warning: &Warning) -> Self {
        Self { kind: warning.kind().to_owned(), message: warning.to_string() }
    }
}
