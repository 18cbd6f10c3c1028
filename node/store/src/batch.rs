//! What a caller asks for in one commit.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use perennis_shared::cid::{Block, Cid, Multihash, write_multihash};
use perennis_shared::error::{ErrorKind, Retryable};
use perennis_shared::ipns::Name;
use perennis_shared::limits::LimitExceeded;
use perennis_shared::time::Millis;

use crate::keys::{self, Queue};
use crate::kv::KvError;
use crate::location::{FileNumber, Location};
use crate::pack::{Footer, PackName};
use crate::rows::{HeadRow, Loss};

/// Most bytes of blocks and rows in one batch.
pub const BATCH_BYTES: usize = 64 << 20;
/// Longest key of a pin, a queue entry or a meta row, in bytes.
pub const KEY_BYTES: usize = 1024;
/// Longest name of an owner, in bytes.
pub const OWNER_BYTES: usize = 128;

/// Changes that are applied whole or not at all, durable when the commit is acknowledged.
///
/// The parts are checked in the commit itself against what is stored then, so two batches cannot both win: heads
/// against the high-water mark, required blocks against what garbage collection removed meanwhile.
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) owner: Vec<u8>,
    pub(crate) blocks: Vec<Block>,
    pub(crate) heads: Vec<(Name, HeadRow)>,
    pub(crate) required: Vec<Cid>,
    pub(crate) rows: Vec<RowChange>,
    pub(crate) reclaim: Option<Reclaim>,
}

/// A change of a row.
#[derive(Debug)]
pub(crate) enum RowChange {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    Pin(Vec<u8>, Cid),
    Unpin(Vec<u8>),
    Enqueue {
        queue: Queue,
        key: Vec<u8>,
        /// When an entry with this key must be due; any may be there, or none, without this.
        from: Option<Millis>,
        due: Millis,
        payload: Vec<u8>,
    },
    Dequeue {
        queue: Queue,
        key: Vec<u8>,
        due: Millis,
    },
}

/// What only the store's own upkeep asks for; such a batch is a group of its own.
#[derive(Debug)]
pub(crate) enum Reclaim {
    /// Drops these blocks for a collection, all or none: none if one was put or required meanwhile, if a root was pinned
    /// that is not among the `marked`, or if a later collection was begun.
    Forget {
        hashes: Vec<Multihash>,
        generation: u64,
        marked: usize,
    },
    /// Takes packs into use and drops the files that they were made from.
    Adopt {
        packs: Vec<Adoption>,
        dropped: Vec<FileNumber>,
    },
    /// Sets a row aside that cannot be read, if it is still as it was read, and puts another in its place where one is given.
    SetAside {
        key: Vec<u8>,
        value: Vec<u8>,
        instead: Option<Vec<u8>>,
        now: Millis,
    },
    /// Writes down what was found lost, where it is not written down yet.
    Lose(Vec<Loss>),
    /// Forgets the losses that were written down, and rows that were set aside and from which nothing can be mended.
    DismissLosses,
    /// Changes nothing: a group, for the log to have one more.
    Mark,
    /// Sets a damaged block aside.
    Quarantine {
        hash: Multihash,
        at: Location,
        reason: String,
        now: Millis,
    },
}

/// A pack that is durable, and where its blocks lay when it was written.
#[derive(Debug)]
pub(crate) struct Adoption {
    pub(crate) number: FileNumber,
    pub(crate) name: PackName,
    /// Bytes of its file.
    pub(crate) bytes: u64,
    pub(crate) footer: Arc<Footer>,
    /// For each entry.
    pub(crate) sources: Vec<Location>,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Says whose the blocks of this batch are: an IPNS name, or the root of a pin, in bytes. What lies together in the end is what
    /// has one owner. Without this, the owner is the name of the batch's first head, else the root of its first pin.
    pub fn owner(&mut self, owner: &[u8]) -> &mut Self {
        self.owner = owner.to_vec();
        self
    }

    /// Keeps a block. One that is stored already costs nothing, under whatever codec it was put.
    pub fn put_block(&mut self, block: Block) -> &mut Self {
        self.blocks.push(block);
        self
    }

    /// Asks that this block is stored when the commit happens, put by this batch or before.
    pub fn require(&mut self, cid: Cid) -> &mut Self {
        self.required.push(cid);
        self
    }

    /// Makes this the head of a name. The commit is refused as [`CommitError::Stale`] where the stored sequence is
    /// higher, and as [`CommitError::Equivocation`] where it is equal and the value is another, unless the stored
    /// head had ended when this one was accepted. Of two records with one sequence the one that is valid longer stays otherwise.
    pub fn put_head(&mut self, name: Name, head: HeadRow) -> &mut Self {
        self.heads.push((name, head));
        self
    }

    /// Forgets the head of a name, and with it the mark below which no head is accepted.
    pub fn delete_head(&mut self, name: &Name) -> &mut Self {
        self.rows.push(RowChange::Delete(keys::head(name)));
        self.rows
            .push(RowChange::Delete(keys::min_sequence(name.as_bytes())));
        self
    }

    /// Forgets that a record of a name was refused because its signer had signed another value with this sequence.
    pub fn delete_evidence(&mut self, name: &Name, sequence: u64) -> &mut Self {
        self.rows
            .push(RowChange::Delete(keys::evidence(name, sequence)));
        self
    }

    /// Keeps all that is reachable from `root`, under a key of the caller's. The root must be stored.
    pub fn pin(&mut self, key: &[u8], root: Cid) -> &mut Self {
        self.required.push(root);
        self.rows
            .push(RowChange::Pin(keys::key(keys::PIN, key), root));
        self
    }

    /// Keeps all that is reachable from `root`, which need not be stored yet.
    pub fn pin_unstored(&mut self, key: &[u8], root: Cid) -> &mut Self {
        self.rows
            .push(RowChange::Pin(keys::key(keys::PIN, key), root));
        self
    }

    /// Lets go of a pin.
    pub fn unpin(&mut self, key: &[u8]) -> &mut Self {
        self.rows.push(RowChange::Unpin(keys::key(keys::PIN, key)));
        self
    }

    /// Puts an entry into a queue, in place of one with the same key.
    pub fn enqueue(
        &mut self,
        queue: Queue,
        key: &[u8],
        due: Millis,
        payload: impl Into<Vec<u8>>,
    ) -> &mut Self {
        self.rows.push(RowChange::Enqueue {
            queue,
            key: key.to_vec(),
            from: None,
            due,
            payload: payload.into(),
        });
        self
    }

    /// Puts an entry of a queue off that is due at `from`: one that was taken out or put in again meanwhile stays as it is.
    pub fn put_off(
        &mut self,
        queue: Queue,
        key: &[u8],
        from: Millis,
        due: Millis,
        payload: impl Into<Vec<u8>>,
    ) -> &mut Self {
        self.rows.push(RowChange::Enqueue {
            queue,
            key: key.to_vec(),
            from: Some(from),
            due,
            payload: payload.into(),
        });
        self
    }

    /// Takes an entry out of a queue, if it is still due at `due`: one that was put in again meanwhile stays.
    pub fn dequeue(&mut self, queue: Queue, key: &[u8], due: Millis) -> &mut Self {
        self.rows.push(RowChange::Dequeue {
            queue,
            key: key.to_vec(),
            due,
        });
        self
    }

    /// The queues that it puts entries into, one for each entry. One that is put off was there before.
    pub fn enqueued(&self) -> impl Iterator<Item = Queue> {
        self.rows.iter().filter_map(|change| match change {
            RowChange::Enqueue {
                queue, from: None, ..
            } => Some(*queue),
            _ => None,
        })
    }

    /// Sets a row of the caller's.
    pub fn put_meta(&mut self, key: &[u8], value: impl Into<Vec<u8>>) -> &mut Self {
        self.rows
            .push(RowChange::Put(keys::key(keys::META, key), value.into()));
        self
    }

    /// Removes a row of the caller's.
    pub fn delete_meta(&mut self, key: &[u8]) -> &mut Self {
        self.rows
            .push(RowChange::Delete(keys::key(keys::META, key)));
        self
    }

    /// The owner of its blocks; empty where there is none.
    pub(crate) fn owner_bytes(&self) -> Vec<u8> {
        if !self.owner.is_empty() {
            return self.owner.clone();
        }
        if let Some((name, _)) = self.heads.first() {
            return name.as_bytes().to_vec();
        }
        let pins = self.rows.iter().filter_map(|change| match change {
            RowChange::Pin(_, root) => Some(root.hash()),
            _ => None,
        });
        pins.take(1).fold(Vec::new(), |mut owner, hash| {
            write_multihash(&mut owner, hash);
            owner
        })
    }

    /// Whether it asks for nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
            && self.heads.is_empty()
            && self.required.is_empty()
            && self.rows.is_empty()
            && self.reclaim.is_none()
    }

    /// Whether it lets go of something and does nothing else. On a full disk nothing can be collected before that. An empty
    /// batch does not: it asks whether there is space.
    pub(crate) fn only_lets_go(&self) -> bool {
        let lets_go = |change: &RowChange| {
            matches!(
                change,
                RowChange::Delete(_) | RowChange::Unpin(_) | RowChange::Dequeue { .. }
            )
        };
        self.blocks.is_empty()
            && self.heads.is_empty()
            && self.required.is_empty()
            && self.reclaim.is_none()
            && !self.rows.is_empty()
            && self.rows.iter().all(lets_go)
    }

    pub(crate) fn reclaiming(reclaim: Reclaim) -> Self {
        Self {
            reclaim: Some(reclaim),
            ..Self::default()
        }
    }

    /// About how many bytes it writes.
    pub(crate) fn bytes(&self) -> usize {
        let blocks: usize = self
            .blocks
            .iter()
            .map(|block| block.bytes().len() + 64)
            .sum();
        let heads: usize = self
            .heads
            .iter()
            .map(|(_, head)| head.record.len() + head.value.len() + 128)
            .sum();
        let rows: usize = self
            .rows
            .iter()
            .map(|change| match change {
                RowChange::Put(key, value) => key.len() + value.len(),
                RowChange::Enqueue { key, payload, .. } => 2 * key.len() + payload.len() + 32,
                RowChange::Pin(key, _) => key.len() + 64,
                RowChange::Delete(key) | RowChange::Unpin(key) | RowChange::Dequeue { key, .. } => {
                    key.len() + 16
                }
            })
            .sum();
        let moved = match &self.reclaim {
            Some(Reclaim::Adopt { packs, dropped }) => {
                let entries = packs.iter().map(|pack| pack.sources.len());
                64 * packs.len() + 4 * entries.sum::<usize>() + 4 * dropped.len()
            }
            Some(Reclaim::Forget { hashes, .. }) => hashes.len() * 48,
            Some(Reclaim::SetAside {
                key,
                value,
                instead,
                ..
            }) => 2 * key.len() + value.len() + instead.as_ref().map_or(0, Vec::len) + 64,
            Some(Reclaim::Lose(losses)) => losses.len() * 96,
            Some(Reclaim::Quarantine { .. } | Reclaim::DismissLosses | Reclaim::Mark) => 128,
            None => 0,
        };
        blocks + heads + rows + moved
    }

    /// Checks what can be checked before the commit.
    pub(crate) fn check(&self) -> Result<(), LimitExceeded> {
        LimitExceeded::check("batch bytes", BATCH_BYTES, self.bytes())?;
        LimitExceeded::check("owner bytes", OWNER_BYTES, self.owner.len())?;
        for change in &self.rows {
            let key = match change {
                RowChange::Put(key, _)
                | RowChange::Delete(key)
                | RowChange::Pin(key, _)
                | RowChange::Unpin(key)
                | RowChange::Enqueue { key, .. }
                | RowChange::Dequeue { key, .. } => key,
            };
            LimitExceeded::check("key bytes", KEY_BYTES, key.len())?;
        }
        Ok(())
    }
}

/// What a commit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Commit {
    /// The group it became durable in; later commits have the same or a higher one.
    pub group: u64,
    /// Blocks that were not stored before.
    pub new_blocks: u64,
    /// Their bytes.
    pub new_bytes: u64,
    /// Blocks that were dropped, that a pack took over, or that were set aside; only in the store's own upkeep.
    pub reclaimed_blocks: u64,
}

/// Why a commit was refused or failed. Nothing of its batch is seen.
#[non_exhaustive]
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// A newer head of the name is stored, or was and is lost.
    #[error("sequence {offered} is older than the stored sequence {stored} of {name}")]
    Stale {
        /// The name.
        name: Box<Name>,
        /// The sequence of the newest head that was acknowledged.
        stored: u64,
        /// The sequence that was offered.
        offered: u64,
    },
    /// Two values with one sequence: the owner of the key signed both. The offered record is kept as evidence.
    #[error("{name} has another value with the same sequence {sequence}")]
    Equivocation {
        /// The name.
        name: Box<Name>,
        /// The sequence of both.
        sequence: u64,
        /// The record that is stored.
        stored: Bytes,
    },
    /// Blocks that the batch requires are not stored.
    #[error("{} required blocks are not stored", .0.len())]
    MissingBlocks(Vec<Cid>),
    /// The batch, or a key in it, is too large.
    #[error(transparent)]
    TooLarge(#[from] LimitExceeded),
    /// No space is left. The store serves reads and reclaims space; it takes writes again when there is space.
    #[error("the disk is full; nothing was written")]
    Full,
    /// Pins changed while garbage was collected, or a block was put or required; the collection looks again.
    #[error("pins changed")]
    PinsChanged,
    /// The disk failed.
    #[error("the disk failed to take the commit")]
    Disk(#[source] Arc<io::Error>),
    /// The index failed. What was acknowledged is in the log, and the batch may be as well: then it is seen once the index takes
    /// writes again, or after the next start.
    #[error("the index failed to take the commit")]
    Index(#[source] Arc<KvError>),
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

impl Retryable for CommitError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Stale { .. }
            | Self::Equivocation { .. }
            | Self::MissingBlocks(_)
            | Self::TooLarge(_) => ErrorKind::Reject,
            Self::PinsChanged | Self::Closed => ErrorKind::Retry,
            // An index that has failed takes no write until a start has made it anew, even where it is damaged: nothing that the
            // caller could ask elsewhere.
            Self::Full | Self::Disk(_) | Self::Index(_) => ErrorKind::Fatal,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn every_commit_that_fails_has_its_kind() {
        let key = perennis_shared::sign::SigningKey::from_seed(&[1; 32]);
        let name = || Box::new(Name::from_public_key(&key.public()));
        let too_large = LimitExceeded::check("bytes", 1, 2).unwrap_err();
        let stale = CommitError::Stale {
            name: name(),
            stored: 2,
            offered: 1,
        };
        let equivocation = CommitError::Equivocation {
            name: name(),
            sequence: 1,
            stored: Bytes::new(),
        };
        let damaged = KvError::Damaged {
            reason: "a bit".to_owned(),
        };
        let disk = io::Error::other("no luck");
        for (error, kind) in [
            (stale, ErrorKind::Reject),
            (equivocation, ErrorKind::Reject),
            (CommitError::MissingBlocks(Vec::new()), ErrorKind::Reject),
            (CommitError::TooLarge(too_large), ErrorKind::Reject),
            (CommitError::Full, ErrorKind::Fatal),
            (CommitError::PinsChanged, ErrorKind::Retry),
            (CommitError::Disk(Arc::new(disk)), ErrorKind::Fatal),
            (CommitError::Index(Arc::new(damaged)), ErrorKind::Fatal),
            (CommitError::Closed, ErrorKind::Retry),
        ] {
            assert_eq!(error.kind(), kind, "{error}");
        }
    }
}
