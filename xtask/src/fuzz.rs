//! The fuzz targets in fuzz/, built on the stable toolchain: coverage comes from the compiler's own sanitizer pass, and
//! the address sanitizer is not needed where no code is unsafe.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{shell, workspace};

/// Coverage instrumentation as cargo-fuzz sets it, less the address sanitizer.
const RUSTFLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions --cfg fuzzing -Ccodegen-units=1";

const DEFAULT_SECONDS: u32 = 60;
const SMOKE_SECONDS: u32 = 2;

/// `fuzz [TARGET] [SECONDS]`.
///
/// # Errors
/// A target crashes, there is none of that name, or it does not build.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (target, seconds) = match arguments {
        [] => (None, DEFAULT_SECONDS),
        [only] => only
            .parse()
            .map_or((Some(only.as_str()), DEFAULT_SECONDS), |seconds| {
                (None, seconds)
            }),
        [target, seconds, ..] => (
            Some(target.as_str()),
            seconds.parse().context("SECONDS is a number")?,
        ),
    };
    let all = targets()?;
    if let Some(name) = target {
        must_be_one_of(name, &all)?;
    }
    fuzz(
        all.iter()
            .filter(|name| target.is_none_or(|wanted| wanted == name.as_str())),
        seconds,
    )
}

/// A short run of the named targets, or all, to see that each builds and withstands its first thousands of inputs.
///
/// # Errors
/// As [`run`].
pub(crate) fn smoke(names: &[String]) -> Result<()> {
    let all = targets()?;
    for name in names {
        must_be_one_of(name, &all)?;
    }
    fuzz(
        all.iter()
            .filter(|name| names.is_empty() || names.contains(name)),
        SMOKE_SECONDS,
    )
}

fn must_be_one_of(name: &str, targets: &[String]) -> Result<()> {
    ensure!(
        targets.iter().any(|known| known == name),
        "no target {name:?}; there are {}",
        targets.join(", ")
    );
    Ok(())
}

fn fuzz<'a>(targets: impl Iterator<Item = &'a String>, seconds: u32) -> Result<()> {
    let host = host()?;
    let built = workspace::target().join("fuzz");
    let mut cargo = shell::cargo();
    cargo
        .current_dir(folder())
        .args(["build", "--release", "--target", &host])
        .env("CARGO_TARGET_DIR", &built)
        .env("RUSTFLAGS", RUSTFLAGS);
    shell::run(&mut cargo)?;
    for target in targets {
        let program = built.join(&host).join("release").join(target);
        println!("{target}: {}", run_target(&program, target, seconds)?);
    }
    Ok(())
}

/// Runs one target and returns its last line, such as `Done 12345 runs in 2 second(s)`.
fn run_target(program: &Path, target: &str, seconds: u32) -> Result<String> {
    let corpus = folder().join("corpus").join(target);
    let artifacts = folder().join("artifacts").join(target);
    // Read and never written: small valid inputs that are part of the repository.
    let seeds = folder().join("seeds").join(target);
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&artifacts)?;
    let output = Command::new(program)
        .current_dir(folder())
        .arg(&corpus)
        .args(seeds.is_dir().then_some(&seeds))
        .arg(format!("-max_total_time={seconds}"))
        .args(["-rss_limit_mb=2048", "-timeout=10"])
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .output()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let printed = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        eprintln!("{printed}");
        bail!("{target} fails; its input is in {}", artifacts.display());
    }
    let done = printed.lines().rev().find(|line| line.starts_with("Done "));
    done.map(str::to_owned)
        .with_context(|| format!("{target} ended without saying that it ran"))
}

/// Names of the files in fuzz/fuzz_targets.
fn targets() -> Result<Vec<String>> {
    let folder = folder().join("fuzz_targets");
    let mut names: Vec<String> = fs::read_dir(&folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            (path.extension()? == "rs").then(|| path.file_stem()?.to_str().map(str::to_owned))?
        })
        .collect();
    names.sort();
    ensure!(!names.is_empty(), "no fuzz target in {}", folder.display());
    Ok(names)
}

fn folder() -> PathBuf {
    workspace::root().join("fuzz")
}

fn host() -> Result<String> {
    let text = shell::output(shell::command("rustc").arg("-vV"))?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc names no host")
}
