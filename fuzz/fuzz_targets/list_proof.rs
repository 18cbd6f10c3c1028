//! Proofs about a label, against the root that their first node has.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perennis_shared::{
    cid::{Codec, cid_of},
    codec::dag_cbor::Decoder,
    taglist::{Handle, Key, Tag, tree::Proof},
};

fuzz_target!(|data: &[u8]| {
    let Ok(proof) = Proof::from_bytes(data) else {
        return;
    };
    assert_eq!(proof.to_bytes(), data);
    let handle = Handle::parse("@alice").expect("a handle");
    let label = Tag::parse("spam").expect("a label");
    let key = Key::new(&handle, &label);
    let first = Decoder::new(data).and_then(|mut decoder| {
        let mut nodes = decoder.list()?;
        nodes.next(&mut decoder)?;
        decoder.bytes()
    });
    let root = first.ok().map(|node| cid_of(Codec::DagCbor, node));
    let _ = proof.verify(root.as_ref(), &key);
});
