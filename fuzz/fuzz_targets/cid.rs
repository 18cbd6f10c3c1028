//! CIDs as bytes and as text: what is read is written back exactly.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perennis_shared::cid::{
    Block, HashFn, Prefix, VerifyError, parse_cid, parse_cid_bytes, parse_multihash_bytes, verify,
};

fuzz_target!(|data: &[u8]| {
    if let Ok(cid) = parse_cid_bytes(data) {
        assert_eq!(cid.to_bytes(), data);
        assert_eq!(parse_cid(&cid.to_string()), Ok(cid));
        if let Err(VerifyError::Mismatch) = verify(&cid, data)
            && cid.hash().code() != HashFn::Identity.code()
        {
            let right =
                Block::hashed(Prefix::of(&cid), data.to_vec()).expect("only the digest is wrong");
            assert_eq!(verify(right.cid(), data), Ok(()));
        }
    }
    if let Ok(hash) = parse_multihash_bytes(data) {
        assert_eq!(hash.to_bytes(), data);
    }
    if let Ok(text) = core::str::from_utf8(data)
        && let Ok(cid) = parse_cid(text)
    {
        assert_eq!(parse_cid_bytes(&cid.to_bytes()), Ok(cid));
    }
});
