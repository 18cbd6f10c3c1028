//! Where a block lies, whose it is, and as what it was seen.

use sha2::{Digest as _, Sha256};

use super::version::{Never, Reader, Row};
use crate::frame::{CHUNK_BYTES, chunk_count};
use crate::location::{FileNumber, Location};
use crate::pack;

/// The tag of blocks that nobody owns.
pub(crate) const NOBODY: u32 = 0;
/// The tag of blocks that several owners have put or required.
pub(crate) const MANY_OWNERS: u32 = u32::MAX;

/// The tag of an owner: the first four bytes of the SHA-256 of its bytes. What is placed by owner is placed by it.
pub(crate) fn owner_tag(owner: &[u8]) -> u32 {
    if owner.is_empty() {
        return NOBODY;
    }
    let digest = Sha256::digest(owner);
    let tag = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    // Two tags are taken; their neighbours serve.
    tag.clamp(NOBODY + 1, MANY_OWNERS - 1)
}

/// The tag of a block that had `tag` when an owner with the tag `other` puts or requires it.
pub(crate) fn merge_tags(tag: u32, other: u32) -> u32 {
    match (tag, other) {
        (same, NOBODY) | (NOBODY, same) => same,
        (tag, other) if tag == other => tag,
        _ => MANY_OWNERS,
    }
}

/// The row of a block.
///
/// version u8 · file u32 · offset u32 · length u32 · tag u32 · codecs u8 · codec varint… · CRC-32C u32 for each 16 KiB of a
/// block that is longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) location: Location,
    /// The tag of its owner, [`NOBODY`] or [`MANY_OWNERS`].
    pub(crate) tag: u32,
    /// Codecs under which it was put, in that order, at most [`Place::CODECS`].
    pub(crate) codecs: Vec<u64>,
    /// For each chunk of a block of more than one.
    pub(crate) crcs: Vec<u32>,
}

impl Place {
    /// Most codecs that are kept of one block.
    pub(crate) const CODECS: usize = pack::CODECS;

    /// The row of a block that was just written.
    pub(crate) fn new(location: Location, tag: u32, codec: u64, crcs: &[u32]) -> Self {
        Self {
            location,
            tag,
            codecs: vec![codec],
            crcs: if location.length as usize > CHUNK_BYTES {
                crcs.to_vec()
            } else {
                Vec::new()
            },
        }
    }

    /// The row of a block in a pack, as the pack says it.
    pub(crate) fn packed(number: FileNumber, entry: &pack::Entry<'_>) -> Self {
        let codecs: Vec<u64> = entry.codecs().collect();
        let first = codecs.first().copied().unwrap_or_default();
        let crcs: Vec<u32> = entry.sums().collect();
        Self {
            codecs,
            ..Self::new(entry.location(number), entry.tag(), first, &crcs)
        }
    }

    /// Takes in that it was put or required again. False where that changes nothing.
    pub(crate) fn see(&mut self, tag: u32, codec: u64) -> bool {
        let merged = merge_tags(self.tag, tag);
        let is_new = self.codecs.len() < Self::CODECS && !self.codecs.contains(&codec);
        if is_new {
            self.codecs.push(codec);
        }
        let is_changed = is_new || merged != self.tag;
        self.tag = merged;
        is_changed
    }
}

impl From<Never> for Place {
    fn from(never: Never) -> Self {
        match never {}
    }
}

impl Row for Place {
    const VERSION: u8 = 1;
    type Previous = Never;

    fn write(&self, out: &mut Vec<u8>) {
        let Location {
            file,
            offset,
            length,
        } = self.location;
        for number in [file.0, offset, length, self.tag] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.push(self.codecs.len() as u8);
        let mut buffer = unsigned_varint::encode::u64_buffer();
        for codec in &self.codecs {
            out.extend_from_slice(unsigned_varint::encode::u64(*codec, &mut buffer));
        }
        for crc in &self.crcs {
            out.extend_from_slice(&crc.to_le_bytes());
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(18 + 2 * self.codecs.len() + 4 * self.crcs.len());
        out.push(Self::VERSION);
        self.write(&mut out);
        out
    }

    fn read(rest: &mut Reader) -> Option<Self> {
        let location = Location {
            file: FileNumber(rest.u32()?),
            offset: rest.u32()?,
            length: rest.u32()?,
        };
        let tag = rest.u32()?;
        let count = usize::from(rest.u8()?);
        if count > Self::CODECS {
            return None;
        }
        let mut codecs = Vec::with_capacity(count);
        for _ in 0..count {
            let (codec, after) = unsigned_varint::decode::u64(rest.0).ok()?;
            rest.0 = after;
            codecs.push(codec);
        }
        let crcs = if location.length as usize > CHUNK_BYTES {
            let (sums, _) = rest
                .bytes(chunk_count(location.length).checked_mul(4)?)?
                .as_chunks::<4>();
            sums.iter().map(|sum| u32::from_le_bytes(*sum)).collect()
        } else {
            Vec::new()
        };
        Some(Self {
            location,
            tag,
            codecs,
            crcs,
        })
    }
}

/// The location in the row of a block, without reading the rest.
pub(crate) fn read_location(value: &[u8]) -> Option<Location> {
    let (&version, rest) = value.split_first()?;
    let mut rest = Reader(rest);
    let location = Location {
        file: FileNumber(rest.u32()?),
        offset: rest.u32()?,
        length: rest.u32()?,
    };
    (version == Place::VERSION).then_some(location)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn place(length: u32) -> Place {
        let location = Location {
            file: FileNumber(7),
            offset: 0x0102,
            length,
        };
        Place {
            codecs: vec![0x55, 0x0129],
            ..Place::new(location, 9, 0x55, &vec![5; chunk_count(length)])
        }
    }

    #[test]
    fn golden_bytes_of_a_place() {
        let hex = |place: &Place| -> String {
            place
                .to_bytes()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect()
        };
        let short = "01070000000201000000010000090000000255a902";
        assert_eq!(hex(&place(256)), short);
        let long = "010700000002010000014000000900000002 55a902 05000000 05000000";
        assert_eq!(hex(&place(16_385)), long.replace(' ', ""));
        for place in [place(0), place(256), place(16_384), place(16_385)] {
            let bytes = place.to_bytes();
            assert_eq!(Place::from_bytes(&bytes), Some(place.clone()));
            assert_eq!(read_location(&bytes), Some(place.location));
            for cut in 0..bytes.len() {
                assert_eq!(Place::from_bytes(&bytes[..cut]), None);
            }
        }
    }

    #[test]
    fn what_sees_a_block_is_taken_in_once_and_bounded() {
        let mut place = place(3);
        assert!(!place.see(9, 0x55));
        assert!(!place.see(NOBODY, 0x0129));
        assert!(place.see(9, 0x71));
        assert!(place.see(8, 0x71));
        assert_eq!(place.tag, MANY_OWNERS);
        assert!(!place.see(5, 0x71));
        for codec in 1000..1100 {
            place.see(NOBODY, codec);
        }
        assert_eq!(place.codecs.len(), Place::CODECS);
        assert_eq!(Place::from_bytes(&place.to_bytes()), Some(place));
    }

    #[test]
    fn tags_are_those_of_sha_256_and_never_the_two_that_are_taken() {
        // SHA-256("abc") begins with ba7816bf.
        assert_eq!(owner_tag(b"abc"), 0xba78_16bf);
        assert_eq!(owner_tag(b""), NOBODY);
        assert_eq!(merge_tags(NOBODY, 4), 4);
        assert_eq!(merge_tags(4, 4), 4);
        assert_eq!(merge_tags(4, 5), MANY_OWNERS);
        assert_eq!(merge_tags(MANY_OWNERS, 5), MANY_OWNERS);
    }
}
