//! `xtask check`: rules of the house that no compiler knows. Each is a file; each says all it found, not only the
//! first.

mod arrows;
mod documents;
mod features;
mod floors;
mod imports;
mod platform;
mod sources;

use anyhow::{Result, bail, ensure};

/// A check returns what it found wrong, one line each.
type Findings = Vec<String>;

type Check = fn() -> Result<Findings>;

const CHECKS: &[(&str, Check)] = &[
    ("arrows", arrows::check),
    ("floors", floors::check),
    ("platform", platform::check),
    ("sources", sources::check),
    ("features", features::check),
    ("documents", documents::check),
];

/// Runs the named checks, or all.
///
/// # Errors
/// Something was found, or a name is no check's.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    for argument in arguments {
        let known: Vec<_> = CHECKS.iter().map(|(name, _)| *name).collect();
        ensure!(
            known.contains(&argument.as_str()),
            "no check is called {argument:?}; there are {}",
            known.join(", ")
        );
    }
    let mut total = 0;
    for (name, check) in CHECKS {
        if !arguments.is_empty() && !arguments.iter().any(|wanted| wanted == name) {
            continue;
        }
        let findings = check()?;
        println!(
            "check {name}: {}",
            if findings.is_empty() { "ok" } else { "FAILED" }
        );
        for finding in &findings {
            println!("  {finding}");
        }
        total += findings.len();
    }
    match total {
        0 => Ok(()),
        _ => bail!("{total} broken rules"),
    }
}
