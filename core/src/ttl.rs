//! The extension that ends loops: each time an event comes back as a reply it has one hop less.
//!
//! Trigon sets it at the ingress, keeps it in the log, and shows it to no subscriber.

use bytestring::ByteString;

use crate::event::{Attribute, Event, ValueType};

/// The extension that counts down.
pub const ATTRIBUTE: &str = "knativebrokerttl";

/// The hops of an event that says nothing about them, and the most that any event gets.
pub const MOST: i32 = 255;

/// [`MOST`] as a text that needs no memory of its own: every new event gets it.
const MOST_TEXT: &str = "255";

/// An event that has been around too often. It is refused; nothing is wrong with the event before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "attribute {ATTRIBUTE}: no hops are left, the event went around {MOST} times; \
     look for a subscriber that replies to its own replies"
)]
pub struct TtlExhausted;

/// Gives an event from a producer its hops, or takes one of those it has (TTL-02, TTL-03).
///
/// # Errors
/// When none is left.
pub fn admit(event: Event) -> Result<Event, TtlExhausted> {
    match hops(&event) {
        Some(hops) => with_hops(event, hops.saturating_sub(1)),
        None => with_hops(event, MOST),
    }
}

/// Takes the hops off, for the delivery (TTL-04).
pub fn strip(mut event: Event) -> (Event, Option<u32>) {
    let hops = hops(&event).and_then(|hops| u32::try_from(hops).ok());
    event.take(ATTRIBUTE);
    (event, hops)
}

/// Gives a reply one hop less than the delivered event had, whatever the subscriber wrote (TTL-04).
///
/// # Errors
/// When none is left.
pub fn admit_reply(reply: Event, delivered: Option<u32>) -> Result<Event, TtlExhausted> {
    match delivered {
        Some(hops) => with_hops(reply, i32::try_from(hops).unwrap_or(MOST).saturating_sub(1)),
        None => with_hops(reply, MOST),
    }
}

fn hops(event: &Event) -> Option<i32> {
    event.attribute(ATTRIBUTE)?.parse().ok()
}

fn with_hops(mut event: Event, hops: i32) -> Result<Event, TtlExhausted> {
    if hops <= 0 {
        return Err(TtlExhausted);
    }
    event.set(Attribute {
        name: ByteString::from_static(ATTRIBUTE),
        value: if hops < MOST { hops.to_string().into() } else { ByteString::from_static(MOST_TEXT) },
        value_type: ValueType::Integer,
    });
    Ok(event)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventBuilder;

    fn event(hops: Option<&str>) -> Event {
        let builder = EventBuilder::new().spec_version("1.0").attribute("id", "1");
        let builder = builder.attribute("source", "/test").attribute("type", "test");
        match hops {
            Some(hops) => builder.attribute(ATTRIBUTE, hops),
            None => builder,
        }
        .build()
        .unwrap()
    }

    /// TTL-02, TTL-03: the vectors of the reference, and what they leave out
    #[test]
    fn the_ingress_sets_or_counts_down() {
        let cases = [
            (None, Some("255")),
            (Some("10"), Some("9")),
            (Some("1"), None),
            (Some("0"), None),
            (Some("XYZ"), Some("255")),
            (Some("1.5"), Some("255")),
            (Some("99999999999"), Some("255")),
            (Some("2147483647"), Some("255")),
            (Some("-2147483648"), None),
            (Some("2"), Some("1")),
        ];
        for (before, after) in cases {
            let admitted = admit(event(before));
            let shown = admitted.as_ref().ok().map(|event| event.attribute(ATTRIBUTE).unwrap());
            assert_eq!(shown, after, "{before:?}");
            if let Ok(admitted) = admitted {
                assert_eq!(admitted.attributes().last().unwrap().value_type, ValueType::Integer);
                assert_eq!(admitted.attributes().len(), 4);
            }
        }
    }

    ///
    #[test]
    fn the_most_hops_are_written_as_their_number() {
        assert_eq!(MOST_TEXT, MOST.to_string());
    }

    /// TTL-04
    #[test]
    fn a_subscriber_neither_sees_nor_sets_the_hops() {
        let (delivered, hops) = strip(event(Some("7")));
        assert_eq!(delivered, event(None));
        assert_eq!(hops, Some(7));
        for written in [None, Some("200"), Some("0"), Some("nonsense")] {
            let reply = admit_reply(event(written), hops).unwrap();
            assert_eq!(reply.attribute(ATTRIBUTE), Some("6"), "{written:?}");
        }
        assert_eq!(strip(event(None)), (event(None), None));
        assert_eq!(strip(event(Some("no number"))), (event(None), None));
        assert_eq!(admit_reply(event(None), None).unwrap().attribute(ATTRIBUTE), Some("255"));
    }

    /// TTL-05, X-20, X-32
    #[test]
    fn a_subscriber_that_replies_to_itself_gets_255_events() {
        let mut event = admit(event(None)).unwrap();
        let mut deliveries = 0;
        loop {
            deliveries += 1;
            let (delivered, hops) = strip(event);
            match admit_reply(delivered, hops) {
                Ok(reply) => event = reply,
                Err(TtlExhausted) => break,
            }
        }
        assert_eq!(deliveries, 255);
    }
}
