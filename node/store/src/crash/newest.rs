//! The end of the log, before the index has any of it on the disk: whoever removes, empties, cuts or swaps the newest segment is
//! told, once, and no cut of ours is taken for one.

use std::path::{Path, PathBuf};

use super::files::told;
use super::{DIR, Machine};
use crate::disk::Disk;
use crate::segment::{FileNumber, GROUPS_START};
use crate::testing::{Loss, Power};
use crate::{Batch, LossKind, Store};

fn path(number: u32) -> PathBuf {
    FileNumber(number).segment_path(&Path::new(DIR).join("segments"))
}

fn small(number: u8, bytes: usize) -> Batch {
    let mut batch = Batch::new();
    batch.put_meta(&[number], vec![number; bytes]);
    batch
}

/// A machine that is switched off after so many commits, of which two or three fill a segment, and where the last group ends.
fn machine_of(commits: u8) -> (Machine, u64) {
    let machine = Machine::new(Power::default());
    let store = machine.open().unwrap();
    for number in 1..=commits {
        store.commit(small(number, 1700)).unwrap();
    }
    let newest = store.stats().segments;
    let bytes = machine.disk.bytes(&path(newest as u32)).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1;
    machine.power.cut();
    drop(store);
    let machine = machine.restart(Loss::Everything, Power::default());
    (machine, end.next_multiple_of(8))
}

fn metas(store: &Store, commits: u8) -> Vec<u8> {
    let all = 1..=commits;
    all.filter(|number| store.meta(&[*number]).unwrap().is_some())
        .collect()
}

fn cut(machine: &Machine, number: u32, bytes: u64) {
    let file = machine.disk.open(&path(number)).unwrap();
    file.truncate(bytes).unwrap();
}

fn write(machine: &Machine, number: u32, bytes: &[u8]) {
    let file = machine.disk.open(&path(number)).unwrap();
    file.write_at(bytes, 0).unwrap();
}

/// Takes something away from the newest segment, which has this number and ends there.
type Harm = fn(&Machine, u32, u64);

const HARM: [(&str, Harm, LossKind); 8] = [
    (
        "removed",
        |machine, number, _| machine.disk.remove(&path(number)).unwrap(),
        LossKind::MissingFile,
    ),
    (
        "emptied",
        |machine, number, _| cut(machine, number, 0),
        LossKind::UnreadableFile,
    ),
    (
        "without groups",
        |machine, number, _| cut(machine, number, GROUPS_START),
        LossKind::ShortFile,
    ),
    (
        "cut in its last group",
        |machine, number, end| cut(machine, number, end - 20),
        LossKind::ShortFile,
    ),
    (
        "cut behind its last group",
        |machine, number, end| cut(machine, number, end),
        LossKind::ShortFile,
    ),
    (
        "without headers",
        |machine, number, _| write(machine, number, &[0; GROUPS_START as usize]),
        LossKind::UnreadableFile,
    ),
    (
        "filled with zeros",
        |machine, number, _| write(machine, number, &[0; 8 << 10]),
        LossKind::UnreadableFile,
    ),
    (
        "swapped for an older one",
        |machine, number, _| {
            let bytes = machine.disk.bytes(&path(1)).unwrap();
            let mut bytes = bytes.to_vec();
            // That of another number, whatever the number of this one is.
            if number == 1 {
                let other = machine_of(4).0;
                bytes = other.disk.bytes(&path(2)).unwrap().to_vec();
            }
            write(machine, number, &bytes);
        },
        LossKind::WrongFile,
    ),
];

#[test]
fn whatever_is_done_to_the_newest_segment_is_told_once() {
    // The first segment has one group, or several; or there are segments before it.
    for commits in [1, 2, 4, 5] {
        let (machine, end) = machine_of(commits);
        let newest = machine.disk.list(&Path::new(DIR).join("segments")).unwrap();
        let number = newest.len() as u32;
        for (what, harm, kind) in HARM {
            let context = format!("{commits} commits, the newest {what}");
            let machine = machine.copy(Loss::Nothing, Power::default());
            harm(&machine, number, end);
            // Whoever is cut off before it is written down tells it again.
            for point in 0..12 {
                let cut = machine.copy(Loss::Nothing, Power::cut_at(point));
                drop(cut.open());
                let cut = cut.restart(Loss::Some(point), Power::default());
                let store = cut.open().unwrap();
                let kinds: Vec<_> = store.losses().unwrap();
                assert!(
                    kinds.iter().any(|loss| loss.kind == kind),
                    "{context}, and the power went at {point}: {kinds:?}"
                );
            }
            let store = machine.open().unwrap();
            let of_it: Vec<_> = told(&store.losses().unwrap());
            let kinds: Vec<_> = of_it.iter().map(|(file, kind, _)| (*file, *kind)).collect();
            assert_eq!(kinds, [(number, kind)], "{context}");
            store.commit(small(9, 100)).unwrap();
            let shown = metas(&store, 9);
            drop(store);
            let machine = machine.restart(Loss::Everything, Power::default());
            let store = machine.open().unwrap();
            assert_eq!(store.found_at_start(), [], "{context}");
            assert_eq!(told(&store.losses().unwrap()), of_it, "{context}");
            assert_eq!(metas(&store, 9), shown, "{context}");
            assert!(shown.contains(&9), "{context}");
        }
    }
}

#[test]
fn what_the_index_knows_of_it_is_told_once_as_well() {
    let (machine, _) = machine_of(2);
    // A clean stop brings all of it into the index.
    drop(machine.open().unwrap());
    cut(&machine, 1, GROUPS_START + 100);
    let store = machine.open().unwrap();
    let kinds = |losses: &[crate::Loss]| -> Vec<_> {
        let kinds = losses.iter().map(|loss| loss.kind);
        kinds.collect()
    };
    let both = [LossKind::ShortFile, LossKind::LogBehindIndex];
    let mut found = kinds(store.found_at_start());
    found.sort_by_key(|kind| both.iter().position(|other| other == kind));
    found.retain(|kind| *kind != LossKind::TornGroup);
    assert_eq!(found, both);
    assert_eq!(store.losses().unwrap().len(), 2);
}

#[test]
fn a_store_whose_segments_and_index_are_gone_is_not_begun_anew() {
    let machine = Machine::new(Power::default());
    let store = machine.open().unwrap();
    store.commit(small(1, 100)).unwrap();
    drop(store);
    machine.disk.remove(&path(1)).unwrap();
    let machine = Machine {
        home: Machine::new(Power::default()).home,
        ..machine
    };
    let _ = machine
        .disk
        .remove(&Path::new(DIR).join(crate::commit::RESERVE));
    let error = machine.open().unwrap_err();
    assert!(matches!(error, crate::OpenError::Gone { .. }), "{error:?}");
}

#[test]
fn no_cut_of_ours_is_taken_for_one_at_any_point() {
    // Writes that fail, segments that fill up, a clean stop, a start that goes on: each cuts the newest segment.
    let work = |machine: &Machine| {
        for round in 0..3_u8 {
            let Ok(store) = machine.open() else { return };
            for number in 0..4 {
                let _ = store.commit(small(10 * round + number, 900));
            }
        }
    };
    let machine = Machine::new(Power::default());
    work(&machine);
    let points = machine.power.points();
    assert!(points > 60, "{points}");
    for point in 0..points {
        for loss in [Loss::Everything, Loss::Nothing, Loss::Some(point)] {
            for fails in [false, true] {
                let machine = if fails {
                    let machine = Machine::new(Power::default());
                    machine.power.fail_at(point, std::io::ErrorKind::Other);
                    machine
                } else {
                    Machine::new(Power::cut_at(point))
                };
                work(&machine);
                let machine = machine.restart(loss, Power::default());
                let store = machine.open().unwrap();
                let losses = store.losses().unwrap();
                assert_eq!(losses, [], "{point}, {loss:?}, {fails}");
            }
        }
    }
}

#[test]
fn without_the_file_a_store_goes_on_as_it_is() {
    let (machine, _) = machine_of(5);
    machine.disk.remove(&Path::new(DIR).join("NEWEST")).unwrap();
    let store = machine.open().unwrap();
    assert_eq!(store.found_at_start(), []);
    assert_eq!(metas(&store, 5), [1, 2, 3, 4, 5]);
    drop(store);
    let machine = machine.restart(Loss::Everything, Power::default());
    machine.disk.remove(&path(3)).unwrap();
    assert_eq!(machine.open().unwrap().losses().unwrap().len(), 1);
}
