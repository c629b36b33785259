//! What `trigon send` sends: the same event each time, but for its id and its number.

use bytes::Bytes;
use jiff::Timestamp;
use trigon_core::event::{Event, EventBuilder};
use uuid::Uuid;

use super::SendArguments;
use crate::failure::Failure;

/// Stands for the number of the event, counted from 1.
const NUMBER: &str = "{n}";

/// The event to be sent. Its parts were valid when it was made, its number apart.
pub(super) struct Template {
    attributes: Vec<(String, String)>,
    id: Option<String>,
    data: Option<Data>,
    time: Time,
}

enum Data {
    Fixed(Bytes),
    Numbered(String),
}

#[derive(Clone, Copy)]
enum Time {
    OfSending,
    Given,
}

impl Template {
    /// Reads the data and tries the first event.
    ///
    /// # Errors
    /// When the data cannot be read, the event is not valid, or many events would have one id.
    pub(super) fn new(arguments: &SendArguments) -> Result<Self, Failure> {
        if arguments.count > 1 && arguments.id.as_ref().is_some_and(|id| !id.contains(NUMBER)) {
            return Err(Failure::Usage(format!(
                "--id must contain {NUMBER} when --count is more than 1: events with one source and one id are \
                 the same event"
            )));
        }
        let data = arguments.data.as_ref().map(|source| {
            let data = source.read();
            data.map_err(|error| Failure::of(format_args!("could not read {source}"), &error))
        });
        let data = data.transpose()?.map(Data::new);
        let mut attributes = vec![
            ("source".to_owned(), arguments.source.clone()),
            ("type".to_owned(), arguments.event_type.clone()),
        ];
        let content_type = arguments.content_type.clone();
        let content_type = content_type.or_else(|| Some(data.as_ref()?.content_type().to_owned()));
        attributes.extend(content_type.map(|media_type| ("datacontenttype".to_owned(), media_type)));
        attributes.extend(arguments.subject.clone().map(|subject| ("subject".to_owned(), subject)));
        attributes.extend(arguments.extensions.iter().map(|pair| (pair.name.clone(), pair.value.clone())));
        let has_time = attributes.iter().any(|(name, _)| name == "time");
        let time = if has_time { Time::Given } else { Time::OfSending };
        let template = Self { attributes, id: arguments.id.clone(), data, time };
        template.event(1).map(|_| template)
    }

    /// The `n`-th event, counted from 1.
    ///
    /// # Errors
    /// When it is not a valid CloudEvent.
    pub(super) fn event(&self, n: u64) -> Result<Event, Failure> {
        let id = match &self.id {
            Some(id) => id.replace(NUMBER, &n.to_string()),
            None => Uuid::new_v4().to_string(),
        };
        let mut builder = EventBuilder::new().spec_version("1.0").attribute("id", id);
        for (name, value) in &self.attributes {
            builder = builder.attribute(name.as_str(), value.as_str());
        }
        if let Time::OfSending = self.time {
            builder = builder.attribute("time", Timestamp::now().to_string());
        }
        match &self.data {
            None => {}
            Some(Data::Fixed(data)) => builder = builder.data(data.clone()),
            Some(Data::Numbered(text)) => builder = builder.data(text.replace(NUMBER, &n.to_string())),
        }
        builder
            .build()
            .map_err(|invalid| Failure::Usage(format!("this is not a valid CloudEvent: {invalid}")))
    }
}

impl Data {
    fn new(data: Bytes) -> Self {
        match std::str::from_utf8(&data) {
            Ok(text) if text.contains(NUMBER) => Self::Numbered(text.to_owned()),
            _ => Self::Fixed(data),
        }
    }

    /// The media type that the data itself suggests.
    fn content_type(&self) -> &'static str {
        let first = match self {
            Self::Fixed(data) => data.clone(),
            Self::Numbered(text) => Bytes::from(text.replace(NUMBER, "1")),
        };
        match std::str::from_utf8(&first) {
            Ok(text) if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() => "application/json",
            Ok(_) => "text/plain; charset=utf-8",
            Err(_) => "application/octet-stream",
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        send: SendArguments,
    }

    fn template(arguments: &[&str]) -> Result<Template, Failure> {
        let fixed = ["send", "http://localhost/a/b", "--type", "t", "--source", "/s"];
        let line = Line::try_parse_from(fixed.iter().chain(arguments)).unwrap();
        Template::new(&line.send)
    }

    fn first(arguments: &[&str]) -> Event {
        template(arguments).and_then(|template| template.event(1)).unwrap()
    }

    #[test]
    fn an_event_has_what_the_arguments_say_and_a_time() {
        let event = first(&["--id", "7", "--subject", "x", "-e", "tenant=acme", "-e", "n=1"]);
        assert_eq!((event.id(), event.source(), event.event_type()), ("7", "/s", "t"));
        assert_eq!(event.attribute("subject"), Some("x"));
        assert_eq!(event.attribute("tenant"), Some("acme"));
        assert!(event.attribute("time").is_some());
        assert_eq!(event.data(), None);
        assert_eq!(event.attribute("datacontenttype"), None);
        let given = first(&["-e", "time=2026-01-01T00:00:00Z"]);
        assert_eq!(given.attribute("time"), Some("2026-01-01T00:00:00Z"));
    }

    #[test]
    fn the_data_says_what_it_is_unless_the_arguments_do() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [0xff, 0xfe]).unwrap();
        let binary = format!("@{}", file.path().display());
        for (data, content_type) in [
            (r#"{"a": 1}"#, "application/json"),
            (r#"{"n": {n}}"#, "application/json"),
            ("hello", "text/plain; charset=utf-8"),
            (&binary, "application/octet-stream"),
        ] {
            assert_eq!(first(&["--data", data]).attribute("datacontenttype"), Some(content_type), "{data}");
        }
        let event = first(&["--data", "<a/>", "--content-type", "text/xml"]);
        assert_eq!(event.attribute("datacontenttype"), Some("text/xml"));
    }

    #[test]
    fn many_events_have_ids_and_data_of_their_own() {
        let numbered = template(&["--id", "e{n}", "--data", "no {n}", "--count", "9"]).unwrap();
        let event = numbered.event(8).unwrap();
        assert_eq!((event.id(), event.data().unwrap().as_ref()), ("e8", b"no 8".as_slice()));
        let random = template(&["--count", "2"]).unwrap();
        assert_ne!(random.event(1).unwrap().id(), random.event(2).unwrap().id());
        let failure = template(&["--id", "same", "--count", "2"]).err().unwrap();
        assert!(matches!(&failure, Failure::Usage(message) if message.contains("{n}")), "{failure:?}");
    }

    #[test]
    fn all_that_is_wrong_with_the_event_is_told_before_anything_is_sent() {
        let failure = template(&["-e", "Bad_Name=1", "-e", "time=noon"]).err().unwrap();
        let Failure::Usage(message) = failure else { panic!("{failure:?}") };
        assert!(message.contains("Bad_Name") && message.contains("time"), "{message}");
        let failure = template(&["--data", "@/no/such/file"]).err().unwrap();
        assert!(failure.message().unwrap().starts_with("could not read /no/such/file: "), "{failure:?}");
    }
}
