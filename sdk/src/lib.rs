//! Client of Perennis: publish, update, resolve, back up and restore an identity and its lists.
//!
//! One source compiles for native targets and for browsers. What differs between them lives in [`perennis_rt`]
//! and nowhere else: no module here names a platform.
//!
//! - [`client`]: the client itself: stage, publish, resolve, list, restore. Begin here.
//! - [`store`]: the [`BlockStore`](store::BlockStore) a client keeps its blocks and its state in, and two
//!   implementations: in memory, and (feature `disk`) in a file.
//! - [`router`]: finding the newest record of a name, in one place or in many, never going back.
//! - [`exchange`]: fetching blocks by CID from sources that are not trusted.
//! - [`remote`]: what a server refuses, and when to ask it again.
//!
//! With the feature `net` a peer of `perennis-net` is a router of records and a source of blocks as well.

pub mod client;
pub mod exchange;
mod node_url;
pub mod remote;
pub mod router;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod tokens;

pub use node_url::{NodeUrl, NodeUrlError};
pub use tokens::{NodeTokens, TokenExposed};
