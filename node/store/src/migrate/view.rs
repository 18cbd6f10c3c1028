//! The rows of format 1 as its next start would have had them: those of its index, and over them what the log holds
//! behind. The index itself is not written to, so that a migration that is broken off begins again from the same.

use crate::format1::{Change, Group, row};
use crate::kv::{Kv, KvBatch, KvError, Row};

/// Rows that are read at once.
const PAGE_ROWS: usize = 256;
/// First byte of a change in the scratch: a row that is gone, or the row that is there now.
const GONE: u8 = 0;
const SET: u8 = 1;

/// Rows of an index, changed by what a scratch holds under one table.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    index: &'a dyn Kv,
    scratch: &'a dyn Kv,
    table: u8,
}

impl<'a> View<'a> {
    /// Changes are kept in `scratch` under keys that begin with `table`.
    pub(super) fn new(index: &'a dyn Kv, scratch: &'a dyn Kv, table: u8) -> Self {
        Self {
            index,
            scratch,
            table,
        }
    }

    /// Applies a group as format 1 did: its blocks, then its other changes in their order.
    pub(super) fn apply(&self, group: Group) -> Result<(), KvError> {
        let mut batch = KvBatch::default();
        for (cid, location) in group.blocks {
            let key = [&[row::BLOCK], cid.as_slice()].concat();
            self.set(&mut batch, &key, &location.to_bytes());
        }
        for change in group.changes {
            match change {
                Change::Put(key, value) => self.set(&mut batch, &key, &value),
                Change::Delete(key) => batch.put(self.changed(&key), [GONE]),
                Change::Forget(cid) => {
                    let key = [&[row::BLOCK], cid.as_slice()].concat();
                    batch.put(self.changed(&key), [GONE]);
                }
            }
        }
        self.scratch.write(batch)
    }

    fn set(&self, batch: &mut KvBatch, key: &[u8], value: &[u8]) {
        batch.put(self.changed(key), [&[SET], value].concat());
    }

    fn changed(&self, key: &[u8]) -> Vec<u8> {
        [&[self.table], key].concat()
    }

    /// The value of a row.
    pub(super) fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        match self.scratch.value(&self.changed(key))? {
            Some(change) => Ok(change.strip_prefix(&[SET]).map(<[u8]>::to_vec)),
            None => self.index.value(key),
        }
    }

    /// All rows in the order of their keys.
    pub(super) fn rows(&self) -> impl Iterator<Item = Result<Row, KvError>> {
        let mut old = rows(self.index, Vec::new(), vec![u8::MAX; 2]).peekable();
        let mut new = rows(self.scratch, vec![self.table], vec![self.table + 1]).peekable();
        std::iter::from_fn(move || {
            loop {
                let is_new = match (old.peek(), new.peek()) {
                    (Some(Err(_)), _) | (Some(_), None) => false,
                    (None, None) => return None,
                    (_, Some(Err(_))) | (None, _) => true,
                    (Some(Ok((old, _))), Some(Ok((new, _)))) => new[1..] <= old[..],
                };
                if !is_new {
                    return old.next();
                }
                let (key, change) = match new.next()? {
                    Ok(row) => row,
                    Err(error) => return Some(Err(error)),
                };
                let key = key[1..].to_vec();
                old.next_if(|old| old.as_ref().is_ok_and(|(old, _)| *old == key));
                if let Some(value) = change.strip_prefix(&[SET]) {
                    return Some(Ok((key, value.to_vec())));
                }
            }
        })
    }
}

/// The rows with `from <= key < to`, read a page at a time. Ends with the first error.
pub(super) fn rows(
    kv: &dyn Kv,
    from: Vec<u8>,
    to: Vec<u8>,
) -> impl Iterator<Item = Result<Row, KvError>> {
    let mut next = Some(from);
    let mut page = Vec::new().into_iter();
    std::iter::from_fn(move || {
        if let Some(row) = page.next() {
            return Some(Ok(row));
        }
        match kv.scan(&next.take()?, &to, PAGE_ROWS) {
            Ok(rows) => {
                next = rows.last().map(|(key, _)| [key, [0].as_slice()].concat());
                page = rows.into_iter();
                page.next().map(Ok)
            }
            Err(error) => Some(Err(error)),
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::kv::{Durable, Memory};

    const TABLE: u8 = b'o';

    fn memory(rows: &BTreeMap<Vec<u8>, Vec<u8>>) -> Memory {
        let memory = Memory::open(&Durable::default());
        let mut batch = KvBatch::default();
        for (key, value) in rows {
            batch.put(key.as_slice(), value.as_slice());
        }
        memory.write(batch).unwrap();
        memory
    }

    fn group(changes: Vec<Change>) -> Group {
        Group {
            number: 1,
            blocks: Vec::new(),
            changes,
        }
    }

    fn key() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(0_u8..3, 0..3)
    }

    proptest! {
        #[test]
        fn what_is_seen_is_what_applying_would_have_made(
            old in proptest::collection::btree_map(key(), key(), 0..12),
            changes in proptest::collection::vec((key(), proptest::option::of(key())), 0..12),
        ) {
            let (index, scratch) = (memory(&old), memory(&BTreeMap::new()));
            let view = View::new(&index, &scratch, TABLE);
            let mut wanted = old;
            for (key, value) in &changes {
                match value {
                    Some(value) => drop(wanted.insert(key.clone(), value.clone())),
                    None => drop(wanted.remove(key)),
                }
            }
            let changes = changes.into_iter().map(|(key, value)| match value {
                Some(value) => Change::Put(key, value),
                None => Change::Delete(key),
            });
            view.apply(group(changes.collect())).unwrap();
            let seen: Vec<Row> = view.rows().collect::<Result<_, _>>().unwrap();
            for (key, value) in &seen {
                let found = view.value(key).unwrap();
                prop_assert_eq!(found.as_ref(), Some(value));
            }
            prop_assert_eq!(seen, wanted.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn many_rows_are_read_page_by_page() {
        let rows: BTreeMap<Vec<u8>, Vec<u8>> = (0..3 * PAGE_ROWS as u32)
            .map(|number| (number.to_be_bytes().to_vec(), vec![1]))
            .collect();
        let (index, scratch) = (memory(&rows), memory(&BTreeMap::new()));
        let view = View::new(&index, &scratch, TABLE);
        view.apply(group(vec![Change::Delete(vec![0, 0, 1, 0])]))
            .unwrap();
        assert_eq!(view.rows().count(), rows.len() - 1);
    }
}
