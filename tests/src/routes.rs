//! Brokers and Triggers as a user writes them. JSON is YAML, so the objects are put together as JSON.

use serde_json::{Value, json};

/// A Broker or a Trigger.
#[derive(Clone, Debug, PartialEq)]
pub struct Object(Value);

/// A Broker in the namespace `default`.
pub fn broker(name: &str) -> Object {
    Object(json!({
        "apiVersion": "eventing.knative.dev/v1",
        "kind": "Broker",
        "metadata": {"name": name, "namespace": "default", "annotations": {}},
        "spec": {},
    }))
}

/// A Trigger in the namespace `default` for its Broker `default`.
pub fn trigger(name: &str, subscriber: &str) -> Object {
    Object(json!({
        "apiVersion": "eventing.knative.dev/v1",
        "kind": "Trigger",
        "metadata": {"name": name, "namespace": "default", "annotations": {}},
        "spec": {"broker": "default", "subscriber": {"uri": subscriber}},
    }))
}

impl Object {
    /// Sets an annotation.
    #[must_use]
    pub fn annotation(mut self, name: &str, value: &str) -> Self {
        self.0["metadata"]["annotations"][name] = value.into();
        self
    }

    /// Moves it to another namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.0["metadata"]["namespace"] = namespace.into();
        self
    }

    /// Sets a field of `spec`.
    #[must_use]
    pub fn spec(mut self, field: &str, value: Value) -> Self {
        self.0["spec"][field] = value;
        self
    }

    /// Sets `spec.delivery`.
    #[must_use]
    pub fn delivery(self, delivery: Value) -> Self {
        self.spec("delivery", delivery)
    }

    /// Sets `spec.filter.attributes` to one attribute.
    #[must_use]
    pub fn filter(self, attribute: &str, value: &str) -> Self {
        self.spec("filter", json!({"attributes": {attribute: value}}))
    }

    /// Sets `spec.filters`.
    #[must_use]
    pub fn filters(self, filters: Value) -> Self {
        self.spec("filters", filters)
    }
}

/// A `deadLetterSink` with that URI.
pub fn sink(uri: &str) -> Value {
    json!({"uri": uri})
}

/// The objects as one YAML file.
pub fn yaml(objects: &[Object]) -> String {
    objects.iter().map(|object| format!("---\n{}\n", object.0)).collect()
}
