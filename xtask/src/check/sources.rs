//! The source files, and rules about each: its length, its name, and no word that says it is unfinished.

use std::path::Path;

use anyhow::{Context, Result};

use super::Findings;
use crate::{shell, workspace};

/// A file that git knows, with its path from the root.
pub(super) struct SourceFile {
    pub(super) path: String,
    pub(super) text: String,
}

/// Past this a file holds two things.
const MAX_LINES: usize = 600;

/// Cut in two so that this file does not name what it looks for.
const UNFINISHED: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
    concat!("HA", "CK:"),
];

pub(super) fn check() -> Result<Findings> {
    Ok(rust_files()?.iter().flat_map(broken).collect())
}

fn broken(file: &SourceFile) -> Findings {
    let mut findings = Findings::new();
    let lines = file.text.lines().count();
    if lines > MAX_LINES {
        findings.push(format!(
            "{}: {lines} lines, more than {MAX_LINES}",
            file.path
        ));
    }
    if Path::new(&file.path)
        .file_name()
        .is_some_and(|name| name == "mod.rs")
    {
        findings.push(format!(
            "{}: name it after its folder, beside it",
            file.path
        ));
    }
    for (index, line) in file.text.lines().enumerate() {
        if let Some(word) = UNFINISHED.iter().find(|word| line.contains(*word)) {
            findings.push(format!("{}:{}: {word}", file.path, index + 1));
        }
        if ["<<<<<<< ", ">>>>>>> "]
            .iter()
            .any(|marker| line.starts_with(marker))
        {
            findings.push(format!("{}:{}: a conflict marker", file.path, index + 1));
        }
    }
    findings
}

/// Every Rust file in the repository.
pub(super) fn rust_files() -> Result<Vec<SourceFile>> {
    files("*.rs")
}

/// Files that git knows or would add, by pattern, sorted.
pub(super) fn files(pattern: &str) -> Result<Vec<SourceFile>> {
    let mut git = shell::command("git");
    git.args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "--deduplicate",
        "--",
        pattern,
    ]);
    let mut files = Vec::new();
    for path in shell::output(&mut git)?.lines() {
        let full = workspace::root().join(path);
        // A file that is deleted and not yet committed is still listed.
        if full.is_file() {
            let text =
                std::fs::read_to_string(&full).with_context(|| format!("cannot read {path}"))?;
            files.push(SourceFile {
                path: path.to_owned(),
                text,
            });
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_misnamed_and_unfinished_files_are_found() {
        let file = |path: &str, text: String| SourceFile {
            path: path.to_owned(),
            text,
        };
        assert_eq!(broken(&file("a/mod.rs", "//\n".repeat(601))).len(), 2);
        assert_eq!(
            broken(&file("a.rs", format!("// {} later", concat!("TO", "DO")))).len(),
            1
        );
        assert!(broken(&file("a.rs", "//\n".repeat(600))).is_empty());
    }
}
