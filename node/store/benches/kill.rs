//! Kills a store at 2,000 moments (or as many as are asked for) and counts what was lost, half or in the way.
#![allow(clippy::print_stdout, reason = "figures are printed")]

use std::env;
use std::path::Path;
use std::process::Command;

use perennis_store::testing::kill;

/// What the process that is killed is told apart by.
const WORK: &str = "--work";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [work, dir] = arguments.as_slice()
        && work == WORK
    {
        return kill::work(Path::new(dir));
    }
    let number = arguments.iter().find_map(|argument| argument.parse().ok());
    // Cargo says so when it measures; when it only tests that benches run, a few will do.
    let measured = arguments.iter().any(|argument| argument == "--bench");
    let points = number.unwrap_or(if measured { 2000 } else { 3 });
    // Below the target folder: the system's folder for temporary files may be memory, where a sync costs nothing.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let command = |dir: &Path| {
        let mut command = Command::new(env::current_exe()?);
        command.arg(WORK).arg(dir);
        Ok(command)
    };
    let outcome = kill::run(&dir.path().join("store"), points, 2, command, |line| {
        eprintln!("{line}")
    })?;
    for (name, value, unit) in [
        ("kill/points", outcome.points, "kills"),
        ("kill/acknowledged", outcome.acknowledged, "writes"),
        ("kill/lost", outcome.lost, "writes"),
        ("kill/half", outcome.half, "writes"),
        ("kill/starts-failed", outcome.starts_failed, "starts"),
    ] {
        println!(r#"{{"name":"{name}","value":{value},"unit":"{unit}"}}"#);
    }
    Ok(())
}
