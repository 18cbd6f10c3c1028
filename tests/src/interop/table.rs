//! The document that a run writes: docs/INTEROP.md, a line for each case in the order in which they ran.
//!
//! The whole file is written by a run, so nobody adds to it by hand. It says what showed that a case works, or the first line of
//! why it does not.

use std::fmt::Write as _;

use super::Case;

const HEAD: &str = "\
# Interoperation

Written by `cargo xtask interop`: every line is a case that ran against a real process of the other implementation, on
loopback, with a private bootstrap. `cargo xtask interop --check` runs them without writing this file.

| peer | what | | shown by |
|---|---|---|---|
";

pub(super) fn document(cases: &[Case]) -> String {
    let mut text = HEAD.to_owned();
    for case in cases {
        let (mark, shown) = match &case.outcome {
            Ok(shown) => ("works", shown.clone()),
            Err(error) => (
                "**fails**",
                format!("{error:#}")
                    .lines()
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
            ),
        };
        let shown = shown.replace('|', "\\|");
        // Writing to a string does not fail.
        let _ = writeln!(text, "| {} | {} | {mark} | {shown} |", case.peer, case.what);
    }
    text
}
