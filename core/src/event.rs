//! A CloudEvent as Trigon carries it: every attribute as the producer wrote it, and the data as bytes.
//!
//! Deliberately not a typed context: an intermediary must pass CloudEvents 1.0 and 0.3 on unchanged,
//! down to the text of a timestamp, so values are kept as their canonical strings with the type that the JSON
//! format gave them. Validation is done once, in [`EventBuilder::build`].

use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;

/// The version of the CloudEvents specification that an event follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpecVersion {
    /// CloudEvents 0.3, accepted and passed on without an upgrade (IN-02).
    V03,
    /// CloudEvents 1.0.
    V10,
}

impl SpecVersion {
    /// The value of the `specversion` attribute.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V03 => "0.3",
            Self::V10 => "1.0",
        }
    }
}

/// The type of an attribute's value, as far as the encoding it came in could tell.
///
/// Values from headers are `String`; the JSON format tells the other two apart (EXT-11).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// Any of String, Binary, URI, URI-reference and Timestamp: a string in JSON.
    #[default]
    String,
    /// A JSON boolean; the text is `true` or `false`.
    Boolean,
    /// A JSON number, 32 bits signed (CE-05); the text is decimal.
    Integer,
}

/// One context attribute other than `specversion`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attribute {
    /// Lower-case letters and digits (CE-03).
    pub name: ByteString,
    /// The canonical string form (CE-05).
    pub value: ByteString,
    /// How the JSON format writes the value.
    pub value_type: ValueType,
}

/// A valid CloudEvent. Cloning shares the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    spec_version: SpecVersion,
    attributes: Vec<Attribute>,
    data: Option<Bytes>,
}

impl Event {
    /// The version of the specification.
    pub fn spec_version(&self) -> SpecVersion {
        self.spec_version
    }

    /// The attribute `id`.
    pub fn id(&self) -> &str {
        self.required("id")
    }

    /// The attribute `source`.
    pub fn source(&self) -> &str {
        self.required("source")
    }

    /// The attribute `type`.
    pub fn event_type(&self) -> &str {
        self.required("type")
    }

    /// The value of an attribute in its canonical string form, `specversion` included.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        if name == "specversion" {
            return Some(self.spec_version.as_str());
        }
        self.attributes.iter().find(|attribute| attribute.name == name).map(|attribute| &*attribute.value)
    }

    /// All attributes but `specversion`, in the order in which they came.
    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    /// The data; absent is not the same as empty (HTTP-15).
    pub fn data(&self) -> Option<&Bytes> {
        self.data.as_ref()
    }

    /// Takes the event apart to change it.
    pub fn into_builder(self) -> EventBuilder {
        EventBuilder {
            spec_version: Some(self.spec_version),
            attributes: self.attributes,
            data: self.data,
            problems: Vec::new(),
        }
    }

    /// The size that the bounds count: names, values and data, in bytes.
    pub fn size(&self) -> usize {
        let attributes: usize = self.attributes.iter().map(|a| a.name.len() + a.value.len()).sum();
        attributes + self.data.as_ref().map_or(0, Bytes::len)
    }

    fn required(&self, name: &str) -> &str {
        self.attribute(name).expect("build() refuses an event without its required attributes")
    }
}

/// Collects the parts of an event; [`build`](Self::build) validates them, all problems together.
#[derive(Clone, Debug, Default)]
pub struct EventBuilder {
    spec_version: Option<SpecVersion>,
    attributes: Vec<Attribute>,
    data: Option<Bytes>,
    problems: Vec<Problem>,
}

/// One thing that is wrong with an event, for the answer to its producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The attribute, or `data`.
    pub attribute: String,
    /// What is wrong with it and what would be right.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "attribute {}: {}", self.attribute, self.reason)
    }
}
