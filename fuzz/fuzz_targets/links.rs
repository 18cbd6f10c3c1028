//! Links of a block of any codec; the first byte chooses it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perennis_shared::{
    cid::{Codec, cid_of, is_identity},
    codec::links,
};

const CODECS: [Codec; 4] = [Codec::Raw, Codec::DagCbor, Codec::DagJson, Codec::DagPb];

fuzz_target!(|data: &[u8]| {
    let Some((&choice, bytes)) = data.split_first() else {
        return;
    };
    let codec = CODECS[usize::from(choice) % CODECS.len()];
    if let Ok(found) = links(&cid_of(codec, bytes), bytes) {
        assert!(!found.iter().any(is_identity));
    }
});
