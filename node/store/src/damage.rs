//! What is known of damage: for who mends it, and for who tells people of it.

use perennis_shared::cid::Multihash;
use perennis_shared::ipns::Name;

use crate::batch::{Batch, Reclaim};
use crate::keys;
use crate::kv::{Kv, KvError};
use crate::pending::read_floor;
use crate::read::ReadError;
use crate::rows::{QuarantineRow, Quarantined, Row as _, SetAside};
use crate::store::{Store, wall_clock};

/// Rows that are counted at once.
const PAGE_ROWS: usize = 4096;

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
    pub(crate) fn of(kv: &dyn Kv) -> Result<Self, KvError> {
        Ok(Self {
            losses: count(kv, &[keys::LOSS])?,
            rows_set_aside: count(kv, &[keys::SET_ASIDE])?,
            quarantined_blocks: count(kv, &[keys::QUARANTINE])?,
            refetches: count(kv, &keys::queue_key(crate::REFETCH, &[]))?,
            lost_heads: count(kv, &keys::queue_key(crate::LOST_HEADS, &[]))?,
            floors: count(kv, &[keys::FLOOR])?,
        })
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
            Some(&keys::FLOOR) => "floors",
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
fn count(kv: &dyn Kv, prefix: &[u8]) -> Result<u64, KvError> {
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

    /// The sequence below which no head of a name is accepted, where a head of it was acknowledged and is lost.
    ///
    /// # Errors
    /// The index fails.
    pub fn floor(&self, name: &Name) -> Result<Option<u64>, ReadError> {
        self.row(keys::floor(name.as_bytes()), read_floor)
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
