//! CIDs as bytes and as text: what is read is written back exactly.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perennis_shared::cid::{parse_cid, parse_cid_bytes, verify};

fuzz_target!(|data: &[u8]| {
    if let Ok(cid) = parse_cid_bytes(data) {
        assert_eq!(cid.to_bytes(), data);
        assert_eq!(parse_cid(&cid.to_string()), Ok(cid));
        let _ = verify(&cid, data);
    }
    if let Ok(text) = core::str::from_utf8(data)
        && let Ok(cid) = parse_cid(text)
    {
        assert_eq!(parse_cid_bytes(&cid.to_bytes()), Ok(cid));
    }
});
