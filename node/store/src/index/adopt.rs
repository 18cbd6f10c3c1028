//! Takes packs into use: the blocks in them are where the packs are, from one group on.

use std::sync::Arc;

use crate::disk::is_lost;
use crate::group::{Op, PackOp};
use crate::keys;
use crate::kv::KvError;
use crate::location::FileNumber;
use crate::pack::{Entry, Footer, PackError, PackName};
use crate::rows::{FileRow, Loss, LossKind, Place, Row as _, Seen};

use super::IndexChange;

/// The packs that one batch takes into use.
#[derive(Debug, Default)]
pub(super) struct Adopting {
    footers: Vec<(PackName, Arc<Footer>)>,
    /// What cannot be read any more.
    lost: Vec<FileNumber>,
}

impl Adopting {
    fn footer(&self, name: PackName) -> Option<Arc<Footer>> {
        let mut footers = self.footers.iter();
        footers
            .find(|(found, _)| *found == name)
            .map(|(_, footer)| Arc::clone(footer))
    }
}

impl IndexChange<'_> {
    /// Reads the footers of the packs that a batch takes into use. In a replay one may be damaged or gone: that is told,
    /// and its blocks stay where they were, in files that are then not dropped.
    pub(super) fn meet_packs(&mut self, ops: &[Op], group: u64) -> Result<(), KvError> {
        let mut met = Adopting::default();
        let packs = ops.iter().filter_map(|op| match op {
            Op::Pack(pack) => Some(pack),
            _ => None,
        });
        for pack in packs {
            let name = PackName(pack.name);
            match self.index.packs.footer(&name) {
                Ok(footer) if footer.len() == pack.entries => met.footers.push((name, footer)),
                Err(PackError::Disk(error)) if !is_lost(&error) => return Err(error.into()),
                _ => {
                    self.index.lost.lock().push(Loss {
                        group,
                        blocks: u64::from(pack.entries),
                        ..Loss::new(LossKind::UnreadablePack, pack.number, 0)
                    });
                    met.lost.push(pack.number);
                }
            }
        }
        self.adopting = met;
        Ok(())
    }

    /// A pack takes over from the files that it was made from.
    pub(super) fn adopt(&mut self, pack: &PackOp, group: u64) -> Result<(), KvError> {
        let name = PackName(pack.name);
        if let Some(footer) = self.adopting.footer(name) {
            let mut row = FileRow::pack(name, pack.bytes, group);
            row.body_bytes = footer
                .entries()
                .map(|entry| u64::from(entry.length()))
                .sum();
            *self.file(pack.number) = Some(row);
            let is_dropping = self.adopting.lost.is_empty();
            for entry in footer.entries() {
                if pack.dead.binary_search(&entry.index()).is_ok() {
                    self.note_dead(&entry.hash(), pack.number);
                } else {
                    self.move_block(&entry, pack.number, is_dropping)?;
                }
            }
        }
        if self.adopting.lost.is_empty() {
            for file in &pack.dropped {
                self.drop_file(*file)?;
            }
        }
        Ok(())
    }

    /// A block lies in the pack from now on. Its old copy goes with its file where that is dropped.
    ///
    /// One that the index does not know was alive when the pack was taken into use: what said so in the log was removed with
    /// its segment.
    fn move_block(
        &mut self,
        entry: &Entry<'_>,
        number: FileNumber,
        is_dropping: bool,
    ) -> Result<(), KvError> {
        let hash = entry.hash();
        let mut place = Place::packed(number, entry);
        if let Some(old) = self.place(&hash)? {
            self.drop_bytes(old.location);
            if !is_dropping {
                self.note_dead(&hash, old.location.file);
            }
            if (old.tag, &old.codecs) == (place.tag, &place.codecs) {
                // The pack says all that is known.
                self.batch.delete(keys::seen(&hash));
            } else {
                self.batch.put(keys::seen(&hash), Seen::of(&old).to_bytes());
                (place.tag, place.codecs) = (old.tag, old.codecs);
            }
        } else {
            // What a checkpoint says of it is older than the pack: what was seen since the pack was written comes behind it.
            self.batch.delete(keys::seen(&hash));
        }
        if let Some(row) = self.file(number) {
            row.live_bytes += u64::from(entry.length());
        }
        self.blocks += 1;
        self.set(&hash, Some(place));
        Ok(())
    }

    /// Nothing in the file is needed any more. Its row stays until the file is gone.
    pub(super) fn drop_file(&mut self, number: FileNumber) -> Result<(), KvError> {
        if let Some(row) = self.file(number) {
            row.is_dropped = true;
            row.live_bytes = 0;
        }
        let from = keys::dead_copies(number);
        let to = keys::end_of_prefix(&from);
        for (key, _) in self.index.kv.scan(&from, &to, usize::MAX)? {
            self.batch.delete(key);
        }
        Ok(())
    }
}
