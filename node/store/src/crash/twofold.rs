//! Damage that meets what the store did before: removed files, failed writes, rows that are set aside.

use std::collections::BTreeSet;
use std::io::ErrorKind;

use perennis_shared::cid::{Block, Codec};

use super::model::{self, Step, batch};
use super::{Machine, options, run};
use crate::disk::Disk as _;
use crate::keys;
use crate::kv::KvBatch;
use crate::location::FileNumber;
use crate::testing::{Loss, Power};
use crate::{Batch, CommitError, LossKind, Store, StoreState};

/// Flips a bit in the first place of the log where these bytes stand.
fn damage(machine: &Machine, bytes: &[u8]) {
    let files = machine.disk.files().into_iter();
    let mut segments = files.filter(|(path, _)| path.extension().is_some_and(|kind| kind == "seg"));
    let is_damaged = segments.any(|(path, _)| {
        let written = machine.disk.bytes(&path).unwrap();
        let at = written.windows(bytes.len()).position(|part| part == bytes);
        at.is_some_and(|at| machine.disk.damage(&path, at, 1))
    });
    assert!(is_damaged);
}

/// As if nothing had come into the index since it was flushed last.
fn killed(machine: Machine, store: Store) -> Machine {
    machine.power.cut();
    drop(store);
    machine.restart(Loss::Everything, Power::default())
}

fn raw(text: &str, bytes: usize) -> Block {
    Block::new(Codec::Raw, text.repeat(bytes / text.len() + 1).into_bytes()).unwrap()
}

fn put(store: &Store, block: &Block) {
    let mut batch = Batch::new();
    batch
        .put_block(block.clone())
        .pin(&block.cid().to_bytes(), *block.cid());
    store.commit(batch).unwrap();
}

/// Sets three heads of a name, each in a group of its own.
fn set_heads(store: &Store) {
    for number in [1, 2, 5] {
        store.commit(batch(number)).unwrap();
    }
}

/// One more group, which shows that those before it were acknowledged.
fn prove(store: &Store) {
    let mut last = Batch::new();
    last.put_meta(b"after", b"".to_vec());
    store.commit(last).unwrap();
}

fn numbers(store: &Store) -> BTreeSet<FileNumber> {
    store.inner().file_rows().into_keys().collect()
}

#[test]
fn a_number_is_not_given_to_a_second_file_after_the_first_is_gone() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    // They fill a segment. The next has only little in it, so that it is written to until the end.
    let dying = [raw("dies ", 1600), raw("dies too ", 1600)];
    for block in &dying {
        put(&store, block);
    }
    let mut small = Batch::new();
    small.put_meta(b"small", b"".to_vec());
    store.commit(small).unwrap();
    let pack = || {
        run(&store, Step::Collect).unwrap();
        while !store.compact(70).unwrap().done {}
    };
    pack();
    for _ in 0..2 {
        store.inner().checkpointing.want();
        store.checkpoint().unwrap();
    }
    let before = numbers(&store);
    assert_eq!(before, [1, 2, 3].map(FileNumber).into());
    let mut last = Batch::new();
    for block in &dying {
        last.unpin(&block.cid().to_bytes());
    }
    store.commit(last).unwrap();
    pack();
    let files = machine.disk.files().into_iter();
    let mut files = files.filter_map(|(path, _)| path.extension().map(ToOwned::to_owned));
    assert_eq!(files.clone().filter(|kind| kind == "seg").count(), 1);
    assert!(files.all(|kind| kind != "pack"));
    drop(store);
    let store = machine.open().unwrap();
    let left = numbers(&store);
    let staying: Vec<Block> = (0..12).map(|n| raw(&format!("stays {n} "), 1500)).collect();
    for block in &staying {
        put(&store, block);
    }
    let given: Vec<_> = numbers(&store).difference(&left).copied().collect();
    assert!(given.len() > 3, "{given:?}");
    assert!(given.iter().all(|number| !before.contains(number)));
    drop(store);
    // The checkpoints know the file that is gone, and the log says when it went.
    machine.home.remove();
    let store = machine.open().unwrap();
    assert!(store.rebuilt().is_some());
    for _ in 0..2 {
        for block in &staying {
            assert_eq!(store.block(block.cid()).unwrap().as_ref(), Some(block));
        }
        run(&store, Step::Compact).unwrap();
    }
}

#[test]
fn what_a_start_could_not_write_down_counts_for_the_first_commit_all_the_same() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    set_heads(&store);
    prove(&store);
    let machine = killed(machine, store);
    // The batch that set the newest head is lost, and so is the body of a block of another.
    damage(&machine, b"record 5 value");
    let block = model::blocks(2)[1].clone();
    damage(&machine, b"own 2 o");
    let mut failed = 0;
    for point in 0.. {
        let machine = machine.copy(Loss::Nothing, Power::default());
        machine.power.fail_at(point, ErrorKind::Other);
        let opened = machine.open();
        let came = machine.power.points() > point;
        machine.power.fail_at(u64::MAX, ErrorKind::Other);
        let Ok(store) = opened else { continue };
        let mut again = Batch::new();
        again.put_block(block.clone());
        if store.commit(again).is_ok() {
            assert_eq!(
                store.block(block.cid()).unwrap().as_ref(),
                Some(&block),
                "{point}"
            );
        } else {
            failed += 1;
            if store.state() == StoreState::Failed {
                // The log has it and the index has not: the next start brings them together.
                continue;
            }
        }
        let refused = store.commit(batch(4));
        assert!(
            matches!(refused, Err(CommitError::Stale { stored: 5, .. })),
            "{point}: {refused:?}"
        );
        if !came {
            break;
        }
    }
    assert!(failed < 3, "{failed}");
}

#[test]
fn of_two_heads_of_a_name_that_were_lost_the_newer_is_the_min_sequence() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    set_heads(&store);
    prove(&store);
    let machine = killed(machine, store);
    damage(&machine, b"record 2 value");
    damage(&machine, b"record 5 value");
    let store = machine.open().unwrap();
    assert_eq!(store.min_sequence(&model::name()).unwrap(), Some(5));
}

#[test]
fn a_head_that_was_lost_and_deleted_later_is_not_looked_for() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    set_heads(&store);
    let mut gone = Batch::new();
    gone.delete_head(&model::name());
    store.commit(gone).unwrap();
    prove(&store);
    let machine = killed(machine, store);
    damage(&machine, b"record 5 value");
    let store = machine.open().unwrap();
    assert_eq!(store.losses().unwrap().len(), 1);
    assert_eq!(store.head(&model::name()).unwrap(), None);
    assert_eq!(store.min_sequence(&model::name()).unwrap(), None);
    assert_eq!(store.queue_len(crate::LOST_HEADS).unwrap(), 0);
}

#[test]
fn a_pack_outlives_the_group_that_took_it_into_use() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    let blocks: Vec<Block> = (0..12).map(|n| raw(&format!("kept {n} "), 1500)).collect();
    for block in &blocks {
        put(&store, block);
    }
    run(&store, Step::Collect).unwrap();
    for _ in 0..2 {
        store.inner().checkpointing.want();
        store.checkpoint().unwrap();
    }
    while !store.compact(70).unwrap().done {}
    prove(&store);
    let rows = store.inner().file_rows();
    let names: Vec<_> = rows.values().filter_map(|row| row.pack_name()).collect();
    assert!(!names.is_empty());
    drop(store);
    for name in &names {
        damage(&machine, &name.0);
    }
    machine.home.remove();
    let store = machine.open().unwrap();
    let kinds: Vec<_> = store
        .losses()
        .unwrap()
        .iter()
        .map(|loss| loss.kind)
        .collect();
    assert!(kinds.contains(&LossKind::DamagedGroup), "{kinds:?}");
    for round in 0..2 {
        for block in &blocks {
            assert_eq!(
                store.block(block.cid()).unwrap().as_ref(),
                Some(block),
                "{round}"
            );
        }
        run(&store, Step::Collect).unwrap();
        run(&store, Step::Compact).unwrap();
    }
    assert!(store.quarantine(None, 9).unwrap().is_empty());
}

#[test]
fn a_checkpoint_with_a_row_of_a_file_that_cannot_be_read_gives_the_rest() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    for number in 1..8 {
        store.commit(batch(number)).unwrap();
    }
    let rows = model::rows(&store);
    let (&number, _) = store.inner().file_rows().iter().next().unwrap();
    let mut bad = KvBatch::default();
    bad.put(keys::file(number), [99, 1, 2]);
    store.inner().shared.index.kv.write(bad).unwrap();
    store.checkpoint().unwrap();
    drop(store);
    machine.home.remove();
    let store = machine.open().unwrap();
    assert_eq!(model::rows(&store), rows);
    let kinds: Vec<_> = store
        .losses()
        .unwrap()
        .iter()
        .map(|loss| loss.kind)
        .collect();
    assert_eq!(kinds, [LossKind::UnreadableTable]);
    assert_eq!(store.damage().unwrap().rows_set_aside, 1);
}

#[test]
fn more_segments_of_another_store_do_not_make_a_folder_that_store() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    let block = raw("ours ", 1000);
    put(&store, &block);
    store.checkpoint().unwrap();
    drop(store);
    let other = Machine::new(Power::default(), options());
    // Of two disks the first draw is the same, and by it the store.
    other.disk.entropy().unwrap();
    let store = other.open().unwrap();
    for number in 0..8 {
        put(&store, &raw(&format!("theirs {number} "), 3000));
    }
    drop(store);
    let ours: BTreeSet<_> = machine
        .disk
        .files()
        .into_iter()
        .map(|(path, _)| path)
        .collect();
    let mut copied = 0;
    for (path, length) in other.disk.files() {
        if path.extension().is_some_and(|kind| kind == "seg") && !ours.contains(&path) {
            let file = machine.disk.create(&path, length as u64).unwrap();
            file.write_at(&other.disk.bytes(&path).unwrap(), 0).unwrap();
            file.sync().unwrap();
            copied += 1;
        }
    }
    assert!(copied > 4, "{copied}");
    machine.home.remove();
    let store = machine.open().unwrap();
    assert_eq!(store.block(block.cid()).unwrap(), Some(block.clone()));
    assert_eq!(
        store.pin(&block.cid().to_bytes()).unwrap(),
        Some(*block.cid())
    );
    assert!(store.losses().unwrap().is_empty());
}

#[test]
fn a_min_sequence_is_there_whenever_the_power_goes_at_the_start_that_finds_it() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    set_heads(&store);
    prove(&store);
    let machine = killed(machine, store);
    damage(&machine, b"record 5 value");
    damage(&machine, b"own 2 o");
    for point in 0..30 {
        let cut = machine.copy(Loss::Nothing, Power::cut_at(point));
        drop(cut.open());
        let cut = cut.restart(Loss::Nothing, Power::default());
        let store = cut.open().unwrap();
        assert!(!store.losses().unwrap().is_empty(), "{point}");
        assert_eq!(
            store.min_sequence(&model::name()).unwrap(),
            Some(5),
            "{point}"
        );
        // A block that is damaged is found by who reads it.
        store.scrub(1 << 20).unwrap();
        assert_eq!(store.quarantine(None, 9).unwrap().len(), 1, "{point}");
    }
}

#[test]
fn what_a_start_could_not_write_down_is_found_by_the_next_one_after_a_clean_stop() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    set_heads(&store);
    prove(&store);
    let machine = killed(machine, store);
    damage(&machine, b"record 5 value");
    damage(&machine, b"own 2 o");
    let mut wrong = Vec::new();
    for point in 0..40 {
        let machine = machine.copy(Loss::Nothing, Power::default());
        machine.power.fail_at(point, ErrorKind::Other);
        drop(machine.open());
        machine.power.fail_at(u64::MAX, ErrorKind::Other);
        let store = machine.open().unwrap();
        let is_told = !store.losses().unwrap().is_empty();
        let min_sequence = store.min_sequence(&model::name()).unwrap();
        store.scrub(1 << 20).unwrap();
        let quarantined = store.quarantine(None, 9).unwrap().len();
        if (is_told, min_sequence, quarantined) != (true, Some(5), 1) {
            wrong.push((point, is_told, min_sequence, quarantined));
        }
    }
    assert_eq!(wrong, []);
}
