//! The rows of format 1 as its next start would have had them: those of its index, and over them what the log holds
//! behind. The index itself is not written to, so that a migration that is broken off begins again from the same.

use std::sync::Arc;

use super::format1::{Format1Change, Group, row};
use super::sink::Sink;
use crate::kv::{Kv, KvError, KvLoad, KvRow, KvSnapshot};

/// First byte of a change: a row that is gone, or the row that is there now.
const GONE: u8 = 0;
const SET: u8 = 1;
/// Behind the keys of all tables.
const END: [u8; 1] = [u8::MAX];

/// What the log changes in the index.
#[derive(Debug)]
pub(super) struct LoggedChanges {
    sink: Sink,
}

impl LoggedChanges {
    pub(super) fn new(load: Box<dyn KvLoad>) -> Self {
        Self {
            sink: Sink::new(load),
        }
    }

    /// Takes in a group as format 1 did: its blocks, then its other changes in their order.
    pub(super) fn apply(&mut self, group: Group) -> Result<(), KvError> {
        for (cid, location) in group.blocks {
            let key = [&[row::BLOCK], cid.as_slice()].concat();
            self.set(key, &row::write_location(location))?;
        }
        for change in group.changes {
            match change {
                Format1Change::Put(key, value) => self.set(key, &value)?,
                Format1Change::Delete(key) => self.sink.put(key, vec![GONE])?,
                Format1Change::Forget(cid) => {
                    let key = [&[row::BLOCK], cid.as_slice()].concat();
                    self.sink.put(key, vec![GONE])?;
                }
            }
        }
        Ok(())
    }

    fn set(&mut self, key: Vec<u8>, value: &[u8]) -> Result<(), KvError> {
        self.sink.put(key, [&[SET], value].concat())
    }

    /// All of them, by key.
    pub(super) fn finish(self) -> Result<Arc<dyn Kv>, KvError> {
        self.sink.finish()
    }
}

/// Rows of an index, changed.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    index: Option<&'a dyn KvSnapshot>,
    changes: &'a dyn KvSnapshot,
}

impl<'a> View<'a> {
    pub(super) fn new(index: Option<&'a dyn KvSnapshot>, changes: &'a dyn KvSnapshot) -> Self {
        Self { index, changes }
    }

    /// The value of a row.
    pub(super) fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        if let Some(change) = self.changes.value(key)? {
            return Ok(change.strip_prefix(&[SET]).map(<[u8]>::to_vec));
        }
        self.index.map_or(Ok(None), |index| index.value(key))
    }

    /// All rows in the order of their keys. Ends with the first error.
    pub(super) fn rows(&self) -> impl Iterator<Item = Result<KvRow, KvError>> + 'a {
        let old = self.index.into_iter();
        let mut old = old.flat_map(|index| index.rows(&[], &END)).peekable();
        let mut new = self.changes.rows(&[], &END).peekable();
        std::iter::from_fn(move || {
            loop {
                let is_new = match (old.peek(), new.peek()) {
                    (None, None) => return None,
                    (Some(Err(_)), _) | (Some(_), None) => false,
                    (_, Some(Err(_))) | (None, _) => true,
                    (Some(Ok((old, _))), Some(Ok((new, _)))) => new <= old,
                };
                if !is_new {
                    return old.next();
                }
                let (key, change) = match new.next()? {
                    Ok(row) => row,
                    Err(error) => return Some(Err(error)),
                };
                old.next_if(|old| old.as_ref().is_ok_and(|(old, _)| *old == key));
                if let Some(value) = change.strip_prefix(&[SET]) {
                    return Some(Ok((key, value.to_vec())));
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::kv::KvBatch;
    use crate::testing::{Durable, MortalKv, Power};

    fn load() -> Box<dyn KvLoad> {
        Box::new(MortalKv::open(&Durable::default(), &Power::default()))
    }

    fn key() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(0_u8..3, 0..3)
    }

    proptest! {
        #[test]
        fn what_is_seen_is_what_applying_would_have_made(
            old in proptest::collection::btree_map(key(), key(), 0..12),
            changes in proptest::collection::vec((key(), proptest::option::of(key())), 0..12),
            is_there: bool,
        ) {
            let mut wanted = if is_there { old } else { BTreeMap::new() };
            let index = load();
            let mut batch = KvBatch::default();
            for (key, value) in &wanted {
                batch.put(key.as_slice(), value.as_slice());
            }
            index.write(batch).unwrap();
            let index = index.finish().unwrap();
            for (key, value) in &changes {
                match value {
                    Some(value) => drop(wanted.insert(key.clone(), value.clone())),
                    None => drop(wanted.remove(key)),
                }
            }
            let changes = changes.into_iter().map(|(key, value)| match value {
                Some(value) => Format1Change::Put(key, value),
                None => Format1Change::Delete(key),
            });
            let group = Group { number: 1, blocks: Vec::new(), changes: changes.collect() };
            let mut changes = LoggedChanges::new(load());
            changes.apply(group).unwrap();
            let changes = changes.finish().unwrap();
            let (index, changes) = (index.snapshot().unwrap(), changes.snapshot().unwrap());
            let view = View::new(is_there.then_some(index.as_ref()), changes.as_ref());
            let seen: Vec<KvRow> = view.rows().collect::<Result<_, _>>().unwrap();
            for (key, value) in &seen {
                let found = view.value(key).unwrap();
                prop_assert_eq!(found.as_ref(), Some(value));
            }
            prop_assert_eq!(seen, wanted.into_iter().collect::<Vec<_>>());
        }
    }
}
