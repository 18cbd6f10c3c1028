//! RocksDB takes longer to compile than everything else together: all tasks have to select the same features of it and the same
//! profile, so that it is compiled once.
//!
//! What counts is what cargo says it uses, task by task. A copy that an earlier version or a `cargo build` of one package left in
//! the target folder is used by no task and does no harm.

use std::{collections::BTreeMap, process::Command};

use anyhow::{Result, ensure};

use crate::shell;

/// The package that compiles it.
const PACKAGE: &str = "librocksdb-sys";

/// Has cargo say what it uses.
pub(super) const MESSAGES: &str = "--message-format=json";

/// Runs commands of cargo that say what they use, each named after its task. After the tasks themselves that is quick.
///
/// # Errors
/// Two of them use different copies, or one fails.
pub(super) fn run(tasks: Vec<(&'static str, Command)>) -> Result<()> {
    println!("{}", copies(tasks, PACKAGE)?);
    Ok(())
}

fn copies(tasks: Vec<(&'static str, Command)>, package: &str) -> Result<String> {
    let mut used: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (task, mut cargo) in tasks {
        for folder in folders(&shell::output(&mut cargo)?, package) {
            let tasks = used.entry(folder).or_default();
            if !tasks.contains(&task) {
                tasks.push(task);
            }
        }
    }
    let lines: Vec<_> = used
        .iter()
        .map(|(folder, tasks)| format!("  {} use {folder}", tasks.join(", ")))
        .collect();
    ensure!(
        lines.len() <= 1,
        "{package} is compiled {} times, since tasks select other features of it or another profile:\n{}",
        lines.len(),
        lines.join("\n")
    );
    Ok(match lines.as_slice() {
        [] => format!("{package} is used by no task"),
        [line, ..] => format!("compiled once:\n{line}"),
    })
}

/// The folders into which the package's build script wrote, by the messages of one run of cargo.
fn folders(messages: &str, package: &str) -> Vec<String> {
    let package = format!("#{package}@");
    messages
        .lines()
        .filter(|line| line.contains("\"reason\":\"build-script-executed\""))
        .filter(|line| field(line, "package_id").is_some_and(|id| id.contains(&package)))
        .filter_map(|line| field(line, "out_dir").map(str::to_owned))
        .collect()
}

/// The text of a field of a message. Neither an id nor a folder that we make has a quote in it.
fn field<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = message.split_once(&format!("\"{name}\":\""))?;
    Some(rest.split_once('"')?.0)
}

#[cfg(test)]
mod unit {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::{fs, path::Path};

    use super::*;

    /// A package with a build script and a feature, as cargo has them.
    fn package(folder: &Path) {
        fs::create_dir_all(folder.join("src")).unwrap();
        fs::write(
            folder.join("Cargo.toml"),
            "[package]\nname = \"heavy-sys\"\nversion = \"1.0.0\"\nedition = \"2024\"\n\
             [features]\nlight = []\n[workspace]\n",
        )
        .unwrap();
        fs::write(folder.join("src/lib.rs"), "").unwrap();
        fs::write(folder.join("build.rs"), "fn main() {}").unwrap();
    }

    fn build(folder: &Path, features: &[&str]) -> Command {
        let mut cargo = shell::cargo();
        cargo
            .current_dir(folder)
            .args(["check", "--offline", MESSAGES]);
        // Whatever the outer build is told is none of this one's business.
        for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET"] {
            cargo.env_remove(name);
        }
        cargo
            .args(features)
            .env("CARGO_TARGET_DIR", folder.join("target"));
        cargo
    }

    #[test]
    fn tasks_that_select_other_features_fail_and_an_older_copy_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        package(folder);
        let same = || build(folder, &[]);
        let other = || build(folder, &["--features", "light"]);
        let error = copies(vec![("tests", same()), ("bench", other())], "heavy-sys");
        let error = error.unwrap_err().to_string();
        for part in ["compiled 2 times", "  tests use /", "  bench use /"] {
            assert!(error.contains(part), "{error}");
        }
        // Both copies lie in the folder now, and the tasks use one.
        let told = copies(vec![("tests", same()), ("bench", same())], "heavy-sys").unwrap();
        assert!(
            told.contains("compiled once:\n  tests, bench use "),
            "{told}"
        );
        let told = copies(vec![("tests", same())], "heavier-sys").unwrap();
        assert_eq!(told, "heavier-sys is used by no task");
    }
}
