//! Tasks of the Perennis workspace: `cargo xtask TASK`.
//!
//! A task is a function in a file of its own; the table [`TASKS`] is all there is to find. Tasks call the
//! ordinary tools (cargo, npm, the system's package manager) and know nothing of the product's code: no crate of
//! ours is a dependency, so a broken workspace can still be set up, checked and mended.
#![allow(clippy::print_stdout, reason = "a task runner talks to a person")]

mod bench;
mod browser;
mod check;
mod demo;
mod deny;
mod fuzz;
mod interop;
mod licences;
mod no_std;
mod peers;
mod product;
mod setup;
mod shell;
mod skipped;
mod test;
mod tools;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;

/// One task: its name, what it does in one line, and the function that does it with the arguments after its name.
struct Task {
    name: &'static str,
    about: &'static str,
    run: fn(&[String]) -> Result<()>,
}

const TASKS: &[Task] = &[
    Task {
        name: "setup",
        about: "install what building and testing need; quick when nothing lacks",
        run: |_| setup::run(&setup::ALL),
    },
    Task {
        name: "demo",
        about: "build, start a node on the embedded default, and take the tour on real input; `--page` builds the page for a browser too, `--rocksdb` the index on the disk",
        run: demo::run,
    },
    Task {
        name: "test",
        about: "every check and every test, the browser's too; `test STEP…` runs some steps, `test STEP -- FILTER` a part of one; `test --list` names them",
        run: test::run,
    },
    Task {
        name: "ci",
        about: "what continuous integration runs: `test` on a clean clone",
        run: test::run,
    },
    Task {
        name: "check",
        about: "the rules no compiler knows: arrows, platform cfg, features table, documents, licences",
        run: check::run,
    },
    Task {
        name: "no-std",
        about: "link perennis-shared without std, and show that the test would notice std",
        run: |_| no_std::run(),
    },
    Task {
        name: "browser",
        about: "build the browser package and test it in headless Chromium; `browser --build` only builds",
        run: browser::run,
    },
    Task {
        name: "fuzz",
        about: "run the fuzz targets: `fuzz [TARGET] [SECONDS]`, all of them for a minute each by default",
        run: fuzz::run,
    },
    Task {
        name: "deny",
        about: "licences, bans and sources of all dependencies by cargo-deny",
        run: |_| deny::run(),
    },
    Task {
        name: "interop",
        about: "run our node against Kubo and Helia on this machine; writes docs/INTEROP.md; `interop --check` does not",
        run: interop::run,
    },
    Task {
        name: "bench",
        about: "measure, against peers where there is one; writes docs/BENCHMARKS.md; `bench --list` names the parts",
        run: bench::run,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        print_help();
        return ExitCode::from(2);
    };
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        print_help();
        return ExitCode::SUCCESS;
    }
    let Some(task) = TASKS.iter().find(|task| task.name == name) else {
        eprintln!("error: no task is called {name:?}\n");
        print_help();
        return ExitCode::from(2);
    };
    match (task.run)(rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn print_help() {
    println!("usage: cargo xtask TASK [ARGUMENT]…\n");
    for task in TASKS {
        println!("  {:8} {}", task.name, task.about);
    }
}
