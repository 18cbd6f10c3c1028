//! A store in one file (redb), for native clients.
//!
//! One commit is one write transaction, synced before it returns: after a crash the file holds all of it
//! or none. The file belongs to one process at a time. Opening waits a moment for another to finish (two
//! commands in a row overlap easily) and then says that the file is in use.
//!
//! Tables: `blocks` (binary CID to content), `state` (row name to value), `meta` (`format`).

use std::{
    error::Error,
    fs::{self, File},
    io,
    ops::Bound,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use perennis_shared::cid::{Block, Cid, parse_cid_bytes};
use redb::{
    CommitError, Database, DatabaseError, ReadableDatabase, StorageError, TableDefinition,
    TableError, TransactionError,
};

use super::{BlockStore, Changes, StoreError};
use crate::rt;

const BLOCKS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("blocks");
const STATE: TableDefinition<&str, &[u8]> = TableDefinition::new("state");
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");

const FORMAT: u64 = 1;
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
    database: Database,
    path: PathBuf,
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
            let opened = in_background("open", move || open_file(&attempt, options)).await?;
            match opened {
                Err(StoreError::Locked { .. }) if rt::monotonic() < give_up_at => {
                    rt::sleep(LOCK_POLL).await;
                }
                Err(error) => return Err(error),
                Ok(database) => {
                    let file = Arc::new(OpenFile { database, path });
                    return Ok(Self { file });
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
        work: impl FnOnce(&Database) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let file = Arc::clone(&self.file);
        in_background(action, move || {
            work(&file.database).map_err(|failure| failure.at(&file.path, action))
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
            .run("read blocks", move |database| {
                let table = database.begin_read()?.open_table(BLOCKS)?;
                let mut found = Vec::with_capacity(wanted.len());
                for cid in wanted {
                    let value = table.get(cid.to_bytes().as_slice())?;
                    // Checked here, off the event loop.
                    found.push(value.map(|value| {
                        Block::verified(cid, Bytes::copy_from_slice(value.value()))
                            .map_err(|source| (Box::new(cid), source))
                    }));
                }
                Ok(found)
            })
            .await?;
        let damaged = |(cid, source)| StoreError::Corrupt { cid, source };
        let found = found
            .into_iter()
            .map(|block| block.transpose().map_err(damaged));
        found.collect()
    }

    async fn has(&self, cid: &Cid) -> Result<bool, StoreError> {
        let key = cid.to_bytes();
        self.run("look a block up", move |database| {
            let table = database.begin_read()?.open_table(BLOCKS)?;
            Ok(table.get(key.as_slice())?.is_some())
        })
        .await
    }

    async fn commit(&self, changes: Changes) -> Result<(), StoreError> {
        self.run("commit", move |database| apply(database, &changes))
            .await
    }

    async fn state(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let key = key.to_owned();
        self.run("read a row", move |database| {
            let table = database.begin_read()?.open_table(STATE)?;
            let found = table.get(key.as_str())?;
            Ok(found.map(|value| Bytes::copy_from_slice(value.value())))
        })
        .await
    }

    async fn state_keys(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let prefix = prefix.to_owned();
        self.run("list rows", move |database| {
            let table = database.begin_read()?.open_table(STATE)?;
            let mut keys = Vec::new();
            for row in table.range(prefix.as_str()..)? {
                let (key, _) = row?;
                if !key.value().starts_with(&prefix) {
                    break;
                }
                keys.push(key.value().to_owned());
            }
            Ok(keys)
        })
        .await
    }

    async fn cids(&self, after: Option<&Cid>, limit: usize) -> Result<Vec<Cid>, StoreError> {
        let after = after.map(|cid| cid.to_bytes());
        self.run("list blocks", move |database| {
            let table = database.begin_read()?.open_table(BLOCKS)?;
            let start = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            table
                .range::<&[u8]>((start, Bound::Unbounded))?
                .take(limit)
                .map(|row| {
                    let (key, _) = row?;
                    parse_cid_bytes(key.value()).map_err(|error| Failure::Other(Box::new(error)))
                })
                .collect()
        })
        .await
    }
}

fn apply(database: &Database, changes: &Changes) -> Result<(), Failure> {
    // Dropped on any error below, which rolls it back. Durability is immediate by default.
    let transaction = database.begin_write()?;
    {
        let mut blocks = transaction.open_table(BLOCKS)?;
        for cid in &changes.delete {
            blocks.remove(cid.to_bytes().as_slice())?;
        }
        for block in &changes.put {
            blocks.insert(block.cid().to_bytes().as_slice(), block.bytes().as_ref())?;
        }
        let mut state = transaction.open_table(STATE)?;
        for (key, value) in &changes.state {
            match value {
                Some(value) => state.insert(key.as_str(), value.as_ref())?,
                None => state.remove(key.as_str())?,
            };
        }
    }
    transaction.commit()?;
    Ok(())
}

fn open_file(path: &Path, options: DiskOptions) -> Result<Database, StoreError> {
    let cannot_open = |source: Box<dyn Error + Send + Sync>| StoreError::Open {
        place: place(path),
        source,
    };
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder {
        fs::create_dir_all(folder).map_err(|error| cannot_open(Box::new(error)))?;
    }
    let is_new = !path.exists();
    let database = Database::builder()
        .set_cache_size(options.cache_bytes)
        .create(path)
        .map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::Locked { place: place(path) },
            DatabaseError::Storage(StorageError::Io(error)) if is_full(&error) => {
                Failure::Storage(StorageError::Io(error)).at(path, "open")
            }
            other => cannot_open(Box::new(other)),
        })?;
    if is_new {
        // The file's name is durable only once its folder is. Where a folder cannot be opened as a file,
        // the platform has no such step.
        if let Ok(folder) = File::open(folder.unwrap_or(Path::new("."))) {
            folder
                .sync_all()
                .map_err(|error| cannot_open(Box::new(error)))?;
        }
    }
    let found = prepare(&database).map_err(|failure| failure.at(path, "open"))?;
    if found > FORMAT {
        return Err(StoreError::NewerFormat {
            place: place(path),
            found,
            known: FORMAT,
        });
    }
    Ok(database)
}

/// Makes the tables where they are missing and gives the format of the file.
fn prepare(database: &Database) -> Result<u64, Failure> {
    let reading = database.begin_read()?;
    match reading.open_table(META) {
        Ok(meta) => {
            if let Some(format) = meta.get("format")? {
                return Ok(format.value());
            }
        }
        Err(TableError::TableDoesNotExist(_)) => {}
        Err(other) => return Err(other.into()),
    }
    let transaction = database.begin_write()?;
    transaction.open_table(BLOCKS)?;
    transaction.open_table(STATE)?;
    transaction.open_table(META)?.insert("format", FORMAT)?;
    transaction.commit()?;
    Ok(FORMAT)
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

fn place(path: &Path) -> String {
    path.display().to_string()
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// What went wrong inside a transaction.
enum Failure {
    Storage(StorageError),
    Other(Box<dyn Error + Send + Sync>),
}

impl Failure {
    fn at(self, path: &Path, action: &'static str) -> StoreError {
        match self {
            Self::Storage(StorageError::Io(error)) if is_full(&error) => StoreError::Full {
                place: place(path),
                source: Box::new(error),
            },
            Self::Storage(error) => StoreError::Backend {
                action,
                source: Box::new(error),
            },
            Self::Other(source) => StoreError::Backend { action, source },
        }
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl From<CommitError> for Failure {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Storage(error) => Self::Storage(error),
            other => Self::Other(Box::new(other)),
        }
    }
}

impl From<TransactionError> for Failure {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Storage(error) => Self::Storage(error),
            other => Self::Other(Box::new(other)),
        }
    }
}

impl From<TableError> for Failure {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Storage(error) => Self::Storage(error),
            other => Self::Other(Box::new(other)),
        }
    }
}
