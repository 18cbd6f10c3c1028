//! A group while it is put together: each batch is checked against the index and the batches before it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use foldhash::fast::RandomState;
use perennis_shared::cid::{Block, Cid, Multihash, is_identity};
use perennis_shared::ipns::Name;
use perennis_shared::time::Millis;

use crate::batch::{Adoption, Batch, Commit, CommitError, Reclaim, RowChange};
use crate::group::{Op, PackOp};
use crate::index::quarantine_ops;
use crate::keys::{self, Queue};
use crate::kv::KvError;
use crate::location::FileNumber;
use crate::log::LogBatch;
use crate::pack::Entry;
use crate::rows::{
    HeadRow, PinRow, Place, Quarantined, Row as _, SetAside, merge_tags, owner_tag, read_due,
    read_min_sequence, write_due, write_payload, write_plain,
};
use crate::shared::Shared;

/// Places that are looked up at once when a pack is taken into use.
const ADOPT_ROWS: usize = 1024;

/// Blocks of one group, with their tag and codec: there are as many as blocks, so finding one shall be cheap.
type New = HashMap<Multihash, (u32, u64), RandomState>;

/// The group so far, over the index.
pub(crate) struct Pending<'a> {
    shared: &'a Shared,
    rows: HashMap<Vec<u8>, Option<Vec<u8>>>,
    new: New,
    batches: Vec<LogBatch>,
    roots: Vec<Cid>,
}

/// The changes of one batch, kept apart until all of it is accepted.
#[derive(Default)]
struct Part {
    rows: HashMap<Vec<u8>, Option<Vec<u8>>>,
    new: New,
    seen: HashSet<(Multihash, u64)>,
    batch: LogBatch,
    roots: Vec<Cid>,
    commit: Commit,
}

impl Part {
    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.rows.insert(key.clone(), Some(value.clone()));
        self.batch.ops.push(Op::Put(key, value));
    }

    fn delete(&mut self, key: Vec<u8>) {
        self.rows.insert(key.clone(), None);
        self.batch.ops.push(Op::Delete(key));
    }

    /// Notes that a stored block was put or required again, where that is news.
    fn see(&mut self, hash: &Multihash, codec: u64, (tag, codecs): (u32, &[u64])) {
        let is_news = merge_tags(tag, self.batch.tag) != tag
            || (codecs.len() < Place::CODECS && !codecs.contains(&codec));
        if is_news && self.seen.insert((*hash, codec)) {
            self.batch.ops.push(Op::Saw {
                hash: *hash,
                tag: self.batch.tag,
                codec,
            });
        }
    }
}

impl<'a> Pending<'a> {
    pub(crate) fn new(shared: &'a Shared) -> Self {
        Self {
            shared,
            rows: HashMap::new(),
            new: New::default(),
            batches: Vec::new(),
            roots: Vec::new(),
        }
    }

    /// What is to be written, and the roots that are pinned by it.
    pub(crate) fn finish(self) -> (Vec<LogBatch>, Vec<Cid>) {
        (self.batches, self.roots)
    }

    /// Takes a batch in, or says why not.
    pub(crate) fn add(&mut self, batch: Batch) -> Result<Commit, CommitError> {
        batch.check()?;
        let mut part = Part::default();
        part.batch.owner = batch.owner_bytes();
        part.batch.tag = owner_tag(&part.batch.owner);
        let result = self.fill(&mut part, batch);
        if let Err(CommitError::Equivocation { .. }) = &result {
            // The batch is refused; the proof against its signer stays.
            let is_proof =
                |op: &Op| matches!(op, Op::Put(key, _) if key.first() == Some(&keys::EVIDENCE));
            let ops = part.batch.ops.drain(..).filter(is_proof).collect();
            self.batches.push(LogBatch {
                ops,
                ..LogBatch::default()
            });
        }
        result?;
        self.roots.append(&mut part.roots);
        self.rows.extend(part.rows);
        self.new.extend(part.new);
        if !part.batch.blocks.is_empty() || !part.batch.ops.is_empty() {
            self.batches.push(part.batch);
        }
        Ok(part.commit)
    }

    fn fill(&self, part: &mut Part, batch: Batch) -> Result<(), CommitError> {
        if let Some(reclaim) = batch.reclaim {
            return self.reclaim(part, reclaim);
        }
        let mut young = self.shared.young.lock();
        if let Some(young) = young.as_mut() {
            let blocks = batch.blocks.iter().map(|block| block.cid());
            for cid in blocks.chain(&batch.required) {
                young.kept.set_live(&cid.hash().to_bytes());
            }
        }
        drop(young);
        let hashes = batch.blocks.iter().map(|block| block.cid().hash());
        let places = self.shared.index.places(hashes).map_err(index_failed)?;
        for (block, place) in batch.blocks.into_iter().zip(places) {
            match place {
                Some(place) => {
                    let cid = block.cid();
                    // An index that was made anew may have its place from the file, and the note of its damage from before.
                    if self.shared.quarantined.load(Ordering::Acquire) {
                        self.lift_quarantine(part, cid.hash())?;
                    }
                    self.settle(part, &keys::block(cid.hash()))?;
                    part.see(cid.hash(), cid.codec(), (place.tag, &place.codecs));
                }
                None => self.put_block(part, block)?,
            }
        }
        self.check_required(part, &batch.required)?;
        for (name, head) in batch.heads {
            self.put_head(part, &name, &head)?;
        }
        for change in batch.rows {
            self.change(part, change)?;
        }
        Ok(())
    }

    /// Takes in a block that the index does not have.
    fn put_block(&self, part: &mut Part, block: Block) -> Result<(), CommitError> {
        let cid = *block.cid();
        if is_identity(&cid) {
            return Ok(());
        }
        let (hash, codec) = (cid.hash(), cid.codec());
        if let Some((tag, first)) = part.new.get(hash).or_else(|| self.new.get(hash)).copied() {
            part.see(hash, codec, (tag, &[first]));
            return Ok(());
        }
        part.new.insert(*hash, (part.batch.tag, codec));
        if self.shared.quarantined.load(Ordering::Acquire) {
            self.lift_quarantine(part, hash)?;
        }
        self.settle(part, &keys::block(hash))?;
        part.commit.new_blocks += 1;
        part.commit.new_bytes += block.bytes().len() as u64;
        part.batch.blocks.push(block);
        Ok(())
    }

    /// A block that was set aside is put again: what was known of it counts again.
    fn lift_quarantine(&self, part: &mut Part, hash: &Multihash) -> Result<(), CommitError> {
        let quarantine = keys::quarantine(hash);
        if let Some(row) = self.value(part, &quarantine)? {
            let known = Quarantined::from_bytes(&row);
            let (tag, codecs) = known.map_or_else(Default::default, |row| (row.tag, row.codecs));
            let saw = |codec| Op::Saw {
                hash: *hash,
                tag,
                codec,
            };
            part.batch.ops.extend(codecs.into_iter().map(saw));
            part.delete(quarantine.clone());
        }
        self.settle(part, &quarantine)
    }

    /// A row is written or removed: an earlier one under its key that was set aside is of no use any more.
    fn settle(&self, part: &mut Part, key: &[u8]) -> Result<(), CommitError> {
        if self.shared.set_aside.load(Ordering::Acquire) {
            let aside = keys::set_aside(key);
            if self.value(part, &aside)?.is_some() {
                part.delete(aside);
            }
        }
        Ok(())
    }

    fn check_required(&self, part: &mut Part, required: &[Cid]) -> Result<(), CommitError> {
        let mut missing = Vec::new();
        for cid in required.iter().filter(|cid| !is_identity(cid)) {
            let hash = cid.hash();
            if let Some((tag, codec)) = part.new.get(hash).or_else(|| self.new.get(hash)).copied() {
                part.see(hash, cid.codec(), (tag, &[codec]));
            } else if let Some(place) = self.shared.index.place(hash).map_err(index_failed)? {
                part.see(hash, cid.codec(), (place.tag, &place.codecs));
            } else {
                missing.push(*cid);
            }
        }
        if missing.is_empty() {
            Ok(())
        } else {
            Err(CommitError::MissingBlocks(missing))
        }
    }

    fn put_head(&self, part: &mut Part, name: &Name, head: &HeadRow) -> Result<(), CommitError> {
        let key = keys::head(name);
        let stored = self
            .value(part, &key)?
            .and_then(|bytes| HeadRow::from_bytes(&bytes));
        let stale = |stored| CommitError::Stale {
            name: Box::new(*name),
            stored,
            offered: head.sequence,
        };
        if let Some(stored) = stored {
            if head.sequence < stored.sequence {
                return Err(stale(stored.sequence));
            }
            if head.sequence == stored.sequence {
                // One that has ended contradicts nobody any more.
                let has_ended = stored.valid_until < head.stored_at;
                if head.value != stored.value && !has_ended {
                    let proof = write_plain(1, &head.record);
                    part.put(keys::evidence(name, head.sequence), proof);
                    return Err(CommitError::Equivocation {
                        name: Box::new(*name),
                        sequence: head.sequence,
                        stored: Bytes::clone(&stored.record),
                    });
                }
                if head.valid_until <= stored.valid_until {
                    return Ok(());
                }
            }
        }
        if self.shared.min_sequences.load(Ordering::Acquire) {
            let min_sequence = keys::min_sequence(name.as_bytes());
            if let Some(row) = self.value(part, &min_sequence)? {
                // A minimum sequence that cannot be read holds nobody up for ever: it is gone with the next head.
                if let Some(lost) = read_min_sequence(&row).filter(|lost| head.sequence < *lost) {
                    return Err(stale(lost));
                }
                part.delete(min_sequence);
            }
        }
        self.settle(part, &key)?;
        part.batch
            .heads
            .push((name.as_bytes().to_vec(), head.sequence));
        part.put(key, head.to_bytes());
        Ok(())
    }

    fn change(&self, part: &mut Part, change: RowChange) -> Result<(), CommitError> {
        match change {
            RowChange::Put(key, value) => {
                self.settle(part, &key)?;
                part.put(key, value);
            }
            // On a full disk this is written into the reserve: what is not there must not use it up.
            RowChange::Delete(key) | RowChange::Unpin(key) => {
                self.settle(part, &key)?;
                if self.value(part, &key)?.is_some() || self.has_min_sequence(part, &key)? {
                    part.delete(key);
                }
            }
            RowChange::Pin(key, root) => {
                self.settle(part, &key)?;
                let stored = self
                    .value(part, &key)?
                    .and_then(|bytes| PinRow::from_bytes(&bytes));
                if stored.is_none_or(|stored| stored.root != root) {
                    part.roots.push(root);
                    let tag = part.batch.tag;
                    part.put(key, PinRow { root, tag }.to_bytes());
                }
            }
            RowChange::Enqueue {
                queue,
                key,
                from,
                due,
                payload,
            } => {
                if from.is_none() || self.due(part, queue, &key)? == from {
                    self.enqueue(part, queue, &key, due, &payload)?;
                }
            }
            RowChange::Dequeue { queue, key, due } => self.dequeue(part, queue, &key, due)?,
        }
        Ok(())
    }

    /// Whether a head that is not there was lost: a replay then forgets its minimum sequence only where the log says that it was deleted.
    fn has_min_sequence(&self, part: &Part, key: &[u8]) -> Result<bool, CommitError> {
        match key {
            [keys::HEAD, name @ ..] if self.shared.min_sequences.load(Ordering::Acquire) => {
                Ok(self.value(part, &keys::min_sequence(name))?.is_some())
            }
            _ => Ok(false),
        }
    }

    fn enqueue(
        &self,
        part: &mut Part,
        queue: Queue,
        key: &[u8],
        due: Millis,
        payload: &[u8],
    ) -> Result<(), CommitError> {
        let by_key = keys::queue_key(queue, key);
        if let Some(old) = self.due(part, queue, key)? {
            part.delete(keys::queue_row(queue, old, key));
        }
        self.settle(part, &by_key)?;
        part.put(keys::queue_row(queue, due, key), write_payload(payload));
        part.put(by_key, write_due(due));
        Ok(())
    }

    fn dequeue(
        &self,
        part: &mut Part,
        queue: Queue,
        key: &[u8],
        due: Millis,
    ) -> Result<(), CommitError> {
        let (by_time, by_key) = (
            keys::queue_row(queue, due, key),
            keys::queue_key(queue, key),
        );
        match self.due(part, queue, key)? {
            Some(now) if now == due => {
                part.delete(by_time);
                part.delete(by_key);
            }
            // Its twin was damaged once: it is due for ever unless it goes alone.
            other => {
                if self.value(part, &by_time)?.is_some() {
                    part.delete(by_time);
                }
                if other.is_none() {
                    self.settle(part, &by_key)?;
                }
            }
        }
        Ok(())
    }

    fn reclaim(&self, part: &mut Part, reclaim: Reclaim) -> Result<(), CommitError> {
        match reclaim {
            Reclaim::Forget {
                hashes,
                generation,
                marked,
            } => {
                let young = self.shared.young.lock();
                // Another one, or none: that collection has ended, and nobody noted for it what must stay.
                let is_as_planned = young.as_ref().is_some_and(|young| {
                    young.generation == generation
                        && young.roots.len() == marked
                        && !hashes
                            .iter()
                            .any(|hash| young.kept.is_live(&hash.to_bytes()))
                });
                if !is_as_planned {
                    return Err(CommitError::PinsChanged);
                }
                part.commit.reclaimed_blocks += hashes.len() as u64;
                part.batch.ops.extend(hashes.into_iter().map(Op::Forget));
            }
            Reclaim::Adopt { packs, dropped } => self.adopt(part, &packs, dropped)?,
            Reclaim::SetAside {
                key,
                value,
                mut instead,
                now,
            } => {
                if self.value(part, &key)?.as_ref() == Some(&value) {
                    match key.first() {
                        // What is due, and when, is in the key.
                        Some(&keys::QUEUE) => instead = Some(write_payload(&[])),
                        Some(&keys::HEAD) => {
                            self.enqueue(part, keys::LOST_HEADS, &key[1..], now, &[])?;
                        }
                        // Where it lies is not known any more, so it is gone unless it is fetched again.
                        Some(&keys::BLOCK | &keys::QUARANTINE) => {
                            self.shared.quarantined.store(true, Ordering::Release);
                            self.enqueue(part, keys::REFETCH, &key[1..], now, &[])?;
                        }
                        _ => {}
                    }
                    self.shared.set_aside.store(true, Ordering::Release);
                    let reason = "it is damaged, or a later release wrote it";
                    let row = SetAside::to_row(now, reason, &value);
                    part.put(keys::set_aside(&key), row);
                    match instead {
                        Some(instead) => part.put(key, instead),
                        None => part.delete(key),
                    }
                }
            }
            // There is no such row.
            Reclaim::Mark => part.delete(vec![keys::UPKEEP, 0]),
            Reclaim::Lose(losses) => {
                let mut ops = Vec::new();
                self.shared.index.note_losses(losses, &mut ops);
                part.batch.ops.append(&mut ops);
            }
            Reclaim::DismissLosses => {
                let (from, to) = ([keys::LOSS], keys::end_of(keys::LOSS));
                let rows = self.shared.index.kv.scan(&from, &to, usize::MAX);
                for (key, _) in rows.map_err(index_failed)? {
                    part.delete(key);
                }
                let (from, to) = ([keys::SET_ASIDE], keys::end_of(keys::SET_ASIDE));
                let rows = self.shared.index.kv.scan(&from, &to, usize::MAX);
                for (key, _) in rows.map_err(index_failed)? {
                    let is_needed = |table| {
                        [keys::PIN, keys::HEAD, keys::BLOCK, keys::QUARANTINE].contains(table)
                    };
                    if !key.get(1).is_some_and(is_needed) {
                        part.delete(key);
                    }
                }
            }
            Reclaim::Quarantine {
                hash,
                at,
                reason,
                now,
            } => {
                let place = self.shared.index.place(&hash).map_err(index_failed)?;
                if let Some(place) = place.filter(|place| place.location == at) {
                    self.shared.quarantined.store(true, Ordering::Release);
                    for op in quarantine_ops(&hash, place, reason, now) {
                        match op {
                            Op::Put(key, value) => part.put(key, value),
                            op => part.batch.ops.push(op),
                        }
                    }
                    let key = keys::quarantine(&hash);
                    self.enqueue(part, keys::REFETCH, &key[1..], now, &[])?;
                    part.commit.reclaimed_blocks += 1;
                }
            }
        }
        Ok(())
    }

    /// Takes packs into use. What was forgotten or moved since its block was read is dead in the pack.
    fn adopt(
        &self,
        part: &mut Part,
        packs: &[Adoption],
        dropped: Vec<FileNumber>,
    ) -> Result<(), CommitError> {
        let mut dropped = Some(dropped);
        let mut seen = Vec::new();
        for (at, pack) in packs.iter().enumerate() {
            let mut op = PackOp {
                number: pack.number,
                name: pack.name.0,
                bytes: pack.bytes,
                entries: pack.footer.len(),
                dead: Vec::new(),
                // All packs are in use before anything is dropped.
                dropped: dropped
                    .take_if(|_| at + 1 == packs.len())
                    .unwrap_or_default(),
            };
            let entries: Vec<Entry<'_>> = pack.footer.entries().collect();
            for (entries, sources) in entries
                .chunks(ADOPT_ROWS)
                .zip(pack.sources.chunks(ADOPT_ROWS))
            {
                let hashes: Vec<Multihash> = entries.iter().map(Entry::hash).collect();
                let places = self
                    .shared
                    .index
                    .places(hashes.iter())
                    .map_err(index_failed)?;
                for ((entry, source), place) in entries.iter().zip(sources).zip(places) {
                    match place.filter(|place| place.location == *source) {
                        None => op.dead.push(entry.index()),
                        Some(place) => {
                            part.commit.reclaimed_blocks += 1;
                            seen.extend(seen_since(entry, &place));
                        }
                    }
                }
            }
            part.batch.ops.push(Op::Pack(op));
        }
        // Behind the packs: who replays this has what they say first.
        part.batch.ops.append(&mut seen);
        part.batch
            .ops
            .extend(dropped.unwrap_or_default().into_iter().map(Op::Drop));
        Ok(())
    }

    fn due(&self, part: &Part, queue: Queue, key: &[u8]) -> Result<Option<Millis>, CommitError> {
        let row = self.value(part, &keys::queue_key(queue, key))?;
        Ok(row.and_then(|row| read_due(&row)))
    }

    fn value(&self, part: &Part, key: &[u8]) -> Result<Option<Vec<u8>>, CommitError> {
        if let Some(row) = part.rows.get(key).or_else(|| self.rows.get(key)) {
            return Ok(row.clone());
        }
        self.shared.index.kv.value(key).map_err(index_failed)
    }
}

/// What became known of a block after its entry was written.
fn seen_since(entry: &Entry<'_>, place: &Place) -> Vec<Op> {
    let saw = |codec| Op::Saw {
        hash: entry.hash(),
        tag: place.tag,
        codec,
    };
    let known: Vec<u64> = entry.codecs().collect();
    let news = place.codecs.iter().filter(|codec| !known.contains(codec));
    let mut ops: Vec<Op> = news.copied().map(saw).collect();
    if ops.is_empty() && place.tag != entry.tag() {
        ops.extend(place.codecs.first().copied().map(saw));
    }
    ops
}

fn index_failed(error: KvError) -> CommitError {
    CommitError::Index(Arc::new(error))
}
