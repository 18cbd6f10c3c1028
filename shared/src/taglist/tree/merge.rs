//! Joining the lists of two devices.

use alloc::vec::Vec;

use super::{
    TreeError, Update,
    apply::{Edit, apply_edits},
    diff::differences,
    node::Body,
    read,
};
use crate::{cid::Cid, taglist::Blocks};

/// Joins two lists into one. The update is relative to `ours`; its root is the same when the two are exchanged.
///
/// Of two rows of one key the one with the later stamp stays ([`crate::taglist::Row::replaces`]), and a row
/// that only one list has stays. Because a removed label leaves a row with a stamp of its own, a removal
/// is a change like any other. Without `base` this is a join in the sense of replicated data types: it
/// is commutative, associative and idempotent, whatever the histories, and no change of another label is
/// ever lost.
///
/// Compaction is the one thing that takes rows out. `base`, the root of the lists' common ancestor where it
/// is known (`Some(None)` when that list was empty), tells a row that was compacted away from a new one: a
/// row that one list lacks, and that the other has just as it was in `base`, is left out.
///
/// # Errors
/// Asks for missing blocks and refuses blocks that are no nodes of a tree.
pub fn merge<B: Blocks + ?Sized>(
    ours: Option<Cid>,
    theirs: Option<Cid>,
    base: Option<Option<Cid>>,
    blocks: &B,
) -> Result<Update, TreeError> {
    let mut edits: Vec<Edit> = Vec::new();
    let mut failed = None;
    differences(ours, theirs, None, blocks, &mut |key, own, other| {
        let (row, is_own) = match (own, other) {
            (Some(own), Some(other)) => {
                if other.replaces(&own) {
                    let body = Body::Row(other.encode().into());
                    edits.push((*key.raw(), Some(body)));
                }
                return true;
            }
            (Some(own), None) => (own, true),
            (None, Some(other)) => (other, false),
            (None, None) => return true,
        };
        let compacted_away = match base.map(|base| read::row(base, &key, blocks)) {
            None => false,
            Some(Ok(before)) => before.as_ref() == Some(&row),
            Some(Err(error)) => {
                failed = Some(error);
                return false;
            }
        };
        match (is_own, compacted_away) {
            (true, true) => edits.push((*key.raw(), None)),
            (false, false) => edits.push((*key.raw(), Some(Body::Row(row.encode().into())))),
            (true, false) | (false, true) => {}
        }
        true
    })?;
    match failed {
        Some(error) => Err(error),
        None => apply_edits(ours, edits, blocks),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        taglist::{DeviceTag, Handle, Hlc, Key, KeyPrefix, Label, Op, Row, Stamp, Tag},
        time::Millis,
    };
    use alloc::collections::BTreeMap;
    use bytes::Bytes;
    use proptest::prelude::*;
    use std::{format, vec};

    type Store = BTreeMap<Cid, Bytes>;

    fn put(store: &mut Store, update: Update) -> Option<Cid> {
        for block in update.added {
            let (cid, bytes) = block.into_parts();
            store.insert(cid, bytes);
        }
        update.root
    }

    fn label(handle: u8, negated: bool) -> Label {
        let handle = Handle::parse(&format!("user{handle}")).unwrap();
        let mut label = Label::new(handle, Tag::parse("spam").unwrap(), Millis(7));
        label.negated = negated;
        label
    }

    fn op(handle: u8, action: u8) -> Op {
        match action {
            0 => Op::Remove(label(handle, false).key()),
            action => Op::Set(label(handle, action == 1)),
        }
    }

    fn stamp(clock: u64, device: u8) -> Stamp {
        Stamp {
            clock: Hlc::from_u64(clock),
            device: DeviceTag([device; 8]),
        }
    }

    fn all(root: Option<Cid>, store: &Store) -> Vec<Row> {
        let page = read::rows(root, &KeyPrefix::ALL, None, usize::MAX, store).unwrap();
        page.items
    }

    /// A device's changes: handle, action, clock. Small ranges make conflicts and equal stamps common.
    fn any_changes() -> impl Strategy<Value = Vec<(u8, u8, u64)>> {
        proptest::collection::vec((0u8..60, 0u8..3, 0u64..6), 0..40)
    }

    fn replay(store: &mut Store, device: u8, changes: &[(u8, u8, u64)]) -> Option<Cid> {
        let mut root = None;
        for (handle, action, clock) in changes {
            let row = op(*handle, *action).into_row(stamp(*clock, device));
            let before = read::row(root, &row.key, store).unwrap();
            if before.is_none_or(|before| row.replaces(&before)) {
                let update = super::super::apply_rows(root, &[row], store).unwrap();
                root = put(store, update);
            }
        }
        root
    }

    proptest! {
        #[test]
        fn merging_is_a_join(
            histories in proptest::collection::vec(any_changes(), 3),
            devices in proptest::collection::vec(0u8..3, 3),
        ) {
            let mut store = Store::new();
            let roots: Vec<_> = histories
                .iter()
                .zip(&devices)
                .map(|(changes, device)| replay(&mut store, *device, changes))
                .collect();
            let mut join = |a, b| {
                let update = merge(a, b, None, &store).unwrap();
                put(&mut store, update)
            };
            let (a, b, c) = (roots[0], roots[1], roots[2]);
            let (ab, ba) = (join(a, b), join(b, a));
            prop_assert_eq!(ab, ba, "commutative");
            let bc = join(b, c);
            prop_assert_eq!(join(ab, c), join(a, bc), "associative");
            prop_assert_eq!(join(a, a), a, "idempotent");
            prop_assert_eq!(join(ab, b), ab, "what was merged adds nothing");
            // The rows are the last ones of each key, and none is lost.
            let mut expected: BTreeMap<Key, Row> = BTreeMap::new();
            for row in all(a, &store).into_iter().chain(all(b, &store)) {
                let known = expected.get(&row.key);
                if known.is_none_or(|known| row.replaces(known)) {
                    expected.insert(row.key, row);
                }
            }
            prop_assert_eq!(all(ab, &store), expected.into_values().collect::<Vec<_>>());
        }

        /// One device compacts while another goes on: what the first had removed stays removed, what the
        /// second changed or added is kept.
        #[test]
        fn compaction_is_not_undone_by_a_device_that_was_away(
            shared in any_changes(),
            removed in proptest::collection::btree_set(0u8..60, 0..20),
            away in proptest::collection::btree_map(0u8..90, 1u8..3, 0..20),
        ) {
            let mut store = Store::new();
            let base = replay(&mut store, 1, &shared);
            let before: BTreeMap<Key, Row> =
                all(base, &store).into_iter().map(|row| (row.key, row)).collect();
            let gone: Vec<Key> = removed
                .iter()
                .map(|handle| label(*handle, false).key())
                .filter(|key| before.contains_key(key))
                .collect();
            let mut edits: Vec<Edit> = gone.iter().map(|key| (*key.raw(), None)).collect();
            edits.sort_by_key(|edit| edit.0);
            let update = apply_edits(base, edits, &store).unwrap();
            let compacted = put(&mut store, update);
            let mut rows: Vec<Row> = away
                .iter()
                .map(|(handle, action)| op(*handle, *action).into_row(stamp(20, 2)))
                .collect();
            rows.sort_by_key(|row| row.key);
            let update = super::super::apply_rows(base, &rows, &store).unwrap();
            let other = put(&mut store, update);
            let update = merge(compacted, other, Some(base), &store).unwrap();
            let merged = put(&mut store, update);
            let update = merge(other, compacted, Some(base), &store).unwrap();
            prop_assert_eq!(put(&mut store, update), merged);
            let mut expected = before;
            for key in &gone {
                expected.remove(key);
            }
            expected.extend(rows.into_iter().map(|row| (row.key, row)));
            prop_assert_eq!(all(merged, &store), expected.into_values().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_removal_wins_over_an_older_edit_and_loses_to_a_newer_one() {
        let mut store = Store::new();
        let mut one = |action, clock| {
            let rows = vec![op(1, action).into_row(stamp(clock, 1))];
            let update = super::super::apply_rows(None, &rows, &Store::new()).unwrap();
            put(&mut store, update)
        };
        let (set, removed, again) = (one(1, 1), one(0, 2), one(1, 3));
        assert_eq!(merge(set, removed, None, &store).unwrap().root, removed);
        assert_eq!(merge(again, removed, None, &store).unwrap().root, again);
        // Even where the ancestor is known, and is the list that was removed from.
        assert_eq!(
            merge(set, removed, Some(set), &store).unwrap().root,
            removed
        );
    }
}
