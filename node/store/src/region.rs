//! Regions of blocks: what a range request needs, without the rest of the block.

use std::ops::Range;

use perennis_shared::cid::{Cid, is_identity};

use crate::frame::{CHUNK_BYTES, crc};
use crate::read::ReadError;
use crate::rows::Place;
use crate::store::Store;

impl Store {
    /// Bytes of a block, as far as it has them; none if it is not stored. Of a block of more than 16 KiB only the chunks that
    /// the range touches are read, each checked against its CRC-32C, which was taken when the block was written and was verified.
    ///
    /// # Errors
    /// The bytes are damaged (the block is then set aside), or the disk or the index fails.
    pub fn region(&self, cid: &Cid, range: Range<u32>) -> Result<Option<Vec<u8>>, ReadError> {
        if !is_identity(cid)
            && let Some(place) = self.inner().shared.index.place(cid.hash())?
            && let Some(bytes) = self.chunks(&place, &range)
        {
            return Ok(Some(bytes));
        }
        // A short block, one that was moved meanwhile, or damage: the whole block is looked at, and its hash decides.
        let block = self.block(cid)?;
        Ok(block.map(|block| {
            let bytes = block.bytes();
            let end = (range.end as usize).min(bytes.len());
            bytes[(range.start as usize).min(end)..end].to_vec()
        }))
    }

    /// The range, where all chunks that it touches are whole.
    fn chunks(&self, place: &Place, range: &Range<u32>) -> Option<Vec<u8>> {
        let location = place.location;
        if place.crcs.is_empty() {
            return None;
        }
        let end = range.end.min(location.length) as usize;
        let start = (range.start as usize).min(end);
        if start == end {
            return Some(Vec::new());
        }
        let first = start / CHUNK_BYTES;
        let from = first * CHUNK_BYTES;
        let to = end
            .next_multiple_of(CHUNK_BYTES)
            .min(location.length as usize);
        let mut bytes = self.inner().read_part(location, from, to - from).ok()?;
        let chunks = bytes.chunks(CHUNK_BYTES).map(crc);
        let is_whole = chunks
            .zip(place.crcs.get(first..)?)
            .all(|(found, noted)| found == *noted);
        is_whole.then(|| {
            bytes.truncate(end - from);
            bytes.drain(..start - from);
            bytes
        })
    }
}
