//! Kubo as a peer: built by Go from our own small module, started on loopback alone, without a network.

use std::{
    fs,
    path::Path,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use super::{LARGE, SMALL, Served, load::Target};
use crate::{
    kubo::{self, in_repository},
    shell,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A running daemon; stopped when dropped.
pub(super) struct Kubo {
    daemon: Child,
    served: Served,
}

impl Kubo {
    /// Builds, fills and starts it; `None`, said in one line, where Go lacks.
    ///
    /// # Errors
    /// It does not build or start.
    pub(super) fn start(dir: &Path) -> Result<Option<Self>> {
        if shell::which(&["go"]).is_none() {
            println!("Go is not installed: measured without Kubo beside");
            return Ok(None);
        }
        let program = kubo::build()?;
        let ipfs = |arguments: &[&str]| -> Result<String> {
            let mut command = in_repository(&program, dir);
            shell::output(command.args(arguments)).map(|text| text.trim().to_owned())
        };
        ipfs(&["init", "--profile", "test"])?;
        for (key, value) in kubo::ALONE.iter().chain(&[("Gateway.NoFetch", "true")]) {
            ipfs(&["config", "--json", key, value])?;
        }
        let small = put_blocks(&program, dir, SMALL)?;
        let large = put_blocks(&program, dir, LARGE)?;
        let daemon = in_repository(&program, dir)
            .arg("daemon")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start Kubo")?;
        let mut kubo = Self {
            daemon,
            served: nothing(),
        };
        let gateway = kubo.wait_for_gateway(dir)?;
        let value = format!("/ipfs/{}", small.first().context("a block was put")?);
        let published = ipfs(&["name", "publish", "--allow-offline", "--quieter", &value])?;
        let paths = |cids: &[String]| {
            cids.iter()
                .map(|cid| format!("/ipfs/{cid}?format=raw"))
                .collect()
        };
        kubo.served = Served {
            record: Target::record(&gateway, format!("/routing/v1/ipns/{published}")),
            small: Target::blocks(&gateway, paths(&small), SMALL.0),
            large: Target::blocks(&gateway, paths(&large), LARGE.0),
        };
        Ok(Some(kubo))
    }

    pub(super) fn served(&self) -> &Served {
        &self.served
    }

    /// The gateway writes its address into a file of the repository once it listens.
    fn wait_for_gateway(&mut self, dir: &Path) -> Result<String> {
        let start = Instant::now();
        loop {
            if let Ok(text) = fs::read_to_string(dir.join("gateway")) {
                return Ok(text.trim().trim_start_matches("http://").to_owned());
            }
            if let Some(status) = self.daemon.try_wait()? {
                bail!("Kubo ended: {status}");
            }
            ensure!(start.elapsed() < PATIENCE, "Kubo's gateway did not come up");
            thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Kubo {
    fn drop(&mut self) {
        // Nothing is left to do for a daemon that has ended by itself.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

fn nothing() -> Served {
    let empty = || Target::blocks("", Vec::new(), 0);
    Served {
        record: empty(),
        small: empty(),
        large: empty(),
    }
}

/// Puts raw blocks of one length, each different, and returns their CIDs.
fn put_blocks(program: &Path, dir: &Path, (bytes, count): (usize, u32)) -> Result<Vec<String>> {
    let folder = dir.join(format!("blocks-{bytes}"));
    fs::create_dir_all(&folder)?;
    let mut put = in_repository(program, dir);
    put.args(["block", "put", "--cid-codec", "raw"]);
    for index in 0..count {
        let path = folder.join(index.to_string());
        fs::write(&path, content(bytes, index))?;
        put.arg(path);
    }
    Ok(shell::output(&mut put)?
        .lines()
        .map(str::to_owned)
        .collect())
}

/// Bytes that no two blocks share and no compression shortens much.
fn content(bytes: usize, index: u32) -> Vec<u8> {
    let mut state = u64::from(index).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
    .take(bytes)
    .collect()
}
