//! Finding a node of one level and the one before it.

use alloc::{boxed::Box, collections::BTreeMap, rc::Rc, vec::Vec};
use core::cell::RefCell;

use super::{
    NodeError, TreeError,
    node::{Body, Item, Node},
};
use crate::{
    cid::Cid,
    taglist::{Blocks, key::KeyBytes},
};

/// A node with its place: it holds keys from `lower` up to `upper`.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) cid: Cid,
    pub(super) node: Rc<Node>,
    pub(super) lower: KeyBytes,
    pub(super) upper: Option<KeyBytes>,
}

impl Placed {
    /// Whether a key belongs here, given that it is not below `lower`.
    pub(super) fn is_below_upper(&self, key: &KeyBytes) -> bool {
        self.upper.is_none_or(|upper| *key < upper)
    }
}

/// Reads the root.
pub(super) fn load_root<B: Blocks + ?Sized>(root: &Cid, blocks: &B) -> Result<Placed, TreeError> {
    load(root, KeyBytes::EMPTY, None, None, blocks)
}

/// Reads the child at `index` of a branch.
pub(super) fn load_child<B: Blocks + ?Sized>(
    parent: &Placed,
    index: usize,
    blocks: &B,
) -> Result<Placed, TreeError> {
    let (cid, lower, upper) = child_of(parent, index);
    load(&cid, lower, upper, Some(parent.node.level - 1), blocks)
}

/// Name and range of the child at `index` of a branch.
fn child_of(parent: &Placed, index: usize) -> (Cid, KeyBytes, Option<KeyBytes>) {
    let Item { key, body } = &parent.node.items[index];
    let Body::Child(cid) = body else {
        unreachable!("only branches are descended into")
    };
    (*cid, *key, parent.node.upper_of(index, parent.upper))
}

/// Branches of one tree that have been read, so that a change which visits the tree once for each level
/// reads each of them once.
pub(super) struct Nodes<'a, B: ?Sized> {
    blocks: &'a B,
    branches: RefCell<BTreeMap<Cid, Rc<Node>>>,
}

impl<'a, B: Blocks + ?Sized> Nodes<'a, B> {
    pub(super) fn new(blocks: &'a B) -> Nodes<'a, B> {
        Nodes {
            blocks,
            branches: RefCell::new(BTreeMap::new()),
        }
    }

    fn child(&self, parent: &Placed, index: usize) -> Result<Placed, TreeError> {
        let (cid, lower, upper) = child_of(parent, index);
        // A node has one place in a tree, so what was read there is what would be read again.
        if let Some(node) = self.branches.borrow().get(&cid) {
            return Ok(Placed {
                cid,
                node: Rc::clone(node),
                lower,
                upper,
            });
        }
        let level = parent.node.level - 1;
        let placed = load(&cid, lower, upper, Some(level), self.blocks)?;
        if level > 0 {
            let mut branches = self.branches.borrow_mut();
            branches.insert(cid, Rc::clone(&placed.node));
        }
        Ok(placed)
    }
}

/// Reads a node that belongs between two keys and, except the root, to a known level.
pub(super) fn load<B: Blocks + ?Sized>(
    cid: &Cid,
    lower: KeyBytes,
    upper: Option<KeyBytes>,
    level: Option<u8>,
    blocks: &B,
) -> Result<Placed, TreeError> {
    let bytes = blocks.block(cid).ok_or(TreeError::Missing(*cid))?;
    let refused = |source| TreeError::Node {
        cid: *cid,
        source: Box::new(source),
    };
    let node = Node::decode(&bytes, &lower, upper.as_ref()).map_err(refused)?;
    if let Some(expected) = level
        && expected != node.level
    {
        let found = node.level;
        return Err(refused(NodeError::Level { expected, found }));
    }
    Ok(Placed {
        cid: *cid,
        node: Rc::new(node),
        lower,
        upper,
    })
}

/// Walks over the nodes of one level. The path from the root is kept, so that a step to a neighbour
/// does not start from the root again.
pub(super) struct Cursor<'a, B: ?Sized> {
    nodes: &'a Nodes<'a, B>,
    level: u8,
    /// From the root down to the parent of the node that was sought last.
    path: Vec<Placed>,
}

impl<'a, B: Blocks + ?Sized> Cursor<'a, B> {
    /// A cursor over `level`, which is not above the root's.
    pub(super) fn new(root: Placed, level: u8, nodes: &'a Nodes<'a, B>) -> Cursor<'a, B> {
        Cursor {
            nodes,
            level,
            path: alloc::vec![root],
        }
    }

    /// The node that holds `key` or would.
    pub(super) fn seek(&mut self, key: &KeyBytes) -> Result<Placed, TreeError> {
        self.descend(
            |node| node.lower <= *key && node.is_below_upper(key),
            |node| node.position(key.as_slice()),
        )
    }

    /// The node before the one that begins at `separator`, if there is one.
    pub(super) fn before(&mut self, separator: &KeyBytes) -> Result<Option<Placed>, TreeError> {
        if *separator == KeyBytes::EMPTY {
            return Ok(None);
        }
        self.descend(
            |node| node.lower < *separator && node.upper.is_none_or(|upper| *separator <= upper),
            |node| {
                let below = node.items.partition_point(|item| item.key < *separator);
                below.checked_sub(1)
            },
        )
        .map(Some)
    }

    /// Goes up until `holds`, then down to the level by `choose`.
    fn descend(
        &mut self,
        holds: impl Fn(&Placed) -> bool,
        choose: impl Fn(&Node) -> Option<usize>,
    ) -> Result<Placed, TreeError> {
        while self.path.len() > 1 && !self.path.last().is_some_and(&holds) {
            self.path.pop();
        }
        loop {
            let parent = self.path.last().expect("the root stays on the path");
            if parent.node.level == self.level {
                return Ok(parent.clone());
            }
            let index = choose(&parent.node).unwrap_or(0);
            let child = self.nodes.child(parent, index)?;
            if child.node.level == self.level {
                return Ok(child);
            }
            self.path.push(child);
        }
    }
}
