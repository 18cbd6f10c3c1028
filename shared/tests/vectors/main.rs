//! Holds the formats against vectors of the public specifications and of other implementations.
//!
//! The vectors are not part of this repository. They are read from the folder that
//! `PERENNIS_VECTORS` names, by default `../shared/vectors` beside the repository; its `codec` folder
//! has the layout of the multiformats project's `codec-fixtures`. Each vector is a test of its own,
//! and where the folder is missing one test that says so is counted as ignored.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    env,
    path::{Path, PathBuf},
};

use libtest_mimic::{Arguments, Conclusion, Trial};

mod codec;
mod did;
mod ipns;

fn main() {
    run(&folder()).exit();
}

fn run(folder: &Path) -> Conclusion {
    let mut trials = Vec::new();
    if folder.is_dir() {
        codec::add(&folder.join("codec"), &mut trials);
        did::add(&folder.join("did"), &mut trials);
        ipns::add(&folder.join("ipns"), &mut trials);
    } else {
        eprintln!(
            "no vectors in {}; PERENNIS_VECTORS names their folder",
            folder.display()
        );
        let name = "the folder of vectors, which PERENNIS_VECTORS names";
        trials.push(Trial::test(name, || Ok(())).with_ignored_flag(true));
    }
    libtest_mimic::run(&Arguments::from_args(), trials)
}

fn folder() -> PathBuf {
    match env::var_os("PERENNIS_VECTORS") {
        Some(folder) => folder.into(),
        // A test runs in the folder of its package.
        None => PathBuf::from("../../shared/vectors"),
    }
}
