//! Log entries: nothing but what the identity has signed is ever verified.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perennis_shared::{
    cid::{Block, Codec, is_identity},
    codec::{dag_cbor, links},
    did::{DidDocument, Identity, Profile},
    log::UnverifiedEntry,
    time::Millis,
};

const NOW: Millis = Millis(1_795_253_220_000);

/// All that this identity has ever signed.
const SIGNED: [&[u8]; 3] = [
    include_bytes!("../seeds/log_entry/first"),
    include_bytes!("../seeds/log_entry/second"),
    include_bytes!("../seeds/log_entry/compacted"),
];

fuzz_target!(|data: &[u8]| {
    let Ok(block) = Block::new(Codec::DagCbor, data.to_vec()) else {
        return;
    };
    let Ok(entry) = UnverifiedEntry::parse(&block) else {
        return;
    };
    assert!(dag_cbor::decode(data).is_ok());
    // A document that is no block of its own, inside an identity CID, is none of the links.
    if let Ok(found) = links(block.cid(), data) {
        assert!(is_identity(entry.document()) || found.contains(entry.document()));
    }
    let identity = Identity::from_root(Profile::V2, [7; 32].into());
    let document = DidDocument::new(&identity, NOW)
        .to_block()
        .expect("a document");
    if entry.verify(&identity.name(), &document, NOW).is_ok() {
        assert!(SIGNED.contains(&data));
    }
});
