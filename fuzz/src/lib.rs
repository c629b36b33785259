//! What the fuzz targets share: the shape of their input, and what must hold for every event that was read.
//!
//! An input is text as people would write it: lines `name: value`, an empty line, and the body.
//!
//! With stable Rust and cargo-fuzz, from the root of the repository:
//!
//! ```sh
//! mkdir -p fuzz/corpus/http_request
//! cargo fuzz run --sanitizer none http_request fuzz/corpus/http_request fuzz/seeds/http_request -- \
//!     -dict=fuzz/dictionary.txt -max_len=4096 -timeout=10 -max_total_time=60
//! ```

use trigon_core::binding::http::{Incoming, decode, decode_reply, encode};
use trigon_core::binding::json;
use trigon_core::binding::record::Envelope;
use trigon_core::delivery::Format;
use trigon_core::event::{Attribute, Event, ValueType};
use trigon_core::record::Timestamp;

/// A message taken apart.
pub struct Message<'a> {
    /// Names and values.
    pub lines: Vec<(&'a [u8], &'a [u8])>,
    /// What follows the empty line; `None` when there is none.
    pub body: Option<&'a [u8]>,
}

impl<'a> Message<'a> {
    /// Takes the input apart. A line without a colon is a name without a value.
    pub fn of(mut input: &'a [u8]) -> Self {
        let mut lines = Vec::new();
        while let Some(end) = input.iter().position(|byte| *byte == b'\n') {
            let line = &input[..end];
            input = &input[end + 1..];
            if line.is_empty() {
                return Self { lines, body: Some(input) };
            }
            let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
            let value = line.get(colon + 1..).unwrap_or_default();
            lines.push((&line[..colon], value.strip_prefix(b" ").unwrap_or(value)));
        }
        Self { lines, body: None }
    }
}

/// Sends a valid event through every encoding and panics when it does not come out as it went in.
pub fn check(event: &Event) {
    assert_eq!(&event.clone().into_builder().build().expect("it is valid"), event);

    let record = Envelope::of(event.clone()).encode(Timestamp(1));
    assert_eq!(&Envelope::decode(&record).expect("it was encoded here").event, event);

    assert_eq!(as_headers_tell(&over_http(event, Format::Binary)), as_headers_tell(event));

    // JSON may say explicitly what the event left open, but only the first time.
    let once = over_http(event, Format::Json);
    assert_eq!(over_http(&once, Format::Json), once);
    assert_eq!(json::parse(&json::write(&once)).expect("it was written here"), once);
}

fn over_http(event: &Event, format: Format) -> Event {
    let (headers, body) = encode(event, format);
    let reply = decode_reply(&headers, body.clone()).expect("it was encoded here");
    match decode(&headers, body).expect("it was encoded here") {
        Incoming::One(event) => {
            assert_eq!(reply.as_ref(), Some(&event));
            event
        }
        Incoming::Batch(events) => panic!("one event became a batch: {events:?}"),
    }
}

/// HTTP knows no types, and no data that is empty.
fn as_headers_tell(event: &Event) -> (Vec<Attribute>, Vec<u8>) {
    let mut attributes = event.attributes().to_vec();
    attributes.iter_mut().for_each(|attribute| attribute.value_type = ValueType::String);
    (attributes, event.data().map(|data| data.to_vec()).unwrap_or_default())
}
