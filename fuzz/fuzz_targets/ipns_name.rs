//! IPNS names as text and as bytes, and the keys they stand for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perennis_shared::{
    did::Did,
    ipns::{KeyType, Name, NameKey},
};

fuzz_target!(|data: &[u8]| {
    if let Ok(name) = Name::from_bytes(data) {
        assert_eq!(name.as_bytes(), data);
        assert_eq!(Name::parse(&name.to_string()).as_ref(), Ok(&name));
    }
    if let Ok(key) = NameKey::parse(data) {
        let name = Name::from_key_protobuf(data).expect("a key that was read has a name");
        assert!(name.key_type().is_none_or(|held| held == key.key_type()));
        let has_did = Did::from_name(name).is_some();
        assert_eq!(has_did, key.key_type() == KeyType::Ed25519);
        // Nobody signed these bytes with it.
        assert!(key.verify_parts(&[b"ipns-signature:", data], data).is_err());
    }
    if let Ok(text) = core::str::from_utf8(data)
        && let Ok(name) = Name::parse(text)
    {
        assert_eq!(Name::parse(&name.to_string()).as_ref(), Ok(&name));
        assert_eq!(Name::parse(&name.peer_id()).as_ref(), Ok(&name));
    }
});
