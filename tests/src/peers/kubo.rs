//! Kubo: daemons started from its program, each on a repository of its own, and driven by its command line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use perennis_shared::cid::{Cid, parse_cid};
use perennis_shared::ipns::Name;

use crate::peers;
use crate::process;
use crate::retry::START_WITHIN;

/// What it is called in tables.
pub const LABEL: &str = "Kubo 0.43.0";

/// Where its program is.
const PROGRAM: &str = "PERENNIS_KUBO";

/// Settings of a daemon that speaks with nobody it was not told of.
pub const ALONE: &[(&str, &str)] = &[
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
pub const DHT_SERVER: &[(&str, &str)] = &[
    ("Routing.Type", r#""dhtserver""#),
    ("Routing.LoopbackAddressesOnLanDHT", "true"),
];

/// A server of the DHT on loopback, with pubsub.
pub const SERVER: &[(&str, &str)] = &[
    ("Routing.Type", r#""dhtserver""#),
    ("Routing.LoopbackAddressesOnLanDHT", "true"),
    ("Ipns.UsePubsub", "true"),
    ("Pubsub.Enabled", "true"),
];

/// Finds nothing by itself: it has what it gets from those it is connected to.
pub const ISOLATED: &[(&str, &str)] = &[("Routing.Type", r#""none""#)];

/// The program `ipfs`.
#[derive(Clone, Debug)]
pub struct Kubo {
    program: PathBuf,
}

impl Kubo {
    /// What was installed; `None` when it was not.
    #[must_use]
    pub fn installed() -> Option<Self> {
        let program = peers::installed(PROGRAM)?;
        Some(Self { program })
    }

    /// A command on a repository.
    #[must_use]
    pub fn command(&self, repository: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env("IPFS_PATH", repository)
            .env("IPFS_TELEMETRY", "off");
        command
    }
}

/// A running daemon; stopped when dropped.
#[derive(Debug)]
pub struct Daemon {
    kubo: Kubo,
    dir: PathBuf,
    child: Child,
}

impl Daemon {
    /// Makes a repository with these settings beyond those of one that is alone on loopback, and serves it.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(kubo: &Kubo, dir: PathBuf, settings: &[(&str, &str)]) -> Result<Self> {
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let configure = |arguments: &[&str]| process::output(kubo.command(&dir).args(arguments));
        configure(&["init", "--profile", "test"])?;
        for (key, value) in ALONE.iter().chain(LOOPBACK).chain(settings) {
            configure(&["config", "--json", key, value])?;
        }
        let log = fs::File::create(dir.join("daemon.log"))?;
        let child = kubo
            .command(&dir)
            .arg("daemon")
            .stdout(log.try_clone()?)
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .context("cannot start Kubo")?;
        let mut daemon = Self {
            kubo: kubo.clone(),
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
            ensure!(start.elapsed() < START_WITHIN, "Kubo did not come up");
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// The id of its process.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Where its repository is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Runs a command against it and returns what it said.
    ///
    /// # Errors
    /// The command fails.
    pub fn ipfs(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.kubo.command(&self.dir);
        Ok(process::output(command.args(arguments))?.trim().to_owned())
    }

    /// URL of its gateway.
    ///
    /// # Errors
    /// It has not written it.
    pub fn gateway(&self) -> Result<String> {
        Ok(fs::read_to_string(self.dir.join("gateway"))?
            .trim()
            .to_owned())
    }

    /// Adds a file of this many bytes and returns its root.
    ///
    /// # Errors
    /// It cannot be added.
    pub fn add(&self, bytes: usize) -> Result<Cid> {
        self.add_as(bytes, &["--cid-version=1", "--raw-leaves"])
    }

    /// Adds a file of so many bytes, with these options.
    ///
    /// # Errors
    /// The daemon refuses.
    pub fn add_as(&self, bytes: usize, options: &[&str]) -> Result<Cid> {
        let file = peers::file_of(&self.dir, bytes)?;
        let file = file.to_str().context("a path in UTF-8")?;
        let line = [&["add", "--quieter"], options, &[file]].concat();
        Ok(parse_cid(&self.ipfs(&line)?)?)
    }

    /// Fetches and pins what is below a root.
    ///
    /// # Errors
    /// It does not come.
    pub fn pin(&self, root: &Cid) -> Result<()> {
        self.ipfs(&["pin", "add", "--progress=false", &root.to_string()])?;
        Ok(())
    }

    /// Publishes a root under the name of one of its keys, `self` being the first.
    ///
    /// # Errors
    /// There is no such key, or nobody takes the record.
    pub fn publish(&self, root: &Cid, key: &str, more: &[&str]) -> Result<Name> {
        let value = format!("/ipfs/{root}");
        let mut arguments = vec!["name", "publish", "--quieter", "--key", key];
        arguments.extend(more);
        arguments.push(&value);
        Ok(Name::parse(&self.ipfs(&arguments)?)?)
    }

    /// Resolves a name, past its cache, and fails where that is not this head.
    ///
    /// # Errors
    /// It does not resolve, or to something else.
    pub fn resolves(&self, name: &Name, head: &Cid) -> Result<()> {
        let path = self.ipfs(&["name", "resolve", "--nocache", &name.to_string()])?;
        ensure!(
            path == format!("/ipfs/{head}"),
            "{name} is {path} there, {head} here"
        );
        Ok(())
    }

    /// Connects it with a peer, by its address.
    ///
    /// # Errors
    /// The peer does not answer.
    pub fn connect(&self, peer: &str) -> Result<()> {
        self.ipfs(&["swarm", "connect", peer])?;
        Ok(())
    }

    /// Where it listens, with its id.
    ///
    /// # Errors
    /// It listens nowhere.
    pub fn address(&self) -> Result<String> {
        let first = self.addresses()?.into_iter().next();
        first.context("it listens nowhere")
    }

    /// Where it listens, each address ending in its id.
    ///
    /// # Errors
    /// The daemon does not say.
    pub fn addresses(&self) -> Result<Vec<String>> {
        let listed = self.ipfs(&["swarm", "addrs", "local", "--id"])?;
        Ok(listed.lines().map(str::to_owned).collect())
    }

    /// Its id.
    ///
    /// # Errors
    /// Its configuration cannot be read.
    pub fn peer_id(&self) -> Result<String> {
        self.ipfs(&["config", "Identity.PeerID"])
    }

    /// Resident memory.
    ///
    /// # Errors
    /// This system has no /proc.
    pub fn resident_mib(&self) -> Result<f64> {
        process::resident_mib(self.child.id())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Nothing is left to do for one that has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
