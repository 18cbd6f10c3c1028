//! What makes bytes in a log segment ours: checksums against damage, and marks against everybody else.
//!
//! A publisher chooses what blocks and rows contain, so any bytes can stand in a segment, frames that look like ours among them.
//! A checksum without a key proves nothing then. Each frame of ours therefore carries a mark: SipHash-2-4 under a
//! salt that is drawn for each segment and that nobody outside has seen when bytes are written under it, over the
//! number of the file, the frame's own offset and its fields. Bytes that were a frame elsewhere are none here.
//!
//! Payloads and bodies are covered by CRC-32C sums that stand inside marked fields. A sum with a secret start value
//! would not do: CRC is linear, and whoever knows two sums can make a third.

use siphasher::sip::SipHasher24;
use std::hash::Hasher as _;

use crate::location::FileNumber;

/// Frames begin at multiples of this many bytes.
pub(crate) const ALIGN: u64 = 8;
/// Bytes of a body under one checksum, so that a region is verified without reading the whole block.
pub const CHUNK_BYTES: usize = 16 << 10;

/// The key of the marks in one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Salt(pub(crate) [u8; 16]);

impl Salt {
    /// The mark of a frame at `offset` of a file with these fields.
    pub(crate) fn mark(self, file: FileNumber, offset: u64, fields: &[u8]) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write(&file.0.to_le_bytes());
        hasher.write(&offset.to_le_bytes());
        hasher.write(fields);
        hasher.finish()
    }
}

/// CRC-32C (RFC 3720, appendix B.4).
pub(crate) fn crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// The checksums of a body: one for each [`CHUNK_BYTES`] of it, one where it is empty.
pub(crate) fn chunk_crcs(body: &[u8]) -> Vec<u32> {
    if body.is_empty() {
        return vec![crc(body)];
    }
    body.chunks(CHUNK_BYTES).map(crc).collect()
}

/// How many checksums a body of this many bytes has.
pub(crate) fn chunk_count(length: u32) -> usize {
    (length as usize).div_ceil(CHUNK_BYTES).max(1)
}

/// `offset`, or the next offset at which a frame can begin.
pub(crate) fn align(offset: u64) -> u64 {
    offset.next_multiple_of(ALIGN)
}

/// Appends zeros until the length is one at which a frame can begin, `start` being where `out` begins.
pub(crate) fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(ALIGN as usize), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_that_of_the_published_vectors_and_depends_on_everything() {
        // SipHash-2-4 of 00 01 … 0e under the key 00 01 … 0f (the paper's appendix A), cut where our fields are.
        let key = core::array::from_fn(|at| at as u8);
        let file = FileNumber(u32::from_le_bytes([0, 1, 2, 3]));
        let offset = u64::from_le_bytes([4, 5, 6, 7, 8, 9, 10, 11]);
        let salt = Salt(key);
        assert_eq!(
            salt.mark(file, offset, &[12, 13, 14]),
            0xa129_ca61_49be_45e5
        );
        let mut other = key;
        other[3] ^= 1;
        let marks = [
            salt.mark(file, offset, &[12, 13]),
            salt.mark(file, offset + 8, &[12, 13, 14]),
            salt.mark(FileNumber(9), offset, &[12, 13, 14]),
            Salt(other).mark(file, offset, &[12, 13, 14]),
        ];
        assert!(!marks.contains(&0xa129_ca61_49be_45e5));
    }

    #[test]
    fn the_checksum_is_that_of_the_published_vectors() {
        // RFC 3720, appendix B.4.
        assert_eq!(crc(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc(&[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn a_body_has_a_checksum_for_each_chunk() {
        let body = vec![7; CHUNK_BYTES * 2 + 1];
        for length in [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, body.len()] {
            assert_eq!(
                chunk_crcs(&body[..length]).len(),
                chunk_count(length as u32)
            );
        }
    }
}
