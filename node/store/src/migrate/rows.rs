//! RowMigration other than blocks: each as it is now, those that cannot be read set aside.

use std::collections::BTreeSet;

use perennis_shared::cid::parse_cid_bytes;
use perennis_shared::ipns::Name;
use perennis_shared::time::Millis;

use super::by_hash::ByHash;
use super::format1::row;
use super::sink::Sink;
use super::view::View;
use crate::keys::{self, Queue};
use crate::kv::KvError;
use crate::rows::{NOBODY, PinRow, Row as _, SetAside, write_due, write_payload, write_plain};

/// Goes through all rows once; those of blocks are given to `blocks`.
pub(super) fn convert_rows(
    view: &View,
    blocks: &mut ByHash,
    target: &mut Sink,
    now: Millis,
) -> Result<(), KvError> {
    let mut rows = RowMigration {
        view,
        blocks,
        target,
        adopted: BTreeSet::new(),
    };
    for found in view.rows() {
        let (key, value) = found?;
        if let Some(reason) = rows.take(&key, &value)? {
            let row = SetAside::to_row(now, reason, &value);
            rows.target.put(keys::set_aside(&key), row)?;
        }
    }
    Ok(())
}

/// Why a row is set aside; none where it was taken over.
type Refusal = Option<&'static str>;

struct RowMigration<'a> {
    view: &'a View<'a>,
    blocks: &'a mut ByHash,
    target: &'a mut Sink,
    /// Entries of queues whose row in `k` was made anew, by its key.
    adopted: BTreeSet<Vec<u8>>,
}

impl RowMigration<'_> {
    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<Refusal, KvError> {
        match key.first().copied() {
            Some(row::BLOCK) => self.block(key, value),
            Some(row::QUARANTINE) => self.quarantine(key, value),
            Some(row::HEAD) => self.head(key, value),
            Some(row::EVIDENCE) => self.evidence(key, value),
            Some(row::PIN) => self.pin(key, value),
            Some(row::QUEUE) => self.queue_row(key, value),
            Some(row::QUEUE_KEY) => self.queue_key(key, value),
            Some(row::META) => self.put(key.to_vec(), value.to_vec()),
            // These say where things were, and are made anew.
            Some(row::SEGMENT | row::APPLIED | row::TOTAL | row::UPKEEP) => Ok(None),
            _ => Ok(Some("no table has this key")),
        }
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<Refusal, KvError> {
        self.target.put(key, value)?;
        Ok(None)
    }

    fn block(&mut self, key: &[u8], value: &[u8]) -> Result<Refusal, KvError> {
        let Ok(cid) = parse_cid_bytes(&key[1..]) else {
            return Ok(Some("its key is no CID"));
        };
        if row::read_location(value).is_none() {
            return Ok(Some("it is no place"));
        }
        self.blocks.add_place(&cid, value)?;
        Ok(None)
    }

    fn quarantine(&mut self, key: &[u8], value: &[u8]) -> Result<Refusal, KvError> {
        let Ok(cid) = parse_cid_bytes(&key[1..]) else {
            return Ok(Some("its key is no CID"));
        };
        if row::read_quarantine(value).is_none() {
            return Ok(Some("it is no time and reason"));
        }
        self.blocks.add_damaged(&cid, value)?;
        Ok(None)
    }

    fn head(&mut self, key: &[u8], value: &[u8]) -> Result<Refusal, KvError> {
        if Name::from_bytes(&key[1..]).is_err() {
            return Ok(Some("its key is no name"));
        }
        let Some(head) = row::read_head(value) else {
            return Ok(Some("it is no head"));
        };
        self.put(key.to_vec(), head.to_bytes())
    }

    fn evidence(&mut self, key: &[u8], value: &[u8]) -> Result<Refusal, KvError> {
        let name = key[1..].split_last_chunk::<8>();
        if name.is_none_or(|(name, _)| Name::from_bytes(name).is_err()) {
            return Ok(Some("its key is no name and sequence"));
        }
        self.put(key.to_vec(), write_plain(1, value))
    }

    /// Format 1 did not know whose it is.
    fn pin(&mut self, key: &[u8], value: &[u8]) -> Result<Refusal, KvError> {
        let Ok(root) = parse_cid_bytes(value) else {
            return Ok(Some("it is no root"));
        };
        let tag = NOBODY;
        self.put(key.to_vec(), PinRow { root, tag }.to_bytes())
    }

    /// An entry of a queue is two rows that name each other. Where groups were lost, one may be without the other: an
    /// entry that would come again and again, or could not be taken out.
    fn queue_row(&mut self, key: &[u8], value: &[u8]) -> Result<Refusal, KvError> {
        let Some((queue, due, entry)) = row::read_queue_row(key) else {
            return Ok(Some("its key is no queue, time and entry"));
        };
        if Queue(queue) == keys::REFETCH {
            let Ok(cid) = parse_cid_bytes(entry) else {
                return Ok(Some("its entry is no CID"));
            };
            self.blocks.add_refetch(&cid, due)?;
            return Ok(None);
        }
        let by_key = row::queue_key(queue, entry);
        let known = self.view.value(&by_key)?;
        let known = known.as_deref().and_then(row::read_due);
        if known != Some(due) {
            if let Some(known) = known
                && self.is_queued(queue, known, entry)?
            {
                return Ok(Some("its entry was put in again, for another time"));
            }
            if !self.adopted.insert(by_key.clone()) {
                return Ok(Some("its entry is in the queue, for an earlier time"));
            }
            self.target.put(by_key, write_due(due))?;
        }
        self.put(key.to_vec(), write_payload(value))
    }

    fn queue_key(&mut self, key: &[u8], value: &[u8]) -> Result<Refusal, KvError> {
        let Some((&queue, entry)) = key[1..].split_first() else {
            return Ok(Some("its key is no queue and entry"));
        };
        let Some(due) = row::read_due(value) else {
            return Ok(Some("it is no time"));
        };
        if !self.is_queued(queue, due, entry)? {
            return Ok(Some("what was to be done then is not known any more"));
        }
        if Queue(queue) == keys::REFETCH {
            // It is made anew, by multihash.
            return Ok(None);
        }
        self.put(key.to_vec(), write_due(due))
    }

    fn is_queued(&self, queue: u8, due: Millis, entry: &[u8]) -> Result<bool, KvError> {
        let row = row::queue_row(queue, due, entry);
        Ok(self.view.value(&row)?.is_some())
    }
}
