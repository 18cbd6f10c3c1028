//! `xtask test`: every check and every test, cheap ones first, with a closing line that counts the tests.
//!
//! Everything that compiles for this machine does so in the release profile and with the same selection of
//! packages, so that RocksDB is compiled once; the step `one-rocksdb` fails where that stops being true.

use std::{fs, path::Path, process::Command};

use anyhow::{Result, bail, ensure};

use crate::{browser, check, deny, fuzz, interop, licences, no_std, setup, shell, workspace};

/// What a step is given: where tests are counted, and what goes to the test runner.
#[derive(Debug, Default)]
struct Run {
    tally: Tally,
    filter: Vec<String>,
}

type Work = fn(&mut Run) -> Result<()>;

/// The step that takes a filter.
const FILTERED: &str = "tests";

/// In the order they run.
const STEPS: &[(&str, Work)] = &[
    ("setup", |_| setup::run(&setup::ALL)),
    ("fmt", |_| format()),
    ("check", |_| check::all()),
    ("licences", |_| licences::run()),
    ("deny", |_| deny::run()),
    ("no-std", |_| no_std::run()),
    ("page", |_| browser::build()),
    (FILTERED, tests),
    ("one-rocksdb", |_| {
        one_rocksdb(&workspace::target().join("release/build"))
    }),
    ("clippy", |_| clippy()),
    ("clippy-wasm", |_| clippy_wasm()),
    ("doc", |_| documents()),
    ("fuzz", |_| fuzz::smoke()),
    ("browser", |run| {
        browser::test(&mut |line| run.tally.read(line))
    }),
    ("interop", |_| interop::run(&["--check".to_owned()])),
];

/// Runs the named steps, or all. What follows `--` goes to the test runner of the step `tests`: names to look for, or its flags.
///
/// # Errors
/// The first step that fails, a name that is no step's, or a filter for a step that takes none.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    if arguments
        .first()
        .is_some_and(|argument| argument == "--list")
    {
        for (name, _) in STEPS {
            println!("{name}");
        }
        return Ok(());
    }
    let (steps, filter) = match arguments.iter().position(|argument| argument == "--") {
        Some(at) => (&arguments[..at], &arguments[at + 1..]),
        None => (arguments, &[][..]),
    };
    for argument in steps {
        ensure!(
            STEPS.iter().any(|(name, _)| name == argument),
            "no step is called {argument:?}; see `test --list`"
        );
    }
    ensure!(
        filter.is_empty() || steps == [FILTERED],
        "only the step {FILTERED} takes what follows `--`: test {FILTERED} -- {}",
        filter.join(" ")
    );
    let mut run = Run {
        filter: filter.to_vec(),
        ..Run::default()
    };
    let chosen = STEPS
        .iter()
        .filter(|(name, _)| steps.is_empty() || steps.iter().any(|wanted| wanted == name));
    for (name, work) in chosen {
        if let Err(error) = shell::step(name, || work(&mut run)) {
            println!("\n{}", run.tally);
            return Err(error);
        }
    }
    println!("\n{}", run.tally);
    Ok(())
}

fn tests(run: &mut Run) -> Result<()> {
    let mut cargo = shell::cargo();
    cargo.args(["test", "--workspace", "--release", "--locked"]);
    cargo.arg("--no-fail-fast");
    if !run.filter.is_empty() {
        cargo.arg("--").args(&run.filter);
    }
    let result = shell::run_lines(&mut cargo, |line| run.tally.read(line));
    result.and_then(|()| match run.tally.passed {
        0 => bail!("no test ran"),
        _ => Ok(()),
    })
}

/// The workspace, and the packages that are workspaces of their own.
fn format() -> Result<()> {
    shell::run(shell::cargo().args(["fmt", "--all", "--check"]))?;
    for manifest in [
        "fuzz/Cargo.toml",
        "tests/no_std/Cargo.toml",
        "tests/bench/mapped/Cargo.toml",
    ] {
        shell::run(shell::cargo().args(["fmt", "--manifest-path", manifest, "--check"]))?;
    }
    Ok(())
}

fn clippy() -> Result<()> {
    shell::run(shell::cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--release",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]))
}

fn clippy_wasm() -> Result<()> {
    let mut cargo = shell::cargo();
    cargo.args([
        "clippy",
        "--release",
        "--locked",
        "--target",
        "wasm32-unknown-unknown",
    ]);
    cargo.args([
        "-p",
        "perennis-shared",
        "-p",
        "perennis-rt",
        "-p",
        "perennis-sdk",
        "-p",
        "perennis",
        "--",
        "-D",
        "warnings",
    ]);
    shell::run(&mut cargo)
}

fn documents() -> Result<()> {
    let mut cargo: Command = shell::cargo();
    // Libraries only: the program and the browser package are both called perennis.
    cargo.args(["doc", "--workspace", "--lib", "--no-deps"]);
    cargo.args(["--all-features", "--release", "--locked"]);
    shell::run(cargo.env("RUSTDOCFLAGS", "-D warnings"))
}

/// RocksDB takes longer to compile than everything else together: a second copy means that two tasks select
/// features or a profile differently.
fn one_rocksdb(build: &Path) -> Result<()> {
    let mut copies = Vec::new();
    for entry in fs::read_dir(build).into_iter().flatten() {
        let library = entry?.path().join("out/librocksdb.a");
        if library.is_file() {
            copies.push(library);
        }
    }
    match copies.as_slice() {
        [] => println!("RocksDB is linked from elsewhere"),
        [one] => println!("compiled once: {}", one.display()),
        more => {
            for copy in more {
                println!("  {}", copy.display());
            }
            println!(
                "note: {} copies; an old one may stay after an update or a `cargo build` of one package",
                more.len()
            );
        }
    }
    Ok(())
}

/// Tests counted from the lines of cargo's test runner and wasm-bindgen's.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Tally {
    /// Adds what a line says: `test result: ok. 3 passed; 0 failed; 1 ignored; …`, or `# pass 3` of Node's runner.
    fn read(&mut self, line: &str) {
        if let Some((what, Ok(count))) = line
            .strip_prefix("# ")
            .and_then(|rest| rest.split_once(' '))
            .map(|(what, count)| (what, count.parse::<u64>()))
        {
            match what {
                "pass" => self.passed += count,
                "fail" => self.failed += count,
                "skipped" => self.ignored += count,
                _ => {}
            }
        }
        let Some(rest) = line.trim_start().strip_prefix("test result: ") else {
            return;
        };
        for part in rest.split(['.', ';']) {
            let mut words = part.split_whitespace();
            let (Some(count), Some(what)) = (words.next(), words.next()) else {
                continue;
            };
            let Ok(count) = count.parse::<u64>() else {
                continue;
            };
            match what {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" => self.ignored += count,
                _ => {}
            }
        }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "tests: {} passed, {} failed, {} skipped",
            self.passed, self.failed, self.ignored
        )
    }
}

#[cfg(test)]
mod unit {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_filter_is_for_the_step_of_the_tests_alone() {
        let run = |words: &[&str]| {
            let arguments: Vec<String> = words.iter().map(ToString::to_string).collect();
            super::run(&arguments).unwrap_err().to_string()
        };
        for words in [&["--", "name"][..], &["fmt", "--", "name"]] {
            assert!(run(words).ends_with("test tests -- name"), "{words:?}");
        }
        assert!(run(&["test"]).contains("no step is called"));
    }

    #[test]
    fn the_tally_adds_up_all_runners() {
        let mut tally = Tally::default();
        tally.read("running 3 tests");
        tally.read("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s");
        tally
            .read("test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out");
        assert_eq!(
            tally,
            Tally {
                passed: 5,
                failed: 1,
                ignored: 1
            }
        );
        assert_eq!(tally.to_string(), "tests: 5 passed, 1 failed, 1 skipped");
        for line in [
            "# tests 5",
            "# pass 4",
            "# fail 1",
            "# skipped 0",
            "# a comment",
        ] {
            tally.read(line);
        }
        assert_eq!(
            tally,
            Tally {
                passed: 9,
                failed: 2,
                ignored: 1
            }
        );
    }
}
