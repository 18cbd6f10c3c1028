//! A store in one file (redb), for native clients.
//!
//! One commit is one write transaction, synced before it returns: after a crash the file holds all of it
//! or none. The file belongs to one process at a time. Opening waits a moment for another to finish (two
//! commands in a row overlap easily) and then says that the file is in use.
//!
//! Tables: `blocks` (binary CID to content), `hashes` (multihash to the key in `blocks` under which its content is), `rows` (row name to what [`row`](super::row) makes of its value), `tally`
//! (how many rows there are), `meta` (`format`, for releases that know format 1 alone). What a flipped bit can
//! do to them, and what is mended by itself, `open` tells.

use std::{
    ops::Bound,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use perennis_rt as rt;
use perennis_shared::cid::{Block, Cid, VerifyError, parse_cid_bytes};
use redb::{
    AccessGuard, Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable,
    TableDefinition, WriteTransaction,
};

use super::{BlockStore, Changes, DamagedRow, RowsCheck, StoreError, row};

mod failure;
mod open;
mod tally;

use failure::{Failure, guarded};
use open::Opened;
use tally::Tally;

const BLOCKS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("blocks");
const HASHES: TableDefinition<&[u8], &[u8]> = TableDefinition::new("hashes");
/// Names are bytes here, since redb panics over text that is none any more.
const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");
const TALLY: TableDefinition<&[u8], &[u8]> = TableDefinition::new("tally");
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const FORMAT_ROW: &str = "format";
const ROWS_OF_FORMAT_1: TableDefinition<&str, &[u8]> = TableDefinition::new("state");

/// 1 kept rows without a checksum.
const FORMAT: u64 = 2;
/// Blocks for which another thread is worth beginning.
const BLOCKS_OF_A_THREAD: usize = 256;
/// Between two attempts to take a file that another process holds.
const LOCK_POLL: Duration = Duration::from_millis(20);

/// How a file is opened.
#[derive(Clone, Copy, Debug)]
pub struct DiskOptions {
    /// How long to wait for another process to let go of the file.
    pub lock_wait: Duration,
    /// Memory for cached pages, in bytes.
    pub cache_bytes: usize,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self {
            lock_wait: Duration::from_secs(5),
            cache_bytes: 16 << 20,
        }
    }
}

/// Blocks and rows in a file. Clones are handles to the same file, which is closed with the last of them.
#[derive(Clone)]
pub struct Disk {
    file: Arc<OpenFile>,
}

struct OpenFile {
    /// Taken when this is dropped.
    database: Option<Database>,
    path: PathBuf,
    /// Rows that were committed and are not there any more.
    missing: AtomicU64,
    /// Rows were damaged when the file was opened.
    has_damaged: AtomicBool,
    /// The file's structure was found damaged.
    is_broken: AtomicBool,
}

impl OpenFile {
    fn database(&self) -> &Database {
        let database = self.database.as_ref();
        database.expect("it is taken only when this is dropped")
    }

    /// The failure as a caller is told it. What fails after the structure was found damaged fails for that reason, whatever
    /// redb says then.
    fn told(&self, failure: Failure, action: &'static str) -> StoreError {
        match failure.at(&self.path, action) {
            StoreError::Backend { source, .. } if self.is_broken.load(Ordering::Relaxed) => {
                StoreError::Damaged {
                    place: self.path.display().to_string(),
                    source,
                }
            }
            error @ StoreError::Damaged { .. } => {
                self.is_broken.store(true, Ordering::Relaxed);
                error
            }
            error => error,
        }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        close(self.database.take());
    }
}

/// Closing writes, and a damaged file may make that panic.
fn close(database: Option<Database>) {
    let closed = guarded(|| {
        drop(database);
        Ok(())
    });
    if let Err(Failure::Damaged(error)) = closed {
        tracing::warn!(%error, "the store's file was not closed well");
    }
}

impl Disk {
    /// Opens the file, and makes it and its folders where they are missing.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process still holds it after `lock_wait`;
    /// [`StoreError::NewerFormat`], or [`StoreError::Open`] when it cannot be read, written or understood.
    pub async fn open(path: impl Into<PathBuf>, options: DiskOptions) -> Result<Self, StoreError> {
        let path = path.into();
        let give_up_at = rt::monotonic() + options.lock_wait;
        loop {
            let attempt = path.clone();
            let opened = in_background("open", move || open::open(&attempt, options)).await?;
            match opened {
                Err(StoreError::Locked { .. }) if rt::monotonic() < give_up_at => {
                    rt::sleep(LOCK_POLL).await;
                }
                Err(error) => return Err(error),
                Ok(Opened { database, doubt }) => {
                    let file = OpenFile {
                        database: Some(database),
                        path,
                        missing: doubt.missing.into(),
                        has_damaged: doubt.has_damaged.into(),
                        is_broken: AtomicBool::new(false),
                    };
                    return Ok(Self {
                        file: Arc::new(file),
                    });
                }
            }
        }
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    async fn run<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce(&OpenFile) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let file = Arc::clone(&self.file);
        in_background(action, move || {
            guarded(|| work(&file)).map_err(|failure| file.told(failure, action))
        })
        .await?
    }
}

impl BlockStore for Disk {
    async fn block(&self, cid: &Cid) -> Result<Option<Block>, StoreError> {
        Ok(self.blocks(&[*cid]).await?.pop().flatten())
    }

    async fn blocks(&self, cids: &[Cid]) -> Result<Vec<Option<Block>>, StoreError> {
        let wanted = cids.to_vec();
        let found = self
            .run("read blocks", move |file| {
                let blocks = StoredBlocks::of(&file.database().begin_read()?)?;
                blocks.read_all(&wanted)
            })
            .await?;
        let damaged = |(cid, source)| StoreError::Corrupt { cid, source };
        let found = found
            .into_iter()
            .map(|block| block.transpose().map_err(damaged));
        found.collect()
    }

    async fn has(&self, cid: &Cid) -> Result<bool, StoreError> {
        let cid = *cid;
        self.run("look a block up", move |file| {
            let blocks = StoredBlocks::of(&file.database().begin_read()?)?;
            Ok(blocks.get(&cid)?.is_some())
        })
        .await
    }

    async fn commit(&self, changes: Changes) -> Result<(), StoreError> {
        self.run("commit", move |file| apply(file, &changes)).await
    }

    async fn state(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let name = key.to_owned();
        let read = self.run("read a row", move |file| {
            let table = file.database().begin_read()?.open_table(ROWS)?;
            if let Some(stored) = table.get(name.as_bytes())? {
                return Ok(row::decode(&name, &Bytes::copy_from_slice(stored.value())).map(Some));
            }
            // Where rows are damaged or gone, this may be one of them.
            let rows = file.missing.load(Ordering::Relaxed);
            if rows > 0 {
                return Ok(Err(StoreError::LostRows { rows }));
            }
            if file.has_damaged.load(Ordering::Relaxed) && is_misnamed(&table, &name)? {
                let what = "its name is damaged";
                return Ok(Err(StoreError::CorruptRow { key: name, what }));
            }
            Ok(Ok(None))
        });
        read.await?
    }

    async fn state_keys(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let prefix = prefix.to_owned();
        self.run("list rows", move |file| {
            let table = file.database().begin_read()?.open_table(ROWS)?;
            let mut keys = Vec::new();
            for row in table.range(prefix.as_bytes()..)? {
                let (name, _) = row?;
                if !name.value().starts_with(prefix.as_bytes()) {
                    break;
                }
                // A name that is no text is told by `check_rows`.
                keys.extend(std::str::from_utf8(name.value()).map(str::to_owned));
            }
            Ok(keys)
        })
        .await
    }

    async fn check_rows(&self) -> Result<RowsCheck, StoreError> {
        self.run("check the rows", |file| {
            let table = file.database().begin_read()?.open_table(ROWS)?;
            let mut check = RowsCheck {
                missing: file.missing.load(Ordering::Relaxed),
                ..RowsCheck::default()
            };
            for row in table.iter()? {
                let (name, stored) = row?;
                let what = match std::str::from_utf8(name.value()) {
                    Ok(name) => row::damage(name, stored.value()),
                    Err(_) => Some("its name is no text"),
                };
                if let Some(what) = what {
                    let name = String::from_utf8_lossy(name.value()).into_owned();
                    check.damaged.push(DamagedRow { name, what });
                }
            }
            Ok(check)
        })
        .await
    }

    async fn cids(&self, after: Option<&Cid>, limit: usize) -> Result<Vec<Cid>, StoreError> {
        let after = after.map(|cid| cid.to_bytes());
        self.run("list blocks", move |file| {
            let table = file.database().begin_read()?.open_table(BLOCKS)?;
            let start = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            table
                .range::<&[u8]>((start, Bound::Unbounded))?
                .take(limit)
                .map(|row| {
                    let (key, _) = row?;
                    parse_cid_bytes(key.value()).map_err(|error| Failure::Damaged(Box::new(error)))
                })
                .collect()
        })
        .await
    }
}

/// The blocks as one transaction sees them.
struct StoredBlocks {
    blocks: ReadOnlyTable<&'static [u8], &'static [u8]>,
    hashes: ReadOnlyTable<&'static [u8], &'static [u8]>,
}

/// What is kept under a CID, and whether it is what that says.
type StoredBlock = Option<Result<Block, (Box<Cid>, VerifyError)>>;

impl StoredBlocks {
    fn of(reading: &ReadTransaction) -> Result<StoredBlocks, Failure> {
        Ok(StoredBlocks {
            blocks: reading.open_table(BLOCKS)?,
            hashes: reading.open_table(HASHES)?,
        })
    }

    /// Reads many blocks on all processors.
    fn read_all(&self, wanted: &[Cid]) -> Result<Vec<StoredBlock>, Failure> {
        let most = wanted.len() / BLOCKS_OF_A_THREAD;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = threads.min(most);
        if threads < 2 {
            return self.read_each(wanted);
        }
        let share = wanted.len().div_ceil(threads);
        let read = std::thread::scope(|scope| {
            let (first, others) = wanted.split_at(share);
            // A damaged file may make redb panic.
            let others: Vec<_> = others
                .chunks(share)
                .map(|cids| scope.spawn(move || guarded(|| self.read_each(cids))))
                .collect();
            let mut read = vec![self.read_each(first)];
            read.extend(others.into_iter().map(|thread| match thread.join() {
                Ok(blocks) => blocks,
                Err(panic) => std::panic::resume_unwind(panic),
            }));
            read
        });
        let mut found = Vec::with_capacity(wanted.len());
        for blocks in read {
            found.extend(blocks?);
        }
        Ok(found)
    }

    /// Reads blocks and checks each against its CID: here, off the event loop.
    fn read_each(&self, wanted: &[Cid]) -> Result<Vec<StoredBlock>, Failure> {
        let mut found = Vec::with_capacity(wanted.len());
        for cid in wanted {
            let value = self.get(cid)?;
            found.push(value.map(|value| {
                Block::verified(*cid, Bytes::copy_from_slice(value.value()))
                    .map_err(|source| (Box::new(*cid), source))
            }));
        }
        Ok(found)
    }

    /// The bytes that are kept for this CID, or for another one of its multihash.
    fn get(&self, cid: &Cid) -> Result<Option<AccessGuard<'static, &'static [u8]>>, Failure> {
        // Nearly always it is asked for as it was put.
        if let Some(found) = self.blocks.get(cid.to_bytes().as_slice())? {
            return Ok(Some(found));
        }
        match self.hashes.get(cid.hash().to_bytes().as_slice())? {
            Some(key) => Ok(self.blocks.get(key.value())?),
            None => Ok(None),
        }
    }
}

fn apply(file: &OpenFile, changes: &Changes) -> Result<(), Failure> {
    // Dropped on any error below, which rolls it back. Durability is immediate by default.
    let mut transaction = file.database().begin_write()?;
    // In two steps, so that after a crash a damaged page of the last commit is an error: in one, the commit before it
    // would be taken in its place without a word.
    transaction.set_two_phase_commit(true);
    {
        let mut blocks = transaction.open_table(BLOCKS)?;
        let mut hashes = transaction.open_table(HASHES)?;
        for cid in &changes.delete {
            // Releases before there were hashes may have put it under this CID, beside another.
            blocks.remove(cid.to_bytes().as_slice())?;
            if let Some(key) = hashes.remove(cid.hash().to_bytes().as_slice())? {
                blocks.remove(key.value())?;
            }
        }
        for block in &changes.put {
            let hash = block.cid().hash().to_bytes();
            let known = hashes.get(hash.as_slice())?;
            let known = known.map(|key| key.value().to_vec());
            let is_new = known.is_none();
            let key = known.unwrap_or_else(|| block.cid().to_bytes());
            // Also where it is here: its bytes may have been damaged.
            blocks.insert(key.as_slice(), block.bytes().as_ref())?;
            if is_new {
                hashes.insert(hash.as_slice(), key.as_slice())?;
            }
        }
    }
    if changes.settle || !changes.state.is_empty() {
        apply_rows(&transaction, changes)?;
    }
    transaction.commit()?;
    if changes.settle {
        file.missing.store(0, Ordering::Relaxed);
    }
    Ok(())
}

/// Whether the row `name` lies under another name, which was damaged: its checksum tells.
fn is_misnamed(
    rows: &impl ReadableTable<&'static [u8], &'static [u8]>,
    name: &str,
) -> Result<bool, Failure> {
    for row in rows.iter()? {
        let (found, stored) = row?;
        if found.value() != name.as_bytes() && row::damage(name, stored.value()).is_none() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn apply_rows(transaction: &WriteTransaction, changes: &Changes) -> Result<(), Failure> {
    let mut rows = transaction.open_table(ROWS)?;
    let mut tally = match open::read_tally(&transaction.open_table(TALLY)?)? {
        Some((_, tally)) => tally,
        None => Tally::count(&rows)?,
    };
    for (key, value) in &changes.state {
        let stored = value.as_ref().map(|value| row::encode(key, value));
        let former = match &stored {
            Some(stored) => rows.insert(key.as_bytes(), stored.as_ref())?,
            None => rows.remove(key.as_bytes())?,
        };
        if let Some(former) = former {
            tally.remove(former.value());
        }
        if let Some(stored) = &stored {
            tally.add(stored);
        }
    }
    if changes.settle {
        rows.retain(|name, _| std::str::from_utf8(name).is_ok())?;
        tally = Tally::count(&rows)?;
    }
    open::write_tally(transaction, tally)
}

async fn in_background<T: Send + 'static>(
    action: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    rt::blocking(work)
        .await
        .map_err(|source| StoreError::Backend {
            action,
            source: Box::new(source),
        })
}
