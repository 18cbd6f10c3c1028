//! The table of a file that has none of its own: which blocks lie where in a segment of format 1.
//!
//! A pack says at its end what is in it, and a log segment in its groups. A segment of format 1 is never read as a log
//! again, because what a publisher stored can look like a part of it; this table stands beside it instead, under its
//! number, written once from what the index knew and what was read and verified.
//!
//! ```text
//! table  "PERNTAB1" · version u8 (1) · zeros 3 · number u32 · entries u32 · zeros 12 · entry · entry · … · CRC-32C of all that u32
//! entry  tag u32 (0) · multihash length u8 · multihash · offset u32 · length u32 · CRC-32C u32 for each 16 KiB · codecs u8
//!        · codec varint · …
//! ```
//!
//! Integers are little-endian; an empty block has one checksum. Entries come by offset.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::Disk;

const MAGIC: &[u8; 8] = b"PERNTAB1";
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 32;
const SUM_BYTES: usize = 4;
/// Bytes of a block under one checksum.
const CHUNK_BYTES: usize = 16 << 10;
/// The fewest bytes of an entry: a multihash has at least two, a codec one.
const ENTRY_BYTES: usize = 4 + 1 + 2 + 4 + 4 + 4 + 1 + 1;

/// A block in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableEntry {
    /// Its binary multihash.
    pub(crate) hash: Vec<u8>,
    /// Where its bytes begin.
    pub(crate) offset: u32,
    /// How many there are.
    pub(crate) length: u32,
    /// CRC-32C of each 16 KiB.
    pub(crate) crcs: Vec<u32>,
    /// Codecs it was stored under.
    pub(crate) codecs: Vec<u64>,
}

/// The blocks of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BlockTable {
    /// By offset.
    pub(crate) entries: Vec<TableEntry>,
}

impl BlockTable {
    /// The path of the table of the file with this number.
    pub(crate) fn path(dir: &Path, number: u32) -> PathBuf {
        dir.join(format!("{number:08x}.tab"))
    }

    /// Reads the table of a file. None where there is none, or none that is whole.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn read(disk: &dyn Disk, dir: &Path, number: u32) -> io::Result<Option<Self>> {
        let file = match disk.open(&Self::path(dir, number)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let Ok(length) = usize::try_from(file.length()?) else {
            return Ok(None);
        };
        Ok(Self::from_bytes(&file.read_vec_at(length, 0)?, number))
    }

    /// Writes the table of a file whole: under another name first. The name is durable once the folder is synced.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn write(&self, disk: &dyn Disk, dir: &Path, number: u32) -> io::Result<()> {
        let path = Self::path(dir, number);
        let new = path.with_extension("tab.new");
        let file = disk.create(&new, 0)?;
        file.write_at(&self.to_bytes(number), 0)?;
        file.sync()?;
        disk.rename(&new, &path)
    }

    fn to_bytes(&self, number: u32) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&[VERSION, 0, 0, 0]);
        bytes.extend_from_slice(&number.to_le_bytes());
        let count = u32::try_from(self.entries.len()).expect("a file is far below 4 GiB");
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.resize(HEADER_BYTES, 0);
        for entry in &self.entries {
            entry.write(&mut bytes);
        }
        let sum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// None where the bytes are not exactly the table of this file.
    fn from_bytes(bytes: &[u8], number: u32) -> Option<Self> {
        let (bytes, sum) = bytes.split_last_chunk::<SUM_BYTES>()?;
        let (header, mut rest) = bytes.split_at_checked(HEADER_BYTES)?;
        let count = u32::from_le_bytes(header[16..20].try_into().ok()?) as usize;
        let is_whole = header.starts_with(MAGIC)
            && header[8] == VERSION
            && header[12..16] == number.to_le_bytes()
            && crc32c::crc32c(bytes).to_le_bytes() == *sum
            // A count that lies takes no memory.
            && count <= rest.len() / ENTRY_BYTES;
        if !is_whole {
            return None;
        }
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            entries.push(TableEntry::read(&mut rest)?);
        }
        rest.is_empty().then_some(Self { entries })
    }
}

impl TableEntry {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[0; 4]);
        out.push(u8::try_from(self.hash.len()).expect("a multihash is shorter than 256 bytes"));
        out.extend_from_slice(&self.hash);
        for number in [self.offset, self.length].iter().chain(&self.crcs) {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.push(u8::try_from(self.codecs.len()).expect("few codecs are kept"));
        for codec in &self.codecs {
            write_varint(out, *codec);
        }
    }

    fn read<'a>(rest: &mut &'a [u8]) -> Option<Self> {
        let mut take = |count: usize| -> Option<&'a [u8]> {
            let (taken, after) = rest.split_at_checked(count)?;
            *rest = after;
            Some(taken)
        };
        let read_u32 = |taken: &[u8]| taken.try_into().ok().map(u32::from_le_bytes);
        take(4)?;
        let hash_length = usize::from(take(1)?[0]);
        let hash = take(hash_length)?.to_vec();
        let offset = read_u32(take(4)?)?;
        let length = read_u32(take(4)?)?;
        let sums = take(chunk_count(length).checked_mul(4)?)?;
        let crcs = sums.chunks(4).map(read_u32).collect::<Option<_>>()?;
        let count = take(1)?[0];
        let mut codecs = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            codecs.push(read_varint(&mut take)?);
        }
        Some(Self {
            hash,
            offset,
            length,
            crcs,
            codecs,
        })
    }
}

/// The checksums of a block: one for each 16 KiB of it, one where it is empty.
pub(crate) fn chunk_crcs(body: &[u8]) -> Vec<u32> {
    if body.is_empty() {
        return vec![crc32c::crc32c(body)];
    }
    body.chunks(CHUNK_BYTES).map(crc32c::crc32c).collect()
}

/// How many checksums a block of this many bytes has.
pub(crate) fn chunk_count(length: u32) -> usize {
    (length as usize).div_ceil(CHUNK_BYTES).max(1)
}

fn write_varint(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn read_varint<'a>(take: &mut impl FnMut(usize) -> Option<&'a [u8]>) -> Option<u64> {
    let mut number = 0;
    for shift in (0..63).step_by(7) {
        let byte = take(1)?[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::disk::Real;

    fn entry(length: u32) -> TableEntry {
        TableEntry {
            hash: vec![0x1e, 2, 0xaa, 0xbb],
            offset: 0x0102,
            length,
            crcs: vec![7; chunk_count(length)],
            codecs: vec![0x55, 0x0129],
        }
    }

    #[test]
    fn golden_bytes_of_a_table() {
        let table = BlockTable {
            entries: vec![entry(5)],
        };
        let bytes = table.to_bytes(9);
        let hex = |bytes: &[u8]| -> String {
            bytes.iter().map(|byte| format!("{byte:02x}")).collect()
        };
        let golden = concat!(
            "5045524e54414231",
            "01000000",
            "09000000",
            "01000000",
            "000000000000000000000000",
            "00000000",
            "04",
            "1e02aabb",
            "02010000",
            "05000000",
            "07000000",
            "02",
            "55a902",
        );
        assert_eq!(hex(&bytes[..bytes.len() - 4]), golden);
        assert_eq!(BlockTable::from_bytes(&bytes, 9), Some(table));
    }

    #[test]
    fn a_table_is_read_back_and_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(BlockTable::read(&Real, dir.path(), 3).unwrap(), None);
        for lengths in [vec![0, 1, 16 << 10, (16 << 10) + 1, 2 << 20], vec![], vec![4]] {
            let entries = lengths.into_iter().map(entry).collect();
            let table = BlockTable { entries };
            table.write(&Real, dir.path(), 3).unwrap();
            assert_eq!(BlockTable::read(&Real, dir.path(), 3).unwrap(), Some(table));
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn no_flip_no_cut_and_no_other_number_is_taken() {
        let table = BlockTable {
            entries: vec![entry(1), entry(40_000)],
        };
        let bytes = table.to_bytes(9);
        assert_eq!(BlockTable::from_bytes(&bytes, 8), None);
        for at in 0..bytes.len() {
            assert_eq!(BlockTable::from_bytes(&bytes[..at], 9), None, "{at}");
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            assert_eq!(BlockTable::from_bytes(&flipped, 9), None, "{at}");
        }
    }

    #[test]
    fn a_sum_that_fits_makes_no_lie_true() {
        let with_sum = |mut bytes: Vec<u8>| {
            let sum = crc32c::crc32c(&bytes);
            bytes.extend_from_slice(&sum.to_le_bytes());
            bytes
        };
        let whole = BlockTable {
            entries: vec![entry(1)],
        };
        let whole = whole.to_bytes(9);
        let whole = &whole[..whole.len() - 4];
        for (at, lie) in [(16, 0xff), (19, 0xff), (32 + 4, 0xff), (32 + 4 + 5 + 7, 0xff)] {
            let mut bytes = whole.to_vec();
            bytes[at] = lie;
            assert_eq!(BlockTable::from_bytes(&with_sum(bytes), 9), None, "{at}");
        }
        assert_eq!(BlockTable::from_bytes(&with_sum([whole, &[0]].concat()), 9), None);
    }
}
