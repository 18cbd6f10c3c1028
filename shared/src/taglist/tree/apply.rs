//! Changing a tree: only the nodes that hold changed rows are read and written, level by level.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use bytes::Bytes;

use super::{
    TreeError, Update,
    cursor::{Cursor, Placed, last_key_below, load_root},
    node::{Body, Chunk, Item, common},
};
use crate::{
    cid::{Block, Cid},
    taglist::{Blocks, Op, Row, Stamp, key::KeyBytes, row::encode_row},
};

/// Applies the changes of one log entry to the tree at `root`; `None` is a list without rows.
///
/// A removed label leaves a row that says so: see [`Row::label`].
///
/// # Errors
/// Refuses changes that are not sorted by key or not unique, asks for missing blocks, and refuses
/// blocks that are no nodes of a tree.
pub fn apply<B: Blocks + ?Sized>(
    root: Option<Cid>,
    ops: &[Op],
    stamp: Stamp,
    blocks: &B,
) -> Result<Update, TreeError> {
    let edits = ops.iter().map(|op| {
        let label = match op {
            Op::Set(label) => Some(label),
            Op::Remove(_) => None,
        };
        let row = Bytes::from(encode_row(stamp, label));
        (*op.key().raw(), Some(Body::Row(row)))
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

    /// Changes the tree below `old` and returns the new root.
    fn rewrite<B: Blocks + ?Sized>(
        &mut self,
        root: Cid,
        old: &Placed,
        mut edits: Vec<Edit>,
        blocks: &B,
    ) -> Result<Option<Cid>, TreeError> {
        for level in 0..=old.node.level {
            let changes = Level {
                root: old,
                level,
                blocks,
                writer: self,
                changes: Changes::default(),
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
        let mut chunk = Chunk::new(level);
        let mut last = None;
        for item in items {
            if chunk.push(item) {
                nodes.push(self.write(&mut chunk, &mut last, None)?);
            }
        }
        if !chunk.is_empty() {
            nodes.push(self.write(&mut chunk, &mut last, None)?);
        }
        Ok(nodes)
    }

    /// Ends a node. `last` is the last key before it and becomes its own last key. A leaf's separator is
    /// computed, unless it is known.
    fn write(
        &mut self,
        chunk: &mut Chunk,
        last: &mut Option<KeyBytes>,
        known: Option<KeyBytes>,
    ) -> Result<Item, TreeError> {
        let (items, block) = chunk.take()?;
        let (first, end) = (&items[0], &items[items.len() - 1]);
        let key = match first.body {
            Body::Child(_) => first.key,
            Body::Row(_) => known.unwrap_or_else(|| separator(last.as_ref(), &first.key)),
        };
        *last = Some(end.key);
        let body = Body::Child(*block.cid());
        self.added.push(block);
        Ok(Item { key, body })
    }
}

/// The shortest beginning of `first` above `last`; empty when there is nothing before.
fn separator(last: Option<&KeyBytes>, first: &KeyBytes) -> KeyBytes {
    match last {
        Some(last) => first.truncated(common(last.as_slice(), first.as_slice()) + 1),
        None => KeyBytes::EMPTY,
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
    blocks: &'a B,
    writer: &'a mut Writer,
    changes: Changes,
}

/// The nodes of a level that were given up and those that were written, by their separators.
#[derive(Default)]
struct Changes {
    removed: BTreeMap<KeyBytes, Cid>,
    inserted: BTreeMap<KeyBytes, Cid>,
}

impl Changes {
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

/// The end of a rewritten stretch of leaves whose last key has changed: the separator of the next leaf must be
/// computed again.
struct Seam {
    /// The next leaf's old separator.
    next: KeyBytes,
    /// The last key before it now; `None` when there is none.
    last: Option<KeyBytes>,
}

impl<B: Blocks + ?Sized> Level<'_, B> {
    fn rewrite(mut self, edits: &[Edit]) -> Result<Changes, TreeError> {
        let mut cursor = Cursor::new(self.root.clone(), self.level, self.blocks);
        let mut rest = edits;
        let mut seam: Option<Seam> = None;
        while let Some((key, _)) = rest.first() {
            let node = cursor.seek(key)?;
            let before = match seam.take() {
                Some(seam) if seam.next == node.lower => Some(seam.last),
                Some(other) => {
                    self.mend(&other)?;
                    None
                }
                None => None,
            };
            seam = self.rewrite_stretch(node, before, &mut rest, &mut cursor)?;
        }
        if let Some(seam) = seam {
            self.mend(&seam)?;
        }
        Ok(self.changes)
    }

    /// Rewrites nodes from `node` on until the new cuts meet the old ones. `before` is the last key before
    /// the node if the stretch before has changed it.
    fn rewrite_stretch(
        &mut self,
        mut node: Placed,
        before: Option<Option<KeyBytes>>,
        rest: &mut &[Edit],
        cursor: &mut Cursor<'_, B>,
    ) -> Result<Option<Seam>, TreeError> {
        let mut chunk = Chunk::new(self.level);
        let start = node.lower;
        let old_first = node.node.items[0].key;
        let mut before = before;
        // `Some` once a key has been written: the last one.
        let mut written: Option<KeyBytes> = None;
        let mut first_node = true;
        loop {
            self.changes.removed.insert(node.lower, node.cid);
            self.writer.removed.push(node.cid);
            let end = rest.partition_point(|(key, _)| node.is_below_upper(key));
            let (here, later) = rest.split_at(end);
            *rest = later;
            let old_last = node.node.items[node.node.items.len() - 1].key;
            let upper = node.upper;
            for item in Merged::new(node.node.items, here) {
                let first_of_chunk = chunk.is_empty().then_some(item.key);
                if let Some(first) = first_of_chunk.filter(|_| first_node && self.level == 0)
                    && first != old_first
                    && before.is_none()
                {
                    before = Some(last_key_below(self.root, &start, self.blocks)?);
                }
                if chunk.push(item) {
                    self.end_node(&mut chunk, &mut written, before, start, first_node)?;
                    first_node = false;
                }
            }
            let Some(next) = upper else {
                if !chunk.is_empty() {
                    self.end_node(&mut chunk, &mut written, before, start, first_node)?;
                }
                return Ok(None);
            };
            if chunk.is_empty() {
                if self.level > 0 || written == Some(old_last) {
                    return Ok(None);
                }
                let last = match written {
                    Some(last) => Some(last),
                    None => match before {
                        Some(before) => before,
                        None => last_key_below(self.root, &start, self.blocks)?,
                    },
                };
                return Ok(Some(Seam { next, last }));
            }
            node = cursor.seek(&next)?;
        }
    }

    fn end_node(
        &mut self,
        chunk: &mut Chunk,
        written: &mut Option<KeyBytes>,
        before: Option<Option<KeyBytes>>,
        start: KeyBytes,
        first_node: bool,
    ) -> Result<(), TreeError> {
        // The first node of a stretch keeps its separator when neither its first key nor the one before it
        // has changed.
        let known = (first_node && before.is_none()).then_some(start);
        if first_node {
            *written = before.flatten();
        }
        let item = self.writer.write(chunk, written, known)?;
        self.changes.inserted.insert(item.key, child(&item));
        Ok(())
    }

    /// Gives the leaf behind a seam its new separator.
    fn mend(&mut self, seam: &Seam) -> Result<(), TreeError> {
        let mut cursor = Cursor::new(self.root.clone(), 0, self.blocks);
        let leaf = cursor.seek(&seam.next)?;
        let key = separator(seam.last.as_ref(), &leaf.node.items[0].key);
        self.changes.removed.insert(leaf.lower, leaf.cid);
        self.changes.inserted.insert(key, leaf.cid);
        Ok(())
    }
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
