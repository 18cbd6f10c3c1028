//! The fetch protocol and topics: what is accepted says the same when it is written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perennis_shared::{
    ipns::Name,
    wire::fetch::{answer, parse_answer, parse_request, request},
};

fuzz_target!(|data: &[u8]| {
    if let Ok(key) = parse_request(data) {
        assert_eq!(parse_request(&request(key)), Ok(key));
    }
    if let Ok(found) = parse_answer(data) {
        assert_eq!(parse_answer(&answer(found)), Ok(found));
    }
    if let Ok(text) = core::str::from_utf8(data)
        && let Some(name) = Name::from_topic(text)
    {
        assert_eq!(name.topic(), text);
    }
});
