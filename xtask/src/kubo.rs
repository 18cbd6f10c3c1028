//! Kubo, built by Go from our own small module.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{noise, ours, patience::PATIENCE, shell, workspace};

pub(crate) const VERSION: &str = "0.43.0";

const MODULE: &str = "tests/interop/kubo";

/// Settings of a daemon that speaks with nobody it was not told of.
pub(crate) const ALONE: &[(&str, &str)] = &[
    ("AutoConf.Enabled", "false"),
    ("Bootstrap", "[]"),
    ("DNS.Resolvers", "{}"),
    ("Routing.DelegatedRouters", "[]"),
    ("Ipns.DelegatedPublishers", "[]"),
    ("Discovery.MDNS.Enabled", "false"),
    ("Gateway.ExposeRoutingAPI", "true"),
];

/// Beyond [`ALONE`]: only on loopback, on any free port.
const LOOPBACK: &[(&str, &str)] = &[
    ("Addresses.Swarm", r#"["/ip4/127.0.0.1/tcp/0"]"#),
    ("Addresses.API", r#""/ip4/127.0.0.1/tcp/0""#),
    ("Addresses.Gateway", r#""/ip4/127.0.0.1/tcp/0""#),
];

/// A server of the DHT on loopback, and nothing else.
pub(crate) const DHT_SERVER: &[(&str, &str)] = &[
    ("Routing.Type", r#""dhtserver""#),
    ("Routing.LoopbackAddressesOnLanDHT", "true"),
];

/// A server of the DHT on loopback, with pubsub.
pub(crate) const SERVER: &[(&str, &str)] = &[
    ("Routing.Type", r#""dhtserver""#),
    ("Routing.LoopbackAddressesOnLanDHT", "true"),
    ("Ipns.UsePubsub", "true"),
    ("Pubsub.Enabled", "true"),
];

/// Finds nothing by itself: it has what it gets from those it is connected to.
pub(crate) const ISOLATED: &[(&str, &str)] = &[("Routing.Type", r#""none""#)];

/// The program; compiled when it is not there yet.
///
/// # Errors
/// It does not build.
pub(crate) fn build() -> Result<PathBuf> {
    let program = workspace::cache()
        .join("tools")
        .join(format!("kubo-{VERSION}/ipfs"));
    if !program.is_file() {
        println!("building Kubo {VERSION} (about 3 minutes, once)");
        let mut go = shell::command("go");
        go.current_dir(workspace::root().join(MODULE))
            .args(["build", "-o"])
            .arg(&program)
            .arg("github.com/ipfs/kubo/cmd/ipfs");
        shell::run(&mut go)?;
    }
    Ok(program)
}

/// A command on a repository.
pub(crate) fn in_repository(program: &Path, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("IPFS_PATH", dir).env("IPFS_TELEMETRY", "off");
    command
}

/// A running daemon; stopped when dropped.
pub(crate) struct Daemon {
    program: PathBuf,
    dir: PathBuf,
    child: Child,
}

impl Daemon {
    /// Makes a repository with these settings beyond those of one that is alone on loopback, and serves it.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) fn start(program: &Path, dir: PathBuf, settings: &[(&str, &str)]) -> Result<Daemon> {
        let configure =
            |arguments: &[&str]| shell::output(in_repository(program, &dir).args(arguments));
        configure(&["init", "--profile", "test"])?;
        for (key, value) in ALONE.iter().chain(LOOPBACK).chain(settings) {
            configure(&["config", "--json", key, value])?;
        }
        let log = fs::File::create(dir.join("daemon.log"))?;
        let child = in_repository(program, &dir)
            .arg("daemon")
            .stdout(log.try_clone()?)
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .context("cannot start Kubo")?;
        let mut daemon = Daemon {
            program: program.to_owned(),
            dir,
            child,
        };
        daemon.wait()?;
        Ok(daemon)
    }

    /// It writes its gateway's address into a file of the repository once it serves.
    fn wait(&mut self) -> Result<()> {
        let start = Instant::now();
        while !self.dir.join("gateway").is_file() {
            if let Some(status) = self.child.try_wait()? {
                bail!("Kubo ended: {status}");
            }
            ensure!(start.elapsed() < PATIENCE, "Kubo did not come up");
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// The id of its process.
    pub(crate) fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Where its repository is.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Runs a command against it and returns what it said.
    ///
    /// # Errors
    /// The command fails.
    pub(crate) fn ipfs(&self, arguments: &[&str]) -> Result<String> {
        let mut command = in_repository(&self.program, &self.dir);
        Ok(shell::output(command.args(arguments))?.trim().to_owned())
    }

    /// URL of its gateway.
    ///
    /// # Errors
    /// It has not written it.
    pub(crate) fn gateway(&self) -> Result<String> {
        Ok(fs::read_to_string(self.dir.join("gateway"))?
            .trim()
            .to_owned())
    }

    /// Adds a file of this many bytes and returns its root.
    ///
    /// # Errors
    /// It cannot be added.
    pub(crate) fn add(&self, bytes: usize) -> Result<String> {
        let file = noise::file(&self.dir, bytes)?;
        let file = file.to_str().context("a path in UTF-8")?;
        self.ipfs(&[
            "add",
            "--quieter",
            "--cid-version",
            "1",
            "--raw-leaves",
            file,
        ])
    }

    /// Where it listens, with its id.
    ///
    /// # Errors
    /// It listens nowhere.
    pub(crate) fn address(&self) -> Result<String> {
        let listed = self.ipfs(&["swarm", "addrs", "local", "--id"])?;
        let first = listed.lines().next().context("it listens nowhere")?;
        Ok(first.to_owned())
    }

    /// Its id.
    ///
    /// # Errors
    /// Its configuration cannot be read.
    pub(crate) fn peer_id(&self) -> Result<String> {
        self.ipfs(&["config", "Identity.PeerID"])
    }

    /// Resident memory.
    ///
    /// # Errors
    /// This system has no /proc.
    pub(crate) fn resident_mib(&self) -> Result<f64> {
        ours::resident_mib(self.child.id())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Nothing is left to do for one that has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
