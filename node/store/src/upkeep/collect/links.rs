//! The links of stored blocks: from the footers of packs, else from the blocks.

use std::sync::atomic::Ordering;

use perennis_shared::cid::{Cid, Multihash};
use perennis_shared::codec;

use super::{Collection, codec_of, linked_codecs};
use crate::keys;
use crate::location::Location;
use crate::read::ReadError;
use crate::rows::{MANY_OWNERS, Place, Quarantined, Row as _};
use crate::upkeep::UpkeepError;

/// Most blocks that one collection passes over because the disk does not give them out.
const UNREAD_BLOCKS: u64 = 64;

/// Is given a link: the multihash in bytes, and the codec.
type Take<'a> = &'a mut dyn FnMut(&[u8], u64);

/// What became of looking for the links of a block.
#[derive(Debug)]
pub(super) enum LinkLookup {
    /// They were given out.
    Links,
    /// The block is not stored.
    Missing,
    /// The block is damaged and set aside.
    Damaged,
    /// The disk did not give the block out.
    Unread(ReadError),
    /// Its bytes are not what its codec says: it links to nothing that anybody here can know.
    Unclear,
}

/// Whose a block is that is lost, and where it lay.
#[derive(Clone, Copy, Debug)]
pub(super) struct SetAside {
    pub(super) tag: u32,
    pub(super) location: Option<Location>,
}

impl Collection {
    /// Gives out the links of a block under a codec.
    pub(super) fn links(
        &self,
        hash: &Multihash,
        place: &Place,
        codec: u64,
        take: Take,
    ) -> Result<LinkLookup, UpkeepError> {
        if self.packed_links(hash, place.location, codec, take) {
            return Ok(LinkLookup::Links);
        }
        let cid = Cid::new_v1(codec, *hash);
        let block = match self.store.block(&cid) {
            Ok(Some(block)) => block,
            Ok(None) => return Ok(LinkLookup::Missing),
            Err(ReadError::Corrupt { .. }) => return Ok(LinkLookup::Damaged),
            Err(error @ ReadError::Disk { .. }) => return Ok(LinkLookup::Unread(error)),
            Err(error) => return Err(error.into()),
        };
        match codec::links(&cid, block.bytes()) {
            Ok(links) => {
                for link in links {
                    take(&link.hash().to_bytes(), link.codec());
                }
                Ok(LinkLookup::Links)
            }
            Err(_) => Ok(LinkLookup::Unclear),
        }
    }

    /// Gives out the links that a pack knows. False where the block is in none, or its pack does not know them.
    pub(super) fn packed_links(
        &self,
        hash: &Multihash,
        at: Location,
        codec: u64,
        take: Take,
    ) -> bool {
        let index = &self.store.inner().shared.index;
        let Some(name) = index.file(at.file).and_then(|row| row.pack_name()) else {
            return false;
        };
        // Where the footer is damaged, the block may still be whole.
        let Ok(footer) = index.packs.footer(&name) else {
            return false;
        };
        let entry = footer.entry_at(at.offset, &hash.to_bytes());
        let Some(links) = entry.and_then(|entry| entry.links(codec)) else {
            return false;
        };
        links.for_each(|link| take(link.hash, link.codec));
        true
    }

    /// Gives out what a dead block links to, under all codecs under which it was put. Nothing for one that cannot be understood or is
    /// damaged: nobody can expect anything of it. False where it cannot be read now.
    pub(super) fn dead_links(
        &mut self,
        hash: &Multihash,
        place: &Place,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<bool, UpkeepError> {
        let is_seen = |codec: &u64| place.codecs.contains(codec);
        // Where so many codecs were seen that no more are kept, it may have been put under any.
        let is_full = place.codecs.len() == Place::CODECS;
        for codec in linked_codecs().filter(|codec| is_full || is_seen(codec)) {
            let found = self.links(hash, place, codec, &mut |link, _| take(link))?;
            if let LinkLookup::Unread(error) = found {
                self.pass_over(error)?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What is known of a block that was stored and is not any more: it was set aside, or its row was. None where it never was here, or
    /// was collected.
    pub(super) fn lost(&self, hash: &[u8]) -> Result<Option<SetAside>, UpkeepError> {
        let shared = &self.store.inner().shared;
        let value = |key: &[u8]| shared.index.kv.value(key);
        let unknown = SetAside {
            tag: MANY_OWNERS,
            location: None,
        };
        if shared.quarantined.load(Ordering::Acquire)
            && let Some(row) = value(&keys::key(keys::QUARANTINE, hash))?
        {
            let known = Quarantined::from_bytes(&row).map(|row| SetAside {
                tag: row.tag,
                location: Some(row.location),
            });
            return Ok(Some(known.unwrap_or(unknown)));
        }
        let is_row_lost = shared.set_aside.load(Ordering::Acquire)
            && value(&keys::set_aside(&keys::key(keys::BLOCK, hash)))?.is_some();
        Ok(is_row_lost.then_some(unknown))
    }

    /// Whether there is a row of a block that cannot be read. It is set aside.
    pub(super) fn has_unread_row(&self, hash: &Multihash) -> Result<bool, UpkeepError> {
        let key = keys::block(hash);
        let row = self.store.inner().shared.index.kv.value(&key)?;
        let unread = row.filter(|row| Place::from_bytes(row).is_none());
        let is_unread = unread.is_some();
        if let Some(row) = unread {
            self.store.set_row_aside(key, row);
        }
        Ok(is_unread)
    }

    /// Passes over a block that the disk does not give out. A bad sector shall not stop every collection; a bad disk shall.
    pub(super) fn pass_over(&mut self, error: ReadError) -> Result<(), UpkeepError> {
        self.progress.unread_blocks += 1;
        if self.progress.unread_blocks > UNREAD_BLOCKS {
            return Err(error.into());
        }
        Ok(())
    }

    /// Notes that it is not known what hangs below a pinned block.
    pub(super) fn hold_back(&mut self, hash: Multihash, codec: u8, tag: u32) {
        self.progress.held_back += 1;
        if self.held.note(Cid::new_v1(codec_of(codec), hash), tag) {
            self.scan.begin();
        }
    }
}
