//! The peer: libp2p, driven by one task.
//!
//! [`Net`] is a cheap handle. What it asks becomes a command with a reply channel, and one task owns the swarm and
//! answers: nothing locks the swarm, and nothing waits inside the task. What takes several steps (a lookup under a
//! quorum, a put to twenty peers) runs in the caller's task on top of the handle.
//!
//! - [`bitswap`]: exchanging blocks with peers.
//! - [`config`]: what a peer is told at its start: addresses, bootstrap, limits.
//! - [`dht`]: Kademlia on two networks, records with our own validation, provider records.
//! - [`pubsub`]: records of followed names told by gossip.
//! - [`peers`]: who is connected, from which address group, how it does.
//!
//! Must never touch: a database, or what a record means beyond its validity. Stored records come through
//! [`dht::DhtStore`], stored blocks through [`Blocks`].

mod address;
mod behaviour;
pub mod bitswap;
mod blocks;
mod command;
pub mod config;
pub mod dht;
mod framing;
mod handle;
mod memory_limit;
pub mod peers;
pub mod pubsub;
mod transport;
mod worker;

pub use address::{AddressScope, scope_of};
pub use blocks::Blocks;
pub use config::{Bootstrap, DhtMode, NetConfig, NetLimits, PUBLIC_BOOTSTRAP};
pub use handle::{ConnectError, Net, NetError, NetStatus, StartError};
pub use libp2p::{Multiaddr, PeerId, TransportError, identity::Keypair};
pub use pubsub::{Pubsub, PubsubConfig, PubsubError};
