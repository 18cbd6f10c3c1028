//! Documents: every relative link leads to a file of the repository.

use std::path::{Component, Path, PathBuf};

use anyhow::Result;

use super::{Findings, sources};
use crate::workspace;

/// What a newcomer looks for.
const REQUIRED: &[&str] = &[
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "docs/ARCHITECTURE.md",
    "docs/BENCHMARKS.md",
    "docs/FEATURES.md",
    "docs/FORMAT.md",
    "docs/OPERATIONS.md",
    "docs/SECURITY.md",
    "docs/did-ipns-method.md",
];

pub(super) fn check() -> Result<Findings> {
    let mut findings: Findings = REQUIRED
        .iter()
        .filter(|path| !workspace::root().join(path).is_file())
        .map(|path| format!("{path} is missing"))
        .collect();
    for file in sources::files("*.md")? {
        for link in links(&file.text) {
            let folder = Path::new(&file.path).parent().unwrap_or(Path::new(""));
            let Some(target) = inside(&folder.join(link)) else {
                findings.push(format!("{}: {link} leads out of the repository", file.path));
                continue;
            };
            if !workspace::root().join(&target).exists() {
                findings.push(format!("{}: {link} leads nowhere", file.path));
            }
        }
    }
    Ok(findings)
}

/// Targets of `](…)` that are paths, without their fragment.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| {
        let target = rest.split(')').next()?.split('#').next()?;
        let is_path = !target.is_empty()
            && !target.contains("://")
            && !target.starts_with("mailto:")
            && !target.contains(char::is_whitespace);
        is_path.then_some(target)
    })
}

/// The path with `.` and `..` taken out; `None` where it would leave the root.
fn inside(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !clean.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_are_links_to_check() {
        let text = "[a](docs/A.md#part) [b](https://example.org/x) [c](#here) ![d](../d.svg)";
        assert_eq!(links(text).collect::<Vec<_>>(), ["docs/A.md", "../d.svg"]);
    }

    #[test]
    fn a_path_may_not_leave_the_repository() {
        assert_eq!(
            inside(Path::new("docs/../README.md")),
            Some(PathBuf::from("README.md"))
        );
        assert_eq!(inside(Path::new("../README.md")), None);
    }
}
