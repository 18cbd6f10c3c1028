//! What is alive in the files that are packed.

use std::collections::BTreeSet;
use std::io;

use perennis_shared::cid::Multihash;

use crate::block_table::BlockTable;
use crate::disk::is_lost;
use crate::keys;
use crate::location::{FileNumber, Location};
use crate::log::Groups;
use crate::pack::PackError;
use crate::rows::{FileKind, FileRow, Place, Row as _};
use crate::segment::{GROUPS_START, Segment};
use crate::store::Store;

use super::UpkeepError;

/// Most blocks that one step moves, unless a single file has more: it holds some hundred bytes for each, and the change of the
/// index as much again.
const JOB_BLOCKS: usize = 1 << 14;
/// Places that are looked up at once, and rows that are looked through.
const PAGE_ROWS: usize = 4096;

/// A block that is to be moved.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) tag: u32,
    pub(super) location: Location,
    pub(super) hash: Multihash,
    pub(super) codecs: Vec<u64>,
}

/// The blocks that are alive in some files.
#[derive(Debug, Default)]
pub(super) struct Sources {
    pub(super) files: Vec<FileNumber>,
    pub(super) blocks: Vec<Source>,
}

impl Store {
    /// All that is alive in the first of these files, as many as one step can take.
    pub(super) fn sources(&self, files: &[FileNumber]) -> Result<Sources, UpkeepError> {
        let mut sources = Sources::default();
        let mut unclear = BTreeSet::new();
        for number in files {
            if sources.blocks.len() >= JOB_BLOCKS {
                break;
            }
            sources.files.push(*number);
            let Some(row) = self.inner().shared.index.file(*number) else {
                continue;
            };
            let before = sources.blocks.len();
            let is_read = self.list(*number, &row, &mut sources.blocks)?;
            let found = sources.blocks[before..].iter();
            let bytes: u64 = found.map(|block| u64::from(block.location.length)).sum();
            // Looked up again: blocks may have died meanwhile, none can have come.
            let row = self.inner().shared.index.file(*number).unwrap_or(row);
            if !is_read || bytes < row.live_bytes {
                // It is damaged where it says what it holds, or gone: the index knows what should be there.
                sources.blocks.truncate(before);
                unclear.insert(*number);
            }
        }
        if !unclear.is_empty() {
            self.look_through(&unclear, &mut sources.blocks)?;
        }
        Ok(sources)
    }

    /// Lists what is alive in a file by what the file says it holds. False where it does not say.
    fn list(
        &self,
        number: FileNumber,
        row: &FileRow,
        blocks: &mut Vec<Source>,
    ) -> Result<bool, UpkeepError> {
        let failed = |source| UpkeepError::File {
            file: number,
            source,
        };
        let listed = match row.kind {
            FileKind::Log => self.list_segment(number, row, blocks),
            FileKind::Pack => self.list_pack(number, row, blocks),
            FileKind::Format1 => self.list_table(number, blocks),
        };
        match listed {
            Err(ListError::Disk(error)) if is_lost(&error) => Ok(false),
            Err(ListError::Disk(error)) => Err(failed(error)),
            Err(ListError::Upkeep(error)) => Err(error),
            Ok(is_read) => Ok(is_read),
        }
    }

    fn list_segment(
        &self,
        number: FileNumber,
        row: &FileRow,
        blocks: &mut Vec<Source>,
    ) -> Result<bool, ListError> {
        let inner = self.inner();
        let Some(salt) = row.salt() else {
            return Ok(false);
        };
        let segment = Segment::open(inner.disk.as_ref(), &inner.segments_dir(), number, salt)?;
        let mut groups = Groups::new(&segment, GROUPS_START, false)?;
        while let Some(found) = groups.next()? {
            let entries = found.batches.iter().flat_map(|(_, batch)| &batch.entries);
            let entries: Vec<_> = entries
                .map(|entry| (entry.hash, entry.location(number)))
                .collect();
            self.take_alive(&entries, blocks)?;
        }
        Ok(true)
    }

    /// A segment of format 1 is never read as a log again: the table beside it says what is in it.
    fn list_table(&self, number: FileNumber, blocks: &mut Vec<Source>) -> Result<bool, ListError> {
        let inner = self.inner();
        let table = BlockTable::read(inner.disk.as_ref(), &inner.segments_dir(), number)?;
        let Some(table) = table else {
            return Ok(false);
        };
        let entries = table.entries.iter();
        let entries: Vec<_> = entries
            .map(|entry| (entry.hash, entry.location(number)))
            .collect();
        self.take_alive(&entries, blocks)?;
        Ok(true)
    }

    fn list_pack(
        &self,
        number: FileNumber,
        row: &FileRow,
        blocks: &mut Vec<Source>,
    ) -> Result<bool, ListError> {
        let Some(name) = row.pack_name() else {
            return Ok(false);
        };
        let footer = match self.inner().packs().footer(&name) {
            Err(PackError::Disk(error)) => return Err(error.into()),
            Err(_) => return Ok(false),
            Ok(footer) => footer,
        };
        let entries: Vec<_> = footer
            .entries()
            .map(|entry| (entry.hash(), entry.location(number)))
            .collect();
        self.take_alive(&entries, blocks)?;
        Ok(true)
    }

    /// Takes those of these copies that the index knows.
    fn take_alive(
        &self,
        entries: &[(Multihash, Location)],
        blocks: &mut Vec<Source>,
    ) -> Result<(), ListError> {
        for page in entries.chunks(PAGE_ROWS) {
            let hashes = page.iter().map(|(hash, _)| hash);
            let places = self.inner().shared.index.places(hashes);
            for ((hash, at), place) in page.iter().zip(places.map_err(UpkeepError::from)?) {
                if let Some(place) = place.filter(|place| place.location == *at) {
                    blocks.push(Source::new(*hash, place));
                }
            }
        }
        Ok(())
    }

    /// As [`Store::list`], by looking through the whole index.
    fn look_through(
        &self,
        files: &BTreeSet<FileNumber>,
        blocks: &mut Vec<Source>,
    ) -> Result<(), UpkeepError> {
        let kv = &self.inner().shared.index.kv;
        let mut from = vec![keys::BLOCK];
        loop {
            let rows = kv.scan(&from, &keys::end_of(keys::BLOCK), PAGE_ROWS)?;
            let Some((last, _)) = rows.last() else {
                return Ok(());
            };
            from = keys::after(last.clone());
            for (key, value) in &rows {
                if let Some(place) = Place::from_bytes(value)
                    && files.contains(&place.location.file)
                    && let Some(hash) = keys::hash_of(key)
                {
                    blocks.push(Source::new(hash, place));
                }
            }
        }
    }
}

impl Source {
    fn new(hash: Multihash, place: Place) -> Self {
        Self {
            tag: place.tag,
            location: place.location,
            hash,
            codecs: place.codecs,
        }
    }
}

/// Why a file could not be listed.
enum ListError {
    Disk(io::Error),
    Upkeep(UpkeepError),
}

impl From<io::Error> for ListError {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

impl From<UpkeepError> for ListError {
    fn from(error: UpkeepError) -> Self {
        Self::Upkeep(error)
    }
}
