//! The routing table, built from Broker and Trigger objects by one pure function.
//!
//! There is a table or there are problems, never both: a table without a Trigger that somebody wrote would drop
//! its events.

use std::collections::BTreeMap;
use std::sync::Arc;

use trigon_core::delivery::DeliveryPolicy;
use trigon_core::name::{BrokerId, Installation, TopicName, TriggerId};
use trigon_core::routing::{self, RoutingTable, TopicSettings};

use crate::api::{BrokerSpec, CONFIG_MAP, ConfigMap, DEFAULT_NAMESPACE, Reference};
use crate::config_map::{self, OF_THE_PROCESS};
use crate::destination::{self, Resolve};
use crate::file::{self, Located, Objects};
use crate::path::Path;
use crate::problem::{Findings, MAX_PROBLEMS, Problem};
use crate::topic::{TopicDraft, key_path};
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
    let (table, problems) = compile(installation, objects, Absent::Refused, resolve);
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
    load_where(installation, files, Absent::Refused, resolve)
}

/// The same for Triggers whose Brokers need not be among the files: those are taken to be as Brokers are that say
/// nothing. Nobody is to deliver by this table: an object that only a cluster can look up is taken for a subscriber.
///
/// # Errors
/// Everything else that is wrong with the files, sorted by place; at most [`MAX_PROBLEMS`].
pub fn load_triggers(
    installation: &Installation,
    files: &[(String, String)],
) -> Result<RoutingTable, Vec<Problem>> {
    load_where(installation, files, Absent::Assumed, &destination::anywhere)
}

fn load_where(
    installation: &Installation,
    files: &[(String, String)],
    absent: Absent,
    resolve: Resolve<'_>,
) -> Result<RoutingTable, Vec<Problem>> {
    let (objects, mut problems) = file::read(files);
    let (table, of_meaning) = compile(installation, &objects, absent, resolve);
    problems.extend(of_meaning);
    finish(table, problems)
}

/// What is not wrong with the files and yet may not do what somebody expects, sorted by place.
pub fn notes(files: &[(String, String)]) -> Vec<Problem> {
    // Most files have none, and reading them again costs time.
    if !files.iter().any(|(_, text)| text.contains(CONFIG_MAP)) {
        return Vec::new();
    }
    let (objects, _) = file::read(files);
    let named = objects.brokers.iter().filter_map(|broker| {
        let config = broker.object.spec.config.as_ref()?;
        objects.config_maps.iter().find(|map| is_meant(config, &map.object))
    });
    let mut notes = Vec::new();
    for map in named {
        for key in OF_THE_PROCESS.into_iter().filter(|key| map.object.data.contains_key(*key)) {
            let message =
                "decides nothing here: --kafka says where the cluster is, and --kafka-secret who we are";
            let note = map.remark(&key_path(key), message);
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
    }
    notes
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

/// What becomes of a Trigger whose Broker is not among the objects.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Absent {
    Refused,
    /// The Broker is somewhere else.
    Assumed,
}

#[derive(Default)]
struct Broker {
    topic_settings: TopicSettings,
    delivery: Option<DeliveryPolicy>,
    triggers: Vec<Arc<routing::Trigger>>,
}

fn compile(
    installation: &Installation,
    objects: &Objects,
    absent: Absent,
    resolve: Resolve<'_>,
) -> (RoutingTable, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut brokers = compile_brokers(installation, objects, resolve, &mut problems);
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
            if absent == Absent::Assumed {
                brokers.entry(broker.clone()).or_default();
            }
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
    installation: &Installation,
    objects: &Objects,
    resolve: Resolve<'_>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<BrokerId, Broker> {
    let mut brokers = BTreeMap::new();
    let mut origins = BTreeMap::new();
    let mut configs = BTreeMap::new();
    let mut topics = own_topics(installation, &objects.brokers);
    for located in &objects.brokers {
        let mut findings = Findings::default();
        let api::Broker { metadata, spec, .. } = &located.object;
        let id =
            metadata::id(metadata, &mut findings).map(|(namespace, name)| BrokerId::new(namespace, name));
        let draft = annotation::topic_draft(&metadata.annotations, &mut findings);
        let BrokerSpec { config, delivery } = spec;
        let spec = Path::of(&["spec"]);
        if let Some(config) = config {
            destination::require(config, &spec.name("config"), &mut findings);
        }
        let config = config.as_ref().and_then(|config| configured(config, objects, &mut configs, problems));
        let config = config.as_ref().map(|(name, draft)| (name.as_str(), draft));
        let topic_settings = draft.settle(config, &mut findings);
        if let (Some(id), Some(topic)) = (&id, &topic_settings.external) {
            let own = format!("Broker {id}");
            let taken = topics.entry(topic.clone()).or_insert_with(|| own.clone());
            if *taken != own {
                let message = format!("topic {topic} is that of {taken} already; name another one");
                findings.refuse(&annotation::path(annotation::EXTERNAL_TOPIC), message);
            }
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

/// The topics that Trigon keeps for the Brokers, which are nobody's external ones, and whose they are.
fn own_topics(installation: &Installation, brokers: &[Located<api::Broker>]) -> BTreeMap<TopicName, String> {
    let mut topics = BTreeMap::new();
    for located in brokers {
        let metadata = &located.object.metadata;
        let id = metadata::id(metadata, &mut Findings::default());
        let Some((namespace, name)) = id else { continue };
        let id = BrokerId::new(namespace, name);
        topics.insert(installation.parked_topic(&id), format!("the parked events of Broker {id}"));
        if !metadata.annotations.contains_key(annotation::EXTERNAL_TOPIC) {
            topics.insert(installation.topic(&id), format!("Broker {id}"));
        }
    }
    topics
}

/// What the ConfigMap says that is referred to, and its name; `None` when it is not among the files.
///
/// What is wrong with it is said once, however many Brokers name it.
fn configured(
    reference: &Reference,
    objects: &Objects,
    known: &mut BTreeMap<(String, String), TopicDraft>,
    problems: &mut Vec<Problem>,
) -> Option<(String, TopicDraft)> {
    let mut meant = objects.config_maps.iter().filter(|map| is_meant(reference, &map.object));
    let located = meant.next()?;
    let (namespace, name) = (reference.namespace.clone()?, reference.name.clone()?);
    let shown = format!("{namespace}/{name}");
    let draft = known.entry((namespace, name)).or_insert_with(|| {
        let mut findings = Findings::default();
        let draft = config_map::topic_draft(&located.object.data, &mut findings);
        problems.extend(located.misfits());
        problems.extend(findings.into_iter().filter_map(|finding| located.problem(finding)));
        for other in meant {
            let message =
                format!("the ConfigMap {shown} is already at {}; rename or remove one", located.origin());
            problems.push(other.remark(&Path::of(&["metadata", "name"]), &message));
        }
        draft
    });
    Some((shown, draft.clone()))
}

fn is_meant(reference: &Reference, map: &ConfigMap) -> bool {
    reference.kind.as_deref() == Some(CONFIG_MAP)
        && reference.name.is_some()
        && reference.name == map.metadata.name
        && reference.namespace == map.metadata.namespace
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
