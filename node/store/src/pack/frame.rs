//! The fixed parts of a pack: header and trailer.

use super::{PACK_BYTES, PACK_ENTRIES, PackError, Partitions};
use crate::frame::crc;

pub(super) const HEADER_BYTES: usize = 64;
pub(super) const TRAILER_BYTES: usize = 32;
const MAGIC: &[u8; 8] = b"PERNPAK1";
const END_MAGIC: &[u8; 8] = b"PERNPAKE";
const VERSION: u8 = 1;

pub(super) fn write_header(range: Partitions) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8] = VERSION;
    bytes[12..14].copy_from_slice(&range.first().to_le_bytes());
    bytes[14..16].copy_from_slice(&range.count().to_le_bytes());
    let sum = crc(&bytes[..60]);
    bytes[60..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// The partitions that a header names.
pub(super) fn read_header(bytes: &[u8; HEADER_BYTES]) -> Result<Partitions, PackError> {
    const PART: &str = "header";
    let malformed = |offset, rule| PackError::Malformed {
        part: PART,
        offset,
        rule,
    };
    let (fields, sum) = split_sum(bytes);
    if !fields.starts_with(MAGIC) || crc(fields) != sum {
        return Err(PackError::Damaged { part: PART });
    }
    if fields[8] != VERSION {
        return Err(PackError::Version(fields[8]));
    }
    if fields[9] != 0 {
        return Err(PackError::Cipher(fields[9]));
    }
    let first = u16::from_le_bytes([fields[12], fields[13]]);
    let count = u16::from_le_bytes([fields[14], fields[15]]);
    let range = Partitions::new(first, count)
        .ok_or_else(|| malformed(12, "the partitions are no aligned range"))?;
    if fields[10..12]
        .iter()
        .chain(&fields[16..])
        .any(|byte| *byte != 0)
    {
        return Err(malformed(10, "reserved bytes are not zero"));
    }
    Ok(range)
}

/// Where the footer of a pack lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trailer {
    pub(super) footer_offset: u64,
    pub(super) footer_bytes: u32,
    pub(super) entries: u32,
    pub(super) footer_sum: u32,
}

impl Trailer {
    pub(super) fn to_bytes(self) -> [u8; TRAILER_BYTES] {
        let mut bytes = [0; TRAILER_BYTES];
        bytes[..8].copy_from_slice(&self.footer_offset.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.footer_bytes.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.entries.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.footer_sum.to_le_bytes());
        bytes[20..28].copy_from_slice(END_MAGIC);
        let sum = crc(&bytes[..28]);
        bytes[28..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// The trailer at the end of a file of `file_bytes`. What it says fits into the file and the limits.
    pub(super) fn from_bytes(
        bytes: &[u8; TRAILER_BYTES],
        file_bytes: u64,
    ) -> Result<Self, PackError> {
        const PART: &str = "trailer";
        let malformed = |offset, rule| PackError::Malformed {
            part: PART,
            offset,
            rule,
        };
        let (fields, sum) = split_sum(bytes);
        if &fields[20..] != END_MAGIC || crc(fields) != sum {
            return Err(PackError::Damaged { part: PART });
        }
        let word = |at: usize| {
            u32::from_le_bytes([fields[at], fields[at + 1], fields[at + 2], fields[at + 3]])
        };
        let trailer = Self {
            footer_offset: u64::from(word(0)) | u64::from(word(4)) << 32,
            footer_bytes: word(8),
            entries: word(12),
            footer_sum: word(16),
        };
        let end = trailer
            .footer_offset
            .checked_add(u64::from(trailer.footer_bytes) + TRAILER_BYTES as u64);
        if trailer.footer_offset < HEADER_BYTES as u64 || end != Some(file_bytes) {
            return Err(malformed(0, "the footer does not lie before the trailer"));
        }
        if trailer.entries == 0 || trailer.entries as usize > PACK_ENTRIES {
            return Err(malformed(12, "a pack has 1 to 65,536 entries"));
        }
        Ok(trailer)
    }
}

/// Checks that a file can be a pack by its length.
pub(super) fn check_size(bytes: u64) -> Result<(), PackError> {
    let shortest = (HEADER_BYTES + TRAILER_BYTES) as u64;
    if (shortest..=PACK_BYTES as u64).contains(&bytes) {
        Ok(())
    } else {
        Err(PackError::Size { bytes })
    }
}

/// The fields and the checksum behind them.
fn split_sum<const N: usize>(bytes: &[u8; N]) -> (&[u8], u32) {
    let (fields, sum) = bytes.split_at(N - 4);
    let sum = sum.first_chunk().copied().unwrap_or_default();
    (fields, u32::from_le_bytes(sum))
}
