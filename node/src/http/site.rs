//! The node as HTTP serves it: its parts, and what answers under way share.

use std::ops::Deref;

use super::memory::AnswerMemory;
use crate::node::Node;

/// What handlers are given.
pub(crate) struct Site {
    node: Node,
    /// The memory of all answers under way.
    pub(super) answers: AnswerMemory,
}

impl Site {
    pub(crate) fn new(node: Node) -> Site {
        let answers = AnswerMemory::new(&node.config.http, node.metrics.answers.clone());
        Site { node, answers }
    }
}

impl Deref for Site {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}
