//! Somebody with an identity and a list, who uses the command line and waits until others have followed.
//!
//! A [`Person`] is a [`Home`] whose commands give typed documents, or say why not: a command that fails may be tried again,
//! where a scenario's [`Home::json`] would end the test.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use perennis_shared::cid::Cid;
use perennis_shared::ipns::Name;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::document::{Blocks, NameStatus, NewIdentity, Providers, Published, Resolved};
use crate::home::Home;
use crate::node::Node;
use crate::retry::until_ok;
use crate::schema;

/// Somebody with an identity and a list.
#[derive(Debug)]
pub struct Person {
    home: Home,
    passphrase: String,
    name: Name,
}

impl Person {
    /// A person whose identity comes from these words alone: the same words, the same name.
    ///
    /// # Errors
    /// The identity cannot be made.
    pub fn new(words: &str) -> Result<Self> {
        let home = Home::new();
        let passphrase = home.file("passphrase", words);
        let arguments = ["id", "new", "--profile", "v2", "--account", words];
        let identity: NewIdentity = run(&home, &passphrase, &arguments)?;
        Ok(Self {
            home,
            passphrase,
            name: identity.ipns_name,
        })
    }

    /// The name it publishes under.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Labels a handle, publishes, and returns the new head.
    ///
    /// # Errors
    /// A command fails.
    pub fn publish(&self, handle: &str, node: &Node) -> Result<Cid> {
        self.run::<Value>(&["label", "add", handle, "friend"])?;
        let published: Published = self.run(&["publish", "--node", node.url()])?;
        Ok(published.head)
    }

    /// Resolves a name at a node, by its URL, until it says this head.
    ///
    /// # Errors
    /// It does not say so within a minute.
    pub fn resolves(&self, name: &Name, node: &str, expected: &Cid) -> Result<()> {
        let name = name.to_string();
        until_ok(|| {
            let resolved: Resolved = self.run(&["resolve", &name, "--node", node])?;
            let head = resolved.head;
            ensure!(head == *expected, "{name} is {head} here, {expected} there");
            Ok(())
        })
    }

    /// Has a node say that it has what is below a CID.
    ///
    /// # Errors
    /// The command fails.
    pub fn provide(&self, cid: &Cid, node: &Node) -> Result<()> {
        self.run::<Value>(&["provide", &cid.to_string(), "--node", node.admin()])?;
        Ok(())
    }

    /// Asks a node who has a CID until it names this peer.
    ///
    /// # Errors
    /// It does not within a minute.
    pub fn finds(&self, cid: &Cid, node: &Node, peer: &str) -> Result<()> {
        let cid = cid.to_string();
        until_ok(|| {
            let found: Providers = self.run(&["providers", &cid, "--node", node.url()])?;
            let mut peers = found.providers.iter().map(|provider| &provider.peer_id);
            ensure!(peers.any(|found| found == peer), "found {found:?}");
            Ok(())
        })
    }

    /// Has a node fetch what is below a root, from this peer or from whom it is connected with; gives the number of blocks
    /// that came.
    ///
    /// # Errors
    /// The command fails.
    pub fn fetch(&self, root: &Cid, from: Option<&str>, into: &Node) -> Result<u64> {
        let root = root.to_string();
        let mut arguments = vec!["fetch", &root, "--node", into.admin()];
        if let Some(from) = from {
            arguments.extend(["--peer", from]);
        }
        let fetched: Blocks = self.run(&arguments)?;
        Ok(fetched.blocks)
    }

    /// Connects a node with a peer, by its address.
    ///
    /// # Errors
    /// The command fails.
    pub fn connect(&self, node: &Node, peer: &str) -> Result<()> {
        self.run::<Value>(&["peers", "connect", peer, "--node", node.admin()])?;
        Ok(())
    }

    /// Has a node follow a name, from a record in a file if one is given.
    ///
    /// # Errors
    /// The command fails.
    pub fn follow(&self, name: &Name, record: Option<&Path>, node: &Node) -> Result<()> {
        let name = name.to_string();
        let mut arguments = vec!["name", "follow", &name, "--node", node.admin()];
        if let Some(record) = record {
            arguments.extend(["--record", utf8(record)?]);
        }
        self.run::<Value>(&arguments)?;
        Ok(())
    }

    /// Asks a node for what it says of a name until that is as it should be.
    ///
    /// # Errors
    /// It does not become so within a minute.
    pub fn waits_for(
        &self,
        name: &Name,
        node: &Node,
        is_so: impl Fn(&NameStatus) -> bool,
    ) -> Result<()> {
        until_ok(|| {
            let status = self.name_status(name, node)?;
            ensure!(is_so(&status), "{name}: {status:?}");
            Ok(())
        })
    }

    /// What a node says of a name.
    ///
    /// # Errors
    /// The command fails.
    pub fn name_status(&self, name: &Name, node: &Node) -> Result<NameStatus> {
        self.run(&["name", "show", &name.to_string(), "--node", node.url()])
    }

    /// Exports all it has into a CAR file.
    ///
    /// # Errors
    /// The command fails.
    pub fn export(&self, file: &Path) -> Result<()> {
        self.run::<Value>(&["export", utf8(file)?])?;
        Ok(())
    }

    /// Verifies a CAR file; gives the number of its blocks.
    ///
    /// # Errors
    /// The command fails.
    pub fn verify_car(&self, file: &Path) -> Result<u64> {
        let verified: Blocks = self.run(&["car", "verify", utf8(file)?])?;
        Ok(verified.blocks)
    }

    fn run<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<T> {
        run(&self.home, &self.passphrase, arguments)
    }
}

/// Runs a command and returns its document, held against its schema.
fn run<T: DeserializeOwned>(home: &Home, passphrase: &str, arguments: &[&str]) -> Result<T> {
    let mut all = arguments.to_vec();
    all.extend(["--passphrase-file", passphrase]);
    let ran = home.run_json(&all);
    let text = ran.text();
    ensure!(
        ran.code == Some(0),
        "perennis {} failed: {text}{}",
        arguments.join(" "),
        ran.stderr
    );
    let last = text.lines().last().unwrap_or_default();
    let document = serde_json::from_str(last).with_context(|| format!("the answer {last:?}"))?;
    let problems = schema::problems(&schema::name_of(arguments), &document);
    ensure!(problems.is_empty(), "{}\n{document:#}", problems.join("\n"));
    serde_json::from_value(document).with_context(|| format!("the answer {last:?}"))
}

fn utf8(path: &Path) -> Result<&str> {
    path.to_str().context("a path in UTF-8")
}
