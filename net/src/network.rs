//! The two networks of the DHT, and which addresses belong to each.

use libp2p::Multiaddr;

use crate::address::{AddressScope, scope_of};

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

    /// The protocol its peers speak.
    #[must_use]
    pub const fn protocol(self) -> &'static str {
        match self {
            Self::Public => "/ipfs/kad/1.0.0",
            Self::Lan => "/ipfs/lan/kad/1.0.0",
        }
    }

    /// Whether an address belongs to it. Peers that share a private network may meet at public addresses too.
    pub(crate) fn takes(self, address: &Multiaddr) -> bool {
        match self {
            Self::Public => scope_of(address) == AddressScope::Public,
            Self::Lan => true,
        }
    }
}
