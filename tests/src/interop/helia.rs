//! The cases with Helia, in both directions.
//!
//! One Helia with the DHT, one node of ours and one person serve all cases, and each case leaves its own names and blocks
//! behind: it may not rely on those of another. A case about one way alone starts a Helia that has no other.
//! What showed that a case works is the function that showed it, as the table has it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use super::{Attempt, Case, DAG_BYTES, Options, Suite, folder, start_node};
use crate::node::Node;
use crate::peers::helia::{By, Helia, HeliaNode, LABEL};
use crate::person::Person;
use crate::retry::until_ok;

const SUITE: Suite<Both> = Suite {
    peer: LABEL,
    need: "helia",
    cases: CASES,
};

const CASES: &[(&str, Attempt<Both>)] = &[
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
    (
        "bitswap: leaves of 1 KiB to 1 MiB, from there to here, and back",
        Both::leaves_of_every_size,
    ),
    ("CAR: exported here, imported there", Both::our_car),
    (
        "CAR: exported there from what was imported, verified here",
        Both::their_car,
    ),
];

/// Starts both sides, connects them, and runs every case that is wanted; without the peer they are skipped.
pub(super) fn cases(scratch: &Path, options: &Options) -> Result<Vec<Case>> {
    SUITE.run(options, Helia::installed(), |helia| {
        Both::start(&helia, scratch)
    })
}

struct Both {
    helia: Helia,
    peer: HeliaNode,
    node: Node,
    person: Person,
    dir: PathBuf,
}

impl Both {
    fn start(helia: &Helia, scratch: &Path) -> Result<Self> {
        let dir = folder(scratch, "helia")?;
        let node = start_node(&folder(&dir, "node")?)?;
        let mut peer = HeliaNode::start(helia, &dir.join("peer.log"), true, &[])?;
        peer.connect(node.peer())?;
        Ok(Self {
            helia: helia.clone(),
            peer,
            node,
            person: Person::new("gravel pelican sonnet wobble citrus yonder")?,
            dir,
        })
    }

    fn ours_over_dht(&mut self) -> Result<String> {
        let head = self.person.publish("@helia_reads", &self.node)?;
        self.peer.resolves(self.person.name(), By::Routing, &head)?;
        Ok("ipns.resolve".to_owned())
    }

    fn theirs_over_dht(&mut self) -> Result<String> {
        let root = self.peer.add(&self.dir, 1_000)?;
        let name = self.peer.publish("first", &root, By::Routing)?.name;
        self.person.resolves(&name, self.node.url(), &root)?;
        Ok("perennis resolve, the name being kept by no node of ours".to_owned())
    }

    fn ours_delegated(&mut self) -> Result<String> {
        let head = self.person.publish("@helia_asks", &self.node)?;
        let mut asks = self.second("asks", true)?;
        asks.resolves(self.person.name(), By::Routing, &head)?;
        Ok("ipns.resolve, without a DHT".to_owned())
    }

    fn theirs_delegated(&mut self) -> Result<String> {
        let mut puts = self.second("puts", true)?;
        let root = puts.add(&self.dir, 2_000)?;
        let name = puts.publish("second", &root, By::Routing)?.name;
        self.person.resolves(&name, self.node.url(), &root)?;
        Ok("ipns.publish, without a DHT; perennis resolve".to_owned())
    }

    fn ours_by_gossip(&mut self) -> Result<String> {
        let mut hears = self.second("hears", false)?;
        hears.connect(self.node.peer())?;
        for handle in ["@helia_joins", "@helia_hears"] {
            let head = self.person.publish(handle, &self.node)?;
            hears.resolves(self.person.name(), By::Pubsub, &head)?;
        }
        Ok("ipns.resolve with pubSubIPNSRouting, without a DHT, two heads".to_owned())
    }

    fn theirs_by_gossip(&mut self) -> Result<String> {
        let mut tells = self.second("tells", false)?;
        tells.connect(self.node.peer())?;
        let root = tells.add(&self.dir, 4_000)?;
        let first = tells.publish("third", &root, By::Pubsub)?;
        // The first record comes by hand, so that the next one can only come by gossip.
        let file = self.dir.join("followed.record");
        fs::write(&file, &first.record)?;
        self.person.follow(&first.name, Some(&file), &self.node)?;
        let root = tells.add(&self.dir, 5_000)?;
        until_ok(|| {
            tells.publish("third", &root, By::Pubsub)?;
            let status = self.person.name_status(&first.name, &self.node)?;
            ensure!(status.head == Some(root), "{status:?}");
            Ok(())
        })?;
        Ok("perennis name follow; ipns.publish with pubSubIPNSRouting, without a DHT".to_owned())
    }

    fn our_provider(&mut self) -> Result<String> {
        let head = self.person.publish("@helia_finds", &self.node)?;
        self.person.provide(&head, &self.node)?;
        until_ok(|| {
            let found = self.peer.provider(&head)?;
            ensure!(found == self.node.peer_id(), "found {found}");
            Ok("routing.findProviders".to_owned())
        })
    }

    fn their_provider(&mut self) -> Result<String> {
        let root = self.peer.add(&self.dir, 3_000)?;
        self.peer.provide(&root)?;
        self.person.finds(&root, &self.node, self.peer.id())?;
        Ok("perennis providers".to_owned())
    }

    fn blocks_both_ways(&mut self) -> Result<String> {
        let root = self.peer.add(&self.dir, DAG_BYTES)?;
        let address = self.peer.address();
        let blocks = self.person.fetch(&root, Some(address), &self.node)?;
        ensure!(blocks > 64, "only {blocks} blocks came");
        let mut other = self.second("other", false)?;
        other.connect(self.node.peer())?;
        other.fetch(&root, DAG_BYTES)?;
        Ok(format!(
            "perennis fetch: {blocks} blocks; unixfs.cat at a node that knows only ours"
        ))
    }

    fn leaves_of_every_size(&mut self) -> Result<String> {
        let mut other = self.second("leaves", false)?;
        other.connect(self.node.peer())?;
        let mut count = 0;
        // Each of another length: no two share their leaves.
        for (bytes, leaf) in [
            (1 << 20, 1 << 10),
            (8 << 20, 16 << 10),
            (16 << 20, 64 << 10),
            (24 << 20, 1 << 20),
        ] {
            let root = self.peer.add_with(&self.dir, bytes, Some(leaf))?;
            let address = self.peer.address();
            let blocks = self.person.fetch(&root, Some(address), &self.node)?;
            let least = (bytes / leaf) as u64;
            ensure!(blocks > least, "{blocks} of {least} leaves of {leaf} came");
            other.fetch(&root, bytes)?;
            count += blocks;
        }
        Ok(format!("perennis fetch: {count} blocks; unixfs.cat"))
    }

    fn our_car(&mut self) -> Result<String> {
        self.person.publish("@helia_imports", &self.node)?;
        let file = self.dir.join("ours.car");
        self.person.export(&file)?;
        let roots = self.peer.import_car(&file)?;
        Ok(format!("car.import: {roots} roots"))
    }

    fn their_car(&mut self) -> Result<String> {
        let root = self.person.publish("@helia_exports", &self.node)?;
        let ours = self.dir.join("again.car");
        self.person.export(&ours)?;
        self.peer.import_car(&ours)?;
        let file = self.dir.join("theirs.car");
        self.peer.export_car(&root, &file)?;
        let blocks = self.person.verify_car(&file)?;
        ensure!(blocks >= 3, "only {blocks} blocks");
        Ok(format!("perennis car verify: {blocks} blocks"))
    }

    /// Another node without a DHT, for the length of a case; it asks our node over HTTP or not.
    fn second(&self, name: &str, asks: bool) -> Result<HeliaNode> {
        let url = self.node.url();
        let routers: &[&str] = if asks { &[url] } else { &[] };
        let log = self.dir.join(format!("{name}.log"));
        HeliaNode::start(&self.helia, &log, false, routers)
    }
}
