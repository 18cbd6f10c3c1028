//! `xtask bench`: figures, measured here and now against a peer in the same run where there is one.

use anyhow::{Result, bail};

/// Runs the named parts, or all.
///
/// # Errors
/// A part fails.
pub(crate) fn run(_arguments: &[String]) -> Result<()> {
    bail!("no part is there")
}
