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
//! in which they were stored, which is that in which their owner's graph was walked. Codecs stand in the order in which they were
//! seen, at most 8 and none twice. There is one form of everything else, so that a pack that passes [`verify`] is byte for byte what [`PackWriter`] would make of its blocks.
//!
//! The links are those that [`perennis_shared::codec::links`] finds under version 1. They name content and codec, not the
//! version of a CID: that is how blocks are stored. They are there so that a collection of garbage need not read blocks.
//!
//! This room knows nothing about the index or the log. A pack from elsewhere is hostile input: every size and count is
//! checked before memory is taken for it, and [`verify`] believes nothing that it can compute.

mod draft;
mod error;
mod folder;
mod footer;
mod footers;
mod frame;
mod name;
mod partitions;
mod split;
mod verify;
mod writer;

pub(crate) use draft::PackBlock;
pub use error::PackError;
pub(crate) use folder::Packs;
pub(crate) use footer::{Entry, Footer};
use footers::Footers;
pub use name::PackName;
pub(crate) use partitions::Partitions;
pub(crate) use split::{PackPlan, split, weight};
pub(crate) use verify::verify;
pub use verify::verify_pack;
pub(crate) use writer::{PackWriter, is_remains};

/// Largest pack, in bytes.
pub const PACK_BYTES: usize = 16 << 20;
/// Most blocks in one pack.
pub const PACK_ENTRIES: usize = 1 << 16;
/// Most codecs that are kept of one block. A publisher could make up any number of them.
pub(crate) const CODECS: usize = 8;

/// Whom a block belongs to: the first bytes of the hash of its owner. Its highest byte is the partition.
pub(crate) type Tag = u32;

#[cfg(test)]
mod tests;
