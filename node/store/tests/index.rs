//! The index: the same suite for RocksDB and its twin in memory, and what damage of RocksDB's files looks like.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use perennis_store::IndexOptions;
use perennis_store::kv::{
    Kv, KvBatch, KvError, KvHome, KvRow, Memory, MemoryHome, Rocks, RocksHome, WriteBehind,
};
use perennis_store::testing::{Durable, MortalHome, MortalKv, Power};

fn put(kv: &dyn Kv, rows: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) {
    let mut batch = KvBatch::default();
    for (key, value) in rows {
        batch.put(key, value);
    }
    kv.write(batch).unwrap();
}

fn number(number: u32) -> KvRow {
    (number.to_be_bytes().to_vec(), vec![7; number as usize % 90])
}

fn is_sorted_and_whole(rows: &[KvRow], from: u32, to: u32) {
    assert_eq!(rows, (from..to).map(number).collect::<Vec<_>>());
}

/// What every index does.
fn suite(kv: &dyn Kv) {
    assert_eq!(kv.value(b"x").unwrap(), None);
    put(kv, (0..3000).rev().map(number));
    let (from, to) = (1000_u32.to_be_bytes(), 2000_u32.to_be_bytes());
    is_sorted_and_whole(&kv.scan(&from, &to, usize::MAX).unwrap(), 1000, 2000);
    is_sorted_and_whole(&kv.scan(&from, &to, 10).unwrap(), 1000, 1010);
    assert!(kv.scan(&to, &from, 10).unwrap().is_empty());
    let keys = [number(5).0, b"no".to_vec(), number(6).0];
    let values = kv.values(&keys).unwrap();
    assert_eq!(values, [Some(number(5).1), None, Some(number(6).1)]);
    // A snapshot is of its moment, whatever is written, flushed and removed later.
    let snapshot = kv.snapshot().unwrap();
    let mut batch = KvBatch::default();
    batch.delete(number(1500).0);
    batch.put(number(1501).0, b"changed".as_slice());
    batch.put(b"later".as_slice(), b"".as_slice());
    kv.write(batch).unwrap();
    kv.flush(true).unwrap();
    assert_eq!(
        snapshot.value(&number(1500).0).unwrap(),
        Some(number(1500).1)
    );
    assert_eq!(snapshot.value(b"later").unwrap(), None);
    let rows: Vec<KvRow> = snapshot.rows(&from, &to).map(Result::unwrap).collect();
    is_sorted_and_whole(&rows, 1000, 2000);
    let rows: Vec<KvRow> = snapshot.rows(&[], &[0xff]).map(Result::unwrap).collect();
    is_sorted_and_whole(&rows, 0, 3000);
    assert_eq!(snapshot.rows(&to, &from).count(), 0);
    // A page has as much as was asked for, at least one row, and never one behind its end.
    assert_eq!(snapshot.page(&from, &to, 0).unwrap().len(), 1);
    let page = snapshot.page(&from, &to, 1000).unwrap();
    let bytes = |rows: &[KvRow]| {
        rows.iter()
            .map(|(key, value)| key.len() + value.len())
            .sum::<usize>()
    };
    assert!(bytes(&page) >= 1000 && bytes(&page[..page.len() - 1]) < 1000);
    is_sorted_and_whole(&snapshot.page(&from, &to, usize::MAX).unwrap(), 1000, 2000);
    drop(snapshot);
    assert_eq!(kv.value(&number(1500).0).unwrap(), None);
}

/// What every home of an index does. `rows` tells what is in the index in use.
fn home_suite(home: &dyn KvHome) {
    let kv = home.open().unwrap();
    put(kv.as_ref(), [(b"a".to_vec(), b"old".to_vec())]);
    kv.flush(true).unwrap();
    drop(kv);
    // An attempt that was broken off is no index, and gone with the next start.
    let load = home.begin().unwrap();
    let mut batch = KvBatch::default();
    batch.put(b"b".as_slice(), b"half".as_slice());
    load.write(batch).unwrap();
    drop(load);
    let kv = home.open().unwrap();
    assert_eq!(kv.value(b"a").unwrap().as_deref(), Some(b"old".as_slice()));
    assert_eq!(kv.value(b"b").unwrap(), None);
    // It is marked while it is open.
    home.condemn("because").unwrap();
    drop(kv);
    let error = home.open().unwrap_err();
    assert!(
        error.is_damaged() && error.to_string().contains("because"),
        "{error}"
    );
    // Rows come in any order, and of two with one key the later counts.
    let load = home.begin().unwrap();
    for round in 0..4_u32 {
        let mut batch = KvBatch::default();
        for at in (0..5000_u32).rev() {
            batch.put((at * 7 % 5000).to_be_bytes(), round.to_be_bytes());
        }
        load.write(batch).unwrap();
    }
    let kv = load.finish().unwrap();
    put(kv.as_ref(), [(b"behind".to_vec(), vec![1])]);
    kv.flush(true).unwrap();
    drop(kv);
    assert!(
        home.open().unwrap_err().is_damaged(),
        "it is not in use yet"
    );
    home.replace().unwrap();
    for _ in 0..2 {
        let kv = home.open().unwrap();
        let rows = kv.scan(&[], &[0xff], usize::MAX).unwrap();
        assert_eq!(rows.len(), 5001);
        assert!(
            rows[..5000]
                .iter()
                .all(|(_, value)| *value == 3_u32.to_be_bytes())
        );
        assert_eq!(kv.value(b"a").unwrap(), None);
    }
}

#[test]
fn every_index_does_the_same() {
    let dir = tempfile::tempdir().unwrap();
    suite(&Rocks::open(dir.path(), &small()).unwrap());
    suite(&Memory::default());
    suite(&MortalKv::open(&Durable::default(), &Power::default()));
    suite(&WriteBehind::new(Arc::new(Memory::default())).unwrap());
    let home = dir.path().join("home");
    fs::create_dir(&home).unwrap();
    home_suite(&RocksHome::new(&home, small()));
    home_suite(&MemoryHome::default());
    home_suite(&MortalHome::new(&Power::default()));
    let names: Vec<_> = fs::read_dir(&home)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["index"], "nothing is left beside it");
}

fn small() -> IndexOptions {
    IndexOptions {
        memtable_bytes: 64 << 10,
        cache_bytes: 1 << 20,
        open_files: 16,
        ..IndexOptions::default()
    }
}

/// An index with rows in several tables, closed.
fn filled(dir: &Path) -> RocksHome {
    let home = RocksHome::new(dir, small());
    let kv = home.open().unwrap();
    for round in 0..4 {
        put(kv.as_ref(), (0..2000).map(|at| number(at * 4 + round)));
        kv.flush(true).unwrap();
    }
    home
}

fn files(dir: &Path, kind: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("index")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.file_name().unwrap().to_str().unwrap().contains(kind));
    files.sort();
    files
}

/// Opens the index and reads all of it.
fn read(home: &RocksHome) -> Result<usize, KvError> {
    let kv = home.open()?;
    let rows = kv.scan(&[], &[0xff], usize::MAX)?;
    Ok(rows.len())
}

#[test]
fn damage_is_told_from_what_passes() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 8] = [
        ("no CURRENT", |dir| {
            fs::remove_file(dir.join("index/CURRENT")).unwrap()
        }),
        ("CURRENT of nonsense", |dir| {
            fs::write(dir.join("index/CURRENT"), "what\n").unwrap()
        }),
        ("an empty CURRENT", |dir| {
            fs::write(dir.join("index/CURRENT"), "").unwrap()
        }),
        ("no manifest", |dir| {
            fs::remove_file(&files(dir, "MANIFEST")[0]).unwrap()
        }),
        ("an empty manifest", |dir| {
            fs::write(&files(dir, "MANIFEST")[0], "").unwrap()
        }),
        ("no table", |dir| {
            fs::remove_file(&files(dir, ".sst")[0]).unwrap()
        }),
        ("a cut table", |dir| {
            let table = &files(dir, ".sst")[0];
            let bytes = fs::read(table).unwrap();
            fs::write(table, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("a flipped bit in a table", |dir| {
            let table = &files(dir, ".sst")[0];
            let mut bytes = fs::read(table).unwrap();
            bytes[100] ^= 1;
            fs::write(table, bytes).unwrap();
        }),
    ];
    for (what, damage) in damages {
        let dir = tempfile::tempdir().unwrap();
        let home = filled(dir.path());
        assert_eq!(read(&home).unwrap(), 8000);
        damage(dir.path());
        match read(&home) {
            Ok(rows) => panic!("{what}: {rows} rows"),
            Err(error) => assert!(error.is_damaged() && !error.is_full(), "{what}: {error}"),
        }
    }
}

#[test]
fn who_holds_an_index_open_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let home = filled(dir.path());
    let held = home.open().unwrap();
    let error = home.open().unwrap_err();
    assert!(!error.is_damaged(), "{error}");
    drop(held);
    assert_eq!(read(&home).unwrap(), 8000);
    // For reading only it can be opened beside.
    let held = home.open().unwrap();
    let beside: Arc<dyn Kv> = home.open_to_read().unwrap();
    assert_eq!(beside.scan(&[], &[0xff], usize::MAX).unwrap().len(), 8000);
    drop(held);
}

#[test]
fn an_index_whose_making_was_broken_off_is_made() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("index")).unwrap();
    fs::write(dir.path().join("index/LOG"), "x").unwrap();
    let home = RocksHome::new(dir.path(), small());
    assert_eq!(read(&home).unwrap(), 0);
    // Something else has its name.
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("index"), "x").unwrap();
    let home = RocksHome::new(dir.path(), small());
    assert!(home.open().unwrap_err().is_damaged());
    drop(home.begin().unwrap().finish().unwrap());
    home.replace().unwrap();
    assert_eq!(read(&home).unwrap(), 0);
}
