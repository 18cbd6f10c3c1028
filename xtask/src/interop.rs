//! Interoperation with Kubo and Helia: installs them where it can, and runs the cases, which are a program of `tests`.

use std::process::Command;

use anyhow::Result;

use crate::{peers, product, shell};

/// Runs the cases; arguments go to the program: `--check` leaves docs/INTEROP.md as it is, and then `-- WORD…` chooses cases.
///
/// # Errors
/// Something cannot be built or installed, or a case fails.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    shell::run(program()?.args(arguments))
}

/// The program that runs them, told where the peers are that this machine can have.
///
/// # Errors
/// Something cannot be built or installed.
pub(crate) fn program() -> Result<Command> {
    let mut program = product::program("interop")?;
    peers::bring(["kubo", "helia"], &mut program)?;
    Ok(program)
}
