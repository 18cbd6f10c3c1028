//! Exchanging blocks with peers: `/ipfs/bitswap/1.2.0` (Bitswap Protocol specification).
//!
//! [`Behaviour`] is a part of the swarm; [`Handle`] asks it for blocks from anywhere. It owns who wants what, in both
//! directions, and when it is sent; it never stores a block, and never hands one over before it has been hashed.
//!
//! - `client` and `peers`: what we want and whom we ask; `server`: what peers want of us. Both are step machines
//!   without clock or I/O; this file drives them.
//! - `handler` and `frame`: one connection, in its own task; `budget` bounds what peers make us hold.
//! - `handle`: sessions and single blocks; `source`: where the blocks that peers want are read.
//!
//! Hashing is done on threads for blocking work and reading in tasks of their own: the swarm's task only moves handles to
//! bytes. Every queue is bounded, in entries or in bytes, by [`Config`].

mod behaviour;
mod budget;
mod client;
mod error;
mod frame;
mod handle;
mod handler;
mod outbox;
mod peers;
mod server;
mod source;

use std::time::Duration;

use libp2p::PeerId;

pub use behaviour::Behaviour;
pub use client::Counts;
pub use error::BitswapError;
pub use frame::ReadError;
pub use handle::{Handle, Session, Wanted};
pub use handler::SendError;
pub use source::{BlockSource, NoBlocks};

/// Bounds of the exchange.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Wants kept of one peer, in entries. More push out what is not here, then what is least urgent.
    pub wants_per_peer: usize,
    /// Batches of blocks read at once, for all peers.
    pub reads: usize,
    /// Blocks of one message and of one batch that is read, in bytes. A single block may be larger.
    pub message_bytes: usize,
    /// Blocks read and not sent yet for one peer, in bytes.
    pub peer_bytes: usize,
    /// Blocks read and not sent yet for all peers, in bytes. Peers for whom none are held may have as much again.
    pub serve_bytes: usize,
    /// Messages of one peer that are received or not hashed yet, in bytes. Never less than the largest
    /// message and the first parts of all that are read at once.
    pub receive_peer_bytes: usize,
    /// Messages of all peers that are received or not hashed yet, in bytes.
    pub receive_bytes: usize,
    /// Streams one connection may open to us, beside one for each answer that is waited for. More are reset, and what they may have
    /// carried is asked for once more.
    pub inbound_streams: usize,
    /// Time in which a message that is being sent or received must move.
    pub stall: Duration,
    /// Blocks wanted at once, of all sessions.
    pub wants: usize,
    /// Blocks one peer is asked for at once, fewer where they are large: about 16 MiB of them. The Go implementation keeps 1,024 wants of a peer.
    pub asks_per_peer: usize,
    /// Time after which a want ends when nothing comes for its session. While other blocks come, it ends when its peers were asked six
    /// times, which takes at least three minutes.
    pub want_timeout: Duration,
    /// Each time a peer has sent so many blocks that nobody asked it for, [`Event::Unrequested`] says so.
    pub unrequested: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            wants_per_peer: 2_048,
            reads: 8,
            message_bytes: 1 << 20,
            peer_bytes: 4 << 20,
            serve_bytes: 32 << 20,
            receive_peer_bytes: 8 << 20,
            receive_bytes: 48 << 20,
            inbound_streams: 64,
            stall: Duration::from_secs(15),
            wants: 16_384,
            asks_per_peer: 512,
            want_timeout: Duration::from_secs(30),
            unrequested: 64,
        }
    }
}

/// What the owner of the swarm may want to act on: by closing the connection, or banning the peer.
#[non_exhaustive]
#[derive(Debug)]
pub enum Event {
    /// A peer sent what is no message. That stream was dropped.
    Garbage {
        /// Who sent it.
        peer: PeerId,
        /// What was wrong with it.
        error: ReadError,
    },
    /// A peer has sent another lot of blocks that nobody asked it for. They were dropped.
    Unrequested {
        /// Who sent them.
        peer: PeerId,
        /// How many since it connected.
        blocks: u64,
    },
    /// A wantlist was longer than a message may hold. The rest was left out.
    TooManyWants {
        /// Who sent it.
        peer: PeerId,
        /// How many entries were left out.
        left_out: usize,
    },
    /// Nothing can be sent to a peer: it does not speak the protocol, or takes no bytes. It is not asked for
    /// anything until it sends something or connects anew.
    Unreachable {
        /// Who it is.
        peer: PeerId,
        /// What happened.
        error: SendError,
    },
}
