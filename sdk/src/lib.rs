//! Client of Perennis: publish, update, resolve, back up and restore an identity and its lists.
//!
//! One source compiles for native targets and for browsers. What differs between them lives in [`rt`]
//! and nowhere else: no other module names a platform.
//!
//! - [`client`]: the client itself: stage, publish, resolve, list, restore. Begin here.
//! - [`rt`]: sleep, deadlines, clock, randomness, tasks and HTTP, each with a native and a browser twin.
//! - [`store`]: the [`BlockStore`](store::BlockStore) a client keeps its blocks and its state in, and two
//!   implementations: in memory, and (feature `disk`) in a file.
//! - [`router`]: finding the newest record of a name, in one place or in many, never going back.
//! - [`exchange`]: fetching blocks by CID from sources that are not trusted.
//! - `net` (feature `net`): a libp2p peer: the DHT and bitswap.
//! - [`remote`]: what a server refuses, and when to ask it again.
//! - [`error`]: what a caller may do about an error.

pub mod client;
pub mod error;
pub mod exchange;
#[cfg(feature = "net")]
pub mod net;
mod node_url;
pub mod remote;
pub mod router;
pub mod rt;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;

pub use node_url::{NodeUrl, NodeUrlError};
