//! The one write path: takes batches in turn, checks them, and makes many durable with one sync.
//!
//! A group is what was waiting when the last one ended, up to [`GROUP_BYTES`]. Each batch in it is checked against
//! the index and against the batches before it in the group; one that is refused leaves no trace (but the evidence
//! of an equivocation). Then the group is appended to the log, applied to the index, and only then answered.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;

use bytes::Bytes;
use foldhash::fast::RandomState;
use parking_lot::Mutex;
use perennis_shared::cid::{Block, Cid, is_identity};
use perennis_shared::ipns::Name;
use perennis_shared::time::Millis;

use crate::batch::{Batch, Change, Commit, CommitError, Reclaim};
use crate::disk::Disk;
use crate::group::Op;
use crate::index::Index;
use crate::keys::{self, Queue};
use crate::kv::KvError;
use crate::log::Log;
use crate::rows::HeadRow;
use crate::segment::{Location, SegmentNumber};

/// Most bytes of one group, unless a single batch is larger.
const GROUP_BYTES: usize = 8 << 20;
/// Most batches of one group.
const GROUP_BATCHES: usize = 4096;

/// The answer to a batch; called once, by who commits it.
pub(crate) type Reply = Box<dyn FnOnce(Result<Commit, CommitError>) + Send>;

/// What the committer is asked to do.
pub(crate) enum Work {
    Commit(Box<Batch>, Reply),
    /// Ends the open segment and flushes the index, so that all before this is in files that stay as they are.
    Seal(Sender<Result<(), CommitError>>),
    /// Copies the index, with the log sealed, so that the copy and the segments fit together. Answers with the
    /// number of the next segment: those before it belong to the copy.
    Copy(PathBuf, Sender<Result<SegmentNumber, CommitError>>),
    /// Begins to note what is put, required and pinned, for a collection of garbage.
    /// Answers with the number of the collection.
    Watch(Sender<Result<u64, CommitError>>),
}

/// What readers, the committer and the upkeep share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) index: Index,
    pub(crate) full: AtomicBool,
    pub(crate) failed: AtomicBool,
    /// Whether there may be a block in quarantine: without one, no put needs to look for its own.
    pub(crate) quarantined: AtomicBool,
    /// While garbage is collected.
    pub(crate) young: Mutex<Option<Young>>,
    pub(crate) groups: AtomicU64,
    pub(crate) batches: AtomicU64,
}

/// What happened since a collection of garbage began.
#[derive(Debug, Default)]
pub(crate) struct Young {
    /// The number of the collection: a later one has a higher.
    pub(crate) generation: u64,
    /// Blocks that were put or required: they stay.
    pub(crate) kept: HashSet<Cid>,
    /// Roots that were pinned, noted once their blocks can be read: they are marked before anything is dropped.
    pub(crate) roots: Vec<Cid>,
}

/// A file that is given up when the disk is full, so that garbage collection can write.
#[derive(Debug)]
pub(crate) struct Reserve {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) bytes: u64,
}

impl Reserve {
    fn path(&self) -> PathBuf {
        self.dir.join("reserve")
    }

    /// Takes the space unless it is taken.
    pub(crate) fn take(&self) -> io::Result<()> {
        if let Ok(file) = self.disk.open(&self.path())
            && file.length()? >= self.bytes
        {
            return Ok(());
        }
        self.disk.create(&self.path(), self.bytes).map(drop)
    }

    pub(crate) fn release(&self) {
        // Where it cannot be removed there is nothing to be gained either.
        let _ = self
            .disk
            .remove(&self.path())
            .and_then(|()| self.disk.sync_dir(&self.dir));
    }
}

/// What committing needs; one thread at a time has it.
pub(crate) struct Committer {
    pub(crate) log: Log,
    pub(crate) shared: Arc<Shared>,
    pub(crate) reserve: Reserve,
    /// The index is flushed when this much was logged since it last was.
    pub(crate) flush_bytes: u64,
    pub(crate) logged_bytes: u64,
    /// Collections of garbage that were begun.
    pub(crate) collections: u64,
}

/// What is done in one go.
pub(crate) enum Group {
    Commits(Vec<(Batch, Reply)>),
    Other(Work),
}

impl Committer {
    /// Takes what is first in line, and what else waits that can be part of its group.
    pub(crate) fn gather(line: &mut VecDeque<Work>) -> Option<Group> {
        let (batch, reply) = match line.pop_front()? {
            Work::Commit(batch, reply) => (batch, reply),
            other => return Some(Group::Other(other)),
        };
        let mut bytes = batch.bytes();
        let alone = batch.reclaim.is_some();
        let mut group = vec![(*batch, reply)];
        while !alone && bytes < GROUP_BYTES && group.len() < GROUP_BATCHES {
            let next = line.pop_front_if(|next| match next {
                Work::Commit(batch, _) => {
                    batch.reclaim.is_none() && bytes + batch.bytes() <= GROUP_BYTES
                }
                _ => false,
            });
            let Some(Work::Commit(batch, reply)) = next else {
                break;
            };
            bytes += batch.bytes();
            group.push((*batch, reply));
        }
        Some(Group::Commits(group))
    }

    pub(crate) fn work(&mut self, group: Group) {
        match group {
            Group::Commits(batches) => {
                let reclaiming = batches.iter().any(|(batch, _)| batch.reclaim.is_some());
                self.commit(batches, reclaiming);
            }
            Group::Other(Work::Commit(batch, reply)) => self.commit(vec![(*batch, reply)], true),
            Group::Other(Work::Seal(reply)) => drop(reply.send(self.seal())),
            Group::Other(Work::Copy(dir, reply)) => drop(reply.send(self.copy(&dir))),
            Group::Other(Work::Watch(reply)) => {
                self.collections += 1;
                *self.shared.young.lock() = Some(Young {
                    generation: self.collections,
                    ..Young::default()
                });
                drop(reply.send(Ok(self.collections)));
            }
        }
    }

    /// Leaves the files as they stay.
    pub(crate) fn end(&mut self) {
        // A failure here costs a longer replay at the next start, nothing else.
        let _ = self.seal();
    }

    fn commit(&mut self, batches: Vec<(Batch, Reply)>, reclaiming: bool) {
        if self.shared.failed.load(Ordering::Acquire) {
            return answer_all(batches, &CommitError::Closed);
        }
        if self.shared.full.load(Ordering::Acquire) && !reclaiming && !self.is_space_back() {
            return answer_all(batches, &CommitError::Full);
        }
        let mut group = Pending::new(&self.shared);
        let mut answers = Vec::with_capacity(batches.len());
        for (batch, reply) in batches {
            answers.push((group.add(batch), reply));
        }
        let Pending {
            blocks, ops, roots, ..
        } = group;
        let number = if blocks.is_empty() && ops.is_empty() {
            Ok(self.shared.groups.load(Ordering::Acquire))
        } else {
            self.write(&blocks, ops, !reclaiming)
        };
        if number.is_ok()
            && let Some(young) = self.shared.young.lock().as_mut()
        {
            young.roots.extend(roots);
        }
        self.shared
            .batches
            .fetch_add(answers.len() as u64, Ordering::Relaxed);
        for (answer, reply) in answers {
            reply(match (&number, answer) {
                (Ok(group), Ok(commit)) => Ok(Commit {
                    group: *group,
                    ..commit
                }),
                // The proof against the signer could not be kept: let it be offered again.
                (Err(failed), Err(CommitError::Equivocation { .. })) => Err(failed.clone()),
                // What was refused was refused whether or not the others could be written.
                (_, Err(refused)) => Err(refused),
                (Err(failed), Ok(_)) => Err(failed.clone()),
            });
        }
    }

    fn write(&mut self, blocks: &[Block], ops: Vec<Op>, fresh: bool) -> Result<u64, CommitError> {
        let group = self
            .log
            .append(blocks, ops)
            .map_err(|error| self.disk_failed(error))?;
        if let Err(error) = self.shared.index.apply(&group, fresh) {
            // The log has it; the index cannot follow. Only a replay brings the two together again.
            // Where the disk is full, the next start needs space to do so.
            self.shared.failed.store(true, Ordering::Release);
            self.reserve.release();
            return Err(CommitError::Index(Arc::new(error)));
        }
        self.shared.groups.store(group.end.group, Ordering::Release);
        self.logged_bytes += blocks
            .iter()
            .map(|block| block.bytes().len() as u64 + 64)
            .sum::<u64>()
            + 4096;
        if self.logged_bytes >= self.flush_bytes {
            self.logged_bytes = 0;
            if self.shared.index.kv.flush(false).is_err() {
                // This group is durable and seen; the next ones are refused.
                self.shared.failed.store(true, Ordering::Release);
                self.reserve.release();
            }
        }
        Ok(group.end.group)
    }

    fn disk_failed(&self, error: io::Error) -> CommitError {
        let full = matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        );
        if full {
            self.shared.full.store(true, Ordering::Release);
            self.reserve.release();
            CommitError::Full
        } else {
            CommitError::Disk(Arc::new(error))
        }
    }

    /// The store serves writes again once it could take its reserve back.
    fn is_space_back(&self) -> bool {
        let back = self.reserve.take().is_ok();
        if back {
            self.shared.full.store(false, Ordering::Release);
        }
        back
    }

    fn seal(&mut self) -> Result<(), CommitError> {
        self.log.seal();
        self.logged_bytes = 0;
        self.shared
            .index
            .kv
            .flush(true)
            .map_err(|error| CommitError::Index(Arc::new(error)))
    }

    fn copy(&mut self, dir: &Path) -> Result<SegmentNumber, CommitError> {
        self.seal()?;
        self.shared
            .index
            .kv
            .copy_to(dir)
            .map_err(|error| CommitError::Index(Arc::new(error)))?;
        Ok(self.log.next_segment())
    }
}

fn answer_all(batches: Vec<(Batch, Reply)>, error: &CommitError) {
    for (_, reply) in batches {
        reply(Err(error.clone()));
    }
}

/// CIDs of one group: there are as many as blocks, so finding one shall be cheap.
type Cids = HashSet<Cid, RandomState>;

/// A group while it is put together: the changes so far, over the index.
struct Pending<'a> {
    shared: &'a Shared,
    rows: HashMap<Vec<u8>, Option<Vec<u8>>>,
    new: Cids,
    blocks: Vec<Block>,
    ops: Vec<Op>,
    roots: Vec<Cid>,
}

/// The changes of one batch, kept apart until all of it is accepted.
#[derive(Default)]
struct Part {
    rows: HashMap<Vec<u8>, Option<Vec<u8>>>,
    new: Cids,
    blocks: Vec<Block>,
    ops: Vec<Op>,
    roots: Vec<Cid>,
    commit: Commit,
}

impl Part {
    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.rows.insert(key.clone(), Some(value.clone()));
        self.ops.push(Op::Put(key, value));
    }

    fn delete(&mut self, key: Vec<u8>) {
        self.rows.insert(key.clone(), None);
        self.ops.push(Op::Delete(key));
    }
}

impl<'a> Pending<'a> {
    fn new(shared: &'a Shared) -> Self {
        Self {
            shared,
            rows: HashMap::new(),
            new: Cids::default(),
            blocks: Vec::new(),
            ops: Vec::new(),
            roots: Vec::new(),
        }
    }

    /// Takes a batch in, or says why not.
    fn add(&mut self, batch: Batch) -> Result<Commit, CommitError> {
        batch.check()?;
        let mut part = Part::default();
        let result = self.fill(&mut part, batch);
        if let Err(CommitError::Equivocation { .. }) = &result {
            // The batch is refused; the proof against its signer stays.
            self.ops.extend(
                part.ops
                    .drain(..)
                    .filter(|op| matches!(op, Op::Put(key, _) if key[0] == keys::EVIDENCE)),
            );
        }
        result?;
        self.roots.append(&mut part.roots);
        self.rows.extend(part.rows);
        if self.blocks.is_empty() {
            (self.new, self.blocks) = (part.new, part.blocks);
        } else {
            self.new.extend(part.new);
            self.blocks.append(&mut part.blocks);
        }
        self.ops.append(&mut part.ops);
        Ok(part.commit)
    }

    fn fill(&self, part: &mut Part, batch: Batch) -> Result<(), CommitError> {
        if let Some(reclaim) = batch.reclaim {
            return self.reclaim(part, reclaim);
        }
        let mut young = self.shared.young.lock();
        if let Some(young) = young.as_mut() {
            young.kept.extend(
                batch
                    .blocks
                    .iter()
                    .map(|block| *block.cid())
                    .chain(batch.required.iter().copied()),
            );
        }
        drop(young);
        let stored = self
            .shared
            .index
            .are_stored(batch.blocks.iter().map(Block::cid))
            .map_err(index_failed)?;
        for (block, is_stored) in batch.blocks.into_iter().zip(stored) {
            if !is_stored {
                self.put_block(part, block)?;
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
        if is_identity(&cid) || self.new.contains(&cid) || !part.new.insert(cid) {
            return Ok(());
        }
        if self.shared.quarantined.load(Ordering::Acquire) {
            let quarantine = keys::key(keys::QUARANTINE, &cid.to_bytes());
            if self.value(part, &quarantine)?.is_some() {
                part.delete(quarantine);
            }
        }
        part.commit.new_blocks += 1;
        part.commit.new_bytes += block.bytes().len() as u64;
        part.blocks.push(block);
        Ok(())
    }

    fn check_required(&self, part: &Part, required: &[Cid]) -> Result<(), CommitError> {
        let mut missing = Vec::new();
        for cid in required {
            if !is_identity(cid) && !self.is_stored(part, cid)? {
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
        if let Some(stored) = stored {
            if head.sequence < stored.sequence {
                return Err(CommitError::Stale {
                    name: Box::new(*name),
                    stored: stored.sequence,
                    offered: head.sequence,
                });
            }
            if head.sequence == stored.sequence {
                if head.value != stored.value {
                    part.put(keys::evidence(name, head.sequence), head.record.to_vec());
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
        part.put(key, head.to_bytes());
        Ok(())
    }

    fn change(&self, part: &mut Part, change: Change) -> Result<(), CommitError> {
        match change {
            Change::Put(key, value) => part.put(key, value),
            Change::Delete(key) => part.delete(key),
            Change::Pin(key, root) => {
                let bytes = root.to_bytes();
                if self.value(part, &key)?.as_ref() != Some(&bytes) {
                    part.roots.push(root);
                    part.put(key, bytes);
                }
            }
            Change::Unpin(key) => part.delete(key),
            Change::Enqueue {
                queue,
                key,
                due,
                payload,
            } => self.enqueue(part, queue, &key, due, payload)?,
            Change::Dequeue { queue, key, due } => {
                if self.due(part, queue, &key)? == Some(due) {
                    part.delete(keys::queue_row(queue, due, &key));
                    part.delete(keys::queue_key(queue, &key));
                }
            }
        }
        Ok(())
    }

    fn enqueue(
        &self,
        part: &mut Part,
        queue: Queue,
        key: &[u8],
        due: Millis,
        payload: Vec<u8>,
    ) -> Result<(), CommitError> {
        if let Some(old) = self.due(part, queue, key)? {
            part.delete(keys::queue_row(queue, old, key));
        }
        part.put(keys::queue_row(queue, due, key), payload);
        part.put(keys::queue_key(queue, key), due.0.to_le_bytes().to_vec());
        Ok(())
    }

    fn reclaim(&self, part: &mut Part, reclaim: Reclaim) -> Result<(), CommitError> {
        match reclaim {
            Reclaim::Forget {
                cids,
                generation,
                marked,
            } => {
                let young = self.shared.young.lock();
                // Another one, or none: that collection has ended, and nobody noted for it what must stay.
                let is_as_planned = young.as_ref().is_some_and(|young| {
                    young.generation == generation
                        && young.roots.len() == marked
                        && !cids.iter().any(|cid| young.kept.contains(cid))
                });
                if !is_as_planned {
                    return Err(CommitError::PinsChanged);
                }
                part.commit.reclaimed_blocks += cids.len() as u64;
                part.ops
                    .extend(cids.iter().map(|cid| Op::Forget(cid.to_bytes())));
            }
            Reclaim::Move(blocks) => {
                for (location, block) in blocks {
                    if self.location(block.cid())? == Some(location) {
                        part.blocks.push(block);
                        part.commit.reclaimed_blocks += 1;
                    }
                }
            }
            Reclaim::Quarantine {
                cid,
                at,
                reason,
                now,
            } => {
                if self.location(&cid)? == Some(at) {
                    self.shared.quarantined.store(true, Ordering::Release);
                    let bytes = cid.to_bytes();
                    part.ops.push(Op::Forget(bytes.clone()));
                    let mut row = now.0.to_le_bytes().to_vec();
                    row.extend_from_slice(reason.as_bytes());
                    part.put(keys::key(keys::QUARANTINE, &bytes), row);
                    self.enqueue(part, crate::REFETCH, &bytes, now, Vec::new())?;
                    part.commit.reclaimed_blocks += 1;
                }
            }
        }
        Ok(())
    }

    fn is_stored(&self, part: &Part, cid: &Cid) -> Result<bool, CommitError> {
        Ok(part.new.contains(cid) || self.new.contains(cid) || self.location(cid)?.is_some())
    }

    fn location(&self, cid: &Cid) -> Result<Option<Location>, CommitError> {
        self.shared.index.location(cid).map_err(index_failed)
    }

    fn due(&self, part: &Part, queue: Queue, key: &[u8]) -> Result<Option<Millis>, CommitError> {
        let row = self.value(part, &keys::queue_key(queue, key))?;
        Ok(row
            .and_then(|row| row.try_into().ok())
            .map(|due| Millis(u64::from_le_bytes(due))))
    }

    fn value(&self, part: &Part, key: &[u8]) -> Result<Option<Vec<u8>>, CommitError> {
        if let Some(row) = part.rows.get(key).or_else(|| self.rows.get(key)) {
            return Ok(row.clone());
        }
        self.shared.index.kv.value(key).map_err(index_failed)
    }
}

fn index_failed(error: KvError) -> CommitError {
    CommitError::Index(Arc::new(error))
}
