//! The fields that a Broker and a Trigger have, and what each of them holds: an unknown field and a value of the
//! wrong type are found here, all of them together and each at its place (VAL-03).
//!
//! The result is JSON as Kubernetes would have it, without what was wrong. `null` is the same as absent, and a text
//! that YAML 1.1 takes for a number or a boolean must be quoted, as `kubectl` wants it.

use serde_json::{Map, Number, Value as Json};
use trigon_core::suggest::nearest;

use crate::path::Path;
use crate::problem::MAX_PROBLEMS;
use crate::yaml::{Node, Place, Value};

/// What a field holds.
#[derive(Debug)]
pub(crate) enum Shape {
    /// A text.
    Text,
    /// A whole number of 32 bits.
    Whole,
    /// A map of texts under names that people choose.
    Texts,
    /// A list.
    List(&'static Shape),
    /// An object with these fields.
    Fields(&'static [(&'static str, &'static Shape)]),
    /// Something that Trigon does not read.
    Ignored,
}

use Shape::{Fields, Ignored, List, Text, Texts, Whole};

/// A document of kind Broker.
pub(crate) static BROKER: Shape = Fields(&[
    ("apiVersion", &Text),
    ("kind", &Text),
    ("metadata", &METADATA),
    ("spec", &Fields(&[("config", &REFERENCE), ("delivery", &DELIVERY)])),
    ("status", &Ignored),
]);

/// A document of kind Trigger.
pub(crate) static TRIGGER: Shape = Fields(&[
    ("apiVersion", &Text),
    ("kind", &Text),
    ("metadata", &METADATA),
    (
        "spec",
        &Fields(&[
            ("broker", &Text),
            ("brokerRef", &REFERENCE),
            ("filter", &Fields(&[("attributes", &Texts)])),
            ("filters", &List(&FILTER)),
            ("subscriber", &DESTINATION),
            ("delivery", &DELIVERY),
        ]),
    ),
    ("status", &Ignored),
]);

/// A document of kind ConfigMap.
pub(crate) static CONFIG_MAP: Shape = Fields(&[
    ("apiVersion", &Text),
    ("kind", &Text),
    ("metadata", &METADATA),
    ("data", &Texts),
    ("binaryData", &Ignored),
    ("immutable", &Ignored),
]);

static METADATA: Shape = Fields(&[
    ("name", &Text),
    ("namespace", &Text),
    ("labels", &Texts),
    ("annotations", &Texts),
    ("creationTimestamp", &Ignored),
    ("deletionGracePeriodSeconds", &Ignored),
    ("deletionTimestamp", &Ignored),
    ("finalizers", &Ignored),
    ("generateName", &Ignored),
    ("generation", &Ignored),
    ("managedFields", &Ignored),
    ("ownerReferences", &Ignored),
    ("resourceVersion", &Ignored),
    ("selfLink", &Ignored),
    ("uid", &Ignored),
]);

static REFERENCE: Shape =
    Fields(&[("apiVersion", &Text), ("kind", &Text), ("namespace", &Text), ("name", &Text)]);

static DESTINATION: Shape =
    Fields(&[("ref", &REFERENCE), ("uri", &Text), ("CACerts", &Text), ("audience", &Text)]);

static DELIVERY: Shape = Fields(&[
    ("deadLetterSink", &DESTINATION),
    ("retry", &Whole),
    ("timeout", &Text),
    ("backoffPolicy", &Text),
    ("backoffDelay", &Text),
    ("retryAfterMax", &Text),
    ("format", &Text),
]);

static FILTER: Shape = Fields(&[
    ("all", &List(&FILTER)),
    ("any", &List(&FILTER)),
    ("not", &FILTER),
    ("exact", &Texts),
    ("prefix", &Texts),
    ("suffix", &Texts),
    ("cesql", &Text),
]);

/// What is wrong with the shape of a document.
#[derive(Clone, Debug)]
pub(crate) struct Misfit {
    /// In which way.
    pub(crate) kind: MisfitKind,
    /// Where the field is.
    pub(crate) place: Place,
    /// The field.
    pub(crate) path: Path,
    /// What is wrong and what would be right.
    pub(crate) message: String,
}

/// In which way a field does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MisfitKind {
    /// There is no such field, so it may stand for one that is missing.
    Unknown,
    /// It holds something else.
    Type,
}

/// Reads a document of a shape; what does not fit is left out and noted.
pub(crate) fn fit(document: &Node, shape: &'static Shape) -> (Json, Vec<Misfit>) {
    let mut fitter = Fitter { root: shape, misfits: Vec::new() };
    let json = fitter.fit(document, shape, &Path::default());
    (json.unwrap_or(Json::Null), fitter.misfits)
}

struct Fitter {
    root: &'static Shape,
    misfits: Vec<Misfit>,
}

impl Fitter {
    fn fit(&mut self, node: &Node, shape: &'static Shape, path: &Path) -> Option<Json> {
        match (shape, &node.value) {
            (Ignored, _) | (_, Value::Null) => None,
            (Text, _) => self.text(node, path).map(Json::String),
            (Whole, _) => self.whole(node, path),
            (Texts, Value::Map(entries)) => {
                let mut texts = Map::new();
                for entry in entries {
                    let path = path.name(&entry.key);
                    if matches!(entry.node.value, Value::Null) {
                        self.wrong_type(
                            entry.place,
                            path,
                            "has no value; write one, or \"\" for the empty text".to_owned(),
                        );
                    } else if let Some(text) = self.text(&entry.node, &path) {
                        texts.insert(entry.key.clone(), Json::String(text));
                    }
                }
                Some(Json::Object(texts))
            }
            (List(element), Value::List(nodes)) => {
                let mut elements = Vec::new();
                for (index, node) in nodes.iter().enumerate() {
                    let path = path.index(index);
                    match (&node.value, self.fit(node, element, &path)) {
                        (Value::Null, _) => {
                            self.wrong_type(node.place, path, "is empty; remove it".to_owned())
                        }
                        (_, fitted) => elements.extend(fitted),
                    }
                }
                Some(Json::Array(elements))
            }
            (Fields(fields), Value::Map(entries)) => {
                let mut object = Map::new();
                for entry in entries {
                    let path = path.name(&entry.key);
                    match fields.iter().find(|(name, _)| *name == entry.key) {
                        Some((_, shape)) => {
                            object.extend(
                                self.fit(&entry.node, shape, &path).map(|json| (entry.key.clone(), json)),
                            );
                        }
                        None => {
                            let message = self.unknown(&entry.key, fields, &path.parent());
                            self.misfit(MisfitKind::Unknown, entry.place, path, message);
                        }
                    }
                }
                Some(Json::Object(object))
            }
            (Texts | Fields(_), _) => {
                let hint = match &node.value {
                    Value::Plain(text) if text.contains(':') => ", each with a space after its colon",
                    _ => "",
                };
                let message = format!("is {}; write a map of names to values{hint}", node.kind());
                self.wrong_type(node.place, path.clone(), message);
                None
            }
            (List(_), _) => {
                let message = format!("is {}; write a list, each element with \"- \" before it", node.kind());
                self.wrong_type(node.place, path.clone(), message);
                None
            }
        }
    }

    fn text(&mut self, node: &Node, path: &Path) -> Option<String> {
        let message = match &node.value {
            Value::Text(text) => return Some(text.clone()),
            Value::Plain(text) => match mistakable(text) {
                None => return Some(text.clone()),
                Some(kind) => format!("{text} is {kind} in YAML; write it in quotes: \"{text}\""),
            },
            Value::Null | Value::List(_) | Value::Map(_) => format!("is {}; write a text", node.kind()),
        };
        self.wrong_type(node.place, path.clone(), message);
        None
    }

    fn whole(&mut self, node: &Node, path: &Path) -> Option<Json> {
        let message = match &node.value {
            Value::Plain(text) => match text.parse::<i32>() {
                Ok(number) => return Some(Json::Number(Number::from(number))),
                Err(_) => format!("{text} is not a whole number; write one from 0 to {}", i32::MAX),
            },
            Value::Text(text) => match text.parse::<i32>() {
                Ok(number) => format!("is a text; write the number without quotes: {number}"),
                Err(_) => format!("{text:?} is not a whole number; write one from 0 to {}", i32::MAX),
            },
            Value::Null | Value::List(_) | Value::Map(_) => {
                format!("is {}; write a whole number", node.kind())
            }
        };
        self.wrong_type(node.place, path.clone(), message);
        None
    }

    fn unknown(&self, name: &str, fields: &[(&'static str, &'static Shape)], parent: &Path) -> String {
        if name == "<<" {
            return "merge keys are not supported; write the fields out".to_owned();
        }
        if let Some((before, after)) = name.split_once(':')
            && fields.iter().any(|(known, _)| *known == before)
        {
            return format!("unknown field; write a space after the colon: {before}: {after}");
        }
        let known = fields.iter().map(|(known, _)| *known);
        if let Some(known) = nearest(name, known.clone()) {
            return format!("unknown field; did you mean {known:?}?");
        }
        if let Some(elsewhere) = find(self.root, name, &Path::default()) {
            return format!("unknown field; it belongs at {elsewhere}");
        }
        let known: Vec<_> = known.collect();
        let parent = match parent.to_string() {
            parent if parent.is_empty() => "the document".to_owned(),
            parent => parent,
        };
        format!("unknown field; {parent} has {}", known.join(", "))
    }

    fn wrong_type(&mut self, place: Place, path: Path, message: String) {
        self.misfit(MisfitKind::Type, place, path, message);
    }

    fn misfit(&mut self, kind: MisfitKind, place: Place, path: Path, message: String) {
        if self.misfits.len() < MAX_PROBLEMS {
            self.misfits.push(Misfit { kind, place, path, message });
        }
    }
}

/// Where else in a document a field of that name is, the shallowest first; filters are not searched.
fn find(shape: &'static Shape, name: &str, path: &Path) -> Option<Path> {
    let Fields(fields) = shape else { return None };
    if fields.iter().any(|(field, _)| *field == name) {
        return Some(path.name(name));
    }
    fields.iter().find_map(|(field, shape)| {
        let is_generic = matches!(*field, "metadata" | "brokerRef" | "config");
        if is_generic { None } else { find(shape, name, &path.name(field)) }
    })
}

/// What YAML makes of a text without quotes, when that is not a text.
fn mistakable(text: &str) -> Option<&'static str> {
    // YAML 1.1, which kubectl reads, knows more booleans than YAML 1.2.
    let is_boolean = matches!(
        text.to_ascii_lowercase().as_str(),
        "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n"
    );
    if is_boolean {
        return Some("a boolean");
    }
    is_number(text).then_some("a number")
}

fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned.to_ascii_lowercase().as_str(), ".inf" | ".nan") {
        return true;
    }
    if let Some(digits) = unsigned.strip_prefix("0x") {
        return !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'_');
    }
    if let Some(digits) = unsigned.strip_prefix("0o").or_else(|| unsigned.strip_prefix("0b")) {
        return !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    }
    // What f64 reads besides numbers, as "inf", starts with a letter.
    let starts_like_one = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    starts_like_one && unsigned.replace('_', "").parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::documents;

    fn misfits(text: &str) -> Vec<String> {
        let (documents, error) = documents(text);
        assert!(error.is_none(), "{error:?}");
        let (_, misfits) = fit(&documents[0], &TRIGGER);
        misfits
            .iter()
            .map(|m| format!("{}:{}: {}: {}", m.place.line, m.place.column, m.path, m.message))
            .collect()
    }

    /// VAL-03
    #[test]
    fn all_unknown_fields_are_found_with_a_suggestion() {
        let found = misfits(
            "spec:\n  subscribr: {}\n  retry: 1\n  filters:\n  - sql: x\n    colour: red\nstatu: {}\n",
        );
        assert_eq!(
            found,
            [
                "2:3: spec.subscribr: unknown field; did you mean \"subscriber\"?",
                "3:3: spec.retry: unknown field; it belongs at spec.delivery.retry",
                "5:5: spec.filters[0].sql: unknown field; did you mean \"cesql\"?",
                "6:5: spec.filters[0].colour: unknown field; spec.filters[0] has all, any, not, exact, prefix, suffix, \
                 cesql",
                "7:1: statu: unknown field; did you mean \"status\"?",
            ]
        );
    }

    #[test]
    fn values_of_the_wrong_type_are_found_with_what_to_write() {
        let found = misfits(
            "spec:\n  broker: [a]\n  delivery: {retry: \"3\", timeout: 5}\n  filter:\n    attributes: {a: no, b: }\n  \
             filters: {}\n  subscriber: http://x\n",
        );
        assert_eq!(
            found,
            [
                "2:11: spec.broker: is a list; write a text",
                "3:21: spec.delivery.retry: is a text; write the number without quotes: 3",
                "3:35: spec.delivery.timeout: 5 is a number in YAML; write it in quotes: \"5\"",
                "5:21: spec.filter.attributes.a: no is a boolean in YAML; write it in quotes: \"no\"",
                "5:25: spec.filter.attributes.b: has no value; write one, or \"\" for the empty text",
                "6:12: spec.filters: is a map; write a list, each element with \"- \" before it",
                "7:15: spec.subscriber: is a text; write a map of names to values, each with a space after its colon",
            ]
        );
    }

    #[test]
    fn a_missing_space_after_a_colon_is_found() {
        assert_eq!(
            misfits("spec: {broker:default}\nmetadata:\n  name:x\n"),
            [
                "1:8: spec[broker:default]: unknown field; write a space after the colon: broker: default",
                "3:3: metadata: is a text; write a map of names to values, each with a space after its colon",
            ]
        );
    }

    #[test]
    fn numbers_of_all_notations_are_told_from_texts() {
        for text in
            ["1", "-1", "+1", "1.5", ".5", "1e3", "1_000", "0x1F", "0o17", "010", ".inf", "-.INF", ".NaN"]
        {
            assert!(is_number(text), "{text}");
        }
        for text in
            ["", "a", "inf", "nan", "1.2.3", "1a", "PT1S", "2026-11-21", "-", ".", "0x", "_1", "infinity"]
        {
            assert!(!is_number(text), "{text}");
        }
    }
}
