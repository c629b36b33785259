//! Which broker coordinates which group.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::future::join_all;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::FindCoordinatorRequest;
use kafka_protocol::protocol::StrBytes;
use trigon_core::name::GroupName;

use super::answer::unreached;
use crate::LogError;
use crate::kafka::wire::{Cluster, NodeId, Setback};

/// Groups that are looked up with one request, at most.
const LOOKUP: usize = 1_000;

/// The coordinators that are known, and how to find the others.
#[derive(Debug)]
pub(super) struct Coordinators {
    cluster: Cluster,
    known: Mutex<HashMap<GroupName, NodeId>>,
}

impl Coordinators {
    /// Knows none.
    pub(super) fn new(cluster: Cluster) -> Self {
        Self { cluster, known: Mutex::default() }
    }

    /// The coordinator of a group, if it is known.
    pub(super) fn known(&self, group: &GroupName) -> Option<NodeId> {
        self.lock().get(group).copied()
    }

    /// Forgets a group: it is deleted, or its coordinator is another now.
    pub(super) fn forget(&self, group: &GroupName) {
        self.lock().remove(group);
    }

    /// The coordinator of each group; asks for those that are not known.
    pub(super) async fn find(
        &self,
        groups: impl IntoIterator<Item = &GroupName>,
    ) -> HashMap<GroupName, Result<NodeId, Setback>> {
        let mut found = HashMap::new();
        let mut wanted = Vec::new();
        {
            let known = self.lock();
            for group in groups {
                match known.get(group) {
                    Some(node) => drop(found.insert(group.clone(), Ok(*node))),
                    None => wanted.push(group),
                }
            }
        }
        wanted.sort_unstable();
        wanted.dedup();
        for answer in join_all(wanted.chunks(LOOKUP).map(|groups| self.ask(groups))).await {
            found.extend(answer);
        }
        let mut known = self.lock();
        for group in wanted {
            if let Some(Ok(node)) = found.get(group) {
                known.insert(group.clone(), *node);
            }
        }
        drop(known);
        found
    }

    async fn ask(&self, groups: &[&GroupName]) -> Vec<(GroupName, Result<NodeId, Setback>)> {
        let key = |group: &&GroupName| StrBytes::from_string(group.as_str().to_owned());
        // Type 0 is a group of consumers.
        let request = FindCoordinatorRequest::default()
            .with_key_type(0)
            .with_coordinator_keys(groups.iter().map(key).collect());
        let answer = match self.cluster.ask_any(&request).await {
            Ok(answer) => answer,
            Err(error) => {
                let setback = |group: &&GroupName| ((*group).clone(), Err(unreached(group, &error)));
                return groups.iter().map(setback).collect();
            }
        };
        let told: HashMap<_, _> =
            answer.coordinators.iter().map(|coordinator| (&*coordinator.key, coordinator)).collect();
        let end = |group: &&GroupName| {
            let node = match told.get(group.as_str()) {
                None => Err(unknown(group, "the cluster did not tell it")),
                Some(coordinator) => match ResponseError::try_from_code(coordinator.error_code) {
                    None => {
                        let node = NodeId(coordinator.node_id.0);
                        self.cluster.note_node(node, &coordinator.host, coordinator.port);
                        Ok(node)
                    }
                    Some(
                        error @ (ResponseError::CoordinatorNotAvailable
                        | ResponseError::CoordinatorLoadInProgress),
                    ) => Err(unknown(group, &error.to_string())),
                    Some(ResponseError::GroupAuthorizationFailed) => {
                        Err(Setback::Lasting(LogError::Failed(format!(
                            "Read on group {group} is not allowed for us: could not find its coordinator"
                        ))))
                    }
                    Some(error) => Err(Setback::Lasting(LogError::Failed(format!(
                        "could not find the coordinator of group {group}: {error}"
                    )))),
                },
            };
            ((*group).clone(), node)
        };
        groups.iter().map(end).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<GroupName, NodeId>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A cluster that has just been set up creates its topic of offsets when it is first asked.
fn unknown(group: &GroupName, reason: &str) -> Setback {
    Setback::Passing(LogError::Failed(format!("could not find the coordinator of group {group}: {reason}")))
}
