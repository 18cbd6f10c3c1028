//! Files that were missing, damaged or swapped, and are back.

use std::path::{Path, PathBuf};

use perennis_shared::cid::{Block, Codec};

use super::files::told;
use super::model::{Seen, batch, seen};
use super::newest::{left_by, path, small};
use super::{DIR, Machine, Step, options, run};
use crate::disk::Disk as _;
use crate::rows::FileKind;
use crate::testing::{Loss, Power};
use crate::{Batch, LossKind, Store};

/// A machine whose store was closed, with a pack.
pub(super) fn packed() -> Machine {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    for number in [3, 6, 9, 10] {
        store.commit(batch(number)).unwrap();
        upkeep_once(&store);
    }
    drop(store);
    machine
}

/// A pack with zeros in its place, and a store that has found that.
struct Zeroed {
    machine: Machine,
    store: Store,
    pack: PathBuf,
    /// What the pack was.
    bytes: Vec<u8>,
    /// What the store showed before.
    before: Seen,
}

impl Zeroed {
    fn new() -> Self {
        let machine = packed();
        let store = machine.open().unwrap();
        let before = seen(&store);
        let pack = packs(&store).pop().unwrap();
        drop(store);
        let bytes = take_away(&machine, &pack);
        put_back(&machine, &pack, &vec![0; bytes.len()]);
        let store = machine.open().unwrap();
        scrub(&store);
        Self {
            machine,
            store,
            pack,
            bytes,
            before,
        }
    }
}

/// One round, and what it has found is set aside.
fn scrub(store: &Store) {
    while !store.scrub(1 << 20).unwrap().round_done {}
    store.commit(Batch::new()).unwrap();
}

/// The packs that are in use and have blocks.
fn packs(store: &Store) -> Vec<PathBuf> {
    let rows = store.inner().file_rows();
    let packs = rows
        .iter()
        .filter(|(_, row)| row.kind == FileKind::Pack && !row.is_dropped && row.live_bytes > 0);
    packs
        .map(|(number, row)| row.path(*number, Path::new(DIR)))
        .collect()
}

fn take_away(machine: &Machine, path: &Path) -> Vec<u8> {
    let bytes = machine.disk.bytes(path).unwrap();
    machine.disk.remove(path).unwrap();
    bytes
}

fn put_back(machine: &Machine, path: &Path, bytes: &[u8]) {
    let file = machine.disk.create(path, 0).unwrap();
    file.write_at(bytes, 0).unwrap();
    file.sync().unwrap();
    machine.disk.sync_dir(path.parent().unwrap()).unwrap();
}

fn upkeep_once(store: &Store) {
    for step in [Step::Collect, Step::Compact, Step::Checkpoint] {
        run(store, step).unwrap();
    }
}

fn upkeep(store: &Store) {
    for _ in 0..3 {
        upkeep_once(store);
    }
}

#[test]
fn a_pack_gives_its_blocks_again_whenever_it_is_put_back_and_stays() {
    // While the store is closed; while it is open, before and after upkeep.
    for when in 0..3 {
        let machine = packed();
        let store = machine.open().unwrap();
        let before = seen(&store);
        let pack = packs(&store).pop().unwrap();
        drop(store);
        let bytes = take_away(&machine, &pack);
        let store = machine.open().unwrap();
        let lost: Vec<_> = store.losses().unwrap();
        assert_eq!(lost.len(), 1, "{lost:?}");
        assert_eq!(lost[0].kind, LossKind::MissingFile);
        assert!(seen(&store) != before);
        if when == 2 {
            upkeep(&store);
        }
        if when > 0 {
            put_back(&machine, &pack, &bytes);
            upkeep(&store);
        }
        drop(store);
        if when == 0 {
            put_back(&machine, &pack, &bytes);
        }
        let store = machine.open().unwrap();
        let kinds: Vec<_> = told(store.found_at_start())
            .iter()
            .map(|(_, kind, _)| *kind)
            .collect();
        assert_eq!(kinds, [LossKind::ReturnedFile], "{when}");
        assert_eq!(store.quarantine(None, 9).unwrap(), [], "{when}");
        assert!(seen(&store) == before, "{when}");
        store.dismiss_losses().unwrap();
        upkeep(&store);
        assert!(seen(&store) == before, "{when}");
        drop(store);
        let store = machine.open().unwrap();
        assert_eq!(told(store.found_at_start()), [], "{when}");
        assert!(seen(&store) == before, "{when}");
    }
}

#[test]
fn blocks_of_a_file_that_was_another_for_a_while_are_found_where_they_lie() {
    let Zeroed {
        machine,
        store,
        pack,
        bytes,
        before,
    } = Zeroed::new();
    let aside = store.quarantine(None, 99).unwrap().len() as u64;
    assert!(aside > 1);
    assert_eq!(store.look_again(None, 99).unwrap().stored, 0);
    drop(store);
    put_back(&machine, &pack, &bytes);
    let store = machine.open().unwrap();
    let (mut stored, mut after) = (0, None);
    loop {
        let looked = store.look_again(after.as_ref(), 1).unwrap();
        stored += looked.stored;
        match looked.last {
            Some(last) => after = Some(last),
            None => break,
        }
    }
    assert_eq!(stored, aside);
    assert_eq!(store.quarantine(None, 9).unwrap(), []);
    assert!(seen(&store) == before);
}

#[test]
fn what_is_noted_of_a_block_that_another_index_has_again_goes_with_the_next_look() {
    let Zeroed {
        machine,
        store,
        pack,
        bytes,
        ..
    } = Zeroed::new();
    assert!(!store.quarantine(None, 99).unwrap().is_empty());
    store.checkpoint().unwrap();
    drop(store);
    put_back(&machine, &pack, &bytes);
    machine.home.remove();
    let store = machine.open().unwrap();
    let aside = store.quarantine(None, 99).unwrap();
    assert_eq!(
        store.look_again(None, 99).unwrap().stored,
        aside.len() as u64
    );
    assert_eq!(store.quarantine(None, 99).unwrap(), []);
}

/// In the middle of what the index has not got yet, nothing says which segment a missing group was in.
#[test]
fn a_segment_from_before_the_end_gives_its_blocks_again_and_is_not_removed_before() {
    let block = |number: u8| Block::new(Codec::Raw, vec![number; 300]).unwrap();
    for missing in 1..=3 {
        let machine = Machine::new(Power::default(), options());
        let store = machine.open().unwrap();
        for number in 1..=12 {
            let mut batch = small(number, 1700);
            batch.pin(&[number], *block(number).cid());
            batch.put_block(block(number));
            store.commit(batch).unwrap();
        }
        let machine = left_by(machine, Loss::Nothing);
        drop(store);
        assert!(machine.disk.bytes(&path(4)).is_some());
        let bytes = take_away(&machine, &path(missing));
        let store = machine.open().unwrap();
        assert!(
            store
                .losses()
                .unwrap()
                .iter()
                .any(|loss| loss.kind == LossKind::MissingGroups)
        );
        put_back(&machine, &path(missing), &bytes);
        upkeep(&store);
        drop(store);
        let store = machine.open().unwrap();
        let found = store.found_at_start();
        let returned = found
            .iter()
            .find(|loss| loss.kind == LossKind::ReturnedFile);
        let returned = returned.unwrap_or_else(|| panic!("{missing}: {found:?}"));
        assert_eq!(returned.file.0, missing);
        assert!(returned.blocks > 0, "{missing}: {found:?}");
        for number in 1..=12 {
            let stored = store.block(block(number).cid()).unwrap();
            assert!(stored.is_some(), "{missing}: {number}");
        }
        // What is collected since does not come with the next start.
        for number in 1..=12 {
            let mut batch = Batch::new();
            batch.unpin(&[number]);
            store.commit(batch).unwrap();
        }
        upkeep(&store);
        let kept = store.stats().blocks;
        drop(store);
        let store = machine.open().unwrap();
        assert_eq!(told(store.found_at_start()), [], "{missing}");
        assert_eq!(store.stats().blocks, kept, "{missing}");
    }
}

/// Two files with each other's name: upkeep finds nothing of theirs in them, and each is all that is left of the other.
#[test]
fn a_file_in_which_blocks_were_found_damaged_stays_for_a_while() {
    let Zeroed {
        machine,
        store,
        pack,
        bytes,
        before,
    } = Zeroed::new();
    upkeep(&store);
    assert_eq!(packs(&store), Vec::<PathBuf>::new());
    drop(store);
    assert!(machine.disk.bytes(&pack).is_some());
    put_back(&machine, &pack, &bytes);
    let store = machine.open().unwrap();
    upkeep(&store);
    while store.look_again(None, 99).unwrap().stored > 0 {}
    assert_eq!(store.quarantine(None, 9).unwrap(), []);
    assert!(seen(&store) == before);
}

/// A pack that compaction has dropped and that waits for a checkpoint is no pack that somebody has put back.
#[test]
fn what_was_deleted_does_not_come_back_with_a_damaged_block() {
    let machine = packed();
    let store = machine.open().unwrap();
    // Into a pack that no checkpoint knows.
    store.commit(batch(12)).unwrap();
    store.commit(batch(13)).unwrap();
    store.collect().unwrap().finish().unwrap();
    while !store.compact(100).unwrap().done {}
    let mut batch = Batch::new();
    for pin in store.pins(None, 99).unwrap().iter().skip(1) {
        batch.unpin(&pin.0);
    }
    store.commit(batch).unwrap();
    store.collect().unwrap().finish().unwrap();
    while !store.compact(100).unwrap().done {}
    let rows = store.inner().file_rows();
    assert!(
        rows.values()
            .any(|row| row.kind == FileKind::Pack && row.is_dropped)
    );
    let kept = store.stats().blocks;
    let live = packs(&store).pop().unwrap();
    drop(store);
    assert!(machine.disk.damage(&live, 70, 1));
    let store = machine.open().unwrap();
    scrub(&store);
    let aside = store.quarantine(None, 99).unwrap().len() as u64;
    assert_eq!(aside, 1);
    drop(store);
    let store = machine.open().unwrap();
    assert_eq!(told(store.found_at_start()), []);
    assert_eq!(store.stats().blocks, kept - aside);
}
