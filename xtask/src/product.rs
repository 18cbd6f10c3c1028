//! The product as tasks run it: the program `perennis`, and the programs of `tests` that take the tour, run beside others
//! and measure.
//!
//! All of it is built in the release profile. The tour is built without RocksDB, which takes longer to compile than everything
//! else; all others with what the tests turn on, so that RocksDB is compiled once, whichever task comes first. Nothing here knows
//! what a program does: it is built and given its arguments.

use std::{path::PathBuf, process::Command};

use anyhow::Result;

use crate::{shell, workspace};

/// Says to a program of `tests` which `perennis` it runs; says so to us as well.
const PERENNIS: &str = "PERENNIS_BIN";

/// The program under test: `PERENNIS_BIN` if set, else the one this workspace builds.
///
/// # Errors
/// It does not build.
pub(crate) fn perennis() -> Result<PathBuf> {
    match std::env::var_os(PERENNIS) {
        Some(program) => Ok(PathBuf::from(program)),
        // An example is built with what the tests turn on, and this is the smallest.
        None => build(&["--example", "interop"], true).map(|()| built("perennis")),
    }
}

/// A program of `tests`, built together with the one under test, and ready to be given arguments.
///
/// # Errors
/// Something does not build.
pub(crate) fn program(name: &str) -> Result<Command> {
    command(built("examples").join(name), &["--example", name])
}

/// The tour and the program that it runs, ready to be given arguments. `index_on_disk` says whether the program has RocksDB.
///
/// # Errors
/// Something does not build.
pub(crate) fn tour(index_on_disk: bool) -> Result<Command> {
    let features: &[&str] = match index_on_disk {
        true => &[],
        false => &["--no-default-features"],
    };
    command(built("tour"), &[&["--bin", "tour"], features].concat())
}

/// A program, built by what cargo is told beside the usual, together with the one under test unless that was given.
fn command(program: PathBuf, arguments: &[&str]) -> Result<Command> {
    let given = std::env::var_os(PERENNIS);
    build(arguments, given.is_none())?;
    let mut command = shell::command(program);
    if given.is_none() {
        command.env(PERENNIS, built("perennis"));
    }
    Ok(command)
}

fn build(arguments: &[&str], with_perennis: bool) -> Result<()> {
    shell::run(&mut build_command(arguments, with_perennis))
}

/// What builds it, by what cargo is told beside the usual, ready to run.
pub(crate) fn build_command(arguments: &[&str], with_perennis: bool) -> Command {
    let mut cargo = shell::cargo();
    cargo.args(["build", "--workspace", "--release", "--locked"]);
    if with_perennis {
        cargo.args(["--bin", "perennis"]);
    }
    cargo.args(arguments);
    cargo
}

fn built(name: &str) -> PathBuf {
    workspace::target().join("release").join(name)
}
