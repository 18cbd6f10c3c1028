//! Looking up and listing rows.

use alloc::{boxed::Box, vec::Vec};

use super::{
    NodeError, TreeError,
    cursor::{Placed, load_child, load_root},
    node::{Body, Item},
};
use crate::{
    cid::Cid,
    limits::PAGE_ROWS,
    taglist::{Blocks, Key, KeyPrefix, Label, Row, key::KeyBytes},
};

/// The row of `key`; `None` when the list has never had it, or has forgotten that it was removed.
///
/// # Errors
/// Asks for missing blocks and refuses blocks that are no nodes of a tree.
pub fn row<B: Blocks + ?Sized>(
    root: Option<Cid>,
    key: &Key,
    blocks: &B,
) -> Result<Option<Row>, TreeError> {
    Lookup::new(root, blocks).row(key)
}

/// Looks rows up one after the other. The way down to the last one is kept, so that of keys in ascending order each node is read
/// once.
#[derive(Debug)]
pub struct Lookup<'a, B: ?Sized> {
    root: Option<Cid>,
    /// From the root down to the leaf that was read last.
    path: Vec<Placed>,
    blocks: &'a B,
}

impl<'a, B: Blocks + ?Sized> Lookup<'a, B> {
    /// Of a list at `root`.
    pub fn new(root: Option<Cid>, blocks: &'a B) -> Lookup<'a, B> {
        Lookup {
            root,
            path: Vec::new(),
            blocks,
        }
    }

    /// As [`row()`].
    ///
    /// # Errors
    /// As [`row()`].
    pub fn row(&mut self, key: &Key) -> Result<Option<Row>, TreeError> {
        let Some(root) = &self.root else {
            return Ok(None);
        };
        let holds = |node: &Placed| node.lower <= *key.raw() && node.is_below_upper(key.raw());
        while self.path.last().is_some_and(|node| !holds(node)) {
            self.path.pop();
        }
        if self.path.is_empty() {
            self.path.push(load_root(root, self.blocks)?);
        }
        while let Some(node) = self.path.last() {
            let Some(index) = node.node.position(key.as_bytes()) else {
                return Ok(None);
            };
            if node.node.level > 0 {
                let child = load_child(node, index, self.blocks)?;
                self.path.push(child);
                continue;
            }
            let item = &node.node.items[index];
            return if item.key == *key.raw() {
                decode(&node.cid, item).map(Some)
            } else {
                Ok(None)
            };
        }
        Ok(None)
    }
}

/// A part of a list, in the order of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// What is on the page.
    pub items: Vec<T>,
    /// Where the next page begins: pass it as `after`. `None` on the last page.
    pub next: Option<Key>,
}

impl<T> Default for Page<T> {
    fn default() -> Page<T> {
        Page {
            items: Vec::new(),
            next: None,
        }
    }
}

/// Lists labels whose keys begin with `prefix` and come after `after`, at most `limit` of them (and never
/// more than [`PAGE_ROWS`]). Removed labels are left out; a page can be short of `limit` because of them
/// and have a next one all the same.
///
/// # Errors
/// Asks for missing blocks and refuses blocks that are no nodes of a tree.
pub fn scan<B: Blocks + ?Sized>(
    root: Option<Cid>,
    prefix: &KeyPrefix,
    after: Option<&Key>,
    limit: usize,
    blocks: &B,
) -> Result<Page<Label>, TreeError> {
    let page = rows(root, prefix, after, limit, blocks)?;
    Ok(Page {
        items: page.items.into_iter().filter_map(|row| row.label).collect(),
        next: page.next,
    })
}

/// As [`scan`], with the stamps and with the rows of removed labels.
///
/// # Errors
/// As [`scan`].
pub fn rows<B: Blocks + ?Sized>(
    root: Option<Cid>,
    prefix: &KeyPrefix,
    after: Option<&Key>,
    limit: usize,
    blocks: &B,
) -> Result<Page<Row>, TreeError> {
    let mut page = Page::default();
    let Some(root) = root else {
        return Ok(page);
    };
    let limit = limit.clamp(1, PAGE_ROWS);
    let start = match after {
        Some(key) if key.raw() > prefix.raw() => *key.raw(),
        _ => *prefix.raw(),
    };
    let is_after = |key: &KeyBytes| after.is_none_or(|after| key > after.raw());
    let mut path: Vec<(Placed, usize)> = Vec::new();
    path.push(begin(load_root(&root, blocks)?, &start));
    while let Some((node, index)) = path.last_mut() {
        let Some(item) = node.node.items.get(*index) else {
            path.pop();
            continue;
        };
        let in_prefix = item.key.as_slice().starts_with(prefix.raw().as_slice());
        // A separator can be shorter than the prefix; it is past the prefix when it sorts above it.
        if !in_prefix && item.key > *prefix.raw() {
            break;
        }
        if node.node.level > 0 {
            let child = load_child(node, *index, blocks)?;
            *index += 1;
            path.push(begin(child, &start));
            continue;
        }
        if in_prefix && is_after(&item.key) {
            if page.items.len() == limit {
                page.next = page.items.last().map(|row: &Row| row.key);
                break;
            }
            page.items.push(decode(&node.cid, item)?);
        }
        *index += 1;
    }
    Ok(page)
}

/// The CIDs of all nodes below `root`, and the root's own: what must be kept for the list to be complete.
///
/// # Errors
/// Asks for missing blocks and refuses blocks that are no nodes of a tree.
pub fn blocks<B: Blocks + ?Sized>(root: Option<Cid>, blocks: &B) -> Result<Vec<Cid>, TreeError> {
    let Some(root) = root else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    let mut open = alloc::vec![load_root(&root, blocks)?];
    while let Some(node) = open.pop() {
        found.push(node.cid);
        if node.node.level == 1 {
            found.extend(node.node.items.iter().filter_map(|item| match item.body {
                Body::Child(cid) => Some(cid),
                Body::Row(_) => None,
            }));
        } else if node.node.level > 1 {
            for index in 0..node.node.items.len() {
                open.push(load_child(&node, index, blocks)?);
            }
        }
    }
    Ok(found)
}

/// A node and the first of its items that can hold keys from `start` on.
fn begin(node: Placed, start: &KeyBytes) -> (Placed, usize) {
    let index = node.node.position(start.as_slice()).unwrap_or(0);
    (node, index)
}

/// Reads the row of a leaf's item.
pub(super) fn decode(leaf: &Cid, item: &Item) -> Result<Row, TreeError> {
    let Body::Row(bytes) = &item.body else {
        unreachable!("the items of a leaf are rows")
    };
    let key = Key::parse(item.key.as_slice()).expect("a leaf was read with its keys checked");
    Row::decode(key, bytes).map_err(|source| TreeError::Node {
        cid: *leaf,
        source: Box::new(NodeError::Row(source)),
    })
}
