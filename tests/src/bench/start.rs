//! A node of ours under measurement: a folder filled beforehand, the process, its memory, its start.

use std::{fs, path::Path, thread, time::Duration};

use anyhow::Result;
use serde::Deserialize;

use super::{Scratch, figure::Figure, programs};
use crate::node::Node;

const MILLION: u32 = 1_000_000;

/// How long an idle node is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(5);

/// Memory of an idle node, and the start on a million blocks.
///
/// # Errors
/// A node does not start.
pub(super) fn measure() -> Result<Vec<Figure>> {
    let scratch = Scratch::new("start")?;
    let idle = {
        let node = start(&scratch.path().join("idle"))?;
        thread::sleep(IDLE);
        node.resident_mib()
    };
    let full = scratch.path().join("full");
    seed(&full, &[(1 << 10, MILLION)])?;
    let node = start(&full)?;
    Ok(vec![
        Figure::new("node/rss/idle", idle, "MiB"),
        Figure::new("node/start/1M", node.started_in().as_secs_f64(), "s"),
        Figure::new("node/rss/1M", node.resident_mib(), "MiB"),
    ])
}

/// Starts one that lets few names publish faster than anybody may by default.
///
/// # Errors
/// It ends before it is ready.
pub(super) fn start(dir: &Path) -> Result<Node> {
    start_with(dir, &[])
}

/// As [`start`], with more settings, by their variables.
///
/// # Errors
/// It ends before it is ready.
pub(super) fn start_with(dir: &Path, settings: &[(&str, &str)]) -> Result<Node> {
    let mut command = Node::command(dir, None, "127.0.0.1:0");
    command
        .env("PERENNIS_ADMISSION_NAME_RATE", "1000000")
        .envs(settings.iter().copied())
        .stderr(fs::File::create(dir.with_extension("log"))?);
    Node::launch(command, dir)
}

/// Memory of a node that holds 100,000 names which are due and that nobody takes.
///
/// # Errors
/// A node does not start.
pub(super) fn due_names() -> Result<Figure> {
    let scratch = Scratch::new("due")?;
    let folder = scratch.path().join("data");
    fs::create_dir_all(&folder)?;
    programs::run(
        "seed",
        &[folder.display().to_string(), "due=100000".to_owned()],
    )?;
    let node = start(&folder)?;
    thread::sleep(IDLE);
    Ok(Figure::new(
        "republish/rss/100k",
        node.resident_mib(),
        "MiB",
    ))
}

/// What the seed program put into a data folder.
#[derive(Debug, Default)]
pub(super) struct Seeded {
    pub(super) name: Option<String>,
    /// Length and CID of each block, at most as many as the program names.
    pub(super) blocks: Vec<(usize, String)>,
}

/// What it prints for each.
#[derive(Deserialize)]
#[serde(untagged)]
enum SeedLine {
    #[serde(rename_all = "camelCase")]
    Name {
        ipns_name: String,
    },
    Block {
        cid: String,
        bytes: usize,
    },
}

/// Fills a data folder while no node runs: so many blocks of each length, and one published name.
///
/// # Errors
/// The program fails.
pub(super) fn seed(dir: &Path, blocks: &[(usize, u32)]) -> Result<Seeded> {
    fs::create_dir_all(dir)?;
    let mut arguments = vec![dir.display().to_string()];
    arguments.extend(
        blocks
            .iter()
            .map(|(bytes, count)| format!("{bytes}x{count}")),
    );
    let mut seeded = Seeded::default();
    for line in programs::run("seed", &arguments)? {
        match serde_json::from_str(&line) {
            Ok(SeedLine::Name { ipns_name }) => seeded.name = Some(ipns_name),
            Ok(SeedLine::Block { cid, bytes }) => seeded.blocks.push((bytes, cid)),
            // What cargo says in between.
            Err(_) => {}
        }
    }
    Ok(seeded)
}
