//! Proofs about a label of an identity: one form each, and nothing is shown that the identity has not signed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perennis_shared::{
    did::{Identity, Profile},
    log::LabelProof,
    taglist::tree::Proven,
    time::Millis,
};

const NOW: Millis = Millis(1_795_253_220_000);

fuzz_target!(|data: &[u8]| {
    let Ok(proof) = LabelProof::from_bytes(data) else {
        return;
    };
    assert_eq!(proof.to_bytes(), data);
    // This identity has signed one list, with one label, in its first entry.
    let identity = Identity::from_root(Profile::V2, [7; 32].into());
    if let Ok(shown) = proof.verify(&identity.name(), NOW) {
        assert_eq!(shown.entry.seq(), 1);
        let says = matches!(shown.proven, Proven::Present(_));
        assert_eq!(
            says,
            shown.key.handle().as_str() == "@alice" && shown.key.label().as_str() == "spam"
        );
    }
});
