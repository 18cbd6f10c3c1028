//! The conformance suite of all block stores, on IndexedDB.

use std::sync::atomic::{AtomicU32, Ordering};

use idb::{DatabaseEvent as _, Factory, ObjectStoreParams, TransactionMode};
use js_sys::Uint8Array;
use perennis::IndexedDb;
use perennis_rt as rt;
use perennis_sdk::block_store_suite;
use perennis_sdk::store::{BlockStore as _, Changes, StoreError, row};
use perennis_sdk::testing::block_store::Place;
use perennis_shared::cid::{Block, Cid, Codec};
use wasm_bindgen::JsValue;
use wasm_bindgen_test::wasm_bindgen_test;

struct Database(String);

impl Place for Database {
    type Store = IndexedDb;

    async fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let random = u64::from_le_bytes(rt::random().unwrap());
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(format!("suite-{number}-{random:x}"))
    }

    async fn open(&self) -> IndexedDb {
        IndexedDb::open(&self.0).await.unwrap()
    }
}

block_store_suite!(
    #[wasm_bindgen_test]
    Database
);

#[wasm_bindgen_test]
async fn a_deleted_database_is_empty_when_it_is_opened_again() {
    let place = Database::new().await;
    let block = Block::new(Codec::Raw, b"gone".to_vec()).unwrap();
    place
        .open()
        .await
        .commit(Changes::new().put([block.clone()]))
        .await
        .unwrap();
    IndexedDb::delete(&place.0).await.unwrap();
    assert!(!place.open().await.has(block.cid()).await.unwrap());
}

#[wasm_bindgen_test]
async fn two_handles_on_one_database_see_each_other() {
    let place = Database::new().await;
    let (one, other) = (place.open().await, place.open().await);
    one.commit(Changes::new().set("row", b"value".to_vec()))
        .await
        .unwrap();
    assert_eq!(
        other.state("row").await.unwrap().unwrap(),
        b"value".as_slice()
    );
}

/// Puts rows into an object store behind the client's back; makes the database with these object stores where it is not there.
async fn put(
    place: &Database,
    version: u32,
    stores: &'static [&str],
    into: &str,
    rows: &[(&str, &[u8])],
) {
    let rows = rows.iter().map(|(name, value)| ((*name).into(), *value));
    put_keys(place, version, stores, into, &rows.collect::<Vec<_>>()).await;
}

/// As [`put`], under any keys.
async fn put_keys(
    place: &Database,
    version: u32,
    stores: &'static [&str],
    into: &str,
    rows: &[(JsValue, &[u8])],
) {
    let mut request = Factory::new()
        .unwrap()
        .open(&place.0, Some(version))
        .unwrap();
    request.on_upgrade_needed(move |event| {
        let database = event.database().unwrap();
        for store in stores {
            let made = database.create_object_store(store, ObjectStoreParams::new());
            drop(made.unwrap());
        }
    });
    let database = request.await.unwrap();
    let transaction = database
        .transaction(&[into], TransactionMode::ReadWrite)
        .unwrap();
    let store = transaction.object_store(into).unwrap();
    for (key, value) in rows {
        let value = Uint8Array::from(*value).into();
        drop(store.put(&value, Some(key)).unwrap());
    }
    transaction.await.unwrap();
    database.close();
}

#[wasm_bindgen_test]
async fn rows_of_the_first_layout_are_taken_over_once() {
    let place = Database::new().await;
    let rows = [("head/x", &b"\x01\x71"[..]), ("me", b"\xa0"), ("odd", b"")];
    put(&place, 1, &["blocks", "state"], "state", &rows).await;
    for _ in 0..2 {
        let store = place.open().await;
        assert_eq!(store.state_keys("").await.unwrap(), ["head/x", "me", "odd"]);
        for (name, value) in rows {
            assert_eq!(store.state(name).await.unwrap().unwrap(), value);
        }
        assert!(store.check_rows().await.unwrap().is_sound());
        drop(store);
    }
    // What was begun and not ended, such as by a tab that was closed, is gone on with.
    put(&place, 3, &[], "state", &[("late", b"x")]).await;
    let store = place.open().await;
    assert_eq!(store.state("late").await.unwrap().unwrap(), b"x".as_slice());
    assert_eq!(store.state_keys("").await.unwrap().len(), 4);
}

#[wasm_bindgen_test]
async fn blocks_of_the_second_layout_are_found_under_every_cid() {
    let place = Database::new().await;
    let block = Block::new(Codec::DagCbor, vec![0xa0]).unwrap();
    let key = Uint8Array::from(block.cid().to_bytes().as_slice());
    let stores = &["blocks", "rows", "state"];
    let rows = [(JsValue::from(key), &block.bytes()[..])];
    put_keys(&place, 2, stores, "blocks", &rows).await;
    let other = Cid::new_v1(Codec::Raw.code(), *block.cid().hash());
    for _ in 0..2 {
        let store = place.open().await;
        let found = store.block(&other).await.unwrap().unwrap();
        assert_eq!((found.cid(), found.bytes()), (&other, block.bytes()));
        assert_eq!(store.cids(None, 9).await.unwrap(), [*block.cid()]);
    }
    let store = place.open().await;
    store.commit(Changes::new().delete([other])).await.unwrap();
    assert!(!store.has(block.cid()).await.unwrap());
}

#[wasm_bindgen_test]
async fn a_row_that_was_changed_is_never_given_out() {
    let place = Database::new().await;
    let store = place.open().await;
    let changes = Changes::new().set("a", "value").set("b", "value");
    store.commit(changes).await.unwrap();
    drop(store);
    let mut changed = row::encode("a", b"value").to_vec();
    changed[20] ^= 1;
    let of_another = row::encode("a", b"value");
    put(
        &place,
        3,
        &[],
        "rows",
        &[("a", &changed), ("b", &of_another)],
    )
    .await;
    let store = place.open().await;
    for name in ["a", "b"] {
        let error = store.state(name).await.unwrap_err();
        assert!(matches!(error, StoreError::CorruptRow { key, .. } if key == name));
    }
    assert_eq!(store.check_rows().await.unwrap().damaged.len(), 2);
}
