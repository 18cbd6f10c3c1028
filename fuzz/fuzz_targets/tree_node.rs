//! Nodes of a tag list's tree: every block of the view is the input, so that a node is its own child too.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use perennis_shared::{
    cid::{Cid, Codec, cid_of},
    taglist::{Blocks, Handle, Key, KeyPrefix, Tag, tree},
};

struct Everywhere(Bytes);

impl Blocks for Everywhere {
    fn block(&self, _: &Cid) -> Option<Bytes> {
        Some(self.0.clone())
    }
}

fuzz_target!(|data: &[u8]| {
    let root = Some(cid_of(Codec::DagCbor, data));
    let view = Everywhere(Bytes::copy_from_slice(data));
    let key = key();
    let everything = KeyPrefix::of_handles("").expect("the empty prefix");
    let page = tree::rows(root, &everything, None, 100, &view);
    if let Ok(page) = &page {
        assert!(page.items.len() <= 100);
        assert!(page.items.is_sorted_by(|a, b| a.key < b.key));
    }
    let _ = tree::row(root, &key, &view);
    let _ = tree::blocks(root, &view);
    if let Ok(proof) = tree::prove(root, &key, &view) {
        let _ = proof.verify(root.as_ref(), &key);
    }
});

fn key() -> Key {
    let handle = Handle::parse("@alice").expect("a handle");
    let label = Tag::parse("spam").expect("a label");
    Key::new(&handle, &label)
}
