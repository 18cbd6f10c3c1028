//! Comparing two trees without reading what they share.

use alloc::{boxed::Box, vec::Vec};
use core::cmp::Ordering;

use bytes::Bytes;

use super::{NodeError, Page, TreeError, cursor::load, node::Body};
use crate::{
    cid::Cid,
    limits::PAGE_ROWS,
    taglist::{Blocks, Key, Label, Row, key::KeyBytes},
};

/// A label that differs between two lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which label on which handle.
    pub key: Key,
    /// The label in the older list; `None` when it was added.
    pub before: Option<Label>,
    /// The label in the newer list; `None` when it was removed.
    pub after: Option<Label>,
}

/// A part of the differences, in the order of keys.
pub type DiffPage = Page<Change>;

/// Lists what changed from `old` to `new` after the key `after`, at most `limit` changes (and never more
/// than [`PAGE_ROWS`]). Nodes that both lists share are not read.
///
/// # Errors
/// Asks for missing blocks and refuses blocks that are no nodes of a tree.
pub fn diff<B: Blocks + ?Sized>(
    old: Option<Cid>,
    new: Option<Cid>,
    after: Option<&Key>,
    limit: usize,
    blocks: &B,
) -> Result<DiffPage, TreeError> {
    let limit = limit.clamp(1, PAGE_ROWS);
    let mut page = DiffPage::default();
    differences(old, new, after, blocks, &mut |key, before, after| {
        let before = before.and_then(|row| row.label);
        let after = after.and_then(|row| row.label);
        if before == after {
            return true;
        }
        if page.items.len() == limit {
            page.next = page.items.last().map(|change: &Change| change.key);
            return false;
        }
        page.items.push(Change { key, before, after });
        true
    })?;
    Ok(page)
}

/// Calls `each` with every key whose rows differ and both rows, in the order of keys, until it says no.
pub(crate) fn differences<B: Blocks + ?Sized>(
    old: Option<Cid>,
    new: Option<Cid>,
    after: Option<&Key>,
    blocks: &B,
    each: &mut dyn FnMut(Key, Option<Row>, Option<Row>) -> bool,
) -> Result<(), TreeError> {
    let after = after.map(|key| *key.raw());
    let mut old = Side::new(old, after, blocks);
    let mut new = Side::new(new, after, blocks);
    loop {
        let order = match (old.stack.last(), new.stack.last()) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => {
                if a.is_same(b) {
                    old.stack.pop();
                    new.stack.pop();
                    continue;
                }
                match a.lower.cmp(&b.lower) {
                    // What begins at one key is opened from the top, until both are rows.
                    Ordering::Equal => match a.level().cmp(&b.level()) {
                        Ordering::Greater => Ordering::Less,
                        Ordering::Less => Ordering::Greater,
                        Ordering::Equal => Ordering::Equal,
                    },
                    order => order,
                }
            }
        };
        let (left, right) = match order {
            Ordering::Less => (old.step()?, None),
            Ordering::Greater => (None, new.step()?),
            Ordering::Equal => (old.step()?, new.step()?),
        };
        let Some(key) = left.as_ref().or(right.as_ref()).map(|row| row.key) else {
            continue;
        };
        if after.is_some_and(|after| *key.raw() <= after) {
            continue;
        }
        if !each(key, left, right) {
            return Ok(());
        }
    }
}

/// What is left of one of the two lists: nodes not yet read and rows, the next one on top.
struct Side<'a, B: ?Sized> {
    blocks: &'a B,
    after: Option<KeyBytes>,
    stack: Vec<Span>,
}

/// A node that has not been read, or a row.
struct Span {
    lower: KeyBytes,
    content: Content,
}

enum Content {
    Node {
        cid: Cid,
        upper: Option<KeyBytes>,
        /// Unknown for the root until it is read.
        level: Option<u8>,
    },
    Row {
        leaf: Cid,
        bytes: Bytes,
    },
}

impl Span {
    /// How high the span is: 0 for a row, 1 for a leaf; the root is above everything.
    fn level(&self) -> usize {
        match self.content {
            Content::Row { .. } => 0,
            Content::Node { level, .. } => level.map_or(usize::MAX, |level| usize::from(level) + 1),
        }
    }

    fn is_same(&self, other: &Span) -> bool {
        match (&self.content, &other.content) {
            (Content::Node { cid: a, .. }, Content::Node { cid: b, .. }) => a == b,
            (Content::Row { bytes: a, .. }, Content::Row { bytes: b, .. }) => {
                self.lower == other.lower && a == b
            }
            _ => false,
        }
    }
}

impl<'a, B: Blocks + ?Sized> Side<'a, B> {
    fn new(root: Option<Cid>, after: Option<KeyBytes>, blocks: &'a B) -> Side<'a, B> {
        let stack = root.into_iter().map(|cid| Span {
            lower: KeyBytes::EMPTY,
            content: Content::Node {
                cid,
                upper: None,
                level: None,
            },
        });
        Side {
            blocks,
            after,
            stack: stack.collect(),
        }
    }

    /// Takes the next span: a row is returned, a node is replaced by what it holds.
    fn step(&mut self) -> Result<Option<Row>, TreeError> {
        let Some(span) = self.stack.pop() else {
            return Ok(None);
        };
        let (cid, upper, level) = match span.content {
            Content::Node { cid, upper, level } => (cid, upper, level),
            Content::Row { leaf, bytes } => {
                let key = Key::parse(span.lower.as_slice()).expect("a leaf checks its keys");
                let row = Row::decode(key, &bytes).map_err(|source| TreeError::Node {
                    cid: leaf,
                    source: Box::new(NodeError::Row(source)),
                })?;
                return Ok(Some(row));
            }
        };
        let placed = load(&cid, span.lower, upper, level, self.blocks)?;
        let below = placed.node.level.checked_sub(1);
        for (index, item) in placed.node.items.iter().enumerate().rev() {
            let upper = placed.node.upper_of(index, placed.upper);
            let is_past = self
                .after
                .is_some_and(|after| upper.is_some_and(|upper| upper <= after));
            if is_past {
                break;
            }
            let content = match &item.body {
                Body::Child(cid) => Content::Node {
                    cid: *cid,
                    upper,
                    level: below,
                },
                Body::Row(bytes) => Content::Row {
                    leaf: cid,
                    bytes: bytes.clone(),
                },
            };
            self.stack.push(Span {
                lower: item.key,
                content,
            });
        }
        Ok(None)
    }
}
