//! The store: one folder, opened once.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use perennis_shared::cid::{Block, Cid, VerifyError, is_identity};
use perennis_shared::ipns::Name;
use perennis_shared::time::Millis;

use crate::batch::{Batch, Commit, CommitError, Reclaim};
use crate::commit::{Committer, Reserve, Shared, Work};
use crate::disk::{Disk, DiskFile, Real};
use crate::format;
use crate::index::{Index, SegmentUse};
use crate::keys::{self, Queue};
use crate::kv::{Kv, KvError, Rocks, RocksOptions};
use crate::log::Log;
use crate::rows::{HeadRow, QuarantineRow, QueueRow};
use crate::segment::{Location, Segment, SegmentNumber};

/// How a store is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// Space of a segment, in bytes: 4 to 16 MiB outside tests.
    pub segment_bytes: u64,
    /// Space kept for garbage collection on a full disk, in bytes.
    pub reserve_bytes: u64,
    /// The index is flushed after this many logged bytes; it bounds the replay after a crash.
    pub flush_bytes: u64,
    /// Memory of the index.
    pub index: RocksOptions,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 16 << 20,
            reserve_bytes: 64 << 20,
            flush_bytes: 128 << 20,
            index: RocksOptions::default(),
        }
    }
}

/// Why a store cannot be opened.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("{} is in use by another process", dir.display())]
    Locked {
        /// The folder.
        dir: PathBuf,
    },
    /// A later release wrote it.
    #[error("{} has format {found}; this release reads up to {known}", dir.display())]
    NewerFormat {
        /// The folder.
        dir: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format this release knows.
        known: u32,
    },
    /// The file that names the format is not one of ours.
    #[error("{} does not name a store's format", path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
    },
    /// The folder cannot be made or written to.
    #[error("{} cannot be written to", dir.display())]
    NotWritable {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The index cannot be opened.
    #[error("the index in {} cannot be opened", dir.display())]
    Index {
        /// The folder of the store.
        dir: PathBuf,
        /// What it said.
        source: KvError,
    },
    /// The segments cannot be read.
    #[error("the segments in {} cannot be read", dir.display())]
    Segments {
        /// The folder of the store.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

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

/// Whether the store takes writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreState {
    /// It does.
    Writable,
    /// The disk is full: it serves reads, and garbage collection runs.
    Full,
    /// The index failed: it serves reads and must be opened again.
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
    /// Groups that were acknowledged once and were found damaged at the last start.
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
    files: Mutex<HashMap<SegmentNumber, Arc<dyn DiskFile>>>,
    work: Sender<Work>,
    committer: Mutex<Option<JoinHandle<()>>>,
    lost_groups: u64,
    _lock: Option<File>,
}

impl Store {
    /// Opens the store in a folder, making it when it is not there, and replays what a crash left in the log.
    ///
    /// # Errors
    /// Another process has it open, a later release wrote it, or the disk refuses.
    pub fn open(dir: &Path, options: &StoreOptions) -> Result<Self, OpenError> {
        let not_writable = |source| OpenError::NotWritable {
            dir: dir.to_path_buf(),
            source,
        };
        std::fs::create_dir_all(segments(dir)).map_err(not_writable)?;
        let lock = format::lock(dir)?;
        format::check(dir)?;
        let index =
            Rocks::open(&dir.join("index"), &options.index).map_err(|source| OpenError::Index {
                dir: dir.to_path_buf(),
                source,
            })?;
        Self::open_on(dir, options, Arc::new(Real), Arc::new(index), Some(lock))
    }

    /// Opens a store on any disk and any index.
    ///
    /// # Errors
    /// The disk or the index refuses.
    pub(crate) fn open_on(
        dir: &Path,
        options: &StoreOptions,
        disk: Arc<dyn Disk>,
        kv: Arc<dyn Kv>,
        lock: Option<File>,
    ) -> Result<Self, OpenError> {
        let index_failed = |source| OpenError::Index {
            dir: dir.to_path_buf(),
            source,
        };
        let segments_failed = |source| OpenError::Segments {
            dir: dir.to_path_buf(),
            source,
        };
        disk.create_dir(&segments(dir)).map_err(segments_failed)?;
        let index = Index::open(kv).map_err(index_failed)?;
        let applied = index.applied().map_err(index_failed)?;
        let (log, replay) = Log::open(
            Arc::clone(&disk),
            &segments(dir),
            options.segment_bytes,
            applied,
        )
        .map_err(segments_failed)?;
        let mut group = applied.group;
        for replayed in &replay.groups {
            index.apply(replayed, false).map_err(index_failed)?;
            group = replayed.end.group;
        }
        let reserve = Reserve {
            disk: Arc::clone(&disk),
            dir: dir.to_path_buf(),
            bytes: options.reserve_bytes,
        };
        let shared = Arc::new(Shared {
            index,
            full: AtomicBool::new(reserve.take().is_err()),
            failed: AtomicBool::new(false),
            pins: AtomicU64::new(0),
            young: Mutex::new(None),
            groups: AtomicU64::new(group),
            batches: AtomicU64::new(0),
        });
        let (work, received) = mpsc::channel();
        let committer = Committer {
            log,
            shared: Arc::clone(&shared),
            reserve,
            flush_bytes: options.flush_bytes,
            logged_bytes: 0,
        };
        let committer = thread::Builder::new()
            .name("store-commit".into())
            .spawn(move || committer.run(&received))
            .map_err(segments_failed)?;
        Ok(Self {
            inner: Arc::new(Inner {
                dir: dir.to_path_buf(),
                disk,
                shared,
                files: Mutex::new(HashMap::new()),
                work,
                committer: Mutex::new(Some(committer)),
                lost_groups: replay.lost_groups,
                _lock: lock,
            }),
        })
    }

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
            let Some(location) = self.inner.shared.index.location(cid)? else {
                return Ok(None);
            };
            // A block that compaction moved while it was read is read again where it is now.
            let last_try = seen == Some(location);
            match self.inner.read(location) {
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
                    // A file that ends too early or is gone will not come back; other failures may pass.
                    if matches!(
                        source.kind(),
                        io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound
                    ) {
                        self.set_aside(cid, location, &source);
                    }
                    return Err(ReadError::Disk {
                        cid: Box::new(*cid),
                        source,
                    });
                }
                Err(_) => self.inner.forget_file(location.segment),
            }
            seen = Some(location);
        }
    }

    /// Whether a block is stored. Its bytes are not read.
    ///
    /// # Errors
    /// The index fails.
    pub fn has(&self, cid: &Cid) -> Result<bool, ReadError> {
        Ok(is_identity(cid) || self.inner.shared.index.location(cid)?.is_some())
    }

    /// How many bytes a stored block has.
    ///
    /// # Errors
    /// The index fails.
    pub fn block_bytes(&self, cid: &Cid) -> Result<Option<u32>, ReadError> {
        Ok(self
            .inner
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
        let row = self.inner.shared.index.kv.value(&keys::head(name))?;
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
        let rows = self.inner.shared.index.kv.scan(&from, &to, usize::MAX)?;
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
            .inner
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
        self.queue_rows(queue, Millis(now.0.saturating_add(1)), limit)
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
            .inner
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
        let (from, to) = ([keys::QUEUE_KEY, queue.0], [keys::QUEUE_KEY, queue.0 + 1]);
        Ok(self
            .inner
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
            .inner
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
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, ReadError> {
        let from = after.map_or_else(
            || keys::key(keys::META, prefix),
            |after| keys::after(keys::key(keys::META, after)),
        );
        let rows = self.inner.shared.index.kv.scan(
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

    /// Applies a batch and waits until it is durable.
    ///
    /// # Errors
    /// Nothing of the batch is seen then; the error says why.
    pub fn commit(&self, batch: Batch) -> Result<Commit, CommitError> {
        let (answer, answered) = mpsc::channel();
        self.submit(batch, move |result| drop(answer.send(result)));
        answered.recv().unwrap_or(Err(CommitError::Closed))
    }

    /// Applies a batch and calls back when it is durable or refused. The call is made on the committer's thread and
    /// holds up other commits: it should pass the answer on and return.
    pub fn submit(
        &self,
        batch: Batch,
        answer: impl FnOnce(Result<Commit, CommitError>) + Send + 'static,
    ) {
        if let Err(mpsc::SendError(Work::Commit(_, answer))) =
            self.inner.work.send(Work::Commit(batch, Box::new(answer)))
        {
            answer(Err(CommitError::Closed));
        }
    }

    /// Counts.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        let shared = &self.inner.shared;
        let totals = shared.index.totals();
        let segments = shared.index.segments();
        StoreStats {
            blocks: totals.blocks,
            block_bytes: totals.bytes,
            segments: segments.len() as u64,
            segment_bytes: segments.values().map(|segment| segment.used_bytes).sum(),
            batches: shared.batches.load(Ordering::Relaxed),
            group: shared.groups.load(Ordering::Acquire),
            lost_groups: self.inner.lost_groups,
            state: self.state(),
        }
    }

    /// Whether it takes writes.
    #[must_use]
    pub fn state(&self) -> StoreState {
        let shared = &self.inner.shared;
        if shared.failed.load(Ordering::Acquire) {
            StoreState::Failed
        } else if shared.full.load(Ordering::Acquire) {
            StoreState::Full
        } else {
            StoreState::Writable
        }
    }

    /// The folder it is in.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    fn queue_rows(
        &self,
        queue: Queue,
        before: Millis,
        limit: usize,
    ) -> Result<Vec<QueueRow>, ReadError> {
        let from = keys::queue_row(queue, Millis(0), &[]);
        let to = keys::queue_row(queue, before, &[]);
        let rows = self.inner.shared.index.kv.scan(&from, &to, limit)?;
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

    fn rows(
        &self,
        table: u8,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Vec<crate::kv::Row>, ReadError> {
        let from = after.map_or_else(|| vec![table], keys::after);
        Ok(self
            .inner
            .shared
            .index
            .kv
            .scan(&from, &keys::end_of(table), limit)?)
    }

    /// Has a damaged block set aside, without waiting: the reader has its error.
    pub(crate) fn set_aside(&self, cid: &Cid, at: Location, reason: &dyn std::error::Error) {
        let quarantine = Reclaim::Quarantine {
            cid: *cid,
            at,
            reason: reason.to_string(),
            now: wall_clock(),
        };
        self.submit(Batch::reclaiming(quarantine), |_| {});
    }
}

impl Inner {
    pub(crate) fn segments_dir(&self) -> PathBuf {
        segments(&self.dir)
    }

    /// Asks the committer and waits for its answer.
    pub(crate) fn ask(
        &self,
        work: impl FnOnce(Sender<Result<(), CommitError>>) -> Work,
    ) -> Result<(), CommitError> {
        let (answer, answered) = mpsc::channel();
        self.work
            .send(work(answer))
            .map_err(|_| CommitError::Closed)?;
        answered.recv().unwrap_or(Err(CommitError::Closed))
    }

    pub(crate) fn segment_uses(&self) -> std::collections::BTreeMap<SegmentNumber, SegmentUse> {
        self.shared.index.segments()
    }

    pub(crate) fn read(&self, location: Location) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; location.length as usize];
        self.file(location.segment)?
            .read_at(&mut bytes, u64::from(location.offset))?;
        Ok(bytes)
    }

    pub(crate) fn forget_file(&self, number: SegmentNumber) {
        self.files.lock().remove(&number);
    }

    fn file(&self, number: SegmentNumber) -> io::Result<Arc<dyn DiskFile>> {
        if let Some(file) = self.files.lock().get(&number) {
            return Ok(Arc::clone(file));
        }
        let file = Segment::open(self.disk.as_ref(), &self.segments_dir(), number)?.file;
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
        // The committer may be gone already; then there is nothing to wait for.
        let _ = self.work.send(Work::Close);
        if let Some(committer) = self.committer.get_mut().take() {
            // An answer of the committer may hold the last handle: its thread cannot wait for itself.
            if committer.thread().id() != thread::current().id() {
                let _ = committer.join();
            }
        }
    }
}

fn segments(dir: &Path) -> PathBuf {
    dir.join("segments")
}

fn read_root(bytes: &[u8]) -> Option<Cid> {
    perennis_shared::cid::parse_cid_bytes(bytes).ok()
}

/// The time for the rows the store writes by itself.
fn wall_clock() -> Millis {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
