//! Folders of format 1 as killed processes, failing disks and publishers with bad intentions left them are brought to the
//! present format, and show what they should.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "golden/batches.rs"]
mod batches;

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use batches::{QUEUE, Shown, batch, blocks, head, name};
use perennis_shared::cid::{Block, Cid, Codec, HashFn, Multihash};
use perennis_shared::time::Millis;
use perennis_store::{
    LossKind, OpenError, REFETCH, Store, StoreOptions, VerifyEvent, inspect, verify,
};

const DIR: &str = "PERENNIS_MIGRATE_DIR";

fn options() -> StoreOptions {
    StoreOptions {
        segment_bytes: 8 << 10,
        reserve_bytes: 4 << 10,
        ..StoreOptions::default()
    }
}

fn open(dir: &Path) -> Store {
    Store::open(dir, &options()).unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A copy of a golden folder.
struct Golden {
    home: tempfile::TempDir,
}

impl Golden {
    fn new(folder: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        // A test runs in the folder of its package.
        copy(
            &Path::new("tests/golden").join(folder),
            &home.path().join("store"),
        );
        Self { home }
    }

    fn dir(&self) -> PathBuf {
        self.home.path().join("store")
    }

    fn open(&self) -> Store {
        open(&self.dir())
    }

    /// The names of what is in the folder of the segments.
    fn segments(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir().join("segments")).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Nothing is wrong with it any more.
    fn verify(&self) {
        let mut found = Vec::new();
        let verified = verify(&self.dir(), &mut |event| found.push(event)).unwrap();
        found.retain(|event| matches!(event, VerifyEvent::Found(_)));
        assert_eq!(found, []);
        assert!(verified.unwrap().blocks > 0);
    }

    /// Opens it, again, without its index, and once all is packed, each time with the same to be seen.
    fn check(&self, losses: &[LossKind], check: impl Fn(&Store)) {
        let store = self.open();
        let found: Vec<_> = store
            .found_at_start()
            .iter()
            .map(|loss| loss.kind)
            .collect();
        assert_eq!(found, losses);
        let old = self.segments();
        check(&store);
        drop(store);
        self.verify();
        let store = self.open();
        assert_eq!(store.found_at_start(), []);
        let noted = losses.iter().filter(|kind| kind.is_of_acknowledged_data());
        assert_eq!(store.losses().unwrap().len(), noted.count());
        check(&store);
        drop(store);
        fs::remove_dir_all(self.dir().join("index")).unwrap();
        let store = self.open();
        assert!(store.rebuilt().is_some());
        check(&store);
        while !store.compact(50).unwrap().done {}
        check(&store);
        let left = self.segments();
        assert!(
            old.iter().all(|name| !left.contains(name)),
            "{old:?} {left:?}"
        );
        drop(store);
        self.verify();
        let store = self.open();
        check(&store);
        // It is one store like another.
        store.commit(batch(19)).unwrap();
        store.commit(batch(20)).unwrap();
        store.collect().unwrap().finish().unwrap();
        assert_eq!(store.head(&name(20 % 3)).unwrap(), Some(head(20)));
    }
}

fn shows(batches: impl IntoIterator<Item = u8>) -> impl Fn(&Store) {
    let shown = Shown::of(batches);
    move |store| {
        assert_eq!(Shown::by(store), shown);
        assert_eq!(store.stats().blocks, shown.blocks.len() as u64);
    }
}

#[test]
fn a_killed_store_shows_what_its_log_had_behind_its_index() {
    Golden::new("v1-tail").check(&[], shows(1..=18));
}

#[test]
fn a_torn_last_group_is_not_there_and_is_told() {
    let golden = Golden::new("v1-torn");
    golden.check(&[LossKind::TornGroup], shows(1..=17));
    let kept: Vec<_> = fs::read_dir(golden.dir().join("lost")).unwrap().collect();
    assert_eq!(kept.len(), 1);
}

#[test]
fn damage_behind_the_index_takes_the_rest_of_its_segment_and_is_told() {
    // Batches 5 to 7 are in the first segment.
    let golden = Golden::new("v1-damaged");
    golden.check(&[LossKind::MissingGroups], |store| {
        let mut shown = Shown::of(1..=4);
        let later = Shown::of(8..=18);
        shown.blocks.extend(later.blocks);
        shown.heads.extend(later.heads);
        shown.pins.extend(later.pins);
        shown.metas.extend(later.metas);
        let mut found = Shown::by(store);
        // What the lost batches would have put into the queue or taken out of it nobody knows.
        found.queue.clear();
        shown.queue.clear();
        assert_eq!(found, shown);
        let aside = store.rows_set_aside(9).unwrap();
        assert!(
            aside.iter().all(|row| matches!(row.key[0], b'q' | b'k')),
            "{aside:?}"
        );
    });
}

#[test]
fn a_group_that_failed_is_passed_over() {
    Golden::new("v1-failed").check(&[], shows([1, 2, 3, 4, 6, 7]));
}

#[test]
fn what_a_publisher_stored_is_no_group() {
    Golden::new("v1-forged").check(&[LossKind::Migration], shows(1..=4));
    Golden::new("v1-forged-torn").check(&[LossKind::TornGroup], shows(1..=4));
}

fn hash(function: HashFn, bytes: &[u8]) -> Multihash {
    match function {
        HashFn::Blake3 => Multihash::wrap(0x1e, blake3::hash(bytes).as_bytes()).unwrap(),
        _ => unreachable!("only this one is not made by the crate itself"),
    }
}

#[test]
fn the_same_bytes_under_several_cids_are_one_block() {
    let golden = Golden::new("v1-codecs");
    let [small, large, _] = blocks(1);
    let many: Vec<u8> = (0..40_000_u32)
        .flat_map(|n| n.to_le_bytes())
        .take(40_000)
        .collect();
    let many = Block::new(Codec::Raw, many).unwrap();
    let empty = Block::new(Codec::Raw, Vec::new()).unwrap();
    golden.check(&[], |store| {
        let shown = |block: &Block, codec: u64| {
            let cid = Cid::new_v1(codec, *block.cid().hash());
            let found = store.block(&cid).unwrap().unwrap();
            assert_eq!(found.bytes(), block.bytes());
        };
        for codec in [0x55, 0x70, 0x71] {
            shown(&small, codec);
            shown(&large, codec);
        }
        shown(&many, 0x55);
        shown(&empty, 0x55);
        let v0 = Cid::new_v0(*small.cid().hash()).unwrap();
        assert_eq!(store.block(&v0).unwrap().unwrap().bytes(), small.bytes());
        assert_eq!(store.pin(b"v0").unwrap(), Some(v0));
        let blake3 = Cid::new_v1(0x1234_5678, hash(HashFn::Blake3, small.bytes()));
        assert_eq!(
            store.block(&blake3).unwrap().unwrap().bytes(),
            small.bytes()
        );
        assert_eq!(store.stats().blocks, 6);
    });
}

#[test]
fn a_block_in_quarantine_stays_there() {
    Golden::new("v1-quarantined").check(&[], |store| {
        let mut shown = Shown::of(1..=5);
        shown.blocks.remove(blocks(2)[1].cid());
        assert_eq!(Shown::by(store), shown);
        let rows = store.quarantine(None, 9).unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].cid, *blocks(2)[1].cid());
        let queued: Vec<_> = store.queue_due(REFETCH, Millis(u64::MAX), 9).unwrap();
        let mut queued: Vec<_> = queued.into_iter().map(|row| row.key).collect();
        let mut wanted = [2, 3].map(|number| blocks(number)[1].cid().hash().to_bytes());
        queued.sort();
        wanted.sort();
        assert_eq!(queued, wanted);
    });
}

#[test]
fn a_compacted_store_shows_what_was_left() {
    Golden::new("v1-compacted").check(&[], |store| {
        let mut shown = Shown::of(1..=13);
        shown.blocks = Shown::of(9..=13).blocks;
        assert_eq!(Shown::by(store), shown);
    });
}

#[test]
fn rows_of_every_table_are_taken_over() {
    Golden::new("v1-rows").check(&[], |store| {
        let evidence: Vec<_> = store.evidence(&name(0)).unwrap();
        assert_eq!(
            evidence,
            [
                (3, b"other record 3".to_vec()),
                (6, b"other record 6".to_vec())
            ]
        );
        assert_eq!(store.head(&name(1)).unwrap(), None);
        assert_eq!(store.head(&name(0)).unwrap(), Some(head(6)));
        assert_eq!(store.pin(&[b'p', 1]).unwrap(), None);
        assert_eq!(store.pin(b"ahead").unwrap(), Some(*blocks(19)[2].cid()));
        assert_eq!(store.meta(&[b'm', 3]).unwrap(), None);
        let late = store.queue_entry(QUEUE, b"late").unwrap();
        assert_eq!(late, Some(Millis(u64::MAX)));
        assert_eq!(
            store.queue_len(QUEUE).unwrap(),
            store.queue_due(QUEUE, Millis(u64::MAX), 99).unwrap().len()
        );
    });
}

#[test]
fn a_folder_of_format_1_is_looked_at_without_being_changed() {
    let golden = Golden::new("v1-tail");
    let found = inspect(&golden.dir(), 99).unwrap().unwrap();
    assert_eq!(found.format, 1);
    let refused = verify(&golden.dir(), &mut |_| {}).unwrap_err();
    assert!(
        matches!(
            refused,
            OpenError::OlderFormat {
                found: 1,
                known: 2,
                ..
            }
        ),
        "{refused}"
    );
    assert_eq!(golden.segments().len(), 3);
    assert_eq!(
        fs::read(golden.dir().join("FORMAT")).unwrap(),
        b"perennis-store 1\n"
    );
}

#[test]
fn a_flipped_bit_anywhere_in_a_folder_of_format_1_is_mended_told_or_refused() {
    let all = Shown::of(1..=18);
    let files = ["segments", "index"].into_iter().flat_map(|folder| {
        let path = Path::new("tests/golden/v1-tail").join(folder);
        let entries = fs::read_dir(path).unwrap();
        entries.map(move |entry| Path::new(folder).join(entry.unwrap().file_name()))
    });
    let mut refused = 0;
    for (at, file) in files.enumerate() {
        let bytes = fs::read(Path::new("tests/golden/v1-tail").join(&file)).unwrap();
        // Behind the last byte that was written there is nothing to be lost.
        let written = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        for offset in (at..written).step_by(written.div_ceil(24).max(1)) {
            let golden = Golden::new("v1-tail");
            let mut flipped = bytes.clone();
            flipped[offset] ^= 1 << (offset % 8);
            fs::write(golden.dir().join(&file), flipped).unwrap();
            let context = format!("{} at {offset}", file.display());
            match Store::open(&golden.dir(), &options()) {
                Ok(store) => {
                    let shown = Shown::by(&store);
                    let is_told =
                        !store.found_at_start().is_empty() || !store.losses().unwrap().is_empty();
                    assert!(shown == all || is_told, "{context}: {shown:?}");
                    for (cid, bytes) in &shown.blocks {
                        assert_eq!(all.blocks.get(cid), Some(bytes), "{context}");
                    }
                }
                // Nothing was changed: the folder can be restored, or the index given up.
                Err(OpenError::Migration { .. }) => {
                    refused += 1;
                    let format = fs::read(golden.dir().join("FORMAT")).unwrap();
                    assert_eq!(format, b"perennis-store 1\n", "{context}");
                    fs::remove_dir_all(golden.dir().join("index")).unwrap();
                    assert_eq!(Shown::by(&golden.open()), all, "{context}");
                }
                Err(error) => panic!("{context}: {error:?}"),
            }
        }
    }
    assert!(refused > 0);
}

#[test]
fn a_process_that_is_killed_while_it_migrates_is_started_again() {
    let mut interrupted = 0;
    for round in 0..24_u32 {
        let golden = Golden::new("v1-tail");
        // Earlier and later, and one time after the other.
        for again in 0..3 {
            let mut child = Command::new(env::current_exe().unwrap())
                .args([
                    "--exact",
                    "the_process_that_is_killed",
                    "--ignored",
                    "--nocapture",
                ])
                .env(DIR, golden.dir())
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
            let begun = output.find(|line| line.as_ref().unwrap().contains("begun"));
            assert!(begun.is_some());
            for _ in 0..round * 400_000 / (again + 1) {
                std::hint::spin_loop();
            }
            child.kill().unwrap();
            child.wait().unwrap();
            let format = fs::read(golden.dir().join("FORMAT")).unwrap();
            interrupted += u32::from(format == b"perennis-store 1\n");
        }
        let store = golden.open();
        assert_eq!(Shown::by(&store), Shown::of(1..=18), "round {round}");
        assert_eq!(store.losses().unwrap(), []);
    }
    assert!(interrupted > 0, "none was killed before it was done");
}

#[test]
#[ignore = "the test above starts it in a process of its own"]
fn the_process_that_is_killed() {
    if let Some(dir) = env::var_os(DIR) {
        // The harness writes the name of the test before, on the same line.
        assert!(writes_begun());
        drop(open(Path::new(&dir)));
    }
}

fn writes_begun() -> bool {
    use std::io::Write as _;
    writeln!(std::io::stdout(), "begun").is_ok()
}
