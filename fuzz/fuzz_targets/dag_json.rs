//! DAG-JSON: what is accepted is canonical, and what people write has one canonical form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perennis_shared::codec::dag_json::{decode, decode_relaxed, encode};

fuzz_target!(|data: &[u8]| {
    let strict = decode(data);
    if let Ok(value) = decode_relaxed(data) {
        let text = encode(&value).expect("what was read can be written");
        assert_eq!(decode(text.as_bytes()), Ok(value));
        assert_eq!(strict.is_ok(), text.as_bytes() == data);
    } else {
        assert!(strict.is_err());
    }
});
