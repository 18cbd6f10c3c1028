//! Kubo, built by Go from our own small module.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::{shell, workspace};

pub(crate) const VERSION: &str = "0.43.0";

const MODULE: &str = "tests/interop/kubo";

/// Settings of a daemon that speaks with nobody it was not told of.
pub(crate) const ALONE: &[(&str, &str)] = &[
    ("AutoConf.Enabled", "false"),
    ("Bootstrap", "[]"),
    ("DNS.Resolvers", "{}"),
    ("Routing.DelegatedRouters", "[]"),
    ("Ipns.DelegatedPublishers", "[]"),
    ("Discovery.MDNS.Enabled", "false"),
    ("Gateway.ExposeRoutingAPI", "true"),
];

/// The program; compiled when it is not there yet.
///
/// # Errors
/// It does not build.
pub(crate) fn build() -> Result<PathBuf> {
    let program = workspace::cache()
        .join("tools")
        .join(format!("kubo-{VERSION}/ipfs"));
    if !program.is_file() {
        println!("building Kubo {VERSION} (about 3 minutes, once)");
        let mut go = shell::command("go");
        go.current_dir(workspace::root().join(MODULE))
            .args(["build", "-o"])
            .arg(&program)
            .arg("github.com/ipfs/kubo/cmd/ipfs");
        shell::run(&mut go)?;
    }
    Ok(program)
}

/// A command on a repository.
pub(crate) fn in_repository(program: &Path, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("IPFS_PATH", dir).env("IPFS_TELEMETRY", "off");
    command
}
