//! Segment files of format 1, and their records, one behind the other.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crc32fast::Hasher;
use perennis_shared::limits::WIRE_BLOCK_BYTES;

use crate::disk::{Disk, DiskFile};
use crate::location::FileNumber;

/// Bytes before the first record.
pub(crate) const HEADER_BYTES: u64 = 64;
/// Bytes of a record before its key.
const RECORD_BYTES: usize = 20;
const MAGIC: &[u8; 8] = b"PERNSEG1";
/// Most bytes of a record that ends a group. The first releases wrote at most a batch of 64 MiB, some of its rows twice.
const GROUP_END_BYTES: u32 = 256 << 20;
/// Bytes that are looked at at once.
const PAGE_BYTES: u64 = 1 << 20;

/// A segment file that is open.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) number: FileNumber,
    pub(crate) length: u64,
    pub(crate) file: Arc<dyn DiskFile>,
}

impl Segment {
    /// Opens a segment. None where there is no such file.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn open(
        disk: &dyn Disk,
        dir: &Path,
        number: FileNumber,
    ) -> io::Result<Option<Self>> {
        let file = match disk.open(&number.segment_path(dir)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let length = file.length()?;
        Ok(Some(Self {
            number,
            length,
            file,
        }))
    }

    /// Whether the file says that it is the segment its name says. Only for telling what a file is in which nothing
    /// was found: records carry checksums of their own, and a damaged header does not take them with it.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn has_header(&self) -> io::Result<bool> {
        if self.length < HEADER_BYTES {
            return Ok(false);
        }
        let header = self.file.read_vec_at(HEADER_BYTES as usize, 0)?;
        let (fields, sum) = header.split_at(60);
        Ok(fields.starts_with(MAGIC)
            && fields[8..12] == self.number.0.to_le_bytes()
            && sum == crc32fast::hash(fields).to_le_bytes())
    }

    /// How many bytes there are from `offset` to the last one that is not zero.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn written_behind(&self, offset: u64) -> io::Result<u64> {
        let mut end = self.length;
        while end > offset {
            let page = PAGE_BYTES.min(end - offset);
            let bytes = self.file.read_vec_at(page as usize, end - page)?;
            if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
                return Ok(end - page + last as u64 + 1 - offset);
            }
            end -= page;
        }
        Ok(0)
    }

    /// Reads `length` bytes from `offset`.
    ///
    /// # Errors
    /// The disk's; [`io::ErrorKind::UnexpectedEof`] where the file ends before.
    pub(crate) fn read(&self, offset: u64, length: u32) -> io::Result<Vec<u8>> {
        // What a row claims is held against the file before memory is taken for it.
        match offset.checked_add(u64::from(length)) {
            Some(end) if end <= self.length => self.file.read_vec_at(length as usize, offset),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// A whole record that was read and whose checksum fits.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// A block.
    Block {
        /// Its group.
        group: u64,
        /// Its binary CID.
        key: Vec<u8>,
        /// The offset of its bytes in the file.
        offset: u64,
        /// How many there are.
        length: u32,
    },
    /// The end of a group.
    GroupEnd {
        /// The group.
        group: u64,
        /// Its other changes.
        body: Vec<u8>,
    },
}

/// What stands where a whole record should. It decides what is told of damage, and never what is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Zeros, or the end of the file.
    Nothing,
    /// What could be the head of a record, which would end there.
    Record { ends_group: bool, end: u64 },
    /// Something else.
    Other,
}

/// What the head of a record says, checked as far as it can be without the rest.
struct Head {
    ends_group: bool,
    key_length: u8,
    length: u32,
}

impl Head {
    fn read(bytes: &[u8; RECORD_BYTES]) -> Option<Self> {
        let (ends_group, most) = match bytes[0] {
            1 => (false, WIRE_BLOCK_BYTES as u32),
            2 => (true, GROUP_END_BYTES),
            _ => return None,
        };
        let length = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        (length <= most && bytes[2..4] == [0, 0]).then_some(Self {
            ends_group,
            key_length: bytes[1],
            length,
        })
    }

    /// Bytes of the record behind its head.
    fn rest(&self) -> u32 {
        u32::from(self.key_length) + self.length
    }
}

/// Reads the records of a segment one after another, and never past one that is not whole.
pub(crate) struct Records<'a> {
    segment: &'a Segment,
    offset: u64,
}

impl<'a> Records<'a> {
    /// Begins at `offset`, which is that of a record because the store has put it down.
    pub(crate) fn new(segment: &'a Segment, offset: u64) -> Self {
        Self { segment, offset }
    }

    /// Where the next record begins.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next record; none where no whole record follows: the end of what was written, or damage.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn next(&mut self) -> io::Result<Option<Record>> {
        let Some(bytes) = self.head()? else {
            return Ok(None);
        };
        let Some(head) = Head::read(&bytes) else {
            return Ok(None);
        };
        let start = self.offset + RECORD_BYTES as u64;
        let Some(mut key) = self.read(start, head.rest())? else {
            return Ok(None);
        };
        let (fields, sum) = bytes.split_at(RECORD_BYTES - 4);
        let mut found = Hasher::new();
        found.update(fields);
        found.update(&key);
        if found.finalize().to_le_bytes() != sum {
            return Ok(None);
        }
        let body = key.split_off(usize::from(head.key_length));
        let group = fields[8..16].try_into().expect("a slice of eight bytes");
        let group = u64::from_le_bytes(group);
        let offset = start + u64::from(head.key_length);
        self.offset = start + u64::from(head.rest());
        Ok(Some(if head.ends_group {
            Record::GroupEnd { group, body }
        } else {
            Record::Block {
                group,
                key,
                offset,
                length: head.length,
            }
        }))
    }

    /// What stands where the next record should, after [`Records::next`] found none.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn broken(&self) -> io::Result<Broken> {
        let Some(bytes) = self.head()? else {
            return Ok(Broken::Nothing);
        };
        Ok(match Head::read(&bytes) {
            Some(head) => Broken::Record {
                ends_group: head.ends_group,
                end: self.offset + RECORD_BYTES as u64 + u64::from(head.rest()),
            },
            None if bytes == [0; RECORD_BYTES] => Broken::Nothing,
            None => Broken::Other,
        })
    }

    /// Goes on at `offset`, where a record would begin if what was [`Broken`] ended there.
    pub(crate) fn pass_to(&mut self, offset: u64) {
        self.offset = offset;
    }

    fn head(&self) -> io::Result<Option<[u8; RECORD_BYTES]>> {
        let bytes = self.read(self.offset, RECORD_BYTES as u32)?;
        Ok(bytes.and_then(|bytes| bytes.try_into().ok()))
    }

    /// None where the file ends before.
    fn read(&self, offset: u64, length: u32) -> io::Result<Option<Vec<u8>>> {
        match self.segment.read(offset, length) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::disk::Real;

    /// The first record of the golden store.
    fn golden() -> Segment {
        let dir = Path::new("tests/golden/v1/segments");
        Segment::open(&Real, dir, FileNumber(1)).unwrap().unwrap()
    }

    #[test]
    fn golden_records_are_read_and_end_where_writing_ended() {
        let segment = golden();
        assert!(segment.has_header().unwrap());
        let mut records = Records::new(&segment, HEADER_BYTES);
        let (mut blocks, mut ends) = (0, Vec::new());
        while let Some(record) = records.next().unwrap() {
            match record {
                Record::Block { offset, length, .. } => {
                    let body = segment.read(offset, length).unwrap();
                    assert!(body.starts_with(b"golden "));
                    blocks += 1;
                }
                Record::GroupEnd { group, .. } => ends.push(group),
            }
        }
        assert_eq!((blocks, ends), (30, vec![1, 2, 3]));
        assert_eq!(segment.written_behind(records.offset()).unwrap(), 0);
        assert_eq!(segment.written_behind(0).unwrap(), records.offset());
    }

    #[test]
    fn no_flipped_bit_of_a_record_is_taken_and_nothing_behind_it_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = FileNumber(1).segment_path(dir.path());
        let bytes = std::fs::read("tests/golden/v1/segments/00000001.seg").unwrap();
        let first_end = {
            let segment = golden();
            let mut records = Records::new(&segment, HEADER_BYTES);
            records.next().unwrap();
            records.offset() as usize
        };
        for at in HEADER_BYTES as usize..first_end {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            std::fs::write(&path, flipped).unwrap();
            let segment = Segment::open(&Real, dir.path(), FileNumber(1))
                .unwrap()
                .unwrap();
            let mut records = Records::new(&segment, HEADER_BYTES);
            assert_eq!(records.next().unwrap(), None, "{at}");
            assert_eq!(records.offset(), HEADER_BYTES);
        }
    }

    #[test]
    fn a_row_that_claims_more_than_there_is_takes_no_memory() {
        let segment = golden();
        for (offset, length) in [(0, u32::MAX), (u64::MAX, 1), (segment.length, 1)] {
            let error = segment.read(offset, length).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}
