//! Kademlia (libp2p specification `kad-dht`), on two networks as the Go implementation has them.
//!
//! Public addresses meet under `/ipfs/kad/1.0.0`, private and loopback ones under `/ipfs/lan/kad/1.0.0`. The routing
//! table and the answers to others are libp2p's. What we ask and put is ours (`lookup`), over long streams (`sender`).
//! A record that others put here is parsed, verified and compared with the one that is kept *before* it is
//! acknowledged (`records`); one that is looked up is the best of a quorum, and peers that gave an older one are told
//! the best.

use std::time::Duration;

use libp2p::Multiaddr;

use super::address::{AddressScope, scope_of};

mod ask;
mod keyspace;
mod lookup;
mod provide;
mod records;
mod sender;
mod size;
mod store;
mod sweep;

pub use super::command::Contact;
pub use ask::{DhtError, Found, PutReport};
pub use keyspace::{Point, point_of};
pub use provide::Providers;
pub(super) use records::Records;
pub use records::{parse_key, record_key};
pub use sender::SendError;
pub(super) use sender::Sender;
pub(super) use size::Size;
pub use store::{DhtStore, MemoryDhtStore, StoredProvider, StoredRecord};
pub use sweep::{Mapped, Sweep};

/// Records of one name that are gathered before the best is taken, of the 20 closest peers.
pub const QUORUM: usize = 16;

/// Peers that a record is put to: the closest ones.
pub const REPLICAS: usize = 20;

/// How long a record or a provider is kept after it was put here (the specification's 48 hours).
pub const EXPIRY: Duration = Duration::from_secs(48 * 3_600);

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
    pub(super) fn takes(self, address: &Multiaddr) -> bool {
        match self {
            Self::Public => scope_of(address) == AddressScope::Public,
            Self::Lan => true,
        }
    }
}
