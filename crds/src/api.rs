//! Broker and Trigger of `eventing.knative.dev/v1`: their fields as upstream's schema has them (SCH-08 to SCH-13),
//! for files and for Kubernetes alike.
//!
//! Every field is optional here, as it is in the OpenAPI schema: what must be there is decided where an object is
//! compiled, so that all that is missing is reported together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The `apiVersion` of both kinds.
pub const API_VERSION: &str = "eventing.knative.dev/v1";

/// The `kind` of a Broker.
pub const BROKER: &str = "Broker";

/// The `kind` of a Trigger.
pub const TRIGGER: &str = "Trigger";

/// The `kind` of an object with settings of a Broker.
pub const CONFIG_MAP: &str = "ConfigMap";

/// The namespace of an object in a file that names none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// Takes events in and offers them to its Triggers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Broker {
    /// [`API_VERSION`]
    pub api_version: String,
    /// [`BROKER`]
    pub kind: String,
    /// Name, namespace, annotations.
    pub metadata: Metadata,
    /// What is wanted of it.
    pub spec: BrokerSpec,
}

/// Sends the events of a Broker that pass its filter to a subscriber.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Trigger {
    /// [`API_VERSION`]
    pub api_version: String,
    /// [`TRIGGER`]
    pub kind: String,
    /// Name, namespace, annotations.
    pub metadata: Metadata,
    /// What is wanted of it.
    pub spec: TriggerSpec,
}

/// Settings that a Broker's `spec.config` refers to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigMap {
    /// `v1`
    pub api_version: String,
    /// [`CONFIG_MAP`]
    pub kind: String,
    /// Name and namespace.
    pub metadata: Metadata,
    /// The settings.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, String>,
}

/// What Trigon reads of an object's metadata.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// Unique among objects of its kind and namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// In files [`DEFAULT_NAMESPACE`] when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Not read by Trigon.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Trigon's own settings among them: [`annotation`](crate::annotation).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What is wanted of a Broker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BrokerSpec {
    /// The object that configures the Broker's class: a [`ConfigMap`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Reference>,
    /// The delivery of Triggers that have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<DeliverySpec>,
}

/// What is wanted of a Trigger.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TriggerSpec {
    /// The name of the Broker, in the Trigger's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker: Option<String>,
    /// The Broker, in place of `broker`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker_ref: Option<Reference>,
    /// The older form of filter; not looked at when `filters` is not empty (FLN-02).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<AttributesFilter>,
    /// An event must pass all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filters: Option<Vec<SubscriptionsFilter>>,
    /// Where events go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscriber: Option<Destination>,
    /// How they go there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<DeliverySpec>,
}

/// `spec.filter`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AttributesFilter {
    /// All must be present and equal; the empty string stands for any value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<BTreeMap<String, String>>,
}

/// A filter of the CloudEvents Subscriptions API: one dialect, or none and every event passes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionsFilter {
    /// All of these pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all: Option<Vec<SubscriptionsFilter>>,
    /// At least one of these passes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub any: Option<Vec<SubscriptionsFilter>>,
    /// This does not pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not: Option<Box<SubscriptionsFilter>>,
    /// Each attribute has the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact: Option<BTreeMap<String, String>>,
    /// Each attribute starts with the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<BTreeMap<String, String>>,
    /// Each attribute ends with the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suffix: Option<BTreeMap<String, String>>,
    /// A CloudEvents SQL expression is true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cesql: Option<String>,
}

/// How events are delivered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeliverySpec {
    /// Where events go that the subscriber did not take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter_sink: Option<Destination>,
    /// Attempts after the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<i32>,
    /// The longest that one request may take, as an ISO-8601 duration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// `linear` or `exponential`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff_policy: Option<String>,
    /// The unit of waits between attempts, as an ISO-8601 duration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff_delay: Option<String>,
    /// The longest `Retry-After` that is honoured, as an ISO-8601 duration; zero honours none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_max: Option<String>,
    /// `binary` or `json`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
}

/// Where requests go: a URI, or an object that has one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Destination {
    /// An object with an address.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Reference>,
    /// Absolute, or relative to the address of `ref`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Certificates that the destination's certificate may be signed by, in PEM.
    #[serde(rename = "CACerts", skip_serializing_if = "Option::is_none")]
    pub ca_certs: Option<String>,
    /// The OIDC audience of the destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
}

/// Names another object (upstream: KReference). `group` and `address` of the Go type are in no schema of these
/// kinds, so an API server removes them (X-23); here they are unknown fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Reference {
    /// Its API version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Its kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its namespace; that of the holding object when absent (DEF-11).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Broker {
    /// Fills in what upstream's admission fills in (DEF-09), and the namespace.
    pub fn set_defaults(&mut self) {
        let namespace = self.metadata.default_namespace();
        default_sink(self.spec.delivery.as_mut(), &namespace);
        if let Some(config) = &mut self.spec.config {
            config.namespace.get_or_insert(namespace);
        }
    }
}

impl Trigger {
    /// Fills in what upstream's admission fills in (DEF-10, DEF-11), and the namespace.
    pub fn set_defaults(&mut self) {
        let namespace = self.metadata.default_namespace();
        self.spec.filter.get_or_insert_default();
        default_destination(self.spec.subscriber.as_mut(), &namespace);
        default_sink(self.spec.delivery.as_mut(), &namespace);
    }
}

impl ConfigMap {
    /// Fills in the namespace.
    pub fn set_defaults(&mut self) {
        self.metadata.default_namespace();
    }
}

impl Metadata {
    fn default_namespace(&mut self) -> String {
        self.namespace.get_or_insert_with(|| DEFAULT_NAMESPACE.to_owned()).clone()
    }
}

fn default_sink(delivery: Option<&mut DeliverySpec>, namespace: &str) {
    default_destination(delivery.and_then(|delivery| delivery.dead_letter_sink.as_mut()), namespace);
}

fn default_destination(destination: Option<&mut Destination>, namespace: &str) {
    if let Some(reference) = destination.and_then(|destination| destination.reference.as_mut()) {
        reference.namespace.get_or_insert_with(|| namespace.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(namespace: Option<&str>) -> Destination {
        let reference = Reference { namespace: namespace.map(str::to_owned), ..Reference::default() };
        Destination { reference: Some(reference), ..Destination::default() }
    }

    /// DEF-10, DEF-11
    #[test]
    fn a_trigger_gets_an_empty_filter_and_the_namespaces_of_its_references() {
        let mut trigger = Trigger::default();
        trigger.metadata.namespace = Some("shop".to_owned());
        trigger.spec.subscriber = Some(destination(None));
        trigger.spec.delivery = Some(DeliverySpec {
            dead_letter_sink: Some(destination(Some("other"))),
            ..DeliverySpec::default()
        });
        trigger.set_defaults();
        assert_eq!(trigger.spec.filter, Some(AttributesFilter::default()));
        assert_eq!(trigger.spec.subscriber, Some(destination(Some("shop"))));
        assert_eq!(trigger.spec.delivery.unwrap().dead_letter_sink, Some(destination(Some("other"))));
    }

    /// DEF-09
    #[test]
    fn a_broker_gets_its_namespace_and_those_of_its_references() {
        let mut broker = Broker::default();
        broker.spec.config = Some(Reference::default());
        broker.spec.delivery =
            Some(DeliverySpec { dead_letter_sink: Some(destination(None)), ..DeliverySpec::default() });
        broker.set_defaults();
        assert_eq!(broker.metadata.namespace.as_deref(), Some(DEFAULT_NAMESPACE));
        assert_eq!(broker.spec.config.unwrap().namespace.as_deref(), Some(DEFAULT_NAMESPACE));
        assert_eq!(broker.spec.delivery.unwrap().dead_letter_sink, Some(destination(Some("default"))));
    }

    /// SCH-08, SCH-09, SCH-10, SCH-12, SCH-13
    #[test]
    fn fields_have_the_names_of_the_upstream_schema() {
        let text = r#"{"apiVersion":"eventing.knative.dev/v1","kind":"Trigger","metadata":{"name":"t"},"spec":{
            "broker":"b","brokerRef":{"apiVersion":"v","kind":"k","namespace":"n","name":"m"},
            "filter":{"attributes":{"type":"a"}},
            "filters":[{"all":[],"any":[],"not":{},"exact":{},"prefix":{},"suffix":{},"cesql":"TRUE"}],
            "subscriber":{"ref":{"name":"s"},"uri":"/x","CACerts":"c","audience":"d"},
            "delivery":{"deadLetterSink":{"uri":"u"},"retry":1,"timeout":"PT1S","backoffPolicy":"linear",
                        "backoffDelay":"PT1S","retryAfterMax":"PT1S","format":"json"}}}"#;
        let trigger: Trigger = serde_json::from_str(text).unwrap();
        let before: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_value(&trigger).unwrap(), before);
        let text = r#"{"apiVersion":"eventing.knative.dev/v1","kind":"Broker","metadata":{"name":"b"},"spec":{
            "config":{"apiVersion":"v1","kind":"ConfigMap","namespace":"n","name":"m"},"delivery":{"retry":1}}}"#;
        let broker: Broker = serde_json::from_str(text).unwrap();
        let before: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_value(&broker).unwrap(), before);
    }
}
