//! The node as HTTP serves it: its parts, and what answers under way share.

use std::ops::Deref;

use super::forwarded::Notice;
use super::memory::AnswerMemory;
use crate::node::Node;

/// What handlers are given.
pub(crate) struct Service {
    node: Node,
    /// The memory of all answers under way.
    pub(super) answers: AnswerMemory,
    /// Where the operator calls, where that is anywhere.
    pub(super) admin: Option<String>,
    /// Told where a proxy is that the configuration does not name.
    pub(super) proxy_notice: Notice,
}

impl Service {
    pub(crate) fn new(node: Node, admin: Option<String>) -> Service {
        let answers = AnswerMemory::new(&node.config.http, node.metrics.answers.clone());
        Service {
            node,
            answers,
            admin,
            proxy_notice: Notice::new(),
        }
    }
}

impl Deref for Service {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}
