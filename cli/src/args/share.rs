//! `perennis publish`, `resolve`, `export`, `import` and `restore`

use std::path::PathBuf;

use clap::Args;

use super::{Derivation, Nodes, TokenArgs};

/// `publish`: asks for the passphrase once, signs one entry and one record.
#[derive(Debug, Args)]
pub(crate) struct Publish {
    /// Where to publish.
    #[command(flatten)]
    pub(crate) nodes: Nodes,
    /// What the node asks for.
    #[command(flatten)]
    pub(crate) token: TokenArgs,
    /// How long the record is valid: 90d, 12h, 4w; signs a record also with nothing staged [default: 90d]
    #[arg(long, value_name = "TIME")]
    pub(crate) lifetime: Option<String>,
    /// How long resolvers may cache the record; signs one also with nothing staged [default: 5m]
    #[arg(long, value_name = "TIME")]
    pub(crate) ttl: Option<String>,
    /// Records that nodes keep back and release one by one while nothing new is published: number x time between them; signs a
    /// record also with nothing staged [default: 12x30d]
    #[arg(long, value_name = "NxTIME", conflicts_with = "no_ladder")]
    pub(crate) ladder: Option<String>,
    /// Let the name end with the record; signs one also with nothing staged
    #[arg(long)]
    pub(crate) no_ladder: bool,
    /// Keep the whole log, also where most of what it records is dead
    #[arg(long)]
    pub(crate) keep_log: bool,
    /// How the passphrase becomes an identity, in a home that has none.
    #[command(flatten)]
    pub(crate) derivation: Derivation,
}

/// `resolve`.
#[derive(Debug, Args)]
pub(crate) struct Resolve {
    /// A DID or an IPNS name [default: the identity of this home]
    #[arg(value_name = "DID")]
    pub(crate) did: Option<String>,
    /// Whom to ask.
    #[command(flatten)]
    pub(crate) nodes: Nodes,
}

/// `export`.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The CAR file to write (`-`: stdout)
    pub(crate) file: PathBuf,
    /// Write over a file that exists
    #[arg(long)]
    pub(crate) force: bool,
}

/// `import`.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The CAR file to read
    pub(crate) file: PathBuf,
}

/// `restore`.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// Whom to ask.
    #[command(flatten)]
    pub(crate) nodes: Nodes,
    /// How the passphrase becomes the identity; without a profile v2 is tried, then v1.
    #[command(flatten)]
    pub(crate) derivation: Derivation,
}
