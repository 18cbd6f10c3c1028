use super::{cursor::load_root, diff::differences, node::Body, *};
use crate::{
    taglist::{
        DatedOp, DeviceTag, Handle, Hlc, Key, KeyPrefix, Label, Note, Op, Row, Stamp, Tag,
        key::KeyBytes,
    },
    time::Millis,
};
use alloc::collections::BTreeMap;
use bytes::Bytes;
use proptest::prelude::*;
use std::{
    collections::BTreeSet,
    format,
    string::{String, ToString},
};

type Store = BTreeMap<Cid, Bytes>;
type Model = BTreeMap<Key, Row>;

fn stamp(clock: u64) -> Stamp {
    Stamp {
        clock: Hlc::from_u64(clock << 16),
        device: DeviceTag(*b"device-1"),
    }
}

fn label(handle: &str, tag: &str) -> Label {
    Label::new(
        Handle::parse(handle).unwrap(),
        Tag::parse(tag).unwrap(),
        Millis(1),
    )
}

/// Applies rows, and checks that the update says exactly which blocks come and go.
fn put(store: &mut Store, root: Option<Cid>, rows: &[Row]) -> Option<Cid> {
    let update = apply_rows(root, rows, store).unwrap();
    commit(store, root, update)
}

fn commit(store: &mut Store, old: Option<Cid>, update: Update) -> Option<Cid> {
    let before: BTreeSet<Cid> = blocks(old, store).unwrap().into_iter().collect();
    let mut seen = BTreeSet::new();
    for block in &update.added {
        for link in crate::codec::links(block.cid(), block.bytes()).unwrap() {
            assert!(
                before.contains(&link) || seen.contains(&link),
                "children come first"
            );
        }
        assert!(seen.insert(*block.cid()), "no block twice");
        store.insert(*block.cid(), block.bytes().clone());
    }
    let after: BTreeSet<Cid> = blocks(update.root, store).unwrap().into_iter().collect();
    let removed: BTreeSet<Cid> = update.removed.iter().copied().collect();
    assert_eq!(seen, after.difference(&before).copied().collect());
    assert_eq!(removed, before.difference(&after).copied().collect());
    update.root
}

/// The tree built in one go.
fn build(rows: &Model) -> (Option<Cid>, Store) {
    let mut store = Store::new();
    let rows: Vec<Row> = rows.values().cloned().collect();
    let root = put(&mut store, None, &rows);
    (root, store)
}

fn list_all(root: Option<Cid>, store: &Store) -> Vec<Row> {
    rows(root, &KeyPrefix::ALL, None, usize::MAX, store)
        .unwrap()
        .items
}

fn numbered(count: u32, clock: u64) -> Vec<Row> {
    let mut rows: Vec<Row> = (0..count)
        .map(|n| {
            let handle = format!("user{:x}", n.wrapping_mul(2_654_435_761));
            Op::Set(label(&handle, "spam")).into_row(stamp(clock))
        })
        .collect();
    rows.sort_by_key(|row| row.key);
    rows
}

#[test]
fn a_list_without_rows_has_no_root() {
    let mut store = Store::new();
    assert_eq!(put(&mut store, None, &[]), None);
    assert!(list_all(None, &store).is_empty());
    let key = label("a", "b").key();
    assert_eq!(row(None, &key, &store).unwrap(), None);
    assert_eq!(
        prove(None, &key, &store).unwrap().verify(None, &key),
        Ok(Proven::Absent)
    );
}

#[test]
fn golden_bytes_of_nodes() {
    let mut store = Store::new();
    let rows = [
        Op::Set(label("alice", "friend")).into_row(stamp(1)),
        Op::Remove(label("Alice", "spam").key()).into_row(stamp(2)),
    ];
    let root = put(&mut store, None, &rows).unwrap();
    assert_eq!(
        hex::encode(&store[&root]),
        "a2616c00616e86004c616c69636500667269656e64821a00010000486465766963652d310644737061\
         6d831a00020000486465766963652d31f6"
            .replace(' ', "")
    );
    assert_eq!(
        root.to_string(),
        "bafyreidgbm7dqr2drw5zkqdqzsjijjyvyzsinwdfn2gkylhmnn423xkptm"
    );
    let root = put(&mut store, None, &numbered(30, 1)).unwrap();
    assert_eq!(hex::encode(&store[&root]), GOLDEN_BRANCH);
    let root = put(&mut store, None, &numbered(3_000, 1)).unwrap();
    assert_eq!(root.to_string(), GOLDEN_ROOT);
}

const GOLDEN_BRANCH: &str = "a2616c02616e84d82a582500017112206f53cd708a55642d3bbda0ee157021eaf9b0b06af20f6136db6f086fd291f37a00457573657263d82a5825000171122006adb7255545229d9f11b01cdb8807edf3c5693f97380a7feffabb8ea213d0da";
const GOLDEN_ROOT: &str = "bafyreibfg77vnmfgiauuz4ljezu2sfsort4jqe5v4yobxd6yz3zl5rwj6i";

#[test]
fn unsorted_and_repeated_changes_are_refused() {
    let store = Store::new();
    let (a, b) = (label("a", "x"), label("b", "x"));
    for ops in [[&b, &a], [&a, &a]] {
        let ops = ops.map(|label| Op::Set(label.clone()));
        let clock = stamp(1).clock;
        let changes = ops.map(|op| DatedOp { op, clock });
        let refused = apply(None, &changes, stamp(1).device, &store).unwrap_err();
        assert_eq!(refused, TreeError::Unsorted);
    }
}

#[test]
fn a_missing_block_is_named_and_the_call_succeeds_once_it_is_there() {
    let mut full = Store::new();
    let root = put(&mut full, None, &numbered(500, 1)).unwrap();
    let key = label("user0", "spam").key();
    let mut view = Store::new();
    let mut fetched = 0;
    let found = loop {
        match row(Some(root), &key, &view) {
            Ok(found) => break found,
            Err(TreeError::Missing(cid)) => {
                fetched += 1;
                view.insert(cid, full[&cid].clone());
            }
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(found.unwrap().key, key);
    assert_eq!(fetched, blocks_on_path(&root, &key, &full));
}

fn blocks_on_path(root: &Cid, key: &Key, store: &Store) -> usize {
    let proof = prove(Some(*root), key, store).unwrap().to_bytes();
    crate::codec::dag_cbor::decode(&proof)
        .map(|value| match value {
            crate::codec::Value::List(nodes) => nodes.len(),
            _ => 0,
        })
        .unwrap()
}

/// Keys mined so that no hash ever cuts, and so that every hash does: nodes stay within their bounds.
#[test]
fn mined_keys_change_neither_node_sizes_nor_depth() {
    for wanted in [true, false] {
        // One key after the other, by what its separator behind the key before it would do.
        let mut mined: Vec<Row> = Vec::new();
        for row in numbered(20_000, 1) {
            let last = mined.last().map(|row| *row.key.raw());
            let level = u8::from(wanted);
            let number = node::hash(&node::separator(last.as_ref(), row.key.raw()));
            if last.is_none() || (number <= node::cut_below(level)) == wanted {
                mined.push(row);
            }
        }
        let mut store = Store::new();
        let root = put(&mut store, None, &mined).unwrap();
        let size = if wanted { 3 } else { 12 };
        let leaves: Vec<usize> = store
            .values()
            .map(load_node)
            .filter(|node| node.0 == 0)
            .map(|node| node.1)
            .collect();
        assert!(leaves.iter().filter(|rows| **rows != size).count() <= 1);
        assert!(load_root(&root, &store).unwrap().node.level <= 5);
    }
}

/// Level and number of items of a node.
fn load_node(bytes: &Bytes) -> (u8, usize) {
    let node = node::Node::decode(bytes, &KeyBytes::EMPTY, None).unwrap();
    (node.level, node.items.len())
}

#[test]
fn long_notes_make_leaves_smaller_instead_of_larger() {
    let mut store = Store::new();
    let rows: Vec<Row> = numbered(200, 1)
        .into_iter()
        .map(|mut row| {
            let label = row.label.as_mut().unwrap();
            label.note = Some(Note::parse(&"€".repeat(280)).unwrap());
            row
        })
        .collect();
    put(&mut store, None, &rows);
    let largest = store.values().map(Bytes::len).max().unwrap();
    assert!(largest <= 2_560, "{largest}");
}

#[test]
fn pages_follow_each_other_and_prefixes_narrow() {
    let mut store = Store::new();
    let mut model = Model::new();
    for row in numbered(700, 1) {
        model.insert(row.key, row);
    }
    for (handle, tag) in [("abc", "x"), ("abc", "y"), ("ABD", "x"), ("ab", "z")] {
        let row = Op::Set(label(handle, tag)).into_row(stamp(1));
        model.insert(row.key, row);
    }
    let gone = Op::Remove(label("abca", "x").key()).into_row(stamp(1));
    model.insert(gone.key, gone);
    let all: Vec<Row> = model.values().cloned().collect();
    let root = put(&mut store, None, &all);
    let mut paged = Vec::new();
    let mut after = None;
    loop {
        let page = scan(root, &KeyPrefix::ALL, after.as_ref(), 9, &store).unwrap();
        assert!(page.items.len() <= 9);
        paged.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let labels: Vec<Label> = all.into_iter().filter_map(|row| row.label).collect();
    assert_eq!(paged, labels);
    let handles = |prefix: &KeyPrefix| -> Vec<String> {
        let page = scan(root, prefix, None, 100, &store).unwrap();
        assert_eq!(page.next, None);
        page.items
            .iter()
            .map(|label| format!("{} {}", label.subject.handle, label.label))
            .collect()
    };
    assert_eq!(
        handles(&KeyPrefix::of_handles("@AB").unwrap()),
        ["@ab z", "@abc x", "@abc y", "@ABD x"]
    );
    assert_eq!(
        handles(&KeyPrefix::of_handle(&Handle::parse("aBc").unwrap())),
        ["@abc x", "@abc y"]
    );
    assert!(handles(&KeyPrefix::of_handles("zz").unwrap()).is_empty());
}

#[test]
fn a_difference_reads_only_what_is_not_shared() {
    let mut store = Store::new();
    let old = put(&mut store, None, &numbered(5_000, 1));
    let mut changed = numbered(5_000, 1).swap_remove(2_500);
    changed.stamp = stamp(2);
    changed.label.as_mut().unwrap().negated = true;
    let update = apply_rows(old, &[changed.clone()], &store).unwrap();
    let new = update.root;
    let mut view: Store = Store::new();
    for block in &update.added {
        view.insert(*block.cid(), block.bytes().clone());
    }
    for cid in &update.removed {
        view.insert(*cid, store[cid].clone());
    }
    let page = diff(old, new, None, 10, &view).unwrap();
    assert_eq!(page.next, None);
    assert_eq!(page.items.len(), 1);
    assert_eq!(page.items[0].after, changed.label);
    assert!(!page.items[0].before.as_ref().unwrap().negated);
}

#[test]
fn nodes_that_are_out_of_place_are_refused() {
    let mut store = Store::new();
    let root = put(&mut store, None, &numbered(300, 1)).unwrap();
    let top = load_root(&root, &store).unwrap().node;
    let children: Vec<Cid> = top
        .items
        .iter()
        .filter_map(|item| match item.body {
            Body::Child(cid) => Some(cid),
            Body::Row(_) => None,
        })
        .collect();
    // The second child's content in the place of the first, and a grandchild in the place of a child.
    let grandchild = crate::codec::links(&children[0], &store[&children[0]]).unwrap()[0];
    for (other, is_expected) in [
        (children[1], matches as fn(&TreeError) -> bool),
        (grandchild, matches_level),
    ] {
        let mut forged = store.clone();
        forged.insert(children[0], store[&other].clone());
        let error = rows(Some(root), &KeyPrefix::ALL, None, 1_000, &forged).unwrap_err();
        assert!(is_expected(&error), "{error:?}");
    }
}

fn matches(error: &TreeError) -> bool {
    matches!(error, TreeError::Node { source, .. } if **source == NodeError::Range)
}

fn matches_level(error: &TreeError) -> bool {
    matches!(error, TreeError::Node { source, .. } if matches!(**source, NodeError::Level { .. }))
}

fn any_key() -> impl Strategy<Value = (u16, u8)> {
    (0u16..600, 0u8..3)
}

fn key_of((handle, tag): (u16, u8)) -> Label {
    label(
        &format!("{:x}", u32::from(handle) * 7_919),
        &format!("t{tag}"),
    )
}

/// A batch of rows to set (with notes of any length), rows to mark removed, and rows to forget.
fn any_batch() -> impl Strategy<Value = BTreeMap<(u16, u8), Option<Option<usize>>>> {
    let state = prop_oneof![
        5 => (0usize..280).prop_map(|note| Some(Some(note / 2 * (note % 2)))),
        1 => Just(Some(None)),
        3 => Just(None),
    ];
    proptest::collection::btree_map(any_key(), state, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn equal_contents_have_equal_roots_whatever_the_history(
        batches in proptest::collection::vec(any_batch(), 1..8),
    ) {
        let (mut store, mut root, mut model) = (Store::new(), None, Model::new());
        for (clock, batch) in batches.iter().enumerate() {
            let mut edits = BTreeMap::new();
            for (key, state) in batch {
                let mut label = key_of(*key);
                let key = label.key();
                let Some(state) = state else {
                    model.remove(&key);
                    edits.insert(*key.raw(), None);
                    continue;
                };
                label.note = state.and_then(|length| Note::parse(&"n".repeat(length)).ok());
                let op = match state {
                    Some(_) => Op::Set(label),
                    None => Op::Remove(key),
                };
                let row = op.into_row(stamp(clock as u64));
                edits.insert(*key.raw(), Some(Body::Row(row.encode().into())));
                model.insert(key, row);
            }
            let update = apply::apply_edits(root, edits.into_iter().collect(), &store).unwrap();
            root = commit(&mut store, root, update);
            let (expected, _) = build(&model);
            prop_assert_eq!(root, expected);
            prop_assert_eq!(list_all(root, &store), model.values().cloned().collect::<Vec<_>>());
        }
        for key in (0..600).step_by(13).map(|handle| key_of((handle, 1)).key()) {
            prop_assert_eq!(row(root, &key, &store).unwrap(), model.get(&key).cloned());
        }
    }

    #[test]
    fn differences_are_those_of_the_models(first in any_batch(), second in any_batch()) {
        let mut store = Store::new();
        let mut models = [Model::new(), Model::new()];
        let mut roots = [None, None];
        let mut base: Vec<Row> = numbered(400, 1);
        for (side, batch) in [first, second].into_iter().enumerate() {
            models[side].extend(base.iter().map(|row| (row.key, row.clone())));
            for (key, state) in batch {
                let Some(state) = state else { continue };
                let label = key_of(key);
                let op = if state.is_some() { Op::Set(label) } else { Op::Remove(label.key()) };
                let row = op.into_row(stamp(5));
                models[side].insert(row.key, row);
            }
            let rows: Vec<Row> = models[side].values().cloned().collect();
            roots[side] = put(&mut store, None, &rows);
            base.truncate(350);
        }
        let mut found = Vec::new();
        differences(roots[0], roots[1], None, &store, &mut |key, old, new| {
            found.push((key, old, new));
            true
        }).unwrap();
        let keys: BTreeSet<Key> = models.iter().flat_map(|model| model.keys().copied()).collect();
        let expected: Vec<_> = keys
            .into_iter()
            .map(|key| (key, models[0].get(&key).cloned(), models[1].get(&key).cloned()))
            .filter(|(_, old, new)| old != new)
            .collect();
        prop_assert_eq!(&found, &expected);
        // Page by page it is the same list.
        let (mut paged, mut after) = (Vec::new(), None);
        loop {
            let page = diff(roots[0], roots[1], after.as_ref(), 7, &store).unwrap();
            paged.extend(page.items.into_iter().map(|change| (change.key, change.before, change.after)));
            after = page.next;
            if after.is_none() { break; }
        }
        let visible: Vec<_> = expected
            .into_iter()
            .map(|(key, old, new)| (key, old.and_then(|row| row.label), new.and_then(|row| row.label)))
            .filter(|(_, old, new)| old != new)
            .collect();
        prop_assert_eq!(paged, visible);
    }

    #[test]
    fn proofs_show_what_looking_up_gives(count in 0u32..900, probe in any_key(), pick: prop::sample::Index) {
        let mut store = Store::new();
        let rows = numbered(count, 1);
        let root = put(&mut store, None, &rows);
        let mut keys = alloc::vec![key_of(probe).key()];
        if count > 0 {
            keys.push(rows[pick.index(rows.len())].key);
        }
        for key in keys {
            let proof = prove(root, &key, &store).unwrap();
            let proof = Proof::from_bytes(&proof.to_bytes()).unwrap();
            let expected = match row(root, &key, &store).unwrap() {
                Some(row) => Proven::Present(row),
                None => Proven::Absent,
            };
            prop_assert_eq!(proof.verify(root.as_ref(), &key), Ok(expected));
        }
    }

    #[test]
    fn forged_proofs_are_refused(
        count in 60u32..600,
        a: prop::sample::Index,
        b: prop::sample::Index,
        at: prop::sample::Index,
        bit in 0u8..8,
        cut: prop::sample::Index,
    ) {
        let mut store = Store::new();
        let rows = numbered(count, 1);
        let root = put(&mut store, None, &rows);
        let (own, other) = (rows[a.index(rows.len())].clone(), rows[b.index(rows.len())].key);
        let proof = prove(root, &own.key, &store).unwrap();
        let bytes = proof.to_bytes();
        // One flipped bit.
        let mut flipped = bytes.clone();
        flipped[at.index(bytes.len())] ^= 1 << bit;
        if let Ok(forged) = Proof::from_bytes(&flipped) {
            prop_assert!(forged.verify(root.as_ref(), &own.key).is_err());
        }
        // Cut short, and with a node too many.
        let crate::codec::Value::List(mut nodes) = crate::codec::dag_cbor::decode(&bytes).unwrap() else {
            panic!("a proof is a list");
        };
        let mut short = nodes.clone();
        short.remove(cut.index(nodes.len()));
        nodes.push(nodes[cut.index(nodes.len())].clone());
        for forged in [short, nodes] {
            let forged = crate::codec::dag_cbor::encode(&crate::codec::Value::List(forged)).unwrap();
            prop_assert!(Proof::from_bytes(&forged).unwrap().verify(root.as_ref(), &own.key).is_err());
        }
        // For another key: either it is in the same leaf, or the proof is refused. It never shows absence.
        match proof.verify(root.as_ref(), &other) {
            Ok(shown) => prop_assert_eq!(shown, Proven::Present(row(root, &other, &store).unwrap().unwrap())),
            Err(_) => prop_assert!(own.key != other),
        }
        // Against another list.
        let elsewhere = put(&mut store, root, &[Op::Remove(own.key).into_row(stamp(9))]);
        prop_assert!(proof.verify(elsewhere.as_ref(), &own.key).is_err());
        prop_assert!(proof.verify(None, &own.key).is_err());
    }

    #[test]
    fn mutated_nodes_never_panic_and_have_one_form(
        count in 1u32..40,
        at: prop::sample::Index,
        byte: u8,
    ) {
        let mut store = Store::new();
        let root = put(&mut store, None, &numbered(count, 1)).unwrap();
        let mut bytes = store[&root].to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let bytes = Bytes::from(bytes);
        if let Ok(node) = node::Node::decode(&bytes, &KeyBytes::EMPTY, None) {
            let again = node::encode(node.level, &node.items).unwrap();
            prop_assert_eq!(again.bytes(), &bytes);
        }
    }
}
