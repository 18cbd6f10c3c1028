//! `perennis config …`, `record …`, `car …` and `dag …`: checks and conversions that need no home

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// Configuration commands.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say whether a node would start with this configuration, and show what it comes to
    Check(ConfigCheck),
}

/// `config check`.
#[derive(Debug, Args)]
pub(crate) struct ConfigCheck {
    /// Configuration file (TOML) [default: none: built-in values and the environment]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The same, without the flag
    #[arg(value_name = "FILE", conflicts_with = "config")]
    pub(crate) file: Option<PathBuf>,
}

/// Record commands.
#[derive(Debug, Subcommand)]
pub(crate) enum RecordCommand {
    /// Show what a record says, without judging it
    Inspect(RecordInspect),
    /// Check a record against its name: exit 0 or 3
    Verify(RecordVerify),
}

/// `record inspect`.
#[derive(Debug, Args)]
pub(crate) struct RecordInspect {
    /// The record (`-`: stdin)
    pub(crate) file: PathBuf,
}

/// `record verify`.
#[derive(Debug, Args)]
pub(crate) struct RecordVerify {
    /// The record (`-`: stdin)
    pub(crate) file: PathBuf,
    /// The IPNS name or DID it must be signed by
    #[arg(long)]
    pub(crate) name: String,
}

/// CAR commands.
#[derive(Debug, Subcommand)]
pub(crate) enum CarCommand {
    /// Check every block of a CAR file against its CID: exit 0 or 3
    Verify(CarVerify),
}

/// `car verify`.
#[derive(Debug, Args)]
pub(crate) struct CarVerify {
    /// The CAR file (`-`: stdin)
    pub(crate) file: PathBuf,
    /// Blocks that are linked need not all be in the file
    #[arg(long)]
    pub(crate) partial: bool,
}

/// IPLD commands.
#[derive(Debug, Subcommand)]
pub(crate) enum DagCommand {
    /// Convert between codecs; the output is canonical, input that is not of its codec exits with 3 (JSON may be spaced and in any order)
    Convert(DagConvert),
}

/// `dag convert`.
#[derive(Debug, Args)]
pub(crate) struct DagConvert {
    /// Codec of the input
    #[arg(long, value_enum)]
    pub(crate) from: DagCodec,
    /// Codec of the output
    #[arg(long, value_enum)]
    pub(crate) to: DagCodec,
    /// The input (`-`: stdin)
    #[arg(default_value = "-")]
    pub(crate) file: PathBuf,
    /// Write here instead of stdout
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Write over a file that is there
    #[arg(long)]
    pub(crate) force: bool,
}

/// An IPLD codec by its registered name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum DagCodec {
    /// DAG-CBOR
    #[value(name = "dag-cbor")]
    Cbor,
    /// DAG-JSON
    #[value(name = "dag-json")]
    Json,
    /// DAG-PB
    #[value(name = "dag-pb")]
    Pb,
}
