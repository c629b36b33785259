//! A request that `trigon sink` got, as it prints it.

use std::fmt::Write;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING, USER_AGENT};
use http::request::Parts;
use http::{HeaderName, StatusCode};
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use trigon_core::binding::http::Incoming;
use trigon_core::event::Event;
use trigon_core::record::Timestamp;

use crate::shown;
use crate::terminal::{BAD, BOLD, DIM, GOOD, styled};

/// A request and its answer.
pub(super) struct Received<'a> {
    /// When it was there in full.
    pub(super) at: Timestamp,
    /// Its head.
    pub(super) head: &'a Parts,
    /// Its events, or why it holds none.
    pub(super) content: Result<Incoming, String>,
    /// The status that it is answered with.
    pub(super) answered: StatusCode,
}

#[derive(Serialize)]
struct Line<'a> {
    received: String,
    method: &'a str,
    path: &'a str,
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a str>,
    headers: BTreeMap<&'a str, String>,
    answered: u16,
}

impl Received<'_> {
    /// The data of the event; of a batch, that of its first event.
    pub(super) fn data(&self) -> Option<&Bytes> {
        self.events().first()?.data()
    }

    /// Several lines for people.
    pub(super) fn text(&self) -> String {
        let status = styled(if self.answered.is_success() { GOOD } else { BAD }, self.answered.as_u16());
        let path = self.head.uri.path();
        let mut text = format!(
            "{} {} {path} {} → {status}\n",
            styled(DIM, shown::time_of_day(self.at)),
            self.head.method,
            styled(DIM, self.mode()),
        );
        if let Err(problem) = &self.content {
            writeln!(text, "  {}", styled(BAD, problem)).expect("a String takes every text");
        }
        for event in self.events() {
            writeln!(text, "  {}", styled(BOLD, event.event_type())).expect("a String takes every text");
            text.push_str(&shown::event(event));
        }
        for (name, value) in self.delivery_headers() {
            writeln!(text, "  {}", styled(DIM, format_args!("{name}: {value}")))
                .expect("a String takes every text");
        }
        text.push('\n');
        text
    }

    /// A JSON object on a line of its own per event; of a request without an event, one.
    pub(super) fn json(&self) -> String {
        let line = |event: Option<&Event>| {
            let line = Line {
                received: shown::rfc3339(self.at),
                method: self.head.method.as_str(),
                path: self.head.uri.path(),
                mode: self.mode(),
                event: event.map(shown::event_json),
                problem: self.content.as_ref().err().map(String::as_str),
                headers: self.delivery_headers().collect(),
                answered: self.answered.as_u16(),
            };
            format!("{}\n", serde_json::to_string(&line).expect("texts and numbers are JSON"))
        };
        match self.events() {
            [] => line(None),
            events => events.iter().map(|event| line(Some(event))).collect(),
        }
    }

    fn events(&self) -> &[Event] {
        match &self.content {
            Ok(Incoming::One(event)) => std::slice::from_ref(event),
            Ok(Incoming::Batch(events)) => events,
            Err(_) => &[],
        }
    }

    fn mode(&self) -> &'static str {
        let content_type = self.head.headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
        match &self.content {
            Err(_) => "not an event",
            Ok(Incoming::Batch(_)) => "batched",
            Ok(Incoming::One(_))
                if content_type.to_ascii_lowercase().starts_with(b"application/cloudevents") =>
            {
                "structured"
            }
            Ok(Incoming::One(_)) => "binary",
        }
    }

    /// What is neither an attribute nor of the connection.
    fn delivery_headers(&self) -> impl Iterator<Item = (&str, String)> {
        const OTHERS: [HeaderName; 6] =
            [HOST, ACCEPT, USER_AGENT, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING];
        let headers = self.head.headers.iter();
        headers
            .filter(|(name, _)| !OTHERS.contains(name) && !name.as_str().starts_with("ce-"))
            .map(|(name, value)| (name.as_str(), value.as_bytes().escape_ascii().to_string()))
    }
}
