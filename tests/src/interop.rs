//! Interoperation with other implementations, each a real process on loopback.
//!
//! Every case is one line of docs/INTEROP.md, which the run writes: a function that tries one thing and says what showed that
//! it works. The cases of a peer that is not here are skipped, which the table and the end of the run say.
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
use crate::skipped::skipped_as;

/// A file that is large enough to need many blocks at once.
const DAG_BYTES: usize = 64 << 20;

/// One thing that must work, and what came of it.
struct Case {
    peer: &'static str,
    what: &'static str,
    outcome: Outcome,
}

/// What came of a case.
enum Outcome {
    /// It works; what showed that.
    Works(String),
    /// Why it does not.
    Fails(anyhow::Error),
    /// Why nobody knows.
    NotRun(String),
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
    let mut cases = kubo::cases(&scratch, &options)?;
    cases.extend(helia::cases(&scratch, &options)?);
    let (mut passed, mut failed) = (0, 0);
    for Case {
        peer,
        what,
        outcome,
    } in &cases
    {
        match outcome {
            Outcome::Works(shown) => {
                passed += 1;
                println!("ok      {peer}: {what} ({shown})");
            }
            Outcome::Fails(error) => {
                failed += 1;
                println!("FAILED  {peer}: {what}: {error:#}");
            }
            Outcome::NotRun(why) => println!("not run {peer}: {what}: {why}"),
        }
    }
    if !options.is_check {
        let file: PathBuf = binary::workspace().join("docs/INTEROP.md");
        fs::write(&file, table::document(&cases)).context("docs/INTEROP.md")?;
    }
    let not_run = cases.len() - passed - failed;
    println!("interop: {passed} passed, {failed} failed, {not_run} not run");
    ensure!(
        !cases.is_empty(),
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

/// The cases with one peer.
struct Suite<B: 'static> {
    peer: &'static str,
    /// What they need, by its name in the table of needs.
    need: &'static str,
    /// In their order.
    cases: &'static [(&'static str, Attempt<B>)],
}

impl<B> Suite<B> {
    /// Runs those that are wanted with what `start` starts of the peer. Where there is no peer they are skipped.
    fn run<P>(
        &self,
        options: &Options,
        peer: Option<P>,
        start: impl FnOnce(P) -> Result<B>,
    ) -> Result<Vec<Case>> {
        let Self { peer: name, .. } = *self;
        let wanted: Vec<_> = self
            .cases
            .iter()
            .filter(|(what, _)| options.wants(name, what))
            .collect();
        let case = |what, outcome| Case {
            peer: name,
            what,
            outcome,
        };
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let Some(peer) = peer else {
            let why = format!("{name} is not here");
            let not_run = wanted.iter().map(|(what, _)| {
                skipped_as(&format!("interop: {name}: {what}"), self.need, &why);
                case(what, Outcome::NotRun(why.clone()))
            });
            return Ok(not_run.collect());
        };
        let mut both = start(peer)?;
        let ran = wanted.iter().map(|(what, attempt)| {
            let outcome = attempt(&mut both).map_or_else(Outcome::Fails, Outcome::Works);
            case(what, outcome)
        });
        Ok(ran.collect())
    }
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

    fn suite(peer: Option<()>, words: &[&str]) -> Vec<Case> {
        let options = Options {
            is_check: true,
            filter: words.iter().map(ToString::to_string).collect(),
        };
        const SUITE: Suite<u8> = Suite {
            peer: "Kubo 1",
            need: "kubo",
            cases: &[
                ("CAR: a | b", |both| {
                    *both += 1;
                    Ok(format!("{both}"))
                }),
                ("IPNS", |both| bail!("not at {both}\nnor later")),
            ],
        };
        SUITE.run(&options, peer, |()| Ok(6)).unwrap()
    }

    #[test]
    fn what_was_not_run_is_never_said_to_work() {
        let line = |cases: &[Case]| {
            let text = table::document(cases);
            let lines = text.lines().filter(|line| line.starts_with("| Kubo"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let run = [
            "| Kubo 1 | CAR: a \\| b | works | 7 |",
            "| Kubo 1 | IPNS | **fails** | not at 7 |",
        ];
        assert_eq!(line(&suite(Some(()), &[])), run);
        assert_eq!(line(&suite(Some(()), &["car"])), run[..1]);
        let not_run: Vec<Case> = ["CAR: a | b", "IPNS"]
            .map(|what| Case {
                peer: "Kubo 1",
                what,
                outcome: Outcome::NotRun("Kubo 1 is not here".to_owned()),
            })
            .into();
        let expected = [
            "| Kubo 1 | CAR: a \\| b | not run | Kubo 1 is not here |",
            "| Kubo 1 | IPNS | not run | Kubo 1 is not here |",
        ];
        assert_eq!(line(&not_run), expected);
    }

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
