//! Rows other than blocks: each as it is now, those that cannot be read set aside.

use std::collections::BTreeSet;

use perennis_shared::cid::parse_cid_bytes;
use perennis_shared::ipns::Name;
use perennis_shared::time::Millis;

use super::blocks::Blocks;
use super::loss::MigrationLoss;
use super::sink::Sink;
use super::target;
use super::view::View;
use crate::format1::row;
use crate::kv::{Kv, KvError};

/// Takes rows over.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    target: Sink<'a>,
    view: View<'a>,
    now: Millis,
    unreadable: u64,
    /// Entries of queues whose two rows did not fit together, by their keys in `k`.
    mended: BTreeSet<Vec<u8>>,
    /// Those of them whose row in `k` was made anew.
    adopted: BTreeSet<Vec<u8>>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(target: &'a dyn Kv, view: View<'a>, now: Millis) -> Self {
        Self {
            target: Sink::new(target),
            view,
            now,
            unreadable: 0,
            mended: BTreeSet::new(),
            adopted: BTreeSet::new(),
        }
    }

    /// Goes through all rows once; those of blocks are given to `blocks`. Returns what could not be taken over.
    pub(super) fn convert(mut self, blocks: &mut Blocks) -> Result<Vec<MigrationLoss>, KvError> {
        let view = self.view;
        for found in view.rows() {
            let (key, value) = found?;
            let reason = match key.first().copied() {
                Some(row::BLOCK) => blocks.add_block(&key, &value)?,
                Some(row::QUARANTINE) => blocks.add_quarantine(&key, &value)?,
                Some(row::HEAD) => self.head(&key, &value)?,
                Some(row::EVIDENCE) => self.evidence(&key, &value)?,
                Some(row::PIN) => self.pin(&key, &value)?,
                Some(row::QUEUE) => self.queue_row(&key, &value)?,
                Some(row::QUEUE_KEY) => self.queue_key(&key, &value)?,
                Some(row::META) => self.take(key.clone(), value.clone())?,
                // These say where things were, and are made anew.
                Some(row::SEGMENT | row::APPLIED | row::TOTAL | row::UPKEEP) => None,
                _ => Some("no table has this key"),
            };
            if let Some(reason) = reason {
                self.unreadable += 1;
                let row = target::set_aside(self.now, reason, &value);
                self.target.put(target::key(target::SET_ASIDE, &key), row)?;
            }
        }
        self.target.finish()?;
        let mut losses = Vec::new();
        if self.unreadable > 0 {
            losses.push(MigrationLoss::Rows {
                rows: self.unreadable,
            });
        }
        if !self.mended.is_empty() {
            losses.push(MigrationLoss::QueueEntries {
                entries: self.mended.len() as u64,
            });
        }
        Ok(losses)
    }

    fn take(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<Option<&'static str>, KvError> {
        self.target.put(key, value)?;
        Ok(None)
    }

    /// The bytes of a head are the same in both formats.
    fn head(&mut self, key: &[u8], value: &[u8]) -> Result<Option<&'static str>, KvError> {
        if Name::from_bytes(&key[1..]).is_err() {
            return Ok(Some("its key is no name"));
        }
        if !row::is_head(value) {
            return Ok(Some("it is no head"));
        }
        self.take(key.to_vec(), value.to_vec())
    }

    fn evidence(&mut self, key: &[u8], value: &[u8]) -> Result<Option<&'static str>, KvError> {
        let name = key[1..].split_last_chunk::<8>();
        if !name.is_some_and(|(name, _)| Name::from_bytes(name).is_ok()) {
            return Ok(Some("its key is no name and sequence"));
        }
        self.take(key.to_vec(), target::plain(value))
    }

    fn pin(&mut self, key: &[u8], value: &[u8]) -> Result<Option<&'static str>, KvError> {
        if parse_cid_bytes(value).is_err() {
            return Ok(Some("it is no root"));
        }
        self.take(key.to_vec(), target::pin(value))
    }

    /// An entry of a queue is two rows that name each other. Where groups were lost, one may be without the other: an
    /// entry that would come again and again, or could not be taken out.
    fn queue_row(&mut self, key: &[u8], value: &[u8]) -> Result<Option<&'static str>, KvError> {
        let Some((queue, due, entry)) = row::read_queue_row(key) else {
            return Ok(Some("its key is no queue, time and entry"));
        };
        let by_key = row::queue_key(queue, entry);
        let known = self.view.value(&by_key)?;
        let known = known.as_deref().and_then(row::read_due);
        if known != Some(due) {
            self.mended.insert(by_key.clone());
            if let Some(known) = known
                && self.is_queued(queue, known, entry)?
            {
                // It was put in again, and this row should have gone.
                return Ok(None);
            }
            // Of several that nothing names the one that is due first stays.
            if !self.adopted.insert(by_key.clone()) {
                return Ok(None);
            }
            let due = target::plain(&due.0.to_le_bytes());
            self.target.put(by_key, due)?;
        }
        self.take(key.to_vec(), target::plain(value))
    }

    fn queue_key(&mut self, key: &[u8], value: &[u8]) -> Result<Option<&'static str>, KvError> {
        let Some((&queue, entry)) = key[1..].split_first() else {
            return Ok(Some("its key is no queue and entry"));
        };
        let Some(due) = row::read_due(value) else {
            return Ok(Some("it is no time"));
        };
        if self.is_queued(queue, due, entry)? {
            return self.take(key.to_vec(), target::plain(value));
        }
        // What was to be done then is not known any more.
        self.mended.insert(key.to_vec());
        Ok(None)
    }

    fn is_queued(&self, queue: u8, due: Millis, entry: &[u8]) -> Result<bool, KvError> {
        let row = row::queue_row(queue, due, entry);
        Ok(self.view.value(&row)?.is_some())
    }
}
