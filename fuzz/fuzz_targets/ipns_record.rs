//! IPNS records: read, inspected, and never verified without the right key.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perennis_shared::{
    ipns::{Name, UnverifiedRecord},
    sign::SigningKey,
};

fuzz_target!(|data: &[u8]| {
    let Ok(record) = UnverifiedRecord::parse(data) else {
        return;
    };
    let _ = (
        record.value(),
        record.sequence(),
        record.validity(),
        record.ttl_ns(),
    );
    // No input was signed by this key: its seed is nowhere else.
    let stranger = Name::from_public_key(&SigningKey::from_seed(&[0x5a; 32]).public());
    assert!(record.clone().verify_at_any_time(&stranger).is_err());
    // A name that is the hash of a key, which no record carries but that of the key's holder.
    let hashed = Name::parse("QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N").expect("a peer id");
    assert!(record.verify_at_any_time(&hashed).is_err());
});
