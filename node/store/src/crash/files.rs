//! Files of blocks that are not what the index knows: told once, by their name, at the start and by the scrub.

use std::path::{Path, PathBuf};

use super::model::{batch, seen};
use super::{DIR, Machine, options};
use crate::disk::Disk;
use crate::frame::Salt;
use crate::location::FileNumber;
use crate::rows::FileRow;
use crate::segment::GROUPS_START;
use crate::soundness::{check_file, is_needed};
use crate::testing::{Loss, Power};
use crate::{Batch, LossKind, Store};

/// A machine whose store has several segments with live blocks, and was closed.
fn machine() -> Machine {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    for number in 1..10 {
        store.commit(batch(number)).unwrap();
    }
    assert!(store.stats().segments > 2);
    drop(store);
    machine
}

fn path(number: u32) -> PathBuf {
    FileNumber(number).segment_path(&Path::new(DIR).join("segments"))
}

fn cut(machine: &Machine, bytes: u64) {
    let file = machine.disk.open(&path(1)).unwrap();
    file.truncate(bytes).unwrap();
}

fn swap(machine: &Machine) {
    let aside = Path::new(DIR).join("aside");
    for (from, to) in [
        (path(1), aside.clone()),
        (path(2), path(1)),
        (aside, path(2)),
    ] {
        machine.disk.rename(&from, &to).unwrap();
    }
}

fn wipe_headers(machine: &Machine) {
    let file = machine.disk.open(&path(1)).unwrap();
    file.write_at(&[0; GROUPS_START as usize], 0).unwrap();
}

type Damage = (&'static str, fn(&Machine), &'static [(u32, LossKind, u64)]);

const SHORT: u64 = GROUPS_START + 100;

/// What is done to the files, and what is told of them.
const DAMAGE: [Damage; 5] = [
    (
        "emptied",
        |machine| cut(machine, 0),
        &[(1, LossKind::ShortFile, 0)],
    ),
    (
        "without groups",
        |machine| cut(machine, 4096),
        &[(1, LossKind::ShortFile, 4096)],
    ),
    (
        "cut short",
        |machine| cut(machine, SHORT),
        &[(1, LossKind::ShortFile, SHORT)],
    ),
    (
        "swapped",
        swap,
        &[(1, LossKind::WrongFile, 0), (2, LossKind::WrongFile, 0)],
    ),
    (
        "without headers",
        wipe_headers,
        &[(1, LossKind::WrongFile, 0)],
    ),
];

pub(super) fn told(losses: &[crate::Loss]) -> Vec<(u32, LossKind, u64)> {
    let told = losses
        .iter()
        .map(|loss| (loss.file.0, loss.kind, loss.offset));
    told.collect()
}

fn scrub(store: &Store) -> Vec<crate::Loss> {
    let mut files = Vec::new();
    loop {
        let step = store.scrub(2000).unwrap();
        files.extend(step.files);
        if step.round_done {
            return files;
        }
    }
}

#[test]
fn a_segment_that_is_not_as_it_was_is_told_once_by_the_start() {
    let machine = machine();
    for (what, damage, losses) in DAMAGE {
        let copy = machine.copy(Loss::Nothing, Power::default());
        damage(&copy);
        for _ in 0..2 {
            let store = copy.open().unwrap();
            assert_eq!(told(store.found_at_start()), losses, "{what}");
            assert_eq!(told(&store.losses().unwrap()), losses, "{what}");
        }
    }
}

#[test]
fn a_segment_that_is_not_as_it_was_is_told_once_by_the_scrub() {
    let machine = machine();
    for (what, damage, losses) in DAMAGE {
        let copy = machine.copy(Loss::Nothing, Power::default());
        let store = copy.open().unwrap();
        let all = seen(&store);
        assert_eq!(scrub(&store), []);
        damage(&copy);
        assert_eq!(told(&scrub(&store)), losses, "{what}");
        assert_eq!(told(&store.losses().unwrap()), losses, "{what}");
        // What is told a second time is written down once.
        scrub(&store);
        assert_eq!(told(&store.losses().unwrap()), losses, "{what}");
        assert_eq!(
            store.quarantine(None, 99).unwrap().len() + seen(&store).blocks.len(),
            all.blocks.len(),
            "{what}"
        );
        assert!(store.losses().unwrap()[0].found.0 > 0);
    }
}

/// The bytes of the first segment that belong to headers or to groups, and are neither of a body nor zero.
fn frame_bytes(machine: &Machine, store: &Store) -> Vec<usize> {
    let bytes = machine.disk.bytes(&path(1)).unwrap();
    let row = store.inner().shared.index.file(FileNumber(1)).unwrap();
    let end = GROUPS_START + row.used_bytes;
    let mut is_frame: Vec<bool> = bytes.iter().map(|byte| *byte != 0).collect();
    is_frame.truncate(usize::try_from(end).unwrap());
    for body in seen(store).blocks.values() {
        // A small body could as well be a part of a row.
        assert!(body.len() > 50);
        if let Some(at) = bytes.windows(body.len()).position(|part| part == &body[..]) {
            is_frame[at..at + body.len()].fill(false);
        }
    }
    let offsets = is_frame.iter().enumerate();
    let offsets = offsets.filter_map(|(at, is_frame)| is_frame.then_some(at));
    offsets.collect()
}

#[test]
fn damaged_frames_of_the_log_are_told_by_the_scrub_and_compaction_replaces_their_file() {
    let machine = machine();
    let store = machine.open().unwrap();
    let all = seen(&store);
    let offsets = frame_bytes(&machine, &store);
    assert!(offsets.len() > 500 && offsets[0] == 0, "{}", offsets.len());
    for offset in offsets.iter().copied().step_by(5) {
        assert!(machine.disk.damage(&path(1), offset, 0x10));
        let files = scrub(&store);
        let kinds: Vec<_> = files.iter().map(|loss| (loss.file.0, loss.kind)).collect();
        assert_eq!(kinds, [(1, LossKind::DamagedFrames)], "{offset}");
        assert_eq!(store.losses().unwrap(), files, "{offset}");
        assert!(files[0].offset <= offset as u64, "{offset}");
        assert_eq!(seen(&store), all, "{offset}");
        assert!(machine.disk.damage(&path(1), offset, 0x10));
        store.dismiss_losses().unwrap();
        assert_eq!(scrub(&store), [], "{offset}");
    }
    // As damage that stays is found again and again until the file is replaced.
    machine.disk.damage(&path(1), offsets[100], 0x10);
    assert_eq!(scrub(&store).len(), 1);
    while !store.compact(0).unwrap().done {}
    assert!(
        store
            .inner()
            .shared
            .index
            .file(FileNumber(1))
            .is_none_or(|row| row.is_dropped)
    );
    assert_eq!(scrub(&store), []);
    assert_eq!(seen(&store).blocks, all.blocks);
    drop(store);
    let machine = machine.restart(Loss::Everything, Power::default());
    assert_eq!(seen(&machine.open().unwrap()).blocks, all.blocks);
}

#[test]
fn frames_that_are_damaged_in_memory_only_are_looked_at_on_the_disk() {
    let machine = machine();
    let store = machine.open().unwrap();
    let offsets = frame_bytes(&machine, &store);
    for offset in offsets.into_iter().step_by(40) {
        assert!(machine.disk.damage_cached(&path(1), offset, 0x10));
        assert_eq!(scrub(&store), [], "{offset}");
    }
}

#[test]
fn damage_of_a_body_is_not_told_as_damage_of_its_file() {
    let machine = machine();
    let store = machine.open().unwrap();
    let bytes = machine.disk.bytes(&path(1)).unwrap();
    let body = b"own 1 ooooooooooooo";
    let at = bytes.windows(body.len()).position(|part| part == body);
    machine.disk.damage(&path(1), at.unwrap(), 1);
    assert_eq!(scrub(&store), []);
    assert_eq!(store.quarantine(None, 9).unwrap().len(), 1);
}

#[test]
fn a_segment_of_another_salt_is_another_file() {
    let machine = machine();
    let store = machine.open().unwrap();
    let number = FileNumber(1);
    let mut row = store.inner().shared.index.file(number).unwrap();
    let check = |row: &FileRow| check_file(&machine.disk, Path::new(DIR), number, row).unwrap();
    assert_eq!(check(&row), None);
    row.id[0] ^= 1;
    assert_eq!(told(check(&row).as_slice()), [(1, LossKind::WrongFile, 0)]);
}

#[test]
fn a_file_is_needed_for_its_blocks_and_for_rows_that_no_checkpoint_has() {
    let row = FileRow {
        last_group: 5,
        ..FileRow::log(Salt([1; 16]), 3)
    };
    assert!(is_needed(&row, 4));
    assert!(!is_needed(&row, 5));
    let alive = FileRow {
        live_bytes: 1,
        ..row
    };
    assert!(is_needed(&alive, 5));
    let dropped = FileRow {
        is_dropped: true,
        ..alive
    };
    assert!(!is_needed(&dropped, 4));
}

#[test]
fn a_segment_that_lost_all_that_it_begins_with_is_told() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    let mut batch = Batch::new();
    batch.put_meta(b"key", vec![7; 6000]);
    store.commit(batch).unwrap();
    machine.power.cut();
    drop(store);
    let machine = machine.restart(Loss::Everything, Power::default());
    let file = machine.disk.open(&path(1)).unwrap();
    file.write_at(&[0; GROUPS_START as usize + 4096], 0)
        .unwrap();
    let store = machine.open().unwrap();
    assert_eq!(store.meta(b"key").unwrap(), None);
    assert_eq!(store.found_at_start().len(), 1);
}
