//! Names put to a private DHT of twenty peers: of ours, with and without bad ones among them, and of Kubo's, beside
//! what Kubo does itself in the same run, one name after the other as its republisher works.

use anyhow::{Context, Result};

use super::{
    Scratch,
    figure::{self, Figure},
    programs, start,
};
use crate::peers::kubo::{DHT_SERVER, Daemon, Kubo};

const PEER: &str = "Kubo 0.43.0, one by one";
const PEERS: usize = 20;
/// Names put to Kubo's peers by us, and by Kubo: fewer than to ours, as it takes longer.
const NAMES: &str = "2000";
const SERIAL_NAMES: &str = "300";

/// Measures all; without Kubo there is no peer to compare with.
///
/// # Errors
/// The bench fails, or Kubo does not start.
pub(super) fn measure() -> Result<Vec<Figure>> {
    let mut figures = run(&[])?;
    figures.push(start::due_names()?);
    let Some(kubo) = Kubo::installed() else {
        println!("Kubo is not here: measured without it beside");
        return Ok(figures);
    };
    let scratch = Scratch::new("republish")?;
    let start = |name: String| Daemon::start(&kubo, scratch.path().join(name), DHT_SERVER);
    let peers = (0..PEERS)
        .map(|number| start(format!("peer-{number}")))
        .collect::<Result<Vec<_>>>()?;
    let addresses = peers
        .iter()
        .map(Daemon::address)
        .collect::<Result<Vec<_>>>()?;
    let puts = start("puts".to_owned())?;
    for address in &addresses {
        puts.connect(address)?;
    }
    let gateway = puts.gateway()?;
    let process = puts.process_id().to_string();
    let serial = run(&[
        "--names",
        SERIAL_NAMES,
        "--serial",
        gateway.trim_start_matches("http://"),
        "--process",
        &process,
    ])?;
    drop(puts);
    let mut arguments = vec!["--names", NAMES];
    for address in &addresses {
        arguments.extend(["--bootstrap", address]);
    }
    figures.extend(run(&arguments)?);
    for figure in &mut figures {
        let theirs = match figure.name.as_str() {
            "republish" | "republish/bad" | "republish/others" => "republish/serial",
            "republish/cpu" | "republish/others/cpu" => "republish/serial/cpu",
            _ => continue,
        };
        let mut known = serial.iter();
        let theirs = known.find(|figure| figure.name == theirs);
        let theirs = theirs.context("the bench did not say how Kubo does")?;
        *figure = figure.clone().beside(PEER, theirs.value);
    }
    Ok(figures)
}

fn run(arguments: &[&str]) -> Result<Vec<Figure>> {
    let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
    let lines = programs::run("republish", &arguments)?;
    figure::read_all(lines.iter().map(String::as_str))
}
