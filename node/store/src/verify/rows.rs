//! The index: every row, and the bytes of every block.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use perennis_shared::cid::{Block, Cid, Multihash};
use perennis_shared::ipns::Name;

use super::{FindingKind, Verifier, VerifyStage, chain};
use crate::disk::DiskFile;
use crate::keys;
use crate::kv::{KvError, KvSnapshot};
use crate::location::FileNumber;
use crate::rows::{
    FileRow, HeadRow, Loss, PinRow, Place, Quarantined, Row as _, Seen, read_due,
    read_min_sequence, read_payload, read_plain,
};

/// Blocks that are read in the order of the disk.
const SORTED_BLOCKS: usize = 16 << 10;
/// Files that are held open.
const OPEN_FILES: usize = 64;
/// Every so many rows one is looked up by its key, so that the filters of the index are read as well.
const LOOK_UP_EVERY: u64 = 256;

/// What the places add up to.
#[derive(Default)]
struct Counts {
    blocks: u64,
    live: BTreeMap<FileNumber, u64>,
}

/// Files that are read from.
#[derive(Default)]
struct Files(HashMap<FileNumber, Arc<dyn DiskFile>>);

impl Verifier<'_> {
    /// Reads the whole index.
    pub(super) fn check_rows(&mut self, index: &dyn KvSnapshot) {
        let result = self
            .check_blocks(index)
            .and_then(|counts| self.check_counts(index, &counts))
            .and_then(|()| self.check_other_rows(index));
        if let Err(error) = result {
            self.found_index(&error);
        }
    }

    fn check_blocks(&mut self, index: &dyn KvSnapshot) -> Result<Counts, KvError> {
        let of = index.value(&[keys::TOTAL])?;
        let of = of
            .and_then(|row| row.try_into().ok())
            .map_or(0, u64::from_le_bytes);
        let mut counts = Counts::default();
        let mut files = Files::default();
        let mut waiting = Vec::new();
        for row in index.rows(&[keys::BLOCK], &keys::end_of(keys::BLOCK)) {
            let (key, value) = row?;
            self.count_row(index, &key, &value)?;
            match keys::hash_of(&key).zip(Place::from_bytes(&value)) {
                Some((hash, place)) => {
                    counts.blocks += 1;
                    let live = counts.live.entry(place.location.file).or_default();
                    *live += u64::from(place.location.length);
                    waiting.push((hash, place));
                }
                None => self.found_row(&key, "the place of the block cannot be read"),
            }
            if waiting.len() == SORTED_BLOCKS {
                self.check_places(&mut waiting, &mut files);
                self.progress(
                    VerifyStage::Index,
                    counts.blocks as usize,
                    of.max(counts.blocks) as usize,
                );
            }
        }
        self.check_places(&mut waiting, &mut files);
        self.progress(
            VerifyStage::Index,
            counts.blocks as usize,
            counts.blocks as usize,
        );
        Ok(counts)
    }

    /// Holds the bytes of blocks against their hashes, in the order of the disk.
    fn check_places(&mut self, waiting: &mut Vec<(Multihash, Place)>, files: &mut Files) {
        waiting.sort_unstable_by_key(|(_, place)| place.location);
        for (hash, place) in waiting.drain(..) {
            // The log has it elsewhere, or not any more.
            if self.dropped.contains(&place.location.file) {
                continue;
            }
            self.sum.blocks += 1;
            let codec = place.codecs.first().copied().unwrap_or(0x55);
            let cid = Cid::new_v1(codec, hash);
            let detail = match self.read_block(cid, &place, files) {
                Ok(None) => continue,
                Ok(Some(detail)) => detail,
                Err(error) => format!("the block cannot be read: {error}"),
            };
            let at = place.location;
            let row = self.files.get(&at.file);
            let file = row.map_or_else(|| at.file.to_string(), |row| row.file_name(at.file));
            let place = format!("{file} at {}", at.offset);
            self.found_of(FindingKind::Block, place, Some(cid), detail);
        }
    }

    /// What is wrong with a block; nothing where it is whole.
    fn read_block(&self, cid: Cid, place: &Place, files: &mut Files) -> io::Result<Option<String>> {
        let at = place.location;
        let Some(row) = self.files.get(&at.file) else {
            return Ok(Some("it is in a file that the index does not know".into()));
        };
        let path = row.path(at.file, self.dir);
        let file = match files.0.get(&at.file) {
            Some(file) => file,
            None => {
                if files.0.len() >= OPEN_FILES {
                    files.0.clear();
                }
                files.0.entry(at.file).or_insert(self.disk.open(&path)?)
            }
        };
        // What a row claims is held against the file before memory is taken for it.
        if file.length()? < at.end() {
            return Ok(Some("the file ends before the block does".into()));
        }
        let bytes = file.read_vec_at(at.length as usize, u64::from(at.offset))?;
        let are_chunks_right =
            place.crcs.is_empty() || crate::frame::chunk_crcs(&bytes) == place.crcs;
        Ok(match Block::verified(cid, bytes) {
            Err(error) => Some(chain(&error)),
            Ok(_) if !are_chunks_right => {
                Some("its checksums in the index are not those of its bytes".into())
            }
            Ok(_) => None,
        })
    }

    fn check_counts(&mut self, index: &dyn KvSnapshot, counts: &Counts) -> Result<(), KvError> {
        let row = index.value(&[keys::TOTAL])?;
        let noted = row
            .and_then(|row| row.try_into().ok())
            .map_or(0, u64::from_le_bytes);
        if noted != counts.blocks {
            let detail = format!("it says {noted} blocks, and there are {}", counts.blocks);
            self.found_row(&[keys::TOTAL], &detail);
        }
        for (number, row) in self.files.clone() {
            let live = counts.live.get(&number).copied().unwrap_or_default();
            if row.live_bytes != live {
                let detail = format!(
                    "it says {} bytes of blocks, and there are {live}",
                    row.live_bytes
                );
                self.found_row(&keys::file(number), &detail);
            }
        }
        Ok(())
    }

    fn check_other_rows(&mut self, index: &dyn KvSnapshot) -> Result<(), KvError> {
        let (behind, end) = (keys::end_of(keys::BLOCK), [u8::MAX]);
        let rows = index.rows(&[0], &[keys::BLOCK]);
        for row in rows.chain(index.rows(&behind, &end)) {
            let (key, value) = row?;
            self.count_row(index, &key, &value)?;
            if let Some(detail) = wrong_with(index, &key, &value)? {
                self.found_row(&key, detail);
            }
        }
        Ok(())
    }

    /// Counts a row, and now and then looks it up.
    fn count_row(
        &mut self,
        index: &dyn KvSnapshot,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), KvError> {
        self.sum.rows += 1;
        if self.sum.rows.is_multiple_of(LOOK_UP_EVERY)
            && index.value(key)?.as_deref() != Some(value)
        {
            self.found_row(key, "it is listed and not found by its key");
        }
        Ok(())
    }
}

/// What is wrong with a row that is not the place of a block.
pub(crate) fn wrong_with(
    index: &dyn KvSnapshot,
    key: &[u8],
    value: &[u8],
) -> Result<Option<&'static str>, KvError> {
    let (table, rest) = key.split_first().unwrap_or((&0, &[]));
    let is_name = |name: &[u8]| Name::from_bytes(name).is_ok();
    let can_be_read = match *table {
        keys::SEEN => match keys::hash_of(key).zip(Seen::from_bytes(value)) {
            Some((hash, seen)) => {
                let place = index.value(&keys::block(&hash))?;
                let place = place.and_then(|row| Place::from_bytes(&row));
                if place.is_none_or(|place| Seen::of(&place) != seen) {
                    return Ok(Some("the row of the block says something else"));
                }
                true
            }
            None => false,
        },
        keys::DEAD => keys::dead_hash(key).is_some() && read_plain(1, value).is_some(),
        keys::FILE => keys::number_of(key).is_some() && FileRow::from_bytes(value).is_some(),
        keys::QUARANTINE => {
            keys::hash_of(key).is_some() && Quarantined::from_bytes(value).is_some()
        }
        keys::HEAD => is_name(rest) && HeadRow::from_bytes(value).is_some(),
        keys::MIN_SEQUENCE => is_name(rest) && read_min_sequence(value).is_some(),
        keys::EVIDENCE => rest.len() > 8 && read_plain(1, value).is_some(),
        keys::PIN => PinRow::from_bytes(value).is_some(),
        keys::LOSS => Loss::from_bytes(value).is_some(),
        keys::QUEUE => match keys::read_queue_row(key) {
            Some((due, entry)) => {
                let by_key = [&[keys::QUEUE_KEY, rest[0]], entry].concat();
                let noted = index.value(&by_key)?.and_then(|row| read_due(&row));
                if noted != Some(due) {
                    return Ok(Some(
                        "the entry of the queue is due at another time by its key",
                    ));
                }
                read_payload(value).is_some()
            }
            None => false,
        },
        keys::QUEUE_KEY => match (rest.split_first(), read_due(value)) {
            (Some((queue, entry)), Some(due)) => {
                let by_time = keys::queue_row(keys::Queue(*queue), due, entry);
                if index.value(&by_time)?.is_none() {
                    return Ok(Some("the entry of the queue is not there by its time"));
                }
                true
            }
            _ => false,
        },
        keys::META
        | keys::SET_ASIDE
        | keys::APPLIED
        | keys::STORE
        | keys::BEGUN
        | keys::TOTAL
        | keys::UPKEEP => true,
        _ => return Ok(Some("it is of a table that this release does not know")),
    };
    Ok((!can_be_read).then_some("it cannot be read"))
}
