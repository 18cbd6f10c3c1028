//! The node as HTTP serves it: its parts, and what answers under way share.

use std::ops::Deref;

use super::memory::AnswerMemory;
use crate::node::Node;

/// What handlers are given.
pub(crate) struct Service {
    node: Node,
    /// The memory of all answers under way.
    pub(super) answers: AnswerMemory,
}

impl Service {
    pub(crate) fn new(node: Node) -> Service {
        let answers = AnswerMemory::new(&node.config.http, node.metrics.answers.clone());
        Service { node, answers }
    }
}

impl Deref for Service {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}
