//! Walking everything below a head.

use std::collections::HashSet;

use perennis_shared::cid::{Block, Cid, version_1};
use perennis_shared::codec::{self, CodecError};

use super::{HeldBlocks, Shortfall, StorageError};

/// What lies below a head.
#[derive(Debug, Default)]
pub(crate) struct Walked {
    /// Blocks that are here, and their bytes.
    pub(crate) blocks: u64,
    pub(crate) bytes: u64,
    /// Blocks that are not; what lies below them is unknown.
    pub(crate) missing: Vec<Cid>,
    /// The first block whose links cannot be read, so that what is below it is not known.
    pub(crate) opaque: Option<Shortfall>,
    /// Whether there may be more than those: the walk ended when it had gathered as many as it holds.
    pub(crate) has_more_missing: bool,
    /// Whether there is more than may be kept for one name.
    pub(crate) is_too_large: bool,
}

/// Most missing blocks that one walk gathers. Whoever had them fetched walks again.
const MISSING: usize = 65_536;

/// Blocks that are read at once; with the largest of them it bounds the memory.
const AT_ONCE: usize = 16;

/// Walks the graph below a root, reading and checking every block. `None` when it is to stop.
pub(crate) async fn walk(
    held: &dyn HeldBlocks,
    root: Cid,
    most_blocks: u64,
    is_stopping: impl Fn() -> bool,
) -> Result<Option<Walked>, StorageError> {
    let mut walked = Walked::default();
    let mut seen = HashSet::from([version_1(&root)]);
    let mut ahead = vec![root];
    while !ahead.is_empty() {
        if is_stopping() {
            return Ok(None);
        }
        let cids = ahead.split_off(ahead.len().saturating_sub(AT_ONCE));
        let blocks = held.blocks(&cids).await;
        for (cid, block) in cids.into_iter().zip(blocks) {
            match block {
                Ok(Some(block)) => {
                    walked.blocks += 1;
                    walked.bytes += block.bytes().len() as u64;
                    match links(&block) {
                        Ok(links) => {
                            let new = |link: &Cid| seen.insert(version_1(link));
                            ahead.extend(links.into_iter().filter(new));
                        }
                        Err(error) => {
                            let opaque = || Shortfall::opaque(cid, &error);
                            walked.opaque.get_or_insert_with(opaque);
                        }
                    }
                }
                // A damaged block was set aside; it is missing like any other.
                Ok(None) | Err(StorageError::Corrupt(_)) => walked.missing.push(cid),
                Err(error) => return Err(error),
            }
            walked.is_too_large = seen.len() as u64 > most_blocks;
            walked.has_more_missing = walked.missing.len() >= MISSING;
            if walked.is_too_large || walked.has_more_missing {
                return Ok(Some(walked));
            }
        }
    }
    Ok(Some(walked))
}

/// The blocks that a block leads to.
pub(crate) fn links(block: &Block) -> Result<Vec<Cid>, CodecError> {
    codec::links(block.cid(), block.bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use perennis_shared::cid::{Codec, cid_of};
    use perennis_shared::codec::{Value, dag_cbor};
    use perennis_store::Batch;

    use super::*;
    use crate::storage::Storage;

    fn list(links: impl Iterator<Item = Cid>) -> Block {
        let value = Value::List(links.map(Value::Link).collect());
        let bytes = dag_cbor::encode(&value).unwrap();
        let cid = cid_of(Codec::DagCbor, &bytes);
        Block::verified(cid, bytes).unwrap()
    }

    #[tokio::test]
    async fn more_missing_blocks_than_are_gathered_are_no_graph_that_is_too_large() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path(), &[]).unwrap();
        let leaves = |half: u32| {
            let numbers = half * 40_000..(half + 1) * 40_000;
            numbers.map(|number| cid_of(Codec::Raw, &number.to_be_bytes()))
        };
        let halves = [list(leaves(0)), list(leaves(1))];
        let root = list(halves.iter().map(|block| *block.cid()));
        let mut batch = Batch::new();
        batch.put_block(root.clone());
        for block in halves {
            batch.put_block(block);
        }
        storage.write(batch).await.unwrap();
        let most = |blocks| walk(&storage, *root.cid(), blocks, || false);
        let walked = most(1 << 20).await.unwrap().unwrap();
        assert!(walked.has_more_missing && !walked.is_too_large);
        assert_eq!(walked.missing.len(), MISSING);
        let walked = most(50_000).await.unwrap().unwrap();
        assert!(walked.is_too_large);
    }
}
