//! A node of ours under measurement: a folder filled beforehand, the process, its memory, its start.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::Value;

use super::{figure::Figure, programs};
use crate::{ours::Node, workspace};

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
        node.resident_mib()?
    };
    let full = scratch.path().join("full");
    seed(&full, &[(1 << 10, MILLION)])?;
    let node = start(&full)?;
    Ok(vec![
        Figure::new("node/rss/idle", idle, "MiB"),
        Figure::new("node/start/1M", node.started_in.as_secs_f64(), "s"),
        Figure::new("node/rss/1M", node.resident_mib()?, "MiB"),
    ])
}

/// Starts one that lets few names publish faster than anybody may by default.
///
/// # Errors
/// It ends before it is ready.
pub(super) fn start(dir: &Path) -> Result<Node> {
    let program = workspace::target().join("release/perennis");
    Node::start(
        &program,
        dir,
        &[("PERENNIS_ADMISSION_NAME_RATE", "1000000")],
    )
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
        node.resident_mib()?,
        "MiB",
    ))
}

/// What the seed program put into a data folder.
pub(super) struct Seeded {
    pub(super) name: Option<String>,
    /// Length and CID of each block, at most as many as the program names.
    pub(super) blocks: Vec<(usize, String)>,
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
    let mut seeded = Seeded {
        name: None,
        blocks: Vec::new(),
    };
    for line in programs::run("seed", &arguments)? {
        let Ok(value) = serde_json::from_str::<Value>(&line) else {
            continue;
        };
        if let Some(name) = value["ipnsName"].as_str() {
            seeded.name = Some(name.to_owned());
        }
        if let (Some(cid), Some(bytes)) = (value["cid"].as_str(), value["bytes"].as_u64()) {
            seeded
                .blocks
                .push((usize::try_from(bytes)?, cid.to_owned()));
        }
    }
    Ok(seeded)
}

/// A folder of one measurement, in the target folder so that it lies on a real disk; removed when dropped.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new(name: &str) -> Result<Self> {
        let path = workspace::target()
            .join("bench")
            .join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now lies in the target folder, which `cargo clean` empties.
        let _ = fs::remove_dir_all(&self.0);
    }
}
