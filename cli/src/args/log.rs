//! `perennis log …` and `perennis diff`

use clap::{Args, Subcommand};

use super::{Nodes, TokenArgs};

/// Log commands.
#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// Show the signed entries, newest first
    Show(LogShow),
    /// Start a new log that holds the present labels only
    Compact(LogCompact),
}

/// `log show`.
#[derive(Debug, Args)]
pub(crate) struct LogShow {
    /// Another identity's log, fetched and verified
    #[arg(long, value_name = "DID")]
    pub(crate) did: Option<String>,
    /// Where to fetch another identity's log.
    #[command(flatten)]
    pub(crate) nodes: Nodes,
    /// Entries to show
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) limit: u32,
}

/// `log compact`.
#[derive(Debug, Args)]
pub(crate) struct LogCompact {
    /// Where the compacted log is published.
    #[command(flatten)]
    pub(crate) nodes: Nodes,
    /// What the node asks for.
    #[command(flatten)]
    pub(crate) token: TokenArgs,
}

/// `diff OLD NEW`.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// CID of the older log entry
    pub(crate) old: String,
    /// CID of the newer log entry, or `head` for the newest
    #[arg(default_value = "head")]
    pub(crate) new: String,
    /// Another identity's list
    #[arg(long, value_name = "DID")]
    pub(crate) did: Option<String>,
    /// Where blocks that are not in this home are fetched.
    #[command(flatten)]
    pub(crate) nodes: Nodes,
}
