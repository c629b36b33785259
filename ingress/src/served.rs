//! Which Brokers the ingress takes events for, and which of those that are known it does not take any for yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use trigon_core::name::BrokerId;
use trigon_core::routing::{Broker, RoutingTable};

/// All Brokers that are known, at one moment; swapped as a whole.
#[derive(Clone, Debug, Default)]
pub struct Served {
    /// Those whose events are taken.
    pub table: RoutingTable,
    /// Those whose events are not: an event that came now could be missed by a Trigger, or has no topic.
    pub waiting: BTreeMap<BrokerId, Waiting>,
}

/// A Broker that takes no events yet.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// The Broker.
    pub broker: Arc<Broker>,
    /// What it waits for, in words.
    pub reason: Arc<str>,
}

impl From<RoutingTable> for Served {
    fn from(table: RoutingTable) -> Self {
        Self { table, waiting: BTreeMap::new() }
    }
}
