//! What programs of `tests` run beside the product: other implementations, each of one exact version, and the generator of
//! load.
//!
//! A peer is installed where it lacks, into the cache outside the clone, and a program is told by an environment variable
//! where it is. One that cannot be had on this machine is said to be so in one line, and the program goes on without it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{
    setup::{self, Need},
    shell, workspace,
};

/// One of them.
struct Peer {
    name: &'static str,
    /// Says where it is.
    variable: &'static str,
    /// Installs it unless it is there; `None`, said in one line, where this machine cannot have it.
    install: fn() -> Result<Option<PathBuf>>,
}

const PEERS: [Peer; 4] = [
    Peer {
        name: "kubo",
        variable: "PERENNIS_KUBO",
        install: kubo,
    },
    Peer {
        name: "helia",
        variable: "PERENNIS_HELIA",
        install: helia,
    },
    Peer {
        name: "npm-ipns",
        variable: "PERENNIS_NPM_IPNS",
        install: npm_ipns,
    },
    Peer {
        name: "wrk",
        variable: "PERENNIS_WRK",
        install: wrk,
    },
];

const KUBO_VERSION: &str = "0.43.0";
const KUBO: &str = "tests/interop/kubo";
const HELIA_VERSION: &str = "7.1.15";
const HELIA: &str = "tests/interop/helia";
const NPM_IPNS: &str = "tests/bench/ipns";

/// Installs the named peers where they lack, and tells the program where each is. A variable that is set already is left alone.
///
/// # Errors
/// There is no peer of that name, or one cannot be installed.
pub(crate) fn bring<'a>(
    names: impl IntoIterator<Item = &'a str>,
    program: &mut Command,
) -> Result<()> {
    for name in names {
        let Some(peer) = PEERS.iter().find(|peer| peer.name == name) else {
            bail!("no peer is called {name:?}");
        };
        if std::env::var_os(peer.variable).is_some() {
            continue;
        }
        if let Some(path) = (peer.install)()? {
            program.env(peer.variable, path);
        }
    }
    Ok(())
}

/// Kubo's program, built by Go from our own small module.
fn kubo() -> Result<Option<PathBuf>> {
    if shell::which(&["go"]).is_none() {
        println!("Go is not installed, so Kubo cannot be built");
        return Ok(None);
    }
    let program = tool(&format!("kubo-{KUBO_VERSION}")).join("ipfs");
    if !program.is_file() {
        println!("building Kubo {KUBO_VERSION} (about 3 minutes, once)");
        let mut go = shell::command("go");
        go.current_dir(workspace::root().join(KUBO))
            .args(["build", "-o"])
            .arg(&program)
            .arg("github.com/ipfs/kubo/cmd/ipfs");
        shell::run(&mut go)?;
    }
    Ok(Some(program))
}

/// Helia's packages, with a Node.js that is new enough, and the script that drives it.
fn helia() -> Result<Option<PathBuf>> {
    if shell::which(&["npm"]).is_none() {
        println!("npm is not installed, so Helia cannot be");
        return Ok(None);
    }
    let source = workspace::root().join(HELIA);
    let folder = tool(&format!("helia-{HELIA_VERSION}"));
    fs::create_dir_all(&folder)?;
    for file in ["package.json", "package-lock.json", "peer.mjs"] {
        fs::copy(source.join(file), folder.join(file))
            .with_context(|| format!("cannot copy {file}"))?;
    }
    // Node 22 comes as a package too, whose own script fetches the program.
    if !folder.join("node_modules/node/bin/node").is_file() {
        println!("installing Helia {HELIA_VERSION} (about 3 minutes, once)");
        npm_ci(&folder)?;
        let mut npm = shell::command("npm");
        npm.current_dir(&folder);
        shell::run(npm.args(["rebuild", "node", "--foreground-scripts"]))?;
    }
    Ok(Some(folder))
}

/// The JavaScript library for IPNS records, with its bench.
fn npm_ipns() -> Result<Option<PathBuf>> {
    let folder = workspace::root().join(NPM_IPNS);
    if shell::which(&["npm"]).is_none() {
        println!("npm is not installed, so the JavaScript library cannot be");
        return Ok(None);
    }
    if !folder.join("node_modules/ipns").is_dir() {
        npm_ci(&folder)?;
    }
    Ok(Some(folder))
}

/// wrk, which puts a server under load.
fn wrk() -> Result<Option<PathBuf>> {
    setup::run(&[Need::LoadGenerator])?;
    Ok(shell::which(&["wrk"]))
}

/// Installs what a folder's lock file says, without running anybody's scripts.
///
/// # Errors
/// npm cannot fetch it.
pub(crate) fn npm_ci(folder: &Path) -> Result<()> {
    let mut npm = shell::command("npm");
    npm.current_dir(folder);
    shell::run(npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]))
}

fn tool(name: &str) -> PathBuf {
    workspace::cache().join("tools").join(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn versions_in_folders_are_versions_installed() {
        let read = |path: &str| fs::read_to_string(workspace::root().join(path)).unwrap();
        let kubo = format!("github.com/ipfs/kubo v{KUBO_VERSION} ");
        assert!(read(&format!("{KUBO}/go.mod")).contains(&kubo));
        let helia = format!("\"helia\": \"{HELIA_VERSION}\"");
        assert!(read(&format!("{HELIA}/package.json")).contains(&helia));
    }

    #[test]
    fn a_peer_that_nobody_knows_is_an_error() {
        let error = bring(["nobody"], &mut Command::new("true")).unwrap_err();
        assert_eq!(error.to_string(), "no peer is called \"nobody\"");
    }
}
