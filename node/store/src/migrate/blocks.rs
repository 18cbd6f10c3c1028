//! Blocks as they lie in the files: each is read where format 1's index says and held against its hash.
//!
//! What is whole goes into the new index and into the table of its file. What is damaged is set aside and waits to be
//! fetched again, as when it is found by a read.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use perennis_shared::cid::{Block, Cid, Codec, Multihash, write_multihash};
use perennis_shared::limits::WIRE_BLOCK_BYTES;
use perennis_shared::time::Millis;

use super::by_place::Copy;
use super::format1::Segment;
use super::sink::Sink;
use super::{MigrateError, Migration};
use crate::block_table::{BlockTable, TableEntry};
use crate::frame::chunk_crcs;
use crate::keys;
use crate::kv::{Kv, KvError};
use crate::location::{FileNumber, Location};
use crate::rebuild::{Progress, RebuildProgress, RebuildStage};
use crate::rows::{
    FileKind, FileRow, Loss, LossKind, NOBODY, Quarantined, Row as _, write_due, write_payload,
};

/// Blocks after which progress is told.
const TOLD_BLOCKS: u64 = 1024;

/// What was kept.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) blocks: u64,
    /// Files that are this store's.
    pub(super) files: BTreeSet<FileNumber>,
    pub(super) losses: Vec<Loss>,
}

/// Reads and verifies all blocks, file by file, and writes their rows and the tables.
pub(super) fn keep_blocks(
    migration: &Migration,
    files: Files,
    by_place: &dyn Kv,
    numbers: &[FileNumber],
    target: &mut Sink,
    progress: Progress,
) -> Result<Kept, MigrateError> {
    let snapshot = by_place.snapshot()?;
    let of = snapshot.rows(&[], &END).count() as u64;
    let mut keeping = Keeping {
        migration,
        files,
        target,
        kept: Kept::default(),
    };
    let mut filling: Option<Filling> = None;
    for (done, found) in (0..).zip(snapshot.rows(&[], &END)) {
        if done % TOLD_BLOCKS == 0 {
            progress(RebuildProgress::new(RebuildStage::Format1, done, of));
        }
        let copy = Copy::read(&found?);
        let number = copy.location.file;
        if let Some(whole) = filling.take_if(|filling| filling.number != number) {
            keeping.finish(whole)?;
        }
        keeping.take(filling.get_or_insert_with(|| Filling::new(number)), copy)?;
    }
    if let Some(whole) = filling {
        keeping.finish(whole)?;
    }
    for number in numbers {
        keeping.take_empty(*number)?;
    }
    progress(RebuildProgress::new(RebuildStage::Format1, of, of));
    Ok(keeping.kept)
}

/// Behind the places of all files.
const END: [u8; 5] = [u8::MAX; 5];

/// Has a block fetched again at a time.
pub(super) fn refetch_rows(
    hash: &Multihash,
    due: Millis,
    target: &mut Sink,
) -> Result<(), KvError> {
    let mut entry = Vec::new();
    write_multihash(&mut entry, hash);
    target.put(
        keys::queue_row(keys::REFETCH, due, &entry),
        write_payload(&[]),
    )?;
    target.put(keys::queue_key(keys::REFETCH, &entry), write_due(due))
}

struct Keeping<'a> {
    migration: &'a Migration<'a>,
    files: Files<'a>,
    target: &'a mut Sink,
    kept: Kept,
}

/// A file while its blocks are gone through.
#[derive(Debug)]
struct Filling {
    number: FileNumber,
    table: BlockTable,
    live_bytes: u64,
    lost_blocks: u64,
}

impl Filling {
    fn new(number: FileNumber) -> Self {
        Self {
            number,
            table: BlockTable::default(),
            live_bytes: 0,
            lost_blocks: 0,
        }
    }
}

impl Keeping<'_> {
    fn take(&mut self, filling: &mut Filling, copy: Copy) -> Result<(), MigrateError> {
        let crcs = match self.files.crcs(&copy.hash, copy.location)? {
            Ok(crcs) => crcs,
            Err(reason) => {
                filling.lost_blocks += 1;
                return self.set_aside(copy, reason);
            }
        };
        let Location { offset, length, .. } = copy.location;
        let entry = TableEntry {
            hash: copy.hash,
            offset,
            length,
            crcs,
            codecs: copy.codecs,
        };
        let place = entry.place(filling.number);
        self.target.put(keys::block(&copy.hash), place.to_bytes())?;
        filling.live_bytes += u64::from(length);
        filling.table.entries.push(entry);
        Ok(())
    }

    fn set_aside(&mut self, copy: Copy, reason: String) -> Result<(), MigrateError> {
        let row = Quarantined {
            at: self.migration.now,
            location: copy.location,
            tag: NOBODY,
            codecs: copy.codecs,
            reason,
        };
        self.target
            .put(keys::quarantine(&copy.hash), row.to_bytes())?;
        if !copy.is_queued {
            refetch_rows(&copy.hash, self.migration.now, self.target)?;
        }
        Ok(())
    }

    /// Writes the table of a file and its row.
    fn finish(&mut self, filling: Filling) -> Result<(), MigrateError> {
        let Filling {
            number,
            table,
            live_bytes,
            lost_blocks,
        } = filling;
        self.kept.blocks += table.entries.len() as u64;
        let segment = self.files.segment(number)?;
        if lost_blocks > 0 {
            let kind = if segment.is_some() {
                LossKind::DamagedBlocks
            } else {
                LossKind::MissingFile
            };
            self.kept.losses.push(Loss {
                blocks: lost_blocks,
                ..self.migration.loss(kind, number, 0)
            });
        }
        let Some(segment) = segment else {
            return Ok(());
        };
        let row = FileRow {
            kind: FileKind::Format1,
            // Where nothing is alive, nothing but its bytes is left to be removed.
            is_dropped: table.entries.is_empty(),
            id: [0; 32],
            live_bytes,
            used_bytes: segment.written_behind(0)?,
            body_bytes: 0,
            first_group: 0,
            last_group: 0,
        };
        self.target.put(keys::file(number), row.to_bytes())?;
        self.kept.files.insert(number);
        if !table.entries.is_empty() {
            let disk = self.migration.disk.as_ref();
            table.write(disk, &self.migration.dir(), number)?;
        }
        Ok(())
    }

    /// Takes over a file in which no block lies: a segment of this store, or one that was never written to. Others are left
    /// alone.
    fn take_empty(&mut self, number: FileNumber) -> Result<(), MigrateError> {
        if !self.kept.files.contains(&number)
            && let Some(segment) = self.files.segment(number)?
            && (segment.has_header()? || segment.written_behind(0)? == 0)
        {
            self.finish(Filling::new(number))?;
        }
        Ok(())
    }
}

/// The files of format 1, of which one is open.
pub(super) struct Files<'a> {
    migration: &'a Migration<'a>,
    open: Option<File>,
}

struct File {
    number: FileNumber,
    segment: Option<Segment>,
    /// What an earlier attempt found, by offset.
    known: BTreeMap<u32, TableEntry>,
}

impl<'a> Files<'a> {
    pub(super) fn new(migration: &'a Migration<'a>) -> Self {
        Self {
            migration,
            open: None,
        }
    }

    /// The checksums of a block at a place, or what is wrong with it.
    ///
    /// # Errors
    /// The file cannot be read now.
    pub(super) fn crcs(
        &mut self,
        hash: &Multihash,
        location: Location,
    ) -> io::Result<Result<Vec<u32>, String>> {
        let Location {
            file,
            offset,
            length,
        } = location;
        let File { segment, known, .. } = self.open(file)?;
        let known = known.get(&offset);
        if let Some(known) = known.filter(|known| known.length == length && known.hash == *hash) {
            return Ok(Ok(known.crcs.clone()));
        }
        let Some(segment) = segment else {
            return Ok(Err(format!("{file} is not there")));
        };
        // What a row claims is bounded before memory is taken for it.
        if length as usize > WIRE_BLOCK_BYTES {
            return Ok(Err("it is longer than any block".to_owned()));
        }
        let bytes = match segment.read(u64::from(offset), length) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Ok(Err(format!("{file} ends before it")));
            }
            // A fault of the whole disk may pass, and takes no block with it.
            Err(error) => {
                segment.read(0, 1)?;
                return Ok(Err(error.to_string()));
            }
        };
        let cid = Cid::new_v1(Codec::Raw.code(), *hash);
        Ok(match Block::verified(cid, bytes) {
            Ok(block) => Ok(chunk_crcs(block.bytes())),
            Err(error) => Err(error.to_string()),
        })
    }

    fn segment(&mut self, number: FileNumber) -> io::Result<Option<Segment>> {
        Ok(self.open(number)?.segment.clone())
    }

    fn open(&mut self, number: FileNumber) -> io::Result<&File> {
        if let Some(open) = self.open.take_if(|open| open.number == number) {
            return Ok(self.open.insert(open));
        }
        let migration = self.migration;
        let known = BlockTable::read(migration.disk.as_ref(), &migration.dir(), number)?;
        let known = known.unwrap_or_default().entries.into_iter();
        Ok(self.open.insert(File {
            number,
            segment: migration.open(number)?,
            known: known.map(|entry| (entry.offset, entry)).collect(),
        }))
    }
}
