//! What every way to run Trigon can do, so that the same cases run on each of them.

use std::time::Duration;

use crate::admin::TriggerStatus;
use crate::producer::Producer;
use crate::routes::Object;
use crate::wait;

/// How long a backlog may take: a debug binary on a busy machine works off hundreds of events per second at least.
const DRAINING: Duration = Duration::from_secs(180);

/// A running Trigon with its routes, its data, and addresses that stay.
#[expect(async_fn_in_trait, reason = "tests await it where they are and send it nowhere")]
pub trait Deployment: Sized {
    /// Starts with these routes and no data, and waits until it is ready.
    async fn start(routes: &[Object]) -> Self;

    /// Replaces the routes and waits until they are in force.
    async fn apply(&mut self, routes: &[Object]);

    /// Drains: asks it to stop, and waits until it has.
    async fn stop(&mut self);

    /// Kills it without warning.
    async fn kill(&mut self);

    /// Starts it again with the data and the addresses it had, and waits until it is ready.
    async fn restart(&mut self);

    /// Where a Broker of the namespace `default` takes events.
    fn broker_url(&self, broker: &str) -> String;

    /// The admin addresses of the processes that deliver, as `HOST:PORT`.
    fn admin_addresses(&self) -> Vec<String>;

    /// How the Triggers stand, by `namespace/name`.
    ///
    /// # Errors
    /// When it does not answer.
    async fn triggers(&self) -> Result<Vec<(String, TriggerStatus)>, String>;

    /// A producer for the Broker `default`.
    fn producer(&self) -> Producer {
        Producer::new(self.broker_url("default"))
    }

    /// Waits until every Trigger delivers by its current routes.
    ///
    /// # Panics
    /// When that takes longer than the deadline.
    async fn triggers_ready(&self) {
        wait::until("the triggers to be ready", async || {
            let triggers = self.triggers().await?;
            if triggers.iter().all(|(_, status)| status.is_ready()) {
                Ok(())
            } else {
                Err(format!("{triggers:?}"))
            }
        })
        .await;
    }

    /// Waits until every Trigger has finished everything that was accepted, so that what has not arrived by now
    /// never will.
    ///
    /// # Panics
    /// When that takes longer than the deadline.
    async fn settled(&self) {
        wait::within(DRAINING, "all triggers to have nothing left to do", async || {
            let triggers = self.triggers().await?;
            let busy: Vec<_> = triggers.iter().filter(|(_, status)| !status.is_settled()).collect();
            if busy.is_empty() { Ok(()) } else { Err(format!("{busy:?}")) }
        })
        .await;
    }

    /// Waits until a Trigger of the namespace `default` stands as `wanted`.
    ///
    /// # Panics
    /// When that takes longer than the deadline.
    async fn trigger(
        &self,
        name: &str,
        what: &str,
        wanted: impl Fn(&TriggerStatus) -> bool,
    ) -> TriggerStatus {
        let id = format!("default/{name}");
        wait::within(DRAINING, &format!("trigger {id}: {what}"), async || {
            let triggers = self.triggers().await?;
            let found = triggers.into_iter().find(|(known, _)| *known == id);
            let (_, status) = found.ok_or_else(|| "it is not there".to_owned())?;
            if wanted(&status) { Ok(status) } else { Err(format!("{status:?}")) }
        })
        .await
    }
}
