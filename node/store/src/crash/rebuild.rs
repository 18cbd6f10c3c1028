//! The index is lost or damaged, at any time and in any way: what the next start makes of the rest is the index as it was,
//! row for row, or says what is missing.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use perennis_shared::cid::{Block, Codec};
use proptest::prelude::*;

use super::model::{self, Model, Step, batch, name, seen};
use super::{DIR, Machine, options, run};
use crate::disk::Disk as _;
use crate::keys;
use crate::kv::{KvBatch, KvHome as _};
use crate::location::FileNumber;
use crate::rows::{FileRow, Row as _};
use crate::testing::{Loss, Power};
use crate::{Batch, CommitError, LossKind, REFETCH, RebuildStage, Store, StoreState};

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// All rows of the index, the store being closed. What is told of a start is left out.
pub(super) fn rows(machine: &Machine) -> Rows {
    let durable = machine
        .home
        .used()
        .expect("a store that was closed has an index");
    let mut rows: Rows = durable.rows().into_iter().collect();
    rows.retain(|key, _| key[0] != keys::LOSS);
    rows
}

/// Loses the index and opens the store without it.
fn rebuilt(machine: &Machine) -> Store {
    machine.home.remove();
    // Where nothing was ever logged, nothing is lost with it.
    let is_log = |path: &Path| path.extension().is_some_and(|name| name == "seg");
    let has_log = machine.disk.files().iter().any(|(path, _)| is_log(path));
    let store = machine.open().unwrap();
    assert_eq!(store.rebuilt().is_some(), has_log);
    store
}

/// A machine with commits, collections and two checkpoints, and its model.
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

const STEPS: &[Step] = &[
    Step::Commit(1),
    Step::Commit(2),
    Step::Commit(3),
    Step::Collect,
    Step::Checkpoint,
    Step::Commit(4),
    Step::Equivocate(4),
    Step::Collect,
    Step::Commit(5),
    Step::Scrub,
    Step::Checkpoint,
    Step::Commit(6),
    Step::Commit(7),
    Step::Collect,
    Step::Commit(8),
];

#[test]
fn an_index_that_is_gone_comes_back_row_for_row_whatever_was_stored() {
    for until in 1..=STEPS.len() {
        let (machine, model) = worked(&STEPS[..until]);
        let before = rows(&machine);
        let store = rebuilt(&machine);
        assert!(model.matches(&seen(&store)), "{until}");
        let kinds: Vec<_> = store
            .found_at_start()
            .iter()
            .map(|loss| loss.kind)
            .collect();
        assert_eq!(kinds, [LossKind::IndexRebuilt], "{until}");
        assert!(store.losses().unwrap().is_empty());
        drop(store);
        assert_eq!(rows(&machine), before, "{until}");
    }
}

#[test]
fn an_index_that_a_power_cut_leaves_is_not_older_than_its_checkpoint() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    for number in 1..4 {
        store.commit(batch(number)).unwrap();
    }
    store.checkpoint().unwrap();
    let before = seen(&store);
    machine.power.cut();
    drop(store);
    let machine = machine.restart(Loss::Everything, Power::default());
    let store = machine.open().unwrap();
    assert_eq!(store.found_at_start(), []);
    assert_eq!(seen(&store), before);
}

#[test]
fn progress_is_told_stage_by_stage() {
    let (machine, _) = worked(STEPS);
    machine.home.remove();
    let mut told = Vec::new();
    let disk = Arc::new(machine.disk.clone());
    let home = Arc::new(machine.home.clone());
    Store::open_on(
        Path::new(DIR),
        &super::options(),
        disk,
        home,
        None,
        &mut |at| told.push(at),
    )
    .unwrap();
    let stages: Vec<_> = told.iter().map(|at| at.stage).collect();
    assert!(stages.is_sorted_by_key(|stage| match stage {
        RebuildStage::Format1 => 0,
        RebuildStage::Checkpoint => 1,
        RebuildStage::Files => 2,
        RebuildStage::Order => 3,
        RebuildStage::Log => 4,
    }));
    for stage in [
        RebuildStage::Checkpoint,
        RebuildStage::Files,
        RebuildStage::Order,
    ] {
        let last = told.iter().rfind(|at| at.stage == stage).unwrap();
        assert_eq!(last.done, last.of, "{stage:?}");
    }
    assert!(told.iter().all(|at| at.done <= at.of));
    assert!(stages.contains(&RebuildStage::Log));
}

#[test]
fn a_power_cut_at_any_point_of_a_rebuild_is_recovered_from() {
    let points = {
        let (machine, _) = worked(STEPS);
        let before = machine.power.points();
        drop(rebuilt(&machine));
        machine.power.points() - before
    };
    assert!(points > 10, "{points}");
    for point in 0..points {
        for loss in [Loss::Everything, Loss::Nothing, Loss::Some(point)] {
            let (machine, model) = worked(STEPS);
            let before = rows(&machine);
            machine.home.remove();
            machine.power.cut_after(point);
            drop(machine.open());
            let machine = machine.restart(loss, Power::default());
            let store = machine.open().unwrap();
            assert!(model.matches(&seen(&store)), "cut at {point}, {loss:?}");
            assert!(store.losses().unwrap().is_empty());
            drop(store);
            assert_eq!(rows(&machine), before, "cut at {point}, {loss:?}");
        }
    }
}

#[test]
fn an_error_at_any_point_of_a_rebuild_leaves_it_to_the_next_start() {
    for kind in [ErrorKind::Other, ErrorKind::StorageFull] {
        for point in 0.. {
            let (machine, model) = worked(STEPS);
            machine.home.remove();
            let before = machine.power.points();
            machine.power.fail_at(before + point, kind);
            let opened = machine.open();
            let came = machine.power.points() > before + point;
            drop(opened);
            let store = machine.open().unwrap();
            assert!(model.matches(&seen(&store)), "{kind} at {point}");
            if !came {
                break;
            }
        }
    }
}

#[test]
fn an_index_that_is_found_damaged_takes_no_more_writes_and_the_next_start_makes_it_anew() {
    let (machine, mut model) = worked(STEPS);
    let before = rows(&machine);
    machine.home.used().unwrap().damage(b"h", b"i");
    let store = machine.open().unwrap();
    assert_eq!(store.state(), StoreState::Writable);
    assert!(store.rebuilt().is_none());
    assert!(store.head(&name()).is_err());
    assert_eq!(store.state(), StoreState::Failed);
    assert!(matches!(store.commit(batch(9)), Err(CommitError::Closed)));
    assert!(
        store.checkpoint().is_err(),
        "what is damaged is not written down"
    );
    drop(store);
    let store = machine.open().unwrap();
    assert!(store.rebuilt().unwrap().contains("damaged"));
    assert!(model.matches(&seen(&store)));
    drop(store);
    assert_eq!(rows(&machine), before);
    let store = machine.open().unwrap();
    assert!(store.rebuilt().is_none());
    run(&store, Step::Commit(9)).unwrap();
    model.apply(Step::Commit(9));
    assert!(model.matches(&seen(&store)));
}

#[test]
fn damage_that_a_start_comes_across_is_repaired_by_it() {
    for table in [b'a', b's', b't', b'i', b'x', b'f'] {
        let (machine, model) = worked(STEPS);
        machine.home.used().unwrap().damage(&[table], &[table + 1]);
        let store = machine.open().unwrap();
        assert!(store.rebuilt().is_some(), "{}", char::from(table));
        assert!(model.matches(&seen(&store)));
    }
}

#[test]
fn an_index_that_lacks_what_it_must_have_is_damaged() {
    let change = |machine: &Machine, key: &[u8], value: Option<&[u8]>| {
        let kv = machine.home.open().unwrap();
        let mut batch = KvBatch::default();
        match value {
            Some(value) => batch.put(key, value),
            None => batch.delete(key),
        }
        kv.write(batch).unwrap();
        kv.flush(true).unwrap();
    };
    let files = rows(&worked(STEPS).0);
    let file = files.keys().find(|key| key[0] == b's').unwrap();
    for (key, value) in [
        (b"i".as_slice(), None),
        (b"i", Some(b"short".as_slice())),
        (b"a", None),
        (b"a", Some(b"nonsense")),
        (file, Some(b"\x02later")),
    ] {
        let (machine, model) = worked(STEPS);
        change(&machine, key, value);
        let store = machine.open().unwrap();
        assert!(store.rebuilt().is_some(), "{key:?}");
        assert!(model.matches(&seen(&store)), "{key:?}");
    }
}

#[test]
fn an_older_index_is_noticed_where_the_log_may_not_reach_back_and_brought_up_where_it_does() {
    let (machine, _) = worked(&STEPS[..4]);
    let old = machine.home.used().unwrap().fork();
    let store = machine.open().unwrap();
    let mut model = Model::default();
    for step in STEPS {
        model.apply(*step);
    }
    for step in &STEPS[5..] {
        run(&store, *step).unwrap();
    }
    drop(store);
    let now = machine.home.used().unwrap().rows();
    machine.home.put(&old);
    let store = machine.open().unwrap();
    assert!(store.rebuilt().unwrap().contains("older"));
    assert!(model.matches(&seen(&store)));
    drop(store);
    assert_eq!(machine.home.used().unwrap().rows(), now);
}

fn checkpoint_files(machine: &Machine) -> Vec<PathBuf> {
    let files = machine.disk.files().into_iter().map(|(path, _)| path);
    files
        .filter(|path| path.extension().is_some_and(|kind| kind == "ckpt"))
        .collect()
}

#[test]
fn a_damaged_checkpoint_is_passed_over_and_told() {
    let (machine, model) = worked(STEPS);
    let before = rows(&machine);
    let newest = checkpoint_files(&machine).pop().unwrap();
    assert!(machine.disk.damage(&newest, 200, 1));
    let store = rebuilt(&machine);
    assert!(model.matches(&seen(&store)));
    let kinds = store.found_at_start().iter().map(|loss| loss.kind);
    assert!(
        kinds
            .clone()
            .any(|kind| kind == LossKind::DamagedCheckpoint)
    );
    assert!(!kinds.into_iter().any(LossKind::is_of_acknowledged_data));
    drop(store);
    assert_eq!(rows(&machine), before);
    // Both: the log has it all still.
    for path in checkpoint_files(&machine) {
        machine.disk.damage(&path, 201, 1);
    }
    assert!(model.matches(&seen(&rebuilt(&machine))));
}

#[test]
fn what_a_cut_leaves_behind_the_groups_of_a_checkpoint_is_no_damaged_table() {
    let (machine, model) = worked(&STEPS[..5]);
    let last = segment_files(&machine).pop().unwrap();
    let file = machine.disk.open(&last).unwrap();
    file.write_at(&[0xa5; 100], file.length().unwrap()).unwrap();
    machine.home.remove();
    let store = machine.open().unwrap();
    assert!(model.matches(&seen(&store)));
    assert_eq!(store.losses().unwrap(), []);
}

#[test]
fn a_checkpoint_that_cannot_be_read_now_is_not_taken_for_one_that_is_damaged() {
    let (machine, model) = worked(STEPS);
    machine.home.remove();
    machine.disk.set_read_fault(Some(ErrorKind::Other));
    assert!(machine.open().is_err());
    machine.disk.set_read_fault(None);
    let store = machine.open().unwrap();
    assert!(model.matches(&seen(&store)));
}

fn segment_files(machine: &Machine) -> Vec<PathBuf> {
    let files = machine.disk.files().into_iter().map(|(path, _)| path);
    files
        .filter(|path| path.extension().is_some_and(|kind| kind == "seg"))
        .collect()
}

#[test]
fn a_segment_that_is_gone_costs_its_blocks_which_are_fetched_again_and_no_rows() {
    let count = segment_files(&worked(STEPS).0).len();
    assert!(count > 2, "{count}");
    for gone in 0..count {
        let (machine, _) = worked(STEPS);
        let before = {
            let store = machine.open().unwrap();
            seen(&store)
        };
        let path = segment_files(&machine).remove(gone);
        let number = FileNumber::parse(path.file_name().unwrap().to_str().unwrap()).unwrap();
        machine.disk.remove(&path).unwrap();
        let store = machine.open().unwrap();
        assert!(store.rebuilt().is_none());
        let losses = store.losses().unwrap();
        assert_eq!(losses.len(), 1, "{losses:?}");
        assert_eq!(
            (losses[0].kind, losses[0].file),
            (LossKind::MissingFile, number)
        );
        assert_eq!(model::rows(&store), before.rows);
        let after = seen(&store).blocks;
        let lost: Vec<_> = before
            .blocks
            .keys()
            .filter(|cid| !after.contains_key(cid))
            .collect();
        assert_eq!(lost.len() as u64, losses[0].blocks);
        let set_aside: Vec<_> = store.quarantine(None, 100).unwrap();
        assert_eq!(set_aside.len(), lost.len());
        assert_eq!(store.queue_len(REFETCH).unwrap(), lost.len());
        let stats = store.stats();
        assert_eq!(stats.blocks, after.len() as u64);
        drop(store);
        // It is told once, and kept until somebody has seen it.
        let store = machine.open().unwrap();
        assert_eq!(store.losses().unwrap(), losses);
        assert!(
            store.found_at_start().is_empty(),
            "{:?}",
            store.found_at_start()
        );
        store.commit(batch(20)).unwrap();
    }
}

#[test]
fn an_empty_folder_of_segments_is_no_fresh_start() {
    for has_index in [true, false] {
        let (machine, _) = worked(STEPS);
        let before = {
            let store = machine.open().unwrap();
            seen(&store)
        };
        let count = segment_files(&machine).len();
        for path in segment_files(&machine) {
            machine.disk.remove(&path).unwrap();
        }
        if !has_index {
            machine.home.remove();
        }
        let store = machine.open().unwrap();
        let losses = store.losses().unwrap();
        let missing = losses
            .iter()
            .filter(|loss| loss.kind == LossKind::MissingFile);
        assert!(missing.count() >= count.min(2), "{losses:?}");
        assert!(seen(&store).blocks.is_empty());
        if has_index {
            assert_eq!(model::rows(&store), before.rows);
        } else {
            // Those of the newest checkpoint.
            assert_eq!(seen(&store).sequence(), 5);
        }
        store.commit(batch(20)).unwrap();
        drop(store);
        assert_eq!(seen(&machine.open().unwrap()).sequence(), 20);
    }
}

/// What a user or the store does; a number says to what.
#[derive(Clone, Debug)]
enum Action {
    Commit,
    Again(u8),
    Collect,
    Compact,
    Scrub,
    Checkpoint,
    Rot(u8),
    Restart,
    PowerCut(u64),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => Just(Action::Commit),
        3 => any::<u8>().prop_map(Action::Again),
        2 => Just(Action::Collect),
        2 => Just(Action::Compact),
        1 => Just(Action::Scrub),
        2 => Just(Action::Checkpoint),
        2 => any::<u8>().prop_map(Action::Rot),
        1 => Just(Action::Restart),
        1 => any::<u64>().prop_map(Action::PowerCut),
    ]
}

/// Blocks that are put again and again, by several owners and under several codecs, also after they were forgotten.
fn again(number: u8) -> Batch {
    let mut batch = Batch::new();
    batch.owner(&[number % 3]);
    for part in 0..3 {
        let text = format!("again {} {}", (number / 3 % 5 + part) % 5, "a".repeat(300));
        let codec = if (number % 7 + part).is_multiple_of(2) {
            Codec::Raw
        } else {
            Codec::DagPb
        };
        batch.put_block(Block::new(codec, text.into_bytes()).unwrap());
    }
    batch
}

/// Damages a stored block and reads it, so that it is set aside.
fn rot(machine: &Machine, store: &Store, number: u8) {
    let cids = store.cids(None, usize::MAX).unwrap();
    let Some(cid) = cids.get(usize::from(number) % cids.len().max(1)) else {
        return;
    };
    let at = store
        .inner()
        .shared
        .index
        .location(cid.hash())
        .unwrap()
        .unwrap();
    let path = store.inner().path(at.file);
    assert!(machine.disk.damage(&path, at.offset as usize, 1));
    assert!(store.block(cid).is_err());
    // It waits until the block is set aside: both go through the committer.
    store.commit(Batch::new()).unwrap();
}

/// What of a row has to come back where damage of the log is told again, in a group of its own.
fn comparable(key: &[u8], row: &[u8]) -> Option<Vec<u8>> {
    match key[0] {
        keys::APPLIED => None,
        keys::FILE => {
            let row = FileRow::from_bytes(row).unwrap();
            (row.live_bytes > 0).then(|| row.live_bytes.to_le_bytes().to_vec())
        }
        _ => Some(row.to_vec()),
    }
}

/// Whether two indexes say the same.
pub(super) fn assert_same(before: &Rows, after: &Rows) {
    for key in before.keys().chain(after.keys()) {
        let (before, after) = (before.get(key), after.get(key));
        let [before, after] = [before, after].map(|row| comparable(key, row?));
        assert_eq!(before, after, "{}", String::from_utf8_lossy(key));
    }
}

/// Does all that, loses the index, and holds what comes back against what was there.
fn comes_back(actions: Vec<Action>) {
    let mut machine = Machine::new(Power::default(), options());
    let mut store = machine.open().unwrap();
    // Of nothing there is nothing to come back, not even which store it was.
    store.commit(batch(1)).unwrap();
    let mut number = 1;
    for action in actions {
        match action {
            Action::Commit => {
                number += 1;
                store.commit(batch(number)).unwrap();
            }
            Action::Again(what) => drop(store.commit(again(what)).unwrap()),
            Action::Collect => drop(store.collect().unwrap().finish()),
            // A block that is damaged and pinned holds up what it is in.
            Action::Compact => drop(run(&store, Step::Compact)),
            Action::Scrub => drop(store.scrub(u64::MAX).unwrap()),
            Action::Checkpoint => drop(store.checkpoint().unwrap()),
            Action::Rot(what) => rot(&machine, &store, what),
            Action::Restart => {
                drop(store);
                store = machine.open().unwrap();
            }
            Action::PowerCut(seed) => {
                machine.power.cut();
                drop(store);
                machine = machine.restart(Loss::Some(seed), Power::default());
                store = machine.open().unwrap();
            }
        }
    }
    drop(store);
    let before = rows(&machine);
    drop(rebuilt(&machine));
    assert_same(&before, &rows(&machine));
}

#[test]
fn what_was_seen_before_a_pack_does_not_outlive_its_segment() {
    use Action::{Again, Checkpoint, Commit, Compact, Restart, Scrub};
    // Both checkpoints have the segment, so it goes as soon as it is packed, and only they say what was seen of its blocks.
    let checkpoints = [Commit, Commit, Restart, Checkpoint, Scrub, Checkpoint];
    for (before, after) in [
        (&[50, 30][..], &[][..]),
        (&[50, 30], &[9]),
        (&[50, 30], &[9, 16, 3]),
    ] {
        let again = |numbers: &[u8]| numbers.iter().copied().map(Again).collect::<Vec<_>>();
        let actions = [
            again(before),
            checkpoints.to_vec(),
            again(after),
            vec![Compact],
        ];
        comes_back(actions.concat());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_was_done_the_index_comes_back_row_for_row(
        actions in proptest::collection::vec(action(), 1..40),
    ) {
        comes_back(actions);
    }
}
