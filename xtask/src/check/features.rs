//! docs/FEATURES.md against the code: every row of the mission is there once, says how far it is, and every test it
//! names exists and is a test.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::Findings;
use crate::workspace;

const TABLE: &str = "docs/FEATURES.md";

/// Names the test behind each promise.
const PROMISES: &str = "docs/SECURITY.md";

/// Letters of the mission and how many rows each has.
const ROWS: &[(char, u32)] = &[
    ('A', 17),
    ('B', 23),
    ('C', 14),
    ('D', 12),
    ('E', 9),
    ('F', 10),
];

/// What marks a function that a runner runs.
const TEST_MARKS: &[&str] = &["#[test]", "#[tokio::test", "#[wasm_bindgen_test"];
/// What marks one that a runner leaves out.
const IGNORED: &str = "#[ignore";
/// How a runner without attributes is given what it runs.
const TRIAL: &str = "Trial::test(";

pub(super) fn check() -> Result<Findings> {
    let text = std::fs::read_to_string(workspace::root().join(TABLE))
        .with_context(|| format!("cannot read {TABLE}"))?;
    let read = |path: &str| std::fs::read_to_string(workspace::root().join(path)).ok();
    let mut found = findings(&text, read);
    let promises = read(PROMISES).with_context(|| format!("cannot read {PROMISES}"))?;
    found.extend(
        named_tests(&promises)
            .filter_map(|test| problem_with(test, &read))
            .map(|problem| format!("{PROMISES}: {problem}")),
    );
    Ok(found)
}

/// Every `path.rs::name` in a text.
fn named_tests(text: &str) -> impl Iterator<Item = &str> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .filter(|span| span.contains(".rs::"))
}

/// One row: `| A1 | part | works | `path::test`, … |`.
struct FeatureRow<'a> {
    id: &'a str,
    status: &'a str,
    tests: Vec<&'a str>,
}

fn findings(table: &str, read: impl Fn(&str) -> Option<String>) -> Findings {
    let mut findings = Findings::new();
    let rows: Vec<FeatureRow<'_>> = table.lines().filter_map(parse_row).collect();
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    for row in &rows {
        *seen.entry(row.id).or_default() += 1;
        match (row.status, row.tests.is_empty()) {
            ("works" | "partly", true) => findings.push(format!(
                "{TABLE}: {} {} and names no test",
                row.id, row.status
            )),
            ("works" | "partly" | "not yet", _) => {}
            (other, _) => findings.push(format!(
                "{TABLE}: {} is {other:?}, not works, partly or not yet",
                row.id
            )),
        }
        for test in &row.tests {
            if let Some(problem) = problem_with(test, &read) {
                findings.push(format!("{TABLE}: {}: {problem}", row.id));
            }
        }
    }
    for (letter, count) in ROWS {
        for number in 1..=*count {
            let id = format!("{letter}{number}");
            match seen.remove(id.as_str()) {
                Some(1) => {}
                Some(more) => findings.push(format!("{TABLE}: {id} stands there {more} times")),
                None => findings.push(format!("{TABLE}: {id} is missing")),
            }
        }
    }
    findings.extend(
        seen.keys()
            .map(|id| format!("{TABLE}: {id} is no row of the mission")),
    );
    findings
}

fn parse_row(line: &str) -> Option<FeatureRow<'_>> {
    let mut cells = line.trim().strip_prefix('|')?.split('|').map(str::trim);
    let id = cells.next()?;
    let is_id = id.len() >= 2
        && id.starts_with(|c: char| c.is_ascii_uppercase())
        && id.get(1..)?.chars().all(|c| c.is_ascii_digit());
    if !is_id {
        return None;
    }
    let _part = cells.next()?;
    let status = cells.next()?;
    let tests = cells.next()?.split('`').skip(1).step_by(2).collect();
    Some(FeatureRow { id, status, tests })
}

/// `path/to/file.rs::name` or `path/to/file.mjs::words of its title`.
fn problem_with(test: &str, read: &impl Fn(&str) -> Option<String>) -> Option<String> {
    let Some((path, name)) = test.split_once("::") else {
        return Some(format!("`{test}` is not of the form path::name"));
    };
    let Some(text) = read(path) else {
        return Some(format!("`{path}` does not exist"));
    };
    if !path.ends_with(".rs") {
        return (!has_titled_test(&text, name)).then(|| format!("`{path}` has no test {name:?}"));
    }
    let lines: Vec<&str> = text.lines().collect();
    let start = format!("fn {name}(");
    let Some(at) = lines.iter().position(|line| line.contains(&start)) else {
        return Some(format!("`{path}` has no function {name}"));
    };
    let attributes = attributes_above(&lines[..at]);
    let has = |mark: &str| attributes.iter().any(|line| line.starts_with(mark));
    if has(IGNORED) {
        return Some(format!(
            "`{name}` in `{path}` is ignored: no run of the tests shows anything by it"
        ));
    }
    let is_test = TEST_MARKS.iter().any(|mark| has(mark)) || is_trial(&text, name);
    (!is_test).then(|| format!("`{name}` in `{path}` is no test"))
}

/// The attributes of the item behind these lines, and what is written of it.
fn attributes_above<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    let mut above = Vec::new();
    let mut inside = false;
    for line in lines.iter().rev().map(|line| line.trim()) {
        let begins = line.starts_with("#[");
        if !begins && !line.starts_with("//") && !inside && !line.ends_with(")]") {
            break;
        }
        // An attribute of several lines is read from its end.
        inside = !begins && (inside || line.ends_with(")]"));
        above.push(line);
    }
    above
}

/// Whether a trial that the file makes calls the function.
fn is_trial(text: &str, name: &str) -> bool {
    let call = format!("{name}(");
    text.match_indices(TRIAL).any(|(at, _)| {
        let trial = enclosed(&text[at + TRIAL.len()..]);
        trial.match_indices(&call).any(|(at, _)| {
            !trial[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '.'))
        }) && !text[at + TRIAL.len() + trial.len()..].starts_with(").with_ignored_flag(true)")
    })
}

/// The text up to the bracket that closes it.
fn enclosed(text: &str) -> &str {
    let mut open = 1;
    let end = text.find(|c| {
        match c {
            '(' => open += 1,
            ')' => open -= 1,
            _ => {}
        }
        open == 0
    });
    &text[..end.unwrap_or(text.len())]
}

/// Whether a test of Node's runner has these words in its title, and runs.
fn has_titled_test(text: &str, words: &str) -> bool {
    let calls = text
        .lines()
        .filter(|line| line.trim_start().starts_with("test("));
    calls.filter(|line| line.contains(words)).any(|line| {
        !["skip:", "todo:"]
            .iter()
            .any(|option| line.contains(option))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full_table() -> String {
        ROWS.iter()
            .flat_map(|(letter, count)| {
                (1..=*count).map(move |n| format!("| {letter}{n} | part | not yet | |\n"))
            })
            .collect()
    }

    const TESTS: &str = "\
#[test]
fn it_holds() {}
fn helper() {}

#[test]
#[ignore = \"another test starts it\"]
fn left_out() {}

/// What it shows.
#[tokio::test(
    flavor = \"multi_thread\"
)]
async fn it_waits() {}
";

    const TRIALS: &str = "\
fn add(trials: &mut Vec<Trial>) {
    trials.push(Trial::test(name(\"a\"), move || it_is_equal(&vector)));
    trials.push(Trial::test(\"b\", move || left_out()).with_ignored_flag(true));
    unlike_it_is_equal(1);
    helper(2);
}
fn it_is_equal() {}
fn left_out() {}
fn equal() {}
fn helper() {}
";

    const TITLES: &str = "\
test(\"the page opens\", async () => {
  await click(\"a button\");
});
test(\"it prints\", { skip: true }, () => {});
";

    fn read(path: &str) -> Option<String> {
        let text = match path {
            "a.rs" => TESTS,
            "trials.rs" => TRIALS,
            "page.mjs" => TITLES,
            _ => return None,
        };
        Some(text.to_owned())
    }

    #[test]
    fn only_what_a_runner_runs_is_a_proof() {
        for proof in [
            "a.rs::it_holds",
            "a.rs::it_waits",
            "trials.rs::it_is_equal",
            "page.mjs::the page opens",
        ] {
            assert_eq!(problem_with(proof, &read), None);
        }
        for (none, why) in [
            ("a.rs::helper", "is no test"),
            ("a.rs::left_out", "is ignored"),
            ("trials.rs::helper", "is no test"),
            ("trials.rs::equal", "is no test"),
            ("trials.rs::left_out", "is no test"),
            ("page.mjs::a button", "has no test"),
            ("page.mjs::it prints", "has no test"),
        ] {
            let problem = problem_with(none, &read).unwrap_or_default();
            assert!(problem.contains(why), "{none}: {problem}");
        }
    }

    #[test]
    fn tests_are_found_in_running_text() {
        let text = "`a` and `a.rs::it_holds`, `b.rs::gone`; a.rs::bare";
        assert_eq!(
            named_tests(text).collect::<Vec<_>>(),
            ["a.rs::it_holds", "b.rs::gone"]
        );
    }

    #[test]
    fn a_full_table_passes() {
        assert_eq!(findings(&full_table(), read), Findings::new());
        let table = full_table().replace(
            "| A1 | part | not yet | |",
            "| A1 | part | works | `a.rs::it_holds` |",
        );
        assert_eq!(findings(&table, read), Findings::new());
    }

    #[test]
    fn what_is_wrong_is_found() {
        let with = |row: &str| {
            findings(
                &full_table().replace("| A1 | part | not yet | |", row),
                read,
            )
        };
        assert_eq!(with("| A1 | part | works | |").len(), 1, "no test");
        assert_eq!(
            with("| A1 | part | works | `a.rs::gone` |").len(),
            1,
            "no such function"
        );
        assert_eq!(
            with("| A1 | part | works | `b.rs::it_holds` |").len(),
            1,
            "no such file"
        );
        assert_eq!(
            with("| A1 | part | done | `a.rs::it_holds` |").len(),
            1,
            "no such status"
        );
        assert_eq!(with("").len(), 1, "a missing row");
        assert_eq!(
            with("| A2 | part | not yet | |").len(),
            2,
            "a double row and a missing one"
        );
        assert_eq!(
            with("| A1 | part | not yet | |\n| G1 | part | not yet | |").len(),
            1,
            "an unknown row"
        );
    }
}
