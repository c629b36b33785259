//! One Trigger, compiled on its own: everything but what depends on other objects.

use serde::Deserialize;
use trigon_core::delivery::{DeliveryPolicy, Destination};
use trigon_core::filter::Filter;

use crate::annotation::{self, TriggerSettings};
use crate::api::{self, API_VERSION, BROKER, Reference};
use crate::destination::{self, Resolve};
use crate::path::Path;
use crate::problem::Findings;
use crate::{delivery, filter};

/// Upstream's annotation with an object that must be ready before the Trigger is.
pub const DEPENDENCY: &str = "knative.dev/dependency";

/// Upstream's annotation that asks for a Broker named `default`.
pub const INJECTION: &str = "eventing.knative.dev/injection";

/// The parts of a Trigger.
#[derive(Debug)]
pub(crate) struct Trigger {
    /// The name of its Broker, in its own namespace.
    pub(crate) broker: Option<String>,
    /// Which events it wants.
    pub(crate) filter: Filter,
    /// Where it sends them.
    pub(crate) subscriber: Option<Destination>,
    /// Its own delivery, when it sets one.
    pub(crate) delivery: Option<DeliveryPolicy>,
    /// Its annotations.
    pub(crate) settings: TriggerSettings,
}

/// Compiles a Trigger; what is wrong is noted.
pub(crate) fn compile(trigger: &api::Trigger, resolve: Resolve<'_>, findings: &mut Findings) -> Trigger {
    let spec = Path::of(&["spec"]);
    check_annotations(trigger, findings);
    let subscriber_path = spec.name("subscriber");
    let subscriber = match &trigger.spec.subscriber {
        Some(subscriber) => destination::compile(subscriber, &subscriber_path, resolve, findings),
        None => {
            // VAL-29
            findings.refuse(&subscriber_path, "is missing; write uri: http://HOST:PORT/PATH below it");
            None
        }
    };
    Trigger {
        broker: broker(trigger, findings),
        filter: filter::compile(
            trigger.spec.filter.as_ref(),
            trigger.spec.filters.as_deref(),
            &spec,
            findings,
        ),
        subscriber,
        delivery: delivery::compile(
            trigger.spec.delivery.as_ref(),
            &spec.name("delivery"),
            resolve,
            findings,
        ),
        settings: annotation::trigger_settings(&trigger.metadata.annotations, findings),
    }
}

/// The field that names the Broker.
pub(crate) fn broker_path(trigger: &api::Trigger) -> Path {
    match trigger.spec.broker_ref {
        Some(_) => Path::of(&["spec", "brokerRef", "name"]),
        None => Path::of(&["spec", "broker"]),
    }
}

/// VAL-19, VAL-20, X-01
pub(crate) fn broker(trigger: &api::Trigger, findings: &mut Findings) -> Option<String> {
    let broker = trigger.spec.broker.as_deref().filter(|name| !name.is_empty());
    let path = Path::of(&["spec", "brokerRef"]);
    match (broker, &trigger.spec.broker_ref) {
        (Some(broker), None) => Some(broker.to_owned()),
        (None, None) => {
            findings.refuse(&broker_path(trigger), "is missing; name the Broker, such as broker: default");
            None
        }
        (Some(_), Some(_)) => {
            findings.refuse(&path, "cannot stand beside spec.broker; remove one of them");
            None
        }
        (None, Some(reference)) => referred(reference, &path, findings),
    }
}

fn referred(reference: &Reference, path: &Path, findings: &mut Findings) -> Option<String> {
    for (field, value, expected) in
        [("kind", &reference.kind, BROKER), ("apiVersion", &reference.api_version, API_VERSION)]
    {
        if let Some(value) = value.as_deref().filter(|value| *value != expected) {
            findings.refuse(&path.name(field), format!("{value:?} is not a Broker's; write {expected}"));
        }
    }
    if reference.namespace.is_some() {
        let message = "a Trigger takes events of a Broker in its own namespace only; remove the field";
        findings.refuse(&path.name("namespace"), message);
    }
    let name = reference.name.clone().filter(|name| !name.is_empty());
    if name.is_none() {
        findings.refuse(&path.name("name"), "is missing; name the Broker");
    }
    name
}

/// VAL-27, VAL-28
fn check_annotations(trigger: &api::Trigger, findings: &mut Findings) {
    let annotations = &trigger.metadata.annotations;
    if let Some(injection) = annotations.get(INJECTION) {
        let path = annotation::path(INJECTION);
        if !matches!(injection.as_str(), "enabled" | "disabled") {
            findings.refuse(&path, format!("{injection:?} is not known; write enabled or disabled"));
        }
        if trigger.spec.broker.as_deref().is_some_and(|broker| broker != "default") {
            findings.refuse(&path, "concerns the Broker default only; remove the annotation");
        }
    }
    let Some(dependency) = annotations.get(DEPENDENCY) else { return };
    let path = annotation::path(DEPENDENCY);
    let reference = serde_json::from_str::<serde_json::Map<_, _>>(dependency);
    let reference = reference.and_then(|map| serde_json::from_value::<Dependency>(map.into()));
    let Ok(reference) = reference else {
        let message = "is not a reference in JSON; write {\"apiVersion\": …, \"kind\": …, \"name\": …}";
        findings.refuse(&path, message);
        return;
    };
    for (field, value) in
        [("kind", &reference.kind), ("name", &reference.name), ("apiVersion", &reference.api_version)]
    {
        if value.is_empty() {
            findings.refuse(&path, format!("has no {field}; write kind, name and apiVersion"));
        }
    }
    let own = trigger.metadata.namespace.as_deref().unwrap_or_default();
    if !reference.namespace.is_empty() && reference.namespace != own {
        let namespace = reference.namespace;
        let message = format!("namespace {namespace:?} is not the Trigger's; write {own:?} or leave it out");
        findings.refuse(&path, message);
    }
}

/// What [`DEPENDENCY`] holds; other fields of an ObjectReference are not looked at.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Dependency {
    kind: String,
    name: String,
    api_version: String,
    namespace: String,
}
