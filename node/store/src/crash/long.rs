//! As many power cuts as are asked for, each in a workload and with a loss that a seed names. `cargo xtask bench crash` makes
//! 10,000 of them.
//!
//! A cut comes while the store works (it commits, collects, packs, scrubs, writes checkpoints), or once more while it recovers, or
//! while it makes its index anew, or while it migrates a folder of format 1. What was acknowledged and is not shown afterwards is
//! *lost* where the store says so, and *silent* where it does not; a loss that is told though everything is there is *told*.

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::migrate::{self, Folder};
use super::model::{Model, Seen, Step, seen};
use super::{Machine, check, options, work};
use crate::testing::{Loss, Power};
use crate::{OpenError, Store};

/// How many cuts are made when nothing else is said.
const POINTS: u64 = 10_000;
const VARIABLE: &str = "PERENNIS_CRASH_POINTS";
/// Steps of one workload.
const STEPS: usize = 14;
/// Every so many workloads a migration is cut instead.
const MIGRATE_EVERY: u64 = 8;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Outcome {
    points: u64,
    lost: u64,
    silent: u64,
    told: u64,
}

/// What a store shows after a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Right,
    Lost,
    Silent,
    Told,
}

#[test]
fn cuts_in_drawn_workloads_lose_nothing_and_hide_nothing() {
    let outcome = cut(400);
    let right = Outcome {
        points: 400,
        ..Outcome::default()
    };
    assert_eq!(outcome, right);
}

#[test]
#[ignore = "cargo xtask bench crash runs it"]
#[allow(clippy::print_stdout, reason = "figures are printed")]
fn as_many_cuts_as_are_asked_for_lose_nothing_and_hide_nothing() {
    let asked = env::var(VARIABLE).map(|text| text.parse().expect("a number of points"));
    let outcome = cut(asked.unwrap_or(POINTS));
    for (name, value, unit) in [
        ("crash/points", outcome.points, "cuts"),
        ("crash/lost", outcome.lost, "cuts"),
        ("crash/silent", outcome.silent, "cuts"),
        ("crash/told", outcome.told, "cuts"),
    ] {
        println!(r#"{{"name":"{name}","value":{value},"unit":"{unit}"}}"#);
    }
    assert_eq!((outcome.lost, outcome.silent, outcome.told), (0, 0, 0));
}

/// Cuts the power so many times: at every point of one workload after the other.
fn cut(points: u64) -> Outcome {
    let mut outcome = Outcome::default();
    let folder = migrate::folder();
    for number in 0.. {
        let mut draw = Draw(number);
        let migrates = number % MIGRATE_EVERY == MIGRATE_EVERY - 1;
        let steps = workload(&mut draw);
        let all = if migrates {
            migrate::points(&folder.machine())
        } else {
            let machine = Machine::new(Power::default(), options());
            work(&machine, &steps);
            machine.power.points()
        };
        for point in 0..all {
            if outcome.points == points {
                return outcome;
            }
            outcome.points += 1;
            let seed = draw.next();
            // A workload that panics is one that does not show what it should.
            let verdict = catch_unwind(AssertUnwindSafe(|| {
                if migrates {
                    migration(&folder, point, seed)
                } else {
                    workload_cut(&steps, point, seed)
                }
            }));
            let verdict = verdict.unwrap_or(Verdict::Lost);
            match verdict {
                Verdict::Right => continue,
                Verdict::Lost => outcome.lost += 1,
                Verdict::Silent => outcome.silent += 1,
                Verdict::Told => outcome.told += 1,
            }
            eprintln!("{verdict:?}: workload {number} cut at {point}, seed {seed}: {steps:?}");
        }
    }
    outcome
}

/// Cuts the power at a point of a workload and, as the seed says, again in what the next start does.
fn workload_cut(steps: &[Step], point: u64, seed: u64) -> Verdict {
    let mut draw = Draw(seed);
    let machine = Machine::new(Power::cut_at(point), options());
    let models = work(&machine, steps);
    let mut machine = machine.restart(draw.loss(), Power::default());
    let mut lost_index = false;
    match draw.below(4) {
        // Recovery is cut.
        0 => {
            for _ in 0..=draw.below(3) {
                machine.power.cut_after(draw.below(12));
                drop(machine.open());
                machine = machine.restart(draw.loss(), Power::default());
            }
        }
        // The index is lost with it, and making it anew is cut.
        1 => {
            lost_index = true;
            machine.home.remove();
            machine.power.cut_after(draw.below(30));
            drop(machine.open());
            machine = machine.restart(draw.loss(), Power::default());
        }
        _ => {}
    }
    let verdict = match machine.open() {
        Ok(store) => judge(&store, models.as_slice()),
        // Nothing was acknowledged before the index was lost too: a store that never held anything and one that lost all look the same.
        Err(OpenError::Gone { .. })
            if lost_index && models.iter().any(|model| model.matches(&Seen::default())) =>
        {
            return Verdict::Right;
        }
        Err(error) => {
            eprintln!("does not open: {error:?}");
            Verdict::Lost
        }
    };
    if verdict == Verdict::Right {
        check(&machine, &models, "after a cut");
    }
    verdict
}

/// Cuts the power at a point of a migration and, as the seed says, again in what the next start does of it.
fn migration(folder: &Folder, point: u64, seed: u64) -> Verdict {
    let mut draw = Draw(seed);
    let mut machine = folder.machine();
    machine.power.cut_after(point);
    drop(migrate::open(&machine));
    machine = machine.restart(draw.loss(), Power::default());
    for _ in 0..draw.below(3) {
        machine.power.cut_after(draw.below(40));
        drop(migrate::open(&machine));
        machine = machine.restart(draw.loss(), Power::default());
    }
    match migrate::open(&machine) {
        Ok(store) => folder.check(&store, "after a cut"),
        Err(_) => return Verdict::Lost,
    }
    Verdict::Right
}

fn judge(store: &Store, models: &[Model]) -> Verdict {
    let found = store.found_at_start().iter();
    let is_told = found
        .map(|loss| loss.kind)
        .any(crate::LossKind::is_of_acknowledged_data)
        || !store.losses().unwrap().is_empty();
    let shown = seen(store);
    if is_told {
        for loss in store.found_at_start() {
            eprintln!("told: {loss}");
        }
    }
    let is_right = models.iter().any(|model| model.matches(&shown));
    match (is_right, is_told) {
        (true, false) => Verdict::Right,
        (true, true) => Verdict::Told,
        (false, true) => Verdict::Lost,
        (false, false) => Verdict::Silent,
    }
}

/// Steps of every kind, about half of them commits.
fn workload(draw: &mut Draw) -> Vec<Step> {
    let mut committed = 0;
    let mut steps = Vec::new();
    while steps.len() < STEPS {
        steps.push(match draw.below(12) {
            0 => Step::Collect,
            1 => Step::Compact,
            2 => Step::Scrub,
            3 => Step::Checkpoint,
            4 if committed > 0 => Step::Equivocate(committed),
            _ => {
                committed += 1;
                Step::Commit(committed)
            }
        });
    }
    steps
}

/// Numbers that a seed names (SplitMix64).
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn loss(&mut self) -> Loss {
        match self.below(6) {
            0 => Loss::Everything,
            1 => Loss::Nothing,
            _ => Loss::Some(self.next()),
        }
    }
}
