//! DIDs as text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perennis_shared::did::Did;

fuzz_target!(|text: &str| {
    if let Ok(did) = Did::parse(text) {
        assert_eq!(Did::parse(&did.to_string()).as_ref(), Ok(&did));
        let _ = (did.name(), did.public_key());
    }
});
