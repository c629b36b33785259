//! Puts a routing table in force: first where events are delivered, then where they are accepted.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::time::timeout;
use trigon_core::routing::RoutingTable;
use trigon_dispatcher::Dispatcher;
use trigon_ingress::Ingress;

use crate::routes::Apply;

/// How long the dispatcher may take to create topics and to place new Triggers.
const PATIENCE: Duration = Duration::from_secs(10);

/// Those who route.
pub(super) struct InForce {
    /// What the ingress and the admin port route by.
    pub(super) serving: Arc<ArcSwap<RoutingTable>>,
    /// What the dispatcher is to route by.
    pub(super) offered: watch::Sender<Arc<RoutingTable>>,
    /// Says when it does.
    pub(super) dispatcher: Dispatcher,
    /// Forgets Brokers that are gone.
    pub(super) ingress: Ingress,
}

impl Apply for InForce {
    async fn apply(&self, table: RoutingTable) -> Result<(), String> {
        let table = Arc::new(table);
        self.offered.send_replace(Arc::clone(&table));
        // Were a new Broker's events accepted earlier, its Triggers could start behind them.
        if timeout(PATIENCE, self.dispatcher.table_ready(&table)).await.is_err() {
            return Err(format!(
                "the new routes could not be prepared within {PATIENCE:?}: the log may be full, see the lines before"
            ));
        }
        let before = self.serving.swap(Arc::clone(&table));
        for gone in before.brokers.keys().filter(|id| !table.brokers.contains_key(*id)) {
            tracing::info!(broker = %gone, "the broker is gone; its events stay in the log");
            self.ingress.forget(gone);
        }
        Ok(())
    }
}
