//! Puts a routing table in force: where events are delivered, where they are accepted, and where they are shown.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::timeout;
use trigon_core::routing::RoutingTable;
use trigon_ingress::Ingress;

use super::Dispatching;
use crate::routes::Apply;
use crate::serving::Serving;

/// How long a new table may take: topics are created, and new Triggers get their places.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a table is waited for that has been tried before: changes of the files are not seen meanwhile.
const PATIENCE_AGAIN: Duration = Duration::from_secs(1);

/// Those who route.
pub(super) struct InForce {
    /// What is accepted.
    pub(super) serving: Serving,
    /// What is delivered, where this process delivers.
    pub(super) dispatching: Option<Dispatching>,
    /// Forgets Brokers that are gone.
    pub(super) ingress: Option<Ingress>,
    /// What the admin port shows.
    pub(super) shown: Arc<ArcSwap<RoutingTable>>,
    /// What was tried last.
    pub(super) tried: Mutex<Option<Arc<RoutingTable>>>,
}

impl InForce {
    /// Waits until this process routes by the table, as far as it is concerned, and all Brokers are served.
    pub(super) async fn whole(&self, table: &Arc<RoutingTable>) {
        if let Some(Dispatching { dispatcher, .. }) = &self.dispatching {
            dispatcher.table_ready(table).await;
        }
        self.serving.whole(table).await;
    }

    /// What is not in force, in words.
    pub(super) fn missing(&self) -> String {
        // The dispatcher knows better why it has not done something.
        let unserved = self.dispatching.iter().flat_map(|dispatching| dispatching.dispatcher.unserved());
        let unserved: Vec<_> = unserved.map(|(broker, reason)| format!("{broker}: {reason}")).collect();
        if unserved.is_empty() { self.serving.missing().unwrap_or_default() } else { unserved.join("; ") }
    }

    /// Whether the table is tried for the first time.
    fn is_new(&self, table: &Arc<RoutingTable>) -> bool {
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        let before = tried.replace(Arc::clone(table));
        before.is_none_or(|before| !Arc::ptr_eq(&before, table))
    }
}

impl Apply for InForce {
    async fn apply(&self, table: &Arc<RoutingTable>) -> Result<(), String> {
        let is_new = self.is_new(table);
        if is_new {
            if let Some(Dispatching { offered, .. }) = &self.dispatching {
                offered.send_replace(Arc::clone(table));
            }
            self.serving.want(table);
        }
        let patience = if is_new { PATIENCE } else { PATIENCE_AGAIN };
        let waited = timeout(patience, self.whole(table)).await;
        // What can be in force is, whatever else is missing.
        let before = self.shown.swap(Arc::clone(table));
        for gone in before.brokers.keys().filter(|id| !table.brokers.contains_key(*id)) {
            tracing::info!(broker = %gone, "the broker is gone; its events stay in the log");
            if let Some(ingress) = &self.ingress {
                ingress.forget(gone);
            }
        }
        waited.map_err(|_| self.missing())
    }
}
