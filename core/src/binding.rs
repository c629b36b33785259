//! The encodings of a CloudEvent: HTTP messages, the JSON format, records of the event log.

pub mod http;
pub mod json;
pub mod record;
