//! What becomes of groups at the end of the log when a start is cut off, when a file is put back, or removed while it is written to.

use std::io::ErrorKind;
use std::path::Path;

use perennis_shared::cid::{Block, Codec};

use super::files::told;
use super::newest::{
    cut, cut_behind_more, killed_then_started, kinds, left_by, machine_of, metas, newest, path,
    said, small,
};
use super::{DIR, Machine, options};
use crate::disk::Disk;
use crate::segment::GROUPS_START;
use crate::testing::{Loss, Power};
use crate::{LossKind, Store};

#[test]
fn a_segment_that_is_put_back_after_a_start_has_missed_it_gives_its_blocks_again() {
    let block = |text: &str| Block::new(Codec::Raw, text.repeat(40).into_bytes()).unwrap();
    let with_block = |number: u8| {
        let mut batch = small(number, 100);
        let block = block(&format!("block {number} "));
        batch.pin(&[number], *block.cid()).put_block(block);
        batch
    };
    for is_flushed in [false, true] {
        let machine = Machine::new(Power::default(), options());
        let store = machine.open().unwrap();
        store.commit(with_block(1)).unwrap();
        store.commit(with_block(2)).unwrap();
        // A clean stop brings all of it into the index.
        let machine = if is_flushed {
            drop(store);
            machine
        } else {
            let left = left_by(machine, Loss::Nothing);
            drop(store);
            left
        };
        let bytes = machine.disk.bytes(&path(1)).unwrap();
        machine.disk.remove(&path(1)).unwrap();
        let store = machine.open().unwrap();
        let blocks = if is_flushed { 2 } else { 0 };
        assert_eq!(store.losses().unwrap().len(), 1);
        assert_eq!(store.quarantine(None, 9).unwrap().len(), blocks);
        store.commit(with_block(3)).unwrap();
        drop(store);

        let file = machine.disk.create(&path(1), 0).unwrap();
        file.write_at(&bytes, 0).unwrap();
        let store = machine.open().unwrap();
        let found: Vec<_> = store.found_at_start().iter().collect();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(
            (found[0].kind, found[0].blocks),
            (LossKind::ReturnedFile, 2)
        );
        for number in 1..=3 {
            let block = block(&format!("block {number} "));
            let stored = store.block(block.cid()).unwrap().unwrap();
            assert_eq!(stored.bytes(), block.bytes(), "{number}");
        }
        assert_eq!(store.quarantine(None, 9).unwrap(), []);
        // What else it had is known to the index, or is not taken.
        let shown = if is_flushed { vec![1, 2, 3] } else { vec![3] };
        assert_eq!(metas(&store, 3), shown);
        drop(store);
        let store = machine.open().unwrap();
        let found = store.found_at_start().iter();
        assert_eq!(found.filter(|loss| loss.blocks > 0).count(), 0);
        assert_eq!(store.stats().blocks, 3);
    }
}

#[test]
fn groups_that_are_missing_before_others_are_told_whenever_the_power_goes() {
    let (machine, _) = machine_of(5, Loss::Nothing);
    // All groups of the first segment.
    let bytes = machine.disk.bytes(&path(1)).unwrap();
    let file = machine.disk.open(&path(1)).unwrap();
    let zeros = vec![0; bytes.len() - GROUPS_START as usize];
    file.write_at(&zeros, GROUPS_START).unwrap();
    file.sync().unwrap();
    let noted = |store: &Store| -> Vec<_> {
        let losses = store.losses().unwrap();
        losses.iter().map(|loss| loss.kind).collect()
    };
    for point in 0..30 {
        for loss in [Loss::Nothing, Loss::Some(point)] {
            let cut = machine.copy(Loss::Nothing, Power::cut_at(point));
            drop(cut.open());
            let cut = cut.restart(loss, Power::default());
            let store = cut.open().unwrap();
            assert!(
                noted(&store).contains(&LossKind::MissingGroups),
                "the power went at {point}, {loss:?}: {:?}",
                noted(&store)
            );
        }
    }
}

#[test]
fn a_group_that_was_never_acknowledged_is_not_missed_when_a_start_is_cut_off() {
    let work = |machine: &Machine| {
        let Ok(store) = machine.open() else { return };
        for number in 1..=4 {
            let _ = store.commit(small(number, 1700));
        }
    };
    let machine = Machine::new(Power::default(), options());
    work(&machine);
    let mut failed = Vec::new();
    for point in 0..machine.power.points() {
        // A kill, and a start that loses its power.
        for second in 0..20 {
            let machine = Machine::new(Power::cut_at(point), options());
            work(&machine);
            machine.power.restore();
            machine.power.cut_after(second);
            drop(machine.open());
            let machine = machine.restart(Loss::Everything, Power::default());
            let store = machine.open().unwrap();
            let losses = store.losses().unwrap();
            if !losses.is_empty() {
                failed.push((point, second, losses[0].kind));
            }
        }
    }
    assert_eq!(failed, []);
}

#[test]
fn what_is_written_behind_a_last_group_that_was_cut_stays() {
    for commits in [1, 2, 3] {
        let (machine, last) = machine_of(commits, Loss::Nothing);
        cut(&machine, newest(&machine), last.start + 600);
        let store = machine.open().unwrap();
        assert_eq!(kinds(&store), [LossKind::DamagedGroup]);
        store.commit(small(9, 100)).unwrap();
        machine.power.cut();
        drop(store);
        let machine = left_by(machine, Loss::Nothing);
        let store = machine.open().unwrap();
        let shown = metas(&store, 9);
        assert_eq!(shown.last(), Some(&9), "{commits}: {:?}", kinds(&store));
    }
}

/// As somebody leaves it who begins a segment and does not get far: the mark of a compaction is no clean stop.
#[test]
fn a_mark_that_a_running_store_has_left_does_not_say_where_the_log_ends() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    store.commit(small(1, 100)).unwrap();
    store.inner().ask(crate::commit::Work::Seal).unwrap();
    store.commit(small(2, 100)).unwrap();
    machine.power.cut();
    drop(store);
    let machine = left_by(machine, Loss::Nothing);
    machine.disk.remove(&path(2)).unwrap();
    machine.disk.remove(&Path::new(DIR).join("NEWEST")).unwrap();
    let store = machine.open().unwrap();
    assert_eq!(kinds(&store), [LossKind::UnknownEnd]);
}

#[test]
fn a_segment_that_is_removed_while_it_is_written_to_is_told_and_not_written_on() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    store.commit(small(1, 100)).unwrap();
    machine.disk.remove(&path(1)).unwrap();
    machine.disk.remove(&Path::new(DIR).join("NEWEST")).unwrap();
    let refused = store.commit(small(2, 100)).unwrap_err();
    assert!(matches!(refused, crate::CommitError::Disk(_)), "{refused}");
    assert_eq!(store.losses().unwrap(), []);
    store.commit(small(3, 100)).unwrap();
    let losses = told(&store.losses().unwrap());
    assert_eq!(losses, [(1, LossKind::MissingFile, 0)]);
    assert_eq!(metas(&store, 3), [1, 3]);
    let machine = left_by(machine, Loss::Nothing);
    drop(store);
    let store = machine.open().unwrap();
    assert_eq!(told(&store.losses().unwrap()), losses);
    // The rows of the file that is gone are in the index.
    assert_eq!(metas(&store, 3), [1, 3]);
    assert!(!said(&machine).is_empty());
}

/// A machine with two segments, the second of which has one group, that was killed before that was said.
fn killed_before_a_segment_is_said() -> Machine {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    store.commit(small(1, 1300)).unwrap();
    store.commit(small(2, 1300)).unwrap();
    let before = said(&machine);
    store.commit(small(3, 1300)).unwrap();
    assert_eq!(newest(&machine), 2);
    machine.power.cut();
    drop(store);
    let machine = left_by(machine, Loss::Nothing);
    let file = machine.disk.open(&Path::new(DIR).join("NEWEST")).unwrap();
    file.write_at(&before, 0).unwrap();
    file.sync().unwrap();
    machine
}

/// Takes the newest segment away: that is told.
fn newest_is_missed(machine: &Machine, context: &str) {
    machine.disk.remove(&path(newest(machine))).unwrap();
    let losses = machine.open().unwrap().losses().unwrap();
    assert!(!losses.is_empty(), "{context}");
}

#[test]
fn a_segment_that_a_start_could_not_say_is_missed_all_the_same() {
    let killed = killed_before_a_segment_is_said();
    for point in 0.. {
        let machine = killed.copy(Loss::Nothing, Power::default());
        machine.power.fail_at(point, ErrorKind::Other);
        let opened = machine.open();
        if machine.power.points() <= point {
            assert!(point > 8, "{point}");
            break;
        }
        let store = opened.or_else(|_| machine.open()).unwrap();
        let machine = cut_behind_more(machine, store).unwrap();
        newest_is_missed(&machine, &format!("{point}"));
    }
}

#[test]
fn what_a_kill_left_in_memory_only_is_missed_once_more_is_acknowledged() {
    killed_then_started(3, 0, |machine, points| {
        newest_is_missed(&machine, &format!("killed at {points:?}"));
    });
}
