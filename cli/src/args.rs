//! The command tree and its global flags, as clap reads them.
//!
//! Every public word of the command line stands here or in the files below: one file per group of
//! commands. Nothing here does any work. A secret is never an argument: only the name of a file that
//! holds it is.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

mod check;
mod home;
mod id;
mod label;
mod log;
mod node;
mod peers;
mod share;
mod snapshot;
mod store;

pub(crate) use check::{
    CarCommand, CarVerify, ConfigCheck, ConfigCommand, DagCodec, DagCommand, DagConvert,
    RecordCommand, RecordInspect, RecordVerify,
};
pub(crate) use home::{HomeCheck, HomeCommand};
pub(crate) use id::{IdCommand, IdDerive, IdNew, ProfileName};
pub(crate) use label::{
    LabelAdd, LabelCommand, LabelExport, LabelFormat, LabelImport, LabelList, LabelProve,
    LabelRemove, LabelUndo, LabelVerify,
};
pub(crate) use log::{Diff, LogCommand, LogCompact, LogShow};
pub(crate) use node::{
    NameAllow, NameCommand, NameFollow, NameList, NameRemove, NameShow, NameUnfollow, NodeCommand,
    NodeDoctor, NodeProbe, NodeRun, NodeStatus, NodeToken, NodeTokenCommand, OneNode, OperatorNode,
    PageArgs, PinCommand, PinList, TokenArgs,
};
pub(crate) use peers::{
    Fetch, PeersBan, PeersCommand, PeersConnect, PeersList, PinRemove, Provide, Providers,
};
pub(crate) use share::{Export, Import, Publish, Resolve, Restore};
pub(crate) use snapshot::{SnapshotCommand, SnapshotCreate, SnapshotList, SnapshotRemove};
pub(crate) use store::{StoreCommand, StoreLosses, StorePlace, StoreRebuild, StoreVerify};

/// Keeps an identity and its lists alive after the tab closes.
///
/// A passphrase is the identity: the same words give the same DID on every device. Labels are kept in
/// a signed list; `publish` hands it to perpetual nodes that go on serving it, and `restore` brings
/// everything back from the passphrase alone.
#[derive(Debug, Parser)]
#[command(name = "perennis", version, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    /// Flags every command takes.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0 done, 1 failed, 2 usage, 3 invalid (a check said no), 4 not found,
5 not reachable now (a retry may help).

First steps:
  perennis node run --data ./node-data          a perpetual node on 127.0.0.1:4780
  perennis id new                               an identity from a new passphrase
  perennis label add @handle spam --expires 90d
  perennis publish";

/// Flags every command takes, before or after its name.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Directory of this user's identity, list and settings [default: ~/.perennis]
    #[arg(long, global = true, env = "PERENNIS_HOME", value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// Print one JSON document (or one per line for streams) on stdout
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print no progress and no remarks
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Say more on stderr; twice for every detail
    #[arg(long, short, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Read the passphrase from FILE (`-`: stdin); one newline at its end, and a byte order mark, are not part of it
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// The passphrase has more than one line
    #[arg(long, global = true, requires = "passphrase_file")]
    pub(crate) passphrase_lines: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make, derive or show an identity
    #[command(subcommand)]
    Id(IdCommand),
    /// Change and read the list of labels
    #[command(subcommand)]
    Label(LabelCommand),
    /// Sign what was changed and store it durably on perpetual nodes
    Publish(Publish),
    /// Find the newest state of an identity
    Resolve(Resolve),
    /// Read or compact the signed log
    #[command(subcommand)]
    Log(LogCommand),
    /// Show what changed between two states of a list
    Diff(Diff),
    /// Write the whole identity, or the DAG below a CID, as one CAR file
    Export(Export),
    /// Give a CAR file to a node, which pins its roots; or read an identity that was exported into this home
    Import(Import),
    /// Bring everything back from the passphrase alone
    Restore(Restore),
    /// Look after what this home keeps
    #[command(subcommand)]
    Home(HomeCommand),
    /// Run a perpetual node, or ask how it is
    #[command(subcommand)]
    Node(NodeCommand),
    /// Look into a node's store: what is damaged, and what is lost
    #[command(subcommand)]
    Store(StoreCommand),
    /// Snapshots of a node's store
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Names a node keeps alive
    #[command(subcommand)]
    Name(NameCommand),
    /// What a node has pinned
    #[command(subcommand)]
    Pin(PinCommand),
    /// A node's peers
    #[command(subcommand)]
    Peers(PeersCommand),
    /// Tell the DHT that a node has a block
    Provide(Provide),
    /// Find the peers that say they have a block
    Providers(Providers),
    /// Let a node fetch a DAG from peers, and keep it
    Fetch(Fetch),
    /// Check a node's configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Look into an IPNS record
    #[command(subcommand)]
    Record(RecordCommand),
    /// Check a CAR file
    #[command(subcommand)]
    Car(CarCommand),
    /// Convert IPLD data
    #[command(subcommand)]
    Dag(DagCommand),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page of a command, or write those of all
    Man(ManArgs),
}

/// `man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// The command, such as `label add` [default: perennis itself]
    #[arg(value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
    /// Write the pages of all commands into DIR
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub(crate) all: Option<PathBuf>,
}

/// The nodes a command talks to.
#[derive(Debug, Args)]
pub(crate) struct Nodes {
    /// A perpetual node; may be given several times. Default: the nodes this home used before, else
    /// http://127.0.0.1:4780
    #[arg(long = "node", value_name = "URL")]
    pub(crate) urls: Vec<String>,
}

/// How the passphrase becomes an identity, where the home does not know it yet.
#[derive(Debug, Args)]
pub(crate) struct Derivation {
    /// Derivation profile: v2, or v1 for identities of the x.com extension
    #[arg(long, value_enum, value_name = "PROFILE")]
    pub(crate) profile: Option<ProfileName>,
    /// Account name mixed into the derivation (v2). Without it the passphrase alone is the identity
    #[arg(long, value_name = "NAME")]
    pub(crate) account: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_tree_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_flags_stand_anywhere() {
        for line in [
            "perennis --json --home /h label list --limit 3",
            "perennis label list --limit 3 --json --home /h",
            "perennis label --json list --home /h --limit 3",
        ] {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            assert!(cli.global.json);
            assert_eq!(cli.global.home, Some(PathBuf::from("/h")));
        }
    }

    /// Every command that asks a node over HTTP for what is not for everybody.
    const WITH_TOKEN: &[&str] = &[
        "fetch",
        "import",
        "log compact",
        "name allow",
        "name follow",
        "name list",
        "name remove",
        "name unfollow",
        "node probe",
        "node status",
        "peers ban",
        "peers connect",
        "peers list",
        "peers unban",
        "pin list",
        "pin remove",
        "provide",
        "publish",
        "snapshot create",
        "snapshot list",
        "snapshot remove",
        "store losses",
    ];

    #[test]
    fn every_command_for_which_a_node_may_want_a_token_takes_one() {
        fn walk(command: &clap::Command, path: &str, found: &mut Vec<String>) {
            for command in command.get_subcommands() {
                let path = format!("{path} {}", command.get_name());
                if command
                    .get_arguments()
                    .any(|argument| argument.get_id() == "token_file")
                {
                    found.push(path.trim_start().to_owned());
                }
                walk(command, &path, found);
            }
        }
        let mut found = Vec::new();
        walk(&Cli::command(), "", &mut found);
        found.sort();
        assert_eq!(found, WITH_TOKEN);
    }

    #[test]
    fn no_argument_takes_a_secret() {
        fn walk(command: &clap::Command) {
            for argument in command.get_arguments() {
                let id = argument.get_id().as_str();
                let takes_value = argument.get_action().takes_values();
                let secret = ["passphrase", "password", "secret", "seed", "key"]
                    .iter()
                    .any(|word| id.contains(word));
                assert!(
                    !(secret && takes_value) || id.ends_with("_file"),
                    "{} {id} takes a secret as its value",
                    command.get_name()
                );
            }
            command.get_subcommands().for_each(walk);
        }
        walk(&Cli::command());
    }
}
