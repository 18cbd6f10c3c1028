//! Interoperation with other implementations, each a real process on loopback.
//!
//! Every case is one line of docs/INTEROP.md, which the run writes: a function that tries one thing and says what showed that
//! it works. A peer that is not here is said to be so in one line, and its cases are left out.
#![allow(
    clippy::print_stdout,
    reason = "a run tells a person what came of each case"
)]

mod helia;
mod kubo;
mod relay;
mod table;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use crate::binary;
use crate::node::Node;
use crate::peers::helia::Helia;
use crate::peers::kubo::Kubo;

/// A file that is large enough to need many blocks at once.
const DAG_BYTES: usize = 64 << 20;

/// One thing that must work, and what showed that it does.
struct Case {
    peer: &'static str,
    what: &'static str,
    outcome: Result<String>,
}

/// What a run is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Options {
    /// Whether the table is left as it is.
    is_check: bool,
    /// Only cases whose line has all of these words.
    filter: Vec<String>,
}

impl Options {
    /// `[--check] [-- WORD…]`
    fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--check" => options.is_check = true,
                "--" => options.filter.extend(arguments.by_ref().cloned()),
                other => bail!("interop does not know {other}: it takes --check and -- WORD…"),
            }
        }
        ensure!(
            options.is_check || options.filter.is_empty(),
            "the table is written from all cases: with words it takes --check"
        );
        Ok(options)
    }

    fn wants(&self, peer: &str, what: &str) -> bool {
        let line = format!("{peer}: {what}").to_lowercase();
        let mut words = self.filter.iter();
        words.all(|word| line.contains(&word.to_lowercase()))
    }
}

/// Runs the cases of all peers that are there, and writes the table; with `--check` it does not, and runs those cases alone
/// whose line has all words behind `--`.
///
/// # Errors
/// A case fails, or no case has the words.
pub fn run(arguments: &[String]) -> Result<()> {
    let options = Options::parse(arguments)?;
    let scratch = binary::target().join("interop");
    if scratch.exists() {
        fs::remove_dir_all(&scratch).context("what the last run left")?;
    }
    fs::create_dir_all(&scratch)?;
    let mut cases = Vec::new();
    match Kubo::installed() {
        Some(kubo) => cases.extend(kubo::cases(&kubo, &scratch, &options)?),
        None => println!("interop: Kubo is not here: its cases are not run"),
    }
    match Helia::installed() {
        Some(helia) => cases.extend(helia::cases(&helia, &scratch, &options)?),
        None => println!("interop: Helia is not here: its cases are not run"),
    }
    let mut failed = 0;
    for case in &cases {
        match &case.outcome {
            Ok(shown) => println!("ok      {}: {} ({shown})", case.peer, case.what),
            Err(error) => {
                failed += 1;
                println!("FAILED  {}: {}: {error:#}", case.peer, case.what);
            }
        }
    }
    if !cases.is_empty() && !options.is_check {
        let file: PathBuf = binary::workspace().join("docs/INTEROP.md");
        fs::write(&file, table::document(&cases)).context("docs/INTEROP.md")?;
    }
    println!("interop: {} cases, {failed} failed", cases.len());
    ensure!(
        !cases.is_empty() || options.filter.is_empty(),
        "no case has the words {:?}",
        options.filter.join(" ")
    );
    if failed > 0 {
        bail!("{failed} cases of interoperation failed");
    }
    Ok(())
}

/// Tries one thing with both sides, and says what showed that it works.
type Attempt<B> = fn(&mut B) -> Result<String>;

/// Runs those of a peer's cases that are wanted, in their order, with what `start` starts.
fn run_cases<B>(
    peer: &'static str,
    cases: &[(&'static str, Attempt<B>)],
    options: &Options,
    start: impl FnOnce() -> Result<B>,
) -> Result<Vec<Case>> {
    let wanted: Vec<_> = cases
        .iter()
        .filter(|(what, _)| options.wants(peer, what))
        .collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let mut both = start()?;
    let mut done = Vec::new();
    for (what, attempt) in wanted {
        done.push(Case {
            peer,
            what,
            outcome: attempt(&mut both),
        });
    }
    Ok(done)
}

/// Starts a node of ours on a folder, with its log beside it.
fn start_node(data: &Path) -> Result<Node> {
    let mut command = Node::command(data, None, "127.0.0.1:0");
    command.args(["--gateway-listen", "127.0.0.1:0"]);
    command.stderr(fs::File::create(data.with_extension("log"))?);
    Node::launch(command, data)
}

/// A fresh folder.
fn folder(scratch: &Path, name: &str) -> Result<PathBuf> {
    let path = scratch.join(name);
    fs::create_dir_all(&path)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn words_choose_cases_and_never_write_a_table() {
        let parse = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(ToString::to_string).collect();
            Options::parse(&words)
        };
        let options = parse(&["--check", "--", "kubo", "CAR"]).unwrap();
        assert!(options.wants("Kubo 1", "CAR: exported here"));
        assert!(!options.wants("Helia 1", "CAR: exported here"));
        assert!(!options.wants("Kubo 1", "providers"));
        assert!(parse(&[]).unwrap().wants("Kubo 1", "providers"));
        assert!(parse(&["--", "kubo"]).is_err());
        assert!(parse(&["--chek"]).is_err());
    }
}
