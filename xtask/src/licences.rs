//! The licence of every dependency, by cargo's own tree: needs no tool and no network, so it always runs.
//! The list of licences is that of deny.toml, which is read here, so that the two cannot differ.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};

use crate::{shell, workspace};

/// Fails on the first look at a dependency that no allowed licence covers.
///
/// # Errors
/// A dependency without an allowed licence (all are named), or no deny.toml.
pub(crate) fn run() -> Result<()> {
    let deny = std::fs::read_to_string(workspace::root().join("deny.toml"))
        .context("cannot read deny.toml")?;
    let allowed = allowed(&deny)?;
    let used = used()?;
    let refused: Vec<String> = used
        .iter()
        .filter(|(_, licence)| !covers(&allowed, licence))
        .map(|(package, licence)| format!("{package}: {licence:?}"))
        .collect();
    if refused.is_empty() {
        println!("{} packages, each under an allowed licence", used.len());
        Ok(())
    } else {
        bail!("not under an allowed licence:\n  {}", refused.join("\n  "))
    }
}

/// The packages that ours lead to, on any platform and with all of our features, each with its licence. The lockfile
/// lists more: what only a feature of a dependency would need that nobody asks for.
fn used() -> Result<BTreeMap<String, String>> {
    let tree = shell::output(shell::cargo().args([
        "tree",
        "--workspace",
        "--all-features",
        "--locked",
        "--target=all",
        "--prefix=none",
        "--format={p}|{l}",
    ]))?;
    let mut used = BTreeMap::new();
    for line in tree.lines().filter(|line| !line.is_empty()) {
        let (package, licence) = line
            .split_once('|')
            .context("cargo tree names no licence")?;
        let licence = licence.trim_end_matches("(*)").trim();
        used.insert(package.to_owned(), licence.to_owned());
    }
    Ok(used)
}

/// The strings of `allow = […]` under `[licenses]`.
fn allowed(deny: &str) -> Result<BTreeSet<String>> {
    let section = deny
        .split("[licenses]")
        .nth(1)
        .context("deny.toml has no [licenses]")?;
    let list = section
        .split("allow = [")
        .nth(1)
        .and_then(|rest| rest.split(']').next());
    let list = list.context("deny.toml allows no licences")?;
    Ok(list
        .split('"')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect())
}

/// Whether an SPDX expression can be met with the allowed licences. `/` is an old way to write OR.
fn covers(allowed: &BTreeSet<String>, expression: &str) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    any_of(allowed, &mut rest) && rest.is_empty()
}

/// `all-of OR all-of …`
fn any_of(allowed: &BTreeSet<String>, words: &mut &[&str]) -> bool {
    let mut met = all_of(allowed, words);
    while let [word, rest @ ..] = words
        && *word == "OR"
    {
        *words = rest;
        met |= all_of(allowed, words);
    }
    met
}

/// `term AND term …`
fn all_of(allowed: &BTreeSet<String>, words: &mut &[&str]) -> bool {
    let mut met = term(allowed, words);
    while let [word, rest @ ..] = words
        && *word == "AND"
    {
        *words = rest;
        met &= term(allowed, words);
    }
    met
}

/// `licence`, `licence WITH exception`, or an expression in brackets.
fn term(allowed: &BTreeSet<String>, words: &mut &[&str]) -> bool {
    match words {
        ["(", rest @ ..] => {
            *words = rest;
            let met = any_of(allowed, words);
            if let [")", rest @ ..] = words {
                *words = rest;
            }
            met
        }
        [licence, "WITH", exception, rest @ ..] => {
            let name = format!("{licence} WITH {exception}");
            *words = rest;
            allowed.contains(&name)
        }
        [licence, rest @ ..] => {
            let met = allowed.contains(*licence);
            *words = rest;
            met
        }
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn expressions_are_read_as_spdx_means_them() {
        let allowed = allowed("[licenses]\nallow = [\n \"MIT\",\n \"Apache-2.0\",\n \"Apache-2.0 WITH LLVM-exception\",\n]").unwrap();
        for yes in [
            "MIT",
            "MIT OR GPL-3.0",
            "GPL-2.0/MIT",
            "(MIT OR GPL-3.0) AND Apache-2.0",
            "Apache-2.0 WITH LLVM-exception",
            "GPL-3.0 OR MIT AND Apache-2.0",
        ] {
            assert!(covers(&allowed, yes), "{yes}");
        }
        for no in [
            "",
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "(MIT OR GPL-3.0) AND GPL-2.0",
            "MIT WITH Some-exception",
        ] {
            assert!(!covers(&allowed, no), "{no}");
        }
    }
}
