//! Helia, run by a script of ours that does what it is told, line by line.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{noise, patience::until, shell, workspace};

/// What it is called in tables.
pub(crate) const PEER: &str = "Helia 7.1.15";

const VERSION: &str = "7.1.15";

const SCRIPT: &str = "tests/interop/helia";

/// What Helia runs with: the packages, and a Node.js that is new enough.
#[derive(Clone)]
pub(crate) struct Helia {
    folder: PathBuf,
    node: PathBuf,
}

/// Installs the packages unless they are there; `None` without npm.
///
/// # Errors
/// npm cannot fetch them.
pub(crate) fn install() -> Result<Option<Helia>> {
    if shell::which(&["npm"]).is_none() {
        return Ok(None);
    }
    let source = workspace::root().join(SCRIPT);
    let folder = workspace::cache()
        .join("tools")
        .join(format!("helia-{VERSION}"));
    fs::create_dir_all(&folder)?;
    for file in ["package.json", "package-lock.json", "peer.mjs"] {
        fs::copy(source.join(file), folder.join(file))
            .with_context(|| format!("cannot copy {file}"))?;
    }
    // Node 22 comes as a package too, whose own script fetches the program.
    let node = folder.join("node_modules/node/bin/node");
    if !node.is_file() {
        println!("installing Helia {VERSION} (about 3 minutes, once)");
        let npm = |arguments: &[&str]| {
            let mut npm = shell::command("npm");
            shell::run(npm.current_dir(&folder).args(arguments))
        };
        npm(&["ci", "--no-audit", "--no-fund", "--ignore-scripts"])?;
        npm(&["rebuild", "node", "--foreground-scripts"])?;
    }
    Ok(Some(Helia { folder, node }))
}

/// A running node; stopped when dropped.
pub(crate) struct Peer {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    pub(crate) id: String,
    pub(crate) address: String,
}

impl Peer {
    /// Starts one, with the DHT or without, asking these routers.
    pub(crate) fn start(helia: &Helia, log: &Path, dht: bool, routers: &[&str]) -> Result<Peer> {
        let mut child = Command::new(&helia.node)
            .current_dir(&helia.folder)
            .arg("peer.mjs")
            .arg(json!({ "dht": dht, "routers": routers }).to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(log)?)
            .spawn()
            .context("cannot start Helia")?;
        let requests = child.stdin.take().context("its input is piped")?;
        let answers = child.stdout.take().context("its output is piped")?;
        let mut peer = Peer {
            child,
            requests,
            answers: BufReader::new(answers),
            id: String::new(),
            address: String::new(),
        };
        let ready = peer.line()?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        peer.id = text(&ready["peerId"]).context("no peer id")?;
        peer.address = text(&ready["address"]).context("no address")?;
        Ok(peer)
    }

    /// Sends a request and returns what came of it.
    pub(crate) fn ask(&mut self, request: &Value) -> Result<Value> {
        writeln!(self.requests, "{request}")?;
        let mut answer = self.line()?;
        ensure!(answer["error"].is_null(), "{request}: {}", answer["error"]);
        Ok(answer["ok"].take())
    }

    fn line(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("Helia said {line:?}"))
    }

    pub(crate) fn text(&mut self, request: &Value, field: &str) -> Result<String> {
        let answer = self.ask(request)?;
        let text = answer[field].as_str();
        Ok(text.with_context(|| format!("no {field}"))?.to_owned())
    }

    pub(crate) fn add(&mut self, dir: &Path, bytes: usize) -> Result<String> {
        let file = noise::file(dir, bytes)?;
        self.text(&json!({ "command": "add", "file": file }), "root")
    }

    pub(crate) fn resolves(&mut self, name: &str, by: &str, head: &str) -> Result<()> {
        until(|| {
            let request = json!({ "command": "resolve", "name": name, "by": by });
            let value = self.text(&request, "value")?;
            ensure!(
                value == format!("/ipfs/{head}"),
                "{value} there, {head} here"
            );
            Ok(())
        })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Nothing is left to do for one that has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
