//! `perennis node …`, `name …` and `pin …`

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::PinRemove;

/// Node commands.
#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Run a perpetual node until it is told to stop
    Run(NodeRun),
    /// Ask a running node how it is
    Status(NodeStatus),
    /// Look for what keeps a node from running well
    Doctor(NodeDoctor),
    /// Show how fast a node publishes and resolves through each route
    Probe(NodeProbe),
    /// Draw a token for somebody who calls the node, or list and remove those there are
    Token(NodeToken),
}

/// `node token`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct NodeToken {
    /// What is done with those there are.
    #[command(subcommand)]
    pub(crate) command: Option<NodeTokenCommand>,
    /// Whose token it is
    #[arg(required = true)]
    pub(crate) name: Option<String>,
    /// What it grants: read, publish, pin, admin, with commas between
    #[arg(
        long = "scope",
        value_name = "SCOPE,…",
        required = true,
        value_delimiter = ','
    )]
    pub(crate) scopes: Vec<String>,
    /// Write the token into this file instead of showing it
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Configuration file (TOML) of the node, which names the file of its tokens
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// `node token …`.
#[derive(Debug, Subcommand)]
pub(crate) enum NodeTokenCommand {
    /// List whose tokens there are, and what they grant
    List(NodeTokenList),
    /// Let a token grant nothing any more
    Remove(NodeTokenRemove),
}

/// `node token list`.
#[derive(Debug, Args)]
pub(crate) struct NodeTokenList {
    /// Configuration file (TOML) of the node
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// `node token remove`.
#[derive(Debug, Args)]
pub(crate) struct NodeTokenRemove {
    /// Whose token it is
    pub(crate) name: String,
    /// Configuration file (TOML) of the node
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// `node run`.
#[derive(Debug, Args)]
pub(crate) struct NodeRun {
    /// Directory of the node's data
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Address to serve HTTP on for everybody; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// Loopback address for the operator, where nothing asks for a token [default: 127.0.0.1:4783]; port 0 takes a free one, none
    /// turns it off
    #[arg(long, value_name = "ADDR:PORT|none")]
    pub(crate) admin_listen: Option<String>,
    /// Address of the path gateway for browsers, which is off without it; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) gateway_listen: Option<SocketAddr>,
    /// Address to listen on for other peers, or none; may be given several times
    #[arg(long, value_name = "MULTIADDR", num_args = 1..)]
    pub(crate) p2p_listen: Vec<String>,
    /// Peers to dial first: multiaddrs, none, or public
    #[arg(long, value_name = "MULTIADDR|none|public", num_args = 1..)]
    pub(crate) bootstrap: Vec<String>,
    /// Part in the DHT: server, client or off
    #[arg(long, value_name = "MODE")]
    pub(crate) dht: Option<String>,
    /// Whether records are told and heard by gossip: on or off
    #[arg(long, value_name = "on|off")]
    pub(crate) pubsub: Option<String>,
}

/// `node status`.
#[derive(Debug, Args)]
pub(crate) struct NodeStatus {
    /// The node to ask.
    #[command(flatten)]
    pub(crate) node: OperatorNode,
}

/// `node doctor`.
#[derive(Debug, Args)]
pub(crate) struct NodeDoctor {
    /// Directory of the node's data
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// `node probe`.
#[derive(Debug, Args)]
pub(crate) struct NodeProbe {
    /// Publish and resolve the node's canary name now, and wait for it
    #[arg(long)]
    pub(crate) now: bool,
    /// The node to ask.
    #[command(flatten)]
    pub(crate) node: OperatorNode,
}

/// Name commands.
#[derive(Debug, Subcommand)]
pub(crate) enum NameCommand {
    /// List the names a node keeps
    List(NameList),
    /// Show one name: until when it is alive and what happens next
    Show(NameShow),
    /// Keep somebody else's name alive: its record and all it points at
    Follow(NameFollow),
    /// End following a name
    Unfollow(NameUnfollow),
    /// Remove a name from a node for good: its record, its rungs and its pin
    Remove(NameRemove),
    /// Take a name again that was removed with --deny
    Allow(NameAllow),
}

/// `name remove`.
#[derive(Debug, Args)]
pub(crate) struct NameRemove {
    /// An IPNS name or a DID
    pub(crate) name: String,
    /// Take the name no more from then on
    #[arg(long)]
    pub(crate) deny: bool,
    /// Remove it without asking
    #[arg(long)]
    pub(crate) yes: bool,
    /// The node to ask.
    #[command(flatten)]
    pub(crate) node: OperatorNode,
}

/// `name allow`.
#[derive(Debug, Args)]
pub(crate) struct NameAllow {
    /// An IPNS name or a DID
    pub(crate) name: String,
    /// The node to ask.
    #[command(flatten)]
    pub(crate) node: OperatorNode,
}

/// `name follow`.
#[derive(Debug, Args)]
pub(crate) struct NameFollow {
    /// An IPNS name or a DID
    pub(crate) name: String,
    /// The name's record, where no router has it
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    /// CAR file with the blocks, and the record if it was made by `export`
    #[arg(long, value_name = "FILE")]
    pub(crate) car: Option<PathBuf>,
    /// Node or gateway that has the record and the blocks; may be given several times
    #[arg(long = "source", value_name = "URL")]
    pub(crate) sources: Vec<String>,
    /// The node to ask.
    #[command(flatten)]
    pub(crate) node: OperatorNode,
}

/// `name unfollow`.
#[derive(Debug, Args)]
pub(crate) struct NameUnfollow {
    /// An IPNS name or a DID
    pub(crate) name: String,
    /// The node to ask.
    #[command(flatten)]
    pub(crate) node: OperatorNode,
}

/// What is shown to a node.
#[derive(Debug, Default, Args)]
pub(crate) struct TokenArgs {
    /// File with a bearer token of the node, where it asks for one [env: PERENNIS_TOKEN_FILE]
    // The variable is read where the token is: whether the flag was given decides what some commands do.
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

/// `name list`.
#[derive(Debug, Args)]
pub(crate) struct NameList {
    /// List the names that were removed and are taken no more
    #[arg(long)]
    pub(crate) denied: bool,
    /// The node to ask.
    #[command(flatten)]
    pub(crate) node: OperatorNode,
    /// The page.
    #[command(flatten)]
    pub(crate) page: PageArgs,
}

/// `name show`.
#[derive(Debug, Args)]
pub(crate) struct NameShow {
    /// An IPNS name or a DID
    pub(crate) name: String,
    /// The node to ask.
    #[command(flatten)]
    pub(crate) node: OneNode,
}

/// Pin commands.
#[derive(Debug, Subcommand)]
pub(crate) enum PinCommand {
    /// List what a node has pinned
    List(PinList),
    /// Let go of a DAG that was fetched or imported
    Remove(PinRemove),
}

/// `pin list`.
#[derive(Debug, Args)]
pub(crate) struct PinList {
    /// List the DAGs that were fetched instead of the heads of names
    #[arg(long)]
    pub(crate) fetched: bool,
    /// List the roots of files that were imported instead of the heads of names
    #[arg(long, conflicts_with = "fetched")]
    pub(crate) imported: bool,
    /// The node to ask.
    #[command(flatten)]
    pub(crate) node: OperatorNode,
    /// The page.
    #[command(flatten)]
    pub(crate) page: PageArgs,
}

/// A command that asks one node.
#[derive(Debug, Args)]
pub(crate) struct OneNode {
    /// The node [default: the first one this home used, else http://127.0.0.1:4780]
    #[arg(long = "node", value_name = "URL")]
    pub(crate) url: Option<String>,
}

/// A command of a node's operator.
#[derive(Debug, Args)]
pub(crate) struct OperatorNode {
    /// The node: its admin listener, or its public one with a token [default: http://127.0.0.1:4783]
    #[arg(long = "node", value_name = "URL")]
    pub(crate) url: Option<String>,
    /// What it asks for.
    #[command(flatten)]
    pub(crate) token: TokenArgs,
}

/// One page of a long list.
#[derive(Debug, Args)]
pub(crate) struct PageArgs {
    /// Go on behind the `next` of the page before
    #[arg(long, value_name = "CURSOR")]
    pub(crate) after: Option<String>,
    /// Rows on a page
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) limit: u32,
}
