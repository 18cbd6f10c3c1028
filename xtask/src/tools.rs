//! Tools that cargo and npm install, each of one exact version, in a folder of the cache named after that version,
//! so that clones share them and a new version never meets an old one.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};

use crate::{shell, workspace};

/// A program from crates.io.
pub(crate) struct CargoTool {
    pub(crate) package: &'static str,
    pub(crate) version: &'static str,
    pub(crate) no_default_features: bool,
    pub(crate) minutes: u32,
}

/// Turns a wasm module into what a browser loads; its version must equal that of the `wasm-bindgen` crate.
pub(crate) const WASM_BINDGEN: CargoTool = CargoTool {
    package: "wasm-bindgen-cli",
    version: "0.2.108",
    no_default_features: false,
    minutes: 3,
};

/// Checks licences, bans and sources of every dependency.
pub(crate) const CARGO_DENY: CargoTool = CargoTool {
    package: "cargo-deny",
    version: "0.20.2",
    no_default_features: false,
    minutes: 4,
};

impl CargoTool {
    /// The program, whether it is there or not.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.folder().join("bin").join(name)
    }

    /// Whether this version is installed.
    pub(crate) fn is_installed(&self) -> bool {
        // Cargo writes this file after the last program.
        self.folder().join(".crates2.json").is_file()
    }

    /// Installs this version unless it is there.
    ///
    /// # Errors
    /// Cargo cannot fetch or build it.
    pub(crate) fn install(&self) -> Result<()> {
        if self.is_installed() {
            return Ok(());
        }
        println!(
            "installing {} {} into {} (about {} minutes, once)",
            self.package,
            self.version,
            self.folder().display(),
            self.minutes
        );
        let mut cargo = shell::cargo();
        // Built for a short build, not for speed: these tools run for seconds.
        cargo
            .current_dir(std::env::temp_dir())
            .args([
                "install",
                self.package,
                "--version",
                self.version,
                "--locked",
                "--force",
                "--root",
            ])
            .arg(self.folder())
            .env("CARGO_TARGET_DIR", self.folder().join("build"))
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
            .env("CARGO_PROFILE_RELEASE_DEBUG", "false");
        if self.no_default_features {
            cargo.arg("--no-default-features");
        }
        shell::run(&mut cargo)?;
        // What is left of the build is of no more use. A folder that stays does no harm.
        let _ = fs::remove_dir_all(self.folder().join("build"));
        Ok(())
    }

    fn folder(&self) -> PathBuf {
        workspace::cache()
            .join("tools")
            .join(format!("{}-{}", self.package, self.version))
    }
}

/// The npm package that ships `wasm-opt`. Debian's own is too old: it writes modules that crash.
pub(crate) const BINARYEN_VERSION: &str = "132.0.0";

/// The script that runs `wasm-opt` under Node.
pub(crate) fn wasm_opt() -> PathBuf {
    binaryen().join("node_modules/binaryen/bin/wasm-opt")
}

/// Installs `wasm-opt` unless it is there.
///
/// # Errors
/// npm cannot fetch it.
pub(crate) fn install_wasm_opt() -> Result<()> {
    if wasm_opt().is_file() {
        return Ok(());
    }
    let folder = binaryen();
    println!(
        "installing npm binaryen {BINARYEN_VERSION} (wasm-opt) into {}",
        folder.display()
    );
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut npm = shell::command("npm");
    npm.args([
        "install",
        "--no-save",
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        "--prefix",
    ])
    .arg(&folder)
    .arg(format!("binaryen@{BINARYEN_VERSION}"));
    shell::run(&mut npm)
}

fn binaryen() -> PathBuf {
    workspace::cache()
        .join("tools")
        .join(format!("binaryen-{BINARYEN_VERSION}"))
}
