//! Faults without a power cut: errors at every point, a full disk, damage, a folder that refuses.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::model::{self, Model, Step, WORKLOAD, batch, seen};
use super::{DIR, Machine, check, options, points, run};
use crate::disk::Disk as _;
use crate::segment::GROUPS_START;
use crate::testing::{Loss, Power};
use crate::{Batch, CommitError, REFETCH, ReadError, Store, StoreOptions, StoreState};

/// Segment files that have a name, the oldest first.
fn segment_files(machine: &Machine) -> Vec<(PathBuf, usize)> {
    let mut files = machine.disk.files();
    files.retain(|(path, _)| path.extension().is_some_and(|name| name == "seg"));
    files
}

#[test]
fn an_error_at_every_point_is_told_and_what_was_acknowledged_stays() {
    for kind in [ErrorKind::Other, ErrorKind::StorageFull] {
        for point in 0..points() {
            let context = format!("{kind} at {point}");
            let machine = Machine::new(Power::default(), options());
            machine.power.fail_at(point, kind);
            let mut model = Model::default();
            let mut states = vec![model.clone()];
            let Ok(store) = machine.open() else { continue };
            for step in WORKLOAD {
                if !model.suits(*step) {
                    continue;
                }
                let result = run(&store, *step);
                let mut after = model.clone();
                after.apply(*step);
                if result.is_ok() {
                    model = after.clone();
                    states = vec![after];
                } else {
                    model = model.unfinished(*step);
                    // Only what fails last may be in the log all the same.
                    states = vec![model.clone(), after];
                }
                assert!(model.matches(&seen(&store)), "{context}: {step:?}");
                if store.state() == StoreState::Failed {
                    break;
                }
            }
            drop(store);
            check(
                &machine.restart(Loss::Everything, Power::default()),
                &states,
                &context,
            );
        }
    }
}

#[test]
fn a_full_disk_serves_reads_collects_garbage_and_comes_back() {
    let machine = Machine::new(Power::default(), options());
    // A reserve and seven segments.
    machine.disk.set_space(Some(88 << 10));
    let store = machine.open().unwrap();
    let mut model = Model::default();
    let mut number = 1;
    let full = loop {
        match store.commit(batch(number)) {
            Ok(_) => model.apply(Step::Commit(number)),
            Err(error) => break error,
        }
        number += 1;
        assert!(number < 60, "the disk never ran full");
    };
    assert!(matches!(full, CommitError::Full), "{full}");
    assert_eq!(store.state(), StoreState::Full);
    assert!(model.matches(&seen(&store)));
    // Full it stays, and says so, until something is collected.
    assert!(matches!(
        store.commit(batch(number)),
        Err(CommitError::Full)
    ));
    run(&store, Step::Collect).unwrap();
    model.apply(Step::Collect);
    run(&store, Step::Compact).unwrap();
    assert!(model.matches(&seen(&store)));
    store.commit(batch(number)).unwrap();
    model.apply(Step::Commit(number));
    assert_eq!(store.state(), StoreState::Writable);
    drop(store);
    let machine = machine.restart(Loss::Everything, Power::default());
    assert!(model.matches(&seen(&machine.open().unwrap())));
}

#[test]
fn on_a_full_disk_pins_are_let_go_of_and_what_they_kept_is_collected() {
    let machine = Machine::new(Power::default(), options());
    machine.disk.set_space(Some(88 << 10));
    let store = machine.open().unwrap();
    let mut number = 1;
    while store.commit(batch(number)).is_ok() {
        number += 1;
        assert!(number < 60, "the disk never ran full");
    }
    assert_eq!(store.state(), StoreState::Full);
    let pins = store.pins(None, 100).unwrap();
    assert!(!pins.is_empty());
    for (key, _) in &pins {
        let mut letting_go = Batch::new();
        letting_go.unpin(key);
        store.commit(letting_go).unwrap();
    }
    assert!(store.pins(None, 100).unwrap().is_empty());
    assert!(matches!(store.commit(Batch::new()), Err(CommitError::Full)));
    assert!(matches!(
        store.commit(batch(number)),
        Err(CommitError::Full)
    ));
    run(&store, Step::Collect).unwrap();
    run(&store, Step::Compact).unwrap();
    store.commit(batch(number)).unwrap();
    assert_eq!(store.state(), StoreState::Writable);
}

#[test]
fn what_lets_go_is_not_refused_where_it_is_the_first_to_find_the_disk_full() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    store.commit(batch(1)).unwrap();
    let (key, _) = store.pins(None, 1).unwrap().remove(0);
    let mut letting_go = Batch::new();
    letting_go.unpin(&key);
    let next = machine.power.points();
    machine.power.fail_at(next, ErrorKind::StorageFull);
    store.commit(letting_go).unwrap();
    assert_eq!(store.pin(&key).unwrap(), None);
    assert_eq!(store.state(), StoreState::Full);
}

#[test]
fn only_what_lets_go_and_does_nothing_else_counts_as_letting_go() {
    let whole = batch(1);
    let cid = *whole.blocks[0].cid();
    let lets_go = |and: &dyn Fn(&mut Batch)| {
        let mut batch = Batch::new();
        batch.unpin(b"pin").delete_meta(b"key");
        and(&mut batch);
        batch.only_lets_go()
    };
    assert!(lets_go(&|_| {}));
    assert!(lets_go(&|batch| _ = batch.delete_head(&model::name())));
    assert!(!lets_go(&|batch| batch.blocks = whole.blocks.clone()));
    assert!(!lets_go(&|batch| batch.heads = whole.heads.clone()));
    assert!(!lets_go(&|batch| _ = batch.require(cid)));
    assert!(!lets_go(&|batch| _ = batch.pin_unstored(b"pin", cid)));
    assert!(!lets_go(&|batch| _ = batch.put_meta(b"key", b"".to_vec())));
    assert!(!Batch::new().only_lets_go());
}

#[test]
fn what_fits_is_written_where_the_space_of_a_whole_segment_is_not_there() {
    let machine = Machine::new(Power::default(), options());
    let options = StoreOptions {
        segment_bytes: 64 << 10,
        ..super::options()
    };
    let open = |machine: &Machine| {
        let home = Arc::new(machine.home.clone());
        let disk = Arc::new(machine.disk.clone());
        Store::open_on(Path::new(DIR), &options, disk, home, None, &mut |_| {}).unwrap()
    };
    let store = open(&machine);
    let small = |number: u8| {
        let mut batch = Batch::new();
        batch.put_meta(&[number], vec![number; 500]);
        batch
    };
    let used = machine.disk.used_bytes();
    machine.disk.set_space(Some(used + (18 << 10)));
    let mut written = 0;
    while store.commit(small(written)).is_ok() {
        assert_eq!(store.state(), StoreState::Writable);
        written += 1;
        assert!(written < 100, "the disk never ran full");
    }
    // One segment of a quarter, and no file for each that came when it was full.
    assert!(written > 10, "{written}");
    assert_eq!(segment_files(&machine).len(), 1);
    assert_eq!(store.state(), StoreState::Full);
    // A single large group takes what it needs and no more.
    let large = || {
        let mut batch = Batch::new();
        batch.put_meta(b"large", vec![1; 20 << 10]);
        batch
    };
    let used = machine.disk.used_bytes() + options.reserve_bytes;
    machine.disk.set_space(Some(used));
    assert!(matches!(store.commit(large()), Err(CommitError::Full)));
    machine.disk.set_space(Some(used + (26 << 10)));
    store.commit(large()).unwrap();
    assert_eq!(store.state(), StoreState::Writable);
    drop(store);
    let machine = machine.restart(Loss::Everything, Power::default());
    let store = open(&machine);
    assert!(store.found_at_start().is_empty());
    assert!(store.meta(b"large").unwrap().is_some());
    for number in 0..written {
        assert!(store.meta(&[number]).unwrap().is_some(), "{number}");
    }
}

#[test]
fn a_full_disk_comes_back_when_somebody_else_makes_space() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    store.commit(batch(1)).unwrap();
    machine.disk.set_space(Some(machine.disk.used_bytes()));
    let mut number = 2;
    while store.commit(batch(number)).is_ok() {
        number += 1;
    }
    assert_eq!(store.state(), StoreState::Full);
    machine.disk.set_space(None);
    store.commit(batch(number)).unwrap();
    assert_eq!(store.state(), StoreState::Writable);
}

#[test]
fn every_flipped_bit_of_a_block_is_found_and_the_block_heals_when_it_is_put_again() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    store.commit(batch(1)).unwrap();
    let before = seen(&store);
    let (path, length) = segment_files(&machine).remove(0);
    let mut found = 0;
    for offset in 4096..length.min(5600) {
        assert!(machine.disk.damage(&path, offset, 1 << (offset % 8)));
        for cid in before.blocks.keys() {
            match store.block(cid) {
                Ok(Some(_)) => {}
                Err(ReadError::Corrupt { cid: bad, .. }) => {
                    assert_eq!(*bad, *cid);
                    // The next commit comes after the quarantine: both go through the committer.
                    let healed = store.commit(batch(1)).unwrap();
                    assert_eq!(healed.new_blocks, 1);
                    assert!(store.block(cid).unwrap().is_some());
                    assert!(store.quarantine(None, 10).unwrap().is_empty());
                    found += 1;
                }
                other => panic!("{offset}: {other:?}"),
            }
        }
        assert!(machine.disk.damage(&path, offset, 1 << (offset % 8)));
    }
    assert!(found >= 3, "{found}");
}

#[test]
fn a_damaged_block_is_recorded_reported_queued_and_no_longer_served() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    store.commit(batch(1)).unwrap();
    let cids: Vec<_> = seen(&store).blocks.into_keys().collect();
    machine.disk.set_read_fault(Some(ErrorKind::Other));
    assert!(matches!(store.block(&cids[0]), Err(ReadError::Disk { .. })));
    machine.disk.set_read_fault(None);
    assert!(
        store.block(&cids[0]).unwrap().is_some(),
        "a fault that passes takes nothing"
    );
    machine.disk.set_read_fault(Some(ErrorKind::UnexpectedEof));
    assert!(matches!(store.block(&cids[0]), Err(ReadError::Disk { .. })));
    machine.disk.set_read_fault(None);
    store.scrub(u64::MAX).unwrap();
    assert!(store.block(&cids[0]).unwrap().is_none());
    assert_eq!(store.quarantine(None, 10).unwrap()[0].cid, cids[0]);
    let refetch = store.queue_next(REFETCH).unwrap().unwrap();
    let mut key = Vec::new();
    perennis_shared::cid::write_multihash(&mut key, cids[0].hash());
    assert_eq!(refetch.key, key);
    // It is a fact of the log too.
    drop(store);
    let machine = machine.restart(Loss::Everything, Power::default());
    let store = machine.open().unwrap();
    assert!(!store.has(&cids[0]).unwrap());
    assert_eq!(store.quarantine(None, 10).unwrap().len(), 1);
}

#[test]
fn damage_anywhere_in_the_log_never_stops_the_start_and_is_never_silent() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    for number in 1..6 {
        store.commit(batch(number)).unwrap();
    }
    let all = seen(&store);
    machine.power.cut();
    drop(store);
    // The index survives as it was before the first commit, so the whole log is replayed.
    let machine = machine.restart(Loss::Everything, Power::default());
    for (path, length) in segment_files(&machine) {
        for offset in (0..length).step_by(7) {
            let context = format!("{} at {offset}", path.display());
            machine.disk.damage(&path, offset, 0x40);
            let copy = machine.copy(Loss::Everything, Power::default());
            let store = copy.open().unwrap();
            let mut is_told = !store.found_at_start().is_empty();
            let mut whole = 0;
            for cid in store.cids(None, usize::MAX).unwrap() {
                match store.block(&cid) {
                    Ok(Some(block)) => {
                        assert_eq!(all.blocks.get(&cid), Some(block.bytes()), "{context}");
                        whole += 1;
                    }
                    Err(ReadError::Corrupt { .. }) => is_told = true,
                    other => panic!("{context}: {other:?}"),
                }
            }
            let is_all = whole == all.blocks.len() && model::rows(&store) == all.rows;
            assert!(
                is_all || is_told,
                "{context}: something is missing, and nothing says so"
            );
            if store
                .found_at_start()
                .iter()
                .any(|loss| loss.kind.is_of_acknowledged_data())
            {
                assert!(!store.losses().unwrap().is_empty(), "{context}");
            }
            store.commit(batch(50)).unwrap();
            machine.disk.damage(&path, offset, 0x40);
        }
    }
    assert_eq!(seen(&machine.open().unwrap()), all);
}

#[test]
fn a_log_that_is_damaged_in_memory_only_is_read_from_the_disk() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    for number in 1..6 {
        store.commit(batch(number)).unwrap();
    }
    let all = seen(&store);
    machine.power.cut();
    drop(store);
    let machine = machine.restart(Loss::Everything, Power::default());
    for (path, length) in segment_files(&machine) {
        for offset in (0..length).step_by(31) {
            let copy = machine.copy(Loss::Everything, Power::default());
            // Headers are read through the cache: one of the two is enough.
            copy.disk.damage_cached(&path, offset, 0x40);
            let store = copy.open().unwrap();
            let found = store.found_at_start();
            assert!(
                found.is_empty(),
                "{} at {offset}: {found:?}",
                path.display()
            );
            assert_eq!(seen(&store), all, "{} at {offset}", path.display());
        }
    }
}

#[test]
fn a_loss_that_is_found_again_is_written_down_once() {
    let mut machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    for number in 1..6 {
        store.commit(batch(number)).unwrap();
    }
    machine.power.cut();
    drop(store);
    machine = machine.restart(Loss::Everything, Power::default());
    // The payload of the first group's batch begins 160 bytes behind its head.
    let (path, _) = segment_files(&machine).remove(0);
    machine
        .disk
        .damage(&path, GROUPS_START as usize + 170, 0x40);
    for _ in 0..3 {
        let store = machine.open().unwrap();
        assert_eq!(store.found_at_start().len(), 1);
        assert_eq!(store.losses().unwrap().len(), 1);
        machine.power.cut();
        drop(store);
        machine = machine.restart(Loss::Everything, Power::default());
    }
}

#[test]
fn what_stands_behind_the_log_is_durable_elsewhere_before_it_is_cut() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    store.commit(batch(1)).unwrap();
    machine.power.cut();
    drop(store);
    let machine = machine.restart(Loss::Everything, Power::default());
    let (path, length) = segment_files(&machine).remove(0);
    machine.disk.damage(&path, length - 1, 0x40);
    let store = machine.open().unwrap();
    machine.power.cut();
    drop(store);
    let machine = machine.restart(Loss::Everything, Power::default());
    let mut moved = machine.disk.files();
    moved.retain(|(path, _)| path.starts_with(Path::new(DIR).join("lost")));
    assert_eq!(moved.len(), 1);
    let (path, length) = moved.remove(0);
    let file = machine.disk.open(&path).unwrap();
    assert_eq!(file.read_vec_at(1, length as u64 - 1).unwrap(), [0x40]);
}

#[test]
fn a_segment_whose_name_was_not_durable_keeps_what_is_written_into_it_later() {
    for point in 0..60 {
        let machine = Machine::new(Power::default(), options());
        machine.power.fail_at(point, ErrorKind::Other);
        if let Ok(store) = machine.open() {
            let _ = store.commit(batch(1));
        }
        // The process ended there, and nothing was lost with it.
        let Ok(store) = machine.open() else { continue };
        if store.commit(batch(2)).is_ok() {
            let before = seen(&store);
            machine.power.cut();
            drop(store);
            let machine = machine.restart(Loss::Everything, Power::default());
            assert_eq!(seen(&machine.open().unwrap()), before, "{point}");
        }
    }
}

#[test]
fn a_block_that_was_damaged_in_the_log_and_put_again_stays() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    store.commit(batch(1)).unwrap();
    store.commit(batch(2)).unwrap();
    machine.power.cut();
    drop(store);
    let machine = machine.restart(Loss::Everything, Power::default());
    let body = b"own 1 ooooooooooooo";
    let damaged = segment_files(&machine).into_iter().any(|(path, _)| {
        let bytes = machine.disk.bytes(&path).unwrap_or_default();
        let found = bytes.windows(body.len()).position(|part| part == body);
        found.is_some_and(|at| machine.disk.damage(&path, at, 1))
    });
    assert!(damaged);
    let store = machine.open().unwrap();
    assert_eq!(store.found_at_start()[0].blocks, 1);
    assert_eq!(store.quarantine(None, 9).unwrap().len(), 1);
    assert_eq!(
        store.commit(batch(1)).map(|commit| commit.new_blocks).ok(),
        None,
        "an old head"
    );
    let mut again = crate::Batch::new();
    for block in model::blocks(1) {
        again.put_block(block);
    }
    assert_eq!(store.commit(again).unwrap().new_blocks, 1);
    machine.power.cut();
    drop(store);
    // The damaged copy is found once more in the log, and the whole one stays.
    let machine = machine.restart(Loss::Everything, Power::default());
    let store = machine.open().unwrap();
    assert!(store.quarantine(None, 9).unwrap().is_empty());
    for block in model::blocks(1) {
        assert_eq!(store.block(block.cid()).unwrap().as_ref(), Some(&block));
    }
}

#[test]
fn heads_of_a_lost_batch_leave_a_min_sequence_until_their_record_is_back() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    for number in [1, 2, 5] {
        store.commit(batch(number)).unwrap();
    }
    // What follows proves the third commit, and sets no head.
    let mut last = crate::Batch::new();
    last.put_meta(b"after", b"".to_vec());
    store.commit(last).unwrap();
    machine.power.cut();
    drop(store);
    let machine = machine.restart(Loss::Everything, Power::default());
    let record = b"record 5 value";
    let damaged = segment_files(&machine).into_iter().any(|(path, length)| {
        let bytes = machine.disk.bytes(&path).unwrap_or_default();
        let found = bytes.windows(record.len()).position(|part| part == record);
        assert_eq!(bytes.len(), length);
        found.is_some_and(|at| machine.disk.damage(&path, at, 1))
    });
    assert!(damaged);
    let store = machine.open().unwrap();
    assert_eq!(seen(&store).sequence(), 2, "the head before is shown");
    let losses = store.losses().unwrap();
    assert_eq!(losses.len(), 1);
    assert_eq!((losses[0].batches, losses[0].names), (1, 1));
    let lost = store.queue_next(crate::LOST_HEADS).unwrap().unwrap();
    assert_eq!(lost.key, model::name().as_bytes());
    // What is older than what was acknowledged is refused, also after another start.
    drop(store);
    let machine = machine.restart(Loss::Nothing, Power::default());
    let store = machine.open().unwrap();
    let refused = store.commit(batch(4)).unwrap_err();
    assert!(
        matches!(refused, CommitError::Stale { stored: 5, .. }),
        "{refused}"
    );
    store.commit(batch(5)).unwrap();
    store.commit(batch(6)).unwrap();
    assert_eq!(seen(&store).sequence(), 6);
    store.dismiss_losses().unwrap();
    assert!(store.losses().unwrap().is_empty());
}

#[test]
fn a_folder_that_cannot_be_written_is_told() {
    let machine = Machine::new(Power::default(), options());
    machine.disk.set_read_only(true);
    let error = machine.open().unwrap_err();
    assert!(error.to_string().contains(DIR), "{error}");
}

#[test]
fn letting_go_of_what_is_not_there_takes_no_space() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    let [block, ..] = model::blocks(1);
    let mut batch = Batch::new();
    batch.put_block(block.clone()).pin(b"key", *block.cid());
    let before = store.commit(batch).unwrap().group;
    for _ in 0..3 {
        let mut batch = Batch::new();
        batch.unpin(b"nobody's").delete_meta(b"nothing");
        batch.delete_head(&model::name());
        assert_eq!(store.commit(batch).unwrap().group, before);
    }
    let mut batch = Batch::new();
    batch.pin(b"other", *block.cid()).unpin(b"other");
    batch.unpin(b"key");
    assert_eq!(store.commit(batch).unwrap().group, before + 1);
    assert!(store.pins(None, 9).unwrap().is_empty());
}
