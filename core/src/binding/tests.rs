//! What goes through all bindings comes out as it went in, for arbitrary events.

use bytes::Bytes;
use proptest::prelude::*;

use super::http::{Incoming, decode, decode_reply, encode};
use super::json;
use super::record::{Audience, Envelope};
use crate::dead_letter;
use crate::delivery::{Destination, Failure, Format, Retry};
use crate::event::strategy::{event, event_of};
use crate::event::{Attribute, Event, EventBuilder, SpecVersion, ValueType};
use crate::name::TriggerId;
use crate::record::Timestamp;

/// HTTP knows no types and no empty data, and its headers no order; nothing else may be lost.
fn as_headers_tell(event: &Event) -> (SpecVersion, Vec<Attribute>, Option<Bytes>) {
    let mut attributes = event.attributes().to_vec();
    attributes.iter_mut().for_each(|attribute| attribute.value_type = ValueType::String);
    attributes.sort_by(|a, b| a.name.cmp(&b.name));
    (event.spec_version(), attributes, event.data().filter(|data| !data.is_empty()).cloned())
}

fn over_http(event: &Event, format: Format) -> Event {
    let (headers, body) = encode(event, format);
    let reply = decode_reply(&headers, body.clone()).unwrap().expect("an event is a reply");
    match decode(&headers, body).unwrap() {
        Incoming::One(event) => {
            assert_eq!(event, reply);
            event
        }
        Incoming::Batch(events) => panic!("one event became a batch: {events:?}"),
    }
}

fn over_the_log(event: &Event) -> Event {
    Envelope::decode(&Envelope::of(event.clone()).encode(Timestamp(0))).unwrap().event
}

/// EXT-01 to EXT-10, X-12: a hop changes no extension that it does not own
#[test]
fn extensions_that_others_define_pass_unchanged() {
    let extensions = [
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("tracestate", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
        ("partitionkey", "key 1"),
        ("sequence", "0000001"),
        ("sampledrate", "30"),
        ("expirytime", "2018-04-05T17:31:00Z"),
        ("dataref", "https://example.com/blob?sig=%2F"),
        ("recordedtime", "2018-04-05T17:31:00.000Z"),
        ("bamtransactionid", "4711"),
        ("dataclassification", "confidential"),
        ("dssematerial", "eyJwYXlsb2FkIjoiIn0="),
    ];
    let builder = EventBuilder::new().spec_version("1.0").attribute("id", "1").attribute("source", "/s");
    let builder = extensions.iter().fold(builder, |builder, (name, value)| builder.attribute(*name, *value));
    let event = builder.attribute("type", "t").build().unwrap();
    for format in [Format::Binary, Format::Json] {
        assert_eq!(over_http(&over_the_log(&over_http(&event, format)), format), event);
    }
}

/// CE-09, IN-20: in one attribute, in many, or in the data
#[test]
fn events_of_64_kib_pass_in_every_encoding() {
    const SIZE: usize = 64 * 1024;
    let builder = || {
        let builder = EventBuilder::new().spec_version("1.0").attribute("id", "1").attribute("source", "/s");
        builder.attribute("type", "t").attribute("datacontenttype", "text/plain")
    };
    let one = builder().attribute("ext", "x".repeat(SIZE));
    let many = (0..SIZE / 10).fold(builder(), |builder, n| builder.attribute(format!("x{n}"), ""));
    let data = builder().data(vec![b'x'; SIZE]);
    for builder in [one, many, data] {
        let event = builder.build().unwrap();
        for format in [Format::Binary, Format::Json] {
            assert_eq!(over_http(&over_the_log(&event), format), event);
        }
    }
}

proptest! {
    /// IN-17, IN-18, HTTP-05 to HTTP-11, CE-08, EXT-04 to EXT-09, EXT-11
    #[test]
    fn binary_http_keeps_everything(event in event()) {
        prop_assert_eq!(as_headers_tell(&over_http(&event, Format::Binary)), as_headers_tell(&event));
    }

    /// KAF-02, KAF-04, CE-13, X-17
    #[test]
    fn the_log_keeps_everything_types_and_order_included(event in event(), only in any::<bool>()) {
        let audience = if only { Audience::Only(TriggerId::new("ns", "t")) } else { Audience::Matching };
        let passed_through = vec![("x-b3-sampled".into(), Bytes::from_static(b"1"))];
        let envelope = Envelope { event, passed_through, audience };
        let record = envelope.encode(Timestamp(7));
        prop_assert_eq!(Envelope::decode(&record).unwrap(), envelope);
        prop_assert_eq!(record.timestamp, Timestamp(7));
    }

    /// IN-17, IN-18, HTTP-04, HTTP-15
    #[test]
    fn the_subscriber_gets_the_headers_and_the_body_that_the_producer_sent(event in event()) {
        let sent = encode(&event, Format::Binary);
        let Incoming::One(received) = decode(&sent.0, sent.1.clone()).unwrap() else { panic!("a batch") };
        prop_assert_eq!(encode(&over_the_log(&received), Format::Binary), sent);
    }

    /// JSON-02 to JSON-07: attributes keep order and types; JSON data loses at most the space around it
    #[test]
    fn json_keeps_everything_of_version_1_0(event in event_of(SpecVersion::V10)) {
        let read = over_http(&event, Format::Json);
        prop_assert_eq!(read.attributes(), event.attributes());
        let (Some(read), Some(data)) = (read.data(), event.data()) else {
            prop_assert_eq!(read.data(), event.data());
            return Ok(());
        };
        prop_assert!(read == data || *read == *data.trim_ascii(), "{:?} became {:?}", data, read);
    }

    /// JSON-08, CE-13
    #[test]
    fn what_was_read_from_json_is_written_and_read_again_unchanged(
        events in proptest::collection::vec(event(), 0..4)
    ) {
        let once = json::parse_batch(&json::write_batch(&events)).unwrap();
        let twice: Vec<Event> = once.iter().map(|event| json::parse(&json::write(event)).unwrap()).collect();
        prop_assert_eq!(&twice, &once);
        prop_assert_eq!(json::parse_batch(&json::write_batch(&once)).unwrap(), once);
    }

    /// HTTP-02, KAF-06: the way of an event that came structured and leaves in either mode
    #[test]
    fn structured_events_go_through_the_log_and_out_in_both_modes(event in event()) {
        let received = over_http(&event, Format::Json);
        let stored = over_the_log(&received);
        prop_assert_eq!(&over_http(&stored, Format::Json), &received);
        prop_assert_eq!(as_headers_tell(&over_http(&stored, Format::Binary)), as_headers_tell(&received));
    }

    /// DLS-07, peer's R2: a dead letter can be stored and sent, whatever the subscriber answered
    #[test]
    fn a_dead_letter_is_an_event_like_any_other(
        event in event(),
        text in "\\PC*",
        status in proptest::option::of(any::<u16>()),
        body in proptest::collection::vec(any::<u8>(), 0..1_500),
        extensions in proptest::collection::vec((".{0,10}", ".{0,10}"), 0..5),
    ) {
        let failure = Failure {
            reason: String::new(),
            status,
            body: body.into(),
            extensions,
            retry: Retry::Useful,
            retry_after: None,
        };
        let dead = dead_letter::with_error(&event, &Destination { text, uri: None }, &failure);
        prop_assert_eq!(&over_the_log(&dead), &dead);
        prop_assert_eq!(as_headers_tell(&over_http(&dead, Format::Binary)), as_headers_tell(&dead));
        prop_assert_eq!(&dead.attributes()[..event.attributes().len()], event.attributes());
        prop_assert_eq!(dead.data(), event.data());
    }

    /// Whatever arrives, the answer is an event or a message, never a panic.
    #[test]
    fn any_message_is_read_or_refused(
        lines in proptest::collection::vec(("(ce-[a-z_-]{0,4}|content-type|ce-id|ce-time)", "[ -~é€]{0,12}"), 0..8),
        kind in proptest::option::of("application/cloudevents(-batch)?[+]json"),
        body in prop_oneof!["\\PC{0,40}", "[\\[\\]{}:,\"a-e0-9nulti]{0,40}"],
    ) {
        let mut headers = ::http::HeaderMap::new();
        for (name, value) in lines.into_iter().chain(kind.map(|kind| ("content-type".to_owned(), kind))) {
            let name = ::http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, ::http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        if let Err(error) = decode(&headers, body.into()) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
