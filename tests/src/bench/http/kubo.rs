//! Kubo as a peer: started on loopback alone, without a network.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use perennis_shared::cid::{Cid, parse_cid};

use super::{FILE_BYTES, FILES, LARGE, MANY, SMALL, Served, load::Target};
use crate::peers::kubo::{self, Daemon};
use crate::{measure, process};

/// Seeds of the files in the folder begin here, so that none is a block of the others.
const FIRST_SEED: u32 = 1 << 20;

/// A running daemon and what it serves.
pub(super) struct Kubo {
    daemon: Daemon,
    file: Cid,
    folder: Cid,
    served: Served,
}

impl Kubo {
    /// Starts and fills it; `None`, said in one line, where it is not here.
    ///
    /// # Errors
    /// It does not start.
    pub(super) fn start(dir: &Path) -> Result<Option<Self>> {
        let Some(kubo) = kubo::Kubo::installed() else {
            println!("Kubo is not here: measured without it beside");
            return Ok(None);
        };
        // With routing as it comes, and nobody to ask: without any it would not give its own records either.
        let settings = &[("Gateway.NoFetch", "true")];
        let daemon = Daemon::start(&kubo, dir.to_owned(), settings)?;
        let small = put_blocks(&kubo, dir, SMALL)?;
        let large = put_blocks(&kubo, dir, LARGE)?;
        let many = put_blocks(&kubo, dir, MANY)?;
        let file = daemon.add(FILE_BYTES)?;
        let folder = add_folder(&daemon, FILES)?;
        let first = parse_cid(small.first().context("a block was put")?)?;
        let published = daemon.publish(&first, "self", &["--allow-offline"])?;
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
            many: Target::blocks(gateway, paths(&many), MANY.0),
            car: Some(Target::car(gateway, &file)),
            files: Some(Target::files(gateway, paths_below(&folder), FILES.0)),
        };
        Ok(Some(Self {
            daemon,
            file,
            folder,
            served,
        }))
    }

    pub(super) fn served(&self) -> &Served {
        &self.served
    }

    /// The root of the file it has.
    pub(super) fn file(&self) -> &Cid {
        &self.file
    }

    /// The folder of files it has.
    pub(super) fn folder(&self) -> &Cid {
        &self.folder
    }

    /// Where a peer reaches it.
    ///
    /// # Errors
    /// It listens nowhere.
    pub(super) fn address(&self) -> Result<String> {
        self.daemon.address()
    }
}

/// Puts raw blocks of one length, each different, and returns their CIDs.
fn put_blocks(kubo: &kubo::Kubo, dir: &Path, (bytes, count): (usize, u32)) -> Result<Vec<String>> {
    let folder = dir.join(format!("blocks-{bytes}"));
    fs::create_dir_all(&folder)?;
    let mut put = kubo.command(dir);
    put.args(["block", "put", "--cid-codec", "raw"]);
    for index in 0..count {
        let path = folder.join(index.to_string());
        fs::write(&path, measure::bytes(bytes, u64::from(index)))?;
        put.arg(path);
    }
    Ok(process::output(&mut put)?
        .lines()
        .map(str::to_owned)
        .collect())
}

/// Adds a folder of files of one length, each different, and returns its root.
fn add_folder(daemon: &Daemon, (bytes, count): (usize, u32)) -> Result<Cid> {
    let folder = daemon.dir().join("files");
    fs::create_dir_all(&folder)?;
    for index in 0..count {
        let content = measure::bytes(bytes, u64::from(FIRST_SEED + index));
        fs::write(folder.join(file_name(index)), content)?;
    }
    let folder = folder.to_str().context("a path in UTF-8")?;
    let options = ["--recursive", "--cid-version=1", "--raw-leaves"];
    let line = [&["add", "--quieter"][..], &options, &[folder]].concat();
    Ok(parse_cid(&daemon.ipfs(&line)?)?)
}

/// The paths of its files at a gateway.
pub(super) fn paths_below(folder: &Cid) -> Vec<String> {
    let file = |index| format!("/ipfs/{folder}/{}", file_name(index));
    (0..FILES.1).map(file).collect()
}

fn file_name(index: u32) -> String {
    format!("{index}.bin")
}
