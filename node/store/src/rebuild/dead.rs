//! The dead copies that a checkpoint knows, file by file.

use std::collections::HashSet;

use perennis_shared::cid::Multihash;

use crate::checkpoint::{Checkpoint, CheckpointError, Chunk};
use crate::keys;
use crate::location::FileNumber;

/// Reads the rows of dead copies in the order of their files.
pub(super) struct DeadCopies<C> {
    chunks: Option<C>,
    /// Read and not asked for yet; in order, the first last.
    read: Vec<(FileNumber, Multihash)>,
}

impl DeadCopies<()> {
    pub(super) fn new(
        checkpoint: &Checkpoint,
    ) -> DeadCopies<impl Iterator<Item = Result<Chunk, CheckpointError>>> {
        DeadCopies {
            chunks: Some(checkpoint.chunks()),
            read: Vec::new(),
        }
    }
}

impl<C: Iterator<Item = Result<Chunk, CheckpointError>>> DeadCopies<C> {
    /// The blocks of which the copy in a file is dead. Files are asked for in their order.
    ///
    /// # Errors
    /// The checkpoint cannot be read, or is damaged now.
    pub(super) fn of(&mut self, file: FileNumber) -> Result<HashSet<Multihash>, CheckpointError> {
        let mut dead = HashSet::new();
        loop {
            while let Some((of, hash)) = self.read.pop_if(|(of, _)| *of <= file) {
                if of == file {
                    dead.insert(hash);
                }
            }
            if !self.read.is_empty() || !self.read_more()? {
                return Ok(dead);
            }
        }
    }

    /// Reads on. False where no more rows of dead copies follow.
    fn read_more(&mut self) -> Result<bool, CheckpointError> {
        let Some(chunk) = self.chunks.as_mut().and_then(Iterator::next) else {
            return Ok(false);
        };
        for (key, _) in chunk?.rows() {
            match key {
                [keys::DEAD, ..] => self
                    .read
                    .extend(keys::dead_file(key).zip(keys::dead_hash(key))),
                // Tables come in their order.
                [table, ..] if *table > keys::DEAD => self.chunks = None,
                _ => {}
            }
        }
        self.read.reverse();
        Ok(true)
    }
}
