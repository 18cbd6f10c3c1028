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

use perennis_shared::cid::{Multihash, multihash_len, parse_multihash_bytes, write_multihash};
use perennis_shared::limits::WIRE_BLOCK_BYTES;

use crate::disk::Disk;
use crate::frame::{CHUNK_BYTES, chunk_count, crc};
use crate::location::{FileNumber, Location};
use crate::rows::{NOBODY, Place, Reader};

const MAGIC: &[u8; 8] = b"PERNTAB1";
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 32;
/// Most bytes of a table. A segment of format 1 had at most a batch of 64 MiB, and each of its records is about as long as an entry.
const TABLE_BYTES: usize = 256 << 20;
/// The fewest bytes of an entry: a multihash has at least two, a codec one.
const ENTRY_BYTES: usize = 4 + 1 + 2 + 4 + 4 + 4 + 1 + 1;

/// A block in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableEntry {
    pub(crate) hash: Multihash,
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
    /// The path of the table of a file, in the folder of the segments.
    pub(crate) fn path(dir: &Path, number: FileNumber) -> PathBuf {
        dir.join(Self::file_name(number))
    }

    /// What the table of a file is called.
    pub(crate) fn file_name(number: FileNumber) -> String {
        format!("{:08x}.tab", number.0)
    }

    /// Whether a file in the folder of the segments is a table, by its name.
    pub(crate) fn is_table(name: &str) -> bool {
        name.len() == 12 && name.ends_with(".tab")
    }

    /// Reads the table of a file. None where there is none, or none that is whole.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn read(
        disk: &dyn Disk,
        dir: &Path,
        number: FileNumber,
    ) -> io::Result<Option<Self>> {
        let file = match disk.open(&Self::path(dir, number)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let length = usize::try_from(file.length()?).unwrap_or(usize::MAX);
        if length > TABLE_BYTES {
            return Ok(None);
        }
        Ok(Self::from_bytes(&file.read_vec_at(length, 0)?, number))
    }

    /// Writes the table of a file whole: under another name first. The name is durable once the folder is synced.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn write(&self, disk: &dyn Disk, dir: &Path, number: FileNumber) -> io::Result<()> {
        let path = Self::path(dir, number);
        let new = path.with_extension("tab.new");
        let file = disk.create(&new, 0)?;
        file.write_at(&self.to_bytes(number), 0)?;
        file.sync()?;
        disk.rename(&new, &path)
    }

    fn to_bytes(&self, number: FileNumber) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&[VERSION, 0, 0, 0]);
        bytes.extend_from_slice(&number.0.to_le_bytes());
        let count = u32::try_from(self.entries.len()).expect("a file is far below 4 GiB");
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.resize(HEADER_BYTES, 0);
        for entry in &self.entries {
            entry.write(&mut bytes);
        }
        let sum = crc(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// None where the bytes are not exactly the table of this file.
    fn from_bytes(bytes: &[u8], number: FileNumber) -> Option<Self> {
        let (bytes, sum) = bytes.split_last_chunk::<4>()?;
        let (header, rest) = bytes.split_at_checked(HEADER_BYTES)?;
        let count = u32::from_le_bytes(header[16..20].try_into().ok()?) as usize;
        let is_whole = header.starts_with(MAGIC)
            && header[8] == VERSION
            && header[12..16] == number.0.to_le_bytes()
            && crc(bytes).to_le_bytes() == *sum
            // A count that lies takes no memory.
            && count <= rest.len() / ENTRY_BYTES;
        if !is_whole {
            return None;
        }
        let mut entries = Vec::with_capacity(count);
        let mut rest = Reader(rest);
        for _ in 0..count {
            entries.push(TableEntry::read(&mut rest)?);
        }
        rest.0.is_empty().then_some(Self { entries })
    }
}

impl TableEntry {
    /// Where it lies in the file of this number.
    pub(crate) fn location(&self, file: FileNumber) -> Location {
        Location {
            file,
            offset: self.offset,
            length: self.length,
        }
    }

    /// The row of the block in the index.
    pub(crate) fn place(&self, file: FileNumber) -> Place {
        let is_long = self.length as usize > CHUNK_BYTES;
        Place {
            location: self.location(file),
            tag: NOBODY,
            codecs: self.codecs.clone(),
            crcs: self.crcs.iter().copied().filter(|_| is_long).collect(),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&NOBODY.to_le_bytes());
        let length = u8::try_from(multihash_len(&self.hash));
        out.push(length.expect("a multihash is shorter than 256 bytes"));
        write_multihash(out, &self.hash);
        for number in [self.offset, self.length].iter().chain(&self.crcs) {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.push(u8::try_from(self.codecs.len()).expect("few codecs are kept"));
        let mut buffer = unsigned_varint::encode::u64_buffer();
        for codec in &self.codecs {
            out.extend_from_slice(unsigned_varint::encode::u64(*codec, &mut buffer));
        }
    }

    fn read(rest: &mut Reader) -> Option<Self> {
        if rest.u32()? != NOBODY {
            return None;
        }
        let hash_length = usize::from(rest.u8()?);
        let hash = parse_multihash_bytes(rest.bytes(hash_length)?).ok()?;
        let (offset, length) = (rest.u32()?, rest.u32()?);
        if length as usize > WIRE_BLOCK_BYTES {
            return None;
        }
        let sums = rest.bytes(chunk_count(length).checked_mul(4)?)?;
        let (sums, _) = sums.as_chunks::<4>();
        let crcs = sums.iter().map(|sum| u32::from_le_bytes(*sum)).collect();
        let count = usize::from(rest.u8()?);
        if count > Place::CODECS {
            return None;
        }
        let mut codecs = Vec::with_capacity(count);
        for _ in 0..count {
            let (codec, after) = unsigned_varint::decode::u64(rest.0).ok()?;
            rest.0 = after;
            codecs.push(codec);
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::disk::Real;

    const NUMBER: FileNumber = FileNumber(9);

    fn entry(length: u32) -> TableEntry {
        TableEntry {
            hash: parse_multihash_bytes(&[0x1e, 2, 0xaa, 0xbb]).unwrap(),
            offset: 0x0102,
            length,
            crcs: vec![7; chunk_count(length)],
            codecs: vec![0x55, 0x0129],
        }
    }

    fn table(lengths: &[u32]) -> BlockTable {
        let entries = lengths.iter().copied().map(entry).collect();
        BlockTable { entries }
    }

    #[test]
    fn golden_bytes_of_a_table() {
        let bytes = table(&[5]).to_bytes(NUMBER);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
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
            "e6ac2f4f",
        );
        assert_eq!(hex, golden);
        assert_eq!(BlockTable::from_bytes(&bytes, NUMBER), Some(table(&[5])));
    }

    #[test]
    fn a_table_is_read_back_and_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(BlockTable::read(&Real, dir.path(), NUMBER).unwrap(), None);
        let lengths: [&[u32]; 3] = [&[0, 1, 16 << 10, (16 << 10) + 1, 2 << 20], &[], &[4]];
        for table in lengths.map(table) {
            table.write(&Real, dir.path(), NUMBER).unwrap();
            let read = BlockTable::read(&Real, dir.path(), NUMBER).unwrap();
            assert_eq!(read, Some(table));
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn an_entry_is_the_row_of_its_block() {
        for length in [0, 1, 16 << 10, (16 << 10) + 1] {
            let place = entry(length).place(NUMBER);
            let row = crate::rows::Row::to_bytes(&place);
            assert_eq!(crate::rows::Row::from_bytes(&row), Some(place));
        }
    }

    #[test]
    fn no_flip_no_cut_and_no_other_number_is_taken() {
        let bytes = table(&[1, 40_000]).to_bytes(NUMBER);
        assert_eq!(BlockTable::from_bytes(&bytes, FileNumber(8)), None);
        for at in 0..bytes.len() {
            assert_eq!(BlockTable::from_bytes(&bytes[..at], NUMBER), None, "{at}");
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            assert_eq!(BlockTable::from_bytes(&flipped, NUMBER), None, "{at}");
        }
    }

    #[test]
    fn a_sum_that_fits_makes_no_lie_true() {
        let with_sum = |mut bytes: Vec<u8>| {
            let sum = crc(&bytes);
            bytes.extend_from_slice(&sum.to_le_bytes());
            bytes
        };
        let whole = table(&[1]).to_bytes(NUMBER);
        let whole = &whole[..whole.len() - 4];
        // Counts, an owner, lengths, codecs.
        for at in [16, 19, 32, 36, 46, 53] {
            let mut bytes = whole.to_vec();
            bytes[at] = 0xff;
            assert_eq!(
                BlockTable::from_bytes(&with_sum(bytes), NUMBER),
                None,
                "{at}"
            );
        }
        let longer = with_sum([whole, &[0]].concat());
        assert_eq!(BlockTable::from_bytes(&longer, NUMBER), None);
    }
}
