//! The browser package: built for the web, optimised, and tested in headless Chromium.
//!
//! The order is cargo, wasm-bindgen, wasm-opt. What is tested through the page is the optimised module, since
//! an optimiser can break what the compiler got right.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail, ensure};

use crate::{setup, shell, tools, workspace};

const TARGET: &str = "wasm32-unknown-unknown";
const PAGE: &str = "extension-demo/page";
const PAGE_TESTS: &str = "tests/browser";

/// What the module may use beside the first version of WebAssembly: in every browser since 2023.
const FEATURES: [&str; 6] = [
    "--enable-bulk-memory",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
    "--enable-simd",
];

/// `browser [--build]`.
///
/// # Errors
/// The package does not build, or a test fails.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    match arguments {
        [] => test(&mut |_| {}),
        [only] if only == "--build" => build(),
        _ => bail!("usage: cargo xtask browser [--build]"),
    }
}

/// Builds the optimised module and its JavaScript into the folder `pkg` of the page, from where the node's build
/// takes the page in. Does nothing where they are newer than what they are made from.
///
/// # Errors
/// A tool lacks and cannot be installed, or fails.
pub(crate) fn build() -> Result<()> {
    setup::run(&setup::BUILD)?;
    let mut cargo = cargo();
    cargo.args(["build", "--release", "--locked"]);
    cargo.args(["--target", TARGET, "-p", "perennis", "--lib"]);
    shell::run(&mut cargo)?;
    let module = workspace::target()
        .join(TARGET)
        .join("release/perennis.wasm");
    let package = workspace::root().join(PAGE).join("pkg");
    let optimised = package.join("perennis_bg.wasm");
    if is_newer(&optimised, &module) {
        println!("the browser package is up to date");
        return Ok(());
    }
    let mut bindgen = shell::command(tools::WASM_BINDGEN.program("wasm-bindgen"));
    bindgen.args(["--target", "web", "--out-name", "perennis", "--out-dir"]);
    shell::run(bindgen.arg(&package).arg(&module))?;
    optimise(&optimised)
}

/// Cargo for the browser: scrypt is nearly twice as fast with SIMD.
fn cargo() -> Command {
    let mut cargo = shell::cargo();
    cargo.env(
        "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS",
        "-C target-feature=+simd128",
    );
    cargo
}

fn is_newer(made: &Path, from: &Path) -> bool {
    let changed = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified());
    matches!((changed(made), changed(from)), (Ok(made), Ok(from)) if made > from)
}

fn optimise(module: &Path) -> Result<()> {
    let small = module.with_extension("wasm.opt");
    let before = size(module)?;
    let mut opt = shell::command("node");
    opt.arg(tools::wasm_opt()).args(FEATURES);
    opt.args(["-O3", "-o"]).arg(&small);
    shell::run(opt.arg(module))?;
    fs::rename(&small, module).with_context(|| format!("cannot replace {}", module.display()))?;
    println!("wasm-opt: {before} bytes became {}", size(module)?);
    Ok(())
}

fn size(path: &Path) -> Result<u64> {
    Ok(fs::metadata(path)
        .with_context(|| format!("no {}", path.display()))?
        .len())
}

/// The tests of the pieces in Chromium, window and worker, then the page as a person uses it.
///
/// `line` is given every line of the test runners.
///
/// # Errors
/// A test fails, or none ran.
pub(crate) fn test(line: &mut dyn FnMut(&str)) -> Result<()> {
    setup::run(&setup::ALL)?;
    pieces(line)?;
    build()?;
    page_story(line)
}

fn pieces(line: &mut dyn FnMut(&str)) -> Result<()> {
    let driver = setup::chromedriver().context("chromedriver was just installed")?;
    let runner = tools::WASM_BINDGEN.program("wasm-bindgen-test-runner");
    let mut cargo = cargo();
    cargo.args(["test", "--release", "--locked"]);
    cargo.args(["--target", TARGET, "-p", "perennis"]);
    cargo
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", runner)
        .env("CHROMEDRIVER", driver)
        .env("WASM_BINDGEN_TEST_TIMEOUT", "120");
    let mut ran = false;
    shell::run_lines(&mut cargo, |text| {
        ran |= text.starts_with("test result: ok. ") && !text.contains(" 0 passed");
        line(text);
    })?;
    ensure!(ran, "no test ran in the browser");
    Ok(())
}

fn page_story(line: &mut dyn FnMut(&str)) -> Result<()> {
    let folder = workspace::root().join(PAGE_TESTS);
    if !folder.join("node_modules/playwright-core").is_dir() {
        let mut npm = shell::command("npm");
        npm.current_dir(&folder);
        shell::run(npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]))?;
    }
    let mut build = shell::cargo();
    build.args([
        "build",
        "--workspace",
        "--all-targets",
        "--release",
        "--locked",
    ]);
    shell::run(&mut build)?;
    let chromium = setup::chromium().context("Chromium was just installed")?;
    let mut node = shell::command("node");
    node.current_dir(&folder)
        .args(["--test", "--test-concurrency=1", "--test-reporter=tap"])
        .env("PERENNIS_BIN", workspace::target().join("release/perennis"))
        .env("CHROMIUM", chromium);
    shell::run_lines(&mut node, line)
}
