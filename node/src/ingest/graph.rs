//! What is below a head: the new part of it, as it came with a message, and what a walk has found.

use std::collections::{HashMap, HashSet};

use perennis_rt as rt;
use perennis_shared::cid::{Block, Cid, Multihash, version_1};
use perennis_shared::codec::{self, CodecError};
use perennis_shared::ipns::Name;
use perennis_shared::log::{Entry, UnverifiedEntry};

use super::{Ingest, IngestError};
use crate::storage::Shortfall;

/// Most missing blocks that one refusal lists.
const MISSING_LISTED: usize = 1_000;

impl Ingest {
    /// Checks the head and everything below it that is new.
    pub(super) async fn graph(
        &self,
        name: &Name,
        head: Cid,
        blocks: Vec<Block>,
    ) -> Result<Graph, IngestError> {
        let sent = by_hash(&blocks);
        drop(blocks);
        let examined = self.examine(name, &head, &sent).await?;

        let mut new = Vec::new();
        let mut new_bytes = 0;
        let mut required = Vec::new();
        let mut missing = Vec::new();
        let mut seen = HashSet::from([version_1(&head)]);
        let mut level = vec![head];
        while !level.is_empty() {
            let mut outside = Vec::new();
            let mut next = Vec::new();
            for cid in level {
                // What was sent under another CID of its multihash is the same block.
                let Some(block) = sent.get(cid.hash()).and_then(|block| block.named(&cid)) else {
                    outside.push(cid);
                    continue;
                };
                for link in links(&block)? {
                    if seen.insert(version_1(&link)) {
                        next.push(link);
                    }
                }
                new_bytes += block.bytes().len() as u64;
                new.push(block);
            }
            required.extend_from_slice(&outside);
            missing.extend(self.read.held().absent(outside).await?);
            if missing.len() > MISSING_LISTED {
                break;
            }
            level = next;
        }
        if !missing.is_empty() {
            missing.truncate(MISSING_LISTED);
            return Err(IngestError::Missing { cids: missing });
        }
        let sent = (new.len() as u64, new_bytes);
        // Blocks that nothing leads to are left out: nobody could ask for them, nobody would hold them.
        let fresh = self
            .read
            .held()
            .absent(new.iter().map(|block| *block.cid()).collect())
            .await?;
        let fresh: HashSet<Cid> = fresh.into_iter().collect();
        new.retain(|block| {
            let keep = fresh.contains(block.cid());
            if !keep {
                new_bytes -= block.bytes().len() as u64;
            }
            keep
        });
        Ok(Graph {
            head: examined,
            sent,
            new,
            new_bytes,
            required,
        })
    }

    /// Reads the head, and checks that it was signed by the identity whose name it is.
    pub(super) async fn examine(
        &self,
        name: &Name,
        head: &Cid,
        sent: &HashMap<Multihash, Block>,
    ) -> Result<Entry, IngestError> {
        let missing = |cid: Cid| IngestError::Missing { cids: vec![cid] };
        let entry = self.block(sent, head).await?;
        let entry = entry.ok_or_else(|| missing(*head))?;
        let entry = UnverifiedEntry::parse(&entry)?;
        let document = self.block(sent, entry.document()).await?;
        let document = document.ok_or_else(|| missing(*entry.document()))?;
        Ok(entry.verify(name, &document, rt::now())?)
    }

    async fn block(
        &self,
        sent: &HashMap<Multihash, Block>,
        cid: &Cid,
    ) -> Result<Option<Block>, IngestError> {
        match sent.get(cid.hash()).and_then(|block| block.named(cid)) {
            Some(block) => Ok(Some(block)),
            None => Ok(self.read.block(cid).await?),
        }
    }
}

/// The new part of a graph, checked.
pub(super) struct Graph {
    pub(super) head: Entry,
    /// How many blocks of it came, and their bytes, whether or not they were here.
    pub(super) sent: (u64, u64),
    pub(super) new: Vec<Block>,
    pub(super) new_bytes: u64,
    /// Blocks that are here already and that the new ones lead to.
    pub(super) required: Vec<Cid>,
}

/// What a walk from a head found.
#[derive(Debug)]
pub(crate) enum FetchedGraph {
    /// Everything below it, what was fetched included.
    Complete {
        bytes: u64,
        count: u64,
        /// A block whose links cannot be read, if there is one.
        opaque: Option<Shortfall>,
    },
    /// Some blocks could not be had.
    Incomplete {
        missing: u64,
        /// Which, and why.
        why: Shortfall,
    },
    /// It is no log of ours.
    Foreign,
    /// It is no log of ours, the name is followed, and everything below it is here, what was fetched included.
    Other {
        bytes: u64,
        count: u64,
        /// A block whose links cannot be read, if there is one.
        opaque: Option<Shortfall>,
    },
}

pub(super) fn by_hash(blocks: &[Block]) -> HashMap<Multihash, Block> {
    blocks
        .iter()
        .map(|block| (*block.cid().hash(), block.clone()))
        .collect()
}

fn links(block: &Block) -> Result<Vec<Cid>, CodecError> {
    codec::links(block.cid(), block.bytes())
}
