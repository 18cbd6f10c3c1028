//! The peer: libp2p, driven by one task.
//!
//! [`Net`] is a cheap handle. What it asks becomes a command with a reply channel, and one task owns the swarm and
//! answers: nothing locks the swarm, and nothing waits inside the task. What takes several steps (a lookup under a
//! quorum, a put to twenty peers) runs in the caller's task on top of the handle.
//!
//! The floors, lowest first; a room uses those below it and none above.
//!
//! | floor | rooms |
//! |---|---|
//! | what is told and asked | `address`, `network`, [`peers`], `status`, `error`, [`framing`], `memory_limit`, `transport`, `command` |
//! | the door for protocols | [`protocol`]: streams by name, with a handler on one side and bounds for strangers |
//! | protocols | [`dht`]: Kademlia on two networks, records with our own validation, provider records; [`bitswap`] and [`Blocks`]: exchanging blocks; [`pubsub`], above the DHT: records of followed names told by gossip |
//! | what a peer is told at its start | [`config`]: addresses, bootstrap, limits |
//! | the swarm | `swarm`: what is spoken, and the task |
//! | the handle | `net` |
//!
//! A protocol that is added, here or in another crate, goes through [`Net::accept`] and [`Net::open`]; the rooms above
//! the door stay as they are.
//!
//! Must never touch: a database, or what a record means beyond its validity. Stored records come through
//! [`dht::DhtStore`], stored blocks through [`Blocks`].

mod address;
pub mod bitswap;
mod blocks;
mod command;
pub mod config;
pub mod dht;
mod error;
pub mod framing;
mod memory_limit;
mod net;
mod network;
pub mod peers;
pub mod protocol;
pub mod pubsub;
mod status;
mod swarm;
mod transport;

pub use address::{AddressScope, scope_of};
pub use blocks::Blocks;
pub use config::{Bootstrap, DhtMode, NetConfig, NetLimits, PUBLIC_BOOTSTRAP};
pub use dht::Dht;
pub use error::{ConnectError, NetError, StartError};
pub use libp2p::{Multiaddr, PeerId, TransportError, identity::Keypair};
pub use net::Net;
pub use protocol::{AcceptError, Handler, OpenError, Protocol, Registration};
pub use pubsub::{Pubsub, PubsubConfig, PubsubError};
pub use status::NetStatus;
