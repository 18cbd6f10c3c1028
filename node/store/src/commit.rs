//! The one write path: takes batches in turn, checks them, and makes many durable with one sync.
//!
//! A group is what was waiting when the last one ended, up to [`GROUP_BYTES`]. Each batch in it is checked against
//! the index and against the batches before it in the group; one that is refused leaves no trace (but the evidence
//! of an equivocation). Then the group is appended to the log, applied to the index, and only then answered.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use crate::batch::{Batch, Commit, CommitError};
use crate::clock::wall_clock;
use crate::disk::is_full;
use crate::group::Op;
use crate::location::FileNumber;
use crate::log::{self, Log, LogBatch, Position};
use crate::reserve::Reserve;
use crate::rows::{Loss, LossKind, found_at};
use crate::shared::{Shared, Young};

mod leader;
mod pending;

pub(crate) use leader::Leader;
use pending::Pending;

/// Most bytes of one group, unless a single batch is larger.
const GROUP_BYTES: usize = 8 << 20;
/// Most batches of one group.
const GROUP_BATCHES: usize = 4096;

/// How long an index that failed is left alone before it is asked again: the first time, and at most.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The answer to a batch; called once, by who commits it.
pub(crate) type Reply = Box<dyn FnOnce(Result<Commit, CommitError>) + Send>;

/// What the committer is asked to do.
pub(crate) enum Work {
    Commit(Box<Batch>, Reply),
    /// Ends the open segment and flushes the index, so that all before this is in files that stay as they are.
    Seal(Sender<Result<(), CommitError>>),
    /// Copies the index, with the log sealed, so that the copy and the segments fit together. Answers with the
    /// number of the next segment, as those before it belong to the copy, and with where the log ends.
    Copy(PathBuf, Sender<Result<(FileNumber, Position), CommitError>>),
    /// Takes a number for a pack.
    Number(Sender<Result<FileNumber, CommitError>>),
    /// Begins to note what is put, required and pinned, for a collection of garbage.
    /// Answers with the number of the collection.
    Watch(Sender<Result<u64, CommitError>>),
}

/// An index that did not take what it should.
pub(crate) struct Stuck {
    error: CommitError,
    /// What the log has and the index has not: the group, and whether it is fresh. No group follows before it is applied.
    behind: Option<(log::Group, bool)>,
    /// When it is asked again; the first time with the next commit.
    next: Instant,
    wait: Duration,
}

/// What committing needs; one thread at a time has it.
pub(crate) struct Committer {
    pub(crate) log: Log,
    pub(crate) shared: Arc<Shared>,
    pub(crate) reserve: Reserve,
    /// The index is flushed when this much was logged since it last was.
    pub(crate) flush_bytes: u64,
    pub(crate) logged_bytes: u64,
    /// Whether the index has it on the disk that something was acknowledged.
    pub(crate) is_begun: bool,
    /// Collections of garbage that were begun.
    pub(crate) collections: u64,
    /// What the last start found out and is still to be written: no batch is looked at before.
    pub(crate) owed: Vec<Op>,
    pub(crate) stuck: Option<Stuck>,
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
            Group::Other(Work::Number(reply)) => {
                let number = self.log.take_number();
                drop(reply.send(number.map_err(|error| CommitError::Disk(Arc::new(error)))));
            }
            Group::Other(Work::Watch(reply)) => drop(reply.send(self.watch())),
        }
    }

    /// From now on is noted what a collection of garbage has to keep.
    fn watch(&mut self) -> Result<u64, CommitError> {
        // A group that the index has not yet may pin what looks dead in it, and nobody would note that when it is applied.
        self.catch_up()?;
        self.collections += 1;
        *self.shared.young.lock() = Some(Young {
            generation: self.collections,
            ..Young::default()
        });
        Ok(self.collections)
    }

    /// Leaves the files as they stay.
    pub(crate) fn end(&mut self) {
        // A failure here costs a longer replay at the next start, nothing else.
        let _ = self.seal();
    }

    pub(crate) fn commit(&mut self, mut batches: Vec<(Batch, Reply)>, reclaiming: bool) {
        if self.shared.failed.load(Ordering::Acquire) {
            return answer_all(batches, &CommitError::Closed);
        }
        if let Err(error) = self.catch_up() {
            return answer_all(batches, &error);
        }
        let lets_go = |(batch, _): &(Batch, Reply)| batch.only_lets_go();
        let mut only_lets_go = batches.iter().all(lets_go);
        if self.shared.full.load(Ordering::Acquire)
            && !reclaiming
            && !only_lets_go
            && !self.is_space_back()
        {
            let (rest, refused): (Vec<_>, Vec<_>) = batches.into_iter().partition(lets_go);
            answer_all(refused, &CommitError::Full);
            if rest.is_empty() {
                return;
            }
            batches = rest;
            only_lets_go = true;
        }
        // What comes is checked against the index, which does not show yet what is still to be written.
        if let Err(error) = self.settle() {
            return answer_all(batches, &error);
        }
        let mut group = Pending::new(&self.shared);
        let mut answers = Vec::with_capacity(batches.len());
        for (batch, reply) in batches {
            answers.push((group.add(batch), reply));
        }
        let (batches, roots) = group.finish();
        let number = if batches.is_empty() {
            Ok(self.shared.groups.load(Ordering::Acquire))
        } else {
            // Nothing can be collected before it is let go of: what the reserve gives up is for this too.
            let again = only_lets_go.then(|| batches.clone());
            match (self.write(batches, !reclaiming), again) {
                (Err(CommitError::Full), Some(batches)) => self.write(batches, !reclaiming),
                (written, _) => written,
            }
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

    pub(crate) fn write(
        &mut self,
        batches: Vec<LogBatch>,
        fresh: bool,
    ) -> Result<u64, CommitError> {
        if let Some(stuck) = &self.stuck {
            return Err(stuck.error.clone());
        }
        let bytes: u64 = batches.iter().map(LogBatch::bytes).sum();
        let group = self
            .log
            .append(batches)
            .map_err(|error| self.log_failed(error))?;
        let number = group.end.group;
        self.shared.logged_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.logged_bytes += bytes + 4096;
        let index = &self.shared.index;
        let begun = if self.is_begun {
            Ok(())
        } else {
            // Once for a store: the end of the log is missed from now on, whatever becomes of its files.
            index.note_begun().and_then(|()| index.kv.flush(true))
        };
        self.is_begun |= begun.is_ok();
        if let Err(error) = begun.and_then(|()| index.apply(&group, fresh)) {
            let error = CommitError::Index(Arc::new(error));
            // Who began to collect garbage was not told of what this group pins.
            *self.shared.young.lock() = None;
            self.get_stuck(error.clone(), Some((group, fresh)));
            return Err(error);
        }
        self.shared.groups.store(number, Ordering::Release);
        if self.logged_bytes >= self.flush_bytes {
            self.logged_bytes = 0;
            if let Err(error) = self.shared.index.kv.flush(false) {
                // This group is durable and seen; the next ones are refused until it is flushed.
                self.get_stuck(CommitError::Index(Arc::new(error)), None);
            }
        }
        Ok(number)
    }

    /// The index is asked again with one of the next commits: what failed may pass, as a full disk does. Until then nothing is
    /// written, so that the log is never further ahead than by a group and what an engine on the disk is given behind; a replay would bring the two
    /// together as well.
    fn get_stuck(&mut self, error: CommitError, behind: Option<(log::Group, bool)>) {
        self.stuck = Some(Stuck {
            error,
            behind,
            next: Instant::now(),
            wait: FIRST_WAIT,
        });
        self.shared.stuck.store(true, Ordering::Release);
        // Where the disk is full, the index needs space to go on, be it at the next start. It is taken back with the next commit
        // that finds it there.
        self.shared.full.store(true, Ordering::Release);
        self.reserve.release();
    }

    /// Brings the index up to the log where it has failed before and it is time to ask it again.
    fn catch_up(&mut self) -> Result<(), CommitError> {
        let Some(mut stuck) = self.stuck.take() else {
            return Ok(());
        };
        let index = &self.shared.index;
        let tried = if Instant::now() < stuck.next {
            Err(stuck.error.clone())
        } else {
            let flushed = index.kv.flush(true);
            let applied = flushed.and_then(|()| match &stuck.behind {
                Some((group, fresh)) => index.apply(group, *fresh),
                None => Ok(()),
            });
            applied.map_err(|error| {
                stuck.error = CommitError::Index(Arc::new(error));
                stuck.next = Instant::now() + stuck.wait;
                stuck.wait = (stuck.wait * 2).min(LONGEST_WAIT);
                stuck.error.clone()
            })
        };
        if tried.is_err() {
            self.stuck = Some(stuck);
            return tried;
        }
        if let Some((group, _)) = stuck.behind {
            let groups = &self.shared.groups;
            groups.store(group.end.group, Ordering::Release);
        }
        self.logged_bytes = 0;
        let index = &self.shared.index;
        let losses = found_at(wall_clock(), &index.take_losses());
        // Where they cannot be written down now, the next start comes across them.
        index.note_losses(losses, &mut self.owed);
        self.shared.stuck.store(false, Ordering::Release);
        Ok(())
    }

    /// Writes changes of the store's own.
    pub(crate) fn write_ops(&mut self, ops: Vec<Op>) -> Result<(), CommitError> {
        let batch = LogBatch {
            ops,
            ..LogBatch::default()
        };
        self.write(vec![batch], false).map(drop)
    }

    /// Writes what the last start found out, where that was not done yet.
    pub(crate) fn settle(&mut self) -> Result<(), CommitError> {
        if !self.owed.is_empty() {
            self.write_ops(self.owed.clone())?;
            self.owed.clear();
        }
        Ok(())
    }

    /// The log did not take a group. Where its segment was removed, that is a loss of what was acknowledged in it: the next group, in
    /// another segment, is written after that.
    fn log_failed(&mut self, error: io::Error) -> CommitError {
        if let Some(number) = self.log.take_removed() {
            let index = &self.shared.index;
            // The rows in it are in the index, and may be nowhere else now.
            let _ = index.kv.flush(true);
            let loss = Loss::new(LossKind::MissingFile, number, 0);
            let losses = found_at(wall_clock(), [&loss]);
            // Where it cannot be written down now, the next start misses the file.
            index.note_losses(losses, &mut self.owed);
        }
        self.disk_failed(error)
    }

    fn disk_failed(&self, error: io::Error) -> CommitError {
        if is_full(&error) {
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

    fn copy(&mut self, dir: &Path) -> Result<(FileNumber, Position), CommitError> {
        self.seal()?;
        let index = &self.shared.index;
        let copied = index.kv.copy_to(dir).and_then(|()| index.applied());
        let end = copied.map_err(|error| CommitError::Index(Arc::new(error)))?;
        Ok((self.log.next_file().unwrap_or(FileNumber(u32::MAX)), end))
    }
}

fn answer_all(batches: Vec<(Batch, Reply)>, error: &CommitError) {
    for (_, reply) in batches {
        reply(Err(error.clone()));
    }
}
