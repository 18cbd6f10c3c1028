//! The client's store in IndexedDB: blocks by the bytes of the CID that they were put under first, that CID by the bytes of its
//! multihash, state rows by name, each as [`row`] makes it of its value.
//!
//! One commit is one read-write transaction with durability `strict` (browsers default to `relaxed`, which loses
//! acknowledged writes when the power fails), so it is seen whole or not at all; what was put is read back before
//! it is acknowledged. Everything is encoded before a transaction opens: a transaction commits itself as soon as
//! its task yields with no request under way. What must be read in the transaction that writes is
//! written in the very task in which its request ended.
//!
//! Source: Indexed Database API 3.0, sections 2.7 (transactions) and 4.9 (`IDBTransactionOptions`).

use std::collections::HashSet;
use std::fmt;

use bytes::Bytes;
use idb::request::GetStoreRequest;
use idb::{Database, DatabaseEvent as _, Factory, KeyRange, ObjectStore, ObjectStoreParams, Query};
use idb::{Transaction, TransactionMode, TransactionResult};
use js_sys::{Array, Function, JsString, Object, Reflect, Uint8Array};
use perennis_sdk::store::{BackendError, BlockStore, Changes, StoreError, row};
use perennis_shared::cid::{Block, Cid, parse_cid_bytes};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{DomException, IdbDatabase, IdbTransaction};

/// The layout of the database. A newer one is refused by the browser. 1 kept rows without a checksum, 2 had no hashes.
const VERSION: u32 = 3;
const BLOCKS: &str = "blocks";
const HASHES: &str = "hashes";
const ROWS: &str = "rows";
/// Rows of layout 1. Empty once they were taken over.
const ROWS_OF_LAYOUT_1: &str = "state";

/// A client's store in one IndexedDB database of the page's origin.
///
/// Several may be open on one database, in one tab or in many: each sees the others' commits.
pub struct IndexedDb {
    name: String,
    database: IdbDatabase,
}

impl IndexedDb {
    /// Opens the database `name`, creating it when it is not there.
    ///
    /// # Errors
    /// The browser refuses storage (private windows of some browsers, blocked site data, a full disk), or a newer
    /// release wrote the database.
    pub async fn open(name: &str) -> Result<Self, StoreError> {
        let opening = |error: idb::Error| open_failed(name, error);
        let mut request = Factory::new()
            .and_then(|factory| factory.open(name, Some(VERSION)))
            .map_err(opening)?;
        request.on_upgrade_needed(|event| {
            // A failure in here aborts the upgrade, and with it the request below, which tells the cause.
            if let Ok(database) = event.database() {
                let present = database.store_names();
                for store in [BLOCKS, HASHES, ROWS, ROWS_OF_LAYOUT_1] {
                    if !present.iter().any(|present| present == store) {
                        drop(database.create_object_store(store, ObjectStoreParams::new()));
                    }
                }
            }
        });
        let database = IdbDatabase::from(request.await.map_err(opening)?);

        // A tab that upgrades or deletes the database must not wait for this one.
        let closing = database.clone();
        let close = Closure::<dyn Fn()>::new(move || closing.close());
        database.set_onversionchange(Some(close.into_js_value().unchecked_ref()));
        let opened = Self {
            name: name.into(),
            database,
        };
        opened.migrate().await?;
        opened.index().await?;
        Ok(opened)
    }

    /// Writes down where the block of each multihash is, which layout 2 did not, all in one transaction.
    async fn index(&self) -> Result<(), StoreError> {
        let failed = |error: idb::Error| self.write_failed(error);
        // Read-only at first, as for rows: blocks without hashes are of layout 2.
        let hashes = self.read(HASHES).map_err(failed)?;
        if hashes.count(None).map_err(failed)?.await.map_err(failed)? > 0 {
            return Ok(());
        }
        let blocks = self.read(BLOCKS).map_err(failed)?;
        if blocks.count(None).map_err(failed)?.await.map_err(failed)? == 0 {
            return Ok(());
        }
        let transaction = self
            .write(&[BLOCKS, HASHES])
            .map_err(|cause| self.write_failed(idb::Error::TransactionOpenFailed(cause)))?;
        let blocks = transaction.object_store(BLOCKS).map_err(failed)?;
        let hashes = transaction.object_store(HASHES).map_err(failed)?;
        let keys = blocks.get_all_keys(None, None).map_err(failed)?;
        for key in keys.await.map_err(failed)? {
            // What is no CID any more is told by whoever lists it.
            if let Ok(cid) = parse_cid_bytes(&Uint8Array::new(&key).to_vec()) {
                drop(hashes.put(&key, Some(&hash_of(&cid))).map_err(failed)?);
            }
        }
        self.committed(transaction).await
    }

    /// Takes over the rows of layout 1, all in one transaction: whatever ends it early, the next opening begins anew.
    async fn migrate(&self) -> Result<(), StoreError> {
        let failed = |error: idb::Error| self.write_failed(error);
        // Read-only at first: a second tab must not wait for the first one's writes each time it opens.
        let former = self.read(ROWS_OF_LAYOUT_1).map_err(failed)?;
        if former.count(None).map_err(failed)?.await.map_err(failed)? == 0 {
            return Ok(());
        }
        let transaction = self
            .write(&[ROWS, ROWS_OF_LAYOUT_1])
            .map_err(|cause| self.write_failed(idb::Error::TransactionOpenFailed(cause)))?;
        let former = transaction.object_store(ROWS_OF_LAYOUT_1).map_err(failed)?;
        let rows = transaction.object_store(ROWS).map_err(failed)?;
        let names = former.get_all_keys(None, None).map_err(failed)?;
        let values = former.get_all(None, None).map_err(failed)?;
        // Requests of one transaction end in the order they were made.
        let (names, values) = (names.await.map_err(failed)?, values.await.map_err(failed)?);
        for (name, value) in names.iter().zip(values) {
            let stored = row::migrated(&name.as_string().unwrap_or_default(), bytes_of(value));
            let stored = Uint8Array::from(&*stored).into();
            drop(rows.put(&stored, Some(name)).map_err(failed)?);
        }
        drop(former.clear().map_err(failed)?);
        self.committed(transaction).await
    }

    /// Deletes the database `name` with all that is in it.
    ///
    /// # Errors
    /// The browser refuses storage.
    pub async fn delete(name: &str) -> Result<(), StoreError> {
        let deleting = |error: idb::Error| open_failed(name, error);
        let request = Factory::new()
            .and_then(|factory| factory.delete(name))
            .map_err(deleting)?;
        request.await.map_err(deleting)
    }

    /// Opens a read-only transaction on one object store.
    fn read(&self, store: &str) -> Result<ObjectStore, idb::Error> {
        Database::from(self.database.clone())
            .transaction(&[store], TransactionMode::ReadOnly)?
            .object_store(store)
    }

    /// Opens a read-write transaction with durability `strict`, which the library has no call for.
    fn write(&self, stores: &[&str]) -> Result<Transaction, JsValue> {
        let options = Object::new();
        Reflect::set(&options, &"durability".into(), &"strict".into())?;
        let scope: Array = stores.iter().map(|store| JsValue::from(*store)).collect();
        Reflect::get(&self.database, &"transaction".into())?
            .dyn_into::<Function>()?
            .call3(&self.database, &scope, &"readwrite".into(), &options)?
            .dyn_into::<IdbTransaction>()
            .map(Transaction::from)
    }

    async fn apply(&self, changes: &mut Encoded) -> Result<(), StoreError> {
        let failed = |error: idb::Error| self.write_failed(error);
        let transaction = self
            .write(&[BLOCKS, HASHES, ROWS])
            .map_err(|cause| self.write_failed(idb::Error::TransactionOpenFailed(cause)))?;
        let blocks = transaction.object_store(BLOCKS).map_err(failed)?;
        let hashes = transaction.object_store(HASHES).map_err(failed)?;
        let rows = transaction.object_store(ROWS).map_err(failed)?;
        // Where the blocks of these multihashes are; what follows is asked for in the task in which the last of it has come.
        let places = changes.delete.iter_mut().chain(&mut changes.put);
        let places: Vec<&mut Placed> = places.collect();
        let asked = places.iter().map(|place| place.hash.clone());
        let asked = get_all(&hashes, asked).map_err(failed)?;
        for (place, asked) in places.into_iter().zip(asked) {
            if let Some(key) = asked.await.map_err(failed)? {
                place.key = key;
            }
        }
        // The requests run in the order they are made; the transaction tells how they ended.
        for Placed { hash, key, .. } in &changes.delete {
            blocks.delete(Query::Key(key.clone())).map_err(failed)?;
            hashes.delete(Query::Key(hash.clone())).map_err(failed)?;
        }
        for Placed { hash, key, value } in &changes.put {
            blocks.put(value, Some(key)).map_err(failed)?;
            hashes.put(key, Some(hash)).map_err(failed)?;
        }
        for (key, stored) in &changes.rows {
            match stored {
                Some(stored) => drop(rows.put(stored, Some(key)).map_err(failed)?),
                None => drop(rows.delete(Query::Key(key.into())).map_err(failed)?),
            }
        }
        self.committed(transaction).await
    }

    /// The CIDs under which the blocks of these are kept; none where they are not here.
    async fn keys(&self, cids: &[Cid]) -> Result<Vec<Option<JsValue>>, idb::Error> {
        let hashes = self.read(HASHES)?;
        let mut keys = Vec::with_capacity(cids.len());
        for request in get_all(&hashes, cids.iter().map(hash_of))? {
            keys.push(request.await?);
        }
        Ok(keys)
    }

    /// Waits until what was asked for in a transaction is durable.
    async fn committed(&self, transaction: Transaction) -> Result<(), StoreError> {
        let failed = |error: idb::Error| self.write_failed(error);
        match transaction.await.map_err(failed)? {
            TransactionResult::Committed => Ok(()),
            TransactionResult::Aborted => Err(StoreError::Backend {
                action: "commit",
                source: Browser::boxed("the browser aborted the transaction"),
            }),
        }
    }

    /// Compares what was put with what the database now gives.
    async fn read_back(&self, changes: &Encoded, blocks: &[Block]) -> Result<(), StoreError> {
        let failed = |error: idb::Error| backend("read back", error);
        let store = self.read(BLOCKS).map_err(failed)?;
        let keys = changes.put.iter().map(|placed| placed.key.clone());
        let requests = get_all(&store, keys).map_err(failed)?;
        for (request, block) in requests.into_iter().zip(blocks) {
            let found = request.await.map_err(failed)?.map(bytes_of);
            if found.as_ref() != Some(block.bytes()) {
                return Err(StoreError::Backend {
                    action: "read back",
                    source: Browser::boxed(&format!("block {} was not kept", block.cid())),
                });
            }
        }
        Ok(())
    }

    fn write_failed(&self, error: idb::Error) -> StoreError {
        let quota = match &error {
            idb::Error::DomException(cause) => cause.name() == "QuotaExceededError",
            idb::Error::TransactionOpenFailed(cause) | idb::Error::UpdateFailed(cause) => cause
                .dyn_ref::<DomException>()
                .is_some_and(|cause| cause.name() == "QuotaExceededError"),
            _ => false,
        };
        if quota {
            let source = Browser::boxed(&error.to_string());
            StoreError::Full {
                place: self.name.clone(),
                source,
            }
        } else {
            backend("commit", error)
        }
    }
}

impl Drop for IndexedDb {
    fn drop(&mut self) {
        // Runs after the transactions under way.
        self.database.close();
    }
}

impl BlockStore for IndexedDb {
    async fn block(&self, cid: &Cid) -> Result<Option<Block>, StoreError> {
        let mut blocks = self.blocks(std::slice::from_ref(cid)).await?;
        Ok(blocks.pop().flatten())
    }

    async fn blocks(&self, cids: &[Cid]) -> Result<Vec<Option<Block>>, StoreError> {
        let failed = |error: idb::Error| backend("read blocks", error);
        // An empty transaction would only be waited for.
        if cids.is_empty() {
            return Ok(Vec::new());
        }
        let keys = self.keys(cids).await.map_err(failed)?;
        let store = self.read(BLOCKS).map_err(failed)?;
        let present = keys.iter().flatten().cloned();
        let mut requests = get_all(&store, present).map_err(failed)?.into_iter();
        let mut blocks = Vec::with_capacity(cids.len());
        for (key, cid) in keys.iter().zip(cids) {
            let request = key.as_ref().and_then(|_| requests.next());
            let bytes = match request {
                Some(request) => request.await.map_err(failed)?.map(bytes_of),
                None => None,
            };
            let verified = bytes.map(|bytes| Block::verified(*cid, bytes)).transpose();
            blocks.push(verified.map_err(|source| StoreError::Corrupt {
                cid: Box::new(*cid),
                source,
            })?);
        }
        Ok(blocks)
    }

    async fn has(&self, cid: &Cid) -> Result<bool, StoreError> {
        let failed = |error: idb::Error| backend("look for a block", error);
        let request = self
            .read(HASHES)
            .and_then(|store| store.get_key(Query::Key(hash_of(cid))))
            .map_err(failed)?;
        Ok(request
            .await
            .map_err(failed)?
            .is_some_and(|key| !key.is_undefined()))
    }

    async fn commit(&self, mut changes: Changes) -> Result<(), StoreError> {
        // One multihash has one place.
        let mut seen = HashSet::new();
        changes.put.retain(|block| seen.insert(*block.cid().hash()));
        let mut encoded = Encoded::new(&changes);
        self.apply(&mut encoded).await?;
        self.read_back(&encoded, &changes.put).await
    }

    async fn state(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let failed = |error: idb::Error| backend("read a row", error);
        let request = self
            .read(ROWS)
            .and_then(|store| store.get(Query::Key(key.into())))
            .map_err(failed)?;
        let stored = request.await.map_err(failed)?.map(bytes_of);
        stored.map(|stored| row::decode(key, &stored)).transpose()
    }

    async fn state_keys(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let failed = |error: idb::Error| backend("list rows", error);
        let request = self
            .read(ROWS)
            .and_then(|store| {
                let range = KeyRange::lower_bound(&prefix.into(), Some(false))?;
                store.get_all_keys(Some(Query::KeyRange(range)), None)
            })
            .map_err(failed)?;
        let mut keys: Vec<String> = request
            .await
            .map_err(failed)?
            .into_iter()
            .filter_map(|key| key.as_string())
            .filter(|key| key.starts_with(prefix))
            .collect();
        // The browser orders by UTF-16 code units.
        keys.sort_unstable();
        Ok(keys)
    }

    async fn cids(&self, after: Option<&Cid>, limit: usize) -> Result<Vec<Cid>, StoreError> {
        let failed = |error: idb::Error| backend("list blocks", error);
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        // To IndexedDB no limit and a limit of zero are the same.
        if limit == 0 {
            return Ok(Vec::new());
        }
        let request = self
            .read(BLOCKS)
            .and_then(|store| {
                let range = after
                    .map(|after| KeyRange::lower_bound(&key_of(after), Some(true)))
                    .transpose()?;
                store.get_all_keys(range.map(Query::KeyRange), Some(limit))
            })
            .map_err(failed)?;
        let keys = request.await.map_err(failed)?;
        keys.into_iter()
            .map(|key| {
                parse_cid_bytes(&Uint8Array::new(&key).to_vec()).map_err(|_| {
                    StoreError::CorruptRow {
                        key: BLOCKS.into(),
                        what: "a key is not a CID",
                    }
                })
            })
            .collect()
    }
}

/// A block as JavaScript values.
struct Placed {
    hash: JsValue,
    /// The CID that it is kept under: where it is here already, the one that it was put under first.
    key: JsValue,
    /// Nothing where it is dropped.
    value: JsValue,
}

impl Placed {
    fn new(cid: &Cid, value: JsValue) -> Self {
        Self {
            hash: hash_of(cid),
            key: key_of(cid),
            value,
        }
    }
}

/// The changes as JavaScript values, made before the transaction opens.
struct Encoded {
    put: Vec<Placed>,
    delete: Vec<Placed>,
    /// As they are kept.
    rows: Vec<(JsValue, Option<JsValue>)>,
}

impl Encoded {
    fn new(changes: &Changes) -> Self {
        let bytes = |bytes: &[u8]| JsValue::from(Uint8Array::from(bytes));
        Self {
            put: changes
                .put
                .iter()
                .map(|block| Placed::new(block.cid(), bytes(block.bytes())))
                .collect(),
            delete: changes
                .delete
                .iter()
                .map(|cid| Placed::new(cid, JsValue::UNDEFINED))
                .collect(),
            rows: changes
                .state
                .iter()
                .map(|(key, value)| {
                    let stored = value.as_ref().map(|value| bytes(&row::encode(key, value)));
                    (JsString::from(key.as_str()).into(), stored)
                })
                .collect(),
        }
    }
}

/// Asks for all keys at once: the transaction lives while a request is under way.
fn get_all(
    store: &ObjectStore,
    keys: impl Iterator<Item = JsValue>,
) -> Result<Vec<GetStoreRequest>, idb::Error> {
    keys.map(|key| store.get(Query::Key(key))).collect()
}

fn key_of(cid: &Cid) -> JsValue {
    Uint8Array::from(cid.to_bytes().as_slice()).into()
}

fn hash_of(cid: &Cid) -> JsValue {
    Uint8Array::from(cid.hash().to_bytes().as_slice()).into()
}

fn bytes_of(value: JsValue) -> Bytes {
    Uint8Array::new(&value).to_vec().into()
}

fn backend(action: &'static str, error: idb::Error) -> StoreError {
    StoreError::Backend {
        action,
        source: Browser::boxed(&error.to_string()),
    }
}

fn open_failed(name: &str, error: idb::Error) -> StoreError {
    let newer = matches!(&error, idb::Error::DomException(cause) if cause.name() == "VersionError");
    if newer {
        let found = u64::from(VERSION) + 1;
        StoreError::NewerFormat {
            place: name.into(),
            found,
            known: u64::from(VERSION),
        }
    } else {
        StoreError::Open {
            place: name.into(),
            source: Browser::boxed(&error.to_string()),
        }
    }
}

/// What the browser said, as text: its own error objects belong to one thread.
#[derive(Debug)]
struct Browser(String);

impl Browser {
    fn boxed(text: &str) -> BackendError {
        Box::new(Self(text.into()))
    }
}

impl fmt::Display for Browser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Browser {}
