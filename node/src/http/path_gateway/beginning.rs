//! How a file begins, for its media type.

use perennis_shared::cid::{Block, Cid};
use perennis_shared::unixfs::{File, Node};

use super::media_type::SNIFFED_BYTES;
use crate::http::service::Service;

/// Most blocks that are read for it. A file whose writer makes more levels than this before the first bytes is of no type.
const BLOCKS: usize = 16;

/// The first bytes of a file, as many as are looked at; fewer where a block is not here or cannot be read, which says itself when the
/// file is sent.
pub(super) async fn of_file(node: &Service, block: &Block, file: &File) -> Vec<u8> {
    let mut begun = own_bytes(block, file);
    let mut ahead: Vec<Cid> = below(file);
    for _ in 0..BLOCKS {
        let Some(cid) = ahead.pop().filter(|_| begun.len() < SNIFFED_BYTES) else {
            break;
        };
        let Ok(Some(block)) = node.read.block(&cid).await else {
            break;
        };
        let Ok(Some(Node::File(file))) = Node::parse(&cid, block.bytes()) else {
            break;
        };
        begun.extend(own_bytes(&block, &file));
        ahead.extend(below(&file));
    }
    begun.truncate(SNIFFED_BYTES);
    begun
}

fn own_bytes(block: &Block, file: &File) -> Vec<u8> {
    block.bytes()[file.own_in(&(0..SNIFFED_BYTES as u64))].to_vec()
}

/// The blocks below that may hold something of the beginning, the first one last.
fn below(file: &File) -> Vec<Cid> {
    let parts = file.parts_in(&(0..SNIFFED_BYTES as u64));
    parts.into_iter().rev().map(|part| part.cid).collect()
}
