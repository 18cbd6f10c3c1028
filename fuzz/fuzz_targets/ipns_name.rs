//! IPNS names as text and as bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perennis_shared::ipns::Name;

fuzz_target!(|data: &[u8]| {
    if let Ok(name) = Name::from_bytes(data) {
        assert_eq!(name.as_bytes(), data);
        assert_eq!(Name::parse(&name.to_string()).as_ref(), Ok(&name));
    }
    if let Ok(text) = core::str::from_utf8(data)
        && let Ok(name) = Name::parse(text)
    {
        assert_eq!(Name::parse(&name.to_string()).as_ref(), Ok(&name));
        assert_eq!(Name::parse(&name.peer_id()).as_ref(), Ok(&name));
    }
});
