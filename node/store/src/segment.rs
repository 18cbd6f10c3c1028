//! Segment files: the log, and the home of every block.
//!
//! A segment is a file of fixed space, filled from its start and never changed behind that point:
//!
//! ```text
//! segment  header (64 bytes) · record · record · … · zeros
//! header   "PERNSEG1" · number u32 · reserved u32 · reserved 44 · CRC-32 of all that u32
//! record   kind u8 · key length u8 · reserved u16 · body length u32 · group u64 · CRC-32 u32 · key · body
//! ```
//!
//! Integers are little-endian; the CRC is of the record without the CRC itself. A record of kind 1 is a block (key:
//! the CID; body: its bytes), one of kind 2 ends a group and holds its other changes ([`crate::group`]). A group
//! whose last record is not there was never acknowledged and is not seen.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crc32fast::Hasher;

use crate::disk::{Disk, DiskFile};

/// Bytes before the first record.
pub(crate) const HEADER_BYTES: u64 = 64;
/// Bytes of a record before its key.
pub(crate) const RECORD_BYTES: usize = 20;
const MAGIC: &[u8; 8] = b"PERNSEG1";

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Block,
    Commit,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::Block => 1,
            Self::Commit => 2,
        }
    }
}

/// The number of a segment; later segments have higher ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentNumber(pub u32);

impl SegmentNumber {
    /// The one after.
    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }

    pub(crate) fn path(self, dir: &Path) -> PathBuf {
        dir.join(self.to_string())
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        let digits = name.strip_suffix(".seg")?;
        (digits.len() == 8).then(|| u32::from_str_radix(digits, 16).ok().map(Self))?
    }
}

impl fmt::Display for SegmentNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}.seg", self.0)
    }
}

/// Where the body of a block lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// The segment.
    pub segment: SegmentNumber,
    /// The offset of the block's bytes in the file.
    pub offset: u32,
    /// How many bytes the block has.
    pub length: u32,
}

/// A segment file that is open.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) number: SegmentNumber,
    pub(crate) file: Arc<dyn DiskFile>,
}

impl Segment {
    /// Makes a segment with this much space and writes its header. Neither this nor its name is durable yet: who
    /// writes the first group syncs the file and then the folder.
    pub(crate) fn create(
        disk: &dyn Disk,
        dir: &Path,
        number: SegmentNumber,
        bytes: u64,
    ) -> io::Result<Self> {
        let file = disk.create(&number.path(dir), bytes)?;
        let segment = Self { number, file };
        segment.write_header().inspect_err(|_| {
            // Space is short: what could not be used is given back at once.
            let _ = disk.remove(&number.path(dir));
        })?;
        Ok(segment)
    }

    /// Not durable before the next sync of the file.
    pub(crate) fn write_header(&self) -> io::Result<()> {
        self.file.write_at(&header(self.number), 0)
    }

    /// Opens a segment. Its header is for people and other programs: the records carry checksums of their own, and a
    /// damaged header shall not take them with it.
    pub(crate) fn open(disk: &dyn Disk, dir: &Path, number: SegmentNumber) -> io::Result<Self> {
        let file = disk.open(&number.path(dir))?;
        Ok(Self { number, file })
    }
}

fn header(number: SegmentNumber) -> [u8; HEADER_BYTES as usize] {
    let mut header = [0; HEADER_BYTES as usize];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&number.0.to_le_bytes());
    let sum = crc32fast::hash(&header[..60]);
    header[60..].copy_from_slice(&sum.to_le_bytes());
    header
}

/// Appends the bytes of a record before its body.
pub(crate) fn write_record_head(
    out: &mut Vec<u8>,
    kind: Kind,
    group: u64,
    key: &[u8],
    body: &[u8],
) {
    let start = out.len();
    out.push(kind.code());
    out.push(u8::try_from(key.len()).expect("a CID is shorter than 256 bytes"));
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(
        &u32::try_from(body.len())
            .expect("a batch is far below 4 GiB")
            .to_le_bytes(),
    );
    out.extend_from_slice(&group.to_le_bytes());
    let mut sum = Hasher::new();
    sum.update(&out[start..]);
    sum.update(key);
    sum.update(body);
    out.extend_from_slice(&sum.finalize().to_le_bytes());
    out.extend_from_slice(key);
}

/// A whole record that was read and whose checksum fits.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) kind: Kind,
    pub(crate) group: u64,
    pub(crate) key: Vec<u8>,
    pub(crate) body: Vec<u8>,
    /// Offset of the body in the file.
    pub(crate) body_offset: u64,
}

/// Reads the records of a segment one after another.
pub(crate) struct Records<'a> {
    file: &'a dyn DiskFile,
    length: u64,
    offset: u64,
}

impl<'a> Records<'a> {
    /// Begins at `offset`, which is that of a record.
    pub(crate) fn new(segment: &'a Segment, offset: u64) -> io::Result<Self> {
        Ok(Self {
            file: segment.file.as_ref(),
            length: segment.file.length()?,
            offset,
        })
    }

    /// Where the next record begins.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Passes over damage: moves to the next whole record of a group above `group`; false where none follows.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn resync(&mut self, group: u64) -> io::Result<bool> {
        let rest = usize::try_from(self.length.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        if rest < RECORD_BYTES {
            // A file whose creation was cut off may be shorter than its header.
            return Ok(false);
        }
        let mut bytes = vec![0; rest];
        self.file.read_at(&mut bytes, self.offset)?;
        let base = self.offset;
        for (skipped, head) in bytes.windows(RECORD_BYTES).enumerate().skip(1) {
            let looks_like_one = matches!(head[0], 1 | 2) && head[2..4] == [0, 0];
            if looks_like_one
                && head[8..16]
                    .try_into()
                    .is_ok_and(|number| u64::from_le_bytes(number) > group)
            {
                self.offset = base + skipped as u64;
                let start = self.offset;
                if self.next()?.is_some() {
                    self.offset = start;
                    return Ok(true);
                }
                self.offset = base;
            }
        }
        Ok(false)
    }

    /// The next record; none where no whole record follows: the end of what was written, or damage.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn next(&mut self) -> io::Result<Option<Record>> {
        let mut head = [0; RECORD_BYTES];
        if self.offset + RECORD_BYTES as u64 > self.length {
            return Ok(None);
        }
        self.file.read_at(&mut head, self.offset)?;
        let kind = match head[0] {
            1 => Kind::Block,
            2 => Kind::Commit,
            _ => return Ok(None),
        };
        let key_length = usize::from(head[1]);
        let body_length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        let end = self.offset + RECORD_BYTES as u64 + key_length as u64 + u64::from(body_length);
        if end > self.length {
            return Ok(None);
        }
        let mut rest = vec![0; key_length + body_length as usize];
        self.file
            .read_at(&mut rest, self.offset + RECORD_BYTES as u64)?;
        let (before_sum, sum) = head.split_at(RECORD_BYTES - 4);
        let mut found = Hasher::new();
        found.update(before_sum);
        found.update(&rest);
        if found.finalize().to_le_bytes() != sum {
            return Ok(None);
        }
        let body = rest.split_off(key_length);
        let group = u64::from_le_bytes(
            before_sum[8..16]
                .try_into()
                .expect("a slice of eight bytes"),
        );
        let body_offset = end - u64::from(body_length);
        self.offset = end;
        Ok(Some(Record {
            kind,
            group,
            key: rest,
            body,
            body_offset,
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::disk::Real;

    #[test]
    fn golden_bytes_of_header_and_record() {
        assert_eq!(
            header(SegmentNumber(7))
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>(),
            format!(
                "5045524e5345473107000000{}{:08x}",
                "00".repeat(48),
                crc32fast::hash(&header(SegmentNumber(7))[..60]).swap_bytes()
            )
        );
        let mut head = Vec::new();
        write_record_head(&mut head, Kind::Block, 0x0102, b"key", b"body");
        assert_eq!(
            &head[..16],
            [1, 3, 0, 0, 4, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(&head[20..], b"key");
    }

    #[test]
    fn records_end_where_writing_ended_and_at_damage() {
        let dir = tempfile::tempdir().unwrap();
        let segment = Segment::create(&Real, dir.path(), SegmentNumber(1), 4096).unwrap();
        let mut offset = HEADER_BYTES;
        for body in [b"one".as_slice(), b"two", b"three"] {
            let mut head = Vec::new();
            write_record_head(&mut head, Kind::Block, 1, b"k", body);
            segment.file.write_at(&head, offset).unwrap();
            segment
                .file
                .write_at(body, offset + head.len() as u64)
                .unwrap();
            offset += (head.len() + body.len()) as u64;
        }
        let bodies = |segment: &Segment| {
            let mut records = Records::new(segment, HEADER_BYTES).unwrap();
            let mut bodies = Vec::new();
            while let Some(record) = records.next().unwrap() {
                bodies.push(String::from_utf8(record.body).unwrap());
            }
            bodies
        };
        assert_eq!(bodies(&segment), ["one", "two", "three"]);
        segment
            .file
            .write_at(b"x", HEADER_BYTES + 21 + 3 + 21)
            .unwrap();
        assert_eq!(bodies(&segment), ["one"]);
    }

    #[test]
    fn names_are_read_back_and_others_refused() {
        assert_eq!(
            SegmentNumber::parse(&SegmentNumber(0xab).to_string()),
            Some(SegmentNumber(0xab))
        );
        for name in ["1.seg", "0000000g.seg", "00000001", "000000001.seg"] {
            assert_eq!(SegmentNumber::parse(name), None, "{name}");
        }
    }
}
