//! The cases with Helia.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::Case;
use crate::{
    helia::{Helia, PEER, Peer},
    ours::{Node, Person},
    patience::until,
};

const DAG_BYTES: usize = 64 << 20;

/// Starts both sides, connects them, and runs every case.
pub(super) fn cases(helia: &Helia, program: &Path, scratch: &Path) -> Result<Vec<Case>> {
    let dir = super::folder(scratch, "helia")?;
    let node = Node::start(program, &dir.join("node"), &[])?;
    let person = Person::new(
        program,
        &dir.join("home"),
        "gravel pelican sonnet wobble citrus yonder",
    )?;
    let mut peer = Peer::start(helia, &dir.join("peer.log"), true, &[])?;
    peer.ask(&json!({ "command": "connect", "address": &node.peer }))?;
    let mut both = Both {
        peer,
        helia: helia.clone(),
        node,
        person,
        dir,
    };
    let cases: &[(&'static str, Attempt)] = &[
        (
            "IPNS: published here, resolved there over the DHT",
            Both::ours_over_dht,
        ),
        (
            "IPNS: published there, resolved here over the DHT",
            Both::theirs_over_dht,
        ),
        (
            "IPNS: published here, resolved there over Delegated Routing",
            Both::ours_delegated,
        ),
        (
            "IPNS: published there over Delegated Routing, resolved here",
            Both::theirs_delegated,
        ),
        (
            "IPNS: published here, followed there over PubSub",
            Both::ours_by_gossip,
        ),
        (
            "IPNS: published there, followed here over PubSub",
            Both::theirs_by_gossip,
        ),
        ("providers: provided here, found there", Both::our_provider),
        (
            "providers: provided there, found here",
            Both::their_provider,
        ),
        (
            "bitswap: a DAG of 64 MiB from there to here, and from here to another",
            Both::blocks_both_ways,
        ),
        ("CAR: exported here, imported there", Both::our_car),
        (
            "CAR: exported there from what was imported, verified here",
            Both::their_car,
        ),
    ];
    Ok(cases
        .iter()
        .map(|(what, case)| Case {
            peer: PEER,
            what,
            outcome: case(&mut both),
        })
        .collect())
}

/// Tries one thing, and says what showed that it works.
type Attempt = fn(&mut Both) -> Result<String>;

struct Both {
    peer: Peer,
    helia: Helia,
    node: Node,
    person: Person,
    dir: PathBuf,
}

impl Both {
    fn ours_over_dht(&mut self) -> Result<String> {
        let head = self.person.publish("@helia_reads", &self.node)?;
        self.peer.resolves(&self.person.name, "routing", &head)?;
        Ok("ipns.resolve".to_owned())
    }

    fn theirs_over_dht(&mut self) -> Result<String> {
        let root = self.peer.add(&self.dir, 1_000)?;
        let request =
            json!({ "command": "publish", "key": "first", "value": root, "by": "routing" });
        let name = self.peer.text(&request, "name")?;
        self.person.resolves(&name, &self.node.url, &root)?;
        Ok("perennis resolve, the name being kept by no node of ours".to_owned())
    }

    fn ours_delegated(&mut self) -> Result<String> {
        let head = self.person.publish("@helia_asks", &self.node)?;
        let mut asks = self.second("asks", false, true)?;
        asks.resolves(&self.person.name, "routing", &head)?;
        Ok("ipns.resolve, without a DHT".to_owned())
    }

    fn theirs_delegated(&mut self) -> Result<String> {
        let mut puts = self.second("puts", false, true)?;
        let root = puts.add(&self.dir, 2_000)?;
        let request =
            json!({ "command": "publish", "key": "second", "value": root, "by": "routing" });
        let name = puts.text(&request, "name")?;
        self.person.resolves(&name, &self.node.url, &root)?;
        Ok("ipns.publish, without a DHT; perennis resolve".to_owned())
    }

    fn ours_by_gossip(&mut self) -> Result<String> {
        let mut hears = self.second("hears", false, false)?;
        hears.ask(&json!({ "command": "connect", "address": &self.node.peer }))?;
        for handle in ["@helia_joins", "@helia_hears"] {
            let head = self.person.publish(handle, &self.node)?;
            hears.resolves(&self.person.name, "pubsub", &head)?;
        }
        Ok("ipns.resolve with pubSubIPNSRouting, without a DHT, two heads".to_owned())
    }

    fn theirs_by_gossip(&mut self) -> Result<String> {
        let mut tells = self.second("tells", false, false)?;
        tells.ask(&json!({ "command": "connect", "address": &self.node.peer }))?;
        let publish = |root: &str| json!({ "command": "publish", "key": "third", "value": root, "by": "pubsub" });
        let root = tells.add(&self.dir, 4_000)?;
        let first = tells.ask(&publish(&root))?;
        let name = first["name"].as_str().context("no name")?;
        // The first record comes by hand, so that the next one can only come by gossip.
        let file = self.dir.join("followed.record");
        fs::write(
            &file,
            bytes_of(first["record"].as_str().context("no record")?)?,
        )?;
        let file = file.to_str().context("a path in UTF-8")?;
        let node = &self.node.url;
        let follow = ["name", "follow", name, "--record", file, "--node", node];
        self.person.run(&follow)?;
        let root = tells.add(&self.dir, 5_000)?;
        until(|| {
            tells.ask(&publish(&root))?;
            let shown = self.person.run(&["name", "show", name, "--node", node])?;
            ensure!(shown["head"] == root.as_str(), "{shown}");
            Ok(())
        })?;
        Ok("perennis name follow; ipns.publish with pubSubIPNSRouting, without a DHT".to_owned())
    }

    fn our_provider(&mut self) -> Result<String> {
        let head = self.person.publish("@helia_finds", &self.node)?;
        self.person
            .run(&["provide", &head, "--node", &self.node.url])?;
        let request = json!({ "command": "providers", "root": head });
        let ours = self.node.peer_id();
        until(|| {
            let found = self.peer.ask(&request)?;
            ensure!(found["providers"][0] == ours, "found {found}");
            Ok("routing.findProviders".to_owned())
        })
    }

    fn their_provider(&mut self) -> Result<String> {
        let root = self.peer.add(&self.dir, 3_000)?;
        self.peer
            .ask(&json!({ "command": "provide", "root": root }))?;
        self.person.finds(&root, &self.node.url, &self.peer.id)?;
        Ok("perennis providers".to_owned())
    }

    fn blocks_both_ways(&mut self) -> Result<String> {
        let root = self.peer.add(&self.dir, DAG_BYTES)?;
        let address = &self.peer.address;
        let node = &self.node.url;
        let fetched = self
            .person
            .run(&["fetch", &root, "--peer", address, "--node", node])?;
        let blocks = fetched["blocks"].as_u64().context("no count of blocks")?;
        ensure!(blocks > 64, "{fetched}");
        let mut other = self.second("other", false, false)?;
        other.ask(&json!({ "command": "connect", "address": &self.node.peer }))?;
        let got = other.ask(&json!({ "command": "cat", "root": root }))?;
        ensure!(got["bytes"] == DAG_BYTES, "{got}");
        Ok(format!(
            "perennis fetch: {blocks} blocks; unixfs.cat at a node that knows only ours"
        ))
    }

    fn our_car(&mut self) -> Result<String> {
        let file = self.dir.join("ours.car");
        self.person
            .run(&["export", file.to_str().context("a path in UTF-8")?])?;
        let imported = self
            .peer
            .ask(&json!({ "command": "importCar", "file": file }))?;
        let roots = imported["roots"].as_array().map_or(0, Vec::len);
        Ok(format!("car.import: {roots} roots"))
    }

    fn their_car(&mut self) -> Result<String> {
        let root = self.person.publish("@helia_exports", &self.node)?;
        let ours = self.dir.join("again.car");
        self.person
            .run(&["export", ours.to_str().context("a path in UTF-8")?])?;
        self.peer
            .ask(&json!({ "command": "importCar", "file": ours }))?;
        let file = self.dir.join("theirs.car");
        self.peer
            .ask(&json!({ "command": "exportCar", "root": root, "file": file }))?;
        let verified =
            self.person
                .run(&["car", "verify", file.to_str().context("a path in UTF-8")?])?;
        let blocks = verified["blocks"].as_u64().context("no count of blocks")?;
        ensure!(blocks >= 3, "{verified}");
        Ok(format!("perennis car verify: {blocks} blocks"))
    }

    /// Another node, for the length of a case; it asks our node over HTTP or not.
    fn second(&self, name: &str, dht: bool, asks: bool) -> Result<Peer> {
        let url = self.node.url.as_str();
        let routers: &[&str] = if asks { &[url] } else { &[] };
        let log = self.dir.join(format!("{name}.log"));
        Peer::start(&self.helia, &log, dht, routers)
    }
}

/// Bytes written in hexadecimal.
fn bytes_of(hex: &str) -> Result<Vec<u8>> {
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?))
        .collect()
}
