//! What the tasks need of a machine, and how each is told to be there.

use std::{env, fs, path::Path};

use crate::{shell, tools};

pub(super) const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// Something a machine must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// A C and a C++ compiler, for RocksDB.
    Compiler,
    /// libclang, with which the bindings to RocksDB are made.
    Libclang,
    /// clippy and rustfmt.
    RustComponents,
    /// The standard library for `wasm32-unknown-unknown`.
    WasmTarget,
    /// Node.js and npm, for wasm-opt.
    Node,
    /// wasm-bindgen and wasm-opt.
    WasmTools,
    /// Chromium and its driver.
    Browser,
    /// cargo-deny.
    CargoDeny,
    /// wrk, which puts a server under load; only for `xtask bench`.
    LoadGenerator,
}

impl Need {
    /// One line for a person.
    pub(super) fn about(self) -> &'static str {
        match self {
            Self::Compiler => "a C and C++ compiler (RocksDB is compiled from source, once)",
            Self::Libclang => "libclang (bindings to RocksDB)",
            Self::RustComponents => "clippy and rustfmt",
            Self::WasmTarget => "the wasm32-unknown-unknown target",
            Self::Node => "Node.js and npm (wasm-opt runs on them)",
            Self::WasmTools => "wasm-bindgen 0.2.108 and wasm-opt 132",
            Self::Browser => "Chromium and ChromeDriver (browser tests)",
            Self::LoadGenerator => "wrk (load on a server, for benchmarks)",
            Self::CargoDeny => "cargo-deny 0.20.2 (licences, bans and sources of dependencies)",
        }
    }

    /// Whether the machine has it; asks the machine each time.
    pub(super) fn is_met(self) -> bool {
        match self {
            Self::Compiler => shell::which(&["cc"]).is_some() && shell::which(&["c++"]).is_some(),
            Self::Libclang => has_libclang(),
            Self::RustComponents => ["clippy", "fmt"]
                .iter()
                .all(|tool| shell::succeeds(shell::cargo().args([tool, "--version"]))),
            Self::WasmTarget => has_wasm_target(),
            Self::Node => shell::which(&["node"]).is_some() && shell::which(&["npm"]).is_some(),
            Self::WasmTools => tools::WASM_BINDGEN.is_installed() && tools::wasm_opt().is_file(),
            Self::Browser => chromium().is_some() && chromedriver().is_some(),
            Self::CargoDeny => tools::CARGO_DENY.is_installed(),
            Self::LoadGenerator => shell::which(&["wrk"]).is_some(),
        }
    }

    /// Debian packages that meet it, then those that meet it on Ubuntu where they differ.
    pub(super) fn packages(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Compiler => &[&["build-essential"]],
            Self::Libclang => &[&["libclang-dev"]],
            Self::Node => &[&["nodejs", "npm"]],
            Self::Browser => &[
                &["chromium", "chromium-driver"],
                &["chromium-browser", "chromium-chromedriver"],
            ],
            Self::LoadGenerator => &[&["wrk"]],
            Self::RustComponents | Self::WasmTarget | Self::WasmTools | Self::CargoDeny => &[],
        }
    }
}

/// The browser's program.
pub(crate) fn chromium() -> Option<std::path::PathBuf> {
    shell::which(&["chromium", "chromium-browser", "google-chrome"])
}

/// The program that drives the browser.
pub(crate) fn chromedriver() -> Option<std::path::PathBuf> {
    shell::which(&["chromedriver", "chromium.chromedriver"])
}

/// Looks where clang-sys looks: the folder in LIBCLANG_PATH, then the usual library folders.
fn has_libclang() -> bool {
    let mut folders: Vec<std::path::PathBuf> = env::var_os("LIBCLANG_PATH")
        .map(Into::into)
        .into_iter()
        .collect();
    folders.extend(["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(Into::into));
    for parent in ["/usr/lib", "/usr/local"] {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with("llvm") {
                folders.push(entry.path().join("lib"));
            } else if name.contains("-linux-") {
                folders.push(entry.path());
            }
        }
    }
    folders.iter().any(|folder| holds_libclang(folder))
}

fn holds_libclang(folder: &Path) -> bool {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            // The C++ interface is another library, and no help without this one.
            let is_other = name.starts_with("libclang-cpp");
            name == "libclang.so"
                || name.starts_with("libclang.so.")
                || (name.starts_with("libclang-") && name.contains(".so") && !is_other)
                || name == "libclang.dylib"
        })
}

fn has_wasm_target() -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    shell::output(shell::command(rustc).args(["--print", "sysroot"])).is_ok_and(|sysroot| {
        Path::new(sysroot.trim())
            .join("lib/rustlib")
            .join(WASM_TARGET)
            .join("lib")
            .is_dir()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn libclang_is_found_by_its_library_and_not_by_its_neighbours() {
        let folder = tempfile::tempdir().unwrap();
        for neighbour in ["libclang-cpp.a", "libclang-cpp.so.14"] {
            fs::write(folder.path().join(neighbour), "").unwrap();
        }
        assert!(!holds_libclang(folder.path()));
        fs::write(folder.path().join("libclang-14.so.1"), "").unwrap();
        assert!(holds_libclang(folder.path()));
    }

    #[test]
    fn versions_said_are_versions_installed() {
        assert!(
            Need::WasmTools
                .about()
                .contains(tools::WASM_BINDGEN.version)
        );
        assert!(Need::CargoDeny.about().contains(tools::CARGO_DENY.version));
    }
}
