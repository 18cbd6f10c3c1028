//! `perennis store …`

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::OperatorNode;

/// Store commands.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// List what a node's store has lost, and what of it waits to be mended
    Losses(StoreLosses),
    /// Read everything in a stopped node's store and say what is wrong. It changes nothing
    Verify(StoreVerify),
    /// Make the index of a stopped node's store anew from its checkpoints, its files and its log
    Rebuild(StoreRebuild),
}

/// Where a node's store is.
#[derive(Debug, Args)]
pub(crate) struct StorePlace {
    /// Directory of the node's data [default: that of the configuration]
    #[arg(value_name = "DIR", conflicts_with = "data")]
    pub(crate) dir: Option<PathBuf>,
    /// The same
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// `store verify`.
#[derive(Debug, Args)]
pub(crate) struct StoreVerify {
    /// The store.
    #[command(flatten)]
    pub(crate) place: StorePlace,
}

/// `store rebuild`.
#[derive(Debug, Args)]
pub(crate) struct StoreRebuild {
    /// The store.
    #[command(flatten)]
    pub(crate) place: StorePlace,
}

/// `store losses`.
#[derive(Debug, Args)]
pub(crate) struct StoreLosses {
    /// Forget the losses: they were seen. What waits to be mended stays
    #[arg(long)]
    pub(crate) dismiss: bool,
    /// The store.
    #[command(flatten)]
    pub(crate) place: StorePlace,
    /// The node to ask, instead of looking into a directory.
    #[command(flatten)]
    pub(crate) node: OperatorNode,
}
