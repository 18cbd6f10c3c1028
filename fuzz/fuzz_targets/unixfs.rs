//! UnixFS: whatever a block says of itself, its parts, names and paths are found or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perennis_shared::cid::{Codec, cid_of};
use perennis_shared::unixfs::{Node, PathWalk};

fuzz_target!(|data: &[u8]| {
    for codec in [Codec::DagPb, Codec::DagCbor, Codec::DagJson, Codec::Raw] {
        let cid = cid_of(codec, data);
        match Node::parse(&cid, data) {
            Ok(Some(Node::File(file))) => {
                for range in [0..1, 5..u64::MAX, u64::MAX - 1..u64::MAX] {
                    assert!(file.parts_in(&range).len() <= file.below().count());
                }
            }
            Ok(Some(Node::Shard(shard))) => {
                let parts = shard.below().count() + shard.entries().count();
                for level in [0, 1, 7, 8, u32::MAX] {
                    assert!(shard.find(b"a", level).is_none() || parts > 0);
                }
            }
            _ => {}
        }
        let mut path = PathWalk::new(cid, "a/0/b").expect("it is short");
        let before = path.clone();
        if path.follow(data).is_err() {
            assert_eq!(path.at(), before.at());
        }
    }
});
