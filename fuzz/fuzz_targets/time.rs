//! Instants in RFC 3339.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perennis_shared::time::{Millis, Timestamp};

fuzz_target!(|text: &str| {
    if let Ok(timestamp) = Timestamp::parse(text) {
        assert_eq!(Timestamp::parse(&timestamp.to_string()), Ok(timestamp));
    }
    if let Ok(millis) = Millis::parse_rfc3339(text) {
        assert_eq!(Millis::parse_rfc3339(&millis.to_string()), Ok(millis));
    }
});
