//! cargo-deny over deny.toml. The advisory database needs a network of its own, so `advisories` is for people
//! (`cargo deny check advisories`) and not part of the tests.

use anyhow::Result;

use crate::{
    setup::{self, Need},
    shell, tools,
};

/// Installs cargo-deny where it lacks and runs it.
///
/// # Errors
/// It cannot be installed, or it found something.
pub(crate) fn run() -> Result<()> {
    setup::run(&[Need::CargoDeny])?;
    let mut deny = shell::command(tools::CARGO_DENY.program("cargo-deny"));
    deny.args([
        "--locked",
        "--workspace",
        "--all-features",
        "check",
        "--hide-inclusion-graph",
        "licenses",
        "bans",
        "sources",
    ]);
    shell::run(&mut deny)
}
