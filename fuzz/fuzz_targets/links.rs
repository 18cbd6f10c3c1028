//! Links of a block of any codec; the first byte chooses it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perennis_shared::{
    cid::{Codec, cid_of, is_identity},
    codec::{links, links_of_version_1},
};

const CODECS: [Codec; 6] = [
    Codec::GitRaw,
    Codec::DagCbor,
    Codec::DagJson,
    Codec::DagPb,
    Codec::DagJose,
    Codec::Raw,
];

fuzz_target!(|data: &[u8]| {
    let Some((&choice, bytes)) = data.split_first() else {
        return;
    };
    let codec = CODECS[usize::from(choice) % CODECS.len()];
    let cid = cid_of(codec, bytes);
    let found = links(&cid, bytes);
    if let Ok(found) = &found {
        assert!(!found.iter().any(is_identity));
    }
    if let Ok(strict) = links_of_version_1(&cid, bytes) {
        assert_eq!(found, Ok(strict));
    }
});
