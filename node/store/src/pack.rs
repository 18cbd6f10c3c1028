//! Packs: files of blocks that lie together, named by their content and never changed.
//!
//! The log takes blocks as they come; a pack holds those that outlived a collection of garbage, sorted by whom they
//! belong to. It is the unit that is copied, backed up, sliced and sent, so it says everything about itself: a pack
//! opens without an index, and the same blocks in the same order make the same file wherever that is done.
//!
//! ```text
//! pack     header (64 bytes) · body · body · … · footer · trailer (32 bytes); each body and the footer begin at a
//!          multiple of 8, with zeros between
//! header   "PERNPAK1" · version u8 (1) · cipher u8 (0: none) · reserved 2 · first partition u16 · partitions u16
//!          · reserved 44 · CRC-32C of all that u32
//! footer   entries u32 · entry …
//! entry    tag u32 · multihash length u8 · multihash · offset u32 · length u32
//!          · CRC-32C u32 for each 16 KiB of the body (one where it is empty) · codecs u8 · codec …
//! codec    codec varint · links varint (0: they cannot be read; else 1 more than there are) · link …
//! link     0 varint · multihash · codec varint, or 1 + index of the entry in this pack varint · codec varint
//! trailer  footer offset u64 · footer bytes u32 · entries u32 · CRC-32C of the footer u32 · "PERNPAKE"
//!          · CRC-32C of the 28 bytes before u32
//! ```
//!
//! Integers are little-endian. The name of a pack is the BLAKE3-256 of the whole file as it is here; with a cipher, of which
//! none is defined, it will be that of the plaintext. Entries are sorted by tag; those with one tag are in the order
//! in which they were stored, which is that in which their owner's graph was walked. Codecs ascend. There is one form of
//! everything, so that a pack that passes [`verify`] is byte for byte what [`PackWriter`] would make of its blocks.
//!
//! The links are those that [`perennis_shared::codec::links`] finds under version 1. They name content and codec, not the
//! version of a CID: that is how blocks are stored. They are there so that a collection of garbage need not read blocks.
//!
//! This module knows nothing about the index or the log. A pack from elsewhere is hostile input: every size and count is
//! checked before memory is taken for it, and [`verify`] believes nothing that it can compute.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use perennis_shared::cid::{Multihash, VerifyError};

mod draft;
mod footer;
mod footers;
mod frame;
mod partitions;
mod reader;
mod split;
mod verify;
mod writer;

pub(crate) use draft::PackBlock;
pub(crate) use footer::{Entry, Footer, Link};
pub(crate) use footers::Footers;
pub(crate) use partitions::Partitions;
pub(crate) use reader::{Pack, read_region};
pub(crate) use split::{PackPlan, split, weight};
pub(crate) use verify::{VerifiedPack, verify, verify_foreign};
pub(crate) use writer::{NewPack, PackWriter, is_remains};

/// Largest pack, in bytes.
pub const PACK_BYTES: usize = 16 << 20;
/// Most blocks in one pack.
pub const PACK_ENTRIES: usize = 1 << 16;

/// Whom a block belongs to: the first bytes of the hash of its owner. Its highest byte is the partition.
pub(crate) type Tag = u32;

/// The name of a pack: the BLAKE3-256 of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackName(pub [u8; 32]);

impl PackName {
    /// The path of the pack in a folder.
    pub(crate) fn path(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{self}.pack"))
    }

    /// The name of the pack in a file of this name.
    pub(crate) fn parse(file: &str) -> Option<Self> {
        let (digits, []) = file.strip_suffix(".pack")?.as_bytes().as_chunks::<2>() else {
            return None;
        };
        let mut name = [0; 32];
        if digits.len() != name.len() {
            return None;
        }
        for (byte, [high, low]) in name.iter_mut().zip(digits) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Some(Self(name))
    }
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for PackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a file is not the pack that it should be, or could not become one.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The disk failed.
    #[error("the disk failed with a pack")]
    Disk(#[from] io::Error),
    /// It is shorter than the shortest pack, or longer than the longest.
    #[error("a pack has at most {PACK_BYTES} bytes and a footer; this has {bytes}")]
    Size {
        /// The length of the file.
        bytes: u64,
    },
    /// A part is not under its checksum, or not of a pack at all.
    #[error("the {part} of the pack is damaged, or it is no pack")]
    Damaged {
        /// Header, footer or trailer.
        part: &'static str,
    },
    /// A later release wrote it.
    #[error("version {0} of packs is unknown")]
    Version(u8),
    /// It is encrypted in a way that is not known here.
    #[error("cipher {0} of packs is unknown")]
    Cipher(u8),
    /// A rule of the format is broken.
    #[error("{rule} (byte {offset} of the pack's {part})")]
    Malformed {
        /// Header, bodies, footer or trailer.
        part: &'static str,
        /// Where in that part.
        offset: usize,
        /// The broken rule.
        rule: &'static str,
    },
    /// A block's bytes are not what its multihash says.
    #[error("block {} of the pack is damaged", Hex(hash))]
    Block {
        /// The block.
        hash: Box<Multihash>,
        /// What the check found.
        source: VerifyError,
    },
    /// The checksums of a block are not those of its bytes.
    #[error(
        "the pack's checksums of block {} are not those of its bytes",
        Hex(hash)
    )]
    Sums {
        /// The block.
        hash: Box<Multihash>,
    },
    /// The links of a block are not those of its bytes.
    #[error("the pack's links of block {} are not those of its bytes", Hex(hash))]
    Links {
        /// The block.
        hash: Box<Multihash>,
    },
    /// A block is in the pack twice.
    #[error("block {} is in the pack twice", Hex(hash))]
    Twice {
        /// The block.
        hash: Box<Multihash>,
    },
    /// It is another pack than the one that was asked for.
    #[error("the pack is {found}, not {expected}")]
    Name {
        /// The name that was asked for.
        expected: PackName,
        /// The name that its bytes have.
        found: PackName,
    },
}

/// The bytes of a multihash, for messages.
struct Hex<'a>(&'a Multihash);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.to_bytes();
        bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests;
