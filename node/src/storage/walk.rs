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
    /// Whether there is more than may be kept for one name.
    pub(crate) is_too_large: bool,
}

/// Most missing blocks that one walk gathers.
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
            if seen.len() as u64 > most_blocks || walked.missing.len() > MISSING {
                walked.is_too_large = true;
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
