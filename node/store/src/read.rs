//! Reads: blocks, which are checked as they come from the disk, and rows.

use std::io;

use perennis_shared::cid::{Block, Cid, VerifyError, is_identity};
use perennis_shared::ipns::Name;
use perennis_shared::time::Millis;

use crate::keys::{self, Queue};
use crate::kv::{KvError, Row};
use crate::rows::{HeadRow, QuarantineRow, QueueRow};
use crate::store::{Store, is_lost};

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

impl Store {
    /// The block, checked against its CID after it left the disk; none if it is not stored.
    ///
    /// # Errors
    /// The bytes are damaged (the block is then set aside), or the disk or the index fails.
    pub fn block(&self, cid: &Cid) -> Result<Option<Block>, ReadError> {
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
                None => index.probable_location(cid)?,
                Some(_) => index.location(cid)?,
            };
            let Some(location) = location else {
                return Ok(None);
            };
            // A block that compaction moved while it was read is read again where it is now.
            let last_try = seen == Some(location);
            match self.inner().read(location) {
                Ok(bytes) => match Block::verified(*cid, bytes) {
                    Ok(block) => return Ok(Some(block)),
                    Err(source) if last_try => {
                        self.set_aside(cid, location, &source);
                        return Err(ReadError::Corrupt {
                            cid: Box::new(*cid),
                            source,
                        });
                    }
                    Err(_) => {}
                },
                Err(source) if last_try => {
                    if is_lost(&source) {
                        self.set_aside(cid, location, &source);
                    }
                    return Err(ReadError::Disk {
                        cid: Box::new(*cid),
                        source,
                    });
                }
                Err(_) => self.inner().forget_file(location.segment),
            }
            seen = Some(location);
        }
    }

    /// Whether a block is stored. Its bytes are not read.
    ///
    /// # Errors
    /// The index fails.
    pub fn has(&self, cid: &Cid) -> Result<bool, ReadError> {
        Ok(is_identity(cid) || self.inner().shared.index.location(cid)?.is_some())
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
            .location(cid)?
            .map(|location| location.length))
    }

    /// At most `limit` CIDs behind `after`, in the order of their binary form.
    ///
    /// # Errors
    /// The index fails.
    pub fn cids(&self, after: Option<&Cid>, limit: usize) -> Result<Vec<Cid>, ReadError> {
        let rows = self.rows(keys::BLOCK, after.map(keys::block), limit)?;
        Ok(rows
            .iter()
            .filter_map(|(key, _)| keys::cid_of(key))
            .collect())
    }

    /// The newest accepted head of a name.
    ///
    /// # Errors
    /// The index fails.
    pub fn head(&self, name: &Name) -> Result<Option<HeadRow>, ReadError> {
        let row = self.inner().shared.index.kv.value(&keys::head(name))?;
        Ok(row.and_then(|row| HeadRow::from_bytes(&row)))
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
        Ok(rows
            .iter()
            .filter_map(|(key, value)| {
                Some((
                    Name::from_bytes(&key[1..]).ok()?,
                    HeadRow::from_bytes(value)?,
                ))
            })
            .collect())
    }

    /// Records that were refused because their signer had signed another value with the same sequence, by sequence.
    ///
    /// # Errors
    /// The index fails.
    pub fn evidence(&self, name: &Name) -> Result<Vec<(u64, Vec<u8>)>, ReadError> {
        let from = keys::evidence(name, 0);
        let to = keys::after(keys::evidence(name, u64::MAX));
        let rows = self.inner().shared.index.kv.scan(&from, &to, usize::MAX)?;
        let sequence = |key: &[u8]| {
            key.last_chunk::<8>()
                .map_or(0, |bytes| u64::from_be_bytes(*bytes))
        };
        Ok(rows
            .into_iter()
            .map(|(key, value)| (sequence(&key), value))
            .collect())
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
        Ok(rows
            .into_iter()
            .filter_map(|(key, root)| Some((key[1..].to_vec(), read_root(&root)?)))
            .collect())
    }

    /// The root that is pinned under a key.
    ///
    /// # Errors
    /// The index fails.
    pub fn pin(&self, key: &[u8]) -> Result<Option<Cid>, ReadError> {
        let row = self
            .inner()
            .shared
            .index
            .kv
            .value(&keys::key(keys::PIN, key))?;
        Ok(row.and_then(|root| read_root(&root)))
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
        self.queue_rows(queue, now, limit)
    }

    /// The entry of a queue that is due next.
    ///
    /// # Errors
    /// The index fails.
    pub fn queue_next(&self, queue: Queue) -> Result<Option<QueueRow>, ReadError> {
        Ok(self.queue_rows(queue, Millis(u64::MAX), 1)?.pop())
    }

    /// When an entry of a queue is due; none if it is not in it.
    ///
    /// # Errors
    /// The index fails.
    pub fn queue_entry(&self, queue: Queue, key: &[u8]) -> Result<Option<Millis>, ReadError> {
        let row = self
            .inner()
            .shared
            .index
            .kv
            .value(&keys::queue_key(queue, key))?;
        Ok(row
            .and_then(|row| row.try_into().ok())
            .map(|due| Millis(u64::from_le_bytes(due))))
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
    ) -> Result<Vec<Row>, ReadError> {
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
        let after = after.map(|after| keys::key(keys::QUARANTINE, &after.to_bytes()));
        let rows = self.rows(keys::QUARANTINE, after, limit)?;
        Ok(rows
            .iter()
            .filter_map(|(key, value)| {
                let reason = String::from_utf8_lossy(value.get(8..)?).into_owned();
                Some(QuarantineRow {
                    cid: keys::cid_of(key)?,
                    reason,
                })
            })
            .collect())
    }

    fn queue_rows(
        &self,
        queue: Queue,
        until: Millis,
        limit: usize,
    ) -> Result<Vec<QueueRow>, ReadError> {
        let from = keys::queue_row(queue, Millis(0), &[]);
        let to = keys::end_of_prefix(&keys::queue_row(queue, until, &[]));
        let rows = self.inner().shared.index.kv.scan(&from, &to, limit)?;
        Ok(rows
            .into_iter()
            .filter_map(|(row, payload)| {
                let (due, key) = keys::read_queue_row(&row)?;
                Some(QueueRow {
                    key: key.to_vec(),
                    due,
                    payload,
                })
            })
            .collect())
    }

    fn rows(&self, table: u8, after: Option<Vec<u8>>, limit: usize) -> Result<Vec<Row>, ReadError> {
        let from = after.map_or_else(|| vec![table], keys::after);
        Ok(self
            .inner()
            .shared
            .index
            .kv
            .scan(&from, &keys::end_of(table), limit)?)
    }
}

fn read_root(bytes: &[u8]) -> Option<Cid> {
    perennis_shared::cid::parse_cid_bytes(bytes).ok()
}
