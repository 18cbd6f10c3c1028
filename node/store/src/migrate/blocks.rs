//! Blocks: from rows by CID to rows by multihash, and to the tables of the files in which they lie.
//!
//! Each is read where format 1's index says and held against its hash. Where format 1 stored the same bytes under two
//! CIDs, one place is kept and the others are dead; where that place is damaged, the next is taken. What is damaged
//! everywhere is set aside and waits to be fetched again, as when it is found by a read.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use perennis_shared::cid::{Block, Cid, parse_cid_bytes};
use perennis_shared::limits::WIRE_BLOCK_BYTES;

use super::loss::MigrationLoss;
use super::sink::Sink;
use super::target::{self, CODECS, REFETCH};
use super::view::{View, rows};
use super::{MigrateError, Migration, MigrationProgress};
use crate::block_table::{BlockTable, TableEntry, chunk_crcs};
use crate::format1::{Location, Segment, SegmentNumber, row};
use crate::kv::{KvBatch, KvError, Row};

/// The table of the scratch that has all blocks by multihash.
const BY_HASH: u8 = b'h';
/// The table of the scratch that has them by place.
const BY_PLACE: u8 = b'p';
/// The table of the scratch that has the multihashes of which one of several places was found whole.
const WHOLE: u8 = b'w';
/// What a row by multihash is: a place, or a note that the block was damaged.
const PLACE: u8 = 0;
const DAMAGED: u8 = 1;
/// Blocks after which progress is told.
const TOLD_BLOCKS: u64 = 1024;

/// Blocks on their way into the new format.
#[derive(Debug)]
pub(super) struct Blocks<'a> {
    migration: &'a Migration<'a>,
    view: View<'a>,
    by_hash: Sink<'a>,
    of_blocks: u64,
}

/// What was kept.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) blocks: u64,
    /// Segments that are this store's.
    pub(super) files: BTreeSet<SegmentNumber>,
    pub(super) losses: Vec<MigrationLoss>,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(migration: &'a Migration<'a>, view: View<'a>) -> Self {
        Self {
            migration,
            view,
            by_hash: Sink::new(migration.scratch),
            of_blocks: 0,
        }
    }

    /// Takes in the row of a block; says what is wrong with one that cannot be read.
    pub(super) fn add_block(
        &mut self,
        key: &[u8],
        value: &[u8],
    ) -> Result<Option<&'static str>, KvError> {
        let Ok(cid) = parse_cid_bytes(&key[1..]) else {
            return Ok(Some("its key is no CID"));
        };
        if Location::from_bytes(value).is_none() {
            return Ok(Some("it is no place"));
        }
        self.of_blocks += 1;
        self.add(&cid, PLACE, value)
    }

    /// Takes in the row of a block in quarantine.
    pub(super) fn add_quarantine(
        &mut self,
        key: &[u8],
        value: &[u8],
    ) -> Result<Option<&'static str>, KvError> {
        let Ok(cid) = parse_cid_bytes(&key[1..]) else {
            return Ok(Some("its key is no CID"));
        };
        if row::read_quarantine(value).is_none() {
            return Ok(Some("it is no time and reason"));
        }
        self.add(&cid, DAMAGED, value)
    }

    fn add(&mut self, cid: &Cid, kind: u8, value: &[u8]) -> Result<Option<&'static str>, KvError> {
        let hash = cid.hash().to_bytes();
        let version = u64::from(cid.version()) as u8;
        // The hash says its own length, so all rows of one come together.
        let mut key = vec![BY_HASH];
        key.extend_from_slice(&hash);
        key.push(kind);
        key.extend_from_slice(&cid.codec().to_be_bytes());
        key.push(version);
        let length = u8::try_from(hash.len()).expect("a multihash is shorter than 256 bytes");
        self.by_hash.put(key, [&[length], value].concat())?;
        Ok(None)
    }

    /// Brings together what format 1 has of each multihash, and puts it in the order of the files.
    pub(super) fn sort(&mut self) -> Result<(), KvError> {
        self.by_hash.finish()?;
        let scratch = self.migration.scratch;
        let mut by_place = Sink::new(scratch);
        let mut target = Sink::new(self.migration.target);
        let mut open: Option<OneHash> = None;
        for found in rows(scratch, vec![BY_HASH], vec![BY_HASH + 1]) {
            let (key, value) = found?;
            let (length, value) = value.split_first().expect("the row begins with a length");
            let (hash, rest) = key[1..].split_at(usize::from(*length));
            if open.as_ref().is_some_and(|open| open.hash != hash)
                && let Some(whole) = open.take()
            {
                whole.write(&mut by_place, &mut target)?;
            }
            let open = open.get_or_insert_with(|| OneHash::new(hash));
            open.add(rest, value);
        }
        if let Some(whole) = open {
            whole.write(&mut by_place, &mut target)?;
        }
        target.finish()?;
        by_place.finish()
    }

    /// Reads and verifies all blocks, file by file, and writes their rows and the tables.
    pub(super) fn keep(
        &self,
        numbers: &[SegmentNumber],
        progress: &mut dyn FnMut(MigrationProgress),
    ) -> Result<Kept, MigrateError> {
        let mut told = MigrationProgress {
            of_blocks: self.of_blocks,
            ..MigrationProgress::default()
        };
        let mut kept = Kept::default();
        let mut target = Sink::new(self.migration.target);
        let mut open: Option<File> = None;
        for found in rows(self.migration.scratch, vec![BY_PLACE], vec![BY_PLACE + 1]) {
            let copy = Copy::read(&found?);
            let number = copy.location.segment;
            if open.as_ref().is_some_and(|open| open.number != number)
                && let Some(whole) = open.take()
            {
                whole.finish(self, &mut target, &mut kept)?;
            }
            let open = match &mut open {
                Some(open) => open,
                none => none.insert(File::open(self.migration, number)?),
            };
            open.take(self, copy, &mut target)?;
            told.blocks += 1;
            told.bytes += open.last_bytes;
            if told.blocks.is_multiple_of(TOLD_BLOCKS) {
                progress(told);
            }
        }
        if let Some(whole) = open {
            whole.finish(self, &mut target, &mut kept)?;
        }
        for number in numbers {
            let empty = File::open(self.migration, *number)?;
            if !kept.files.contains(number)
                && let Some(segment) = &empty.segment
                && self.migration.is_ours(segment)?
            {
                empty.finish(self, &mut target, &mut kept)?;
            }
        }
        target.put(vec![target::TOTAL], kept.blocks.to_le_bytes().to_vec())?;
        target.finish()?;
        progress(told);
        Ok(kept)
    }

    /// Sets a block aside of which no whole copy is left.
    fn set_aside(&self, copy: &Copy, reason: &str, target: &mut Sink) -> Result<(), KvError> {
        let now = self.migration.now;
        let row = target::quarantined(now, &copy.codecs, reason);
        target.put(target::key(target::QUARANTINE, &copy.hash), row)?;
        let entry = copy.cid().to_bytes();
        let by_key = row::queue_key(REFETCH, &entry);
        if self.view.value(&by_key)?.is_none() {
            target.put(by_key, target::plain(&now.0.to_le_bytes()))?;
            target.put(row::queue_row(REFETCH, now, &entry), target::plain(&[]))?;
        }
        Ok(())
    }
}

/// What format 1 has of one multihash.
#[derive(Debug)]
struct OneHash {
    hash: Vec<u8>,
    places: Vec<Location>,
    codecs: Vec<u64>,
    quarantine: Option<Vec<u8>>,
}

impl OneHash {
    fn new(hash: &[u8]) -> Self {
        Self {
            hash: hash.to_vec(),
            places: Vec::new(),
            codecs: Vec::new(),
            quarantine: None,
        }
    }

    /// `key` is what follows the hash in the key of a row.
    fn add(&mut self, key: &[u8], value: &[u8]) {
        let (kind, codec) = (key[0], &key[1..9]);
        let codec = u64::from_be_bytes(codec.try_into().expect("a slice of eight bytes"));
        if self.codecs.len() < CODECS && !self.codecs.contains(&codec) {
            self.codecs.push(codec);
        }
        if kind == PLACE {
            self.places.extend(Location::from_bytes(value));
        } else {
            self.quarantine.get_or_insert_with(|| value.to_vec());
        }
    }

    /// A block that was set aside under one CID and is there under another is no longer set aside.
    fn write(mut self, by_place: &mut Sink, target: &mut Sink) -> Result<(), KvError> {
        self.places.sort_unstable();
        let copies = self.places.len();
        for (copy, location) in self.places.iter().enumerate() {
            let mut key = vec![BY_PLACE];
            key.extend_from_slice(&location.segment.0.to_be_bytes());
            key.extend_from_slice(&location.offset.to_be_bytes());
            key.extend_from_slice(&self.hash);
            let mut value = vec![u8::from(copies > 1), u8::from(copy + 1 == copies)];
            value.extend_from_slice(&location.length.to_le_bytes());
            for codec in &self.codecs {
                value.extend_from_slice(&codec.to_le_bytes());
            }
            by_place.put(key, value)?;
        }
        if let Some((at, reason)) = self
            .quarantine
            .filter(|_| copies == 0)
            .and_then(|value| row::read_quarantine(&value))
        {
            let row = target::quarantined(at, &self.codecs, &reason);
            target.put(target::key(target::QUARANTINE, &self.hash), row)?;
        }
        Ok(())
    }
}

/// A place at which a block lies.
#[derive(Debug)]
struct Copy {
    hash: Vec<u8>,
    location: Location,
    codecs: Vec<u64>,
    /// Whether there are others.
    is_one_of_several: bool,
    is_last: bool,
}

impl Copy {
    fn read((key, value): &Row) -> Self {
        let number = |bytes: &[u8]| -> [u8; 4] { bytes.try_into().expect("a slice of four bytes") };
        let (codecs, _) = value[6..].as_chunks::<8>();
        Self {
            hash: key[9..].to_vec(),
            location: Location {
                segment: SegmentNumber(u32::from_be_bytes(number(&key[1..5]))),
                offset: u32::from_be_bytes(number(&key[5..9])),
                length: u32::from_le_bytes(number(&value[2..6])),
            },
            codecs: codecs.iter().copied().map(u64::from_le_bytes).collect(),
            is_one_of_several: value[0] == 1,
            is_last: value[1] == 1,
        }
    }

    fn cid(&self) -> Cid {
        let mut bytes = vec![1, 0x55];
        bytes.extend_from_slice(&self.hash);
        let raw = parse_cid_bytes(&bytes).expect("it came from a CID");
        let codec = self.codecs.first().copied();
        codec.map_or(raw, |codec| Cid::new_v1(codec, *raw.hash()))
    }
}

/// A segment while its blocks are gone through.
#[derive(Debug)]
struct File {
    number: SegmentNumber,
    segment: Option<Segment>,
    /// What an earlier attempt found, by offset.
    known: BTreeMap<u32, TableEntry>,
    table: BlockTable,
    live_bytes: u64,
    /// Bytes of the block that was looked at last.
    last_bytes: u64,
    lost: u64,
}

impl File {
    fn open(migration: &Migration, number: SegmentNumber) -> io::Result<Self> {
        let Migration { disk, dir, .. } = migration;
        let known = BlockTable::read(*disk, dir, number.0)?.unwrap_or_default();
        let by_offset = |entry: TableEntry| (entry.offset, entry);
        Ok(Self {
            number,
            segment: Segment::open(*disk, dir, number)?,
            known: known.entries.into_iter().map(by_offset).collect(),
            table: BlockTable::default(),
            live_bytes: 0,
            last_bytes: 0,
            lost: 0,
        })
    }

    /// Takes a copy of a block, where it is whole and no other was taken.
    fn take(
        &mut self,
        blocks: &Blocks,
        copy: Copy,
        target: &mut Sink,
    ) -> Result<(), MigrateError> {
        self.last_bytes = 0;
        let scratch = blocks.migration.scratch;
        let mark = target::key(WHOLE, &copy.hash);
        if copy.is_one_of_several && scratch.value(&mark)?.is_some() {
            return Ok(());
        }
        let crcs = match self.crcs(&copy)? {
            Ok(crcs) => crcs,
            Err(reason) => {
                if copy.is_last {
                    self.lost += 1;
                    blocks.set_aside(&copy, &reason, target)?;
                }
                return Ok(());
            }
        };
        if copy.is_one_of_several {
            let mut batch = KvBatch::default();
            batch.put(mark, []);
            scratch.write(batch)?;
        }
        let place = target::place(copy.location, &copy.codecs, &crcs);
        target.put(target::key(target::BLOCK, &copy.hash), place)?;
        self.live_bytes += u64::from(copy.location.length);
        self.last_bytes = u64::from(copy.location.length);
        self.table.entries.push(TableEntry {
            hash: copy.hash,
            offset: copy.location.offset,
            length: copy.location.length,
            crcs,
            codecs: copy.codecs,
        });
        Ok(())
    }

    /// The checksums of a block, or what is wrong with it.
    fn crcs(&mut self, copy: &Copy) -> io::Result<Result<Vec<u32>, String>> {
        let Location { offset, length, .. } = copy.location;
        let known = self.known.remove(&offset);
        if let Some(known) = known.filter(|known| known.length == length && known.hash == copy.hash)
        {
            return Ok(Ok(known.crcs));
        }
        let Some(segment) = &self.segment else {
            return Ok(Err(format!("{} is not there", self.number)));
        };
        // What a row claims is bounded before memory is taken for it.
        if length as usize > WIRE_BLOCK_BYTES {
            return Ok(Err("it is longer than any block".to_owned()));
        }
        let bytes = match segment.read(u64::from(offset), length) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Ok(Err(format!("{} ends before it", self.number)));
            }
            // A fault of the whole disk may pass, and takes no block with it.
            Err(error) => {
                segment.read(0, 1)?;
                return Ok(Err(error.to_string()));
            }
        };
        Ok(match Block::verified(copy.cid(), bytes) {
            Ok(block) => Ok(chunk_crcs(block.bytes())),
            Err(error) => Err(error.to_string()),
        })
    }

    /// Writes the table of the file and its row.
    fn finish(
        self,
        blocks: &Blocks,
        target: &mut Sink,
        kept: &mut Kept,
    ) -> Result<(), MigrateError> {
        kept.blocks += self.table.entries.len() as u64;
        let Some(segment) = self.segment else {
            kept.losses.push(MigrationLoss::MissingFile {
                segment: self.number,
                blocks: self.lost,
            });
            return Ok(());
        };
        kept.files.insert(self.number);
        if self.lost > 0 {
            kept.losses.push(MigrationLoss::Damaged {
                segment: self.number,
                blocks: self.lost,
            });
        }
        let is_empty = self.table.entries.is_empty();
        if !is_empty {
            let Migration { disk, dir, .. } = blocks.migration;
            self.table.write(*disk, dir, self.number.0)?;
        }
        let used_bytes = segment.written_behind(0)?;
        let row = target::file(is_empty, self.live_bytes, used_bytes);
        let key = target::key(target::FILE, &self.number.0.to_be_bytes());
        target.put(key, row)?;
        Ok(())
    }
}
