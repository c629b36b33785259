//! The encodings of a CloudEvent: HTTP messages, the JSON format, records of the event log.

pub mod http;
pub mod json;
mod known;
pub mod record;

/// What a content type says about the encoding of an event (HTTP-02, KAF-05).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Attributes outside, the payload is the data.
    Binary,
    /// `application/cloudevents+json`.
    Json,
    /// `application/cloudevents-batch+json`.
    JsonBatch,
    /// Another `application/cloudevents…`.
    Unknown,
}

impl Mode {
    fn of(content_type: Option<&[u8]>) -> Self {
        let Some((head, rest)) = content_type.and_then(|text| text.split_at_checked(PREFIX.len())) else {
            return Self::Binary;
        };
        if !head.eq_ignore_ascii_case(PREFIX) {
            return Self::Binary;
        }
        let end = rest.iter().position(|byte| b"; \t".contains(byte)).unwrap_or(rest.len());
        let format = &rest[..end];
        if format.eq_ignore_ascii_case(b"+json") {
            Self::Json
        } else if format.eq_ignore_ascii_case(b"-batch+json") {
            Self::JsonBatch
        } else {
            Self::Unknown
        }
    }
}

const PREFIX: &[u8] = b"application/cloudevents";

#[cfg(test)]
mod tests;
