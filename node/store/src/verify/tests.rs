#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use perennis_shared::cid::{Block, Codec};

use super::*;
use crate::kv::{KvBatch, KvHome as _};
use crate::testing::{DIR, Loss, Machine, Power};
use crate::{Batch, Queue, StoreOptions};

impl Machine {
    fn small() -> Self {
        let options = StoreOptions {
            segment_bytes: 16 << 10,
            reserve_bytes: 4096,
            ..StoreOptions::default()
        };
        Self::new(Power::default(), options)
    }

    /// One with blocks, rows and two checkpoints.
    fn filled() -> Self {
        let machine = Self::small();
        let store = machine.open().unwrap();
        for number in 0..12_u8 {
            let mut batch = Batch::new();
            for size in [10, 900, 20_000_usize] {
                batch.put_block(block(number, size / usize::from(number % 3 + 1)));
            }
            batch.pin(
                &[number],
                *block(number, 10 / usize::from(number % 3 + 1)).cid(),
            );
            batch.enqueue(
                Queue(9),
                &[number],
                perennis_shared::time::Millis(5),
                vec![number],
            );
            batch.put_meta(&[number], vec![number; 40]);
            store.commit(batch).unwrap();
            // Under another codec.
            let again = block(number, 900 / usize::from(number % 3 + 1));
            let again = Block::new(Codec::DagPb, again.bytes().clone()).unwrap();
            store
                .commit({
                    let mut batch = Batch::new();
                    batch.put_block(again);
                    batch
                })
                .unwrap();
            if number % 4 == 3 {
                store.checkpoint().unwrap();
            }
        }
        drop(store);
        machine
    }

    fn verify(&self) -> (Verification, Vec<Finding>) {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let mut findings = Vec::new();
        let mut last: Option<VerifyProgress> = None;
        let mut tell = |event| match event {
            VerifyEvent::Found(finding) => findings.push(finding),
            VerifyEvent::Progress(progress) => {
                assert!(progress.done <= progress.of, "{progress:?}");
                last = Some(progress);
            }
        };
        let sum = verify_on(Path::new(DIR), &disk, self.home.open(), &mut tell).unwrap();
        assert!(last.is_none_or(|last| last.done == last.of), "{last:?}");
        assert_eq!(sum.findings, findings.len() as u64);
        let losses = findings.iter().filter(|finding| finding.kind.is_loss());
        assert_eq!(sum.losses, losses.count() as u64);
        (sum, findings)
    }

    fn kinds(&self) -> Vec<FindingKind> {
        let mut kinds: Vec<_> = self.verify().1.iter().map(|finding| finding.kind).collect();
        kinds.dedup();
        kinds
    }

    fn files(&self, kind: &str) -> Vec<(PathBuf, usize)> {
        let mut files = self.disk.files();
        files.retain(|(path, _)| path.extension().is_some_and(|found| found == kind));
        files
    }

    fn change(&self, key: &[u8], value: Option<&[u8]>) {
        let kv = self.home.open().unwrap();
        let mut batch = KvBatch::default();
        match value {
            Some(value) => batch.put(key, value),
            None => batch.delete(key),
        }
        kv.write(batch).unwrap();
        kv.flush(true).unwrap();
    }

    fn keys(&self, table: u8) -> Vec<Vec<u8>> {
        let rows = self.home.used().unwrap().rows().into_iter();
        rows.map(|(key, _)| key)
            .filter(|key| key[0] == table)
            .collect()
    }
}

fn block(number: u8, size: usize) -> Block {
    Block::new(Codec::Raw, vec![number; size]).unwrap()
}

#[test]
fn a_sound_store_is_read_whole_and_nothing_is_found() {
    let machine = Machine::filled();
    let before = machine.power.points();
    let (sum, findings) = machine.verify();
    assert_eq!(findings, []);
    assert_eq!((sum.blocks, sum.bodies, sum.groups), (36, 36, 24));
    assert_eq!(sum.checkpoints, 2);
    assert_eq!(sum.rows, machine.home.used().unwrap().rows().len() as u64);
    // Opening the double of the index is a point; nothing else was.
    assert_eq!(machine.power.points() - before, 1);
    let empty = Machine::small();
    drop(empty.open());
    assert_eq!(empty.verify().1, []);
}

#[test]
fn a_store_that_was_not_closed_is_sound_up_to_its_tail() {
    let machine = Machine::small();
    let store = machine.open().unwrap();
    for number in 0..5 {
        let mut batch = Batch::new();
        batch.put_block(block(number, 700));
        store.commit(batch).unwrap();
    }
    machine.power.cut();
    drop(store);
    let machine = machine.copy(Loss::Everything, Power::default());
    assert_eq!(machine.verify().1, []);
    let (path, length) = machine.files("seg").pop().unwrap();
    assert!(machine.disk.damage(&path, length - 8, 1));
    assert_eq!(machine.kinds(), [FindingKind::Tail]);
}

#[test]
fn a_group_that_was_cut_off_anywhere_is_a_tail_and_nothing_else() {
    let machine = Machine::small();
    let store = machine.open().unwrap();
    let commit = |number| {
        let mut batch = Batch::new();
        batch
            .put_block(block(number, 700))
            .put_block(block(number, 50));
        store.commit(batch).unwrap();
        let (path, _) = machine.files("seg").pop().unwrap();
        let bytes = machine.disk.bytes(&path).unwrap();
        (bytes.iter().rposition(|byte| *byte != 0).unwrap(), path)
    };
    let (before, _) = commit(1);
    let (end, path) = commit(2);
    machine.power.cut();
    drop(store);
    for cut in before + 1..end {
        let machine = machine.copy(Loss::Everything, Power::default());
        let file = machine.disk.open(&path).unwrap();
        file.write_at(&vec![0; end + 1 - cut], cut as u64).unwrap();
        file.sync().unwrap();
        let kinds = machine.kinds();
        assert!(
            kinds.iter().all(|kind| *kind == FindingKind::Tail),
            "cut at {cut}: {kinds:?}"
        );
        assert_eq!(machine.verify().0.losses, 0, "cut at {cut}");
    }
}

#[test]
fn every_flipped_byte_of_every_file_is_found() {
    let machine = Machine::filled();
    let mut unseen = Vec::new();
    for kind in ["seg", "ckpt"] {
        for (path, length) in machine.files(kind) {
            let bytes = machine.disk.bytes(&path).unwrap();
            for offset in (0..length).step_by(13) {
                machine.disk.damage(&path, offset, 0x20);
                let kinds = machine.kinds();
                machine.disk.damage(&path, offset, 0x20);
                // Zeros that nobody wrote and what fills up to the next frame are nothing.
                if kinds.is_empty() && bytes[offset] != 0 {
                    unseen.push((path.clone(), offset));
                }
            }
        }
    }
    assert_eq!(unseen, []);
    assert_eq!(machine.verify().1, []);
}

#[test]
fn what_is_wrong_is_named() {
    let machine = Machine::filled();
    let (segment, _) = machine.files("seg").remove(0);
    for (offset, expected) in [(10, FindingKind::Header), (4100, FindingKind::Header)] {
        machine.disk.damage(&segment, offset, 1);
        assert_eq!(machine.kinds(), [expected]);
        machine.disk.damage(&segment, offset, 1);
    }
    let number = FileNumber::parse(segment.file_name().unwrap().to_str().unwrap()).unwrap();
    let rows = machine.home.used().unwrap().rows();
    let place = rows
        .iter()
        .filter(|(key, _)| key[0] == keys::BLOCK)
        .find_map(|(_, row)| {
            let place = crate::rows::Place::from_bytes(row)?;
            (place.location.file == number).then_some(place)
        });
    let offset = place.unwrap().location.offset as usize;
    machine.disk.damage(&segment, offset, 1);
    let (_, findings) = machine.verify();
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].kind, FindingKind::Block);
    assert!(findings[0].block.is_some());
    machine.disk.damage(&segment, offset, 1);
    let (checkpoint, _) = machine.files("ckpt").remove(1);
    machine.disk.damage(&checkpoint, 100, 1);
    assert_eq!(machine.kinds(), [FindingKind::Checkpoint]);
    machine.disk.damage(&checkpoint, 100, 1);
    machine.disk.remove(&segment).unwrap();
    let kinds = machine.kinds();
    assert!(kinds.contains(&FindingKind::MissingFile) && kinds.contains(&FindingKind::Block));
}

#[test]
fn every_row_that_is_damaged_missing_or_too_many_is_found() {
    let tables = [
        keys::BLOCK,
        keys::SEEN,
        keys::FILE,
        keys::PIN,
        keys::QUEUE,
        keys::QUEUE_KEY,
        keys::TOTAL,
        keys::APPLIED,
    ];
    for table in tables {
        let machine = Machine::filled();
        let key = machine.keys(table).remove(0);
        machine.change(&key, Some(b"\x07"));
        let kinds = machine.kinds();
        assert!(
            kinds.contains(&FindingKind::Row),
            "{} {kinds:?}",
            char::from(table)
        );
    }
    for table in [
        keys::BLOCK,
        keys::FILE,
        keys::QUEUE,
        keys::QUEUE_KEY,
        keys::TOTAL,
    ] {
        let machine = Machine::filled();
        let key = machine.keys(table).remove(0);
        machine.change(&key, None);
        let kinds = machine.kinds();
        assert!(!kinds.is_empty(), "{}", char::from(table));
    }
    let machine = Machine::filled();
    machine.change(b"?", Some(b"1"));
    assert_eq!(machine.kinds(), [FindingKind::Row]);
}

#[test]
fn what_can_be_read_without_an_index_is_read() {
    let machine = Machine::filled();
    machine.home.used().unwrap().damage(b"h", b"q");
    let (sum, findings) = machine.verify();
    assert_eq!((sum.bodies, sum.checkpoints), (36, 2));
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].kind, FindingKind::Index);
    machine.home.condemn("it was found so").unwrap();
    let (sum, findings) = machine.verify();
    assert_eq!((sum.bodies, findings.len()), (36, 1));
    assert!(findings[0].to_string().contains("it was found so"));
}

#[cfg(feature = "rocksdb")]
#[test]
fn a_folder_is_read_and_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let mut nothing = |event| panic!("{event:?}");
    assert_eq!(verify(dir.path(), &mut nothing).unwrap(), None);
    let store = crate::Store::open(dir.path(), &StoreOptions::default()).unwrap();
    let refused = verify(dir.path(), &mut nothing).unwrap_err();
    assert!(matches!(refused, OpenError::Locked { .. }));
    let mut batch = Batch::new();
    batch.put_block(block(1, 1000));
    store.commit(batch).unwrap();
    store.checkpoint().unwrap();
    drop(store);
    let before = files(dir.path());
    let mut found = Vec::new();
    let mut tell = |event| {
        if let VerifyEvent::Found(finding) = event {
            found.push(finding);
        }
    };
    let sum = verify(dir.path(), &mut tell).unwrap().unwrap();
    assert_eq!(files(dir.path()), before);
    assert_eq!((sum.blocks, sum.checkpoints, sum.findings), (1, 1, 0));
    std::fs::remove_file(dir.path().join("index/CURRENT")).unwrap();
    let mut tell = |event| {
        if let VerifyEvent::Found(finding) = event {
            found.push(finding);
        }
    };
    verify(dir.path(), &mut tell).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].kind, FindingKind::Index);
}

#[cfg(feature = "rocksdb")]
fn files(dir: &Path) -> BTreeMap<PathBuf, (u64, std::time::SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let metadata = std::fs::metadata(&path).unwrap();
            found.insert(path, (metadata.len(), metadata.modified().unwrap()));
        }
    }
    found
}

/// A store that was killed after some groups, which are only in the log, and where the last of them begins.
fn killed(groups: u8) -> (Machine, u64) {
    let machine = Machine::small();
    let store = machine.open().unwrap();
    let mut last = 0;
    for number in 1..=groups {
        last = store.inner().shared.index.applied().unwrap().offset;
        let mut batch = Batch::new();
        batch.put_block(block(number, 700));
        store.commit(batch).unwrap();
    }
    machine.power.cut();
    drop(store);
    let power = Power::default();
    let machine = Machine {
        disk: machine.disk.survivors(Loss::Nothing, &power),
        home: machine.home.survivors(Loss::Everything, &power),
        power,
        ..machine
    };
    (machine, last)
}

#[test]
fn what_is_missing_or_damaged_at_the_end_of_the_log_is_found() {
    let (machine, last) = killed(3);
    assert_eq!(machine.kinds(), []);
    let (path, _) = machine.files("seg").pop().unwrap();
    assert!(machine.disk.damage(&path, last as usize + 128 + 32 + 2, 1));
    assert!(machine.kinds().contains(&FindingKind::Group));
    assert!(!machine.kinds().contains(&FindingKind::Tail));
    machine.disk.open(&path).unwrap().truncate(last).unwrap();
    assert_eq!(machine.kinds(), [FindingKind::MissingGroups]);
}

#[test]
fn that_the_end_of_the_log_is_not_known_is_found() {
    let newest = Path::new(DIR).join("NEWEST");
    let (machine, _) = killed(3);
    machine.disk.remove(&newest).unwrap();
    assert_eq!(machine.kinds(), [FindingKind::UnknownEnd]);
    let machine = Machine::filled();
    machine.disk.remove(&newest).unwrap();
    assert_eq!(machine.kinds(), [FindingKind::UnknownEnd]);
}

/// One whose first segments are packed and gone.
fn packed() -> Machine {
    let machine = Machine::filled();
    let store = machine.open().unwrap();
    store.collect().unwrap().finish().unwrap();
    for _ in 0..3 {
        store
            .commit(Batch::reclaiming(crate::batch::Reclaim::Mark))
            .unwrap();
        store.checkpoint().unwrap();
        while !store.compact(100).unwrap().done {}
    }
    drop(store);
    let first = FileNumber(1).segment_path(&crate::layout::segments(Path::new(DIR)));
    assert!(machine.disk.bytes(&first).is_none());
    assert_eq!(machine.kinds(), []);
    machine
}

#[test]
fn what_a_damaged_checkpoint_says_by_its_name_counts_for_nothing() {
    let machine = packed();
    // Of one that is damaged only the name is there: what the index has is not missing all the same.
    for (path, _) in machine.disk.files() {
        if path.starts_with(Path::new(DIR).join(crate::layout::CHECKPOINTS)) {
            machine.disk.damage(&path, 200, 1);
        }
    }
    assert_eq!(machine.kinds(), [FindingKind::Checkpoint]);
    assert_eq!(machine.verify().0.losses, 0);
    machine.home.remove();
    assert!(machine.kinds().contains(&FindingKind::MissingGroups));
}

#[test]
fn segments_that_are_gone_by_right_are_not_missed_beside_a_single_checkpoint() {
    let machine = packed();
    // The older was found damaged.
    let checkpoints = machine.disk.files();
    let mut checkpoints = checkpoints
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| path.starts_with(Path::new(DIR).join(crate::layout::CHECKPOINTS)));
    machine.disk.remove(&checkpoints.next().unwrap()).unwrap();
    assert_eq!(checkpoints.count(), 1);
    assert_eq!(machine.kinds(), []);
}
