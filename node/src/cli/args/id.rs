//! `perennis id …`

use clap::{Args, Subcommand, ValueEnum};

use super::Derivation;

/// Identity commands.
#[derive(Debug, Subcommand)]
pub(crate) enum IdCommand {
    /// Show which identity a passphrase gives; stores nothing
    Derive(IdDerive),
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
