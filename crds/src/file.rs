//! Files of Broker and Trigger documents, read into objects that know their places.
//!
//! Several documents per file, `kind: List` unpacked, empty documents skipped. Everything that is wrong is
//! reported together; what is right beside it is still read, so that its meaning can be checked as well.

use std::sync::Arc;

use trigon_core::suggest::nearest;

use crate::api::{API_VERSION, BROKER, Broker, CONFIG_MAP, ConfigMap, TRIGGER, Trigger};
use crate::path::{Path, Step};
use crate::problem::{Finding, MAX_PROBLEMS, Problem};
use crate::scalar;
use crate::shape::{self, Misfit, MisfitKind, Shape};
use crate::yaml::{self, Node, Place, Value};

/// The Brokers and Triggers of a set of files, defaults filled in.
#[derive(Debug, Default)]
pub struct Objects {
    /// In the order in which they were read.
    pub(crate) brokers: Vec<Located<Broker>>,
    /// In the order in which they were read.
    pub(crate) triggers: Vec<Located<Trigger>>,
    /// In the order in which they were read, those included that no Broker names.
    pub(crate) config_maps: Vec<Located<ConfigMap>>,
    /// Whether some objects could not be read, so that a missing one may be among those.
    pub(crate) is_partial: bool,
}

/// An object and where it came from.
#[derive(Debug)]
pub(crate) struct Located<T> {
    /// The object.
    pub(crate) object: T,
    /// The file.
    file: String,
    /// What is in the file, for places within a text.
    text: Arc<str>,
    /// The document, for the places of its fields.
    document: Node,
    /// The fields that were left out because they were wrong.
    left_out: Vec<Misfit>,
}

/// Reads files, each a name for messages and its text.
///
/// # Errors
/// Everything that is wrong with the form of the files: YAML syntax, unknown fields and kinds, wrong types; at most
/// [`MAX_PROBLEMS`].
pub fn parse(files: &[(String, String)]) -> Result<Objects, Vec<Problem>> {
    let (objects, problems) = read(files);
    if problems.is_empty() { Ok(objects) } else { Err(problems) }
}

/// Reads files as far as they can be read.
pub(crate) fn read(files: &[(String, String)]) -> (Objects, Vec<Problem>) {
    let mut reader = Reader::default();
    for (file, text) in files {
        let (documents, error) = yaml::documents(text);
        reader.text = text.as_str().into();
        for document in documents {
            reader.document(file, document);
        }
        if let Some(error) = error {
            reader.objects.is_partial = true;
            reader.problem(file, error.place, "", error.message);
        }
    }
    (reader.objects, reader.problems)
}

impl Objects {
    /// The Brokers, in the order in which they were read.
    pub fn brokers(&self) -> impl Iterator<Item = &Broker> {
        self.brokers.iter().map(|located| &located.object)
    }

    /// The Triggers, in the order in which they were read.
    pub fn triggers(&self) -> impl Iterator<Item = &Trigger> {
        self.triggers.iter().map(|located| &located.object)
    }
}

impl<T> Located<T> {
    /// The problem that a finding is, unless it only follows from something that was left out.
    pub(crate) fn problem(&self, finding: Finding) -> Option<Problem> {
        let (mut place, is_there) = self.locate(&finding.path);
        let parent = finding.path.parent();
        let follows = self.left_out.iter().any(|misfit| match misfit.kind {
            MisfitKind::Unknown => !is_there && misfit.path.parent() == parent,
            MisfitKind::Type => finding.path.is_within(&misfit.path),
        });
        if follows {
            return None;
        }
        if finding.offset > 0
            && let Some(text) = self.text_of(&finding.path)
        {
            place = scalar::place_within(&self.text, place, text, finding.offset);
        }
        Some(Problem {
            file: self.file.clone(),
            line: place.line,
            column: place.column,
            field: finding.path.to_string(),
            message: finding.message,
        })
    }

    /// What is wrong with its form, where that was not said yet.
    pub(crate) fn misfits(&self) -> impl Iterator<Item = Problem> {
        self.left_out.iter().map(|misfit| Problem {
            file: self.file.clone(),
            line: misfit.place.line,
            column: misfit.place.column,
            field: misfit.path.to_string(),
            message: misfit.message.clone(),
        })
    }

    /// A remark on a field.
    pub(crate) fn remark(&self, path: &Path, message: &str) -> Problem {
        let (place, _) = self.locate(path);
        Problem {
            file: self.file.clone(),
            line: place.line,
            column: place.column,
            field: path.to_string(),
            message: message.to_owned(),
        }
    }

    fn text_of(&self, path: &Path) -> Option<&str> {
        let mut node = &self.document;
        for step in path.steps() {
            node = match (step, &node.value) {
                (Step::Name(name), _) => &node.entry(name)?.node,
                (Step::Index(index), Value::List(nodes)) => nodes.get(*index)?,
                (Step::Index(_), _) => return None,
            };
        }
        match &node.value {
            Value::Plain(text) | Value::Text(text) => Some(text),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Where the object starts, as `file:line`.
    pub(crate) fn origin(&self) -> String {
        format!("{}:{}", self.file, self.document.place.line)
    }

    /// The place of a field, or of the nearest one around it that is there, and whether it is the field itself.
    ///
    /// A text or number is its own place; a list or map has the place of its key, where a reader looks for it.
    fn locate(&self, path: &Path) -> (Place, bool) {
        let mut node = &self.document;
        let mut place = node.place;
        for step in path.steps() {
            let below = match (step, &node.value) {
                (Step::Name(name), _) => node.entry(name).map(|entry| (entry.place, &entry.node)),
                (Step::Index(index), Value::List(nodes)) => nodes.get(*index).map(|node| (node.place, node)),
                (Step::Index(_), _) => None,
            };
            let Some((at, below)) = below else { return (place, false) };
            node = below;
            place = match node.value {
                Value::Plain(_) | Value::Text(_) => node.place,
                Value::Null | Value::List(_) | Value::Map(_) => at,
            };
        }
        (place, !matches!(node.value, Value::Null))
    }
}

#[derive(Default)]
struct Reader {
    /// What is in the file that is being read.
    text: Arc<str>,
    objects: Objects,
    problems: Vec<Problem>,
}

impl Reader {
    fn document(&mut self, file: &str, document: Node) {
        if matches!(document.value, Value::Null) {
            return;
        }
        if !matches!(document.value, Value::Map(_)) {
            let message = format!("the document is {}; write a Broker or a Trigger", document.kind());
            return self.unreadable(file, document.place, "", message);
        }
        let Some((kind, place)) = self.header(file, &document, "kind") else { return };
        match kind.as_str() {
            "List" => self.list(file, document),
            BROKER => self.broker(file, document),
            TRIGGER => self.trigger(file, document),
            CONFIG_MAP => self.config_map(file, document),
            other => {
                let hint = match nearest(other, [BROKER, TRIGGER]) {
                    Some(near) => format!("did you mean {near}?"),
                    None => "move it to a folder of its own".to_owned(),
                };
                let message = format!("{other:?} is not read here, only {BROKER} and {TRIGGER} are; {hint}");
                self.unreadable(file, place, "kind", message);
            }
        }
    }

    fn list(&mut self, file: &str, document: Node) {
        let Value::Map(entries) = document.value else { return };
        for entry in entries {
            match (entry.key.as_str(), entry.node.value) {
                ("items", Value::List(items)) => items.into_iter().for_each(|item| self.document(file, item)),
                ("items", Value::Null) | ("apiVersion" | "kind" | "metadata", _) => {}
                ("items", _) => {
                    self.unreadable(
                        file,
                        entry.place,
                        "items",
                        "is not a list; write \"- \" before each object",
                    );
                }
                (other, _) => {
                    let message = "unknown field; a List has apiVersion, kind, metadata, items";
                    self.unreadable(file, entry.place, other, message);
                }
            }
        }
    }

    fn broker(&mut self, file: &str, document: Node) {
        if let Some(mut located) = self.located::<Broker>(file, document, &shape::BROKER) {
            located.object.set_defaults();
            self.objects.brokers.push(located);
        }
    }

    fn trigger(&mut self, file: &str, document: Node) {
        if let Some(mut located) = self.located::<Trigger>(file, document, &shape::TRIGGER) {
            located.object.set_defaults();
            self.objects.triggers.push(located);
        }
    }

    /// What is wrong with one is said only if a Broker names it: others may be anybody's.
    fn config_map(&mut self, file: &str, document: Node) {
        let (json, left_out) = shape::fit(&document, &shape::CONFIG_MAP);
        if let Ok(mut object) = serde_json::from_value::<ConfigMap>(json) {
            object.set_defaults();
            let text = Arc::clone(&self.text);
            self.objects.config_maps.push(Located {
                object,
                file: file.to_owned(),
                text,
                document,
                left_out,
            });
        }
    }

    fn located<T>(&mut self, file: &str, document: Node, shape: &'static Shape) -> Option<Located<T>>
    where
        T: for<'de> serde::Deserialize<'de>,
    {
        if let Some((version, place)) = self.header(file, &document, "apiVersion")
            && version != API_VERSION
        {
            let message = format!("{version:?} is not read here; write {API_VERSION:?}");
            self.problem(file, place, "apiVersion", message);
        }
        let (json, misfits) = shape::fit(&document, shape);
        for misfit in &misfits {
            self.problem(file, misfit.place, &misfit.path.to_string(), misfit.message.clone());
        }
        // The name is what other objects know this one by.
        let metadata = Path::of(&["metadata"]);
        self.objects.is_partial |= misfits.iter().any(|misfit| misfit.path.is_within(&metadata));
        match serde_json::from_value(json) {
            Ok(object) => Some(Located {
                object,
                file: file.to_owned(),
                text: Arc::clone(&self.text),
                document,
                left_out: misfits,
            }),
            Err(error) => {
                self.unreadable(file, document.place, "", error.to_string());
                None
            }
        }
    }

    /// The text of a field that says what the document is, and its place.
    fn header(&mut self, file: &str, document: &Node, field: &str) -> Option<(String, Place)> {
        match document.entry(field) {
            Some(entry) => match &entry.node.value {
                Value::Plain(text) | Value::Text(text) => return Some((text.clone(), entry.node.place)),
                Value::Null | Value::List(_) | Value::Map(_) => {
                    let message = format!("is {}; write a text", entry.node.kind());
                    self.unreadable(file, entry.place, field, message);
                }
            },
            None => {
                let example = if field == "kind" { "Broker or Trigger" } else { API_VERSION };
                self.unreadable(file, document.place, field, format!("is missing; write {field}: {example}"));
            }
        }
        None
    }

    fn unreadable(&mut self, file: &str, place: Place, field: &str, message: impl Into<String>) {
        self.objects.is_partial = true;
        self.problem(file, place, field, message);
    }

    fn problem(&mut self, file: &str, place: Place, field: &str, message: impl Into<String>) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem {
                file: file.to_owned(),
                line: place.line,
                column: place.column,
                field: field.to_owned(),
                message: message.into(),
            });
        }
    }
}
