//! Interoperation with other implementations, each a real process on loopback: `cargo xtask interop`.
//!
//! Every case is one line of docs/INTEROP.md, which the run writes. A peer that cannot be had on this machine is said
//! to be so in one line, and its cases are left as they were.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{ours, shell, workspace};

mod helia;
mod kubo;
mod table;

/// One thing that must work, and what showed that it does.
pub(crate) struct Case {
    pub(crate) peer: &'static str,
    pub(crate) what: &'static str,
    pub(crate) outcome: Result<String>,
}

/// Runs the cases of all peers that are there, or, with `--check`, without writing the table.
///
/// # Errors
/// A case fails.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let program = ours::program()?;
    let scratch = workspace::target().join("interop");
    if scratch.exists() {
        fs::remove_dir_all(&scratch).context("what the last run left")?;
    }
    fs::create_dir_all(&scratch)?;
    let mut cases = Vec::new();
    match shell::which(&["go"]) {
        Some(_) => cases.extend(kubo::cases(&program, &scratch)?),
        None => {
            println!("interop: Go is not installed, so Kubo cannot be built: its cases are not run")
        }
    }
    match crate::helia::install()? {
        Some(helia) => cases.extend(helia::cases(&helia, &program, &scratch)?),
        None => println!("interop: npm is not installed: the cases of Helia are not run"),
    }
    let mut failed = 0;
    for case in &cases {
        match &case.outcome {
            Ok(shown) => println!("ok      {}: {} ({shown})", case.peer, case.what),
            Err(error) => {
                failed += 1;
                println!("FAILED  {}: {}: {error:#}", case.peer, case.what);
            }
        }
    }
    if !cases.is_empty() && !arguments.iter().any(|argument| argument == "--check") {
        let file: PathBuf = workspace::root().join("docs/INTEROP.md");
        fs::write(&file, table::document(&cases)).context("docs/INTEROP.md")?;
    }
    println!("interop: {} cases, {failed} failed", cases.len());
    if failed > 0 {
        bail!("{failed} cases of interoperation failed");
    }
    Ok(())
}

/// A fresh folder.
fn folder(scratch: &Path, name: &str) -> Result<PathBuf> {
    let path = scratch.join(name);
    fs::create_dir_all(&path)?;
    Ok(path)
}
