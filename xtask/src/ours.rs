//! Our side of a comparison: a node, and a person with an identity, both through the command line.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{patience::until, shell, workspace};

/// The program under test: `PERENNIS_BIN` if set, else the one this workspace builds.
pub(crate) fn program() -> Result<PathBuf> {
    if let Some(program) = std::env::var_os("PERENNIS_BIN") {
        return Ok(PathBuf::from(program));
    }
    let mut cargo = shell::cargo();
    // A test of the node's package brings its program, with the features that all tests are built with.
    cargo.args(["test", "--workspace", "--release", "--locked"]);
    shell::run(cargo.args(["--no-run", "--test", "program"]))?;
    Ok(workspace::target().join("release/perennis"))
}

/// A running node on free ports of loopback, which dials nobody it was not told of; stopped when dropped.
pub(crate) struct Node {
    process: Child,
    pub(crate) url: String,
    /// Its peer address, its id at the end.
    pub(crate) peer: String,
    pub(crate) started_in: Duration,
    /// Held so that the node never writes into a closed pipe.
    _stdout: BufReader<ChildStdout>,
}

impl Node {
    /// Starts it with these settings of the environment, and waits until it says that it is ready.
    ///
    /// # Errors
    /// It ends before it is ready.
    pub(crate) fn start(program: &Path, data: &Path, settings: &[(&str, &str)]) -> Result<Node> {
        fs::create_dir_all(data)?;
        let mut command = Command::new(program);
        command
            .args(["--json", "--quiet", "node", "run"])
            .args(["--listen", "127.0.0.1:0", "--bootstrap", "none"])
            .args(["--p2p-listen", "/ip4/127.0.0.1/tcp/0", "--data"])
            .arg(data)
            .envs(settings.iter().copied())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(data.with_extension("log"))?);
        let start = Instant::now();
        let mut process = command.spawn().context("cannot start the node")?;
        let mut stdout = BufReader::new(process.stdout.take().context("its output is piped")?);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        let started_in = start.elapsed();
        let ready: Value =
            serde_json::from_str(&line).with_context(|| format!("the node said {line:?}"))?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Ok(Node {
            process,
            url: text(&ready["http"]).context("no address")?,
            peer: text(&ready["p2p"][0]).context("no peer address")?,
            started_in,
            _stdout: stdout,
        })
    }

    /// Host and port of its HTTP side.
    pub(crate) fn address(&self) -> &str {
        self.url.trim_start_matches("http://").trim_end_matches('/')
    }

    /// The id at the end of its address.
    pub(crate) fn peer_id(&self) -> &str {
        self.peer.rsplit('/').next().unwrap_or_default()
    }

    /// Resident memory.
    ///
    /// # Errors
    /// This system has no /proc.
    pub(crate) fn resident_mib(&self) -> Result<f64> {
        resident_mib(self.process.id())
    }
}

/// Resident memory of a process as the kernel counts it.
///
/// # Errors
/// There is no such process, or this system has no /proc.
pub(crate) fn resident_mib(process: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}

impl Drop for Node {
    fn drop(&mut self) {
        // Nothing is left to do for one that has ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Somebody with an identity and a list.
pub(crate) struct Person {
    program: PathBuf,
    home: PathBuf,
    passphrase: PathBuf,
    pub(crate) did: String,
    pub(crate) name: String,
}

impl Person {
    pub(crate) fn new(program: &Path, home: &Path, words: &str) -> Result<Person> {
        let passphrase = home.with_extension("passphrase");
        fs::write(&passphrase, words)?;
        let mut person = Person {
            program: program.to_owned(),
            home: home.to_owned(),
            passphrase,
            did: String::new(),
            name: String::new(),
        };
        let identity = person.run(&["id", "new", "--profile", "v2", "--account", words])?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        person.did = text(&identity["did"]);
        person.name = text(&identity["ipnsName"]);
        Ok(person)
    }

    /// Labels a handle, publishes, and returns the new head.
    pub(crate) fn publish(&self, handle: &str, node: &Node) -> Result<String> {
        self.run(&["label", "add", handle, "friend"])?;
        let published = self.run(&["publish", "--node", &node.url])?;
        let head = published["head"]
            .as_str()
            .context("no head was published")?;
        Ok(head.to_owned())
    }

    /// Resolves a name at a node until it says this head.
    pub(crate) fn resolves(&self, name: &str, node: &str, expected: &str) -> Result<()> {
        until(|| {
            let resolved = self.run(&["resolve", name, "--node", node])?;
            let head = resolved["head"].as_str().unwrap_or_default();
            ensure!(head == expected, "{name} is {head} here, {expected} there");
            Ok(())
        })
    }

    /// Asks a node who has a CID until it names this peer.
    pub(crate) fn finds(&self, cid: &str, node: &str, peer: &str) -> Result<()> {
        until(|| {
            let found = self.run(&["providers", cid, "--node", node])?;
            let providers = found["providers"].as_array();
            let providers = providers.context("no list of providers")?;
            ensure!(
                providers.iter().any(|provider| provider["peerId"] == peer),
                "found {found}"
            );
            Ok(())
        })
    }

    /// Runs a command and returns its document.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<Value> {
        let output = Command::new(&self.program)
            .args(["--json", "--home"])
            .arg(&self.home)
            .arg("--passphrase-file")
            .arg(&self.passphrase)
            .args(arguments)
            .stdin(Stdio::null())
            .output()?;
        ensure!(
            output.status.success(),
            "perennis {} failed: {}{}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8(output.stdout)?;
        let last = text.lines().last().unwrap_or_default();
        serde_json::from_str(last).with_context(|| format!("the answer {last:?}"))
    }
}
