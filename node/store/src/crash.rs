//! The store on the disk that lies: the power goes at every point of a workload, with every kind of loss, and what the
//! next start shows is held against what was acknowledged.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod after_faults;
mod faults;
mod files;
mod log_end;
mod long;
mod migrate;
mod model;
mod newest;
mod old_index;
mod order;
mod packing;
mod put_back;
mod rebuild;
mod stuck;
mod tables;
mod twofold;

use model::{Model, Step, WORKLOAD, seen};

use crate::testing::{DIR, Loss, Machine, Power};
use crate::{CommitError, IndexOptions, Store, StoreOptions, StoreState, UpkeepError};

fn options() -> StoreOptions {
    StoreOptions {
        // About three commits beside the headers.
        segment_bytes: 8 << 10,
        reserve_bytes: 32 << 10,
        flush_bytes: 12 << 10,
        checkpoint_bytes: 10 << 10,
        index: IndexOptions::default(),
    }
}

/// Works through a workload until it ends or the power goes. Returns what must be seen afterwards: one of these.
fn work(machine: &Machine, workload: &[Step]) -> Vec<Model> {
    let mut model = Model::default();
    let Ok(store) = machine.open() else {
        return vec![model];
    };
    for step in workload {
        let mut after = model.clone();
        after.apply(*step);
        if run(&store, *step).is_err() {
            assert!(machine.power.is_off(), "{step:?} failed without a reason");
            return vec![model.unfinished(*step), after];
        }
        model = after;
        if machine.power.is_off() {
            // It went in something that is not needed for the answer.
            return vec![model];
        }
        assert!(model.matches(&seen(&store)), "after {step:?}");
    }
    vec![model]
}

fn run(store: &Store, step: Step) -> Result<(), UpkeepError> {
    match step {
        Step::Commit(number) => store.commit(model::batch(number)).map(drop)?,
        Step::Equivocate(number) => match store.commit(model::equivocation(number)) {
            Err(CommitError::Equivocation { .. }) => {}
            other => drop(other?),
        },
        Step::Collect => drop(store.collect()?.finish()?),
        Step::Compact => {
            while !store.compact(70)?.done {}
            // Segments that are not needed any more go when checkpoints have their rows.
            while store.checkpoint_due() {
                store.checkpoint()?;
                while !store.compact(70)?.done {}
            }
        }
        Step::Scrub => drop(store.scrub(2000)?),
        Step::Checkpoint => drop(store.checkpoint()?),
    }
    Ok(())
}

/// Opens what survived, holds it against the model, and goes on working with it.
fn check(machine: &Machine, models: &[Model], context: &str) {
    let store = machine
        .open()
        .unwrap_or_else(|error| panic!("{context}: {error:?}"));
    let shown = seen(&store);
    let Some(model) = models.iter().find(|model| model.matches(&shown)) else {
        panic!("{context}: shows {shown:#?}\nbut should be one of {models:#?}");
    };
    assert_eq!(store.state(), StoreState::Writable, "{context}");
    assert_eq!(store.stats().lost_groups, 0, "{context}");
    let mut model = model.clone();
    for step in [
        Step::Commit(40),
        Step::Compact,
        Step::Commit(41),
        Step::Collect,
    ] {
        run(&store, step).unwrap_or_else(|error| panic!("{context}: {step:?}: {error:?}"));
        model.apply(step);
        assert!(model.matches(&seen(&store)), "{context}: {step:?}");
    }
    drop(store);
    let again = machine.open().unwrap();
    assert!(
        model.matches(&seen(&again)),
        "{context}: after one more start"
    );
    assert_eq!(
        again.stats().blocks,
        seen(&again).blocks.len() as u64,
        "{context}"
    );
}

fn points() -> u64 {
    let machine = Machine::new(Power::default(), options());
    let models = work(&machine, WORKLOAD);
    let points = machine.power.points();
    check(
        &machine.restart(Loss::Everything, Power::default()),
        &models,
        "no cut",
    );
    points
}

#[test]
fn power_cut_at_every_point_loses_nothing_acknowledged_and_shows_nothing_half() {
    let points = points();
    assert!(points > 120, "the workload has only {points} points");
    let losses = [
        Loss::Everything,
        Loss::Nothing,
        Loss::Some(1),
        Loss::Some(2),
        Loss::Some(3),
    ];
    for point in 0..points {
        for loss in losses {
            let machine = Machine::new(Power::cut_at(point), options());
            let models = work(&machine, WORKLOAD);
            let machine = machine.restart(loss, Power::default());
            check(&machine, &models, &format!("cut at {point}, {loss:?}"));
        }
    }
}

#[test]
fn power_cut_during_recovery_is_recovered_from() {
    for point in 0..points() {
        let loss = Loss::Some(point);
        let machine = Machine::new(Power::cut_at(point), options());
        let models = work(&machine, WORKLOAD);
        let mut machine = machine.restart(loss, Power::cut_at(point % 5));
        for round in 0..4 {
            // Opening and closing have points of their own.
            drop(machine.open());
            machine = machine.restart(
                Loss::Some(point + round),
                Power::cut_at((point + round) % 7),
            );
        }
        let machine = machine.restart(loss, Power::default());
        check(
            &machine,
            &models,
            &format!("cut at {point} and in recovery"),
        );
    }
}
