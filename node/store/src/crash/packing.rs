//! Compaction: interrupted anywhere, on a disk that lies, beside whatever else happens.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use perennis_shared::cid::{Block, Cid, Codec};

use super::model::{Model, Step, batch, seen};
use super::{DIR, Machine, check, options, run};
use crate::batch::{Adoption, Reclaim};
use crate::commit::Work;
use crate::disk::Disk as _;
use crate::keys;
use crate::pack::{PackBlock, PackWriter, Partitions};
use crate::rows::{FileRow, MANY_OWNERS, Place, Row as _};
use crate::testing::{Loss, Power};
use crate::{Batch, LossKind, ReadError, Store, UpkeepError};

/// Packs are made from segments, from segments and packs, and from packs alone; in between blocks die in them.
const STEPS: &[Step] = &[
    Step::Commit(3),
    Step::Commit(6),
    Step::Commit(9),
    Step::Commit(10),
    Step::Commit(11),
    Step::Collect,
    Step::Compact,
    Step::Commit(12),
    Step::Commit(13),
    Step::Checkpoint,
    Step::Commit(15),
    Step::Collect,
    Step::Compact,
    Step::Commit(16),
    Step::Commit(18),
    Step::Commit(19),
    Step::Collect,
    Step::Compact,
];

fn worked(steps: &[Step]) -> (Machine, Model) {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    let mut model = Model::default();
    for step in steps {
        run(&store, *step).unwrap();
        model.apply(*step);
    }
    assert!(model.matches(&seen(&store)));
    drop(store);
    (machine, model)
}

/// Works until it ends or the power goes, as [`super::work`] does.
fn work(machine: &Machine) -> Vec<Model> {
    let mut model = Model::default();
    let Ok(store) = machine.open() else {
        return vec![model];
    };
    for step in STEPS {
        let mut after = model.clone();
        after.apply(*step);
        if run(&store, *step).is_err() {
            return vec![model.unfinished(*step), after];
        }
        model = after;
    }
    vec![model]
}

fn packs(machine: &Machine) -> Vec<PathBuf> {
    let files = machine.disk.files().into_iter().map(|(path, _)| path);
    files
        .filter(|path| path.extension().is_some_and(|kind| kind == "pack"))
        .collect()
}

/// All rows of the index, the store being closed, but how far it is, what is told, and files that only wait to be removed.
fn rows(machine: &Machine) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let durable = machine.home.used().unwrap();
    let mut rows: BTreeMap<_, _> = durable.rows().into_iter().collect();
    rows.retain(|key, value| match key[0] {
        keys::APPLIED | keys::LOSS => false,
        keys::FILE => !FileRow::from_bytes(value).unwrap().is_dropped,
        _ => true,
    });
    rows
}

#[test]
fn packs_are_made_rewritten_and_joined_and_nothing_else_is_left() {
    let mut made = Vec::new();
    for until in 1..=STEPS.len() {
        let (machine, model) = worked(&STEPS[..until]);
        let store = machine.open().unwrap();
        assert!(model.matches(&seen(&store)));
        let known = store.inner().file_rows();
        let names: Vec<_> = known.values().filter_map(|row| row.pack_name()).collect();
        let files = packs(&machine);
        assert_eq!(files.len(), names.len(), "after {:?}", STEPS[until - 1]);
        assert!(
            machine
                .disk
                .files()
                .iter()
                .all(|(path, _)| !path.ends_with("partial"))
        );
        if made.last() != Some(&files) {
            made.push(files);
        }
    }
    assert!(made.len() > 3, "{made:?}");
}

#[test]
fn a_power_cut_at_every_point_of_packing_loses_nothing() {
    let points = {
        let machine = Machine::new(Power::default(), options());
        work(&machine);
        assert!(!packs(&machine).is_empty());
        machine.power.points()
    };
    for point in 0..points {
        for loss in [Loss::Everything, Loss::Nothing, Loss::Some(point)] {
            let machine = Machine::new(Power::cut_at(point), options());
            let models = work(&machine);
            let context = format!("cut at {point}, {loss:?}");
            check(&machine.restart(loss, Power::default()), &models, &context);
        }
    }
}

#[test]
fn an_error_at_every_point_of_packing_is_told_or_without_effect_and_trying_again_goes_on() {
    for kind in [std::io::ErrorKind::Other, std::io::ErrorKind::StorageFull] {
        for point in 0.. {
            let (machine, mut model) = worked(&STEPS[..6]);
            let store = machine.open().unwrap();
            let before = machine.power.points();
            machine.power.fail_at(before + point, kind);
            let first = run(&store, Step::Compact);
            let came = machine.power.points() > before + point;
            machine.power.fail_at(u64::MAX, kind);
            assert!(model.matches(&seen(&store)), "{kind} at {point}: {first:?}");
            let mut store = store;
            if store.state() == crate::StoreState::Failed {
                // The index could not take what the log has: it has to be opened again.
                drop(store);
                store = machine.open().unwrap();
            }
            for step in [
                Step::Compact,
                Step::Commit(20),
                Step::Collect,
                Step::Compact,
            ] {
                run(&store, step).unwrap_or_else(|error| panic!("{kind} at {point}: {error:?}"));
                model.apply(step);
            }
            assert!(model.matches(&seen(&store)), "{kind} at {point}");
            drop(store);
            assert!(
                model.matches(&seen(&machine.open().unwrap())),
                "{kind} at {point}"
            );
            if !came {
                break;
            }
        }
    }
}

#[test]
fn what_the_disk_does_not_keep_of_a_pack_is_noticed_before_anything_is_dropped() {
    let mut refused = 0;
    for offset in (0..3000).step_by(97) {
        let (machine, model) = worked(&STEPS[..6]);
        let store = machine.open().unwrap();
        machine.disk.set_sync_damage(Some((offset, 1)));
        let packed = store.compact(70);
        machine.disk.set_sync_damage(None);
        match packed {
            Err(UpkeepError::Pack(_)) => refused += 1,
            // The damage hit the log or a checkpoint, or lies behind the pack.
            other => drop(other),
        }
        run(&store, Step::Compact).unwrap();
        assert!(model.matches(&seen(&store)), "{offset}");
    }
    assert!(refused > 5, "{refused}");
}

#[test]
fn the_index_comes_back_from_packs_row_for_row() {
    for until in 1..=STEPS.len() {
        let (machine, model) = worked(&STEPS[..until]);
        let before = rows(&machine);
        machine.home.remove();
        let store = machine.open().unwrap();
        assert!(store.rebuilt().is_some());
        assert!(model.matches(&seen(&store)), "{until}");
        assert!(store.losses().unwrap().is_empty());
        drop(store);
        assert_eq!(rows(&machine), before, "{until}");
    }
}

#[test]
fn a_pack_that_is_damaged_before_it_came_into_use_is_told_and_its_blocks_are_where_they_were() {
    let (machine, model) = worked(&STEPS[..6]);
    drop(machine);
    // The commit that takes the pack into use is in the log, and the index has not got it: the flush is cut off.
    let cut_off = |point| {
        let (machine, _) = worked(&STEPS[..6]);
        let store = machine.open().unwrap();
        machine.power.cut_after(point);
        assert!(
            run(&store, Step::Compact).is_err(),
            "it was never cut off in time"
        );
        let rows = store.inner().file_rows();
        drop(store);
        rows.values().any(|row| row.is_dropped).then_some(machine)
    };
    let machine = (0..).find_map(cut_off).unwrap();
    let machine = machine.restart(Loss::Everything, Power::default());
    let pack = packs(&machine).remove(0);
    let length = machine.disk.bytes(&pack).unwrap().len();
    assert!(machine.disk.damage(&pack, length - 40, 1));
    let store = machine.open().unwrap();
    let kinds: Vec<_> = store
        .found_at_start()
        .iter()
        .map(|loss| loss.kind)
        .collect();
    assert_eq!(kinds, [LossKind::UnreadablePack]);
    assert_eq!(store.losses().unwrap().len(), 1);
    assert!(model.matches(&seen(&store)));
    // It is not taken for a rest: it may be all that is left of its blocks.
    run(&store, Step::Compact).unwrap();
    assert!(machine.disk.bytes(&pack).is_some());
    assert!(model.matches(&seen(&store)));
}

/// Damages what the system holds in memory of these files.
fn damage_cached(machine: &Machine, files: &[(PathBuf, usize)]) {
    for (path, length) in files {
        for offset in (0..*length).step_by(50) {
            machine.disk.damage_cached(path, offset, 1);
        }
    }
}

/// The files that blocks lie in, those of a folder in their order.
fn block_files(machine: &Machine) -> Vec<(PathBuf, usize)> {
    let mut files = machine.disk.files();
    let of_blocks = ["packs", "segments"].map(|folder| Path::new(DIR).join(folder));
    files.retain(|(path, _)| of_blocks.iter().any(|folder| path.starts_with(folder)));
    files.sort_unstable();
    files
}

#[test]
fn bytes_that_are_damaged_in_memory_only_are_read_from_the_disk() {
    let (machine, model) = worked(&STEPS[..7]);
    let store = machine.open().unwrap();
    damage_cached(&machine, &block_files(&machine));
    assert!(model.matches(&seen(&store)));
    assert!(store.quarantine(None, 9).unwrap().is_empty());
}

#[test]
fn what_is_damaged_in_memory_only_is_packed_as_it_is_on_the_disk() {
    let (machine, mut model) = worked(&STEPS[..5]);
    // The system has written everything by now.
    machine.power.cut();
    let machine = machine.restart(Loss::Nothing, Power::default());
    let store = machine.open().unwrap();
    run(&store, Step::Collect).unwrap();
    model.apply(Step::Collect);
    // What is written to the last segment would make its damage durable.
    let files = block_files(&machine);
    let (_, files) = files.split_last().unwrap();
    damage_cached(&machine, files);
    run(&store, Step::Compact).unwrap();
    assert!(!packs(&machine).is_empty());
    assert!(model.matches(&seen(&store)));
    assert!(store.quarantine(None, 9).unwrap().is_empty());
}

#[test]
fn what_the_disk_does_not_keep_of_a_block_is_found_by_looking_past_the_cache() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    let block = Block::new(Codec::Raw, vec![7; 500]).unwrap();
    let mut batch = Batch::new();
    batch.put_block(block.clone());
    machine.disk.set_sync_damage(Some((4600, 1)));
    store.commit(batch).unwrap();
    machine.disk.set_sync_damage(None);
    // What is in memory is whole.
    assert_eq!(store.block(block.cid()).unwrap(), Some(block.clone()));
    let found = store.block_uncached(block.cid());
    assert!(matches!(found, Err(ReadError::Corrupt { .. })), "{found:?}");
    // It is set aside without waiting: the next commit comes behind that, and takes its place.
    let mut batch = Batch::new();
    batch.put_block(block.clone());
    store.commit(Batch::new()).unwrap();
    assert_eq!(store.quarantine(None, 9).unwrap().len(), 1);
    assert_eq!(store.block_uncached(block.cid()).unwrap(), None);
    store.commit(batch).unwrap();
    assert_eq!(store.block_uncached(block.cid()).unwrap(), Some(block));
    assert!(store.quarantine(None, 9).unwrap().is_empty());
}

/// Writes a pack of these blocks as they are known now, and what takes it into use later.
fn packed(machine: &Machine, store: &Store, cids: &[Cid]) -> Adoption {
    let inner = store.inner();
    let mut places: Vec<(Place, Block)> = cids
        .iter()
        .map(|cid| {
            let place = inner.shared.index.place(cid.hash()).unwrap().unwrap();
            (place, store.block(cid).unwrap().unwrap())
        })
        .collect();
    places.sort_by_key(|(place, _)| place.tag);
    let range = Partitions::spanning(places[0].0.tag, places[places.len() - 1].0.tag);
    let mut writer = PackWriter::create(&machine.disk, inner.packs().dir(), range).unwrap();
    for (place, block) in &places {
        writer
            .push(PackBlock {
                tag: place.tag,
                hash: block.cid().hash(),
                codecs: &place.codecs,
                body: block.bytes(),
            })
            .unwrap();
    }
    let pack = writer.finish().unwrap();
    Adoption {
        number: inner.ask(Work::Number).unwrap(),
        name: pack.name,
        bytes: pack.bytes,
        footer: Arc::new(pack.footer),
        sources: places.iter().map(|(place, _)| place.location).collect(),
    }
}

#[test]
fn what_happens_while_a_pack_is_written_outlives_the_pack_and_the_index() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    let block = |text: &str| Block::new(Codec::Raw, text.as_bytes().to_vec()).unwrap();
    let (shared, dead, again) = (block("shared"), block("dead"), block("again"));
    let mut first = Batch::new();
    first
        .owner(b"one")
        .put_block(shared.clone())
        .put_block(dead.clone())
        .put_block(again.clone());
    store.commit(first).unwrap();
    let cids = [&shared, &dead, &again].map(|block| *block.cid());
    let adoption = packed(&machine, &store, &cids);
    // Another owner puts one under another codec, one is forgotten, and one is forgotten and put again.
    let forget = |hashes| {
        let generation = store.inner().ask(Work::Watch).unwrap();
        store
            .commit(Batch::reclaiming(Reclaim::Forget {
                hashes,
                generation,
                marked: 0,
            }))
            .unwrap();
    };
    forget(vec![*dead.cid().hash(), *again.cid().hash()]);
    let other = Cid::new_v1(Codec::DagPb.code(), *shared.cid().hash());
    let mut second = Batch::new();
    second.owner(b"two").put_block(again.clone());
    second.put_block(Block::verified(other, shared.bytes().clone()).unwrap());
    store.commit(second).unwrap();
    let number = adoption.number;
    let adopt = Reclaim::Adopt {
        packs: vec![adoption],
        dropped: Vec::new(),
    };
    let commit = store.commit(Batch::reclaiming(adopt)).unwrap();
    assert_eq!(commit.reclaimed_blocks, 1);
    let look = |store: &Store| {
        let place = |block: &Block| {
            store
                .inner()
                .shared
                .index
                .place(block.cid().hash())
                .unwrap()
        };
        let shared = place(&shared).unwrap();
        assert_eq!((shared.location.file, shared.tag), (number, MANY_OWNERS));
        assert_eq!(shared.codecs, [Codec::Raw.code(), Codec::DagPb.code()]);
        assert_eq!(place(&dead), None);
        assert_ne!(place(&again).unwrap().location.file, number);
        assert_eq!(store.block(again.cid()).unwrap().as_ref(), Some(&again));
        assert_eq!(store.stats().blocks, 2);
        let row = store.inner().file_rows()[&number];
        assert_eq!((row.live_bytes, row.body_bytes), (6, 15));
    };
    look(&store);
    drop(store);
    let before = rows(&machine);
    // The log is replayed from the start; then from a checkpoint, with the footer.
    for checkpoint in [false, true] {
        if checkpoint {
            machine.open().unwrap().checkpoint().unwrap();
        }
        machine.home.remove();
        let store = machine.open().unwrap();
        assert!(store.rebuilt().is_some());
        look(&store);
        drop(store);
        assert_eq!(rows(&machine), before);
    }
}

#[test]
fn what_was_seen_while_a_pack_was_written_outlives_the_segment_and_the_index() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    let block = Block::new(Codec::Raw, b"shared".to_vec()).unwrap();
    let place = |store: &Store| {
        let index = &store.inner().shared.index;
        index.place(block.cid().hash()).unwrap().unwrap()
    };
    let mut first = Batch::new();
    first.owner(b"one").put_block(block.clone());
    store.commit(first).unwrap();
    let segment = place(&store).location.file;
    // Until the next segment is written to.
    for number in 0_u8.. {
        let mut filler = Batch::new();
        filler.put_meta(&[number], vec![number; 4096]);
        store.commit(filler).unwrap();
        if store.inner().file_rows().len() > 1 {
            break;
        }
    }
    store.checkpoint().unwrap();
    let adoption = packed(&machine, &store, &[*block.cid()]);
    let other = Cid::new_v1(Codec::DagPb.code(), *block.cid().hash());
    let mut second = Batch::new();
    second
        .owner(b"two")
        .put_block(Block::verified(other, block.bytes().clone()).unwrap());
    store.commit(second).unwrap();
    let adopt = Reclaim::Adopt {
        packs: vec![adoption],
        dropped: vec![segment],
    };
    store.commit(Batch::reclaiming(adopt)).unwrap();
    let known = place(&store);
    assert_eq!(known.codecs, [Codec::Raw.code(), Codec::DagPb.code()]);
    assert_eq!(known.tag, MANY_OWNERS);
    drop(store);
    // A checkpoint has its rows, so it goes. The block is unknown then until the pack comes into use.
    let path = segment.segment_path(&Path::new(DIR).join("segments"));
    machine.disk.remove(&path).unwrap();
    machine.home.remove();
    let store = machine.open().unwrap();
    assert!(store.rebuilt().is_some());
    assert_eq!(place(&store), known);
}

#[test]
fn a_file_that_cannot_be_read_holds_up_no_other() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    for number in 1..12 {
        store.commit(batch(number)).unwrap();
    }
    run(&store, Step::Collect).unwrap();
    machine.disk.set_read_fault(Some(std::io::ErrorKind::Other));
    // Each is tried once and left out; then there is nothing to do.
    let mut failed = 0;
    while store.compact(70).is_err() {
        failed += 1;
        assert!(failed < 20);
    }
    machine.disk.set_read_fault(None);
    assert!(failed > 0 && store.compact(70).unwrap().done);
    run(&store, Step::Collect).unwrap();
    assert!(!store.compact(70).unwrap().done || !packs(&machine).is_empty());
}

#[test]
fn the_empty_block_is_packed_and_comes_back_like_any_other() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    let empty = Block::new(Codec::Raw, Vec::new()).unwrap();
    let mut batch = Batch::new();
    batch.put_block(empty.clone()).pin(b"empty", *empty.cid());
    // Rows enough to fill segments, and no other block.
    store.commit(batch).unwrap();
    for number in 0..12_u8 {
        let mut batch = Batch::new();
        batch.put_meta(&[number], vec![number; 2000]);
        store.commit(batch).unwrap();
    }
    run(&store, Step::Collect).unwrap();
    run(&store, Step::Compact).unwrap();
    store.checkpoint().unwrap();
    assert_eq!(packs(&machine).len(), 1);
    drop(store);
    machine.home.remove();
    let store = machine.open().unwrap();
    assert!(store.rebuilt().is_some());
    assert_eq!(store.block(empty.cid()).unwrap(), Some(empty));
    assert!(store.losses().unwrap().is_empty());
}

fn compact_all(store: &Store) {
    while !store.compact(70).unwrap().done {}
}

#[test]
fn a_dropped_pack_stays_until_two_checkpoints_know_where_its_blocks_went() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    for step in &STEPS[..6] {
        run(&store, *step).unwrap();
    }
    compact_all(&store);
    let made = packs(&machine);
    assert!(!made.is_empty());
    for (key, _) in store.pins(None, 99).unwrap() {
        let mut batch = Batch::new();
        batch.unpin(&key);
        store.commit(batch).unwrap();
    }
    run(&store, Step::Collect).unwrap();
    compact_all(&store);
    let rows = store.inner().file_rows();
    let mut rows = rows.values().filter(|row| row.pack_name().is_some());
    assert!(rows.all(|row| row.is_dropped));
    // Where the index has to be made anew, the log takes the pack into use before it drops it.
    let is_whole = |context: &str| {
        assert_eq!(packs(&machine), made, "{context}");
        let copy = machine.copy(Loss::Nothing, Power::default());
        copy.home.remove();
        let again = copy.open().unwrap();
        assert!(again.rebuilt().is_some(), "{context}");
        assert!(again.losses().unwrap().is_empty(), "{context}");
        assert_eq!(seen(&again), seen(&store), "{context}");
    };
    is_whole("no checkpoint");
    store.checkpoint().unwrap();
    compact_all(&store);
    is_whole("one checkpoint");
    store.commit(batch(19)).unwrap();
    store.checkpoint().unwrap();
    compact_all(&store);
    // Another may have been made meanwhile.
    assert!(packs(&machine).iter().all(|pack| !made.contains(pack)));
}

#[test]
fn a_block_that_a_second_owner_puts_or_requires_is_of_many() {
    let body = |text: &str| Block::new(Codec::Raw, text.repeat(50).into_bytes()).unwrap();
    let (put, required, own) = (body("put"), body("required"), body("own"));
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    let mut first = Batch::new();
    first.owner(b"one");
    for block in [&put, &required, &own] {
        first.put_block(block.clone());
    }
    store.commit(first).unwrap();
    // The same owner again is no news.
    for owner in [b"one", b"two"] {
        let mut next = Batch::new();
        next.owner(owner);
        next.put_block(put.clone()).require(*required.cid());
        store.commit(next).unwrap();
        let is_many = |block: &Block| {
            let place = store.inner().shared.index.place(block.cid().hash());
            place.unwrap().unwrap().tag == MANY_OWNERS
        };
        let seen = [&put, &required, &own].map(is_many);
        assert_eq!(seen, [owner == b"two", owner == b"two", false]);
    }
}
