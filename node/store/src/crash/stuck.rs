//! An index that does not take what the log has: it is asked again, and what it lacks meanwhile is not taken for dead.

use std::io::ErrorKind;

use perennis_shared::cid::{Block, Codec};
use perennis_shared::codec::{Value, dag_cbor};

use super::model::{Model, Step, batch, seen};
use super::{Machine, check, options};
use crate::testing::{Loss, Power};
use crate::{Batch, CommitError, StoreState, UpkeepError};

#[test]
fn an_index_that_fails_for_a_while_is_asked_again_and_nothing_is_lost() {
    // What a commit does on a store whose segment is open: two or three writes of the log, a sync, the index, and now and then a
    // flush of it.
    let mut was_index = 0;
    for number in 1..6 {
        for point in 0..12 {
            let machine = Machine::new(Power::default(), options());
            let store = machine.open().unwrap();
            let mut model = Model::default();
            for number in 1..number {
                store.commit(batch(number)).unwrap();
                model.apply(Step::Commit(number));
            }
            let next = machine.power.points() + point;
            machine.power.fail_at(next, ErrorKind::Other);
            let committed = store.commit(batch(number));
            if machine.power.points() <= next {
                continue;
            }
            let context = format!("commit {number}, point {point}");
            let has_failed = store.state() == StoreState::Failed;
            if has_failed {
                was_index += 1;
                let refused = store.compact(70).unwrap_err();
                assert!(matches!(refused, UpkeepError::Commit(_)), "{context}");
                // The next commit asks it again.
                store.commit(batch(6)).unwrap();
            }
            if committed.is_ok() || has_failed {
                model.apply(Step::Commit(number));
            }
            if has_failed {
                model.apply(Step::Commit(6));
            }
            assert_eq!(store.state(), StoreState::Writable, "{context}");
            assert!(model.matches(&seen(&store)), "{context}");
            drop(store);
            let machine = machine.restart(Loss::Everything, Power::default());
            check(&machine, &[model], &context);
        }
    }
    assert!(was_index > 5, "{was_index}");
}

#[test]
fn what_the_index_has_not_taken_yet_is_not_collected() {
    let block = Block::new(Codec::Raw, b"dead until pinned".to_vec()).unwrap();
    let pinning = || {
        let mut batch = Batch::new();
        batch.require(*block.cid()).pin(b"pin", *block.cid());
        batch
    };
    let mut was_index = 0;
    for point in 0..12 {
        let machine = Machine::new(Power::default(), options());
        let store = machine.open().unwrap();
        let mut first = Batch::new();
        first.put_block(block.clone());
        store.commit(first).unwrap();
        machine
            .power
            .fail_at(machine.power.points() + point, ErrorKind::Other);
        let pinned = store.commit(pinning());
        let has_failed = matches!(pinned, Err(CommitError::Index(_)));
        assert_eq!(has_failed, store.state() == StoreState::Failed, "{point}");
        if !has_failed {
            continue;
        }
        was_index += 1;
        let before = store.stats().group;
        let collection = store.collect().unwrap();
        assert_eq!(store.stats().group, before + 1, "{point}");
        collection.finish().unwrap();
        assert_ne!(store.state(), StoreState::Failed, "{point}");
        store.commit(Batch::new()).unwrap();
        assert_eq!(store.pins(None, 9).unwrap().len(), 1, "{point}");
        assert_eq!(store.pin(b"pin").unwrap(), Some(*block.cid()), "{point}");
        assert_eq!(store.block(block.cid()).unwrap().as_ref(), Some(&block));
    }
    assert!(was_index > 0);
}

#[test]
fn a_collection_ends_where_the_index_did_not_take_what_is_pinned_meanwhile() {
    let leaf = Block::new(Codec::Raw, b"below the root".to_vec()).unwrap();
    let list = Value::List(vec![Value::Link(*leaf.cid())]);
    let root = Block::new(Codec::DagCbor, dag_cbor::encode(&list).unwrap()).unwrap();
    let mut was_index = 0;
    for point in 0..12 {
        let machine = Machine::new(Power::default(), options());
        let store = machine.open().unwrap();
        let mut first = Batch::new();
        first.put_block(leaf.clone()).put_block(root.clone());
        store.commit(first).unwrap();
        let collection = store.collect().unwrap();
        let next = machine.power.points() + point;
        machine.power.fail_at(next, ErrorKind::Other);
        let mut pinning = Batch::new();
        pinning.pin(b"pin", *root.cid());
        let _ = store.commit(pinning);
        if store.state() != StoreState::Failed {
            continue;
        }
        was_index += 1;
        let _ = collection.finish();
        store.commit(batch(1)).unwrap();
        for block in [&leaf, &root] {
            let stored = store.block(block.cid()).unwrap();
            assert_eq!(stored.as_ref(), Some(block), "{point}");
        }
    }
    assert!(was_index > 0);
}

#[test]
fn an_index_that_goes_on_failing_is_left_alone_for_a_while() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    let small = |number: u8| {
        let mut batch = Batch::new();
        batch.put_meta(&[number], vec![number]);
        batch
    };
    store.commit(small(1)).unwrap();
    let before = machine.power.points();
    store.commit(small(2)).unwrap();
    // The last that a small commit does is to write to the index.
    let index = machine.power.points() * 2 - before - 1;
    machine.power.fail_at(index, ErrorKind::Other);
    assert!(matches!(store.commit(small(3)), Err(CommitError::Index(_))));
    machine
        .power
        .fail_at(machine.power.points(), ErrorKind::Other);
    for round in 0..3 {
        let before = machine.power.points();
        let refused = store.commit(small(4));
        assert!(matches!(refused, Err(CommitError::Index(_))));
        // Once at once, then not before some time has passed.
        let asked = machine.power.points() - before;
        assert_eq!(asked, u64::from(round == 0), "{round}");
    }
    assert_eq!(store.state(), StoreState::Failed);
    assert_eq!(store.meta(&[2]).unwrap(), Some(vec![2]));
    drop(store);
    let machine = machine.restart(Loss::Everything, Power::default());
    let store = machine.open().unwrap();
    assert_eq!(store.meta(&[3]).unwrap(), Some(vec![3]));
    assert_eq!(store.meta(&[4]).unwrap(), None);
}
