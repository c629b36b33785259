//! A partition that is being driven, as far as others may look at it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use trigon_core::name::{BrokerId, GroupName, Offset, TopicName, TopicPartition, TriggerId};
use trigon_core::record::Timestamp;
use trigon_core::routing::Broker;
use trigon_eventlog::Extent;

use super::truncation::Truncation;
use crate::outbound::now;
use crate::partition::{LaneStatus, Partition, Whereabouts};
use crate::status::{Gap, GapCause};

/// What others may know of a partition that is being driven.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) at: TopicPartition,
    pub(crate) broker: BrokerId,
    pub(crate) parked_topic: TopicName,
    machine: Mutex<Partition>,
    extent: Mutex<Extent>,
    truncation: Mutex<Truncation>,
    /// What Triggers have missed since the partition was assigned.
    gaps: Mutex<BTreeMap<TriggerId, Gap>>,
    /// What the log has not answered for too long.
    stall: Mutex<Option<String>>,
    /// The routing table that the machine has.
    pub(super) generation: AtomicU64,
    /// Cursors asked for and not loaded.
    pub(super) loading: AtomicUsize,
}

impl Seat {
    pub(crate) fn new(broker: &Broker, machine: Partition) -> Self {
        Self {
            at: machine.at().clone(),
            broker: broker.id.clone(),
            parked_topic: broker.parked_topic.clone(),
            machine: Mutex::new(machine),
            extent: Mutex::default(),
            truncation: Mutex::default(),
            gaps: Mutex::default(),
            stall: Mutex::default(),
            generation: AtomicU64::new(0),
            loading: AtomicUsize::new(0),
        }
    }

    /// How every lane stands.
    pub(crate) fn lanes(&self) -> Vec<LaneStatus> {
        self.machine().status()
    }

    /// Where an event stands for a Trigger, if that has a lane here.
    pub(crate) fn whereabouts(&self, trigger: &TriggerId, offset: Offset) -> Option<Whereabouts> {
        self.machine().whereabouts(now(), trigger, offset)
    }

    /// The groups that have their place here.
    pub(crate) fn groups(&self) -> Vec<GroupName> {
        self.machine().groups()
    }

    /// The offsets that the partition had when they were last looked up.
    pub(crate) fn extent(&self) -> Extent {
        *self.extent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note_extent(&self, extent: Extent) {
        *self.extent.lock().unwrap_or_else(PoisonError::into_inner) = extent;
    }

    /// The furthest offset that a lane has come to.
    pub(crate) fn furthest(&self) -> Offset {
        self.machine().furthest()
    }

    /// Takes the extent that was asked for when a lane had come to `furthest`.
    pub(crate) fn look(&self, extent: Extent, furthest: Offset) {
        self.note_extent(extent);
        self.truncation.lock().unwrap_or_else(PoisonError::into_inner).look(extent.end, furthest);
    }

    /// Where the log ends if it was found to have lost records; told once.
    pub(super) fn take_truncation(&self) -> Option<Offset> {
        self.truncation.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What a Trigger has missed, if anything.
    pub(crate) fn gap(&self, trigger: &TriggerId) -> Option<Gap> {
        self.gaps.lock().unwrap_or_else(PoisonError::into_inner).get(trigger).copied()
    }

    pub(super) fn note_gap(
        &self,
        trigger: &TriggerId,
        cause: GapCause,
        from: Offset,
        to: Offset,
        now: Timestamp,
    ) {
        let mut gaps = self.gaps.lock().unwrap_or_else(PoisonError::into_inner);
        let offsets = to.0.saturating_sub(from.0);
        let before = gaps.get(trigger).map_or(0, |gap| gap.offsets);
        let gap = Gap { cause, offsets: before + offsets, from: from.0, to: to.0, noticed: now };
        gaps.insert(trigger.clone(), gap);
    }

    /// What the partition waits for without progress.
    pub(crate) fn stall(&self) -> Option<String> {
        self.stall.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn note_stall(&self, stall: Option<String>) {
        *self.stall.lock().unwrap_or_else(PoisonError::into_inner) = stall;
    }

    /// Whether every Trigger of this routing table has its cursor.
    pub(crate) fn serves(&self, generation: u64) -> bool {
        self.generation.load(Ordering::Acquire) >= generation && self.loading.load(Ordering::Acquire) == 0
    }

    pub(super) fn machine(&self) -> MutexGuard<'_, Partition> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
