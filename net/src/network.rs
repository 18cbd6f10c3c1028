//! The two networks of the DHT, which addresses belong to each, and what is spoken in them.

use std::{fmt, str::FromStr, sync::Arc};

use libp2p::Multiaddr;

use crate::address::{AddressScope, scope_of};

/// Longest beginning of the names of a DHT's protocols, in bytes.
const PREFIX_BYTES: usize = 64;

/// What the name of the protocol of public networks ends in.
const ENDING: &str = "/kad/1.0.0";

/// One of the two networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Network {
    /// Peers with public addresses.
    Public,
    /// Peers on private and loopback addresses.
    Lan,
}

impl Network {
    /// Both.
    pub const ALL: [Network; 2] = [Network::Public, Network::Lan];

    /// Whether an address belongs to it. Peers that share a private network may meet at public addresses too.
    pub(crate) fn takes(self, address: &Multiaddr) -> bool {
        match self {
            Self::Public => scope_of(address) == AddressScope::Public,
            Self::Lan => true,
        }
    }
}

/// Which DHT it is: what the names of its protocols begin with (libp2p specification `kad-dht`, "Protocol ID"; the
/// `ProtocolPrefix` of the Go implementation). Peers with another one do not meet.
///
/// The DHT of IPFS, which is the default, begins with `/ipfs`. `/example` makes a private one, whose peers speak
/// `/example/kad/1.0.0` and, at private addresses, `/example/lan/kad/1.0.0`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DhtProtocol(Arc<str>);

impl DhtProtocol {
    /// The protocol that the peers of one network speak.
    #[must_use]
    pub fn name(&self, network: Network) -> String {
        format!("{}{ENDING}", self.beginning(network))
    }

    /// What comes before the last slash but one of the name.
    fn beginning(&self, network: Network) -> String {
        match network {
            Network::Public => self.0.to_string(),
            Network::Lan => format!("{}/lan", self.0),
        }
    }
}

impl Default for DhtProtocol {
    fn default() -> Self {
        Self("/ipfs".into())
    }
}

/// The beginning of the names.
impl fmt::Display for DhtProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The beginning, or the whole name of the protocol of public networks, which ends in `/kad/1.0.0`.
impl FromStr for DhtProtocol {
    type Err = BadDhtProtocol;

    fn from_str(text: &str) -> Result<Self, BadDhtProtocol> {
        let prefix = text.strip_suffix(ENDING).unwrap_or(text);
        let Some(parts) = prefix.strip_prefix('/') else {
            return Err(BadDhtProtocol);
        };
        let is_good =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic());
        if prefix.len() > PREFIX_BYTES || !parts.split('/').all(is_good) {
            return Err(BadDhtProtocol);
        }
        Ok(Self(prefix.into()))
    }
}

/// A text that names no [`DhtProtocol`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected the beginning of a protocol's name, such as /ipfs: a slash, then parts of visible ASCII with slashes between, 64 bytes at most"
)]
pub struct BadDhtProtocol;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn names_are_those_of_the_go_implementation() {
        let ipfs = DhtProtocol::default();
        assert_eq!(ipfs.name(Network::Public), "/ipfs/kad/1.0.0");
        assert_eq!(ipfs.name(Network::Lan), "/ipfs/lan/kad/1.0.0");
        for text in ["/an/example", "/an/example/kad/1.0.0"] {
            let own: DhtProtocol = text.parse().unwrap();
            assert_eq!(own.to_string(), "/an/example");
            assert_eq!(own.name(Network::Public), "/an/example/kad/1.0.0");
            assert_eq!(own.name(Network::Lan), "/an/example/lan/kad/1.0.0");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = format!("/{}", "x".repeat(PREFIX_BYTES));
        for text in [
            "",
            "/",
            "ipfs",
            "/ipfs/",
            "//ipfs",
            "/ip fs",
            "/é",
            "/kad/1.0.0",
            &long,
        ] {
            assert_eq!(text.parse::<DhtProtocol>(), Err(BadDhtProtocol), "{text:?}");
        }
    }
}
