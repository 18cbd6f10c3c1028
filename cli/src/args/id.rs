//! `perennis id …`

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Derivation;

/// Identity commands.
#[derive(Debug, Subcommand)]
pub(crate) enum IdCommand {
    /// Make an identity and keep its public facts in this home
    New(IdNew),
    /// Show which identity a passphrase gives; stores nothing
    Derive(IdDerive),
    /// Show the identity of this home
    Show,
}

/// `id new`: a passphrase that is not given is asked for; left empty, one is made and shown once.
#[derive(Debug, Args)]
pub(crate) struct IdNew {
    /// How the passphrase becomes the identity.
    #[command(flatten)]
    pub(crate) derivation: Derivation,
    /// Have a passphrase made without being asked for one
    #[arg(long)]
    pub(crate) generate: bool,
    /// Words of a generated passphrase
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u8).range(5..=24))]
    pub(crate) words: u8,
    /// Write a sheet to print: passphrase, DID and how to restore. FILE must not exist
    #[arg(long, value_name = "FILE")]
    pub(crate) recovery_sheet: Option<PathBuf>,
    /// Also keep the key in this home, sealed with the passphrase
    #[arg(long)]
    pub(crate) save: bool,
    /// Take a passphrase that can be guessed
    #[arg(long)]
    pub(crate) allow_weak: bool,
}

/// `id derive`.
#[derive(Debug, Args)]
pub(crate) struct IdDerive {
    /// How the passphrase becomes the identity.
    #[command(flatten)]
    pub(crate) derivation: Derivation,
}

/// A derivation profile by its name on the command line.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum ProfileName {
    /// scrypt N=2^15, constant salt: identities of the x.com extension
    V1,
    /// scrypt N=2^17, one key per purpose: the default
    V2,
}
