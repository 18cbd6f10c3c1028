//! What came of the tests: counted from the lines of their runners, and from what skipped tests wrote down.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    path::PathBuf,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    skipped::{self, Skipped},
    workspace,
};

/// Tests counted from the lines of cargo's test runner, wasm-bindgen's, Node's, and the run of interoperation.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    passed: u64,
    failed: u64,
    /// Those that could not run here.
    skipped: BTreeSet<Skipped>,
    /// Those that runners leave out and that something else runs, with the reason that stands there.
    left_out: Vec<String>,
}

impl Tally {
    /// Adds what a line says: `test result: ok. 3 passed; 0 failed; 1 ignored; …`, `# pass 3` of Node's runner, or
    /// `interop: 3 passed, 0 failed, …`.
    pub(super) fn read(&mut self, line: &str) {
        if let Some((what, Ok(count))) = line
            .strip_prefix("# ")
            .and_then(|rest| rest.split_once(' '))
            .map(|(what, count)| (what, count.parse::<u64>()))
        {
            match what {
                "pass" => self.passed += count,
                "fail" => self.failed += count,
                _ => {}
            }
        }
        // `ok 3 - the page opens # SKIP chromium: why`
        if let Some((test, why)) = line.split_once(" # SKIP ")
            && let Some((_, test)) = test.trim_start().split_once(" - ")
        {
            let (need, why) = why.split_once(": ").unwrap_or(("?", why));
            self.skipped.insert(Skipped {
                need: need.to_owned(),
                test: test.to_owned(),
                why: why.to_owned(),
            });
        }
        if let Some((test, reason)) = line.split_once(" ... ignored, ") {
            let test = test.trim_start().trim_start_matches("test ");
            self.left_out.push(format!("{test}: {reason}"));
        }
        let line = line.trim_start();
        let prefixes = ["test result: ", "interop: "];
        let Some(rest) = prefixes.iter().find_map(|prefix| line.strip_prefix(prefix)) else {
            return;
        };
        for part in rest.split(['.', ';', ',']) {
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
                _ => {}
            }
        }
    }

    /// Adds what a step as a whole lacks.
    ///
    /// # Errors
    /// `PERENNIS_REQUIRE` names it.
    pub(super) fn skip_step(&mut self, step: &str, need: &str, why: &str) -> Result<()> {
        let required = std::env::var(skipped::REQUIRE).unwrap_or_default();
        self.skip(step, need, why, &required)
    }

    fn skip(&mut self, step: &str, need: &str, why: &str, required: &str) -> Result<()> {
        let required = skipped::parse_required(required).map_err(anyhow::Error::msg)?;
        let need = skipped::known(need).map_err(anyhow::Error::msg)?;
        ensure!(
            !required.contains(&need.name),
            "the step {step} needs {}, and {} says that {} must not lack: {why}. To get it: {}",
            need.what,
            skipped::REQUIRE,
            need.name,
            need.how
        );
        println!("skipped: {step}: {why}");
        self.skipped.insert(Skipped {
            need: need.name.to_owned(),
            test: format!("the step {step}"),
            why: why.to_owned(),
        });
        Ok(())
    }

    /// Adds what skipped tests wrote; `counted` says whether their runner counted them as passed.
    fn add(&mut self, written: &str, counted: bool) -> Result<()> {
        // A test that needs two things is one test.
        let mut tests = BTreeSet::new();
        for line in written.lines() {
            let skipped =
                Skipped::parse(line).with_context(|| format!("no skipped test: {line:?}"))?;
            tests.insert(skipped.test.clone());
            self.skipped.insert(skipped);
        }
        if counted {
            let tests = tests.len() as u64;
            let passed = self.passed.checked_sub(tests);
            self.passed =
                passed.with_context(|| format!("{tests} skipped tests, and fewer that passed"))?;
        }
        Ok(())
    }

    /// How many tests there were that passed.
    pub(super) fn passed(&self) -> u64 {
        self.passed
    }
}

/// Where the skipped tests of one step write.
pub(super) struct Notes(PathBuf);

impl Notes {
    /// Empty ones.
    ///
    /// # Errors
    /// They cannot be made.
    pub(super) fn of(step: &str) -> Result<Self> {
        let folder = workspace::target().join("skipped");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Self::at(folder.join(step))
    }

    fn at(file: PathBuf) -> Result<Self> {
        fs::write(&file, "").with_context(|| format!("cannot write {}", file.display()))?;
        Ok(Self(file))
    }

    /// Has the command, and what it starts, write here.
    pub(super) fn are_written_by<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env(skipped::FILE, &self.0)
    }

    /// Adds what was written; `counted` says whether the tests were counted as passed.
    ///
    /// # Errors
    /// What stands there is no list of skipped tests.
    pub(super) fn add_to(&self, tally: &mut Tally, counted: bool) -> Result<()> {
        let Self(file) = self;
        let written = fs::read_to_string(file);
        let written = written.with_context(|| format!("cannot read {}", file.display()))?;
        tally
            .add(&written, counted)
            .with_context(|| file.display().to_string())
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tests: BTreeSet<&str> = self.skipped.iter().map(|one| one.test.as_str()).collect();
        write!(
            f,
            "tests: {} passed, {} failed, {} skipped",
            self.passed,
            self.failed,
            tests.len()
        )?;
        let mut by_need: BTreeMap<&str, Vec<&Skipped>> = BTreeMap::new();
        for one in &self.skipped {
            by_need.entry(&one.need).or_default().push(one);
        }
        for (name, list) in by_need {
            match skipped::known(name) {
                Ok(need) => write!(f, "\n\nskipped for want of {}; {}", need.what, need.how)?,
                Err(_) => write!(f, "\n\nskipped for want of {name}")?,
            }
            for Skipped { test, why, .. } in list {
                write!(f, "\n  {test}: {why}")?;
            }
        }
        if !self.left_out.is_empty() {
            write!(f, "\n\nnot run by themselves, but by what is said of each")?;
            for line in &self.left_out {
                write!(f, "\n  {line}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod unit {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn of(lines: &[&str]) -> Tally {
        let mut tally = Tally::default();
        lines.iter().for_each(|line| tally.read(line));
        tally
    }

    #[test]
    fn all_runners_are_added_up() {
        let tally = of(&[
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s",
            "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out",
            "# tests 5",
            "# pass 4",
            "# fail 1",
            "# skipped 0",
            "# a comment",
            "interop: 6 passed, 1 failed, 20 not run",
        ]);
        assert_eq!((tally.passed, tally.failed), (15, 3));
        assert_eq!(tally.to_string(), "tests: 15 passed, 3 failed, 0 skipped");
    }

    #[test]
    fn what_could_not_run_is_not_counted_as_passed() {
        let mut tally = of(&["test result: ok. 9 passed; 0 failed; 0 ignored"]);
        let written = "nginx\tscenarios: proxy\tno nginx\nkubo\tscenarios: proxy\tno ipfs\n\
                       nginx\tscenarios: proxy\tno nginx\nnginx\tscenarios: another\tno nginx\n";
        tally.add(written, true).unwrap();
        tally
            .add("helia\tinterop: CAR\tHelia is not here\n", false)
            .unwrap();
        let shown = tally.to_string();
        let expected = "tests: 7 passed, 0 failed, 3 skipped\n\n\
                        skipped for want of Helia; install Node.js";
        assert!(shown.starts_with(expected), "{shown}");
        for part in [
            "skipped for want of nginx; apt-get install nginx\n  \
             scenarios: another: no nginx\n  scenarios: proxy: no nginx",
            "\n  scenarios: proxy: no ipfs",
        ] {
            assert!(shown.contains(part), "{shown}");
        }
        assert!(tally.add("no list\n", true).is_err());
        assert!(of(&[]).add(written, true).is_err(), "more than passed");
    }

    #[test]
    fn a_test_of_nodes_runner_is_skipped_with_its_need() {
        let tally = of(&[
            "ok 3 - the page opens # SKIP chromium: it is not there",
            "# pass 1",
        ]);
        assert_eq!(tally.passed, 1);
        let shown = tally.to_string();
        assert!(shown.contains("1 passed, 0 failed, 1 skipped"), "{shown}");
        assert!(shown.contains("the page opens: it is not there"), "{shown}");
        assert!(shown.contains("apt-get install chromium"), "{shown}");
    }

    #[test]
    fn what_a_runner_leaves_out_is_shown_with_its_reason_and_is_not_skipped() {
        let tally = of(&[
            "test crash::long ... ignored, cargo xtask bench crash runs it",
            "test result: ok. 1 passed; 0 failed; 1 ignored",
        ]);
        let shown = tally.to_string();
        assert!(
            shown.starts_with("tests: 1 passed, 0 failed, 0 skipped\n"),
            "{shown}"
        );
        assert!(
            shown.ends_with("\n  crash::long: cargo xtask bench crash runs it"),
            "{shown}"
        );
    }

    #[test]
    fn a_step_that_cannot_run_is_skipped_unless_it_is_required() {
        let mut tally = Tally::default();
        tally
            .skip("browser", "chromium", "no apt-get", "nginx")
            .unwrap();
        assert!(tally.to_string().contains("the step browser: no apt-get"));
        for required in ["chromium", "all"] {
            let error = tally.skip("browser", "chromium", "no apt-get", required);
            let error = error.unwrap_err().to_string();
            assert!(error.contains("PERENNIS_REQUIRE"), "{error}");
            assert!(error.contains("apt-get install chromium"), "{error}");
        }
        assert!(tally.skip("browser", "chrome", "", "").is_err());
        assert!(tally.skip("browser", "chromium", "", "chrome").is_err());
    }

    #[test]
    fn what_a_program_writes_into_the_notes_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let notes = Notes::at(folder.path().join("tests")).unwrap();
        let script = r#"printf 'kubo\ta: b\tno ipfs\n' >> "$PERENNIS_SKIPPED""#;
        let mut shell = Command::new("sh");
        notes.are_written_by(shell.args(["-c", script]));
        assert!(shell.status().unwrap().success());
        let mut tally = of(&["test result: ok. 2 passed; 0 failed; 0 ignored"]);
        notes.add_to(&mut tally, true).unwrap();
        assert_eq!((tally.passed(), tally.skipped.len()), (1, 1));
        fs::remove_file(&notes.0).unwrap();
        assert!(
            notes.add_to(&mut tally, true).is_err(),
            "notes that are gone are not silence"
        );
    }
}
