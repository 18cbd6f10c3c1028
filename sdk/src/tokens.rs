//! Which node is shown which token.

use std::collections::BTreeMap;

use perennis_shared::error::{ErrorKind, Retryable};

use crate::node_url::NodeUrl;
use crate::remote::BearerToken;

/// The bearer tokens of nodes. Each is shown to its own node alone, and to none where others on the way would read it.
#[derive(Clone, Debug, Default)]
pub struct NodeTokens(BTreeMap<NodeUrl, BearerToken>);

/// A token that would be read on the way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token would be sent to {node} without encryption")]
pub struct TokenExposed {
    /// The node.
    pub node: NodeUrl,
}

impl TokenExposed {
    /// A stable name for scripts and for JavaScript.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        "token_exposed"
    }
}

impl Retryable for TokenExposed {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Reject
    }
}

impl NodeTokens {
    /// Keeps the token of a node, in the place of one that it has.
    ///
    /// # Errors
    /// What is sent there goes without encryption, and not to this machine.
    pub fn insert(&mut self, node: NodeUrl, token: BearerToken) -> Result<(), TokenExposed> {
        if !node.is_confidential() {
            return Err(TokenExposed { node });
        }
        self.0.insert(node, token);
        Ok(())
    }

    /// That of a node.
    #[must_use]
    pub fn of(&self, node: &NodeUrl) -> Option<&BearerToken> {
        self.0.get(node)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_token_is_for_one_node_and_only_where_nobody_reads_it() {
        let url = |text: &str| text.parse::<NodeUrl>().unwrap();
        let token = || BearerToken::parse("0123456789abcdef").unwrap();
        let mut tokens = NodeTokens::default();
        for text in [
            "https://node.example",
            "http://127.0.0.1:4780",
            "http://[::1]:1",
        ] {
            tokens.insert(url(text), token()).unwrap();
            assert!(tokens.of(&url(text)).is_some(), "{text}");
        }
        // The same host over HTTP is another place.
        let exposed = url("http://node.example");
        assert!(tokens.insert(exposed.clone(), token()).is_err());
        assert!(tokens.of(&exposed).is_none());
        assert!(tokens.of(&url("https://node.example:4780")).is_none());
    }
}
