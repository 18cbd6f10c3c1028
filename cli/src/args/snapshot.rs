//! `perennis snapshot …`

use clap::{Args, Subcommand};

use super::OperatorNode;

/// Snapshot commands.
#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Let a running node write a snapshot of its store into its data folder
    Create(SnapshotCreate),
    /// List the snapshots in a node's data folder
    List(SnapshotList),
    /// Remove a snapshot
    Remove(SnapshotRemove),
}

/// `snapshot create`.
#[derive(Debug, Args)]
pub(crate) struct SnapshotCreate {
    /// Its name: letters, digits, `-`, `_` and `.` [default: the time]
    pub(crate) name: Option<String>,
    /// The node to ask.
    #[command(flatten)]
    pub(crate) node: OperatorNode,
}

/// `snapshot list`.
#[derive(Debug, Args)]
pub(crate) struct SnapshotList {
    /// The node to ask.
    #[command(flatten)]
    pub(crate) node: OperatorNode,
}

/// `snapshot remove`.
#[derive(Debug, Args)]
pub(crate) struct SnapshotRemove {
    /// Its name
    pub(crate) name: String,
    /// The node to ask.
    #[command(flatten)]
    pub(crate) node: OperatorNode,
}
