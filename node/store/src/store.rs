//! The store while it is open: what it consists of, the way to its committer, and its files of blocks.
//!
//! It is put together by [`crate::open`], which stands above: nothing here knows how a start finds its index and its log. What
//! it does for callers stands above as well, in the rooms that read, look for damage, do upkeep and copy; they add to [`Store`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;
use perennis_shared::cid::Multihash;

use crate::batch::{Batch, Commit, CommitError, Reclaim};
use crate::checkpoint::Schedule;
use crate::clock::wall_clock;
use crate::commit::{Committer, Leader, Work};
use crate::disk::{Disk, DiskFile};
use crate::layout::segments;
use crate::location::{FileNumber, Location};
use crate::pack::Packs;
use crate::rows::{FileRow, Loss, LossKind};
use crate::shared::Shared;

mod upkeep;

pub(crate) use upkeep::Upkeep;

/// Whether the store takes writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreState {
    /// It does.
    Writable,
    /// The disk is full: it serves reads, and garbage collection runs.
    Full,
    /// The index failed: it serves reads. One that is damaged must be opened again; any other is asked again by what is committed,
    /// after waits that grow to a minute, and takes writes again when its trouble has passed.
    Failed,
}

/// Counts of a store, for people and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreStats {
    /// Blocks stored.
    pub blocks: u64,
    /// Their bytes.
    pub block_bytes: u64,
    /// Segment files.
    pub segments: u64,
    /// Bytes written to segments that are still there, dead ones included.
    pub segment_bytes: u64,
    /// Batches answered since the store was opened.
    pub batches: u64,
    /// The newest durable group.
    pub group: u64,
    /// Groups of the log that were acknowledged once and were found damaged or missing at the last start.
    pub lost_groups: u64,
    /// Whether it takes writes.
    pub state: StoreState,
}

/// A durable store; clones are handles on the same one, which closes with the last of them.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) dir: PathBuf,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) shared: Arc<Shared>,
    files: Mutex<HashMap<FileNumber, Arc<dyn DiskFile>>>,
    leader: Arc<Leader>,
    committer: Mutex<Option<JoinHandle<()>>>,
    pub(crate) segment_bytes: u64,
    /// Held by who moves, removes or links files of blocks.
    pub(crate) upkeep: Mutex<Upkeep>,
    pub(crate) checkpointing: Schedule,
    /// The segment whose frames the scrub has looked at last, while it looks at frames.
    pub(crate) scrubbed_file: Mutex<Option<FileNumber>>,
    /// Segments with damaged frames, which compaction is to replace whatever is alive in them.
    pub(crate) damaged_files: Mutex<BTreeSet<FileNumber>>,
    /// What the last start found.
    found: Vec<Loss>,
    /// Why the last start made the index anew.
    rebuilt: Option<String>,
    _lock: Option<File>,
}

/// What a store that is being opened is put together from.
pub(crate) struct Parts {
    /// Its folder.
    pub(crate) dir: PathBuf,
    pub(crate) disk: Arc<dyn Disk>,
    /// What commits, with the log and the index.
    pub(crate) committer: Committer,
    pub(crate) segment_bytes: u64,
    pub(crate) checkpointing: Schedule,
    /// What the start found.
    pub(crate) found: Vec<Loss>,
    /// Why the start made the index anew.
    pub(crate) rebuilt: Option<String>,
    /// Held for as long as the store is open.
    pub(crate) lock: Option<File>,
}

impl Store {
    /// Starts the thread that commits, of a store whose index and log fit together.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn begin(parts: Parts) -> io::Result<Self> {
        let shared = Arc::clone(&parts.committer.shared);
        let leader = Arc::new(Leader::new(parts.committer));
        let thread = Arc::clone(&leader);
        let committer = thread::Builder::new()
            .name("store-commit".into())
            .spawn(move || thread.run())?;
        Ok(Self {
            inner: Arc::new(Inner {
                dir: parts.dir,
                disk: parts.disk,
                shared,
                files: Mutex::new(HashMap::new()),
                leader,
                committer: Mutex::new(Some(committer)),
                segment_bytes: parts.segment_bytes,
                upkeep: Mutex::default(),
                checkpointing: parts.checkpointing,
                scrubbed_file: Mutex::default(),
                damaged_files: Mutex::default(),
                found: parts.found,
                rebuilt: parts.rebuilt,
                _lock: parts.lock,
            }),
        })
    }

    /// Notes what was found lost before the index was opened. Nobody else has a handle on the store yet.
    pub(crate) fn found_before(&mut self, mut losses: Vec<Loss>) {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            losses.append(&mut inner.found);
            inner.found = losses;
        }
    }

    /// Applies a batch and waits until it is durable. Where nothing else is being written, the calling thread does it.
    ///
    /// # Errors
    /// Nothing of the batch is seen then; the error says why.
    pub fn commit(&self, batch: Batch) -> Result<Commit, CommitError> {
        let (answer, answered) = mpsc::channel();
        let reply = move |result| drop(answer.send(result));
        if self
            .inner
            .leader
            .lead(Work::Commit(Box::new(batch), Box::new(reply)))
            .is_err()
        {
            return Err(CommitError::Closed);
        }
        answered.recv().unwrap_or(Err(CommitError::Closed))
    }

    /// Applies a batch and calls back when it is durable or refused. The call is made by the thread that commits and
    /// holds up other commits: it should pass the answer on and return.
    pub fn submit(
        &self,
        batch: Batch,
        answer: impl FnOnce(Result<Commit, CommitError>) + Send + 'static,
    ) {
        if let Err(Work::Commit(_, answer)) = self
            .inner
            .leader
            .leave(Work::Commit(Box::new(batch), Box::new(answer)))
        {
            answer(Err(CommitError::Closed));
        }
    }

    /// Counts.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        let shared = &self.inner.shared;
        let totals = shared.index.totals();
        let files = shared.index.files();
        let lost =
            self.inner.found.iter().filter(|loss| {
                matches!(loss.kind, LossKind::DamagedGroup | LossKind::MissingGroups)
            });
        StoreStats {
            blocks: totals.blocks,
            block_bytes: totals.bytes,
            segments: files.len() as u64,
            segment_bytes: files.values().map(|file| file.used_bytes).sum(),
            batches: shared.batches.load(Ordering::Relaxed),
            group: shared.groups.load(Ordering::Acquire),
            lost_groups: lost.count() as u64,
            state: self.state(),
        }
    }

    /// Whether it takes writes.
    #[must_use]
    pub fn state(&self) -> StoreState {
        let shared = &self.inner.shared;
        if shared.failed.load(Ordering::Acquire) || shared.stuck.load(Ordering::Acquire) {
            StoreState::Failed
        } else if shared.full.load(Ordering::Acquire) {
            StoreState::Full
        } else {
            StoreState::Writable
        }
    }

    /// What the last start found damaged, missing or cut off: also what was never acknowledged and is nobody's loss.
    #[must_use]
    pub fn found_at_start(&self) -> &[Loss] {
        &self.inner.found
    }

    /// Why the index was made anew at the last start; none where it was not.
    #[must_use]
    pub fn rebuilt(&self) -> Option<&str> {
        self.inner.rebuilt.as_deref()
    }

    /// The folder it is in.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// Has a damaged block set aside, without waiting: the reader has its error.
    pub(crate) fn set_aside(&self, hash: &Multihash, at: Location, reason: &dyn std::error::Error) {
        self.submit(quarantine(hash, at, reason), |_| {});
    }
}

impl Store {
    /// Has a row set aside that cannot be read, without waiting.
    pub(crate) fn set_row_aside(&self, key: Vec<u8>, value: Vec<u8>) {
        let now = wall_clock();
        let batch = Batch::reclaiming(Reclaim::SetAside {
            key,
            value,
            instead: None,
            now,
        });
        self.submit(batch, |_| {});
    }

    /// Forgets the losses that were written down, and the rows that were set aside: somebody has seen them. Rows of pins, heads and
    /// blocks that were set aside stay until they are mended, since it is not known what they kept.
    ///
    /// # Errors
    /// The commit fails.
    pub fn dismiss_losses(&self) -> Result<(), CommitError> {
        self.commit(Batch::reclaiming(Reclaim::DismissLosses))
            .map(drop)
    }
}

impl Inner {
    pub(crate) fn segments_dir(&self) -> PathBuf {
        segments(&self.dir)
    }

    /// Asks the committer and waits for its answer.
    pub(crate) fn ask<T>(
        &self,
        work: impl FnOnce(Sender<Result<T, CommitError>>) -> Work,
    ) -> Result<T, CommitError> {
        let (answer, answered) = mpsc::channel();
        self.leader
            .leave(work(answer))
            .map_err(|_| CommitError::Closed)?;
        answered.recv().unwrap_or(Err(CommitError::Closed))
    }

    /// The folder of packs.
    pub(crate) fn packs(&self) -> &Packs {
        &self.shared.index.packs
    }

    /// What is known of each file that holds blocks.
    pub(crate) fn file_rows(&self) -> BTreeMap<FileNumber, FileRow> {
        self.shared.index.files()
    }

    pub(crate) fn read(&self, location: Location) -> io::Result<Vec<u8>> {
        self.file(location.file)?
            .read_vec_at(location.length as usize, u64::from(location.offset))
    }

    /// Reads a part of a block's bytes.
    pub(crate) fn read_part(
        &self,
        location: Location,
        from: usize,
        length: usize,
    ) -> io::Result<Vec<u8>> {
        let offset = u64::from(location.offset) + from as u64;
        self.file(location.file)?.read_vec_at(length, offset)
    }

    /// Reads a block's bytes from where they are durable, past what the system holds in memory.
    pub(crate) fn read_uncached(&self, location: Location) -> io::Result<Vec<u8>> {
        self.file(location.file)?.forget_cache()?;
        self.read(location)
    }

    /// The path of a file of blocks.
    pub(crate) fn path(&self, number: FileNumber) -> PathBuf {
        match self.shared.index.file(number) {
            Some(row) => row.path(number, &self.dir),
            None => number.segment_path(&self.segments_dir()),
        }
    }

    pub(crate) fn forget_file(&self, number: FileNumber) {
        self.files.lock().remove(&number);
    }

    fn file(&self, number: FileNumber) -> io::Result<Arc<dyn DiskFile>> {
        if let Some(file) = self.files.lock().get(&number) {
            return Ok(Arc::clone(file));
        }
        // The header is not looked at: what is read is checked against its hash, and a header that is damaged shall
        // not take its blocks with it.
        let file = self.disk.open(&self.path(number))?;
        let mut files = self.files.lock();
        if files.len() >= OPEN_FILES {
            // Any will do: a file is opened again in microseconds.
            let any = files.keys().next().copied();
            any.and_then(|any| files.remove(&any));
        }
        files.insert(number, Arc::clone(&file));
        Ok(file)
    }
}

/// Segments held open for reading.
const OPEN_FILES: usize = 512;

impl Drop for Inner {
    fn drop(&mut self) {
        self.leader.close();
        if let Some(committer) = self.committer.get_mut().take() {
            // An answer of the committer may hold the last handle: its thread cannot wait for itself.
            if committer.thread().id() != thread::current().id() {
                let _ = committer.join();
            }
        }
    }
}

/// The batch that sets a damaged block aside.
pub(crate) fn quarantine(hash: &Multihash, at: Location, reason: &dyn std::error::Error) -> Batch {
    Batch::reclaiming(Reclaim::Quarantine {
        hash: *hash,
        at,
        reason: reason.to_string(),
        now: wall_clock(),
    })
}
