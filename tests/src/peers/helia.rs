//! Helia: nodes started from a script of ours (`tests/interop/helia/peer.mjs`), which does what it is told, a request and an
//! answer a line.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use perennis_shared::cid::{Cid, parse_cid};
use perennis_shared::ipns::Name;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::peers;
use crate::retry::until_ok;

/// What it is called in tables.
pub const LABEL: &str = "Helia 7.1.15";

/// Where its packages and the script are.
const FOLDER: &str = "PERENNIS_HELIA";

/// What Helia runs with: the packages, and a Node.js that is new enough.
#[derive(Clone, Debug)]
pub struct Helia {
    folder: PathBuf,
}

impl Helia {
    /// What was installed; `None` when it was not.
    #[must_use]
    pub fn installed() -> Option<Self> {
        let folder = peers::installed(FOLDER)?;
        Some(Self { folder })
    }
}

/// Which way a record goes or comes.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// Content routing: the DHT, or a Delegated Routing API.
    Routing,
    /// Gossip alone.
    Pubsub,
}

/// A record that it published.
#[derive(Clone, Debug)]
pub struct PublishedRecord {
    /// The name.
    pub name: Name,
    /// The record's bytes.
    pub record: Vec<u8>,
}

/// What a node is started with.
#[derive(Serialize)]
struct Options<'a> {
    dht: bool,
    routers: &'a [&'a str],
}

/// What the script says first.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ready {
    peer_id: String,
    address: String,
}

/// What it can be told.
#[derive(Debug, Serialize)]
#[serde(tag = "command", rename_all = "camelCase")]
enum Request<'a> {
    Connect { address: &'a str },
    Add { file: &'a Path, leaf: Option<usize> },
    Cat { root: String },
    Publish { key: &'a str, value: String, by: By },
    Resolve { name: String, by: By },
    Provide { root: String },
    Providers { root: String },
    ImportCar { file: &'a Path },
    ExportCar { root: String, file: &'a Path },
}

/// What came of a request.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer<T> {
    Ok(T),
    Error(String),
}

#[derive(Deserialize)]
struct Done {}

#[derive(Deserialize)]
struct Added {
    root: String,
}

#[derive(Deserialize)]
struct Got {
    bytes: usize,
}

#[derive(Deserialize)]
struct SignedRecord {
    name: String,
    record: String,
}

#[derive(Deserialize)]
struct Value {
    value: String,
}

#[derive(Deserialize)]
struct Providers {
    providers: Vec<String>,
}

#[derive(Deserialize)]
struct Roots {
    roots: Vec<String>,
}

/// A running node; stopped when dropped.
#[derive(Debug)]
pub struct HeliaNode {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    id: String,
    address: String,
}

impl HeliaNode {
    /// Starts one, with the DHT or without, asking these routers.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(helia: &Helia, log: &Path, dht: bool, routers: &[&str]) -> Result<Self> {
        let options = serde_json::to_string(&Options { dht, routers })?;
        let mut child = Command::new(helia.folder.join("node_modules/node/bin/node"))
            .current_dir(&helia.folder)
            .arg("peer.mjs")
            .arg(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(log)?)
            .spawn()
            .context("cannot start Helia")?;
        let requests = child.stdin.take().context("its input is piped")?;
        let answers = child.stdout.take().context("its output is piped")?;
        let mut peer = Self {
            child,
            requests,
            answers: BufReader::new(answers),
            id: String::new(),
            address: String::new(),
        };
        let ready: Ready = peer.line()?;
        peer.id = ready.peer_id;
        peer.address = ready.address;
        Ok(peer)
    }

    /// Its peer id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Connects it with a peer, by its address.
    ///
    /// # Errors
    /// The peer does not answer.
    pub fn connect(&mut self, address: &str) -> Result<()> {
        self.ask::<Done>(&Request::Connect { address })?;
        Ok(())
    }

    /// Adds a file of this many bytes, written into the folder, and returns its root.
    ///
    /// # Errors
    /// It cannot be added.
    pub fn add(&mut self, dir: &Path, bytes: usize) -> Result<Cid> {
        self.add_with(dir, bytes, None)
    }

    /// As [`HeliaNode::add`], with leaves of so many bytes.
    ///
    /// # Errors
    /// It cannot be added.
    pub fn add_with(&mut self, dir: &Path, bytes: usize, leaf: Option<usize>) -> Result<Cid> {
        let file = peers::file_of(dir, bytes)?;
        let added: Added = self.ask(&Request::Add { file: &file, leaf })?;
        Ok(parse_cid(&added.root)?)
    }

    /// Fetches the file below a root, and fails where it does not have so many bytes.
    ///
    /// # Errors
    /// It does not come, or is another.
    pub fn fetch(&mut self, root: &Cid, bytes: usize) -> Result<()> {
        let root = root.to_string();
        let got: Got = self.ask(&Request::Cat { root })?;
        ensure!(got.bytes == bytes, "{} bytes of {bytes} came", got.bytes);
        Ok(())
    }

    /// Publishes a root under the name of one of its keys, which is made when it is not there.
    ///
    /// # Errors
    /// Nobody takes the record.
    pub fn publish(&mut self, key: &str, root: &Cid, by: By) -> Result<PublishedRecord> {
        let value = root.to_string();
        let signed: SignedRecord = self.ask(&Request::Publish { key, value, by })?;
        Ok(PublishedRecord {
            name: Name::parse(&signed.name)?,
            record: bytes_of(&signed.record)?,
        })
    }

    /// Resolves a name until it says this head.
    ///
    /// # Errors
    /// It does not say so within a minute.
    pub fn resolves(&mut self, name: &Name, by: By, head: &Cid) -> Result<()> {
        until_ok(|| {
            let name = name.to_string();
            let resolved: Value = self.ask(&Request::Resolve { name, by })?;
            ensure!(
                resolved.value == format!("/ipfs/{head}"),
                "{} there, {head} here",
                resolved.value
            );
            Ok(())
        })
    }

    /// Says to the network that it has what is below a root.
    ///
    /// # Errors
    /// Nobody takes it.
    pub fn provide(&mut self, root: &Cid) -> Result<()> {
        let root = root.to_string();
        self.ask::<Done>(&Request::Provide { root })?;
        Ok(())
    }

    /// The first peer that says it has a root.
    ///
    /// # Errors
    /// There is none.
    pub fn provider(&mut self, root: &Cid) -> Result<String> {
        let root = root.to_string();
        let found: Providers = self.ask(&Request::Providers { root })?;
        let first = found.providers.into_iter().next();
        first.context("found no provider")
    }

    /// Imports a CAR file; gives the number of its roots.
    ///
    /// # Errors
    /// It is not taken.
    pub fn import_car(&mut self, file: &Path) -> Result<usize> {
        let imported: Roots = self.ask(&Request::ImportCar { file })?;
        Ok(imported.roots.len())
    }

    /// Exports what is below a root into a CAR file.
    ///
    /// # Errors
    /// Something of it is not there.
    pub fn export_car(&mut self, root: &Cid, file: &Path) -> Result<()> {
        let root = root.to_string();
        self.ask::<Done>(&Request::ExportCar { root, file })?;
        Ok(())
    }

    /// Sends a request and returns what came of it.
    fn ask<T: DeserializeOwned>(&mut self, request: &Request<'_>) -> Result<T> {
        writeln!(self.requests, "{}", serde_json::to_string(request)?)?;
        match self.line()? {
            Answer::Ok(answer) => Ok(answer),
            Answer::Error(error) => bail!("{request:?}: {error}"),
        }
    }

    fn line<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("Helia said {line:?}"))
    }
}

/// Bytes written in hexadecimal.
fn bytes_of(hex: &str) -> Result<Vec<u8>> {
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?))
        .collect()
}

impl Drop for HeliaNode {
    fn drop(&mut self) {
        // Nothing is left to do for one that has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn requests_and_answers_are_as_the_script_has_them() {
        let request = Request::Publish {
            key: "first",
            value: "b".to_owned(),
            by: By::Pubsub,
        };
        assert_eq!(
            serde_json::to_string(&request).unwrap(),
            r#"{"command":"publish","key":"first","value":"b","by":"pubsub"}"#
        );
        let file = Path::new("/a.car");
        let request = serde_json::to_string(&Request::ImportCar { file }).unwrap();
        assert_eq!(request, r#"{"command":"importCar","file":"/a.car"}"#);
        let got: Answer<Got> = serde_json::from_str(r#"{"ok":{"bytes":3,"ms":1}}"#).unwrap();
        assert!(matches!(got, Answer::Ok(Got { bytes: 3 })));
        let failed: Answer<Done> = serde_json::from_str(r#"{"error":"no"}"#).unwrap();
        assert!(matches!(failed, Answer::Error(error) if error == "no"));
    }
}
