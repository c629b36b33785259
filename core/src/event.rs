//! A CloudEvent as Trigon carries it: every attribute as the producer wrote it, and the data as bytes.
//!
//! Deliberately not a typed context: an intermediary must pass CloudEvents 1.0 and 0.3 on unchanged,
//! down to the text of a timestamp, so values are kept as their canonical strings with the type that the JSON
//! format gave them. Validation is done once, in [`EventBuilder::build`], by the rules in `rules`.

use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;

pub(crate) mod rules;
#[cfg(any(test, feature = "proptest"))]
pub mod strategy;

/// An event has at most this many attributes besides `specversion` and those that Trigon adds itself: more than fit into the 64 KiB that every
/// intermediary must forward (CE-09), and fewer than a header map takes.
pub const MAX_ATTRIBUTES: usize = 10_000;

/// The name of an attribute has at most this many characters. The specification asks producers for 20 and
/// intermediaries to pass longer ones (CE-04).
pub const MAX_NAME: usize = 1_024;

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
            spec_version: Some(ByteString::from_static(self.spec_version.as_str())),
            attributes: self.attributes,
            data: self.data,
            invalid: InvalidEvent::default(),
        }
    }

    /// The size that the bounds count: names, values and data, in bytes.
    pub fn size(&self) -> usize {
        let attributes: usize = self.attributes.iter().map(|a| a.name.len() + a.value.len()).sum();
        attributes + self.data.as_ref().map_or(0, Bytes::len)
    }

    /// Removes an optional attribute, without validating the rest again.
    pub(crate) fn take(&mut self, name: &str) -> Option<Attribute> {
        let place = self.attributes.iter().position(|attribute| attribute.name == name)?;
        Some(self.attributes.remove(place))
    }

    /// Sets an extension, without validating the rest again: for names and values that Trigon makes itself.
    pub(crate) fn set(&mut self, extension: Attribute) {
        match self.attributes.iter_mut().find(|attribute| attribute.name == extension.name) {
            Some(attribute) => *attribute = extension,
            None => self.attributes.push(extension),
        }
    }

    fn required(&self, name: &str) -> &str {
        self.attribute(name).expect("build() refuses an event without its required attributes")
    }
}

/// Collects the parts of an event; [`build`](Self::build) validates them, all problems together.
///
/// Nothing is judged before that, so that the setters can be given what a producer wrote.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct EventBuilder {
    spec_version: Option<ByteString>,
    attributes: Vec<Attribute>,
    data: Option<Bytes>,
    invalid: InvalidEvent,
}

impl EventBuilder {
    /// Starts without any attribute; `specversion`, `id`, `source` and `type` must follow.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts with room for this many attributes.
    pub fn with_capacity(attributes: usize) -> Self {
        Self { attributes: Vec::with_capacity(attributes.min(MAX_ATTRIBUTES)), ..Self::default() }
    }

    /// Adds the attribute `specversion`, as text: `1.0` or `0.3`.
    pub fn spec_version(self, version: &str) -> Self {
        let version = match version {
            "1.0" => ByteString::from_static("1.0"),
            "0.3" => ByteString::from_static("0.3"),
            other => other.into(),
        };
        self.attribute(ByteString::from_static("specversion"), version)
    }

    /// Adds an attribute with a value in its canonical string form.
    pub fn attribute(self, name: impl Into<ByteString>, value: impl Into<ByteString>) -> Self {
        self.typed(name, value, ValueType::String)
    }

    /// Adds a Boolean extension.
    pub fn boolean(self, name: impl Into<ByteString>, value: bool) -> Self {
        let value = ByteString::from_static(if value { "true" } else { "false" });
        self.typed(name, value, ValueType::Boolean)
    }

    /// Adds an Integer extension.
    pub fn integer(self, name: impl Into<ByteString>, value: i32) -> Self {
        self.typed(name, value.to_string(), ValueType::Integer)
    }

    /// Adds an attribute of any type, its value in the canonical string form.
    pub fn typed(
        mut self,
        name: impl Into<ByteString>,
        value: impl Into<ByteString>,
        value_type: ValueType,
    ) -> Self {
        let (name, value) = (name.into(), value.into());
        if name != "specversion" {
            self.attributes.push(Attribute { name, value, value_type });
            return self;
        }
        if self.spec_version.is_some() {
            return self.problem("specversion", rules::TWICE);
        }
        if value_type != ValueType::String {
            return self.problem("specversion", "send a JSON string, as in \"1.0\"");
        }
        self.spec_version = Some(value);
        self
    }

    /// Removes an attribute, however often it was added.
    pub fn remove(mut self, name: &str) -> Self {
        if name == "specversion" {
            self.spec_version = None;
        } else {
            self.attributes.retain(|attribute| attribute.name != name);
        }
        self
    }

    /// Removes an attribute and adds it again with another value.
    pub fn replace(self, name: impl Into<ByteString>, value: impl Into<ByteString>) -> Self {
        let name = name.into();
        self.remove(&name).attribute(name, value)
    }

    /// Sets the data. An event without data is one for which this was not called.
    pub fn data(mut self, data: impl Into<Bytes>) -> Self {
        self.data = Some(data.into());
        self
    }

    /// Records what a decoder found wrong, to be reported with everything else by [`build`](Self::build).
    pub fn problem(mut self, attribute: &str, reason: impl Into<String>) -> Self {
        self.invalid.add(attribute, || reason.into());
        self
    }

    /// Validates the parts and puts them together.
    ///
    /// # Errors
    /// When the parts are not a CloudEvent of a supported version; all problems are told together.
    pub fn build(self) -> Result<Event, InvalidEvent> {
        let Self { spec_version, attributes, data, mut invalid } = self;
        let spec_version = rules::spec_version(spec_version.as_deref(), &mut invalid);
        rules::check(spec_version, &attributes, &mut invalid);
        if invalid.problems.is_empty() { Ok(Event { spec_version, attributes, data }) } else { Err(invalid) }
    }

    /// The value that an attribute has so far.
    pub(crate) fn value(&self, name: &str) -> Option<&ByteString> {
        self.attributes.iter().find(|attribute| attribute.name == name).map(|attribute| &attribute.value)
    }

    /// Whether the event says so far that it is CloudEvents 0.3.
    pub(crate) fn is_v03(&self) -> bool {
        self.spec_version.as_deref() == Some("0.3")
    }
}

/// Why parts are not a CloudEvent: everything that is wrong with them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InvalidEvent {
    /// At least one, at most [`MAX_PROBLEMS`].
    pub problems: Vec<Problem>,
    /// How many more there are.
    pub omitted: usize,
}

/// An answer names at most this many problems of an event, and counts the others.
pub const MAX_PROBLEMS: usize = 16;

impl InvalidEvent {
    fn add(&mut self, attribute: &str, reason: impl FnOnce() -> String) {
        if self.problems.len() == MAX_PROBLEMS {
            self.omitted += 1;
            return;
        }
        self.problems.push(Problem { attribute: Shown(attribute).to_string(), reason: reason() });
    }
}

impl fmt::Display for InvalidEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().enumerate() {
            let separator = if n == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        if self.omitted > 0 {
            write!(f, "; and {} more", self.omitted)?;
        }
        Ok(())
    }
}

impl std::error::Error for InvalidEvent {}

/// One thing that is wrong with an event, for the answer to its producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The attribute, or `data`, or `*` for all attributes together.
    pub attribute: String,
    /// What is wrong with it and what would be right.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.attribute {
            "data" => write!(f, "data: {}", self.reason),
            "*" => write!(f, "attributes: {}", self.reason),
            attribute => write!(f, "attribute {attribute}: {}", self.reason),
        }
    }
}

/// A text of any length as an answer repeats it: escaped, and cut after some characters.
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 64;
        let mut characters = self.0.chars();
        for character in characters.by_ref().take(MOST) {
            write!(f, "{}", character.escape_debug())?;
        }
        if characters.next().is_some() { f.write_str("…") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
