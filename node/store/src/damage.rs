//! What is known of damage: for who mends it, and for who tells people of it.

use std::collections::HashSet;
use std::sync::Arc;

use perennis_shared::cid::{Block, Cid, Multihash};
use perennis_shared::ipns::Name;

use crate::batch::{Batch, CommitError, Reclaim};
use crate::clock::wall_clock;
use crate::keys;
use crate::kv::{Kv, KvError};
use crate::location::Location;
use crate::read::ReadError;
use crate::rows::{HeadRow, QuarantineRow, Quarantined, Row as _, SetAside, read_min_sequence};
use crate::store::{Inner, Store};

/// Rows that are counted at once.
const PAGE_ROWS: usize = 4096;
/// Bytes of blocks that are stored again with one commit, unless one block is larger.
const LOOKED_BYTES: usize = 8 << 20;

/// What came of looking again at blocks that were set aside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LookedAgain {
    /// The last that was looked at; none where there was none.
    pub last: Option<Cid>,
    /// How many were right, and are stored again.
    pub stored: u64,
}

/// How much was found damaged and is not mended yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DamageCounts {
    /// Losses of acknowledged data that were written down and not dismissed.
    pub losses: u64,
    /// Rows that could not be read and were set aside.
    pub rows_set_aside: u64,
    /// Blocks that were set aside.
    pub quarantined_blocks: u64,
    /// Blocks that wait in [`crate::REFETCH`].
    pub refetches: u64,
    /// Names that wait in [`crate::LOST_HEADS`].
    pub lost_heads: u64,
    /// Names of which a head was acknowledged and is lost, so that older ones are refused.
    pub floors: u64,
}

impl DamageCounts {
    /// What the keys of the rows begin with that are counted, and where.
    fn tables(&mut self) -> [(Vec<u8>, &mut u64); 6] {
        [
            (vec![keys::LOSS], &mut self.losses),
            (vec![keys::SET_ASIDE], &mut self.rows_set_aside),
            (vec![keys::QUARANTINE], &mut self.quarantined_blocks),
            (keys::queue_key(keys::REFETCH, &[]), &mut self.refetches),
            (keys::queue_key(keys::LOST_HEADS, &[]), &mut self.lost_heads),
            (vec![keys::MIN_SEQUENCE], &mut self.floors),
        ]
    }

    /// What the keys of the rows begin with that are counted.
    pub(crate) fn prefixes() -> [Vec<u8>; 6] {
        Self::default().tables().map(|(prefix, _)| prefix)
    }

    pub(crate) fn of(kv: &dyn Kv) -> Result<Self, KvError> {
        let mut counts = Self::default();
        for (prefix, count) in counts.tables() {
            *count = rows_of(kv, &prefix)?;
        }
        Ok(counts)
    }
}

impl SetAside {
    /// The word for the table it is of.
    #[must_use]
    pub fn table(&self) -> &'static str {
        match self.key.first() {
            Some(&keys::BLOCK) => "blocks",
            Some(&keys::DEAD) => "dead copies",
            Some(&keys::FILE) => "files",
            Some(&keys::QUARANTINE) => "damaged blocks",
            Some(&keys::HEAD) => "heads",
            Some(&keys::MIN_SEQUENCE) => "floors",
            Some(&keys::EVIDENCE) => "evidence",
            Some(&keys::PIN) => "pins",
            Some(&(keys::QUEUE | keys::QUEUE_KEY)) => "queues",
            Some(&keys::META) => "rows of the node",
            Some(&keys::LOSS) => "losses",
            _ => "rows of the store",
        }
    }
}

/// How many rows there are whose keys begin so.
fn rows_of(kv: &dyn Kv, prefix: &[u8]) -> Result<u64, KvError> {
    let end = keys::end_of_prefix(prefix);
    let mut from = prefix.to_vec();
    let mut rows = 0;
    loop {
        let page = kv.scan(&from, &end, PAGE_ROWS)?;
        rows += page.len() as u64;
        match page.into_iter().next_back() {
            Some((last, _)) => from = keys::after(last),
            None => return Ok(rows),
        }
    }
}

impl Store {
    /// How much was found damaged and is not mended yet. Reads the keys of all of it.
    ///
    /// # Errors
    /// The index fails.
    pub fn damage(&self) -> Result<DamageCounts, ReadError> {
        Ok(DamageCounts::of(self.inner().shared.index.kv.as_ref())?)
    }

    /// What is known of a block that was set aside; none where it was not, or was put again.
    ///
    /// # Errors
    /// The index fails.
    pub fn quarantined(&self, hash: &Multihash) -> Result<Option<QuarantineRow>, ReadError> {
        let row = self.row(keys::quarantine(hash), Quarantined::from_bytes)?;
        Ok(row.map(|row| QuarantineRow::new(*hash, row)))
    }

    /// Looks again at blocks that were set aside, at most `limit` of them behind the one of `after`: those whose bytes are right where they
    /// lay are stored again. Somebody may have put a file back, or the disk gives out what it did not. Rows that cannot be read are
    /// passed over.
    ///
    /// # Errors
    /// The index or the disk fails; what was stored again before stays so.
    pub fn look_again(
        &self,
        after: Option<&Cid>,
        limit: usize,
    ) -> Result<LookedAgain, CommitError> {
        let failed = |error: KvError| CommitError::Index(Arc::new(error));
        let inner = self.inner();
        let mut looked = LookedAgain::default();
        let mut batch = Batch::new();
        // What the system holds of a file in memory is dropped once, not for each of its blocks.
        let mut dropped = HashSet::new();
        let mut read = |inner: &Inner, at: Location| {
            if dropped.contains(&at.file) {
                return inner.read(at);
            }
            // Another may have its name now.
            inner.forget_file(at.file);
            let bytes = inner.read_uncached(at)?;
            dropped.insert(at.file);
            Ok(bytes)
        };
        for (hash, row) in self.readable_quarantine(after, limit).map_err(failed)? {
            let at = row.location;
            let cid = QuarantineRow::new(hash, row).cid;
            looked.last = Some(cid);
            let block = match inner.shared.index.location(&hash).map_err(failed)? {
                Some(_) => self.find(&cid, &mut read).ok().flatten(),
                None => {
                    let bytes = read(inner, at).ok();
                    bytes.and_then(|bytes| Block::verified(cid, bytes).ok())
                }
            };
            if let Some(block) = block {
                looked.stored += 1;
                batch.put_block(block);
                if batch.bytes() >= LOOKED_BYTES {
                    self.commit(std::mem::take(&mut batch))?;
                }
            }
        }
        if !batch.is_empty() {
            self.commit(batch)?;
        }
        Ok(looked)
    }

    /// The next rows of blocks that were set aside, as far as they can be read; none only where there are no more.
    fn readable_quarantine(
        &self,
        after: Option<&Cid>,
        limit: usize,
    ) -> Result<Vec<(Multihash, Quarantined)>, KvError> {
        let kv = &self.inner().shared.index.kv;
        let mut from = match after {
            Some(after) => keys::after(keys::quarantine(after.hash())),
            None => vec![keys::QUARANTINE],
        };
        loop {
            let rows = kv.scan(&from, &keys::end_of(keys::QUARANTINE), limit)?;
            let Some((last, _)) = rows.last() else {
                return Ok(Vec::new());
            };
            from = keys::after(last.clone());
            let read = |(key, row): &(Vec<u8>, Vec<u8>)| {
                keys::hash_of(key).zip(Quarantined::from_bytes(row))
            };
            let readable: Vec<_> = rows.iter().filter_map(read).collect();
            if !readable.is_empty() {
                return Ok(readable);
            }
        }
    }

    /// The sequence below which no head of a name is accepted, where a head of it was acknowledged and is lost.
    ///
    /// # Errors
    /// The index fails.
    pub fn min_sequence(&self, name: &Name) -> Result<Option<u64>, ReadError> {
        self.row(keys::min_sequence(name.as_bytes()), read_min_sequence)
    }

    /// Sets the head of a name aside whose record the caller cannot read, as a row that the store cannot read itself: the name is
    /// queued in [`crate::LOST_HEADS`]. Does not wait.
    pub fn set_head_aside(&self, name: &Name, head: &HeadRow) {
        self.set_row_aside(keys::head(name), head.to_bytes());
    }

    /// Sets a row of the caller's aside that the caller cannot read, if it is still as it was read, and puts another in its place
    /// where one is given. Does not wait. When the row is written or removed later, what was set aside is forgotten.
    pub fn set_meta_aside(&self, key: &[u8], value: Vec<u8>, instead: Option<Vec<u8>>) {
        let batch = Batch::reclaiming(Reclaim::SetAside {
            key: keys::key(keys::META, key),
            value,
            instead,
            now: wall_clock(),
        });
        self.submit(batch, |_| {});
    }
}

#[cfg(test)]
mod tests;
