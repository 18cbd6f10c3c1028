//! Platform `cfg` only where the twins are: `rt/src` and `net/src/transport*`. Everything above them must
//! read the same for a browser and a server. A file of `sdk-wasm` may be empty elsewhere as a whole, and no less.

use anyhow::Result;

use super::{Findings, sources};

const ROOMS: &[&str] = &["rt/src/", "net/src/transport"];

/// The crates the rule is about; xtask is a tool for one kind of machine.
const CRATES: &[&str] = &[
    "shared/",
    "rt/",
    "net/",
    "sdk/",
    "sdk-wasm/",
    "node/",
    "cli/",
    "tests/src/",
];

const WORDS: &[&str] = &[
    "target_arch",
    "target_os",
    "target_family",
    "target_env",
    "target_vendor",
    "target_pointer_width",
    "unix",
    "windows",
    "wasm",
];

pub(super) fn check() -> Result<Findings> {
    let mut findings = Findings::new();
    for file in sources::rust_files()? {
        let applies = CRATES.iter().any(|place| file.path.starts_with(place))
            && !ROOMS.iter().any(|room| file.path.starts_with(room));
        if applies {
            findings.extend(platform_lines(&file.path, &file.text).map(|line| {
                format!(
                    "{}:{line}: platform cfg outside {}",
                    file.path,
                    ROOMS.join(" and ")
                )
            }));
        }
    }
    Ok(findings)
}

/// What leaves a whole file of `sdk-wasm` out where there is no browser.
fn is_whole_file(path: &str, line: &str) -> bool {
    path.starts_with("sdk-wasm/") && line.starts_with("#![cfg(target_family = \"wasm\")]")
}

/// Lines, from 1, with a `cfg` that asks for the platform.
fn platform_lines<'a>(path: &'a str, text: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.lines()
        .enumerate()
        .filter(move |(_, line)| asks_for_platform(line) && !is_whole_file(path, line))
        .map(|(index, _)| index + 1)
}

fn asks_for_platform(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    ["cfg(", "cfg!(", "cfg_attr(", "cfg_select!"]
        .iter()
        .any(|start| {
            code.find(start).is_some_and(|at| {
                code.get(at..).is_some_and(|condition| {
                    condition
                        .split(|c: char| !(c.is_alphanumeric() || c == '_'))
                        .any(|word| WORDS.contains(&word))
                })
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platform_conditions_are_told_from_others() {
        for line in [
            "#[cfg(target_arch = \"wasm32\")]",
            "    if cfg!(windows) {",
            "#![cfg_attr(not(unix), allow(dead_code))]",
            "#[cfg(all(test, target_os = \"linux\"))]",
        ] {
            assert!(asks_for_platform(line), "{line}");
        }
        for line in [
            "#[cfg(test)]",
            "#[cfg(feature = \"testing\")]",
            "// #[cfg(unix)]",
            "let unix = cfg(1);",
        ] {
            assert!(!asks_for_platform(line), "{line}");
        }
    }

    #[test]
    fn the_line_is_named() {
        let lines = |path| {
            platform_lines(path, "#![cfg(target_family = \"wasm\")]\n#[cfg(unix)]\nb")
                .collect::<Vec<_>>()
        };
        assert_eq!(lines("sdk/src/lib.rs"), [1, 2]);
        assert_eq!(lines("sdk-wasm/src/lib.rs"), [2]);
    }
}
