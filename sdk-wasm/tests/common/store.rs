//! The conformance suite of all block stores, on IndexedDB.

use std::sync::atomic::{AtomicU32, Ordering};

use perennis::IndexedDb;
use perennis_sdk::block_store_suite;
use perennis_sdk::rt;
use perennis_sdk::store::{BlockStore as _, Changes};
use perennis_sdk::testing::block_store::Place;
use perennis_shared::cid::{Block, Codec};
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
