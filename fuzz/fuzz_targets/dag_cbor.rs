//! DAG-CBOR: what is accepted is canonical, and passing over it checks the same rules.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perennis_shared::codec::dag_cbor::{Decoder, decode, encode};

fuzz_target!(|data: &[u8]| {
    let value = decode(data);
    let passed = Decoder::new(data).and_then(|mut decoder| {
        decoder.skip(&mut |_| Ok(()))?;
        decoder.finish()
    });
    assert_eq!(value.is_ok(), passed.is_ok());
    if let Ok(value) = value {
        assert_eq!(encode(&value).as_deref(), Ok(data));
    }
});
