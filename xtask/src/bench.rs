//! `xtask bench`: figures, measured here and now, against a peer in the same run where there is one.
//!
//! A part prints figures by name; [`goals`] says what each is called and what it should reach; [`report`] writes them as
//! measured, missed goals too. A part whose peer cannot be had here says so in one line and is left out.

mod figure;
mod goals;
mod http;
mod network;
mod node;
mod programs;
mod report;
mod republish;

use anyhow::{Result, bail, ensure};

use crate::shell;
use figure::Figure;

/// Measures one part of the product.
type Part = fn() -> Result<Vec<Figure>>;

const PARTS: &[(&str, Part)] = &[
    ("ipns", programs::ipns),
    ("store", programs::store),
    ("regions", programs::regions),
    ("rebuild", programs::rebuild),
    ("flips", programs::flips),
    ("lists", programs::lists),
    ("http", http::measure),
    ("publish", programs::publish),
    ("republish", republish::measure),
    ("start", node::measure),
    ("network", network::measure),
    ("crowd", programs::crowd),
    ("readers", programs::readers),
    ("crash", programs::crash),
    ("kill", programs::kill),
    ("kill-node", programs::kill_node),
    ("kill-follow", programs::kill_follow),
    ("kill-fetch", programs::kill_fetch),
];

/// Runs the named parts, or all, and writes the report. Parts that are not run keep the figures they had; `--report`
/// runs none.
///
/// # Errors
/// A part fails, or there is none of that name.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let names: Vec<_> = PARTS.iter().map(|(name, _)| *name).collect();
    if arguments
        .first()
        .is_some_and(|argument| argument == "--list")
    {
        println!("{}", names.join("\n"));
        return Ok(());
    }
    if arguments
        .first()
        .is_some_and(|argument| argument == "--report")
    {
        return report::write(&report::kept()?);
    }
    for argument in arguments {
        ensure!(
            names.contains(&argument.as_str()),
            "no part is called {argument:?}; there are {}",
            names.join(", ")
        );
    }
    // The network is measured between whole processes, which bring their own program.
    if arguments.is_empty() || arguments.iter().any(|wanted| wanted != "network") {
        shell::step("build", programs::build)?;
    }
    let mut figures = report::kept()?;
    let mut failed = Vec::new();
    for (name, part) in PARTS {
        if !arguments.is_empty() && !arguments.iter().any(|wanted| wanted == name) {
            continue;
        }
        match shell::step(name, part) {
            Ok(measured) => {
                figure::replace(&mut figures, measured);
                report::write(&figures)?;
            }
            Err(error) => {
                eprintln!("error: {error:#}");
                failed.push(*name);
            }
        }
    }
    if failed.is_empty() {
        Ok(())
    } else {
        bail!("parts that could not be measured: {}", failed.join(", "))
    }
}
