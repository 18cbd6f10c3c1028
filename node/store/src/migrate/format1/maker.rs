//! Makes segments as the first releases did, for tests: whole, torn, failed, forged.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use crc32fast::Hasher;
use perennis_shared::cid::Block;

use super::change::Format1Change;
use super::row;
use super::segment::HEADER_BYTES;
use crate::disk::Disk;
use crate::kv::{Kv, KvBatch};
use crate::location::{FileNumber, Location};
use crate::log::Position;

/// A store of format 1 while it is made: the segments, and the index as far as it is told to follow.
#[derive(Debug)]
pub(crate) struct Maker {
    /// Whole segments with their bytes; the last is the one that is written to.
    pub(crate) segments: Vec<(FileNumber, Vec<u8>)>,
    /// The last group that was acknowledged.
    pub(crate) last_group: u64,
    next_group: u64,
}

impl Maker {
    pub(crate) fn new() -> Self {
        let mut maker = Self {
            segments: Vec::new(),
            last_group: 0,
            next_group: 1,
        };
        maker.begin(1);
        maker
    }

    /// Begins a segment.
    pub(crate) fn begin(&mut self, number: u32) {
        let number = FileNumber(number);
        self.segments.push((number, header(number)));
    }

    /// Appends a group that is acknowledged.
    pub(crate) fn commit(&mut self, blocks: &[Block], changes: &[Format1Change]) -> Made {
        let made = self.fail(blocks, changes);
        self.last_group = made.end.group;
        made
    }

    /// Appends a group that is whole and was never acknowledged. The store begins another segment then.
    pub(crate) fn fail(&mut self, blocks: &[Block], changes: &[Format1Change]) -> Made {
        let group = self.next_group;
        self.next_group += 1;
        let (number, bytes) = self.segments.last_mut().unwrap();
        let start = bytes.len();
        let mut places = Vec::new();
        for block in blocks {
            let key = block.cid().to_bytes();
            bytes.extend_from_slice(&record(1, group, &key, block.bytes()));
            places.push(Location {
                file: *number,
                offset: (bytes.len() - block.bytes().len()) as u32,
                length: block.bytes().len() as u32,
            });
        }
        let body = group_end(self.last_group, blocks.len() as u32, changes);
        bytes.extend_from_slice(&record(2, group, &[], &body));
        Made {
            start,
            end: Position {
                file: *number,
                offset: bytes.len() as u64,
                group,
            },
            places,
        }
    }

    /// Writes the segments to a disk, each with some space behind it.
    pub(crate) fn write(&self, disk: &dyn Disk, dir: &Path) {
        disk.create_dir(dir).unwrap();
        for (number, bytes) in &self.segments {
            let file = disk
                .create(&number.segment_path(dir), bytes.len() as u64 + 500)
                .unwrap();
            file.write_at(bytes, 0).unwrap();
            file.sync().unwrap();
        }
        disk.sync_dir(dir).unwrap();
    }

    pub(crate) fn numbers(&self) -> Vec<FileNumber> {
        self.segments.iter().map(|(number, _)| *number).collect()
    }
}

/// A group that was made.
#[derive(Debug)]
pub(crate) struct Made {
    /// Where it begins in its segment.
    pub(crate) start: usize,
    pub(crate) end: Position,
    pub(crate) places: Vec<Location>,
}

/// Applies a group to an index as the first releases did.
pub(crate) fn apply(index: &dyn Kv, made: &Made, blocks: &[Block], changes: &[Format1Change]) {
    let mut batch = KvBatch::default();
    for (block, place) in blocks.iter().zip(&made.places) {
        batch.put(
            block_key(&block.cid().to_bytes()),
            row::write_location(*place),
        );
    }
    for change in changes {
        match change {
            Format1Change::Put(key, value) => batch.put(key.as_slice(), value.as_slice()),
            Format1Change::Delete(key) => batch.delete(key.as_slice()),
            Format1Change::Forget(cid) => batch.delete(block_key(cid)),
        }
    }
    let mut applied = made.end.file.0.to_le_bytes().to_vec();
    applied.extend_from_slice(&made.end.offset.to_le_bytes());
    applied.extend_from_slice(&made.end.group.to_le_bytes());
    batch.put([row::APPLIED], applied);
    index.write(batch).unwrap();
}

pub(crate) fn block_key(cid: &[u8]) -> Vec<u8> {
    [&[row::BLOCK], cid].concat()
}

pub(crate) fn header(number: FileNumber) -> Vec<u8> {
    let mut header = b"PERNSEG1".to_vec();
    header.extend_from_slice(&number.0.to_le_bytes());
    header.resize(60, 0);
    let sum = crc32fast::hash(&header);
    header.extend_from_slice(&sum.to_le_bytes());
    assert_eq!(header.len() as u64, HEADER_BYTES);
    header
}

/// A record, whoever makes it.
pub(crate) fn record(kind: u8, group: u64, key: &[u8], body: &[u8]) -> Vec<u8> {
    let mut record = vec![kind, key.len() as u8, 0, 0];
    record.extend_from_slice(&(body.len() as u32).to_le_bytes());
    record.extend_from_slice(&group.to_le_bytes());
    let mut sum = Hasher::new();
    for part in [&record, key, body] {
        sum.update(part);
    }
    record.extend_from_slice(&sum.finalize().to_le_bytes());
    record.extend_from_slice(key);
    record.extend_from_slice(body);
    record
}

/// The body of a record of kind 2.
pub(crate) fn group_end(previous: u64, blocks: u32, changes: &[Format1Change]) -> Vec<u8> {
    let mut bytes = previous.to_le_bytes().to_vec();
    bytes.extend_from_slice(&blocks.to_le_bytes());
    bytes.extend_from_slice(&(changes.len() as u32).to_le_bytes());
    for change in changes {
        let (code, key, value) = match change {
            Format1Change::Put(key, value) => (1, key, Some(value)),
            Format1Change::Delete(key) => (2, key, None),
            Format1Change::Forget(cid) => (3, cid, None),
        };
        bytes.push(code);
        bytes.extend_from_slice(&(key.len() as u16).to_le_bytes());
        bytes.extend_from_slice(key);
        if let Some(value) = value {
            bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
            bytes.extend_from_slice(value);
        }
    }
    bytes
}
