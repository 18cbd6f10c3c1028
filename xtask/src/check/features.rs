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

/// What stands before a function that a runner runs, within this many lines.
const TEST_MARKS: &[&str] = &["#[test]", "#[tokio::test", "#[wasm_bindgen_test"];
/// A file whose functions a runner without attributes is given by name.
const LISTED: &str = "Trial::test(";
const MARK_DISTANCE: usize = 8;

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
        return (!text.contains(name)).then(|| format!("`{path}` has no test {name:?}"));
    }
    let lines: Vec<&str> = text.lines().collect();
    let start = format!("fn {name}(");
    let Some(at) = lines.iter().position(|line| line.contains(&start)) else {
        return Some(format!("`{path}` has no function {name}"));
    };
    let before = lines
        .get(at.saturating_sub(MARK_DISTANCE)..at)
        .unwrap_or_default();
    let is_listed = text.contains(LISTED);
    let marked = is_listed
        || before
            .iter()
            .any(|line| TEST_MARKS.iter().any(|mark| line.contains(mark)));
    (!marked).then(|| format!("`{name}` in `{path}` is no test"))
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

    fn read(path: &str) -> Option<String> {
        (path == "a.rs").then(|| "#[test]\nfn it_holds() {}\nfn helper() {}\n".to_owned())
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
