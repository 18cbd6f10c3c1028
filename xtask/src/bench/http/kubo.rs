//! Kubo as a peer: started on loopback alone, without a network.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use super::{LARGE, SMALL, Served, load::Target};
use crate::{
    kubo::{self, Daemon, in_repository},
    noise, shell,
};

/// A running daemon and what it serves.
pub(super) struct Kubo {
    _daemon: Daemon,
    served: Served,
}

impl Kubo {
    /// Builds, starts and fills it; `None`, said in one line, where Go lacks.
    ///
    /// # Errors
    /// It does not build or start.
    pub(super) fn start(dir: &Path) -> Result<Option<Self>> {
        if shell::which(&["go"]).is_none() {
            println!("Go is not installed: measured without Kubo beside");
            return Ok(None);
        }
        let program = kubo::build()?;
        // With routing as it comes, and nobody to ask: without any it would not give its own records either.
        let settings = &[("Gateway.NoFetch", "true")];
        let daemon = Daemon::start(&program, dir.to_owned(), settings)?;
        let small = put_blocks(&program, dir, SMALL)?;
        let large = put_blocks(&program, dir, LARGE)?;
        let value = format!("/ipfs/{}", small.first().context("a block was put")?);
        let published =
            daemon.ipfs(&["name", "publish", "--allow-offline", "--quieter", &value])?;
        let url = daemon.gateway()?;
        let gateway = url.trim_start_matches("http://");
        let paths = |cids: &[String]| {
            cids.iter()
                .map(|cid| format!("/ipfs/{cid}?format=raw"))
                .collect()
        };
        let served = Served {
            record: Target::record(gateway, format!("/routing/v1/ipns/{published}")),
            small: Target::blocks(gateway, paths(&small), SMALL.0),
            large: Target::blocks(gateway, paths(&large), LARGE.0),
        };
        Ok(Some(Self {
            _daemon: daemon,
            served,
        }))
    }

    pub(super) fn served(&self) -> &Served {
        &self.served
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
        fs::write(&path, noise::bytes_of(u64::from(index), bytes))?;
        put.arg(path);
    }
    Ok(shell::output(&mut put)?
        .lines()
        .map(str::to_owned)
        .collect())
}
