//! Files that the operator imports: any CAR file, whose blocks come in as it is received and whose roots are pinned at its end.
//!
//! No pin leads to the blocks before that, and no garbage is looked for meanwhile: a file that breaks off or is refused leaves
//! blocks that the next collection drops. What is held at a time is a section, a batch of blocks, and a few bytes for each block of the
//! file and of the graphs below its roots, all of it a share of the memory for messages.
//!
//! A file is taken whole or not at all, unless the operator takes what there is of it: then sections that are refused, a tail that
//! is cut off and blocks that are missing are told, and the rest is kept.

use std::collections::HashSet;
use std::sync::Arc;

use perennis_rt as rt;
use perennis_shared::cid::{Block, Cid, is_identity, version_1};
use perennis_shared::codec;
use perennis_shared::codec::car::{CarError, Event, FileDecoder};
use perennis_shared::error::chain;
use tokio::sync::OwnedRwLockReadGuard;

use super::{Ingest, IngestError};
use crate::storage::{Imported, ImportedState, StorageError};

mod fingerprint;
mod known;
mod look;

use fingerprint::Fingerprints;
use known::{Known, Lots, Share};
use look::Look;

/// Bytes of blocks that are stored in one batch.
const BATCH_BYTES: usize = 4 << 20;

/// The memory of an import before anything is known of its file: a section, and the batch that is stored.
const FIRST_BYTES: u64 = 12 << 20;

/// The memory for what is known of one block.
const KNOWN_BYTES: u64 = 64;

/// The memory for a block that may be a root, where the file names none.
const CANDIDATE_BYTES: u64 = 192;

/// Refused sections, and missing blocks, that are told of one by one.
const TOLD: usize = 100;

/// Roots that are pinned in one batch.
const PINS: usize = 1_024;

/// What the operator wants of an import.
#[derive(Clone, Debug, Default)]
pub(crate) struct ImportWish {
    /// The name of the pins.
    pub(crate) name: String,
    /// The roots, where not those of the file.
    pub(crate) roots: Vec<Cid>,
    /// Whether what there is of the file is kept, where it is not whole.
    pub(crate) is_partial: bool,
}

/// A file that is being received.
pub(crate) struct Import {
    ingest: Arc<Ingest>,
    wish: ImportWish,
    decoder: FileDecoder,
    fingerprints: Fingerprints,
    /// The blocks of the file, and, where the file names no roots, those that they link to.
    known: Known,
    /// Those that may be roots, in their order, where the file names none.
    candidates: Option<Vec<Cid>>,
    candidate_lots: Lots,
    /// The roots that its header names.
    named: Vec<Cid>,
    batch: Vec<Block>,
    batch_bytes: usize,
    /// The root or block under which all of the file is stored together.
    owner: Option<Cid>,
    has_header: bool,
    /// Whether nothing more of the file can be read.
    is_unreadable: bool,
    tally: Tally,
    share: Share,
    _no_collection: OwnedRwLockReadGuard<()>,
}

/// What was counted while a file was received.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) bytes: u64,
    /// Sections with a block that was verified.
    pub(crate) blocks: u64,
    /// Blocks that were not here before.
    pub(crate) new_blocks: u64,
    pub(crate) new_bytes: u64,
    /// Sections whose block was refused, and the first of them.
    pub(crate) refused_blocks: u64,
    pub(crate) refused: Vec<String>,
    /// Sections of length zero.
    pub(crate) empty_sections: u64,
    pub(crate) version: u64,
    /// Why the file ends before it is whole.
    pub(crate) cut: Option<CarError>,
    /// Whether the index to which a file of version 2 points is not there. It is not needed.
    pub(crate) lacks_index: bool,
    /// Whether the roots are those blocks to which no other of the file links.
    pub(crate) roots_are_found: bool,
}

impl Tally {
    /// Counts what is not taken of a file, and why.
    fn refuse(&mut self, error: &CarError) {
        self.refused_blocks += 1;
        if self.refused.len() < TOLD {
            self.refused.push(chain(error));
        }
    }
}

/// A file that was received to its end. Nothing of it is pinned yet.
pub(crate) struct Received {
    ingest: Arc<Ingest>,
    wish: ImportWish,
    roots: Vec<Cid>,
    fingerprints: Fingerprints,
    known: Known,
    tally: Tally,
    share: Share,
    _no_collection: OwnedRwLockReadGuard<()>,
}

/// What an import has come to.
#[derive(Debug)]
pub(crate) struct ImportOutcome {
    /// Whether its roots are pinned.
    pub(crate) is_kept: bool,
    pub(crate) roots: Vec<(Cid, ImportedState)>,
    pub(crate) tally: Tally,
    /// Blocks to which its graphs lead and that are not here, and the first of them.
    pub(crate) missing_blocks: u64,
    pub(crate) missing: Vec<Cid>,
    /// Blocks of the file to which no root leads.
    pub(crate) unreached_blocks: u64,
}

/// How far the look at the graphs is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LookProgress {
    /// Blocks of the graphs that were looked at.
    pub(crate) blocks: u64,
    /// Those that are not here.
    pub(crate) missing: u64,
}

impl Ingest {
    /// Begins to receive a file. No collection of garbage begins until it has ended.
    pub(crate) async fn begin_import(
        self: &Arc<Self>,
        wish: ImportWish,
    ) -> Result<Import, IngestError> {
        self.storage.expect_folder()?;
        let mut share = Share::new(self.memory.none(None), self.memory_bytes);
        share.grow(FIRST_BYTES.min(self.memory_bytes / 2))?;
        Ok(Import {
            ingest: Arc::clone(self),
            wish,
            decoder: FileDecoder::new(),
            fingerprints: Fingerprints::default(),
            known: Known::default(),
            candidates: None,
            candidate_lots: Lots::default(),
            named: Vec::new(),
            batch: Vec::new(),
            batch_bytes: 0,
            owner: None,
            has_header: false,
            is_unreadable: false,
            tally: Tally::default(),
            share,
            _no_collection: Arc::clone(&self.importing).read_owned().await,
        })
    }

    /// Most bytes of a file that is imported.
    pub(crate) fn import_bytes(&self) -> u64 {
        self.import_bytes
    }

    /// Keeps a root no longer for having been imported, as [`Storage::remove_imported`](crate::storage::Storage::remove_imported).
    pub(crate) async fn remove_imported(
        &self,
        root: &Cid,
        name: Option<String>,
    ) -> Result<usize, StorageError> {
        self.storage.remove_imported(root, name).await
    }
}

impl Import {
    /// Takes the next piece of the file, and stores the blocks that are complete with it.
    pub(crate) async fn push(&mut self, piece: &[u8]) -> Result<(), IngestError> {
        self.tally.bytes += piece.len() as u64;
        if self.is_unreadable {
            return Ok(());
        }
        self.decoder.push(piece);
        loop {
            match self.decoder.next_event() {
                Ok(None) => return Ok(()),
                Ok(Some(Event::Header(header))) => self.begin(header.roots)?,
                Ok(Some(Event::Block(block))) => {
                    self.take(block)?;
                    if self.batch_bytes >= BATCH_BYTES {
                        self.store().await?;
                    }
                }
                Err(error @ (CarError::Block { .. } | CarError::Cid { .. }))
                    if self.wish.is_partial =>
                {
                    self.tally.refuse(&error);
                }
                // Behind a length that is none nothing can be found.
                Err(error) if self.wish.is_partial && self.has_header => {
                    match error {
                        CarError::Truncated { .. } => self.tally.cut = Some(error),
                        _ => self.tally.refuse(&error),
                    }
                    self.is_unreadable = true;
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Ends the file: the rest of its blocks is stored, and its roots are known.
    pub(crate) async fn finish(mut self) -> Result<Received, IngestError> {
        self.store().await?;
        self.tally.version = self.decoder.version();
        self.tally.empty_sections = self.decoder.empty_sections();
        self.tally.lacks_index = self.decoder.lacks_index();
        match std::mem::take(&mut self.decoder).finish() {
            Ok(()) => {}
            Err(_) if self.is_unreadable => {}
            Err(cut @ CarError::Truncated { .. }) if self.wish.is_partial && self.has_header => {
                self.tally.cut = Some(cut);
            }
            Err(error) => return Err(error.into()),
        }
        let roots = self.roots();
        Ok(Received {
            ingest: self.ingest,
            wish: self.wish,
            roots,
            fingerprints: self.fingerprints,
            known: self.known,
            tally: self.tally,
            share: self.share,
            _no_collection: self._no_collection,
        })
    }

    fn begin(&mut self, roots: Vec<Cid>) -> Result<(), IngestError> {
        // Each is held here, in its set, and with its state.
        self.share.grow(roots.len() as u64 * CANDIDATE_BYTES * 3)?;
        let has_none = roots.is_empty() && self.wish.roots.is_empty();
        self.candidates = has_none.then(Vec::new);
        self.has_header = true;
        self.owner = self.wish.roots.first().or(roots.first()).copied();
        self.named = roots;
        Ok(())
    }

    fn take(&mut self, block: Block) -> Result<(), IngestError> {
        self.tally.blocks += 1;
        let cid = *block.cid();
        // What a CID holds itself is stored nowhere.
        if is_identity(&cid) {
            return Ok(());
        }
        self.owner.get_or_insert(cid);
        let fingerprint = self.fingerprints.of_hash(&cid);
        let share = &mut self.share;
        let is_new = self.known.in_file(fingerprint, share, KNOWN_BYTES)?;
        if let Some(candidates) = self.candidates.as_mut().filter(|_| is_new) {
            // What cannot be understood here links to nothing for anybody.
            for link in codec::links(&cid, block.bytes()).unwrap_or_default() {
                let linked = self.fingerprints.of_hash(&link);
                self.known.linked(linked, share, KNOWN_BYTES)?;
            }
            let held = candidates.len() as u64;
            self.candidate_lots
                .reach(share, held, CANDIDATE_BYTES * 2)?;
            candidates.push(cid);
        }
        self.batch_bytes += block.bytes().len() + 256;
        self.batch.push(block);
        Ok(())
    }

    /// Stores what has come and is not here.
    async fn store(&mut self) -> Result<(), IngestError> {
        let blocks = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        let Some(owner) = self.owner.filter(|_| !blocks.is_empty()) else {
            return Ok(());
        };
        let cids = blocks.iter().map(|block| *block.cid()).collect();
        let absent = self.ingest.read.held().absent(cids).await?;
        let absent: HashSet<u128> = absent
            .iter()
            .map(|cid| self.fingerprints.of_hash(cid))
            .collect();
        let mut seen = HashSet::new();
        for block in &blocks {
            let fingerprint = self.fingerprints.of_hash(block.cid());
            if absent.contains(&fingerprint) && seen.insert(fingerprint) {
                self.tally.new_blocks += 1;
                self.tally.new_bytes += block.bytes().len() as u64;
            }
        }
        // Those that are here as well: a collection that goes on is to leave them.
        Ok(self.ingest.storage.keep_imported(&owner, blocks).await?)
    }

    /// The roots that were asked for, else those that the file names, else the blocks to which no other of it links; each once.
    fn roots(&mut self) -> Vec<Cid> {
        let mut roots = std::mem::take(&mut self.wish.roots);
        if roots.is_empty() {
            roots = std::mem::take(&mut self.named);
        }
        if let Some(candidates) = self.candidates.take() {
            self.tally.roots_are_found = true;
            let is_linked = |cid: &Cid| self.known.is_linked(self.fingerprints.of_hash(cid));
            roots = candidates;
            roots.retain(|cid| !is_linked(cid));
        }
        let mut seen = HashSet::new();
        roots.retain(|root| seen.insert(version_1(root)));
        roots
    }
}

impl Received {
    /// Looks which roots are here whole, and pins them, unless the file is to be taken whole and is not.
    pub(crate) async fn pin(
        mut self,
        progress: impl FnMut(LookProgress) + Send,
    ) -> Result<ImportOutcome, IngestError> {
        let mut look = Look::new(
            Arc::clone(self.ingest.read.held()),
            &self.fingerprints,
            &mut self.share,
            &mut self.known,
            progress,
        );
        let mut roots = Vec::with_capacity(self.roots.len());
        for root in &self.roots {
            roots.push((*root, look.at(*root).await?));
        }
        let (missing_blocks, missing) = look.end();
        let is_whole = missing_blocks == 0
            && self.tally.refused_blocks == 0
            && self.tally.cut.is_none()
            && !roots.is_empty();
        let is_kept = is_whole || self.wish.is_partial && !roots.is_empty();
        if is_kept {
            let at = rt::now();
            for some in roots.chunks(PINS) {
                let row = |(root, state): &(Cid, ImportedState)| Imported {
                    root: *root,
                    name: self.wish.name.clone(),
                    at,
                    state: *state,
                };
                let rows = some.iter().map(row).collect();
                self.ingest.storage.pin_imported(rows).await?;
            }
        }
        Ok(ImportOutcome {
            is_kept,
            roots,
            tally: self.tally,
            missing_blocks,
            missing,
            unreached_blocks: self.known.unreached(),
        })
    }
}

#[cfg(test)]
mod tests;
