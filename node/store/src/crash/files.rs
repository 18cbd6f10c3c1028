//! Files of blocks that are not what the index knows: told once, by their name, at the start and by the scrub.

use std::path::{Path, PathBuf};

use super::model::{batch, seen};
use super::{DIR, Machine};
use crate::disk::Disk;
use crate::segment::{FileNumber, GROUPS_START};
use crate::testing::{Loss, Power};
use crate::{LossKind, Store};

/// A machine whose store has several segments with live blocks, and was closed.
fn machine() -> Machine {
    let machine = Machine::new(Power::default());
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

fn told(losses: &[crate::Loss]) -> Vec<(u32, LossKind, u64)> {
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
