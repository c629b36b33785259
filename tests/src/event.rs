//! An event as a producer writes it. Written by hand, so that it checks Trigon's bindings and does not share them.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};

/// Attributes and data; valid unless a test makes it otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    attributes: Vec<(String, String)>,
    content_type: Option<String>,
    data: Bytes,
}

impl Event {
    /// An event of CloudEvents 1.0 with this id, type `test`, source `/tests`, and no data.
    pub fn new(id: impl Into<String>) -> Self {
        let pairs = [
            ("specversion", "1.0".to_owned()),
            ("id", id.into()),
            ("type", "test".to_owned()),
            ("source", "/tests".to_owned()),
        ];
        let attributes = pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { attributes, content_type: None, data: Bytes::new() }
    }

    /// Sets an attribute.
    #[must_use]
    pub fn with(self, name: &str, value: impl Into<String>) -> Self {
        let mut event = self.without(name);
        event.attributes.push((name.to_owned(), value.into()));
        event
    }

    /// Leaves an attribute out.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.attributes.retain(|(known, _)| known != name);
        self
    }

    /// Sets the data.
    #[must_use]
    pub fn data(mut self, content_type: &str, data: impl Into<Bytes>) -> Self {
        self.content_type = Some(content_type.to_owned());
        self.data = data.into();
        self
    }

    /// An attribute's value.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// All attributes but `datacontenttype`.
    pub fn attributes(&self) -> &[(String, String)] {
        &self.attributes
    }

    /// `datacontenttype`.
    pub fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    /// The data.
    pub fn payload(&self) -> &Bytes {
        &self.data
    }

    /// Headers and body in binary mode.
    ///
    /// # Panics
    /// When a name cannot be in a header.
    pub fn binary(&self) -> (HeaderMap, Bytes) {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.attributes {
            let name: HeaderName = format!("ce-{name}").parse().expect("attribute names are header names");
            headers.append(name, percent_encode(value).parse().expect("an encoded value is a header value"));
        }
        if let Some(content_type) = &self.content_type {
            headers.insert(CONTENT_TYPE, content_type.parse().expect("a media type is a header value"));
        }
        (headers, self.data.clone())
    }

    /// Headers and body in structured mode; the data must be JSON or text.
    pub fn structured(&self) -> (HeaderMap, Bytes) {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/cloudevents+json"));
        (headers, self.json().to_string().into())
    }

    /// The JSON object.
    ///
    /// # Panics
    /// When the data is neither JSON nor text.
    pub fn json(&self) -> Value {
        let mut object: Map<String, Value> =
            self.attributes.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
        if let Some(content_type) = &self.content_type {
            object.insert("datacontenttype".to_owned(), content_type.as_str().into());
            let text = std::str::from_utf8(&self.data).expect("the data is text");
            let data = match content_type.contains("json") {
                true => serde_json::from_str(text).expect("the data is JSON"),
                false => Value::from(text),
            };
            object.insert("data".to_owned(), data);
        }
        Value::Object(object)
    }
}

fn percent_encode(value: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'%';
    value
        .bytes()
        .map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
