//! A request from a producer, or an answer of a subscriber: any headers, any body.

#![no_main]

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use trigon_core::binding::http::{Incoming, decode, decode_reply, passed_through};
use trigon_core::{dead_letter, delivery, ttl};
use trigon_fuzz::{Message, check};

fuzz_target!(|input: &[u8]| {
    let message = Message::of(input);
    let mut headers = HeaderMap::new();
    for (name, value) in message.lines {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    let body = Bytes::copy_from_slice(message.body.unwrap_or_default());
    passed_through(&headers);
    match decode_reply(&headers, body.clone()) {
        Ok(Some(reply)) => check(&reply),
        Ok(None) => {}
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let events = match decode(&headers, body) {
        Ok(Incoming::One(event)) => vec![event],
        Ok(Incoming::Batch(events)) => events,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let failure = delivery::Failure {
        reason: String::new(),
        status: Some(500),
        body: Bytes::copy_from_slice(input),
        extensions: headers
            .iter()
            .map(|(name, value)| {
                (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            })
            .collect(),
        retry: delivery::Retry::Useful,
        retry_after: None,
    };
    let subscriber = delivery::Destination { text: String::from_utf8_lossy(input).into_owned(), uri: None };
    for event in events {
        check(&event);
        check(&dead_letter::with_error(&event, &subscriber, &failure));
        if let Ok(admitted) = ttl::admit(event) {
            check(&admitted);
            check(&ttl::strip(admitted).0);
        }
    }
});
