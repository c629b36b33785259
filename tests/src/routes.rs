//! Brokers and Triggers as a user writes them, and the folder where they lie. JSON is YAML, so the objects are put
//! together as JSON.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

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

/// The file that [`Folder::replace`] writes.
pub const ROUTES: &str = "routes.yaml";

/// A folder of routes, removed when it is dropped.
#[derive(Debug)]
pub struct Folder {
    folders: TempDir,
}

impl Folder {
    /// One with these routes.
    ///
    /// # Panics
    /// When the machine has no folder for temporary files.
    pub fn new(routes: &[Object]) -> Self {
        let folders = tempfile::tempdir().expect("the machine has a folder for temporary files");
        let folder = Self { folders };
        fs::create_dir(folder.path()).expect("a temporary folder is writable");
        folder.replace(routes);
        folder
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.beside("routes")
    }

    /// The path of something else that is removed with it.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// Writes other routes.
    pub fn replace(&self, routes: &[Object]) {
        self.write(ROUTES, &yaml(routes));
    }

    /// Writes a file in one step.
    ///
    /// # Panics
    /// When the folder is not writable.
    pub fn write(&self, name: &str, text: &str) {
        let whole = self.beside("next");
        fs::write(&whole, text).expect("a temporary folder is writable");
        fs::rename(&whole, self.path().join(name)).expect("both are in one folder");
    }

    /// Removes a file.
    ///
    /// # Panics
    /// When it is not there.
    pub fn remove(&self, name: &str) {
        fs::remove_file(self.path().join(name)).expect("the file is there");
    }

    fn root(&self) -> &Path {
        self.folders.path()
    }
}
