//! Marking: from what is reached to what it links to.

use perennis_shared::cid::{Multihash, parse_multihash_bytes};

use super::links::LinkLookup;
use super::open::CODECS;
use super::{Collection, PAGE_ROWS, codec_of, linked};
use crate::keys;
use crate::rows::{MANY_OWNERS, Place, Row as _};
use crate::upkeep::UpkeepError;

/// Blocks whose links are followed together. They are taken in the order in which they lie, so that a footer serves many.
const TOGETHER: usize = 4096;

/// A look through the index, between blocks whose links are followed, and links whose target may not be stored.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Where it goes on; none where none is under way.
    from: Option<Vec<u8>>,
    /// Begins anew when it is through.
    again: bool,
    /// Links that were not looked up yet: multihash and codec.
    noted: Vec<(Vec<u8>, u64)>,
}

impl Scan {
    /// Begins, or begins anew after the one that is under way.
    pub(super) fn begin(&mut self) {
        if self.from.is_some() {
            self.again = true;
        } else {
            self.from = Some(vec![keys::BLOCK]);
        }
    }
}

impl Collection {
    /// Follows the links of some blocks, or looks for blocks whose links were not followed. Returns how many blocks it
    /// looked at; 0 where there are no more.
    pub(super) fn mark_some(&mut self, blocks: usize) -> Result<usize, UpkeepError> {
        if !self.open.is_empty() {
            return self.follow_some(blocks);
        }
        loop {
            let Some(from) = self.scan.from.take() else {
                return Ok(0);
            };
            let rows = self.page(&from, &keys::end_of(keys::BLOCK))?;
            if let Some((last, _)) = rows.last() {
                self.scan.from = Some(keys::after(last.clone()));
                for (key, value) in &rows {
                    if let Some(place) = Place::from_bytes(value) {
                        self.look_again(&key[1..], &place);
                    }
                }
                return Ok(rows.len());
            }
            if std::mem::take(&mut self.scan.again) {
                self.scan.begin();
            }
        }
    }

    /// Opens a stored block where it is held back, or was reached and did not fit into the stack.
    fn look_again(&mut self, hash: &[u8], place: &Place) {
        if !self.marks.is_live(hash) {
            if !self.held.takes(place.tag) {
                return;
            }
            self.marks.set_live(hash);
            self.progress.marked_blocks += 1;
            for codec in place.codecs.iter().filter_map(|codec| linked(*codec)) {
                self.marks.want(hash, codec);
            }
        }
        for codec in 0..CODECS {
            if self.marks.is_open(hash, codec) && !self.open.push(hash, codec) {
                self.scan.begin();
            }
        }
    }

    /// Follows the links of blocks on the stack.
    fn follow_some(&mut self, blocks: usize) -> Result<usize, UpkeepError> {
        let mut taken = Vec::new();
        while taken.len() < blocks.clamp(1, TOGETHER)
            && let Some(block) = self.open.pop()
        {
            taken.push(block);
        }
        let hashes = taken.iter().map(|(hash, _)| hash);
        let places = self.store.inner().shared.index.places(hashes)?;
        let mut found: Vec<_> = taken.into_iter().zip(places).collect();
        found.sort_unstable_by_key(|(_, place)| place.as_ref().map(|place| place.location));
        let count = found.len();
        for ((hash, codec), place) in found {
            self.follow(hash, codec, place)?;
        }
        self.reach_noted()?;
        Ok(count)
    }

    /// Follows the links of one block under a codec.
    fn follow(
        &mut self,
        hash: Multihash,
        codec: u8,
        place: Option<Place>,
    ) -> Result<(), UpkeepError> {
        let bytes = hash.to_bytes();
        self.marks.follow(&bytes, codec);
        let found = match &place {
            Some(place) => {
                let mut reached = Vec::new();
                let mut take = |link: &[u8], codec| {
                    if self.is_news(link, codec) {
                        reached.push((link.to_vec(), codec));
                    }
                };
                let found = self.links(&hash, place, codec_of(codec), &mut take)?;
                for (link, codec) in reached {
                    self.reach(&link, codec)?;
                }
                found
            }
            None if self.has_unread_row(&hash)? => LinkLookup::Damaged,
            None => LinkLookup::Missing,
        };
        match found {
            LinkLookup::Links => Ok(()),
            // It was stored when it was reached: somebody has found it damaged meanwhile.
            LinkLookup::Missing => self.reach_lost(&bytes, codec),
            LinkLookup::Unclear => {
                self.progress.unclear_blocks += 1;
                Ok(())
            }
            LinkLookup::Damaged | LinkLookup::Unread(_) => {
                if let LinkLookup::Unread(error) = found {
                    self.pass_over(error)?;
                }
                let tag = place.map_or(MANY_OWNERS, |place| place.tag);
                self.hold_back(hash, codec, tag);
                Ok(())
            }
        }
    }

    /// A block is reached that is not stored. Where it, or its row, was set aside, what hangs below it stays: its pack may know what that
    /// is. One that never was here has nothing below it that was known by it.
    fn reach_lost(&mut self, bytes: &[u8], codec: u8) -> Result<(), UpkeepError> {
        let row = self.lost(bytes)?;
        let (Some(row), Ok(hash)) = (row, parse_multihash_bytes(bytes)) else {
            return Ok(());
        };
        self.marks.want(bytes, codec);
        self.marks.follow(bytes, codec);
        let mut links = Vec::new();
        let mut take = |link: &[u8], codec| links.push((link.to_vec(), codec));
        let is_known = row
            .location
            .is_some_and(|at| self.packed_links(&hash, at, codec_of(codec), &mut take));
        if !is_known {
            self.hold_back(hash, codec, row.tag);
        }
        for (link, codec) in links {
            self.reach(&link, codec)?;
        }
        Ok(())
    }

    /// Whether a link says anything that is not known.
    fn is_news(&self, hash: &[u8], codec: u64) -> bool {
        !self.marks.is_live(hash)
            || linked(codec).is_some_and(|codec| !self.marks.is_wanted(hash, codec))
    }

    /// A block is reached under a codec.
    pub(super) fn reach(&mut self, hash: &[u8], codec: u64) -> Result<(), UpkeepError> {
        if !self.is_news(hash, codec) {
            return Ok(());
        }
        if self.marks.is_live(hash) {
            self.open(hash, codec);
            return Ok(());
        }
        // Only stored blocks are noted: nobody shall have links to nothing take memory.
        self.scan.noted.push((hash.to_vec(), codec));
        if self.scan.noted.len() >= PAGE_ROWS {
            self.reach_noted()?;
        }
        Ok(())
    }

    /// Looks up what was reached and not looked up yet.
    pub(super) fn reach_noted(&mut self) -> Result<(), UpkeepError> {
        let noted = std::mem::take(&mut self.scan.noted);
        let keys: Vec<_> = noted
            .iter()
            .map(|(hash, _)| keys::key(keys::BLOCK, hash))
            .collect();
        let rows = self.store.inner().shared.index.kv.values(&keys)?;
        let mut lost = Vec::new();
        for ((hash, codec), row) in noted.into_iter().zip(rows) {
            if row.is_some() {
                if self.marks.set_live(&hash) {
                    self.progress.marked_blocks += 1;
                }
                self.open(&hash, codec);
            } else if let Some(codec) = linked(codec) {
                lost.push((hash, codec));
            }
        }
        for (hash, codec) in lost {
            // It may have been noted twice.
            if !self.marks.is_wanted(&hash, codec) {
                self.reach_lost(&hash, codec)?;
            }
        }
        Ok(())
    }

    /// Has the links of a reached block followed, where it has any under the codec.
    fn open(&mut self, hash: &[u8], codec: u64) {
        if let Some(codec) = linked(codec)
            && self.marks.want(hash, codec)
            && !self.open.push(hash, codec)
        {
            self.scan.begin();
        }
    }
}
