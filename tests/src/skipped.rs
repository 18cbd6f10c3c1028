//! What a test does that cannot run on this machine: it says so, and is counted as skipped.
//!
//! A test that needs what a machine may lack, such as a browser or another implementation, calls [`skipped`] and returns. Test
//! runners count it as passed and show nothing of it. So `cargo xtask test` names a file in [`FILE`], in which it is written down,
//! takes it from the tests that passed, and shows it at the end with what to install. Where [`REQUIRE`] names the need, the test
//! fails instead: that is for a machine that has to have it.
//!
//! This file uses the standard library alone. Tests below this crate and `xtask`, which uses no crate of ours, take it in by its path, so
//! that there is one table of needs.

use std::{env, fs::File, io::Write as _, thread};

/// Names what must not lack, separated by commas: needs of [`NEEDS`], or `all`.
pub const REQUIRE: &str = "PERENNIS_REQUIRE";

/// Names the file to which every skipped test adds a line.
pub const FILE: &str = "PERENNIS_SKIPPED";

/// Something that a test needs and a machine may lack.
#[derive(Debug, PartialEq, Eq)]
pub struct Need {
    /// How [`REQUIRE`] names it.
    pub name: &'static str,
    /// What it is.
    pub what: &'static str,
    /// How to get it.
    pub how: &'static str,
}

/// All that tests may lack.
pub const NEEDS: &[Need] = &[
    Need {
        name: "vectors",
        what: "the folder of public vectors",
        how: "name a folder with `codec`, `did` and `ipns` in PERENNIS_VECTORS, or lay it at ../shared/vectors",
    },
    Need {
        name: "cases",
        what: "the folder of files that other programs made",
        how: "name a folder with `labels` in PERENNIS_CASES, or lay it at ../shared/cases",
    },
    Need {
        name: "chromium",
        what: "Chromium and its driver",
        how: "apt-get install chromium chromium-driver",
    },
    Need {
        name: "nginx",
        what: "nginx",
        how: "apt-get install nginx",
    },
    Need {
        name: "kubo",
        what: "Kubo",
        how: "install Go (https://go.dev/dl), with which `cargo xtask interop` builds it, or name the program in PERENNIS_KUBO",
    },
    Need {
        name: "helia",
        what: "Helia",
        how: "install Node.js and npm, with which `cargo xtask interop` installs it, or name its folder in PERENNIS_HELIA",
    },
    Need {
        name: "small-disk",
        what: "a disk that a user may mount in a namespace of their own",
        how: "a Linux with unshare and nsenter (util-linux) that lets users make namespaces: sysctl user.max_user_namespaces, \
              kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns say whether it does",
    },
    Need {
        name: "strace",
        what: "strace, which sees what a program dials",
        how: "apt-get install strace, where the system lets a user trace their own processes",
    },
];

/// One test that was skipped, as a line of the file that [`FILE`] names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Skipped {
    /// The name of the need.
    pub need: String,
    /// The test that could not run.
    pub test: String,
    /// What was tried, and how it went.
    pub why: String,
}

/// Says that the test which calls this cannot run; it has to return then.
///
/// # Panics
/// Where `PERENNIS_REQUIRE` names the need, or what is no need; where `need` is none of [`NEEDS`]; and where the file that
/// `PERENNIS_SKIPPED` names cannot be written.
pub fn skipped(need: &str, why: &str) {
    let program = env::current_exe().ok();
    let program = program.as_ref().and_then(|path| path.file_stem()?.to_str());
    // Cargo puts a hash behind the name of a test's program.
    let program = program.map_or("?", |name| {
        name.rsplit_once('-').map_or(name, |(name, _)| name)
    });
    let thread = thread::current();
    // The test runner names a thread after the test that runs in it.
    let test = format!("{program}: {}", thread.name().unwrap_or("?"));
    skipped_as(&test, need, why);
}

/// As [`skipped`], for what has another name than its thread.
///
/// # Panics
/// As [`skipped`].
pub fn skipped_as(test: &str, need: &str, why: &str) {
    let required = env::var(REQUIRE).unwrap_or_default();
    if let Err(problem) = note(test, need, why, &required) {
        panic!("{problem}");
    }
}

fn note(test: &str, need: &str, why: &str, required: &str) -> Result<(), String> {
    let need = known(need)?;
    if parse_required(required)?.contains(&need.name) {
        let Need { name, what, how } = need;
        return Err(format!(
            "{test} needs {what}, and {REQUIRE} says that {name} must not lack: {why}. To get it: {how}"
        ));
    }
    let line = Skipped {
        need: need.name.to_owned(),
        test: test.to_owned(),
        why: why.to_owned(),
    };
    let Some(file) = env::var_os(FILE) else {
        return match std::io::stderr().write_all(format!("skipped: {test}: {why}\n").as_bytes()) {
            Ok(()) => Ok(()),
            Err(error) => Err(format!("{test} is skipped, which cannot be told: {error}")),
        };
    };
    let opened = File::options().append(true).create(true).open(&file);
    // One call: other tests write to it at the same time.
    opened
        .and_then(|mut file| file.write_all(line.to_line().as_bytes()))
        .map_err(|error| format!("{FILE} names {}: {error}", file.display()))
}

/// The need of this name.
///
/// # Errors
/// There is none.
pub fn known(name: &str) -> Result<&'static Need, String> {
    NEEDS.iter().find(|need| need.name == name).ok_or_else(|| {
        let names: Vec<_> = NEEDS.iter().map(|need| need.name).collect();
        format!(
            "no need of tests is called {name:?}; there are {}",
            names.join(", ")
        )
    })
}

/// The needs that a value of [`REQUIRE`] names.
///
/// # Errors
/// It names what is none.
pub fn parse_required(value: &str) -> Result<Vec<&'static str>, String> {
    let words = value
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty());
    let mut required = Vec::new();
    for word in words {
        if word == "all" {
            required.extend(NEEDS.iter().map(|need| need.name));
        } else {
            let need = known(word).map_err(|problem| format!("{REQUIRE}: {problem}, and all"))?;
            required.push(need.name);
        }
    }
    Ok(required)
}

impl Skipped {
    /// Three parts with tabs between them.
    fn to_line(&self) -> String {
        let plain = |text: &str| text.replace(['\t', '\n', '\r'], " ");
        let [need, test, why] = [&self.need, &self.test, &self.why].map(|text| plain(text));
        format!("{need}\t{test}\t{why}\n")
    }

    /// Reads a line; `None` where it is none.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let mut parts = line.splitn(3, '\t').map(str::to_owned);
        Some(Self {
            need: parts.next()?,
            test: parts.next()?,
            why: parts.next()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let skipped = Skipped {
            need: "nginx".to_owned(),
            test: "scenarios: a\ttest".to_owned(),
            why: "two\nlines".to_owned(),
        };
        let read = Skipped::parse(skipped.to_line().trim_end());
        let expected = Skipped {
            test: "scenarios: a test".to_owned(),
            why: "two lines".to_owned(),
            ..skipped
        };
        assert_eq!(read, Some(expected));
        assert_eq!(Skipped::parse("nginx\tscenarios"), None);
    }

    #[test]
    fn what_is_required_is_known_or_refused() {
        assert_eq!(parse_required(""), Ok(Vec::new()));
        assert_eq!(parse_required(" nginx, kubo,"), Ok(vec!["nginx", "kubo"]));
        assert_eq!(parse_required("all").map(|all| all.len()), Ok(NEEDS.len()));
        let problem = parse_required("nginx,chrome").err().unwrap_or_default();
        assert!(problem.contains("PERENNIS_REQUIRE"), "{problem}");
        assert!(problem.contains("\"chrome\""), "{problem}");
        assert!(problem.contains("chromium, nginx"), "{problem}");
    }

    #[test]
    fn a_need_that_is_required_fails_the_test_and_says_how_to_get_it() {
        for required in ["nginx", "all", "kubo,nginx"] {
            let problem = note("scenarios: proxy", "nginx", "it does not start", required)
                .err()
                .unwrap_or_default();
            for part in [
                "scenarios: proxy",
                "PERENNIS_REQUIRE",
                "it does not start",
                "apt-get install nginx",
            ] {
                assert!(problem.contains(part), "{problem}");
            }
        }
        assert!(note("a", "nginx", "why", "ngnix").is_err());
        assert!(note("a", "ngnix", "why", "").is_err());
    }
}
