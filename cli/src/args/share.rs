//! `perennis publish`, `resolve`, `export`, `import` and `restore`

use std::path::PathBuf;

use clap::Args;

use super::{Derivation, Nodes, OneNode, OperatorNode, TokenArgs};

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
    /// Print its DID document; with --json the result of DID resolution
    #[arg(long)]
    pub(crate) document: bool,
    /// Whom to ask.
    #[command(flatten)]
    pub(crate) nodes: Nodes,
}

/// `export`.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The file to write the identity of this home into (`-`: stdout); or a CID or content path: then everything below it is written to --output
    #[arg(value_name = "FILE|CID")]
    pub(crate) what: PathBuf,
    /// Where the CAR file of a CID goes (`-`: stdout)
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    pub(crate) output: PathBuf,
    /// Write over a file that exists
    #[arg(long)]
    pub(crate) force: bool,
    /// The node to ask for a CID.
    #[command(flatten)]
    pub(crate) node: OneNode,
}

/// `import`.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// A CAR file of anybody (`-`: stdin): it goes to a node, which pins its roots; one that `export` wrote of an identity goes into
    /// this home, unless one of the flags below is given
    pub(crate) file: PathBuf,
    /// Pin the roots under this name
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Pin this CID in place of the roots that the file names; may be given several times
    #[arg(long = "root", value_name = "CID")]
    pub(crate) roots: Vec<String>,
    /// Keep what there is of a file that is cut off or damaged, or lacks blocks, and tell what is missing
    #[arg(long)]
    pub(crate) partial: bool,
    /// The node to ask.
    #[command(flatten)]
    pub(crate) node: OperatorNode,
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
