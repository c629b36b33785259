//! Which Brokers of the routing table are served: those whose topic is there and whose Triggers all have their
//! place in the log. An event that is accepted earlier could be missed by a Trigger.
//!
//! Asks the log, which tells the same to every process, whoever dispatches. A Broker that was served goes on being
//! served as it was until what it has become can be, unless its topic has changed.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::time::sleep;
use trigon_core::name::{BrokerId, GroupName};
use trigon_core::routing::{Broker, RoutingTable};
use trigon_eventlog::{SharedLog, Unplaced, places};
use trigon_ingress::{Served, Waiting};
use trigon_runtime::readiness::CheckState;
use trigon_runtime::shutdown::Drain;

/// The first wait before the log is asked again about Brokers that are not served; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(20);

/// The longest wait before the log is asked again.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// How many Brokers are named where all are meant.
const NAMED: usize = 5;

/// The handle of what is served. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Serving {
    served: Arc<ArcSwap<Served>>,
    wanted: watch::Sender<Arc<RoutingTable>>,
    whole: watch::Receiver<Option<Arc<RoutingTable>>>,
}

/// The task behind it.
pub(crate) struct ServingTask {
    log: SharedLog,
    served: Arc<ArcSwap<Served>>,
    wanted: watch::Receiver<Arc<RoutingTable>>,
    whole: watch::Sender<Option<Arc<RoutingTable>>>,
    /// The groups of Triggers that have their places, and are not asked for again.
    placed: HashSet<GroupName>,
}

impl Serving {
    /// Nothing is served until the task has asked the log.
    pub(crate) fn new(log: SharedLog, table: Arc<RoutingTable>) -> (Self, ServingTask) {
        let reason: Arc<str> = "the process is starting".into();
        let waiting = |(id, broker): (&BrokerId, &Arc<Broker>)| {
            (id.clone(), Waiting { broker: Arc::clone(broker), reason: Arc::clone(&reason) })
        };
        let waiting = table.brokers.iter().map(waiting).collect();
        let served = Arc::new(ArcSwap::from_pointee(Served { waiting, ..Served::default() }));
        let (wanted, table) = watch::channel(table);
        let (whole_sender, whole) = watch::channel(None);
        let task = ServingTask {
            log,
            served: Arc::clone(&served),
            wanted: table,
            whole: whole_sender,
            placed: HashSet::new(),
        };
        (Self { served, wanted, whole }, task)
    }

    /// What the ingress looks at.
    pub(crate) fn served(&self) -> &Arc<ArcSwap<Served>> {
        &self.served
    }

    /// Wants another table to be served, as far as it can be.
    pub(crate) fn want(&self, table: &Arc<RoutingTable>) {
        self.wanted.send_if_modified(|wanted| {
            let is_other = !Arc::ptr_eq(wanted, table);
            wanted.clone_from(table);
            is_other
        });
    }

    /// Waits until all Brokers of this table are served.
    pub(crate) async fn whole(&self, table: &Arc<RoutingTable>) {
        let mut whole = self.whole.clone();
        let is_it =
            |whole: &Option<Arc<RoutingTable>>| whole.as_ref().is_some_and(|whole| Arc::ptr_eq(whole, table));
        if whole.wait_for(is_it).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Why a Broker is not served yet, when it is not.
    pub(crate) fn waiting(&self, id: &BrokerId) -> Option<String> {
        self.served.load().waiting.get(id).map(|waiting| waiting.reason.to_string())
    }

    /// Which Brokers are not served and why; `None` when all are.
    pub(crate) fn missing(&self) -> Option<String> {
        let served = self.served.load();
        let waiting = served.waiting.iter().take(NAMED);
        let mut named: Vec<_> = waiting.map(|(id, waiting)| format!("{id}: {}", waiting.reason)).collect();
        if let Some(more @ 1..) = served.waiting.len().checked_sub(NAMED) {
            named.push(format!("and {more} more"));
        }
        (!named.is_empty()).then(|| named.join("; "))
    }

    /// Whether the process is ready for events: not while it serves none of its Brokers.
    pub(crate) fn check(&self) -> CheckState {
        match self.missing() {
            None => CheckState::Ready,
            Some(missing) if self.served.load().table.brokers.is_empty() => CheckState::NotReady(missing),
            Some(missing) => CheckState::ReadyExcept(missing),
        }
    }
}

impl ServingTask {
    /// Follows the wanted table until the drain.
    pub(crate) async fn run(mut self, drain: Drain) {
        let mut wait = FIRST_WAIT;
        let mut table = self.wanted.borrow_and_update().clone();
        let mut complete = HashSet::new();
        loop {
            let missing = self.look(&table, &mut complete).await;
            let is_whole = missing.is_empty();
            self.publish(&table, missing);
            if is_whole {
                self.whole.send_replace(Some(Arc::clone(&table)));
            }
            tokio::select! {
                biased;
                () = drain.draining() => return,
                changed = self.wanted.changed() => match changed {
                    Ok(()) => {
                        table = self.wanted.borrow_and_update().clone();
                        self.forget_groups_that_are_not_in(&table);
                        complete.clear();
                        wait = FIRST_WAIT;
                    }
                    // Nobody can want anything else any more.
                    Err(_) if is_whole => return,
                    Err(_) => {}
                },
                () = sleep(wait), if !is_whole => wait = (2 * wait).min(LONGEST_WAIT),
            }
        }
    }

    /// Asks the log for what the Brokers of the table need that are not complete; the reasons of those that lack
    /// something.
    async fn look(
        &mut self,
        table: &RoutingTable,
        complete: &mut HashSet<BrokerId>,
    ) -> BTreeMap<BrokerId, String> {
        let mut missing = BTreeMap::new();
        for (id, answer) in places(&*self.log, table, &self.placed, complete).await {
            let broker = &table.brokers[&id];
            match answer {
                Ok(()) => {
                    self.placed.extend(broker.triggers.iter().map(|trigger| trigger.group.clone()));
                    complete.insert(id);
                }
                Err(unplaced) => {
                    missing.insert(id, reason(broker, &unplaced));
                }
            }
        }
        missing
    }

    /// A Trigger that comes back is asked about anew.
    fn forget_groups_that_are_not_in(&mut self, table: &RoutingTable) {
        let triggers = table.brokers.values().flat_map(|broker| &broker.triggers);
        let there: HashSet<_> = triggers.map(|trigger| &trigger.group).collect();
        self.placed.retain(|group| there.contains(group));
    }

    fn publish(&self, table: &RoutingTable, missing: BTreeMap<BrokerId, String>) {
        let before = self.served.load_full();
        for (id, reason) in &missing {
            let known = before.waiting.get(id).is_some_and(|waiting| *waiting.reason == **reason);
            if !known && !before.table.brokers.contains_key(id) {
                tracing::info!(broker = %id, reason, "the broker takes no events yet");
            }
        }
        let served = next(&before, table, missing);
        for (id, waiting) in &served.waiting {
            if let Some(as_it_was) = before.table.brokers.get(id) {
                let (old, new, reason) = (&as_it_was.topic, &waiting.broker.topic, &waiting.reason);
                tracing::warn!(
                    broker = %id, %old, %new, %reason,
                    "the topic of the broker has changed: it takes no events until the new one can be used, and \
                     what is undelivered in the old one is delivered by nobody"
                );
            }
        }
        for id in served.table.brokers.keys().filter(|id| before.waiting.contains_key(*id)) {
            tracing::info!(broker = %id, "the broker takes events");
        }
        self.served.store(Arc::new(served));
    }
}

/// What is served next.
fn next(before: &Served, wanted: &RoutingTable, mut missing: BTreeMap<BrokerId, String>) -> Served {
    let mut next = Served::default();
    for (id, broker) in &wanted.brokers {
        match (missing.remove(id), before.table.brokers.get(id)) {
            (None, _) => {
                next.table.brokers.insert(id.clone(), Arc::clone(broker));
            }
            (Some(_), Some(as_it_was)) if as_it_was.topic == broker.topic => {
                next.table.brokers.insert(id.clone(), Arc::clone(as_it_was));
            }
            // What is accepted into a topic that the table no longer names is dispatched by nobody.
            (Some(reason), _) => {
                let waiting = Waiting { broker: Arc::clone(broker), reason: reason.into() };
                next.waiting.insert(id.clone(), waiting);
            }
        }
    }
    next
}

/// What a Broker lacks, and who is to see to it.
fn reason(broker: &Broker, unplaced: &Unplaced) -> String {
    match (unplaced, &broker.topic_settings.external) {
        (Unplaced::NoTopic(_), Some(_)) => {
            format!("{unplaced}, and it is external: somebody else has to create it")
        }
        (Unplaced::NoTopic(_), None) => format!("{unplaced} yet; a dispatcher creates it"),
        (Unplaced::Trigger { .. }, _) => format!("{unplaced}; a dispatcher gives it one"),
        (Unplaced::Log(_), _) => unplaced.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use trigon_core::name::{Installation, TopicName};
    use trigon_core::routing::TopicSettings;

    use super::*;

    fn broker(name: &str) -> (BrokerId, Arc<Broker>) {
        let id = BrokerId::new("ns", name);
        let broker = Broker::new(&Installation::default(), id.clone(), TopicSettings::default(), Vec::new());
        (id, Arc::new(broker))
    }

    fn missing(names: &[&str]) -> BTreeMap<BrokerId, String> {
        names.iter().map(|name| (BrokerId::new("ns", *name), "no topic".to_owned())).collect()
    }

    #[test]
    fn a_broker_waits_until_nothing_is_missing_and_one_that_was_served_stays_as_it_was() {
        let names = |served: &Served| {
            let name = |id: &BrokerId| id.name.clone();
            (
                served.table.brokers.keys().map(name).collect::<Vec<_>>().join(" "),
                served.waiting.keys().map(name).collect::<Vec<_>>().join(" "),
            )
        };
        let table =
            |names: &[&str]| RoutingTable { brokers: names.iter().map(|name| broker(name)).collect() };
        let first = next(&Served::default(), &table(&["a", "b"]), missing(&["b"]));
        assert_eq!(names(&first), ("a".to_owned(), "b".to_owned()));
        let edited = table(&["a", "b", "c"]);
        let second = next(&first, &edited, missing(&["a", "c"]));
        assert_eq!(names(&second), ("a b".to_owned(), "c".to_owned()));
        let a = BrokerId::new("ns", "a");
        assert!(Arc::ptr_eq(&second.table.brokers[&a], &first.table.brokers[&a]));
        let third = next(&second, &edited, missing(&[]));
        assert_eq!(names(&third), ("a b c".to_owned(), String::new()));
        assert!(Arc::ptr_eq(&third.table.brokers[&a], &edited.brokers[&a]));
        let fourth = next(&third, &table(&["c"]), missing(&["c"]));
        assert_eq!(names(&fourth), ("c".to_owned(), String::new()));
    }

    #[test]
    fn a_broker_whose_topic_has_changed_waits_for_the_new_one() {
        let (id, as_it_was) = broker("a");
        let external = Some(TopicName::external("orders"));
        let settings = TopicSettings { external, ..TopicSettings::default() };
        let changed = Arc::new(Broker::new(&Installation::default(), id.clone(), settings, Vec::new()));
        let table = |broker: &Arc<Broker>| RoutingTable {
            brokers: [(id.clone(), Arc::clone(broker))].into_iter().collect(),
        };
        let first = next(&Served::default(), &table(&as_it_was), missing(&[]));
        let second = next(&first, &table(&changed), missing(&["a"]));
        assert!(second.table.brokers.is_empty());
        assert!(Arc::ptr_eq(&second.waiting[&id].broker, &changed));
        let third = next(&second, &table(&changed), missing(&[]));
        assert!(Arc::ptr_eq(&third.table.brokers[&id], &changed) && third.waiting.is_empty());
    }
}
