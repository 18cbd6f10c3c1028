//! The read door: blocks and records, from memory where they were read before.
//!
//! Owns two bounded caches, before the blocks that are held ([`HeldBlocks`]) and before the names. A block is checked against its CID once, when it leaves the disk, and is then handed out
//! by reference. A record is kept with the headers it is served with. Must never touch: the network, writing.
//!
//! Invariant: a record in the cache is never older than the one in the store. A writer takes the entry out after its
//! commit; a reader that was reading meanwhile finds its place taken away and leaves nothing behind.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use hyper::header::HeaderValue;
use perennis_shared::cid::{Block, Cid, Codec, HashFn, VerifyError, cid_of, is_identity};
use perennis_shared::error::{ErrorKind, Retryable};
use perennis_shared::ipns::{ContentPath, Ladder, Name, Record};
use perennis_shared::limits::WIRE_BLOCK_BYTES;
use perennis_shared::time::Millis;
use quick_cache::sync::Cache;
use quick_cache::{OptionsBuilder, Weighter};
use tokio::sync::Semaphore;

use crate::config::CacheConfig;
use crate::metrics::Metrics;
use crate::storage::{HeldBlocks, NameState, Storage, StorageError};

/// Reads.
pub(crate) struct Read {
    held: Arc<dyn HeldBlocks>,
    storage: Storage,
    blocks: Cache<Cid, Block, ByBytes>,
    /// Blocks that may be read from the disk at once.
    turns: Arc<Semaphore>,
    records: Cache<Name, Arc<ServedRecord>>,
    metrics: Arc<Metrics>,
}

/// A record as it is served.
#[derive(Debug)]
pub(crate) struct ServedRecord {
    /// The signed record.
    pub(crate) bytes: Bytes,
    /// What it points at.
    pub(crate) value: Bytes,
    /// Its sequence.
    pub(crate) sequence: u64,
    /// Changes with the record.
    pub(crate) etag: HeaderValue,
    /// How long its author lets caches keep it.
    pub(crate) ttl_seconds: u64,
    /// Its end.
    pub(crate) valid_until: Millis,
    /// Where it points; none where its value is no path.
    pub(crate) path: Option<ContentPath>,
}

/// Weighs a cached block by the memory it holds.
#[derive(Clone)]
struct ByBytes;

/// Blocks read from the disk at once: what is being read is counted by nobody yet, and no disk is faster with more.
const READS: usize = 32;

/// What an entry costs beside its bytes.
const ENTRY_BYTES: u64 = 320;

impl Weighter<Cid, Block> for ByBytes {
    fn weight(&self, _: &Cid, block: &Block) -> u64 {
        ENTRY_BYTES + block.bytes().len() as u64
    }
}

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ReadError {
    /// The stored bytes are not those of the CID; they were set aside.
    #[error("the block is damaged")]
    Corrupt(#[source] StorageError),
    /// Nothing is kept under such CIDs.
    #[error("no content is accepted under this CID")]
    HashNotAllowed(#[source] VerifyError),
    /// The store failed.
    #[error("the store failed")]
    Storage(#[source] StorageError),
}

impl ReadError {
    /// A word for programs, stable between versions; `internal` where nobody outside can do anything with the cause.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            ReadError::Corrupt(_) => "corrupt_block",
            ReadError::HashNotAllowed(_) => "hash_not_allowed",
            ReadError::Storage(error) => error.code(),
        }
    }
}

impl Retryable for ReadError {
    fn kind(&self) -> ErrorKind {
        match self {
            ReadError::Corrupt(_) => ErrorKind::Corrupt,
            ReadError::HashNotAllowed(_) => ErrorKind::Reject,
            ReadError::Storage(error) => error.kind(),
        }
    }
}

impl From<StorageError> for ReadError {
    fn from(error: StorageError) -> ReadError {
        match error {
            StorageError::Corrupt(_) => ReadError::Corrupt(error),
            other => ReadError::Storage(other),
        }
    }
}

impl Read {
    pub(crate) fn new(storage: Storage, sizes: &CacheConfig, metrics: Arc<Metrics>) -> Read {
        Read {
            held: Arc::new(storage.clone()),
            storage,
            blocks: block_cache(sizes.block_bytes),
            turns: Arc::new(Semaphore::new(READS)),
            records: Cache::new(sizes.records),
            metrics,
        }
    }

    /// What blocks are held, for those who read much and once: nothing of it is kept in memory, and no cache is counted.
    pub(crate) fn held(&self) -> &Arc<dyn HeldBlocks> {
        &self.held
    }

    /// A block that is in memory.
    pub(crate) fn cached_block(&self, cid: &Cid) -> Option<Block> {
        let block = self.blocks.get(cid);
        if block.is_some() {
            self.metrics.block_cache_hits.inc();
        }
        block
    }

    /// A block, checked against its CID; `None` when it is not here.
    pub(crate) async fn block(&self, cid: &Cid) -> Result<Option<Block>, ReadError> {
        HashFn::of(cid.hash()).map_err(ReadError::HashNotAllowed)?;
        if is_identity(cid) {
            let content = Bytes::copy_from_slice(cid.hash().digest());
            return Ok(Block::verified(*cid, content).ok());
        }
        let place = match self.blocks.get_value_or_guard_async(cid).await {
            Ok(block) => {
                self.metrics.block_cache_hits.inc();
                return Ok(Some(block));
            }
            Err(place) => place,
        };
        self.metrics.block_cache_misses.inc();
        let wanted = *cid;
        let read = |held: Arc<dyn HeldBlocks>| async move { held.block(&wanted).await };
        let found = self.in_turn(read).await?;
        if let Some(block) = &found {
            // It does not matter when somebody was faster: the bytes are the same.
            let _ = place.insert(block.clone());
        }
        Ok(found)
    }

    /// How many bytes a block has; `None` when it is not here.
    pub(crate) async fn block_bytes(&self, cid: &Cid) -> Result<Option<usize>, ReadError> {
        HashFn::of(cid.hash()).map_err(ReadError::HashNotAllowed)?;
        if is_identity(cid) {
            return Ok(Some(cid.hash().digest().len()));
        }
        if let Some(block) = self.blocks.get(cid) {
            return Ok(Some(block.bytes().len()));
        }
        Ok(self.held.size(cid).await?)
    }

    /// A part of a block, of which no more than that is read and nothing is kept in memory; `None` when it is not here.
    pub(crate) async fn part(
        &self,
        cid: &Cid,
        part: Range<usize>,
    ) -> Result<Option<Vec<u8>>, ReadError> {
        HashFn::of(cid.hash()).map_err(ReadError::HashNotAllowed)?;
        let cid = *cid;
        let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let part = offset(part.start)..offset(part.end);
        let read = |held: Arc<dyn HeldBlocks>| async move { held.part(&cid, part).await };
        Ok(self.in_turn(read).await?)
    }

    /// Reads when it is its turn.
    async fn in_turn<T, R>(
        &self,
        read: impl FnOnce(Arc<dyn HeldBlocks>) -> R,
    ) -> Result<T, StorageError>
    where
        T: Send + 'static,
        R: Future<Output = Result<T, StorageError>> + Send + 'static,
    {
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let reading = read(Arc::clone(&self.held));
        let reading = tokio::spawn(async move {
            // It is held by the read itself, which goes on when whoever asked has gone.
            let _turn = turn;
            reading.await
        });
        reading.await.map_err(StorageError::interrupted)?
    }

    /// A record that is in memory.
    pub(crate) fn cached_record(&self, name: &Name) -> Option<Arc<ServedRecord>> {
        self.records.get(name)
    }

    /// The newest record of a name, whether or not it has ended.
    pub(crate) async fn record(&self, name: &Name) -> Result<Option<Arc<ServedRecord>>, ReadError> {
        let place = match self.records.get_value_or_guard_async(name).await {
            Ok(record) => return Ok(Some(record)),
            Err(place) => place,
        };
        let kept = self.kept(name).await?;
        let served = kept.and_then(|kept| ServedRecord::of(&kept.record));
        let Some(record) = served.map(Arc::new) else {
            return Ok(None);
        };
        // A writer may have taken the place away; what was read is still a true answer to this request.
        let _ = place.insert(Arc::clone(&record));
        Ok(Some(record))
    }

    /// All that is kept about a name.
    pub(crate) async fn kept(&self, name: &Name) -> Result<Option<NameState>, ReadError> {
        Ok(self.storage.kept(*name).await?)
    }

    /// A page of names in the order of their bytes.
    pub(crate) async fn names(
        &self,
        after: Option<Name>,
        limit: usize,
    ) -> Result<Vec<(Name, NameState)>, ReadError> {
        Ok(self.storage.names(after, limit).await?)
    }

    /// The rungs that are kept back for a name.
    pub(crate) async fn ladder(&self, name: &Name) -> Result<Ladder, ReadError> {
        Ok(self.storage.ladder(*name).await?)
    }

    /// When the record of a followed name is looked for again.
    pub(crate) async fn next_look(&self, name: &Name) -> Result<Option<Millis>, ReadError> {
        Ok(self.storage.next_look(*name).await?)
    }

    /// Whether the key of a name has signed two values with one sequence.
    pub(crate) async fn has_evidence(&self, name: &Name) -> Result<bool, ReadError> {
        Ok(self.storage.has_evidence(*name).await?)
    }

    /// Forgets the record of a name; called after each commit that changed it.
    pub(crate) fn changed(&self, name: &Name) {
        self.records.remove(name);
    }

    /// Forgets a block that was deleted or set aside.
    pub(crate) fn dropped(&self, cid: &Cid) {
        self.blocks.remove(cid);
    }
}

impl ServedRecord {
    /// How a record is served.
    pub(crate) fn of(record: &Record) -> Option<ServedRecord> {
        let tag = cid_of(Codec::Raw, record.bytes());
        Some(ServedRecord {
            bytes: record.bytes().clone(),
            value: Bytes::copy_from_slice(record.value()),
            sequence: record.sequence(),
            etag: HeaderValue::from_str(&format!("\"{tag}\"")).ok()?,
            ttl_seconds: record.ttl_ns() / 1_000_000_000,
            valid_until: record.validity().to_millis(),
            path: record.content_path().ok(),
        })
    }
}

fn block_cache(bytes: u64) -> Cache<Cid, Block, ByBytes> {
    // Few shards, so that each has room for the largest block.
    let shards = usize::try_from(bytes / (4 * WIRE_BLOCK_BYTES as u64))
        .unwrap_or(16)
        .clamp(1, 16);
    let expected = usize::try_from(bytes / 4_096).unwrap_or(1 << 20);
    let options = OptionsBuilder::new()
        .estimated_items_capacity(expected)
        .weight_capacity(bytes)
        .shards(shards)
        .build();
    match options {
        Ok(options) => {
            Cache::with_options(options, ByBytes, Default::default(), Default::default())
        }
        Err(_) => Cache::with_weighter(expected, bytes, ByBytes),
    }
}
