//! The browser package: built for the web, optimised, and tested in headless Chromium.
//!
//! The order is cargo, wasm-bindgen, wasm-opt. What is tested through the page is the optimised module, since
//! an optimiser can break what the compiler got right.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{setup, shell, tools, workspace};

const TARGET: &str = "wasm32-unknown-unknown";
const PAGE_SOURCES: &str = "extension-demo/page";
const PAGE_TESTS: &str = "tests/browser";

/// `browser [--build]`.
///
/// # Errors
/// The package does not build, or a test fails.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    match arguments {
        [] => test(&mut |_| {}),
        [only] if only == "--build" => build().map(|page| println!("{}", page.display())),
        _ => bail!("usage: cargo xtask browser [--build]"),
    }
}

/// Builds the optimised module and its JavaScript, and lays the static page beside them; returns the page's folder.
///
/// # Errors
/// A tool lacks and cannot be installed, or fails.
pub(crate) fn build() -> Result<PathBuf> {
    setup::run(&setup::BUILD)?;
    let mut cargo = shell::cargo();
    cargo.args(["build", "--release", "--locked"]);
    cargo.args(["--target", TARGET, "-p", "perennis", "--lib"]);
    shell::run(&mut cargo)?;
    let page = workspace::target().join("page");
    let module = workspace::target()
        .join(TARGET)
        .join("release/perennis.wasm");
    let mut bindgen = shell::command(tools::WASM_BINDGEN.program("wasm-bindgen"));
    bindgen.args(["--target", "web", "--out-name", "perennis", "--out-dir"]);
    shell::run(bindgen.arg(&page).arg(&module))?;
    optimise(&page.join("perennis_bg.wasm"))?;
    copy_files(&workspace::root().join(PAGE_SOURCES), &page)?;
    Ok(page)
}

fn optimise(module: &Path) -> Result<()> {
    let small = module.with_extension("wasm.opt");
    let before = size(module)?;
    let mut opt = shell::command("node");
    opt.arg(tools::wasm_opt()).args(["-O3", "-o"]).arg(&small);
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

fn copy_files(from: &Path, to: &Path) -> Result<()> {
    let entries = fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?;
    for entry in entries {
        let path = entry?.path();
        if let (true, Some(name)) = (path.is_file(), path.file_name()) {
            fs::copy(&path, to.join(name))
                .with_context(|| format!("cannot copy {}", path.display()))?;
        }
    }
    Ok(())
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
    let page = build()?;
    page_story(&page, line)
}

fn pieces(line: &mut dyn FnMut(&str)) -> Result<()> {
    let driver = setup::chromedriver().context("chromedriver was just installed")?;
    let runner = tools::WASM_BINDGEN.program("wasm-bindgen-test-runner");
    let mut cargo = shell::cargo();
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

fn page_story(page: &Path, line: &mut dyn FnMut(&str)) -> Result<()> {
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
        .env("PERENNIS_PAGE", page)
        .env("CHROMIUM", chromium);
    shell::run_lines(&mut node, line)
}
