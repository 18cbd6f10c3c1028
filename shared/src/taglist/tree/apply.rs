//! Changing a tree: only the nodes that hold changed rows are read and written, level by level.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    vec::Vec,
};

use bytes::Bytes;

use super::{
    TreeError, Update,
    cursor::{Cursor, Nodes, Placed, load_root},
    node::{Body, Chunk, Item, separator},
    read::rows,
};
use crate::{
    cid::{Block, Cid},
    limits::PAGE_ROWS,
    taglist::{Blocks, DatedOp, DeviceTag, KeyPrefix, Row, key::KeyBytes, row::encode_row},
};

/// Applies the changes of one log entry, which `device` signs, to the tree at `root`; `None` is a list without
/// rows. The row of a change replaces the one that is there, whichever is later.
///
/// A removed label leaves a row that says so: see [`Row::label`].
///
/// # Errors
/// Refuses changes that are not sorted by key or not unique, asks for missing blocks, and refuses
/// blocks that are no nodes of a tree.
pub fn apply<B: Blocks + ?Sized>(
    root: Option<Cid>,
    changes: &[DatedOp],
    device: DeviceTag,
    blocks: &B,
) -> Result<Update, TreeError> {
    let edits = changes.iter().map(|change| {
        let row = Bytes::from(encode_row(change.stamp(device), change.op.label()));
        (*change.key().raw(), Some(Body::Row(row)))
    });
    apply_edits(root, edits.collect(), blocks)
}

/// Puts rows with stamps of their own into the tree at `root`, replacing rows of the same keys.
///
/// # Errors
/// As [`apply`].
pub fn apply_rows<B: Blocks + ?Sized>(
    root: Option<Cid>,
    rows: &[Row],
    blocks: &B,
) -> Result<Update, TreeError> {
    let edits = rows
        .iter()
        .map(|row| (*row.key.raw(), Some(Body::Row(row.encode().into()))));
    apply_edits(root, edits.collect(), blocks)
}

/// Takes out the rows that `keep` says no to; returns how many they were. For compaction: a row that is taken
/// out can come back from a device that still has it, which one that says "removed" does not.
///
/// # Errors
/// As [`apply`].
pub fn retain<B: Blocks + ?Sized>(
    root: Option<Cid>,
    blocks: &B,
    keep: &mut dyn FnMut(&Row) -> bool,
) -> Result<(Update, u64), TreeError> {
    let mut edits = Vec::new();
    let mut after = None;
    loop {
        let page = rows(root, &KeyPrefix::ALL, after.as_ref(), PAGE_ROWS, blocks)?;
        let dropped = page.items.iter().filter(|row| !keep(row));
        edits.extend(dropped.map(|row| (*row.key.raw(), None)));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let dropped = edits.len() as u64;
    Ok((apply_edits(root, edits, blocks)?, dropped))
}

/// A key or separator and what shall be there: `None` takes it out.
pub(super) type Edit = (KeyBytes, Option<Body>);

pub(super) fn apply_edits<B: Blocks + ?Sized>(
    root: Option<Cid>,
    edits: Vec<Edit>,
    blocks: &B,
) -> Result<Update, TreeError> {
    if !edits.windows(2).all(|pair| pair[0].0 < pair[1].0) {
        return Err(TreeError::Unsorted);
    }
    let mut writer = Writer::default();
    let root = match root {
        Some(cid) => {
            let old = load_root(&cid, blocks)?;
            writer.rewrite(cid, &old, edits, blocks)?
        }
        None => {
            let items = edits
                .into_iter()
                .filter_map(|(key, body)| body.map(|body| Item { key, body }));
            let leaves = writer.build_level(0, items)?;
            writer.raise(0, leaves)?
        }
    };
    Ok(writer.finish(root))
}

/// Blocks written and given up so far.
#[derive(Default)]
struct Writer {
    /// In the order of writing; children before parents.
    added: Vec<Block>,
    removed: Vec<Cid>,
    /// Nodes that were written and turned out not to be part of the tree.
    dropped: BTreeSet<Cid>,
}

impl Writer {
    fn finish(self, root: Option<Cid>) -> Update {
        // A node can be rewritten with the bytes it had.
        let written: BTreeSet<Cid> = self.added.iter().map(|block| *block.cid()).collect();
        let given_up: BTreeSet<Cid> = self.removed.iter().copied().collect();
        let kept = |cid: &Cid| !self.dropped.contains(cid);
        let removed = self
            .removed
            .into_iter()
            .filter(|cid| !(written.contains(cid) && kept(cid)))
            .collect();
        let added = self
            .added
            .into_iter()
            .filter(|block| kept(block.cid()) && !given_up.contains(block.cid()))
            .collect();
        Update {
            root,
            added,
            removed,
        }
    }

    /// NodeChanges the tree below `old` and returns the new root.
    fn rewrite<B: Blocks + ?Sized>(
        &mut self,
        root: Cid,
        old: &Placed,
        mut edits: Vec<Edit>,
        blocks: &B,
    ) -> Result<Option<Cid>, TreeError> {
        let nodes = Nodes::new(blocks);
        for level in 0..=old.node.level {
            let changes = Level {
                root: old,
                level,
                nodes: &nodes,
                writer: self,
                changes: NodeChanges::default(),
            }
            .rewrite(&edits)?;
            if changes.removed == changes.inserted {
                return Ok(Some(root));
            }
            if level < old.node.level {
                edits = changes.into_edits();
                continue;
            }
            // The old root was the only node of its level, so what was written is the whole level.
            let nodes = changes.inserted.into_iter().map(|(key, cid)| Item {
                key,
                body: Body::Child(cid),
            });
            let top = self.raise(level, nodes.collect())?;
            return top.map(|top| self.collapse(top, blocks)).transpose();
        }
        Ok(Some(root))
    }

    /// Builds levels above the nodes of `level` until one node is left.
    fn raise(&mut self, mut level: u8, mut nodes: Vec<Item>) -> Result<Option<Cid>, TreeError> {
        while nodes.len() > 1 {
            level += 1;
            nodes = self.build_level(level, nodes.into_iter())?;
        }
        Ok(nodes.pop().map(|item| child(&item)))
    }

    /// A root with one child is not needed: its child is the root.
    fn collapse<B: Blocks + ?Sized>(
        &mut self,
        mut root: Cid,
        blocks: &B,
    ) -> Result<Cid, TreeError> {
        loop {
            let own = self.added.iter().rev().find(|block| *block.cid() == root);
            let added: BTreeMap<Cid, Bytes> = own
                .map(|block| (root, block.bytes().clone()))
                .into_iter()
                .collect();
            let node = if added.is_empty() {
                load_root(&root, blocks)?
            } else {
                load_root(&root, &added)?
            };
            match node.node.items.as_slice() {
                [only] if node.node.level > 0 => {
                    self.dropped.insert(root);
                    root = child(only);
                }
                _ => return Ok(root),
            }
        }
    }

    /// Cuts a whole level into nodes.
    fn build_level(
        &mut self,
        level: u8,
        items: impl Iterator<Item = Item>,
    ) -> Result<Vec<Item>, TreeError> {
        let mut nodes = Vec::new();
        let mut cutter = Cutter::new(level, KeyBytes::EMPTY);
        for item in items {
            nodes.extend(cutter.push(item, self)?);
        }
        nodes.extend(cutter.end(self)?);
        Ok(nodes)
    }
}

/// Cuts items into nodes, from the beginning of a node on.
struct Cutter {
    chunk: Chunk,
    /// The separator of the first node.
    start: KeyBytes,
    /// The last key so far.
    last: Option<KeyBytes>,
}

impl Cutter {
    fn new(level: u8, start: KeyBytes) -> Cutter {
        Cutter {
            chunk: Chunk::new(level),
            start,
            last: None,
        }
    }

    /// Adds an item; returns the node that ends before it, if one does.
    fn push(&mut self, item: Item, writer: &mut Writer) -> Result<Option<Item>, TreeError> {
        let separator = match (&self.last, &item.body) {
            (None, _) => self.start,
            (Some(_), Body::Child(_)) => item.key,
            (last, Body::Row(_)) => separator(last.as_ref(), &item.key),
        };
        let ended = if self.ends_before(&separator) {
            self.end(writer)?
        } else {
            None
        };
        self.last = Some(item.key);
        self.chunk.push(separator, item);
        Ok(ended)
    }

    /// Whether the node ends before an item with this separator.
    fn ends_before(&self, separator: &KeyBytes) -> bool {
        !self.chunk.is_empty() && self.chunk.ends_before(separator)
    }

    /// Ends the node, if it has items.
    fn end(&mut self, writer: &mut Writer) -> Result<Option<Item>, TreeError> {
        if self.chunk.is_empty() {
            return Ok(None);
        }
        let (key, block) = self.chunk.take()?;
        let body = Body::Child(*block.cid());
        writer.added.push(block);
        Ok(Some(Item { key, body }))
    }
}

fn child(item: &Item) -> Cid {
    match item.body {
        Body::Child(cid) => cid,
        Body::Row(_) => unreachable!("the items of a branch are children"),
    }
}

/// One level of the old tree while it is rewritten.
struct Level<'a, B: ?Sized> {
    root: &'a Placed,
    level: u8,
    nodes: &'a Nodes<'a, B>,
    writer: &'a mut Writer,
    changes: NodeChanges,
}

/// The nodes of a level that were given up and those that were written, by their separators.
#[derive(Default)]
struct NodeChanges {
    removed: BTreeMap<KeyBytes, Cid>,
    inserted: BTreeMap<KeyBytes, Cid>,
}

impl NodeChanges {
    /// The changes as edits of the level above; nodes written as they were are left out.
    fn into_edits(self) -> Vec<Edit> {
        let mut edits: BTreeMap<KeyBytes, Option<Body>> = BTreeMap::new();
        for (key, cid) in &self.removed {
            if self.inserted.get(key) != Some(cid) {
                edits.insert(*key, None);
            }
        }
        for (key, cid) in self.inserted {
            if self.removed.get(&key) != Some(&cid) {
                edits.insert(key, Some(Body::Child(cid)));
            }
        }
        edits.into_iter().collect()
    }
}

impl<B: Blocks + ?Sized> Level<'_, B> {
    fn rewrite(mut self, edits: &[Edit]) -> Result<NodeChanges, TreeError> {
        let mut cursor = Cursor::new(self.root.clone(), self.level, self.nodes);
        let mut rest = edits;
        while let Some((key, _)) = rest.first() {
            let mut node = cursor.seek(key)?;
            // Whether the node before ends here depends on this node's first item: if that is taken out, the
            // decision is made again.
            while removes_first(rest, &node) {
                match cursor.before(&node.lower)? {
                    Some(before) => node = before,
                    None => break,
                }
            }
            self.rewrite_stretch(node, &mut rest, &mut cursor)?;
        }
        Ok(self.changes)
    }

    /// Rewrites nodes from `node` on until the new cuts meet the old ones.
    fn rewrite_stretch(
        &mut self,
        mut node: Placed,
        rest: &mut &[Edit],
        cursor: &mut Cursor<'_, B>,
    ) -> Result<(), TreeError> {
        let mut cutter = Cutter::new(self.level, node.lower);
        loop {
            self.changes.removed.insert(node.lower, node.cid);
            self.writer.removed.push(node.cid);
            let end = rest.partition_point(|(key, _)| node.is_below_upper(key));
            let (here, later) = rest.split_at(end);
            *rest = later;
            let old_last = node.node.items.last().map(|item| item.key);
            let upper = node.upper;
            for item in Merged::new(Rc::unwrap_or_clone(node.node).items, here) {
                let ended = cutter.push(item, self.writer)?;
                self.insert(ended);
            }
            let Some(next) = upper else {
                let ended = cutter.end(self.writer)?;
                self.insert(ended);
                return Ok(());
            };
            // The next node's separator is what it was when the key before it is, and its own first item.
            let is_seam = cutter.last == old_last || (self.level > 0 && cutter.last.is_some());
            let meets = is_seam
                && cutter.ends_before(&next)
                && !self.next_loses_first(rest, &next, cursor)?;
            if meets {
                let ended = cutter.end(self.writer)?;
                self.insert(ended);
                return Ok(());
            }
            node = cursor.seek(&next)?;
        }
    }

    /// Whether the edits take out the first item of the node that begins at `next`.
    fn next_loses_first(
        &self,
        rest: &[Edit],
        next: &KeyBytes,
        cursor: &mut Cursor<'_, B>,
    ) -> Result<bool, TreeError> {
        if !matches!(rest.first(), Some((_, None))) {
            return Ok(false);
        }
        Ok(removes_first(rest, &cursor.seek(next)?))
    }

    fn insert(&mut self, ended: Option<Item>) {
        if let Some(item) = ended {
            self.changes.inserted.insert(item.key, child(&item));
        }
    }
}

/// Whether the edits take out the first item of `node` without putting in one before it, which would leave the node
/// its separator. Edits may take out keys that are not there.
fn removes_first(edits: &[Edit], node: &Placed) -> bool {
    if !matches!(edits.first(), Some((_, None))) {
        return false;
    }
    let Some(first) = node.node.items.first() else {
        return false;
    };
    let found = edits.binary_search_by(|(key, _)| key.cmp(&first.key));
    found.is_ok_and(|index| edits[index].1.is_none())
}

/// The items of a node with the edits made in it.
struct Merged<'a> {
    items: core::iter::Peekable<alloc::vec::IntoIter<Item>>,
    edits: &'a [Edit],
}

impl<'a> Merged<'a> {
    fn new(items: Vec<Item>, edits: &'a [Edit]) -> Merged<'a> {
        Merged {
            items: items.into_iter().peekable(),
            edits,
        }
    }
}

impl Iterator for Merged<'_> {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        loop {
            let Some(((key, body), rest)) = self.edits.split_first() else {
                return self.items.next();
            };
            if self.items.peek().is_some_and(|item| item.key < *key) {
                return self.items.next();
            }
            self.edits = rest;
            self.items.next_if(|item| item.key == *key);
            if let Some(body) = body.clone() {
                return Some(Item { key: *key, body });
            }
        }
    }
}
