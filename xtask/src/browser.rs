//! The browser package: built for the web, optimised, and tested in headless Chromium.
//!
//! The order is cargo, wasm-bindgen, wasm-opt. What is tested through the page is the optimised module, since
//! an optimiser can break what the compiler got right.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{peers, product, setup, shell, tools, workspace};

const TARGET: &str = "wasm32-unknown-unknown";
const PAGE: &str = "extension-demo/page";
const PAGE_TESTS: &str = "tests/browser";
/// What the npm package has beside its two builds.
const ENTRY: &str = "sdk-wasm/npm";
const SIMD: &str = "-C target-feature=+simd128";
/// Most bytes of a module: what every reader downloads shall not grow unnoticed.
const MODULE_BYTES: u64 = 1_890_000;

/// What the module may use beside the first version of WebAssembly: in every browser since 2023.
const FEATURES: [&str; 5] = [
    "--enable-bulk-memory",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
];

/// `browser [--build]`.
///
/// # Errors
/// The package does not build, or a test fails.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    match arguments {
        [] => test(None, &mut |_| {}),
        [only] if only == "--build" => build(),
        _ => bail!("usage: cargo xtask browser [--build]"),
    }
}

/// One of the two builds of the module. Which one a browser loads is decided where the package is loaded.
struct Build {
    name: &'static str,
    rustflags: &'static str,
    features: &'static [&'static str],
}

/// scrypt is nearly twice as fast with SIMD, which Safari has since 16.4.
const BUILDS: [Build; 2] = [
    Build {
        name: "simd",
        rustflags: SIMD,
        features: &["--enable-simd"],
    },
    Build {
        name: "plain",
        rustflags: "",
        features: &[],
    },
];

/// Builds the npm package into the folder `pkg` of the page, from where the node's build takes it in: the optimised
/// module with and without SIMD, the JavaScript of each, and the entry that chooses. What is newer than what it is
/// made from is left alone.
///
/// # Errors
/// A tool lacks and cannot be installed, or fails.
pub(crate) fn build() -> Result<()> {
    setup::run(&setup::PAGE)?;
    let package = workspace::root().join(PAGE).join("pkg");
    fs::create_dir_all(&package).with_context(|| format!("cannot create {}", package.display()))?;
    for build in &BUILDS {
        build.make(&package)?;
    }
    let mut files: Vec<String> = BUILDS.iter().flat_map(Build::files).collect();
    for file in fs::read_dir(workspace::root().join(ENTRY))? {
        let file = file?;
        let name = file.file_name().to_string_lossy().into_owned();
        copy_changed(&file.path(), &package.join(&name))?;
        files.push(name);
    }
    // The node's program holds whatever lies here: nothing of an earlier build may stay.
    for file in fs::read_dir(&package)? {
        let file = file?;
        if !files.iter().any(|name| file.file_name() == name.as_str()) {
            fs::remove_file(file.path())?;
        }
    }
    BUILDS.iter().try_for_each(|build| build.report(&package))
}

impl Build {
    fn make(&self, package: &Path) -> Result<()> {
        let mut cargo = cargo(self.rustflags);
        cargo.args(["build", "--profile", "web", "--locked"]);
        cargo.args(["--target", TARGET, "-p", "perennis", "--lib"]);
        shell::run(&mut cargo)?;
        let module = workspace::target().join(TARGET).join("web/perennis.wasm");
        let optimised = self.module(package);
        if is_newer(&optimised, &module) {
            println!("the build {} is up to date", self.name);
            return Ok(());
        }
        let mut bindgen = shell::command(tools::WASM_BINDGEN.program("wasm-bindgen"));
        // The package's entry is told where the module is: only the page knows.
        bindgen.args(["--target", "web", "--omit-default-module-path"]);
        bindgen.args(["--out-name", &format!("perennis_{}", self.name)]);
        shell::run(bindgen.arg("--out-dir").arg(package).arg(&module))?;
        self.optimise(&optimised)
    }

    fn module(&self, package: &Path) -> PathBuf {
        package.join(format!("perennis_{}_bg.wasm", self.name))
    }

    fn files(&self) -> [String; 4] {
        [".js", ".d.ts", "_bg.wasm", "_bg.wasm.d.ts"]
            .map(|ending| format!("perennis_{}{ending}", self.name))
    }

    /// The compiler has balanced each function by its crate; the optimiser must not undo that, so it optimises for
    /// size without unrolling what is hot.
    fn optimise(&self, module: &Path) -> Result<()> {
        let small = module.with_extension("wasm.opt");
        let mut opt = shell::command("node");
        opt.arg(tools::wasm_opt())
            .args(FEATURES)
            .args(self.features);
        opt.args(["-Os", "--strip-debug", "--strip-producers"]);
        shell::run(opt.arg("-o").arg(&small).arg(module))?;
        fs::rename(&small, module).with_context(|| format!("cannot replace {}", module.display()))
    }

    fn report(&self, package: &Path) -> Result<()> {
        let module = self.module(package);
        let bytes = fs::metadata(&module)?.len();
        let packed = shell::command("gzip")
            .args(["-9", "-c"])
            .arg(&module)
            .output();
        let packed = match packed {
            Ok(output) if output.status.success() => format!("{} gzip", output.stdout.len()),
            _ => "gzip is not installed".to_owned(),
        };
        println!("perennis_{}_bg.wasm: {bytes} bytes, {packed}", self.name);
        ensure!(
            bytes <= MODULE_BYTES,
            "the module has {bytes} bytes, above the {MODULE_BYTES} it may have"
        );
        Ok(())
    }
}

/// Cargo for the browser.
fn cargo(rustflags: &str) -> Command {
    let mut cargo = shell::cargo();
    cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", rustflags);
    cargo
}

fn is_newer(made: &Path, from: &Path) -> bool {
    let changed = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified());
    matches!((changed(made), changed(from)), (Ok(made), Ok(from)) if made > from)
}

/// Copies a file unless the copy is the same: a file that is written anew has the node built again.
fn copy_changed(from: &Path, to: &Path) -> Result<()> {
    let content = fs::read(from).with_context(|| format!("no {}", from.display()))?;
    if fs::read(to).is_ok_and(|there| there == content) {
        return Ok(());
    }
    fs::write(to, content).with_context(|| format!("cannot write {}", to.display()))
}

/// The tests of the pieces in Chromium, window and worker, then the page as a person uses it; with a name, those tests alone
/// that have it in theirs.
///
/// `line` is given every line of the test runners.
///
/// # Errors
/// A test fails, or none ran.
pub(crate) fn test(name: Option<&str>, line: &mut dyn FnMut(&str)) -> Result<()> {
    setup::run(&setup::ALL)?;
    let mut passed = 0;
    let mut count = |text: &str| {
        passed += passed_by(text);
        line(text);
    };
    pieces(name, &mut count)?;
    build()?;
    page_story(name, &mut count)?;
    ensure!(passed > 0, "no test ran in the browser");
    Ok(())
}

/// How many tests passed, by the line in which one of the runners says so.
fn passed_by(line: &str) -> u64 {
    let number = |text: &str| {
        text.split_whitespace()
            .next()
            .and_then(|word| word.parse().ok())
    };
    let count = line
        .strip_prefix("test result: ok. ")
        .or_else(|| line.strip_prefix("# pass "));
    count.and_then(number).unwrap_or(0)
}

fn pieces(name: Option<&str>, line: &mut dyn FnMut(&str)) -> Result<()> {
    let driver = setup::chromedriver().context("chromedriver was just installed")?;
    let runner = tools::WASM_BINDGEN.program("wasm-bindgen-test-runner");
    let mut cargo = cargo(SIMD);
    cargo.args(["test", "--release", "--locked"]);
    cargo.args(["--target", TARGET, "-p", "perennis"]);
    if let Some(name) = name {
        cargo.args(["--", name]);
    }
    cargo
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", runner)
        .env("CHROMEDRIVER", driver)
        .env("WASM_BINDGEN_TEST_TIMEOUT", "120");
    let mut ran = false;
    shell::run_lines(&mut cargo, |text| {
        ran |= text.starts_with("test result: ok. ") && !text.contains(" 0 passed");
        line(text);
    })?;
    ensure!(
        ran || name.is_some(),
        "no test of the pieces ran in the browser"
    );
    Ok(())
}

fn page_story(name: Option<&str>, line: &mut dyn FnMut(&str)) -> Result<()> {
    let folder = workspace::root().join(PAGE_TESTS);
    if !folder.join("node_modules/playwright-core").is_dir() {
        peers::npm_ci(&folder)?;
    }
    let program = product::perennis()?;
    let chromium = setup::chromium().context("Chromium was just installed")?;
    let mut node = shell::command("node");
    node.current_dir(&folder)
        .args(["--test", "--test-concurrency=1", "--test-reporter=tap"])
        .args(name.map(|name| format!("--test-name-pattern={}", pattern_of(name))))
        .env("PERENNIS_BIN", program)
        .env("CHROMIUM", chromium);
    shell::run_lines(&mut node, line)
}

/// The regular expression that finds this text and nothing else.
fn pattern_of(text: &str) -> String {
    let mut pattern = String::new();
    for letter in text.chars() {
        if letter.is_ascii_punctuation() && !matches!(letter, '_' | '-') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_runners_say_how_many_passed() {
        for (line, passed) in [
            ("test result: ok. 12 passed; 0 failed; 0 ignored", 12),
            ("# pass 4", 4),
            ("# tests 5", 0),
            ("running 3 tests", 0),
        ] {
            assert_eq!(passed_by(line), passed, "{line}");
        }
    }

    #[test]
    fn a_name_is_looked_for_as_it_is_written() {
        assert_eq!(pattern_of("a_b c-d"), "a_b c-d");
        assert_eq!(pattern_of("what? (a.b)"), r"what\? \(a\.b\)");
    }
}
