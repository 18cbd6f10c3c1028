//! `xtask setup`: brings a machine that has only the Rust toolchain to where everything builds and every test runs.
//!
//! A [`Need`] knows how to tell that it is met, and what meets it. First all are looked at, which takes
//! milliseconds; then what lacks is said; then it is installed, through the system's package manager where that is
//! apt and we may use it. Where we may not, the exact commands are printed and the task fails.

mod apt;
mod needs;

use anyhow::{Result, bail};

pub(crate) use needs::{Need, chromedriver, chromium};

use crate::{shell, tools};

/// Everything, for all tasks.
pub(crate) const ALL: [Need; 8] = [
    Need::Compiler,
    Need::Libclang,
    Need::RustComponents,
    Need::WasmTarget,
    Need::Node,
    Need::WasmTools,
    Need::Browser,
    Need::CargoDeny,
];

/// What tests and checks cannot do without: everything but the browser, without which its own tests are skipped.
pub(crate) const BUT_BROWSER: [Need; 7] = [
    Need::Compiler,
    Need::Libclang,
    Need::RustComponents,
    Need::WasmTarget,
    Need::Node,
    Need::WasmTools,
    Need::CargoDeny,
];

/// What the program is built with.
pub(crate) const PROGRAM: [Need; 2] = [Need::Compiler, Need::Libclang];

/// What the page is built with.
pub(crate) const PAGE: [Need; 3] = [Need::WasmTarget, Need::Node, Need::WasmTools];

/// Meets the needs, in their order, and does nothing where nothing lacks.
///
/// # Errors
/// A need cannot be met here; the message says what to install by hand.
pub(crate) fn run(needs: &[Need]) -> Result<()> {
    let lacking: Vec<Need> = needs
        .iter()
        .copied()
        .filter(|need| !need.is_met())
        .collect();
    if lacking.is_empty() {
        println!("setup: nothing lacks");
        return Ok(());
    }
    println!("setup: this machine lacks");
    for need in &lacking {
        println!("  - {}", need.about());
    }
    apt::install(&lacking)?;
    for need in &lacking {
        match need {
            Need::Compiler | Need::Libclang | Need::Node | Need::Browser | Need::LoadGenerator => {}
            Need::RustComponents => rustup(&["component", "add", "clippy", "rustfmt"])?,
            Need::WasmTarget => rustup(&["target", "add", needs::WASM_TARGET])?,
            Need::WasmTools => {
                tools::WASM_BINDGEN.install()?;
                tools::install_wasm_opt()?;
            }
            Need::CargoDeny => tools::CARGO_DENY.install()?,
        }
        if !need.is_met() {
            bail!("still lacking after the installation: {}", need.about());
        }
    }
    println!("setup: done");
    Ok(())
}

fn rustup(arguments: &[&str]) -> Result<()> {
    if shell::which(&["rustup"]).is_none() {
        bail!(
            "this Rust toolchain did not come from rustup; install by hand what `rustup {}` would add",
            arguments.join(" ")
        );
    }
    shell::run(shell::command("rustup").args(arguments))
}
