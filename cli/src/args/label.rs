//! `perennis label …`

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Nodes;

/// Label commands. Changes are staged without a passphrase; `publish` signs them.
#[derive(Debug, Subcommand)]
pub(crate) enum LabelCommand {
    /// Put labels on a handle
    Add(LabelAdd),
    /// Take labels off a handle
    Remove(LabelRemove),
    /// Take back the changes of the last command, or of the last publish
    Undo(LabelUndo),
    /// Drop all changes that wait to be published
    Discard,
    /// List labels, own or another identity's
    List(LabelList),
    /// Read labels from a table, taglist/v1 or other JSON, or a list of accounts
    Import(LabelImport),
    /// Write labels as CSV or taglist/v1 JSON
    Export(LabelExport),
    /// Prove what a list says about one label, to somebody who has only the file
    Prove(LabelProve),
    /// Check a proof about a label
    Verify(LabelVerify),
}

/// `label add`. What is not named stays as it is.
#[derive(Debug, Args)]
pub(crate) struct LabelAdd {
    /// The handle, with or without its @; or # and the account's number
    pub(crate) handle: String,
    /// Labels: lower-case letters, digits and hyphens
    #[arg(required = true, value_name = "LABEL")]
    pub(crate) labels: Vec<String>,
    /// A remark kept with the label
    #[arg(long)]
    pub(crate) note: Option<String>,
    /// A colour for the badge, as #rrggbb
    #[arg(long, value_name = "#RRGGBB")]
    pub(crate) colour: Option<String>,
    /// When the label ends: 90d, 12h, 4w, a date or an RFC 3339 time
    #[arg(long, value_name = "WHEN")]
    pub(crate) expires: Option<String>,
    /// The handle's numeric id, which survives a change of name
    #[arg(long = "user-id", value_name = "NUMBER")]
    pub(crate) user_id: Option<String>,
    /// The DID the label was learnt from
    #[arg(long, value_name = "DID")]
    pub(crate) source: Option<String>,
    /// State that the label does not apply
    #[arg(long)]
    pub(crate) negate: bool,
    /// Clear parts of a label that is there: note, colour, source, expires, user-id, negate
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    pub(crate) clear: Vec<String>,
}

/// `label undo`.
#[derive(Debug, Args)]
pub(crate) struct LabelUndo {
    /// Stage what makes the last publish as if it had not been
    #[arg(long)]
    pub(crate) published: bool,
}

/// `label remove`.
#[derive(Debug, Args)]
pub(crate) struct LabelRemove {
    /// The handle, with or without its @
    pub(crate) handle: String,
    /// Labels to take off
    #[arg(required_unless_present = "all", value_name = "LABEL")]
    pub(crate) labels: Vec<String>,
    /// Take every label off the handle
    #[arg(long, conflicts_with = "labels")]
    pub(crate) all: bool,
}

/// `label list`.
#[derive(Debug, Args)]
pub(crate) struct LabelList {
    /// Only the labels on this handle
    #[arg(value_name = "@HANDLE", conflicts_with = "prefix")]
    pub(crate) handle: Option<String>,
    /// Another identity's list, fetched and verified
    #[arg(long, value_name = "DID")]
    pub(crate) did: Option<String>,
    /// Where to fetch another identity's list.
    #[command(flatten)]
    pub(crate) nodes: Nodes,
    /// Handles that begin with this
    #[arg(long, value_name = "@PREFIX")]
    pub(crate) prefix: Option<String>,
    /// Go on behind the `next` of the page before
    #[arg(long, value_name = "CURSOR")]
    pub(crate) after: Option<String>,
    /// Labels on a page
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
    /// Every label, in as many pages as it takes
    #[arg(long, conflicts_with_all = ["limit", "after"])]
    pub(crate) all: bool,
}

/// `label import`.
#[derive(Debug, Args)]
pub(crate) struct LabelImport {
    /// The file (`-`: stdin)
    pub(crate) file: PathBuf,
    /// What the file is [default: by its name, else by its first byte]
    #[arg(long, value_enum)]
    pub(crate) format: Option<LabelFormat>,
    /// Only show what would change
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Leave out rows that are not valid instead of refusing the file
    #[arg(long)]
    pub(crate) skip_invalid: bool,
    /// The label for rows that name none
    #[arg(long, value_name = "LABEL")]
    pub(crate) label: Option<String>,
    /// Which field of the file is which column, such as handle=screen_name; fields that are not named are left out
    #[arg(long, value_name = "COLUMN=FIELD")]
    pub(crate) map: Vec<String>,
}

/// `label export`.
#[derive(Debug, Args)]
pub(crate) struct LabelExport {
    /// The file to write (`-`: stdout)
    #[arg(default_value = "-")]
    pub(crate) file: PathBuf,
    /// What to write [default: by the file's name, else CSV]
    #[arg(long, value_enum)]
    pub(crate) format: Option<LabelFormat>,
    /// Handles that begin with this
    #[arg(long, value_name = "@PREFIX")]
    pub(crate) prefix: Option<String>,
    /// Labels that have ended as well
    #[arg(long)]
    pub(crate) with_ended: bool,
    /// Write over a file that is there
    #[arg(long)]
    pub(crate) force: bool,
}

/// `label prove`.
#[derive(Debug, Args)]
pub(crate) struct LabelProve {
    /// The handle, with or without its @
    pub(crate) handle: String,
    /// The label
    pub(crate) label: String,
    /// The file to write (`-`: stdout)
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub(crate) out: PathBuf,
    /// Write over a file that is there
    #[arg(long)]
    pub(crate) force: bool,
    /// Another identity's list, fetched and verified
    #[arg(long, value_name = "DID")]
    pub(crate) did: Option<String>,
    /// Where to fetch another identity's list.
    #[command(flatten)]
    pub(crate) nodes: Nodes,
}

/// `label verify`.
#[derive(Debug, Args)]
pub(crate) struct LabelVerify {
    /// The file (`-`: stdin)
    pub(crate) file: PathBuf,
    /// Whose list the proof is about: a DID or an IPNS name
    #[arg(long, value_name = "DID")]
    pub(crate) did: String,
}

/// A file of labels.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum LabelFormat {
    /// Values separated by commas, semicolons, tabs or bars, or a list of accounts
    Csv,
    /// taglist/v1, or other JSON objects
    Json,
}
