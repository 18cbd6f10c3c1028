//! Files and directories as other software makes them.

use perennis_shared::cid::{Block, Codec};
use perennis_shared::codec::dag_pb::{self, Link};
use perennis_shared::codec::protobuf::Writer;

/// A block of the codec raw.
pub(crate) fn raw(content: impl Into<Vec<u8>>) -> Block {
    Block::new(Codec::Raw, content.into()).unwrap()
}

/// A DAG-PB block with this message of UnixFS.
fn unixfs(data: Writer, links: &[(&str, &Block)]) -> Block {
    let links = links.iter().map(|(name, block)| Link {
        hash: *block.cid(),
        name: Some((*name).into()),
        size_claimed: Some(block.bytes().len() as u64),
    });
    let node = dag_pb::Node {
        links: links.collect(),
        data: Some(data.finish()),
    };
    Block::new(Codec::DagPb, dag_pb::encode(&node).unwrap()).unwrap()
}

/// A file with bytes of its own and of these parts, whose sizes are claimed.
pub(crate) fn file(own: &[u8], parts: &[(&Block, u64)]) -> Block {
    let mut data = Writer::new();
    data.uint(1, 2);
    data.bytes(2, own);
    parts.iter().for_each(|(_, size)| data.uint(4, *size));
    let links: Vec<(&str, &Block)> = parts.iter().map(|(block, _)| ("", *block)).collect();
    unixfs(data, &links)
}

/// A directory in one block.
pub(crate) fn directory(entries: &[(&str, &Block)]) -> Block {
    let mut data = Writer::new();
    data.uint(1, 1);
    unixfs(data, entries)
}

/// A shard of a directory, whose names begin with the numbers of their places.
pub(crate) fn shard(entries: &[(&str, &Block)]) -> Block {
    let mut data = Writer::new();
    data.uint(1, 5);
    data.uint(5, 0x22);
    data.uint(6, 256);
    unixfs(data, entries)
}

/// A file of two levels, and the blocks of it, the root first.
pub(crate) fn large_file() -> (Vec<u8>, Vec<Block>) {
    let content: Vec<u8> = (0..700_000_u32).map(|at| (at % 251) as u8).collect();
    let leaves: Vec<Block> = content[3..].chunks(100_000).map(raw).collect();
    let middle: Vec<(Block, u64)> = leaves
        .chunks(3)
        .map(|leaves| {
            let parts: Vec<(&Block, u64)> = leaves
                .iter()
                .map(|leaf| (leaf, leaf.bytes().len() as u64))
                .collect();
            let size = parts.iter().map(|(_, size)| size).sum();
            (file(b"", &parts), size)
        })
        .collect();
    let parts: Vec<(&Block, u64)> = middle.iter().map(|(block, size)| (block, *size)).collect();
    let root = file(&content[..3], &parts);
    let middle = middle.into_iter().map(|(block, _)| block);
    (
        content,
        [root].into_iter().chain(middle).chain(leaves).collect(),
    )
}
