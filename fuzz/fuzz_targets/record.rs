//! A record of a topic that others write to.

#![no_main]

use bytes::Bytes;
use bytestring::ByteString;
use libfuzzer_sys::fuzz_target;
use trigon_core::binding::record::Envelope;
use trigon_core::record::{Record, Timestamp};
use trigon_fuzz::{Message, check};

fuzz_target!(|input: &[u8]| {
    let message = Message::of(input);
    let headers = message
        .lines
        .iter()
        .filter_map(|(name, value)| Some((ByteString::try_from(*name).ok()?, Bytes::copy_from_slice(value))));
    let record = Record {
        key: None,
        headers: headers.collect(),
        value: message.body.map(Bytes::copy_from_slice),
        timestamp: Timestamp(1),
    };
    match Envelope::decode(&record) {
        Ok(envelope) => {
            let again = Envelope::decode(&envelope.encode(record.timestamp)).expect("it was encoded here");
            assert_eq!(again, envelope);
            check(&envelope.event);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
