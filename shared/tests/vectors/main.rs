//! Holds the formats against vectors of the public specifications and of other implementations; each is a test of its own.
//!
//! Some lie here: `made/*.json`, which other implementations wrote, each by the script of its name beside it. Others are public and no
//! part of this repository: they are read from the folder that `PERENNIS_VECTORS` names, by default `../shared/vectors` beside
//! the repository; its `codec` folder has the layout of the multiformats project's `codec-fixtures`. Files that other programs make
//! are read from the folder that `PERENNIS_CASES` names, by default `../shared/cases`. Where a folder is missing one test says so
//! and is counted as skipped.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{env, path::PathBuf};

use libtest_mimic::{Arguments, Trial};

mod cases;
mod codec;
mod did;
mod ipns;
mod made;
#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "tests of other crates and xtask use the rest of it"
)]
#[path = "../../../tests/src/skipped.rs"]
mod skipped;

fn main() {
    let mut trials = Vec::new();
    made::add(&mut trials);
    let vectors = folder("PERENNIS_VECTORS", "vectors");
    if vectors.is_dir() {
        codec::add(&vectors.join("codec"), &mut trials);
        did::add(&vectors.join("did"), &mut trials);
        ipns::add(&vectors.join("ipns"), &mut trials);
    } else {
        trials.push(missing("vectors", vectors));
    }
    let cases = folder("PERENNIS_CASES", "cases");
    if cases.is_dir() {
        cases::add(&cases, &mut trials);
    } else {
        trials.push(missing("cases", cases));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// The folder that the variable names, or the one beside the repository. A test runs in the folder of its package.
fn folder(variable: &str, name: &str) -> PathBuf {
    env::var_os(variable).map_or_else(|| PathBuf::from("../../shared").join(name), PathBuf::from)
}

/// The one test of a folder that is not there.
fn missing(need: &'static str, folder: PathBuf) -> Trial {
    let name = format!("the folder of {need}");
    Trial::test(name.clone(), move || {
        let test = format!("vectors: {name}");
        let why = format!("{} is no folder", folder.display());
        skipped::skipped_as(&test, need, &why);
        Ok(())
    })
}
