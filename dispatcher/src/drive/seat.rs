//! A partition that is being driven, as far as others may look at it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use trigon_core::name::{BrokerId, GroupName, TopicName, TopicPartition};
use trigon_core::routing::Broker;
use trigon_eventlog::Extent;

use crate::partition::{LaneStatus, Partition};

/// What others may know of a partition that is being driven.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) at: TopicPartition,
    pub(crate) broker: BrokerId,
    pub(crate) parked_topic: TopicName,
    machine: Mutex<Partition>,
    extent: Mutex<Extent>,
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
            generation: AtomicU64::new(0),
            loading: AtomicUsize::new(0),
        }
    }

    /// How every lane stands.
    pub(crate) fn lanes(&self) -> Vec<LaneStatus> {
        self.machine().status()
    }

    /// The groups that have their place here.
    pub(crate) fn groups(&self) -> Vec<GroupName> {
        self.machine().groups()
    }

    /// The offsets that the partition had when they were last looked up.
    pub(crate) fn extent(&self) -> Extent {
        *self.extent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note_extent(&self, extent: Extent) {
        *self.extent.lock().unwrap_or_else(PoisonError::into_inner) = extent;
    }

    /// Whether every Trigger of this routing table has its cursor.
    pub(crate) fn serves(&self, generation: u64) -> bool {
        self.generation.load(Ordering::Acquire) >= generation && self.loading.load(Ordering::Acquire) == 0
    }

    pub(super) fn machine(&self) -> MutexGuard<'_, Partition> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
