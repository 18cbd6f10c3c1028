//! Reads out of a pack: blocks, and regions of blocks without the rest.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use perennis_shared::cid::{Block, Cid};

use super::frame::CHUNK_BYTES;
use super::{Entry, Footer, PackError, PackName};
use crate::disk::{Disk, DiskFile};

/// A pack that is open.
#[derive(Clone, Debug)]
pub(crate) struct Pack {
    file: Arc<dyn DiskFile>,
    footer: Arc<Footer>,
}

impl Pack {
    /// Opens a pack and reads its footer.
    ///
    /// # Errors
    /// It is not there, or damaged where it says what it holds.
    pub(crate) fn open(disk: &dyn Disk, dir: &Path, name: &PackName) -> Result<Self, PackError> {
        let file = disk.open(&name.path(dir))?;
        let footer = Arc::new(Footer::read(file.as_ref())?);
        Ok(Self { file, footer })
    }

    /// What the pack holds.
    pub(crate) fn footer(&self) -> &Arc<Footer> {
        &self.footer
    }

    /// A block under one of its codecs, checked against its multihash.
    ///
    /// # Errors
    /// Its bytes are damaged, or the disk fails.
    pub(crate) fn block(&self, entry: &Entry<'_>, codec: u64) -> Result<Block, PackError> {
        let body = self
            .file
            .read_vec_at(entry.length() as usize, u64::from(entry.offset()))?;
        let hash = entry.hash();
        Block::verified(Cid::new_v1(codec, hash), body).map_err(|source| PackError::Block {
            hash: Box::new(hash),
            source,
        })
    }

    /// A region of a block, cut to its length and checked against the checksums of the chunks it touches.
    ///
    /// # Errors
    /// The bytes are damaged, or the disk fails.
    pub(crate) fn region(
        &self,
        entry: &Entry<'_>,
        range: Range<u32>,
    ) -> Result<Vec<u8>, PackError> {
        let body = entry.offset()..entry.offset() + entry.length();
        let region = read_region(self.file.as_ref(), body, entry.sums(), range)?;
        region.ok_or_else(|| PackError::Block {
            hash: Box::new(entry.hash()),
            source: perennis_shared::cid::VerifyError::Mismatch,
        })
    }
}

/// Reads a region of the body that lies at `body` in a file, cut to its length. The chunks that it touches are read whole and
/// checked against their checksums, of which `sums` are all; none where one does not match.
///
/// # Errors
/// The disk's.
pub(crate) fn read_region(
    file: &dyn DiskFile,
    body: Range<u32>,
    sums: impl Iterator<Item = u32>,
    range: Range<u32>,
) -> io::Result<Option<Vec<u8>>> {
    let length = (body.end - body.start) as usize;
    let end = (range.end as usize).min(length);
    let start = (range.start as usize).min(end);
    if start == end {
        return Ok(Some(Vec::new()));
    }
    let first = start / CHUNK_BYTES;
    let from = first * CHUNK_BYTES;
    let to = end.next_multiple_of(CHUNK_BYTES).min(length);
    let mut bytes = file.read_vec_at(to - from, u64::from(body.start) + from as u64)?;
    let mut expected = sums.skip(first);
    let is_whole = bytes
        .chunks(CHUNK_BYTES)
        .all(|chunk| expected.next() == Some(super::frame::crc(chunk)));
    bytes.truncate(end - from);
    Ok(is_whole.then(|| bytes.split_off(start - from)))
}
