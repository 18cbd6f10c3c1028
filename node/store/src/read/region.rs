//! Regions of blocks: what a range request needs, without the rest of the block.

use std::ops::Range;

use perennis_shared::cid::{Cid, is_identity};

use super::ReadError;
use crate::frame::{CHUNK_BYTES, crc};
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::fs;
    use std::path::Path;

    use perennis_shared::cid::{Block, Codec, HashFn, Multihash};

    use super::*;
    use crate::layout::segments;
    use crate::{Batch, StoreOptions};

    const CHUNK: u32 = CHUNK_BYTES as u32;

    /// A block of which no two chunks are the same.
    fn block(length: usize) -> Block {
        let bytes: Vec<u8> = (0..length).map(|at| (at / 251 + at) as u8).collect();
        Block::new(Codec::Raw, bytes).unwrap()
    }

    fn filled(dir: &Path, blocks: &[Block]) -> Store {
        let options = StoreOptions {
            reserve_bytes: 0,
            ..StoreOptions::default()
        };
        let store = Store::open(dir, &options).unwrap();
        let mut batch = Batch::new();
        for block in blocks {
            batch.put_block(block.clone());
        }
        store.commit(batch).unwrap();
        store
    }

    /// Flips a bit of the byte of a block at `at`, in the log.
    fn flip(dir: &Path, block: &Block, at: usize) {
        let path = segments(dir).join("00000001.seg");
        let mut bytes = fs::read(&path).unwrap();
        let mut windows = bytes.windows(block.bytes().len());
        let start = windows.position(|window| window == block.bytes()).unwrap();
        bytes[start + at] ^= 4;
        fs::write(&path, bytes).unwrap();
    }

    #[test]
    fn a_region_is_what_the_block_has_there_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let lengths = [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 7];
        let blocks = lengths.map(block);
        let store = filled(dir.path(), &blocks);
        for block in &blocks {
            let bytes = block.bytes();
            let length = bytes.len() as u32;
            let edges = [
                0,
                1,
                CHUNK - 1,
                CHUNK,
                CHUNK + 1,
                2 * CHUNK,
                3 * CHUNK,
                length.saturating_sub(1),
                length,
                length + 1,
                u32::MAX,
            ];
            for start in edges {
                for end in edges {
                    let to = (end as usize).min(bytes.len());
                    let from = (start as usize).min(to);
                    let region = store.region(block.cid(), start..end).unwrap();
                    assert_eq!(
                        region.as_deref(),
                        Some(&bytes[from..to]),
                        "{start}..{end} of {length}"
                    );
                }
            }
        }
        assert_eq!(store.region(block(2).cid(), 0..1).unwrap(), None);
        let identity = Multihash::wrap(HashFn::Identity.code(), b"inline").unwrap();
        let identity = Cid::new_v1(Codec::Raw.code(), identity);
        assert_eq!(store.region(&identity, 2..4).unwrap().unwrap(), b"li");
    }

    #[test]
    fn damage_in_a_region_is_found_and_damage_beside_it_does_not_matter() {
        let dir = tempfile::tempdir().unwrap();
        let block = block(3 * CHUNK_BYTES);
        let store = filled(dir.path(), std::slice::from_ref(&block));
        flip(dir.path(), &block, CHUNK_BYTES);
        for range in [0..CHUNK, 2 * CHUNK..3 * CHUNK] {
            let bytes = &block.bytes()[range.start as usize..range.end as usize];
            let region = store.region(block.cid(), range).unwrap();
            assert_eq!(region.as_deref(), Some(bytes));
        }
        // A byte of the chunk that is whole itself.
        let refused = store.region(block.cid(), 2 * CHUNK - 1..2 * CHUNK);
        assert!(
            matches!(refused, Err(ReadError::Corrupt { .. })),
            "{refused:?}"
        );
        // The block was set aside without waiting: the next commit comes behind that.
        store.commit(Batch::new()).unwrap();
        assert_eq!(store.region(block.cid(), 0..1).unwrap(), None);
        assert_eq!(store.quarantine(None, 9).unwrap().len(), 1);
        let mut batch = Batch::new();
        batch.put_block(block.clone());
        store.commit(batch).unwrap();
        let region = store.region(block.cid(), CHUNK..CHUNK + 3).unwrap();
        assert_eq!(region.unwrap(), block.bytes()[CHUNK_BYTES..CHUNK_BYTES + 3]);
    }

    #[test]
    fn damage_of_a_block_of_one_chunk_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let block = block(CHUNK_BYTES);
        let store = filled(dir.path(), std::slice::from_ref(&block));
        flip(dir.path(), &block, 9);
        let refused = store.region(block.cid(), CHUNK - 1..CHUNK);
        assert!(
            matches!(refused, Err(ReadError::Corrupt { .. })),
            "{refused:?}"
        );
    }
}
