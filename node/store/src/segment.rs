//! Log segments as files: their headers, and the salt of their marks.
//!
//! ```text
//! segment  header (64 bytes) · zeros · header again (at 4096) · group · group · … · zeros
//! header   "PERNSEG2" · number u32 · reserved u32 · salt 16 · store 16 · first group u64 · reserved u32 · CRC-32C u32
//! ```
//!
//! Integers are little-endian. A segment is a file of fixed space, filled from its start and never changed behind that
//! point. Its salt stands in both headers and in the row of the file in the index: one of the three is enough to read it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::disk::{Disk, DiskFile};
use crate::frame::{Salt, crc};
use crate::location::{FileNumber, StoreId};

/// Bytes of a header.
const HEADER_BYTES: usize = 64;
/// Where the header stands again.
pub(crate) const SECOND_HEADER: u64 = 4096;
/// Where the first group begins.
pub(crate) const GROUPS_START: u64 = SECOND_HEADER + HEADER_BYTES as u64;
/// No file of blocks is longer: a body begins within the first 4 GiB, and what is said of a file beyond that is no truth but damage.
pub(crate) const FILE_BYTES: u64 = 1 << 34;
const MAGIC: &[u8; 8] = b"PERNSEG2";

/// What the header of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) number: FileNumber,
    pub(crate) salt: Salt,
    pub(crate) store: StoreId,
    /// No group in the segment has a lower number.
    pub(crate) first_group: u64,
}

impl Header {
    fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&self.number.0.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.salt.0);
        bytes[32..48].copy_from_slice(&self.store.0);
        bytes[48..56].copy_from_slice(&self.first_group.to_le_bytes());
        let sum = crc(&bytes[..60]);
        bytes[60..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let (fields, sum) = bytes.split_last_chunk::<4>()?;
        let (magic, fields) = fields.split_first_chunk::<8>()?;
        let (number, fields) = fields.split_first_chunk::<4>()?;
        let (_, fields) = fields.split_first_chunk::<4>()?;
        let (salt, fields) = fields.split_first_chunk::<16>()?;
        let (store, fields) = fields.split_first_chunk::<16>()?;
        let (first_group, _) = fields.split_first_chunk::<8>()?;
        let is_whole = magic == MAGIC && crc(&bytes[..60]) == u32::from_le_bytes(*sum);
        is_whole.then(|| Self {
            number: FileNumber(u32::from_le_bytes(*number)),
            salt: Salt(*salt),
            store: StoreId(*store),
            first_group: u64::from_le_bytes(*first_group),
        })
    }
}

/// A segment file that is open.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) number: FileNumber,
    pub(crate) salt: Salt,
    pub(crate) file: Arc<dyn DiskFile>,
}

impl Segment {
    /// Makes a segment with this much space and writes its headers. Neither these nor its name is durable yet: who
    /// writes the first group syncs the file and then the folder.
    pub(crate) fn create(
        disk: &dyn Disk,
        dir: &Path,
        header: Header,
        bytes: u64,
    ) -> io::Result<Self> {
        let path = header.number.segment_path(dir);
        let file = disk.create(&path, bytes)?;
        let written = [0, SECOND_HEADER]
            .into_iter()
            .try_for_each(|offset| file.write_at(&header.to_bytes(), offset));
        written.inspect_err(|_| {
            // Space is short: what could not be used is given back at once.
            let _ = disk.remove(&path);
        })?;
        Ok(Self {
            number: header.number,
            salt: header.salt,
            file,
        })
    }

    /// Opens a segment whose salt is known.
    pub(crate) fn open(
        disk: &dyn Disk,
        dir: &Path,
        number: FileNumber,
        salt: Salt,
    ) -> io::Result<Self> {
        Ok(Self {
            number,
            salt,
            file: disk.open(&number.segment_path(dir))?,
        })
    }

    /// What the headers of a file say, each where it is whole.
    pub(crate) fn headers(file: &dyn DiskFile) -> io::Result<[Option<Header>; 2]> {
        let mut headers = [None; 2];
        for (header, offset) in headers.iter_mut().zip([0, SECOND_HEADER]) {
            let mut bytes = [0; HEADER_BYTES];
            match file.read_at(&mut bytes, offset) {
                Ok(()) => *header = Header::from_bytes(&bytes),
                // It was cut off while it was made.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(error) => return Err(error),
            }
        }
        Ok(headers)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::disk::Real;

    fn header() -> Header {
        Header {
            number: FileNumber(7),
            salt: Salt([0xaa; 16]),
            store: StoreId([0xbb; 16]),
            first_group: 0x0102,
        }
    }

    #[test]
    fn golden_bytes_of_a_header() {
        let hex: String = header()
            .to_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let golden = format!(
            "5045524e53454732{}{}{}{}{}{}",
            "0700000000000000",
            "aa".repeat(16),
            "bb".repeat(16),
            "0201000000000000",
            "00000000",
            "4fdea819"
        );
        assert_eq!(hex, golden);
        assert_eq!(Header::from_bytes(&header().to_bytes()), Some(header()));
    }

    #[test]
    fn either_header_is_enough_and_no_flipped_bit_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let segment = Segment::create(&Real, dir.path(), header(), 8192).unwrap();
        let both = || Segment::headers(segment.file.as_ref()).unwrap();
        assert_eq!(both(), [Some(header()); 2]);
        let bytes = header().to_bytes();
        for at in 0..HEADER_BYTES {
            let mut flipped = bytes;
            flipped[at] ^= 1 << (at % 8);
            assert_eq!(Header::from_bytes(&flipped), None, "{at}");
        }
        segment.file.write_at(&[0], 0).unwrap();
        assert_eq!(both(), [None, Some(header())]);
        segment.file.truncate(100).unwrap();
        assert_eq!(both(), [None, None]);
    }
}
