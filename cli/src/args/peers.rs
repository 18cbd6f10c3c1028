//! `perennis peers …`, `provide`, `providers` and `fetch`

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{OneNode, OperatorNode};

/// Peer commands.
#[derive(Debug, Subcommand)]
pub(crate) enum PeersCommand {
    /// List the peers a node is connected with
    List(PeersList),
    /// Connect a node to a peer
    Connect(PeersConnect),
    /// Close the connections with a peer and take none any more
    Ban(PeersBan),
    /// Speak with a banned peer again
    Unban(PeersBan),
}

/// `peers list`.
#[derive(Debug, Args)]
pub(crate) struct PeersList {
    /// The node to ask.
    #[command(flatten)]
    pub(crate) node: OperatorNode,
}

/// `peers connect`.
#[derive(Debug, Args)]
pub(crate) struct PeersConnect {
    /// The peer's address, ending in /p2p/ and its id
    pub(crate) address: String,
    /// The node to ask.
    #[command(flatten)]
    pub(crate) node: OperatorNode,
}

/// `peers ban` and `peers unban`.
#[derive(Debug, Args)]
pub(crate) struct PeersBan {
    /// The peer's id
    pub(crate) peer: String,
    /// The node to ask.
    #[command(flatten)]
    pub(crate) node: OperatorNode,
}

/// `provide`.
#[derive(Debug, Args)]
pub(crate) struct Provide {
    /// A block the node has
    pub(crate) cid: String,
    /// The node to ask.
    #[command(flatten)]
    pub(crate) node: OperatorNode,
}

/// `providers`.
#[derive(Debug, Args)]
pub(crate) struct Providers {
    /// The block
    pub(crate) cid: String,
    /// Stop at this many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) limit: u32,
    /// The node to ask.
    #[command(flatten)]
    pub(crate) node: OneNode,
}

/// `fetch`.
#[derive(Debug, Args)]
pub(crate) struct Fetch {
    /// The root of the DAG
    pub(crate) cid: String,
    /// A peer to ask, its id at the end of the address
    #[arg(long, value_name = "MULTIADDR")]
    pub(crate) peer: Option<String>,
    /// Also write the DAG into this file (CARv1), each block verified once more
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Write over a file that is there
    #[arg(long, requires = "out")]
    pub(crate) force: bool,
    /// The node to ask.
    #[command(flatten)]
    pub(crate) node: OperatorNode,
}

/// `pin remove`.
#[derive(Debug, Args)]
pub(crate) struct PinRemove {
    /// The root of a DAG that was fetched or imported, in any form of its CID
    pub(crate) cid: String,
    /// Remove only the pin of this name; without it all pins of the root
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The node to ask.
    #[command(flatten)]
    pub(crate) node: OperatorNode,
}
