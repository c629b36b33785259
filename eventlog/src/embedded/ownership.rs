//! Ownership in the embedded log: every partition of every topic that is asked for is ours.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;
use trigon_core::name::{TopicName, TopicPartition};

use super::catalog::Catalog;
use crate::{LogError, Ownership, OwnershipChange};

/// Follows the topics that are asked for as they come and go.
pub(crate) struct EmbeddedOwnership {
    catalog: Arc<Catalog>,
    version: watch::Receiver<u64>,
    wanted: BTreeSet<TopicName>,
    /// What was assigned, with the identity of its topic.
    owned: BTreeMap<TopicPartition, u64>,
    /// What was revoked and is not released yet: it is not assigned again until then.
    draining: BTreeSet<TopicPartition>,
}

impl EmbeddedOwnership {
    pub(crate) fn new(catalog: Arc<Catalog>, wanted: BTreeSet<TopicName>) -> Self {
        let version = catalog.changes();
        Self { catalog, version, wanted, owned: BTreeMap::new(), draining: BTreeSet::new() }
    }

    /// What is to be said next, if anything.
    fn next_change(&mut self) -> Option<OwnershipChange> {
        let existing: BTreeMap<TopicPartition, u64> = self
            .wanted
            .iter()
            .chain(self.owned.keys().map(|at| &at.topic))
            .filter_map(|name| self.catalog.find(name))
            .flat_map(|topic| topic.partitions_named().into_iter().map(move |at| (at, topic.id)))
            .collect();
        let deleted: Vec<_> = self
            .owned
            .iter()
            .filter(|(at, id)| existing.get(at) != Some(id))
            .map(|(at, _)| at.clone())
            .collect();
        if !deleted.is_empty() {
            self.owned.retain(|at, _| !deleted.contains(at));
            return Some(OwnershipChange::Lost(deleted));
        }
        let unwanted: Vec<_> =
            self.owned.keys().filter(|at| !self.wanted.contains(&at.topic)).cloned().collect();
        if !unwanted.is_empty() {
            self.owned.retain(|at, _| !unwanted.contains(at));
            self.draining.extend(unwanted.iter().cloned());
            return Some(OwnershipChange::Revoked(unwanted));
        }
        let added: BTreeMap<_, _> = existing
            .into_iter()
            .filter(|(at, _)| !self.owned.contains_key(at) && !self.draining.contains(at))
            .collect();
        if added.is_empty() {
            return None;
        }
        let assigned = added.keys().cloned().collect();
        self.owned.extend(added);
        Some(OwnershipChange::Assigned(assigned))
    }
}

#[async_trait]
impl Ownership for EmbeddedOwnership {
    async fn changed(&mut self) -> Result<OwnershipChange, LogError> {
        loop {
            self.version.borrow_and_update();
            if let Some(change) = self.next_change() {
                return Ok(change);
            }
            self.version.changed().await.map_err(|_| LogError::Closed)?;
            if self.catalog.is_closed() {
                return Err(LogError::Closed);
            }
        }
    }

    fn set_topics(&mut self, topics: BTreeSet<TopicName>) {
        self.wanted = topics;
    }

    fn release(&mut self, at: TopicPartition) {
        self.draining.remove(&at);
    }
}
