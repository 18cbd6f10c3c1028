//! Measures the product, here and now, against a peer in the same run where there is one.
//!
//! A part gives figures by name; `goals` says what each is called and what it should reach; `report` writes them as
//! measured, missed goals too. A part whose peer is not here says so in one line and is measured without it.
#![allow(
    clippy::print_stdout,
    reason = "a bench tells a person what it does and how long it took"
)]

mod figure;
mod goals;
mod http;
mod network;
mod programs;
mod report;
mod republish;
mod scratch;
mod start;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use figure::Figure;

pub use scratch::Scratch;

/// One part of what is measured.
struct Part {
    name: &'static str,
    /// What it is measured with or beside, by the names under which `cargo xtask` installs them.
    peers: &'static [&'static str],
    measure: fn() -> Result<Vec<Figure>>,
}

const PARTS: &[Part] = &[
    // Records created and validated, beside the JavaScript library.
    beside("ipns", &["npm-ipns"], programs::ipns),
    // The block store against RocksDB BlobDB, which the bench runs beside it.
    alone("store", || programs::bench("store")),
    // Regions of blocks as the store reads them, beside mapped memory.
    alone("regions", programs::regions),
    // A store of ten million blocks that is started, started after its process died, and started without its index.
    alone("rebuild", || programs::bench("rebuild")),
    // Every written byte of a small store, flipped.
    alone("flips", || programs::bench("flips")),
    // Tag list and log.
    alone("lists", || programs::bench("lists")),
    // The node over HTTP against Kubo.
    beside("http", &["wrk", "kubo"], http::measure),
    // 64 clients that publish to a node and wait for its durable answer.
    alone("publish", || programs::bench("publish")),
    // A client that publishes while one address floods the node.
    alone("flood", || programs::bench("flood")),
    // Names put to a private DHT of twenty peers, beside what Kubo does.
    beside("republish", &["kubo"], republish::measure),
    // Memory of an idle node, and the start on a million blocks.
    alone("start", start::measure),
    // Bitswap, resolution and memory among peers, against Kubo and Helia.
    beside("network", &["kubo", "helia"], network::measure),
    // The memory of a node with a thousand peers.
    alone("crowd", || programs::bench("crowd")),
    // The memory of a node with 1,099 clients that read slowly, and how it answers others meanwhile.
    alone("readers", || programs::bench("readers")),
    // Power cuts of a store on a disk that lies: 10,000, or as many as `PERENNIS_CRASH_POINTS` says.
    alone("crash", programs::crash),
    // A store killed at 2,000 moments, with an oracle of what it had acknowledged.
    alone("kill", || programs::bench("kill")),
    // A node killed 500 times while four publishers post to it, with an oracle of what it had acknowledged.
    alone("kill-node", || programs::bench("kill_node")),
    // A node killed 1,500 times while names that it follows come to it.
    alone("kill-follow", || programs::bench("kill_follow")),
    // A node killed 500 times while graphs come to it from a peer.
    alone("kill-fetch", || programs::bench("kill_fetch")),
];

const fn alone(name: &'static str, measure: fn() -> Result<Vec<Figure>>) -> Part {
    beside(name, &[], measure)
}

const fn beside(
    name: &'static str,
    peers: &'static [&'static str],
    measure: fn() -> Result<Vec<Figure>>,
) -> Part {
    Part {
        name,
        peers,
        measure,
    }
}

/// Runs the named parts, or all, and writes the report. Parts that are not run keep the figures they had; `--report`
/// runs none. `--list` prints the names of the parts, `--peers` the names of what the parts behind it, or all, are measured
/// with or beside.
///
/// # Errors
/// A part fails, or there is none of that name.
pub fn run(arguments: &[String]) -> Result<()> {
    match arguments.first().map(String::as_str) {
        Some("--list") => {
            PARTS.iter().for_each(|part| println!("{}", part.name));
            Ok(())
        }
        Some("--peers") => {
            let mut peers: Vec<_> = chosen(&arguments[1..])?
                .iter()
                .flat_map(|part| part.peers)
                .collect();
            peers.sort();
            peers.dedup();
            peers.iter().for_each(|peer| println!("{peer}"));
            Ok(())
        }
        Some("--report") => report::write(&report::last()?),
        _ => measure(&chosen(arguments)?),
    }
}

/// The named parts, or all, in their order.
fn chosen(names: &[String]) -> Result<Vec<&'static Part>> {
    for name in names {
        let known: Vec<_> = PARTS.iter().map(|part| part.name).collect();
        ensure!(
            known.contains(&name.as_str()),
            "no part is called {name:?}; there are {}",
            known.join(", ")
        );
    }
    let is_chosen = |part: &&Part| names.is_empty() || names.iter().any(|name| name == part.name);
    Ok(PARTS.iter().filter(is_chosen).collect())
}

fn measure(parts: &[&Part]) -> Result<()> {
    // The network is measured between whole processes, without a program of ours that measures from within.
    if parts.iter().any(|part| part.name != "network") {
        step("build", programs::build)?;
    }
    let mut figures = report::last()?;
    let mut failed = Vec::new();
    for part in parts {
        match step(part.name, part.measure) {
            Ok(measured) => {
                figure::replace(&mut figures, measured);
                report::write(&figures)?;
            }
            Err(error) => {
                eprintln!("error: {error:#}");
                failed.push(part.name);
            }
        }
    }
    if failed.is_empty() {
        Ok(())
    } else {
        bail!("parts that could not be measured: {}", failed.join(", "))
    }
}

/// Does one named step and prints how long it took.
fn step<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("\n==> {name}");
    let start = Instant::now();
    let result = work();
    let verdict = if result.is_ok() { "done" } else { "FAILED" };
    println!("==> {name}: {verdict} in {}", text(start.elapsed()));
    result.with_context(|| format!("step {name}"))
}

fn text(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        _ => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn parts_are_chosen_by_name_and_run_in_their_order() {
        let names = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(ToString::to_string).collect();
            chosen(&words).map(|parts| parts.iter().map(|part| part.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["network", "ipns"]).unwrap(), ["ipns", "network"]);
        assert_eq!(names(&[]).unwrap().len(), PARTS.len());
        let error = names(&["sdd"]).unwrap_err().to_string();
        assert!(error.starts_with("no part is called \"sdd\""), "{error}");
    }
}
