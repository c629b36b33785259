//! Triggers of files, tried by a running Trigon on events that it has.

use serde_json::json;
use trigon_core::name::{BrokerId, TriggerId};
use trigon_core::routing::RoutingTable;
use trigon_crds::Objects;
use trigon_crds::api::Trigger;

use crate::admin::lab::MAX_TRIGGERS;
use crate::admin::lab::view::LabView;
use crate::failure::Failure;
use crate::remote::{Remote, encoded};

/// How often a part after the first is asked for again while the lab is somebody else's.
const PATIENCE: u32 = 30;

/// What is to be tried, and on what.
pub(super) struct Tried<'a> {
    pub(super) broker: &'a BrokerId,
    pub(super) last: u64,
    /// The Triggers as they are written.
    pub(super) objects: &'a Objects,
    /// What they mean.
    pub(super) table: &'a RoutingTable,
}

impl Tried<'_> {
    /// Asks for all Triggers of the Broker, as many at once as one question takes.
    pub(super) async fn ask(&self, remote: &Remote) -> Result<LabView, Failure> {
        let mine: Vec<&Trigger> =
            self.objects.triggers().filter(|trigger| self.is_of_broker(trigger)).collect();
        if mine.is_empty() {
            return Err(Failure::Failed(self.none()));
        }
        let path = format!(
            "/v1/brokers/{}/{}/lab?last={}",
            encoded(&self.broker.namespace),
            encoded(&self.broker.name),
            self.last
        );
        let mut whole: Option<LabView> = None;
        for triggers in mine.chunks(MAX_TRIGGERS) {
            let list = json!({"apiVersion": "v1", "kind": "List", "items": triggers});
            // The first finds out at once when somebody else has a lab; the others have begun.
            let patience = if whole.is_some() { PATIENCE } else { 0 };
            let line = remote.post(&path, &list, patience).await?.next().await?;
            let view: LabView = serde_json::from_slice(&line)
                .map_err(|error| Failure::of("could not read what became of the filters", &error))?;
            if let Some(error) = &view.error {
                let message = format!("stopped after {} events: {error}", view.events);
                return Err(Failure::Failed(message));
            }
            match &mut whole {
                // Each part has seen the events that were the last ones by then.
                Some(whole) => whole.triggers.extend(view.triggers),
                None => whole = Some(view),
            }
        }
        let skipped = self.table.brokers.values().filter(|broker| broker.id != *self.broker);
        let skipped = skipped.flat_map(|broker| &broker.triggers).map(|trigger| trigger.id.to_string());
        Ok(LabView { skipped: skipped.collect(), ..whole.unwrap_or_default() })
    }

    fn is_of_broker(&self, trigger: &Trigger) -> bool {
        let metadata = &trigger.metadata;
        let (Some(namespace), Some(name)) = (&metadata.namespace, &metadata.name) else { return false };
        let id = TriggerId::new(namespace, name);
        self.table.trigger(&id).is_some_and(|(broker, _)| broker.id == *self.broker)
    }

    /// What to say when none of the Triggers is of the Broker.
    fn none(&self) -> String {
        let others = self.table.brokers.values().filter(|broker| !broker.triggers.is_empty());
        let others: Vec<_> = others.map(|broker| broker.id.to_string()).collect();
        match &others[..] {
            [] => "there is no Trigger in these files".to_owned(),
            others => format!(
                "there is no Trigger of broker {} in these files; theirs: {}",
                self.broker,
                others.join(", ")
            ),
        }
    }
}
