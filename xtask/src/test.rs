//! `xtask test`: every check and every test, cheap ones first, with a closing line that counts the tests.
//!
//! Everything that compiles for this machine does so in the release profile and with the same selection of
//! packages, so that RocksDB is compiled once; the step [`one_rocksdb`] fails where that stops being true.

mod one_rocksdb;
mod tally;

use std::{env, fmt, process::Command};

use anyhow::{Error, Result, bail, ensure};
use tally::{Notes, Tally};

use crate::{
    browser, check, deny, fuzz, interop, licences, no_std, product, setup, shell, skipped,
};

/// What a step is given: where tests are counted, and the part of it that is asked for; all of it when that is empty.
#[derive(Debug, Default)]
struct Run {
    tally: Tally,
    filter: Vec<String>,
}

/// One step.
struct Step {
    name: &'static str,
    /// What follows `--`, for a step of which a part can be run.
    filter: Option<Filter>,
    work: fn(&mut Run) -> Result<()>,
}

/// What a step may be asked for.
struct Filter {
    /// How it is written.
    form: &'static str,
    about: &'static str,
    /// Most words of it.
    most: usize,
}

const fn whole(name: &'static str, work: fn(&mut Run) -> Result<()>) -> Step {
    Step {
        name,
        filter: None,
        work,
    }
}

const fn in_parts(name: &'static str, filter: Filter, work: fn(&mut Run) -> Result<()>) -> Step {
    Step {
        name,
        filter: Some(filter),
        work,
    }
}

const RULES: Filter = Filter {
    form: "RULE…",
    about: "these rules, by the names that `check` prints",
    most: usize::MAX,
};
const TESTS: Filter = Filter {
    form: "NAME…",
    about: "tests with one of these in their names; or flags of Rust's test runner",
    most: usize::MAX,
};
const TARGETS: Filter = Filter {
    form: "TARGET…",
    about: "these targets of fuzz/fuzz_targets",
    most: usize::MAX,
};
const BROWSER_TESTS: Filter = Filter {
    form: "NAME",
    about: "tests of the pieces and of the page with this in their names",
    most: 1,
};
const CASES: Filter = Filter {
    form: "WORD…",
    about: "cases whose line in docs/INTEROP.md has all of these words",
    most: usize::MAX,
};

/// In the order they run.
const STEPS: &[Step] = &[
    // Without the browser: where it cannot be had, the step that needs it says so.
    whole("setup", |_| setup::run(&setup::BUT_BROWSER)),
    whole("fmt", |_| format()),
    in_parts("check", RULES, |run| check::run(&run.filter)),
    whole("licences", |_| licences::run()),
    whole("deny", |_| deny::run()),
    whole("no-std", |_| no_std::run()),
    whole("page", |_| browser::build()),
    in_parts("tests", TESTS, tests),
    // Its packages are linted together: alone, one would select other features, and have RocksDB compiled for them.
    whole("clippy", |_| clippy()),
    whole("clippy-no-rocksdb", |_| clippy_no_rocksdb()),
    whole("clippy-wasm", |_| clippy_wasm()),
    whole("doc", |_| documents()),
    whole("one-rocksdb", |_| one_rocksdb()),
    in_parts("fuzz", TARGETS, |run| fuzz::smoke(&run.filter)),
    in_parts("browser", BROWSER_TESTS, browser_tests),
    in_parts("interop", CASES, cases),
];

/// Runs the named steps, or all; of one step alone, the part that follows `--`.
///
/// # Errors
/// The first step that fails, a name that is no step's, or a filter for what takes none.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    if arguments
        .first()
        .is_some_and(|argument| argument == "--list")
    {
        STEPS.iter().for_each(|step| println!("{step}"));
        return Ok(());
    }
    let (steps, filter) = chosen(arguments)?;
    // A word in it that nothing knows would require nothing.
    let required = env::var(skipped::REQUIRE).unwrap_or_default();
    skipped::parse_required(&required).map_err(Error::msg)?;
    let mut run = Run {
        filter: filter.to_vec(),
        ..Run::default()
    };
    for step in steps {
        if let Err(error) = shell::step(step.name, || (step.work)(&mut run)) {
            println!("\n{}", run.tally);
            return Err(error);
        }
    }
    println!("\n{}", run.tally);
    Ok(())
}

/// The steps that the words before `--` name, or all, and the filter behind it.
fn chosen(arguments: &[String]) -> Result<(Vec<&'static Step>, &[String])> {
    let (names, filter) = match arguments.iter().position(|argument| argument == "--") {
        Some(at) => (&arguments[..at], &arguments[at + 1..]),
        None => (arguments, &[][..]),
    };
    for name in names {
        ensure!(
            STEPS.iter().any(|step| step.name == name),
            "no step is called {name:?}; see `test --list`"
        );
    }
    let is_chosen = |step: &&Step| names.is_empty() || names.iter().any(|name| name == step.name);
    let steps: Vec<_> = STEPS.iter().filter(is_chosen).collect();
    if !filter.is_empty() {
        let [step] = steps.as_slice() else {
            bail!(
                "what follows `--` is for one step: test STEP -- {}",
                filter.join(" ")
            );
        };
        step.must_take(filter)?;
    }
    Ok((steps, filter))
}

impl Step {
    fn must_take(&self, words: &[String]) -> Result<()> {
        let Some(filter) = &self.filter else {
            let others: Vec<_> = STEPS
                .iter()
                .filter(|step| step.filter.is_some())
                .map(|step| step.name)
                .collect();
            bail!(
                "the step {} runs as a whole and takes nothing behind `--`; {} do",
                self.name,
                others.join(", ")
            );
        };
        ensure!(
            words.len() <= filter.most,
            "the step {} takes {} behind `--`: {}",
            self.name,
            filter.form,
            filter.about
        );
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.filter {
            None => write!(f, "{}", self.name),
            Some(filter) => {
                let form = format!("-- {}", filter.form);
                write!(f, "{:<11} {form:<11} {}", self.name, filter.about)
            }
        }
    }
}

fn browser_tests(run: &mut Run) -> Result<()> {
    if let Err(error) = setup::run(&[setup::Need::Browser]) {
        let why = format!("{error:#}");
        let why = why.lines().next().unwrap_or_default();
        return run.tally.skip_step("browser", "chromium", why);
    }
    let Run { tally, filter } = run;
    browser::test(filter.first().map(String::as_str), &mut |line| {
        tally.read(line)
    })
}

fn cases(run: &mut Run) -> Result<()> {
    let mut arguments = vec!["--check".to_owned()];
    if !run.filter.is_empty() {
        arguments.push("--".to_owned());
        arguments.extend(run.filter.iter().cloned());
    }
    let notes = Notes::of("interop")?;
    let mut program = interop::program()?;
    notes.are_written_by(program.args(arguments));
    let result = shell::run_lines(&mut program, |line| run.tally.read(line));
    // A case that is not run is none that passed.
    notes.add_to(&mut run.tally, false)?;
    result
}

fn tests(run: &mut Run) -> Result<()> {
    let notes = Notes::of("tests")?;
    let mut cargo = tests_with(&["--no-fail-fast"]);
    if !run.filter.is_empty() {
        cargo.arg("--").args(&run.filter);
    }
    notes.are_written_by(&mut cargo);
    let result = shell::run_lines(&mut cargo, |line| run.tally.read(line));
    notes.add_to(&mut run.tally, true)?;
    result.and_then(|()| match run.tally.passed() {
        0 => bail!("no test ran"),
        _ => Ok(()),
    })
}

fn tests_with(flags: &[&str]) -> Command {
    let mut cargo = shell::cargo();
    cargo.args(["test", "--workspace", "--release", "--locked"]);
    cargo.args(flags);
    cargo
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
    shell::run(clippy_with(&[]).args(["--", "-D", "warnings"]))
}

fn clippy_with(flags: &[&str]) -> Command {
    let mut cargo = shell::cargo();
    cargo.args(["clippy", "--workspace", "--all-targets"]);
    cargo.args(["--release", "--locked"]).args(flags);
    cargo
}

/// What a newcomer compiles: a node and its store with the index in memory.
fn clippy_no_rocksdb() -> Result<()> {
    let mut cargo = shell::cargo();
    cargo.args(["clippy", "--release", "--locked", "--all-targets"]);
    cargo.args(["-p", "perennis-node", "-p", "perennis-store"]);
    shell::run(cargo.args(["--no-default-features", "--", "-D", "warnings"]))
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
    shell::run(&mut documents_with(&[]))
}

fn documents_with(flags: &[&str]) -> Command {
    let mut cargo: Command = shell::cargo();
    // Libraries only: the program and the browser package are both called perennis.
    cargo.args(["doc", "--workspace", "--lib", "--no-deps"]);
    cargo.args(["--all-features", "--release", "--locked"]);
    cargo.args(flags).env("RUSTDOCFLAGS", "-D warnings");
    cargo
}

/// Every task that compiles for this machine, as it is run.
fn one_rocksdb() -> Result<()> {
    let messages = [one_rocksdb::MESSAGES];
    let mut clippy = clippy_with(&messages);
    clippy.args(["--", "-D", "warnings"]);
    let mut tests = tests_with(&messages);
    tests.arg("--no-run");
    let mut programs = product::build_command(&["--example", "interop"], true);
    programs.args(messages);
    one_rocksdb::run(vec![
        ("tests", tests),
        ("clippy", clippy),
        ("doc", documents_with(&messages)),
        ("interop, bench and browser", programs),
    ])
}

#[cfg(test)]
mod unit {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_filter_is_for_one_step_that_takes_it() {
        for (line, message) in [
            (
                "-- name",
                "what follows `--` is for one step: test STEP -- name",
            ),
            ("fmt tests -- name", "what follows `--` is for one step"),
            ("fmt -- name", "the step fmt runs as a whole"),
            ("clippy -- sdk", "check, tests, fuzz, browser, interop do"),
            ("browser -- a b", "the step browser takes NAME behind `--`"),
            ("test", "no step is called \"test\""),
        ] {
            let error = chosen(&words(line)).err().unwrap().to_string();
            assert!(error.contains(message), "{line}: {error}");
        }
        for line in [
            "tests -- a b",
            "check -- arrows",
            "interop -- kubo",
            "fuzz -- car",
        ] {
            let line = words(line);
            let (steps, filter) = chosen(&line).unwrap();
            assert_eq!((steps.len(), filter), (1, &line[2..]));
        }
    }

    #[test]
    fn steps_run_in_their_order_and_all_when_none_is_named() {
        let line = words("clippy fmt");
        let (steps, _) = chosen(&line).unwrap();
        let names: Vec<_> = steps.iter().map(|step| step.name).collect();
        assert_eq!(names, ["fmt", "clippy"]);
        assert_eq!(chosen(&[]).unwrap().0.len(), STEPS.len());
    }
}
