//! Blocks that are still to be looked at, packed together: 36 bytes each where a CID in memory has 96.

use perennis_shared::cid::{Codec, Multihash, parse_multihash_bytes};

/// Bytes that are kept at most. What comes when it is full is not taken in, and has to be found again.
const BYTES: usize = 4 << 20;
/// Codecs that have links, by their number here.
const LINKED: [Codec; 5] = [
    Codec::DagPb,
    Codec::DagCbor,
    Codec::DagJson,
    Codec::GitRaw,
    Codec::DagJose,
];

/// How many codecs have links; fewer than the bits that marks have for them.
pub(super) const CODECS: u8 = LINKED.len() as u8;

/// The number of a codec that has links; none of one that has none or that we do not read.
pub(super) fn linked(codec: u64) -> Option<u8> {
    let at = LINKED.iter().position(|linked| linked.code() == codec)?;
    u8::try_from(at).ok()
}

/// The codecs that have links.
pub(super) fn linked_codecs() -> impl Iterator<Item = u64> {
    LINKED.iter().map(|codec| codec.code())
}

/// The codec of such a number.
pub(super) fn codec_of(linked: u8) -> u64 {
    LINKED
        .get(usize::from(linked))
        .map_or(0, |codec| codec.code())
}

/// A stack of blocks, each with a byte beside it.
#[derive(Debug)]
pub(super) struct OpenBlocks {
    /// (multihash · byte · length of the multihash)…
    bytes: Vec<u8>,
    room: usize,
}

impl Default for OpenBlocks {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            room: BYTES,
        }
    }
}

impl OpenBlocks {
    /// Takes a block in. False where there is no room.
    pub(super) fn push(&mut self, hash: &[u8], beside: u8) -> bool {
        let Some(length) = u8::try_from(hash.len()).ok() else {
            return false;
        };
        if self.bytes.len() + hash.len() + 2 > self.room {
            return false;
        }
        self.bytes.extend_from_slice(hash);
        self.bytes.extend_from_slice(&[beside, length]);
        true
    }

    /// Gives out the block that came last.
    pub(super) fn pop(&mut self) -> Option<(Multihash, u8)> {
        let length = usize::from(self.bytes.pop()?);
        let beside = self.bytes.pop()?;
        let start = self.bytes.len().checked_sub(length)?;
        let hash = parse_multihash_bytes(&self.bytes[start..]).ok();
        self.bytes.truncate(start);
        Some((hash?, beside))
    }

    /// Bounds it to this many bytes.
    #[cfg(test)]
    pub(super) fn set_room(&mut self, bytes: usize) {
        self.room = bytes;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use perennis_shared::cid::cid_of;

    use super::*;

    #[test]
    fn what_came_last_comes_out_first_and_the_room_is_bounded() {
        let hash = |number: u32| *cid_of(Codec::Raw, &number.to_le_bytes()).hash();
        let mut open = OpenBlocks::default();
        let room = (0..)
            .take_while(|number| open.push(&hash(*number).to_bytes(), 3))
            .count();
        assert_eq!(room, BYTES / 36);
        for number in (0..room as u32).rev() {
            assert_eq!(open.pop(), Some((hash(number), 3)));
        }
        assert!(open.is_empty() && open.pop().is_none());
    }

    #[test]
    fn codecs_with_links_have_numbers() {
        for codec in LINKED {
            assert_eq!(codec_of(linked(codec.code()).unwrap()), codec.code());
        }
        for codec in [Codec::Raw.code(), Codec::Libp2pKey.code(), 0x90] {
            assert_eq!(linked(codec), None);
        }
    }
}
