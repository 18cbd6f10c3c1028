//! Reads: blocks, which are checked as they come from the disk, and rows.

use std::io;

use perennis_shared::cid::{Block, Cid, VerifyError, is_identity};
use perennis_shared::error::{ErrorKind, Retryable};
use perennis_shared::ipns::Name;
use perennis_shared::time::Millis;

use crate::batch::Batch;
use crate::disk::is_lost;
use crate::keys::{self, Queue};
use crate::kv::{KvError, KvRow};
use crate::location::{Location, StoreId};
use crate::rows::{
    HeadRow, Loss, PinRow, Place, QuarantineRow, Quarantined, QueueRow, Row as _, SetAside,
    read_due, read_payload, read_plain,
};
use crate::store::{Inner, Store};

mod region;

/// Why a read failed.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The stored bytes are not those of the CID. The block is set aside and queued in [`crate::REFETCH`].
    #[error("the stored bytes of {cid} are damaged")]
    Corrupt {
        /// The block.
        cid: Box<Cid>,
        /// What the check found.
        source: VerifyError,
    },
    /// The disk failed.
    #[error("the disk failed to read {cid}")]
    Disk {
        /// The block.
        cid: Box<Cid>,
        /// What the system said.
        source: io::Error,
    },
    /// The index failed.
    #[error("the index failed")]
    Index(#[from] KvError),
}

impl Retryable for ReadError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Corrupt { .. } => ErrorKind::Corrupt,
            Self::Disk { .. } => ErrorKind::Fatal,
            Self::Index(error) => error.kind(),
        }
    }
}

impl Store {
    /// Which store it is: drawn when it was made, the same in every copy of its folder, and no secret.
    ///
    /// # Errors
    /// The index fails.
    pub fn id(&self) -> Result<Option<StoreId>, ReadError> {
        Ok(self.inner().shared.index.store()?)
    }

    /// The block, checked against its CID after it left the disk; none if it is not stored. Blocks are found by their
    /// multihash: whatever codec or version the CID has, it is the asker's.
    ///
    /// # Errors
    /// The bytes are damaged (the block is then set aside), or the disk or the index fails.
    pub fn block(&self, cid: &Cid) -> Result<Option<Block>, ReadError> {
        self.find(cid, Inner::read)
    }

    /// As [`Store::block`], from where the block is durable, whatever the system holds of it in memory: what was put in the place of
    /// a damaged copy may lie on the same bad disk.
    ///
    /// # Errors
    /// As [`Store::block`].
    pub fn block_uncached(&self, cid: &Cid) -> Result<Option<Block>, ReadError> {
        self.find(cid, Inner::read_uncached)
    }

    pub(crate) fn find(
        &self,
        cid: &Cid,
        mut read: impl FnMut(&Inner, Location) -> io::Result<Vec<u8>>,
    ) -> Result<Option<Block>, ReadError> {
        if is_identity(cid) {
            let content = Block::verified(*cid, cid.hash().digest().to_vec());
            return content.map(Some).map_err(|source| ReadError::Corrupt {
                cid: Box::new(*cid),
                source,
            });
        }
        let mut seen = None;
        loop {
            let index = &self.inner().shared.index;
            let location = match seen {
                None => index.probable_location(cid.hash())?,
                Some(_) => index.location(cid.hash())?,
            };
            let Some(location) = location else {
                return Ok(None);
            };
            // A block that compaction moved while it was read is read again where it is now.
            let last_try = seen == Some(location);
            match read(self.inner(), location) {
                Ok(bytes) => match Block::verified(*cid, bytes) {
                    Ok(block) => return Ok(Some(block)),
                    Err(source) if last_try => {
                        if let Some(block) = self.reread(cid, location) {
                            return Ok(Some(block));
                        }
                        self.set_aside(cid.hash(), location, &source);
                        return Err(ReadError::Corrupt {
                            cid: Box::new(*cid),
                            source,
                        });
                    }
                    Err(_) => {}
                },
                Err(source) if last_try => {
                    if is_lost(&source) {
                        self.set_aside(cid.hash(), location, &source);
                    }
                    return Err(ReadError::Disk {
                        cid: Box::new(*cid),
                        source,
                    });
                }
                Err(_) => self.inner().forget_file(location.file),
            }
            seen = Some(location);
        }
    }

    /// Reads a block from where it is durable: what the system holds of it in memory may be worse.
    fn reread(&self, cid: &Cid, at: Location) -> Option<Block> {
        let bytes = self.inner().read_uncached(at).ok()?;
        Block::verified(*cid, bytes).ok()
    }

    /// Whether a block is stored. Its bytes are not read.
    ///
    /// # Errors
    /// The index fails.
    pub fn has(&self, cid: &Cid) -> Result<bool, ReadError> {
        Ok(is_identity(cid) || self.inner().shared.index.location(cid.hash())?.is_some())
    }

    /// How many bytes a stored block has.
    ///
    /// # Errors
    /// The index fails.
    pub fn block_bytes(&self, cid: &Cid) -> Result<Option<u32>, ReadError> {
        Ok(self
            .inner()
            .shared
            .index
            .location(cid.hash())?
            .map(|location| location.length))
    }

    /// The CIDs of at most `limit` blocks behind the one of `after`, in the order of their multihashes: of each block one
    /// for every codec under which it was put.
    ///
    /// # Errors
    /// The index fails.
    pub fn cids(&self, after: Option<&Cid>, limit: usize) -> Result<Vec<Cid>, ReadError> {
        let rows = self.rows(
            keys::BLOCK,
            after.map(|after| keys::block(after.hash())),
            limit,
        )?;
        let mut cids = Vec::with_capacity(rows.len());
        for (key, value) in rows {
            match keys::hash_of(&key).zip(Place::from_bytes(&value)) {
                Some((hash, place)) => {
                    let codecs = place.codecs.iter();
                    cids.extend(codecs.map(|codec| Cid::new_v1(*codec, hash)));
                }
                None => self.set_row_aside(key, value),
            }
        }
        Ok(cids)
    }

    /// The newest accepted head of a name.
    ///
    /// # Errors
    /// The index fails.
    pub fn head(&self, name: &Name) -> Result<Option<HeadRow>, ReadError> {
        self.row(keys::head(name), HeadRow::from_bytes)
    }

    /// At most `limit` names behind `after` with their heads.
    ///
    /// # Errors
    /// The index fails.
    pub fn heads(
        &self,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Vec<(Name, HeadRow)>, ReadError> {
        let rows = self.rows(keys::HEAD, after.map(keys::head), limit)?;
        Ok(self.readable(rows, |key, value| {
            Some((
                Name::from_bytes(&key[1..]).ok()?,
                HeadRow::from_bytes(value)?,
            ))
        }))
    }

    /// Records that were refused because their signer had signed another value with the same sequence, by sequence.
    ///
    /// # Errors
    /// The index fails.
    pub fn evidence(&self, name: &Name) -> Result<Vec<(u64, Vec<u8>)>, ReadError> {
        let from = keys::evidence(name, 0);
        let to = keys::after(keys::evidence(name, u64::MAX));
        let rows = self.inner().shared.index.kv.scan(&from, &to, usize::MAX)?;
        Ok(self.readable(rows, |key, value| {
            let sequence = u64::from_be_bytes(*key.last_chunk()?);
            Some((sequence, read_plain(1, value)?.to_vec()))
        }))
    }

    /// At most `limit` pins behind `after`: key and root.
    ///
    /// # Errors
    /// The index fails.
    pub fn pins(
        &self,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Cid)>, ReadError> {
        let rows = self.rows(
            keys::PIN,
            after.map(|after| keys::key(keys::PIN, after)),
            limit,
        )?;
        Ok(self.readable(rows, |key, value| {
            Some((key[1..].to_vec(), PinRow::from_bytes(value)?.root))
        }))
    }

    /// The root that is pinned under a key.
    ///
    /// # Errors
    /// The index fails.
    pub fn pin(&self, key: &[u8]) -> Result<Option<Cid>, ReadError> {
        let row = self.row(keys::key(keys::PIN, key), PinRow::from_bytes)?;
        Ok(row.map(|row| row.root))
    }

    /// At most `limit` entries of a queue that are due at `now`, the longest due first.
    ///
    /// # Errors
    /// The index fails.
    pub fn queue_due(
        &self,
        queue: Queue,
        now: Millis,
        limit: usize,
    ) -> Result<Vec<QueueRow>, ReadError> {
        let to = keys::end_of_prefix(&keys::queue_row(queue, now, &[]));
        self.queue_rows(queue, &keys::queue_row(queue, Millis(0), &[]), &to, limit)
    }

    /// At most `limit` entries of a queue that are due later than `then`, the first due first.
    ///
    /// # Errors
    /// The index fails.
    pub fn queue_due_after(
        &self,
        queue: Queue,
        then: Millis,
        limit: usize,
    ) -> Result<Vec<QueueRow>, ReadError> {
        let from = keys::end_of_prefix(&keys::queue_row(queue, then, &[]));
        let to = keys::end_of_prefix(&keys::queue_row(queue, Millis(u64::MAX), &[]));
        if from >= to {
            return Ok(Vec::new());
        }
        self.queue_rows(queue, &from, &to, limit)
    }

    /// The entry of a queue that is due next.
    ///
    /// # Errors
    /// The index fails.
    pub fn queue_next(&self, queue: Queue) -> Result<Option<QueueRow>, ReadError> {
        Ok(self.queue_due(queue, Millis(u64::MAX), 1)?.pop())
    }

    /// When an entry of a queue is due; none if it is not in it.
    ///
    /// # Errors
    /// The index fails.
    pub fn queue_entry(&self, queue: Queue, key: &[u8]) -> Result<Option<Millis>, ReadError> {
        self.row(keys::queue_key(queue, key), read_due)
    }

    /// How many entries a queue has. Reads them all.
    ///
    /// # Errors
    /// The index fails.
    pub fn queue_len(&self, queue: Queue) -> Result<usize, ReadError> {
        let from = [keys::QUEUE_KEY, queue.0];
        let to = keys::end_of_prefix(&from);
        Ok(self
            .inner()
            .shared
            .index
            .kv
            .scan(&from, &to, usize::MAX)?
            .len())
    }

    /// A row of the caller's.
    ///
    /// # Errors
    /// The index fails.
    pub fn meta(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(self
            .inner()
            .shared
            .index
            .kv
            .value(&keys::key(keys::META, key))?)
    }

    /// At most `limit` rows of the caller's whose keys begin with `prefix` and come behind `after`.
    ///
    /// # Errors
    /// The index fails.
    pub fn metas(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<KvRow>, ReadError> {
        let from = after.map_or_else(
            || keys::key(keys::META, prefix),
            |after| keys::after(keys::key(keys::META, after)),
        );
        let rows = self.inner().shared.index.kv.scan(
            &from,
            &keys::end_of_prefix(&keys::key(keys::META, prefix)),
            limit,
        )?;
        Ok(rows
            .into_iter()
            .map(|(key, value)| (key[1..].to_vec(), value))
            .collect())
    }

    /// Blocks that were set aside as damaged and have not been put again.
    ///
    /// # Errors
    /// The index fails.
    pub fn quarantine(
        &self,
        after: Option<&Cid>,
        limit: usize,
    ) -> Result<Vec<QuarantineRow>, ReadError> {
        let after = after.map(|after| keys::quarantine(after.hash()));
        let rows = self.rows(keys::QUARANTINE, after, limit)?;
        Ok(self.readable(rows, |key, value| {
            let hash = keys::hash_of(key)?;
            Some(QuarantineRow::new(hash, Quarantined::from_bytes(value)?))
        }))
    }

    /// Losses of acknowledged data that were found and not dismissed yet, the oldest first.
    ///
    /// # Errors
    /// The index fails.
    pub fn losses(&self) -> Result<Vec<Loss>, ReadError> {
        let index = &self.inner().shared.index;
        for number in index.unreadable_losses() {
            // It is set aside by that.
            self.row(keys::loss(number), Loss::from_bytes)?;
        }
        Ok(index.losses())
    }

    /// Rows of the index that could not be read and were set aside, in the order of their keys.
    ///
    /// # Errors
    /// The index fails.
    pub fn rows_set_aside(&self, limit: usize) -> Result<Vec<SetAside>, ReadError> {
        let rows = self.rows(keys::SET_ASIDE, None, limit)?;
        Ok(rows
            .iter()
            .map(|(key, value)| SetAside::from_row(key, value))
            .collect())
    }

    fn queue_rows(
        &self,
        queue: Queue,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<QueueRow>, ReadError> {
        let kv = &self.inner().shared.index.kv;
        let rows = kv.scan(from, to, limit)?;
        let mut rows = self.readable(rows, |key, value| {
            let (due, key) = keys::read_queue_row(key)?;
            Some(QueueRow {
                key: key.to_vec(),
                due,
                payload: read_payload(value)?.to_vec(),
            })
        });
        // A row whose twin says another time was left behind when the twin was damaged. It would be due for ever.
        let twins: Vec<_> = rows
            .iter()
            .map(|row| keys::queue_key(queue, &row.key))
            .collect();
        let mut twins = kv.values(&twins)?.into_iter();
        rows.retain(|row| {
            let twin = twins.next().flatten();
            let is_left_behind = twin
                .and_then(|twin| read_due(&twin))
                .is_some_and(|due| due != row.due);
            if is_left_behind {
                let mut batch = Batch::new();
                batch.dequeue(queue, &row.key, row.due);
                self.submit(batch, |_| {});
            }
            !is_left_behind
        });
        Ok(rows)
    }

    fn rows(
        &self,
        table: u8,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Vec<KvRow>, ReadError> {
        let from = after.map_or_else(|| vec![table], keys::after);
        Ok(self
            .inner()
            .shared
            .index
            .kv
            .scan(&from, &keys::end_of(table), limit)?)
    }

    /// One row, where it is there and can be read.
    pub(crate) fn row<T>(
        &self,
        key: Vec<u8>,
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, ReadError> {
        let Some(value) = self.inner().shared.index.kv.value(&key)? else {
            return Ok(None);
        };
        let row = read(&value);
        if row.is_none() {
            self.set_row_aside(key, value);
        }
        Ok(row)
    }

    /// Those of the rows that can be read. The others are set aside, and the rest goes on.
    fn readable<T>(&self, rows: Vec<KvRow>, read: impl Fn(&[u8], &[u8]) -> Option<T>) -> Vec<T> {
        let mut found = Vec::with_capacity(rows.len());
        for (key, value) in rows {
            match read(&key, &value) {
                Some(row) => found.push(row),
                None => self.set_row_aside(key, value),
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use perennis_shared::cid::{Codec, cid_of};

    use super::*;

    #[test]
    fn every_read_that_fails_has_its_kind() {
        let cid = || Box::new(cid_of(Codec::Raw, b"a block"));
        let corrupt = ReadError::Corrupt {
            cid: cid(),
            source: VerifyError::HashNotAllowed { code: 1 },
        };
        let disk = ReadError::Disk {
            cid: cid(),
            source: io::Error::other("no luck"),
        };
        let damaged = KvError::Damaged {
            reason: "a bit".to_owned(),
        };
        for (error, kind) in [
            (corrupt, ErrorKind::Corrupt),
            (disk, ErrorKind::Fatal),
            (damaged.into(), ErrorKind::Corrupt),
            (KvError::NotKept.into(), ErrorKind::Fatal),
        ] {
            assert_eq!(error.kind(), kind, "{error}");
        }
    }
}
