//! `perennis home …`

use clap::{Args, Subcommand};

/// What this home keeps.
#[derive(Debug, Subcommand)]
pub(crate) enum HomeCommand {
    /// Read everything this home keeps about its list, and say what is damaged
    Check(HomeCheck),
}

/// `home check`.
#[derive(Debug, Args)]
pub(crate) struct HomeCheck {
    /// Drop what is damaged and make anew what follows from the rest
    #[arg(long)]
    pub(crate) repair: bool,
}
