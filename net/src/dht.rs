//! Kademlia (libp2p specification `kad-dht`), on two networks as the Go implementation has them.
//!
//! Public addresses meet under `/ipfs/kad/1.0.0`, private and loopback ones under `/ipfs/lan/kad/1.0.0`, or under the names
//! of another [`DhtProtocol`]. The routing table is libp2p's, which is a client of the DHT and fills it; a copy of it
//! (`table`) and what is kept here (`records`) are what this peer knows (`local`). Others are answered from that on streams of
//! our own (`server`), through the door for protocols as any other. What we ask and put is ours too (`lookup`), over long
//! streams (`sender`). A record that others put here is parsed, verified and compared with the one that is stored *before* it
//! is acknowledged; one that is looked up is the best of a quorum, and peers that gave an older one are told the best.
//!
//! [`Dht`] is the handle; what it does runs in the caller's task.
//!
//! Must never touch: the swarm, or the disk. Stored records come through [`DhtStore`].

use std::time::Duration;

mod error;
mod handle;
mod keyspace;
mod local;
mod lookup;
mod providers;
mod quorum;
mod records;
mod sender;
mod server;
mod size;
mod store;
mod sweep;
mod table;

pub use crate::{
    network::{BadDhtProtocol, DhtProtocol, Network},
    peers::Contact,
};
pub use error::{DhtError, PutReport};
pub use handle::Dht;
pub use keyspace::{Point, point_of};
use local::Answer;
pub(crate) use local::Local;
pub use providers::Providers;
pub use quorum::QuorumRecord;
pub use records::{parse_key, record_key};
pub use sender::SendError;
use sender::Sender;
pub(crate) use server::{Server, protocol_of};
use size::Size;
pub use store::{DhtStore, MemoryDhtStore, StoredProvider, StoredRecord};
pub use sweep::{Mapped, Sweep};

/// Records of one name that are gathered before the best is taken, of the 20 closest peers.
pub const QUORUM: usize = 16;

/// Peers that a record is put to: the closest ones.
pub const REPLICAS: usize = 20;

/// How long a record or a provider is kept after it was put here (the specification's 48 hours).
pub const EXPIRY: Duration = Duration::from_secs(48 * 3_600);
