//! The end of the log, before the index has any of it on the disk: whatever is taken away from it is told, once, and nothing that
//! we do ourselves is.

use std::io::ErrorKind;
use std::iter;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::files::told;
use super::{DIR, Machine, options};
use crate::disk::Disk;
use crate::location::FileNumber;
use crate::segment::GROUPS_START;
use crate::testing::{Loss, Power};
use crate::{Batch, LossKind, Store};

pub(super) fn path(number: u32) -> PathBuf {
    FileNumber(number).segment_path(&Path::new(DIR).join("segments"))
}

pub(super) fn small(number: u8, bytes: usize) -> Batch {
    let mut batch = Batch::new();
    batch.put_meta(&[number], vec![number; bytes]);
    batch
}

/// A machine whose process is killed (`Loss::Nothing`) or that loses its power after so many commits, of which two or three fill a
/// segment, and where the last group begins and ends.
pub(super) fn machine_of(commits: u8, loss: Loss) -> (Machine, Range<u64>) {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    let mut last = 0;
    for number in 1..=commits {
        last = end(&machine, newest(&machine));
        store.commit(small(number, 1700)).unwrap();
    }
    let end = end(&machine, newest(&machine));
    machine.power.cut();
    drop(store);
    // The first group of a segment begins where there is none before it.
    let last = if last < end { last } else { GROUPS_START };
    (left_by(machine, loss), last..end)
}

/// What a kill leaves on the disk, or a power cut. The index loses what it has not flushed by either.
pub(super) fn left_by(machine: Machine, loss: Loss) -> Machine {
    let power = Power::default();
    Machine {
        disk: machine.disk.survivors(loss, &power),
        home: machine.home.survivors(Loss::Everything, &power),
        power,
        ..machine
    }
}

/// Commits once more and cuts the power. None where that is not acknowledged.
pub(super) fn cut_behind_more(machine: Machine, store: Store) -> Option<Machine> {
    store.commit(small(9, 100)).ok()?;
    machine.power.cut();
    drop(store);
    Some(left_by(machine, Loss::Everything))
}

/// Kills a process at each point of so many commits; starts again without an error, and with one at each of so many points of the
/// start; commits once more, and cuts the power. Hands on what is left, with the point of the kill and that of the error.
pub(super) fn killed_then_started(
    commits: u8,
    errors: u64,
    mut ending: impl FnMut(Machine, (u64, Option<u64>)),
) {
    let work = |machine: &Machine| {
        let Ok(store) = machine.open() else { return };
        for number in 1..=commits {
            let _ = store.commit(small(number, 1300));
        }
    };
    let machine = Machine::new(Power::default(), options());
    work(&machine);
    for point in 0..machine.power.points() {
        for error in iter::once(None).chain((0..errors).map(Some)) {
            let machine = Machine::new(Power::cut_at(point), options());
            work(&machine);
            machine.power.restore();
            let home = machine.home.survivors(Loss::Everything, &machine.power);
            let machine = Machine { home, ..machine };
            let at = error.map(|error| machine.power.points() + error);
            if let Some(at) = at {
                machine.power.fail_at(at, ErrorKind::Other);
            }
            let opened = match (machine.open(), at) {
                (Err(_), Some(_)) => machine.open(),
                (opened, _) => opened,
            };
            let store = opened.unwrap();
            if at.is_some_and(|at| machine.power.points() <= at) {
                break;
            }
            match cut_behind_more(machine, store) {
                Some(machine) => ending(machine, (point, error)),
                None => assert!(error.is_some(), "killed at {point}"),
            }
        }
    }
}

pub(super) fn newest(machine: &Machine) -> u32 {
    let segments = machine.disk.list(&Path::new(DIR).join("segments"));
    segments.unwrap().len() as u32
}

/// Where the last group in a segment ends.
fn end(machine: &Machine, number: u32) -> u64 {
    let bytes = machine.disk.bytes(&path(number)).unwrap_or_default();
    let last = bytes.iter().rposition(|byte| *byte != 0);
    let end = last.map_or(0, |last| last as u64 + 1);
    end.next_multiple_of(8).max(GROUPS_START)
}

pub(super) fn metas(store: &Store, commits: u8) -> Vec<u8> {
    let all = 1..=commits;
    all.filter(|number| store.meta(&[*number]).unwrap().is_some())
        .collect()
}

pub(super) fn cut(machine: &Machine, number: u32, bytes: u64) {
    let file = machine.disk.open(&path(number)).unwrap();
    file.truncate(bytes).unwrap();
}

fn write(machine: &Machine, number: u32, bytes: &[u8]) {
    let file = machine.disk.open(&path(number)).unwrap();
    file.write_at(bytes, 0).unwrap();
}

/// Takes something away from the newest segment, which has this number and whose last group lies there.
type Harm = fn(&Machine, u32, Range<u64>);

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
        LossKind::MissingGroups,
    ),
    (
        "with zeros instead of groups",
        |machine, number, last| {
            let file = machine.disk.open(&path(number)).unwrap();
            let zeros = vec![0; (last.end - GROUPS_START) as usize];
            file.write_at(&zeros, GROUPS_START).unwrap();
        },
        LossKind::MissingGroups,
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
        "filled with random bytes",
        |machine, number, _| write(machine, number, &[0xa5; 8 << 10]),
        LossKind::UnreadableFile,
    ),
    (
        "swapped for an older one",
        |machine, number, _| {
            let bytes = machine.disk.bytes(&path(1)).unwrap();
            let mut bytes = bytes.to_vec();
            // That of another number, whatever the number of this one is.
            if number == 1 {
                let other = machine_of(4, Loss::Nothing).0;
                bytes = other.disk.bytes(&path(2)).unwrap().to_vec();
            }
            write(machine, number, &bytes);
        },
        LossKind::WrongFile,
    ),
];

/// What takes its last group away, and no other.
const HARM_TO_LAST: [(&str, Harm, LossKind); 4] = [
    (
        "cut before its last group",
        |machine, number, last| cut(machine, number, last.start),
        LossKind::MissingGroups,
    ),
    (
        "with zeros instead of its last group",
        |machine, number, last| {
            let file = machine.disk.open(&path(number)).unwrap();
            let zeros = vec![0; (last.end - last.start) as usize];
            file.write_at(&zeros, last.start).unwrap();
        },
        LossKind::MissingGroups,
    ),
    (
        "without the end mark of its last group",
        |machine, number, last| cut(machine, number, last.end - 20),
        LossKind::DamagedFrames,
    ),
    (
        "with a flipped bit in its last group",
        |machine, number, last| {
            assert!(
                machine
                    .disk
                    .damage(&path(number), last.start as usize + 300, 1)
            );
        },
        LossKind::DamagedGroup,
    ),
];

/// Whatever was done is told, also by who is cut off before it is written down; once; and the store goes on.
fn is_told_once(machine: &Machine, (number, kind): (u32, LossKind), context: &str) {
    // As it is on the disk.
    let machine = machine.copy(Loss::Nothing, Power::default());
    for point in 0..12 {
        let cut = machine.copy(Loss::Nothing, Power::cut_at(point));
        drop(cut.open());
        let cut = cut.restart(Loss::Some(point), Power::default());
        let store = cut.open().unwrap();
        let kinds: Vec<_> = store.losses().unwrap();
        // What the index has by then is missed by itself.
        assert!(
            kinds
                .iter()
                .any(|loss| [kind, LossKind::LogBehindIndex].contains(&loss.kind)),
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
    let machine = machine.copy(Loss::Everything, Power::default());
    let store = machine.open().unwrap();
    // A file that stays as it is is seen by each start.
    let stays = [
        LossKind::UnreadableFile,
        LossKind::WrongFile,
        LossKind::StrayFile,
    ];
    let mut found = told(store.found_at_start());
    found.retain(|(file, found, _)| *file != number || !stays.contains(found));
    assert_eq!(found, [], "{context}");
    assert_eq!(told(&store.losses().unwrap()), of_it, "{context}");
    assert_eq!(metas(&store, 9), shown, "{context}");
    assert!(shown.contains(&9), "{context}");
}

#[test]
fn whatever_is_done_to_the_newest_segment_is_told_once() {
    // The first segment has one group, or several; or there are segments before it.
    for commits in [1, 2, 4, 5] {
        for loss in [Loss::Nothing, Loss::Everything] {
            let (machine, last) = machine_of(commits, loss);
            for (what, harm, kind) in HARM {
                let context = format!("{commits} commits, {loss:?}, the newest {what}");
                let machine = machine.copy(Loss::Nothing, Power::default());
                let number = newest(&machine);
                harm(&machine, number, last.clone());
                is_told_once(&machine, (number, kind), &context);
            }
        }
    }
}

#[test]
fn whatever_is_done_to_the_last_group_after_a_kill_is_told_once() {
    for commits in [1, 2, 3, 4, 5, 6] {
        let (machine, last) = machine_of(commits, Loss::Nothing);
        for (what, harm, kind) in HARM_TO_LAST {
            let context = format!("{commits} commits, the newest {what}");
            let machine = machine.copy(Loss::Nothing, Power::default());
            let number = newest(&machine);
            harm(&machine, number, last.clone());
            is_told_once(&machine, (number, kind), &context);
        }
        // An earlier copy of the same file.
        let (earlier, _) = machine_of(commits - 1, Loss::Nothing);
        let number = newest(&machine);
        let bytes = earlier.disk.bytes(&path(number));
        if let Some(bytes) = bytes.filter(|_| newest(&earlier) == number) {
            let salted = machine.disk.bytes(&path(number)).unwrap();
            assert_eq!(bytes[..64], salted[..64], "both are drawn alike");
            write(&machine, number, &bytes);
            is_told_once(
                &machine,
                (number, LossKind::MissingGroups),
                "an earlier copy",
            );
        }
    }
}

#[test]
fn reserved_space_that_is_cut_takes_nothing() {
    for commits in 1..=5 {
        let (machine, last) = machine_of(commits, Loss::Nothing);
        cut(&machine, newest(&machine), last.end);
        let store = machine.open().unwrap();
        assert_eq!(store.found_at_start(), []);
        assert_eq!(metas(&store, 5).len(), commits.into());
    }
}

#[test]
fn an_older_copy_of_the_file_is_no_loss() {
    let said = |machine: &Machine| machine.disk.bytes(&Path::new(DIR).join("NEWEST")).unwrap();
    for older in 1..5 {
        let (before, _) = machine_of(older, Loss::Nothing);
        for loss in [Loss::Nothing, Loss::Everything] {
            let (machine, _) = machine_of(5, loss);
            let file = machine.disk.open(&Path::new(DIR).join("NEWEST")).unwrap();
            file.write_at(&said(&before), 0).unwrap();
            let store = machine.open().unwrap();
            assert_eq!(store.found_at_start(), [], "{older}");
            assert_eq!(metas(&store, 5), [1, 2, 3, 4, 5]);
        }
    }
}

#[test]
fn a_damaged_note_beside_missing_groups_is_told_once() {
    for commits in [3, 5] {
        let (machine, last) = machine_of(commits, Loss::Nothing);
        let file = machine.disk.open(&Path::new(DIR).join("NEWEST")).unwrap();
        let mut byte = [0];
        file.read_at(&mut byte, 8200).unwrap();
        file.write_at(&[byte[0] ^ 1], 8200).unwrap();
        cut(&machine, newest(&machine), last.start);
        let unknown = |losses: &[crate::Loss]| {
            let unknown = losses
                .iter()
                .filter(|loss| loss.kind == LossKind::UnknownEnd);
            unknown.count()
        };
        let store = machine.open().unwrap();
        assert_eq!(unknown(store.found_at_start()), 1, "{commits}");
        drop(store);
        let machine = machine.copy(Loss::Everything, Power::default());
        let store = machine.open().unwrap();
        assert_eq!(store.found_at_start(), [], "{commits}");
        assert_eq!(unknown(&store.losses().unwrap()), 1, "{commits}");
    }
}

#[test]
fn what_the_index_knows_of_it_is_told_once_as_well() {
    let (machine, last) = machine_of(2, Loss::Nothing);
    let (earlier, _) = machine_of(1, Loss::Nothing);
    // A clean stop brings all of it into the index.
    drop(machine.open().unwrap());
    let earlier = earlier.disk.bytes(&path(1)).unwrap();
    let copied = machine.copy(Loss::Nothing, Power::default());
    write(&copied, 1, &earlier);
    cut(&machine, 1, last.start + 100);
    let kinds = |losses: &[crate::Loss]| -> Vec<_> {
        let kinds = losses.iter().map(|loss| loss.kind);
        kinds.collect()
    };
    for machine in [machine, copied] {
        let store = machine.open().unwrap();
        assert_eq!(kinds(store.found_at_start()), [LossKind::LogBehindIndex]);
        assert_eq!(store.losses().unwrap().len(), 1);
        store.commit(small(3, 100)).unwrap();
        let machine = machine.copy(Loss::Nothing, Power::default());
        drop(store);
        let store = machine.open().unwrap();
        assert_eq!(metas(&store, 3), [1, 2, 3]);
    }
}

#[test]
fn a_store_whose_segments_and_index_are_gone_is_not_begun_anew() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    store.commit(small(1, 100)).unwrap();
    drop(store);
    machine.disk.remove(&path(1)).unwrap();
    let machine = Machine {
        home: Machine::new(Power::default(), options()).home,
        ..machine
    };
    let _ = machine
        .disk
        .remove(&Path::new(DIR).join(crate::layout::RESERVE));
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
    let machine = Machine::new(Power::default(), options());
    work(&machine);
    let points = machine.power.points();
    assert!(points > 60, "{points}");
    for point in 0..points {
        for loss in [Loss::Everything, Loss::Nothing, Loss::Some(point)] {
            for fails in [false, true] {
                let machine = if fails {
                    let machine = Machine::new(Power::default(), options());
                    machine.power.fail_at(point, std::io::ErrorKind::Other);
                    machine
                } else {
                    Machine::new(Power::cut_at(point), options())
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
fn without_the_file_the_end_is_not_known() {
    type Spoil = fn(&Machine);
    let spoils: [Spoil; 3] = [
        |machine| machine.disk.remove(&Path::new(DIR).join("NEWEST")).unwrap(),
        |machine| {
            let file = machine.disk.open(&Path::new(DIR).join("NEWEST")).unwrap();
            file.truncate(10).unwrap();
        },
        |machine| {
            let file = machine.disk.open(&Path::new(DIR).join("NEWEST")).unwrap();
            file.write_at(&[0xa5; 12 << 10], 0).unwrap();
        },
    ];
    for spoil in spoils {
        for commits in [2, 5] {
            let (machine, _) = machine_of(commits, Loss::Nothing);
            let number = newest(&machine);
            let stopped = machine.copy(Loss::Nothing, Power::default());
            spoil(&machine);
            is_told_once(&machine, (number, LossKind::UnknownEnd), "after a kill");

            drop(stopped.open().unwrap());
            spoil(&stopped);
            is_told_once(&stopped, (number, LossKind::UnknownEnd), "after a stop");
        }
    }
    // One that was cut off before anything was acknowledged has not lost anything.
    for point in 0..40 {
        let machine = Machine::new(Power::cut_at(point), options());
        if let Ok(store) = machine.open()
            && store.commit(small(1, 100)).is_ok()
        {
            break;
        }
        let machine = machine.restart(Loss::Nothing, Power::default());
        let store = machine.open().unwrap();
        assert_eq!(store.losses().unwrap(), [], "{point}");
    }
}

/// The file `NEWEST` of a machine.
pub(super) fn said(machine: &Machine) -> Vec<u8> {
    machine.disk.bytes(&Path::new(DIR).join("NEWEST")).unwrap()
}

pub(super) fn kinds(store: &Store) -> Vec<LossKind> {
    let losses = store.found_at_start().iter();
    losses.map(|loss| loss.kind).collect()
}

#[test]
fn a_group_that_a_start_has_shown_is_missed_from_then_on() {
    for commits in [2, 3, 4] {
        let (before, _) = machine_of(commits - 1, Loss::Nothing);
        let (machine, last) = machine_of(commits, Loss::Nothing);
        // As who is killed before the last one is said.
        let file = machine.disk.open(&Path::new(DIR).join("NEWEST")).unwrap();
        file.write_at(&said(&before), 0).unwrap();
        file.sync().unwrap();
        let store = machine.open().unwrap();
        assert_eq!(kinds(&store), []);
        assert_eq!(metas(&store, 5).len(), commits.into());
        machine.power.cut();
        drop(store);
        let machine = left_by(machine, Loss::Nothing);
        cut(&machine, newest(&machine), last.start);
        let store = machine.open().unwrap();
        assert_eq!(kinds(&store), [LossKind::MissingGroups], "{commits}");
    }
}

#[test]
fn where_groups_are_missing_the_log_goes_on_in_a_new_segment_under_new_numbers() {
    for commits in [2, 4] {
        let (machine, last) = machine_of(commits, Loss::Nothing);
        let number = newest(&machine);
        cut(&machine, number, last.start);
        let left = machine.disk.bytes(&path(number)).unwrap();
        let store = machine.open().unwrap();
        assert_eq!(kinds(&store), [LossKind::MissingGroups]);
        let group = store.commit(small(9, 100)).unwrap().group;
        // That of the loss has the first number behind the missing one.
        assert_eq!(group, u64::from(commits) + 2);
        assert_eq!(machine.disk.bytes(&path(number)).unwrap(), left);
        assert!(machine.disk.bytes(&path(number + 1)).is_some());

        // The number of a segment that is gone is no other's.
        let (machine, _) = machine_of(commits, Loss::Nothing);
        machine.disk.remove(&path(number)).unwrap();
        let store = machine.open().unwrap();
        store.commit(small(9, 100)).unwrap();
        assert_eq!(machine.disk.bytes(&path(number)), None);
        assert!(machine.disk.bytes(&path(number + 1)).is_some());
    }
}

#[test]
fn a_clean_stop_makes_durable_what_was_noted() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    for number in 1..=2 {
        store.commit(small(number, 1700)).unwrap();
    }
    drop(store);
    let before = said(&machine);
    let machine = machine.restart(Loss::Everything, Power::default());
    assert_eq!(said(&machine), before);
}
