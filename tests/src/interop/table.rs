//! The document that a run writes: docs/INTEROP.md, a line for each case in the order in which they ran.
//!
//! The whole file is written by a run, so nobody adds to it by hand. It says what showed that a case works, or the first line of
//! why it does not or was not run: never what an earlier run showed.

use std::fmt::Write as _;

use super::{Case, Outcome};

const HEAD: &str = "\
# Interoperation

Written by `cargo xtask interop`: every line is a case against a real process of the other implementation, on loopback, with a
private bootstrap; where that was not on the machine of the last run, the case was not run. `cargo xtask interop --check` runs them
without writing this file.

| peer | what | | shown by |
|---|---|---|---|
";

pub(super) fn document(cases: &[Case]) -> String {
    let mut text = HEAD.to_owned();
    for case in cases {
        let (mark, shown) = match &case.outcome {
            Outcome::Works(shown) => ("works", shown.clone()),
            Outcome::Fails(error) => ("**fails**", format!("{error:#}")),
            Outcome::NotRun(why) => ("not run", why.clone()),
        };
        let cell = |text: &str| text.lines().next().unwrap_or_default().replace('|', "\\|");
        let (what, shown) = (cell(case.what), cell(&shown));
        // Writing to a string does not fail.
        let _ = writeln!(text, "| {} | {what} | {mark} | {shown} |", case.peer);
    }
    text
}
