//! Parked events: those that neither the subscriber nor a dead letter sink took.
//!
//! They lie in a topic of their own per Broker, with one partition, in the order in which they were parked.

use bytes::Bytes;
use bytestring::ByteString;
use trigon_core::binding::record::{Audience, Envelope};
use trigon_core::delivery::Failure;
use trigon_core::event::Event;
use trigon_core::name::{PartitionId, TopicName, TopicPartition};
use trigon_core::record::{Record, Timestamp};

use trigon_eventlog::SharedLog;

use crate::attempt::Attempt;
use crate::clock::Clock;
use crate::metrics::Metrics;

const TRIGGER: &str = "trigon_parked_trigger";
const PARTITION: &str = "trigon_parked_partition";
const OFFSET: &str = "trigon_parked_offset";
const REASON: &str = "trigon_parked_reason";
const ADDED: &str = "trigon_parked_added";

/// The parked events of an installation.
#[derive(Clone)]
pub struct Parked {
    log: SharedLog,
    clock: Clock,
    metrics: Metrics,
}

impl Parked {
    pub(crate) fn new(log: SharedLog, clock: Clock, metrics: Metrics) -> Self {
        Self { log, clock, metrics }
    }
}

/// The partition of a parked topic.
pub(crate) fn partition_of(topic: &TopicName) -> TopicPartition {
    TopicPartition { topic: topic.clone(), partition: PartitionId(0) }
}

/// The record of an event that is parked: the event with its error attributes, and where it comes from.
pub(crate) fn record(attempt: &Attempt, event: &Event, partition: PartitionId, now: Timestamp) -> Record {
    let original = &attempt.envelope.event;
    let added: Vec<&str> = event
        .attributes()
        .iter()
        .filter(|attribute| original.attribute(&attribute.name) != Some(&*attribute.value))
        .map(|attribute| &*attribute.name)
        .collect();
    let envelope = Envelope {
        event: event.clone(),
        passed_through: attempt.envelope.passed_through.clone(),
        audience: Audience::Matching,
    };
    let mut record = envelope.encode(now);
    let reason = attempt.failure.as_deref().map_or("", |failure: &Failure| failure.reason.as_str());
    let mut note = |name: &'static str, value: String| {
        record.headers.push((ByteString::from_static(name), Bytes::from(value)));
    };
    note(TRIGGER, attempt.trigger.id.to_string());
    note(PARTITION, partition.to_string());
    note(OFFSET, attempt.id.offset.to_string());
    note(REASON, reason.to_owned());
    note(ADDED, added.join(","));
    record
}
