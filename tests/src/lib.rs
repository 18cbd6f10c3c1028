//! Scenarios, interoperation, benches and crash tests of the whole product.
//!
//! The scenarios drive the real binary `perennis` as a user does: [`home::Home`] runs commands in a
//! home directory of its own, [`node::Node`] is a real node process on a free port. Nothing here reaches
//! into the product: what a scenario sees is what a script sees. Every `--json` document a scenario
//! reads is held against its schema in `docs/schema/cli` on the way ([`schema`]).
//!
//! Three programs are built from here (`tests/programs`), each a function that `cargo xtask` of the same name calls:
//! [`tour::run`], [`interop::run`] against the [`peers`], and [`bench::run`], which measures and writes the report.

pub mod bench;
pub mod binary;
pub mod dialled;
pub mod document;
pub mod home;
pub mod interop;
pub mod kill;
pub mod measure;
pub mod node;
pub mod peers;
pub mod person;
pub mod process;
pub mod publisher;
pub mod readers;
pub mod retry;
pub mod schema;
pub mod skipped;
pub mod small_disk;
pub mod terminal;
pub mod tour;
pub mod umask;
pub mod vectors;

use std::process::ExitCode;

/// What a program of this crate does: its arguments go to `run`, and what that says went wrong goes to a person.
#[must_use]
pub fn program(run: impl FnOnce(&[String]) -> anyhow::Result<()>) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}
