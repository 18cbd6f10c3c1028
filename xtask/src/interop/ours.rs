//! Our side: a node, and a person with an identity, both through the command line.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::until;

/// A running node; stopped when dropped.
pub(super) struct Node {
    child: Child,
    pub(super) url: String,
    pub(super) peer: String,
}

impl Node {
    pub(super) fn start(program: &Path, data: &Path) -> Result<Node> {
        let mut child = Command::new(program)
            .args([
                "--json",
                "--quiet",
                "node",
                "run",
                "--listen",
                "127.0.0.1:0",
            ])
            .args([
                "--p2p-listen",
                "/ip4/127.0.0.1/tcp/0",
                "--bootstrap",
                "none",
                "--data",
            ])
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the node")?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("its output is piped")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let ready: Value = serde_json::from_str(&line).context("the first line of the node")?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Ok(Node {
            child,
            url: text(&ready["http"]).context("no address")?,
            peer: text(&ready["p2p"][0]).context("no peer address")?,
        })
    }

    /// The id at the end of its address.
    pub(super) fn peer_id(&self) -> &str {
        self.peer.rsplit('/').next().unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Nothing is left to do for one that has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Somebody with an identity and a list.
pub(super) struct Person {
    program: PathBuf,
    home: PathBuf,
    passphrase: PathBuf,
    pub(super) did: String,
    pub(super) name: String,
}

impl Person {
    pub(super) fn new(program: &Path, home: &Path, words: &str) -> Result<Person> {
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
    pub(super) fn publish(&self, handle: &str, node: &Node) -> Result<String> {
        self.run(&["label", "add", handle, "friend"])?;
        let published = self.run(&["publish", "--node", &node.url])?;
        let head = published["head"]
            .as_str()
            .context("no head was published")?;
        Ok(head.to_owned())
    }

    /// Resolves a name at a node until it says this head.
    pub(super) fn resolves(&self, name: &str, node: &str, expected: &str) -> Result<()> {
        until(|| {
            let resolved = self.run(&["resolve", name, "--node", node])?;
            let head = resolved["head"].as_str().unwrap_or_default();
            ensure!(head == expected, "{name} is {head} here, {expected} there");
            Ok(())
        })
    }

    /// Asks a node who has a CID until it names this peer.
    pub(super) fn finds(&self, cid: &str, node: &str, peer: &str) -> Result<()> {
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
    pub(super) fn run(&self, arguments: &[&str]) -> Result<Value> {
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
