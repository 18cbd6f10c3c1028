//! Other programs: run in the workspace's root, their output read, their memory looked up.
//!
//! What is run for a person to see is shown before it runs; a failure names the command. Here are only the ways to run a
//! command that interoperation and benches share: a node under test is [`crate::node::Node`], a user [`crate::home::Home`].
#![allow(
    clippy::print_stdout,
    reason = "the programs that use this talk to a person"
)]

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::binary;

/// A command in the workspace's root folder.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(binary::workspace());
    command
}

/// Runs the command in silence and returns its standard output.
///
/// # Errors
/// The program cannot be started, its status is not 0 (its standard error is in the message), or its output is not UTF-8.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot start {}", text(command)))?;
    if !output.status.success() {
        bail!(
            "{} failed: {}\n{}",
            text(command),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("output of {}", text(command)))
}

/// Shows the command, runs it, passes each line of its standard output on to the terminal, and returns the lines.
///
/// # Errors
/// The program cannot be started, or its status is not 0.
pub fn lines(command: &mut Command) -> Result<Vec<String>> {
    println!("$ {}", text(command));
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", text(command)))?;
    let stdout = child.stdout.take().context("the child's output is piped")?;
    let mut lines = Vec::new();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        println!("{line}");
        lines.push(line);
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("{} failed: {status}", text(command));
    }
    Ok(lines)
}

/// Resident memory of a process as the kernel counts it, in MiB.
///
/// # Errors
/// There is no such process, or this system has no /proc.
pub fn resident_mib(process: u32) -> Result<f64> {
    let path = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let kib: f64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|line| line.split_whitespace().next())
        .and_then(|kib| kib.parse().ok())
        .with_context(|| format!("no VmRSS in {path}"))?;
    Ok(kib / 1_024.0)
}

fn text(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_failing_command_is_an_error_that_names_it_and_what_it_said() {
        let error = output(Command::new("sh").args(["-c", "echo no >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("sh -c echo no >&2; exit 3 failed"),
            "{text}"
        );
        assert!(text.ends_with("no\n"), "{text}");
    }

    #[test]
    fn every_line_is_returned_even_when_it_is_not_utf_8() {
        let lines = lines(Command::new("printf").arg("a\\n\\377\\nb")).unwrap();
        assert_eq!(lines, ["a", "\u{fffd}", "b"]);
    }
}
