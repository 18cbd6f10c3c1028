//! What the index that is replaced still knows: where blocks lie in files that do not say it themselves any more.
//!
//! That index may be damaged, old or another's, so nothing of it is believed: a place is taken where the bytes there are the block.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use perennis_shared::cid::{Cid, Codec, Multihash, verify};

use crate::disk::{Disk, DiskFile};
use crate::keys;
use crate::kv::{Kv, KvBatch, KvError};
use crate::location::{FileNumber, Location};
use crate::rows::{FileKind, FileRow, Place, Row as _};
use crate::segment::GROUPS_START;

use super::BATCH_ROWS;

/// The files whose tables are damaged, and what is found in them.
pub(super) struct OldPlaces {
    files: BTreeMap<FileNumber, Doubtful>,
}

struct Doubtful {
    file: Arc<dyn DiskFile>,
    end: u64,
    taken: Taken,
}

/// What was taken over of a file.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Taken {
    pub(super) blocks: u64,
    pub(super) bytes: u64,
}

impl OldPlaces {
    /// Those that lie in these files.
    pub(super) fn of(
        disk: &dyn Disk,
        dir: &Path,
        files: impl Iterator<Item = (FileNumber, FileRow)>,
    ) -> Self {
        let files = files.filter_map(|(number, row)| {
            let file = disk.open(&row.path(number, dir)).ok()?;
            // What lies behind that in a segment came after the checkpoint, and is replayed.
            let end = match row.kind {
                FileKind::Log => GROUPS_START + row.used_bytes,
                FileKind::Pack | FileKind::Format1 => u64::MAX,
            };
            let taken = Taken::default();
            Some((number, Doubtful { file, end, taken }))
        });
        Self {
            files: files.collect(),
        }
    }

    /// Takes over the places of blocks that the new index has nowhere, as far as the old one can be read. Returns what that was
    /// of each file.
    ///
    /// # Errors
    /// The new index's own.
    pub(super) fn take(
        mut self,
        old: &dyn Kv,
        new: &dyn Kv,
    ) -> Result<BTreeMap<FileNumber, Taken>, KvError> {
        let mut batch = KvBatch::default();
        if let Ok(snapshot) = old.snapshot() {
            let end = keys::end_of(keys::BLOCK);
            // It ends where it cannot be read.
            for (key, row) in snapshot.rows(&[keys::BLOCK], &end).map_while(Result::ok) {
                let located = keys::hash_of(&key).zip(Place::from_bytes(&row));
                let Some((hash, place)) = located else {
                    continue;
                };
                let Location { file, length, .. } = place.location;
                let Some(doubtful) = self.files.get_mut(&file) else {
                    continue;
                };
                if place.location.end() > doubtful.end
                    || new.value(&key)?.is_some()
                    // The checkpoint knows that it was dropped.
                    || new.value(&keys::dead_copy(file, &hash))?.is_some()
                    || !doubtful.has(&hash, place.location)
                {
                    continue;
                }
                doubtful.taken.blocks += 1;
                doubtful.taken.bytes += u64::from(length);
                batch.put(key, row);
                if batch.rows.len() >= BATCH_ROWS {
                    new.write(std::mem::take(&mut batch))?;
                }
            }
        }
        new.write(batch)?;
        let files = self.files.into_iter();
        Ok(files
            .map(|(number, doubtful)| (number, doubtful.taken))
            .collect())
    }
}

impl Doubtful {
    /// Whether the bytes at a place are the block.
    fn has(&self, hash: &Multihash, at: Location) -> bool {
        let cid = Cid::new_v1(Codec::Raw.code(), *hash);
        let read = at.read_from(self.file.as_ref());
        read.is_ok_and(|bytes| verify(&cid, &bytes).is_ok())
    }
}
