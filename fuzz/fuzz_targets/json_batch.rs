//! The JSON format, as a batch and as one event.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use trigon_core::binding::json;
use trigon_fuzz::check;

fuzz_target!(|input: &[u8]| {
    let text = Bytes::copy_from_slice(input);
    if let Ok(event) = json::parse(&text) {
        check(&event);
    }
    match json::parse_batch(&text) {
        Ok(events) => {
            events.iter().for_each(check);
            let once = json::parse_batch(&json::write_batch(&events)).expect("it was written here");
            assert_eq!(json::parse_batch(&json::write_batch(&once)).expect("it was written here"), once);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
