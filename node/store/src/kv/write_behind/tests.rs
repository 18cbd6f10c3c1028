#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::mpsc::{Receiver, Sender, channel};

use proptest::prelude::*;

use super::*;
use crate::kv::{EngineError, EngineFault, Memory};

/// What the engine does with the next write.
enum Turn {
    Do,
    Fail(EngineFault),
    Panic,
}

/// An engine whose writes wait for their turn, and that keeps what each left.
struct Held {
    rows: Memory,
    turns: Mutex<Receiver<Turn>>,
    states: Mutex<Vec<Vec<KvRow>>>,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held")
    }
}

impl Kv for Held {
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.rows.value(key)
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<KvRow>, KvError> {
        self.rows.scan(from, to, limit)
    }

    fn write(&self, batch: KvBatch) -> Result<(), KvError> {
        // Who gives no more turns lets everything through.
        match self.turns.lock().recv().unwrap_or(Turn::Do) {
            Turn::Do => self.rows.write(batch)?,
            Turn::Fail(fault) => return Err(EngineError::new("no luck", fault).into()),
            Turn::Panic => panic!("no luck at all"),
        }
        self.states.lock().push(all(&self.rows));
        Ok(())
    }

    fn flush(&self, wait: bool) -> Result<(), KvError> {
        self.rows.flush(wait)
    }

    fn snapshot(&self) -> Result<Box<dyn KvSnapshot + '_>, KvError> {
        self.rows.snapshot()
    }

    fn copy_to(&self, dir: &Path) -> Result<(), KvError> {
        self.rows.copy_to(dir)
    }
}

fn all(kv: &dyn Kv) -> Vec<KvRow> {
    kv.scan(&[], &[0xff], usize::MAX).unwrap()
}

fn held() -> (WriteBehind, Arc<Held>, Sender<Turn>) {
    let (give, turns) = channel();
    let engine = Arc::new(Held {
        rows: Memory::default(),
        turns: Mutex::new(turns),
        states: Mutex::default(),
    });
    let kv = WriteBehind::new(Arc::clone(&engine) as Arc<dyn Kv>).unwrap();
    (kv, engine, give)
}

fn write(kv: &dyn Kv, rows: &[(&str, Option<&str>)]) -> Result<(), KvError> {
    let mut batch = KvBatch::default();
    for (key, value) in rows {
        match value {
            Some(value) => batch.put(*key, *value),
            None => batch.delete(*key),
        }
    }
    kv.write(batch)
}

fn text(kv: &dyn Kv, key: &str) -> Option<String> {
    let value = kv.value(key.as_bytes()).unwrap();
    value.map(|value| String::from_utf8(value).unwrap())
}

#[test]
fn what_the_engine_does_not_have_yet_is_read_and_is_there_for_a_scan() {
    let (kv, engine, give) = held();
    write(&kv, &[("a", Some("1")), ("b", Some("1")), ("a", Some("2"))]).unwrap();
    write(&kv, &[("b", None), ("c", Some("3"))]).unwrap();
    assert_eq!(all(&engine.rows), []);
    let read = |key: &str| text(&kv, key);
    let seen = [read("a"), read("b"), read("c"), read("d")];
    assert_eq!(seen, [Some("2".into()), None, Some("3".into()), None]);
    let keys = ["c", "d", "b", "a"].map(|key| key.as_bytes().to_vec());
    let values = kv.values(&keys).unwrap();
    assert_eq!(
        values,
        [Some(b"3".to_vec()), None, None, Some(b"2".to_vec())]
    );
    drop(give);
    let rows = all(&kv);
    assert_eq!(
        rows,
        [
            (b"a".to_vec(), b"2".to_vec()),
            (b"c".to_vec(), b"3".to_vec())
        ]
    );
    assert_eq!(rows, all(&engine.rows));
    assert!(!kv.inner.is_behind.load(Ordering::Acquire));
    // And a value that was deleted in the engine is not read there.
    write(&kv, &[("a", None)]).unwrap();
    assert_eq!(text(&kv, "a"), None);
}

#[test]
fn a_refusal_of_the_engine_refuses_what_follows_and_loses_nothing() {
    let (kv, engine, give) = held();
    write(&kv, &[("a", Some("1"))]).unwrap();
    give.send(Turn::Fail(EngineFault::Full)).unwrap();
    // Not by a flush, which would try again where the engine has refused already.
    let refused = kv.scan(&[], &[0xff], 1).unwrap_err();
    assert!(refused.is_full() && !refused.is_damaged(), "{refused}");
    assert!(write(&kv, &[("a", Some("2"))]).unwrap_err().is_full());
    assert!(kv.scan(&[], &[0xff], 1).is_err() && kv.snapshot().is_err());
    assert!(kv.flush(false).is_err());
    assert_eq!(text(&kv, "a").as_deref(), Some("1"));
    // Tried again by who waits for it, and refused again.
    give.send(Turn::Fail(EngineFault::Other)).unwrap();
    assert!(!kv.flush(true).unwrap_err().is_full());
    drop(give);
    kv.flush(true).unwrap();
    assert_eq!(all(&engine.rows), [(b"a".to_vec(), b"1".to_vec())]);
    write(&kv, &[("a", Some("3"))]).unwrap();
    drop(kv);
    assert_eq!(all(&engine.rows), [(b"a".to_vec(), b"3".to_vec())]);
}

#[test]
fn what_came_while_the_engine_refused_is_written_after_what_it_refused() {
    let (kv, engine, give) = held();
    write(&kv, &[("a", Some("1")), ("b", Some("1"))]).unwrap();
    // Taken for writing, and waiting for its turn.
    while !kv.inner.rows.read().gathered.is_empty() {
        thread::yield_now();
    }
    write(&kv, &[("a", Some("2"))]).unwrap();
    give.send(Turn::Fail(EngineFault::Other)).unwrap();
    assert!(kv.scan(&[], &[0xff], 1).is_err());
    assert_eq!(text(&kv, "a").as_deref(), Some("2"));
    drop(give);
    kv.flush(true).unwrap();
    let states = engine.states.lock().clone();
    let row = |key: &[u8], value: &[u8]| (key.to_vec(), value.to_vec());
    assert_eq!(states[0], [row(b"a", b"1"), row(b"b", b"1")]);
    assert_eq!(states[1], [row(b"a", b"2"), row(b"b", b"1")]);
}

#[test]
fn nobody_waits_for_an_engine_that_panicked() {
    let (kv, _engine, give) = held();
    write(&kv, &[("a", Some("1"))]).unwrap();
    give.send(Turn::Panic).unwrap();
    assert!(kv.flush(true).is_err());
    assert!(kv.flush(true).is_err());
    assert!(write(&kv, &[("b", Some("1"))]).is_err());
    assert_eq!(text(&kv, "a").as_deref(), Some("1"));
}

#[test]
fn a_writer_that_is_faster_than_the_engine_waits_for_it() {
    let (kv, engine, give) = held();
    let written = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let value = "x".repeat(MOST_BYTES);
            for key in ["a", "b", "c"] {
                write(&kv, &[(key, Some(&value))]).unwrap();
            }
            written.store(true, Ordering::Release);
        });
        // The first is being written and the second is gathered: there is no room for the third.
        while kv.inner.state.lock().taken < 2 {
            thread::yield_now();
        }
        assert!(!written.load(Ordering::Acquire));
        drop(give);
    });
    assert!(written.load(Ordering::Acquire));
    drop(kv);
    assert_eq!(all(&engine.rows).len(), 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Reads as an engine that writes at once, and leaves in the engine, at any time, what the first n batches leave.
    #[test]
    fn it_is_an_index_that_writes_at_once_and_crashes_to_a_beginning(
        batches in proptest::collection::vec(
            (proptest::collection::vec((0..12_u8, proptest::option::of(any::<u8>())), 1..6), 0..5_u8),
            1..40,
        )
    ) {
        let (kv, engine, give) = held();
        drop(give);
        let twin = Memory::default();
        let mut beginnings = vec![Vec::new()];
        for (rows, then) in batches {
            let mut batch = KvBatch::default();
            for (key, value) in rows {
                match value {
                    Some(value) => batch.put([key], [value]),
                    None => batch.delete([key]),
                }
            }
            kv.write(batch.clone()).unwrap();
            twin.write(batch).unwrap();
            beginnings.push(all(&twin));
            for key in 0..12_u8 {
                prop_assert_eq!(kv.value(&[key]).unwrap(), twin.value(&[key]).unwrap());
            }
            match then {
                0 => prop_assert_eq!(all(&kv), all(&twin)),
                1 => kv.flush(false).unwrap(),
                2 => kv.flush(true).unwrap(),
                _ => {}
            }
        }
        drop(kv);
        prop_assert_eq!(all(&engine.rows), all(&twin));
        // In their order: each state is a beginning, and none goes back.
        let mut from = 0;
        for state in engine.states.lock().iter() {
            let found = beginnings[from..].iter().position(|beginning| beginning == state);
            prop_assert!(found.is_some());
            from += found.unwrap();
        }
    }
}
