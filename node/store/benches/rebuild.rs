//! Making the index anew: how long it takes and how much memory, for many blocks.
//!
//! Fills a store (`--blocks 10000000`, `--bytes 1024` each) and writes a checkpoint. Then it is opened three times, in a process of
//! its own each, whose time, stages and peak memory are printed, a figure a line, as JSON: as it was closed, after a process
//! died in the middle of writing to it, and without its index. `--quick` (and Cargo's own check that benches run) measures little; `--dir` fills that folder once
//! and keeps it.
#![allow(clippy::print_stdout, reason = "figures are printed")]

#[allow(dead_code, reason = "the bench of the store uses the rest")]
#[path = "store/figures.rs"]
mod figures;

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use figures::{Draw, peak_mib, print};
use perennis_store::{Batch, RebuildStage, Store, StoreOptions};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Blocks of one batch.
const BATCH: usize = 2000;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    if let Some(dir) = value("--die") {
        return die(
            Path::new(&dir),
            value("--blocks").map_or(Ok(0), |blocks| blocks.parse())?,
        );
    }
    if let Some(dir) = value("--open") {
        return open(Path::new(&dir));
    }
    let is_quick = arguments.iter().any(|argument| argument == "--quick")
        || !arguments.iter().any(|argument| argument == "--bench");
    let default = if is_quick { 20_000 } else { 10_000_000 };
    let blocks = value("--blocks").map_or(Ok(default), |blocks| blocks.parse())?;
    let bytes = value("--bytes").map_or(Ok(1024), |bytes| bytes.parse())?;
    // Below the target folder: the system's folder for temporary files may be memory, where a sync costs nothing.
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let dir = value("--dir").map_or_else(|| scratch.path().join("store"), PathBuf::from);
    if !dir.exists() {
        fill(&dir, blocks, bytes)?;
    }
    for what in ["start", "unclean", "rebuild"] {
        match what {
            "unclean" => {
                let blocks = (blocks / 20).min(100_000).to_string();
                let died = Command::new(env::current_exe()?)
                    .args(["--blocks", blocks.as_str(), "--die"])
                    .arg(&dir)
                    .output()?;
                if died.status.code().is_some() {
                    return Err(String::from_utf8_lossy(&died.stderr).into_owned().into());
                }
            }
            "rebuild" => fs::remove_dir_all(dir.join("index"))?,
            _ => {}
        }
        let output = Command::new(env::current_exe()?)
            .arg("--open")
            .arg(&dir)
            .output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        for line in String::from_utf8(output.stdout)?.lines() {
            let (name, rest) = line.split_once(' ').ok_or("a line without a figure")?;
            let (value, unit) = rest.split_once(' ').ok_or("a figure without a unit")?;
            print(&format!("{what}/{blocks}/{name}"), value.parse()?, unit);
        }
    }
    Ok(())
}

fn fill(dir: &Path, blocks: usize, bytes: usize) -> Result<()> {
    let store = Store::open(dir, &StoreOptions::default())?;
    let mut draw = Draw(1);
    let started = Instant::now();
    for first in (0..blocks).step_by(BATCH) {
        let mut batch = Batch::new();
        for _ in first..blocks.min(first + BATCH) {
            batch.put_block(draw.block(bytes));
        }
        store.commit(batch)?;
    }
    print("fill", started.elapsed().as_secs_f64(), "s");
    let started = Instant::now();
    let step = store.checkpoint()?;
    print("checkpoint", started.elapsed().as_secs_f64() * 1e3, "ms");
    print("checkpoint bytes", step.file_bytes as f64, "bytes");
    Ok(())
}

/// Writes so many blocks and ends without a word.
fn die(dir: &Path, blocks: usize) -> Result<()> {
    let store = Store::open(dir, &StoreOptions::default())?;
    let mut draw = Draw(u64::from(std::process::id()) << 32);
    for _ in (0..blocks).step_by(BATCH) {
        let mut batch = Batch::new();
        for _ in 0..BATCH {
            batch.put_block(draw.block(1024));
        }
        store.commit(batch)?;
    }
    std::process::abort()
}

/// Opens the store and prints how that went.
fn open(dir: &Path) -> Result<()> {
    let started = Instant::now();
    let mut stages: Vec<(RebuildStage, f64)> = Vec::new();
    let store = Store::open_telling(dir, &StoreOptions::default(), &mut |progress| {
        if stages
            .last()
            .is_none_or(|(stage, _)| *stage != progress.stage)
        {
            stages.push((progress.stage, started.elapsed().as_secs_f64()));
        }
    })?;
    println!("time {} s", started.elapsed().as_secs_f64());
    for (stage, since) in stages {
        println!("until-{} {since} s", format!("{stage:?}").to_lowercase());
    }
    println!("peak {} MiB", peak_mib()?);
    println!("blocks {} blocks", store.stats().blocks);
    Ok(())
}
