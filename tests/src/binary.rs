//! Where the binary under test is, and the workspace and the target folder it comes from.
//!
//! `PERENNIS_BIN` names a binary; `cargo xtask` sets it for the programs of this crate. Without it the workspace's own is brought
//! up to date, by the same selection of packages and features with which the tests are built: another would have
//! RocksDB compiled a second time.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The path of the binary `perennis`: `PERENNIS_BIN` if set, else the one this workspace builds, brought
/// up to date first in the profile the tests were built in.
///
/// # Panics
/// When it cannot be built: no scenario means anything then.
#[must_use]
pub fn perennis() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("PERENNIS_BIN") {
        Some(path) => PathBuf::from(path),
        None => build(),
    })
}

/// The root of the workspace.
#[must_use]
pub fn workspace() -> &'static Path {
    static WORKSPACE: OnceLock<PathBuf> = OnceLock::new();
    // Cargo says where the package lies now; it may have been compiled elsewhere.
    WORKSPACE.get_or_init(|| {
        let package = std::env::var_os("CARGO_MANIFEST_DIR");
        let package = package.map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
        package.parent().map(Path::to_owned).unwrap_or(package)
    })
}

/// Cargo's target folder: `CARGO_TARGET_DIR`, or `target` in the workspace.
#[must_use]
pub fn target() -> PathBuf {
    let dir = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    workspace().join(dir)
}

/// Cargo in the workspace's root.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    // What cargo sets for a test would make build scripts run again, and all that depends on them compile again.
    for (name, _) in std::env::vars_os() {
        let is_of_a_package = name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
        });
        if is_of_a_package {
            cargo.env_remove(name);
        }
    }
    cargo.current_dir(workspace());
    cargo
}

fn build() -> PathBuf {
    // A test runs from target/PROFILE/deps.
    let test = std::env::current_exe().expect("a running test has a path");
    let profile_dir = test
        .ancestors()
        .find(|dir| dir.join("deps").is_dir())
        .expect("tests run below their profile's folder")
        .to_owned();
    let profile = match profile_dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let status = cargo()
        // What `cargo test --workspace` has built, to the feature: another selection would compile RocksDB again. An
        // example has what tests need turned on.
        .args(["build", "--workspace", "--quiet"])
        .args([
            "--bin",
            "perennis",
            "--example",
            "interop",
            "--profile",
            profile,
        ])
        .status()
        .expect("cargo starts");
    assert!(status.success(), "the binary under test does not build");
    profile_dir.join(format!("perennis{}", std::env::consts::EXE_SUFFIX))
}
