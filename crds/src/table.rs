//! The routing table, built from Broker and Trigger objects by one pure function.
//!
//! There is a table or there are problems, never both: a table without a Trigger that somebody wrote would drop
//! its events.

use std::collections::BTreeMap;
use std::sync::Arc;

use trigon_core::delivery::DeliveryPolicy;
use trigon_core::name::{BrokerId, Installation, TriggerId};
use trigon_core::routing::{self, RoutingTable, TopicSettings};

use crate::api::{BrokerSpec, DEFAULT_NAMESPACE};
use crate::destination::{self, Resolve};
use crate::file::{self, Located, Objects};
use crate::path::Path;
use crate::problem::{Findings, MAX_PROBLEMS, Problem};
use crate::trigger::{self, Trigger};
use crate::{annotation, api, delivery, metadata};

/// The name of the Broker that is there when nobody wrote one.
pub const BUILT_IN_BROKER: &str = "default";

/// Builds the table of these objects.
///
/// # Errors
/// Everything that is wrong with them, sorted by place; at most [`MAX_PROBLEMS`].
pub fn build(
    installation: &Installation,
    objects: &Objects,
    resolve: Resolve<'_>,
) -> Result<RoutingTable, Vec<Problem>> {
    let (table, problems) = compile(installation, objects, resolve);
    finish(table, problems)
}

/// Reads files and builds their table: [`parse`](crate::parse) and [`build`] at once, so that what is wrong with
/// the form of some documents and with the meaning of others is reported together.
///
/// # Errors
/// Everything that is wrong with the files, sorted by place; at most [`MAX_PROBLEMS`].
pub fn load(
    installation: &Installation,
    files: &[(String, String)],
    resolve: Resolve<'_>,
) -> Result<RoutingTable, Vec<Problem>> {
    let (objects, mut problems) = file::read(files);
    let (table, of_meaning) = compile(installation, &objects, resolve);
    problems.extend(of_meaning);
    finish(table, problems)
}

/// The table when there are no files: one Broker, `default/default`, without Triggers.
pub fn built_in(installation: &Installation) -> RoutingTable {
    let id = BrokerId::new(DEFAULT_NAMESPACE, BUILT_IN_BROKER);
    let broker = routing::Broker::new(installation, id.clone(), TopicSettings::default(), Vec::new());
    RoutingTable { brokers: BTreeMap::from([(id, Arc::new(broker))]) }
}

fn finish(table: RoutingTable, mut problems: Vec<Problem>) -> Result<RoutingTable, Vec<Problem>> {
    if problems.is_empty() {
        return Ok(table);
    }
    problems.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    problems.truncate(MAX_PROBLEMS);
    Err(problems)
}

struct Broker {
    topic_settings: TopicSettings,
    delivery: Option<DeliveryPolicy>,
    triggers: Vec<Arc<routing::Trigger>>,
}

fn compile(
    installation: &Installation,
    objects: &Objects,
    resolve: Resolve<'_>,
) -> (RoutingTable, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut brokers = compile_brokers(&objects.brokers, resolve, &mut problems);
    let mut origins = BTreeMap::new();
    for located in &objects.triggers {
        let mut findings = Findings::default();
        let metadata = &located.object.metadata;
        let id =
            metadata::id(metadata, &mut findings).map(|(namespace, name)| TriggerId::new(namespace, name));
        let is_first =
            id.as_ref().is_none_or(|id| is_first("Trigger", id, located, &mut origins, &mut findings));
        let compiled = trigger::compile(&located.object, resolve, &mut findings);
        if let (Some(id), Some(broker)) = (id, &compiled.broker) {
            let broker = BrokerId::new(&id.namespace, broker);
            match brokers.get_mut(&broker) {
                Some(known) if is_first => {
                    known.triggers.extend(
                        route(installation, id, broker, compiled, known.delivery.as_ref()).map(Arc::new),
                    );
                }
                Some(_) => {}
                None if objects.is_partial => {}
                None => {
                    findings.refuse(&trigger::broker_path(&located.object), missing(&broker, brokers.keys()))
                }
            }
        }
        problems.extend(findings.into_iter().filter_map(|finding| located.problem(finding)));
    }
    let brokers = brokers.into_iter().map(|(id, broker)| {
        (id.clone(), Arc::new(routing::Broker::new(installation, id, broker.topic_settings, broker.triggers)))
    });
    (RoutingTable { brokers: brokers.collect() }, problems)
}

fn compile_brokers(
    objects: &[Located<api::Broker>],
    resolve: Resolve<'_>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<BrokerId, Broker> {
    let mut brokers = BTreeMap::new();
    let mut origins = BTreeMap::new();
    for located in objects {
        let mut findings = Findings::default();
        let api::Broker { metadata, spec, .. } = &located.object;
        let id =
            metadata::id(metadata, &mut findings).map(|(namespace, name)| BrokerId::new(namespace, name));
        let topic_settings = annotation::topic_settings(&metadata.annotations, &mut findings);
        let BrokerSpec { config, delivery } = spec;
        let spec = Path::of(&["spec"]);
        if let Some(config) = config {
            destination::require(config, &spec.name("config"), &mut findings);
        }
        let delivery = delivery::compile(delivery.as_ref(), &spec.name("delivery"), resolve, &mut findings);
        if let Some(id) = id
            && is_first("Broker", &id, located, &mut origins, &mut findings)
        {
            brokers.insert(id, Broker { topic_settings, delivery, triggers: Vec::new() });
        }
        problems.extend(findings.into_iter().filter_map(|finding| located.problem(finding)));
    }
    brokers
}

/// Whether no object of that name came before; otherwise that is noted.
fn is_first<I: Ord + Clone + ToString, T>(
    kind: &str,
    id: &I,
    located: &Located<T>,
    origins: &mut BTreeMap<I, String>,
    findings: &mut Findings,
) -> bool {
    let Some(origin) = origins.get(id) else {
        origins.insert(id.clone(), located.origin());
        return true;
    };
    let message = format!("the {kind} {} is already at {origin}; rename or remove one", id.to_string());
    findings.refuse(&Path::of(&["metadata", "name"]), message);
    false
}

/// The Trigger to route by; `None` when a part of it was wrong.
fn route(
    installation: &Installation,
    id: TriggerId,
    broker: BrokerId,
    compiled: Trigger,
    of_broker: Option<&DeliveryPolicy>,
) -> Option<routing::Trigger> {
    Some(routing::Trigger {
        group: installation.group(&broker, &id),
        id,
        broker,
        filter: compiled.filter,
        subscriber: compiled.subscriber?,
        delivery: delivery::effective(compiled.delivery, of_broker),
        order: compiled.settings.order,
        concurrency: compiled.settings.concurrency,
        rate: compiled.settings.rate,
        start_from: compiled.settings.start_from,
        state: compiled.settings.state,
    })
}

/// What to say of a Broker that is not there.
fn missing<'a>(broker: &BrokerId, known: impl Iterator<Item = &'a BrokerId>) -> String {
    const SHOWN: usize = 10;
    let known: Vec<_> = known.collect();
    let none = format!("there is no Broker {:?} in namespace {:?}", broker.name, broker.namespace);
    if let Some(elsewhere) = known.iter().find(|known| known.name == broker.name) {
        let namespace = &elsewhere.namespace;
        return format!(
            "{none}, but there is one in namespace {namespace:?}; a Trigger belongs in the namespace of its Broker: \
             write metadata.namespace: {namespace}"
        );
    }
    let mut names: Vec<_> = known
        .iter()
        .filter(|known| known.namespace == broker.namespace)
        .take(SHOWN + 1)
        .map(|known| known.name.as_str())
        .collect();
    if names.is_empty() {
        return format!("{none}; add a document of kind Broker with this name");
    }
    if names.len() > SHOWN {
        names[SHOWN] = "…";
    }
    format!("{none}; there {} {}", if names.len() == 1 { "is" } else { "are" }, names.join(", "))
}
