#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use perennis_shared::cid::{Codec, cid_of};
use perennis_shared::codec::car;
use perennis_shared::codec::{Value, dag_cbor};
use tempfile::TempDir;

use super::*;
use crate::clock::Clock;
use crate::config::Config;
use crate::keystore::Keystore;
use crate::metrics::Metrics;
use crate::read::Read;
use crate::storage::Storage;

struct Door {
    storage: Storage,
    ingest: Arc<Ingest>,
    _dir: TempDir,
}

impl Door {
    fn with(memory_bytes: u64) -> Door {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.admission.memory_bytes = memory_bytes;
        let storage = Storage::open(dir.path(), &config.routers()).unwrap();
        let metrics = Arc::new(Metrics::new());
        let read = Read::new(storage.clone(), &config.cache, Arc::clone(&metrics));
        let keystore = Arc::new(Keystore::open(dir.path(), None).unwrap());
        let ingest = Ingest::new(
            &config,
            storage.clone(),
            Arc::new(read),
            keystore,
            metrics,
            Arc::new(Clock::new(None)),
        );
        Door {
            storage,
            ingest: Arc::new(ingest),
            _dir: dir,
        }
    }

    async fn import(&self, wish: ImportWish, file: &[u8]) -> Result<ImportOutcome, IngestError> {
        let mut import = self.ingest.begin_import(wish).await?;
        for piece in file.chunks(1_000) {
            import.push(piece).await?;
        }
        import.finish().await?.pin(|_| {}).await
    }

    async fn pins(&self) -> Vec<(Cid, String)> {
        let rows = self.storage.imported(None, 1_000).await.unwrap();
        rows.into_iter().map(|row| (row.root, row.name)).collect()
    }
}

fn named(name: &str) -> ImportWish {
    ImportWish {
        name: name.to_owned(),
        ..ImportWish::default()
    }
}

fn partial() -> ImportWish {
    ImportWish {
        is_partial: true,
        ..ImportWish::default()
    }
}

fn leaf(number: u64) -> Block {
    Block::new(Codec::Raw, number.to_be_bytes().to_vec()).unwrap()
}

fn list(links: &[&Block]) -> Block {
    let links = links.iter().map(|block| Value::Link(*block.cid()));
    let value = Value::List(links.collect());
    Block::new(Codec::DagCbor, dag_cbor::encode(&value).unwrap()).unwrap()
}

fn opaque() -> Block {
    let cid = Cid::new_v1(0x90, *cid_of(Codec::Raw, b"?").hash());
    Block::verified(cid, b"?".to_vec()).unwrap()
}

#[tokio::test]
async fn each_root_says_whether_all_below_it_is_here_whatever_they_share() {
    let door = Door::with(64 << 20);
    let (one, two, gone, dark) = (leaf(1), leaf(2), leaf(3), opaque());
    let shared = list(&[&one, &two]);
    let whole = list(&[&shared, &one, &shared]);
    let lacking = list(&[&shared, &list(&[&gone]), &dark]);
    let unclear = list(&[&shared, &dark]);
    let roots = [
        *whole.cid(),
        *lacking.cid(),
        *unclear.cid(),
        *two.cid(),
        *gone.cid(),
    ];
    let blocks = [
        &two,
        &dark,
        &whole,
        &lacking,
        &list(&[&gone]),
        &unclear,
        &shared,
        &one,
    ];
    let file = car::write(&roots, blocks).unwrap();
    let outcome = door.import(partial(), &file).await.unwrap();
    assert!(outcome.is_kept);
    let states: Vec<ImportedState> = outcome.roots.iter().map(|(_, state)| *state).collect();
    assert_eq!(
        states,
        [
            ImportedState::Pinned,
            ImportedState::Incomplete(*gone.cid()),
            ImportedState::Opaque(*dark.cid()),
            ImportedState::Pinned,
            ImportedState::Incomplete(*gone.cid()),
        ]
    );
    // A block that several roots lack is one.
    assert_eq!(
        (outcome.missing_blocks, outcome.missing),
        (1, vec![*gone.cid()])
    );
    assert_eq!(outcome.unreached_blocks, 0);
    assert_eq!(door.pins().await.len(), 5);
}

#[tokio::test]
async fn a_file_is_taken_whole_or_not_at_all_unless_what_there_is_was_asked_for() {
    let door = Door::with(64 << 20);
    let (here, gone) = (leaf(1), leaf(2));
    let root = list(&[&here, &gone]);
    let file = car::write(&[*root.cid()], [&root, &here]).unwrap();
    let outcome = door.import(named("a"), &file).await.unwrap();
    assert!(!outcome.is_kept);
    assert_eq!(outcome.missing, [*gone.cid()]);
    assert_eq!(door.pins().await, []);

    // A tail that is cut off, and a section that is not what its CID says.
    let whole = car::write(&[*root.cid()], [&root, &here, &gone]).unwrap();
    let cut = &whole[..whole.len() - 1];
    let refused = door.import(named("a"), cut).await.unwrap_err();
    let IngestError::Car(CarError::Truncated { offset, section }) = refused else {
        panic!("{refused}");
    };
    assert_eq!(offset, cut.len() as u64);
    let outcome = door.import(partial(), cut).await.unwrap();
    assert_eq!(
        outcome.tally.cut,
        Some(CarError::Truncated { offset, section })
    );
    assert!(outcome.is_kept);
    let mut changed = whole.clone();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    let refused = door.import(named("a"), &changed).await.unwrap_err();
    assert!(matches!(refused, IngestError::Car(CarError::Block { .. })));
    let outcome = door.import(partial(), &changed).await.unwrap();
    assert_eq!((outcome.is_kept, outcome.tally.refused_blocks), (true, 1));
    assert!(outcome.tally.refused[0].contains(&gone.cid().to_string()));

    // A length in its longer form, behind which nothing can be found.
    let broken = [&whole[..], &[0x80, 0x00, 1, 2, 3]].concat();
    let refused = door.import(named("a"), &broken).await.unwrap_err();
    assert!(matches!(refused, IngestError::Car(CarError::Length { .. })));
    let outcome = door.import(partial(), &broken).await.unwrap();
    assert_eq!((outcome.is_kept, outcome.tally.refused_blocks), (true, 1));
    assert_eq!(outcome.roots[0].1, ImportedState::Pinned);

    // What is here already need not be in the file.
    let empty = car::write(&[*root.cid()], []).unwrap();
    let outcome = door.import(named("b"), &empty).await.unwrap();
    assert!(outcome.is_kept);
}

#[tokio::test]
async fn the_same_file_again_changes_nothing() {
    let door = Door::with(64 << 20);
    let (one, two) = (leaf(1), leaf(2));
    let root = list(&[&one, &two]);
    let file = car::write(&[*root.cid()], [&one, &one, &two, &root]).unwrap();
    for (new_blocks, pins) in [(3, 1), (0, 1)] {
        let outcome = door.import(named("a"), &file).await.unwrap();
        assert!(outcome.is_kept);
        assert_eq!(
            (outcome.tally.blocks, outcome.tally.new_blocks),
            (4, new_blocks)
        );
        assert_eq!(door.pins().await.len(), pins);
    }
}

#[tokio::test]
async fn a_file_without_roots_has_those_blocks_to_which_no_other_links() {
    let door = Door::with(64 << 20);
    let (one, two, alone) = (leaf(1), leaf(2), leaf(3));
    let inner = list(&[&one, &two]);
    let root = list(&[&inner]);
    let file = car::write(&[], [&one, &inner, &alone, &root, &two, &root]).unwrap();
    let outcome = door.import(named("a"), &file).await.unwrap();
    assert!(outcome.is_kept && outcome.tally.roots_are_found);
    let roots: Vec<Cid> = outcome.roots.iter().map(|(root, _)| *root).collect();
    assert_eq!(roots, [*alone.cid(), *root.cid()]);
    // With a root of the operator's only that one counts, and the rest is told.
    let wish = ImportWish {
        roots: vec![*inner.cid()],
        ..named("b")
    };
    let outcome = door.import(wish, &file).await.unwrap();
    assert_eq!(outcome.roots.len(), 1);
    assert_eq!(outcome.unreached_blocks, 2);
    // And without any block there is nothing to keep.
    let outcome = door.import(named("c"), &car::write(&[], []).unwrap()).await;
    assert!(!outcome.unwrap().is_kept);
}

#[tokio::test]
async fn a_chain_and_a_fan_are_looked_through() {
    let door = Door::with(64 << 20);
    let mut blocks = vec![leaf(0)];
    for number in 1..5_000 {
        let last = blocks.last().unwrap();
        blocks.push(list(&[last, &leaf(number)]));
    }
    let leaves: Vec<Block> = (1..5_000).map(leaf).collect();
    let fan = list(&leaves.iter().collect::<Vec<_>>());
    let roots = [*blocks[4_999].cid(), *fan.cid()];
    let file = car::write(&roots, blocks.iter().chain(&leaves).chain([&fan])).unwrap();
    let outcome = door.import(named("a"), &file).await.unwrap();
    let states = outcome.roots.iter().map(|(_, state)| *state);
    assert!(
        states
            .into_iter()
            .all(|state| state == ImportedState::Pinned)
    );
}

#[tokio::test]
async fn what_is_known_of_a_file_has_its_share_of_the_memory_and_gives_it_back() {
    let door = Door::with(2 << 20);
    let leaves: Vec<Block> = (0..10_000).map(leaf).collect();
    let small = car::write(&[*leaves[0].cid()], &leaves[..10]).unwrap();
    let large = car::write(&[], &leaves).unwrap();
    let refused = door.import(named("a"), &large).await.unwrap_err();
    assert!(
        matches!(refused, IngestError::ImportMemory { .. }),
        "{refused}"
    );
    assert_eq!(door.ingest.memory.taken(), 0);
    door.import(named("a"), &small).await.unwrap();
    assert_eq!(door.ingest.memory.taken(), 0);
}

#[tokio::test]
async fn no_collection_begins_while_a_file_is_received() {
    let door = Door::with(64 << 20);
    let import = door.ingest.begin_import(named("a")).await.unwrap();
    let other = door.ingest.begin_import(named("b")).await.unwrap();
    assert!(door.ingest.without_imports().is_none());
    drop(import);
    assert!(door.ingest.without_imports().is_none());
    let received = other.finish().await;
    assert!(matches!(received.err(), Some(IngestError::Car(_))));
    assert!(door.ingest.without_imports().is_some());
}

#[tokio::test]
async fn content_that_its_cid_holds_is_stored_nowhere_and_what_it_links_to_is_kept() {
    let door = Door::with(64 << 20);
    let one = leaf(1);
    let inner = list(&[&one]);
    let hash = perennis_shared::cid::Multihash::wrap(0, inner.bytes()).unwrap();
    let root = Cid::new_v1(Codec::DagCbor.code(), hash);
    let held = Block::verified(root, inner.bytes().clone()).unwrap();
    let file = car::write(&[root], [&held, &one]).unwrap();
    let outcome = door.import(named("a"), &file).await.unwrap();
    assert_eq!(outcome.roots, [(root, ImportedState::Pinned)]);
    assert_eq!((outcome.tally.new_blocks, outcome.unreached_blocks), (1, 0));
    assert_eq!(door.pins().await.len(), 1);
}
