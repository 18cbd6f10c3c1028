//! Which crate may reach which: the arrows of docs/ARCHITECTURE.md, held over what cargo resolves.

use std::collections::BTreeSet;

use anyhow::Result;

use super::Findings;
use crate::shell;

/// What one of our crates may use of ours, and what it must never reach, however far down.
struct Rule {
    package: &'static str,
    ours: &'static [&'static str],
    never: &'static [&'static [&'static str]],
}

const RUNTIMES: &[&str] = &["tokio", "async-std", "smol", "async-io", "mio"];
const CLIENTS: &[&str] = &[
    "reqwest",
    "hyper",
    "hyper-util",
    "ureq",
    "isahc",
    "curl",
    "attohttpc",
    "awc",
    "axum",
    "h2",
    "tonic",
];
const PEERS: &[&str] = &[
    "libp2p",
    "libp2p-core",
    "libp2p-swarm",
    "quinn",
    "wtransport",
];
/// What speaks with a person at a terminal.
const TERMINALS: &[&str] = &["clap", "indicatif", "rpassword"];
const DATABASES: &[&str] = &["rocksdb", "librocksdb-sys", "redb"];
const ROCKSDB: &[&str] = &["rocksdb", "librocksdb-sys"];
/// What would tie the core to a clock, to randomness or to the standard library's threads.
const AMBIENT: &[&str] = &[
    "getrandom",
    "rand",
    "chrono",
    "time",
    "parking_lot",
    "rustix",
    "web-sys",
];

const RULES: &[Rule] = &[
    Rule {
        package: "perennis-shared",
        ours: &[],
        never: &[RUNTIMES, CLIENTS, PEERS, DATABASES, AMBIENT],
    },
    Rule {
        package: "perennis-store",
        ours: &["perennis-shared"],
        never: &[RUNTIMES, CLIENTS, PEERS],
    },
    Rule {
        package: "perennis-rt",
        ours: &["perennis-shared"],
        never: &[PEERS, DATABASES],
    },
    Rule {
        package: "perennis-net",
        ours: &["perennis-rt", "perennis-shared"],
        never: &[DATABASES],
    },
    Rule {
        package: "perennis-sdk",
        ours: &["perennis-net", "perennis-rt", "perennis-shared"],
        never: &[ROCKSDB],
    },
    Rule {
        package: "perennis",
        ours: &["perennis-sdk", "perennis-rt", "perennis-shared"],
        never: &[PEERS, DATABASES],
    },
    Rule {
        package: "perennis-node",
        ours: &[
            "perennis-net",
            "perennis-rt",
            "perennis-sdk",
            "perennis-store",
            "perennis-shared",
        ],
        never: &[TERMINALS],
    },
    Rule {
        package: "perennis-cli",
        ours: &[
            "perennis-net",
            "perennis-node",
            "perennis-rt",
            "perennis-sdk",
            "perennis-store",
            "perennis-shared",
        ],
        never: &[],
    },
    Rule {
        package: "xtask",
        ours: &[],
        never: &[RUNTIMES, CLIENTS, PEERS, DATABASES],
    },
];

/// The one crate that may name RocksDB.
const ROCKSDB_OWNER: &str = "perennis-store";

pub(super) fn check() -> Result<Findings> {
    let members = members()?;
    let mut findings = Findings::new();
    for rule in RULES {
        let reached = reached_by(rule.package)?;
        findings.extend(broken(rule, &members, &reached));
    }
    findings.extend(strangers(&members));
    findings.extend(direct_users_of("rocksdb")?);
    Ok(findings)
}

fn broken(rule: &Rule, members: &BTreeSet<String>, reached: &BTreeSet<String>) -> Findings {
    let mut findings = Findings::new();
    for name in reached.iter().filter(|name| name.as_str() != rule.package) {
        if members.contains(name) && !rule.ours.contains(&name.as_str()) {
            findings.push(format!("{} must not use {name}", rule.package));
        }
        if rule
            .never
            .iter()
            .any(|group| group.contains(&name.as_str()))
        {
            findings.push(format!(
                "{} reaches {name}; `cargo tree -p {} -i {name}` shows the way",
                rule.package, rule.package
            ));
        }
    }
    findings
}

/// Members without a rule: `perennis-tests` alone may use everything.
fn strangers(members: &BTreeSet<String>) -> Findings {
    members
        .iter()
        .filter(|name| {
            name.as_str() != "perennis-tests"
                && !RULES.iter().any(|rule| rule.package == name.as_str())
        })
        .map(|name| format!("{name} has no rule in xtask/src/check/arrows.rs"))
        .collect()
}

fn members() -> Result<BTreeSet<String>> {
    let text = shell::output(shell::cargo().args([
        "tree",
        "--locked",
        "--workspace",
        "--depth",
        "0",
        "--prefix",
        "none",
    ]))?;
    Ok(names(&text))
}

/// Every package that building this one needs on any target, development dependencies left out.
fn reached_by(package: &str) -> Result<BTreeSet<String>> {
    let mut cargo = shell::cargo();
    cargo.args([
        "tree",
        "--locked",
        "-p",
        package,
        "-e",
        "normal,build",
        "--target",
        "all",
        "--prefix",
        "none",
    ]);
    Ok(names(&shell::output(&mut cargo)?))
}

fn direct_users_of(dependency: &str) -> Result<Findings> {
    let mut cargo = shell::cargo();
    cargo.args([
        "tree",
        "--locked",
        "--workspace",
        "-i",
        dependency,
        "--depth",
        "1",
        "--target",
        "all",
        "--prefix",
        "none",
    ]);
    let users = names(&shell::output(&mut cargo)?);
    Ok(users
        .into_iter()
        .filter(|user| user != dependency && user != ROCKSDB_OWNER)
        .map(|user| format!("{user} names {dependency}; only {ROCKSDB_OWNER} may"))
        .collect())
}

/// The first word of each line: `name v1.2.3 (…)`.
fn names(tree: &str) -> BTreeSet<String> {
    tree.lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| !word.starts_with('['))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    const STORE: Rule = Rule {
        package: "perennis-store",
        ours: &["perennis-shared"],
        never: &[RUNTIMES],
    };

    #[test]
    fn a_forbidden_package_far_down_is_found() {
        let found = broken(
            &STORE,
            &set(&["perennis-shared"]),
            &set(&["perennis-store", "perennis-shared", "tokio"]),
        );
        assert_eq!(found.len(), 1);
        assert!(
            found.iter().all(|line| line.contains("reaches tokio")),
            "{found:?}"
        );
    }

    #[test]
    fn an_arrow_that_points_upward_is_found() {
        let found = broken(
            &STORE,
            &set(&["perennis-sdk"]),
            &set(&["perennis-store", "perennis-sdk"]),
        );
        assert_eq!(found, ["perennis-store must not use perennis-sdk"]);
    }

    #[test]
    fn allowed_arrows_pass() {
        assert!(
            broken(
                &STORE,
                &set(&["perennis-shared"]),
                &set(&["perennis-store", "perennis-shared", "bytes"])
            )
            .is_empty()
        );
    }

    #[test]
    fn a_member_without_a_rule_is_found() {
        assert_eq!(
            strangers(&set(&["perennis-shared", "perennis-tests", "perennis-new"])).len(),
            1
        );
    }
}
