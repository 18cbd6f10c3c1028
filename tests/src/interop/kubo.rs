//! The cases with Kubo, in both directions.
//!
//! One daemon, one node of ours and one person serve all cases, and each case leaves its own names and blocks behind: it
//! may not rely on those of another. A case that needs a daemon with other settings starts one for its own length.
//! What showed that a case works is the command that showed it, as the table has it.

mod gateway;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use perennis_shared::cid::parse_cid;

use super::relay::{self, Relay};
use super::{Attempt, Case, DAG_BYTES, Options, Suite, folder, start_node};
use crate::node::Node;
use crate::peers::kubo::{Daemon, ISOLATED, Kubo, LABEL, SERVER};
use crate::person::Person;
use crate::retry::until_ok;

/// Resolves names through the routers it is told of, and nowhere else.
const DELEGATED: &[(&str, &str)] = &[
    ("Routing.Type", r#""delegated""#),
    ("Provide.Enabled", "false"),
];

/// Reached over TCP and QUIC.
const BOTH_TRANSPORTS: &[(&str, &str)] = &[
    ("Routing.Type", r#""none""#),
    (
        "Addresses.Swarm",
        r#"["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"]"#,
    ),
];

/// Names come and go by gossip alone.
const GOSSIP: &[(&str, &str)] = &[
    ("Routing.Type", r#""none""#),
    ("Ipns.UsePubsub", "true"),
    ("Pubsub.Enabled", "true"),
];

/// How long a peer stands still: longer than a connection lives without a word.
const PAUSE: Duration = Duration::from_secs(15);

const SUITE: Suite<Both> = Suite {
    peer: LABEL,
    need: "kubo",
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
        "IPNS: published there, resolved here over Delegated Routing",
        Both::theirs_delegated,
    ),
    (
        "IPNS: published here, followed there over PubSub",
        Both::ours_by_gossip,
    ),
    (
        "IPNS: published there, resolved here over PubSub",
        Both::theirs_by_gossip,
    ),
    (
        "keep-alive: a name from there is followed here, and resolves there when its owner is gone",
        Both::orphan,
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
        "bitswap: leaves of 1 KiB to 1 MiB under CIDv0, from there to here over each transport, and back",
        Both::leaves_of_every_size,
    ),
    (
        "bitswap: a DAG from there over a link that loses one datagram of twenty",
        Both::lossy_link,
    ),
    (
        "bitswap: a DAG from a peer that stands still for 15 s in the middle of it",
        Both::paused_peer,
    ),
    (
        "path gateway: a directory from there is shown here with the same answers",
        Both::gateways_alike,
    ),
    ("CAR: exported here, imported there", Both::our_car),
    (
        "CAR: exported there from what was imported, verified here",
        Both::their_car,
    ),
];

/// Starts both sides, connects them, and runs every case that is wanted; without the peer they are skipped.
pub(super) fn cases(scratch: &Path, options: &Options) -> Result<Vec<Case>> {
    SUITE.run(options, Kubo::installed(), |kubo| {
        Both::start(&kubo, scratch)
    })
}

struct Both {
    kubo: Kubo,
    daemon: Daemon,
    node: Node,
    person: Person,
    scratch: PathBuf,
}

impl Both {
    fn start(kubo: &Kubo, scratch: &Path) -> Result<Self> {
        let daemon = Daemon::start(kubo, folder(scratch, "kubo")?, SERVER)?;
        let node = start_node(&folder(scratch, "kubo-node")?)?;
        daemon.connect(node.peer())?;
        Ok(Self {
            kubo: kubo.clone(),
            daemon,
            node,
            person: Person::new("oblige tundra velvet nephew crouton mimic")?,
            scratch: scratch.to_owned(),
        })
    }

    fn ours_over_dht(&mut self) -> Result<String> {
        let head = self.person.publish("@kubo_reads", &self.node)?;
        until_ok(|| self.daemon.resolves(self.person.name(), &head))?;
        Ok("ipfs name resolve --nocache".to_owned())
    }

    fn theirs_over_dht(&mut self) -> Result<String> {
        let root = self.daemon.add(1_000)?;
        let name = self.daemon.publish(&root, "self", &[])?;
        self.person.resolves(&name, self.node.url(), &root)?;
        Ok("perennis resolve, the name being kept by no node of ours".to_owned())
    }

    fn ours_delegated(&mut self) -> Result<String> {
        let head = self.person.publish("@kubo_asks", &self.node)?;
        let routers = format!(r#"["{}"]"#, self.node.url());
        let mut settings = DELEGATED.to_vec();
        settings.push(("Routing.DelegatedRouters", &routers));
        let asks = self.second("kubo-delegated", &settings)?;
        asks.resolves(self.person.name(), &head)?;
        Ok("ipfs name resolve, Routing.Type delegated".to_owned())
    }

    fn theirs_delegated(&mut self) -> Result<String> {
        let root = self.daemon.add(2_000)?;
        self.daemon.ipfs(&["key", "gen", "second"])?;
        let name = self.daemon.publish(&root, "second", &[])?;
        self.person
            .resolves(&name, &self.daemon.gateway()?, &root)?;
        Ok("perennis resolve --node GATEWAY".to_owned())
    }

    fn ours_by_gossip(&mut self) -> Result<String> {
        let hears = self.second("kubo-hears", GOSSIP)?;
        hears.connect(self.node.peer())?;
        // The first comes by asking who was there before, the second by gossip.
        for handle in ["@kubo_joins", "@kubo_hears"] {
            let head = self.person.publish(handle, &self.node)?;
            until_ok(|| hears.resolves(self.person.name(), &head))?;
        }
        Ok("ipfs name resolve, Routing.Type none, two heads".to_owned())
    }

    fn theirs_by_gossip(&mut self) -> Result<String> {
        let tells = self.second("kubo-tells", GOSSIP)?;
        tells.connect(self.node.peer())?;
        let root = tells.add(4_000)?;
        let name = tells.publish(&root, "self", &["--allow-offline"])?;
        self.person.resolves(&name, self.node.url(), &root)?;
        Ok("perennis resolve, Routing.Type none there".to_owned())
    }

    fn orphan(&mut self) -> Result<String> {
        let owner = self.second("kubo-owner", SERVER)?;
        owner.connect(self.node.peer())?;
        let root = owner.add(300_000)?;
        let name = owner.publish(&root, "self", &[])?;
        self.person.follow(&name, None, &self.node)?;
        self.person.waits_for(&name, &self.node, |status| {
            status.pin.as_deref() == Some("pinned")
        })?;
        drop(owner);
        // Somebody who was not there while the owner was.
        let late = self.second("kubo-late", SERVER)?;
        late.connect(self.node.peer())?;
        until_ok(|| late.resolves(&name, &root))?;
        late.pin(&root)?;
        Ok(
            "perennis name follow; ipfs name resolve and pin add at a node that came later"
                .to_owned(),
        )
    }

    fn our_provider(&mut self) -> Result<String> {
        let head = self.person.publish("@kubo_finds", &self.node)?;
        self.person.provide(&head, &self.node)?;
        let cid = head.to_string();
        until_ok(|| {
            let found = self.daemon.ipfs(&["routing", "findprovs", &cid])?;
            ensure!(
                found.lines().any(|peer| peer == self.node.peer_id()),
                "found {found:?}"
            );
            Ok("ipfs routing findprovs".to_owned())
        })
    }

    fn their_provider(&mut self) -> Result<String> {
        let root = self.daemon.add(3_000)?;
        self.daemon
            .ipfs(&["routing", "provide", &root.to_string()])?;
        self.person
            .finds(&root, &self.node, &self.daemon.peer_id()?)?;
        Ok("perennis providers".to_owned())
    }

    fn blocks_both_ways(&mut self) -> Result<String> {
        let root = self.daemon.add(DAG_BYTES)?;
        let peer = self.daemon.address()?;
        let blocks = self.person.fetch(&root, Some(&peer), &self.node)?;
        ensure!(blocks > 256, "only {blocks} blocks came");
        let other = self.second("kubo-isolated", ISOLATED)?;
        other.connect(self.node.peer())?;
        other.pin(&root)?;
        let path = format!("/ipfs/{root}");
        let bytes = other.ipfs(&["files", "stat", "--format=<size>", &path])?;
        ensure!(bytes == DAG_BYTES.to_string(), "{bytes} bytes there");
        Ok(format!(
            "perennis fetch: {blocks} blocks; ipfs pin add at a node that knows only ours"
        ))
    }

    fn leaves_of_every_size(&mut self) -> Result<String> {
        let mut shown = Vec::new();
        let mut roots = Vec::new();
        let source = self.second("leaves-source", BOTH_TRANSPORTS)?;
        for address in source.addresses()? {
            let node = start_node(&folder(&self.scratch, &format!("leaves-{}", shown.len()))?)?;
            let mut count = 0;
            roots.clear();
            // Each of another length: no two share their leaves.
            for (bytes, leaf) in [
                (1 << 20, 1 << 10),
                (8 << 20, 16 << 10),
                (16 << 20, 64 << 10),
                (24 << 20, 1 << 20),
            ] {
                let chunker = format!("--chunker=size-{leaf}");
                let root = source.add_as(bytes, &[&chunker])?;
                let blocks = self.person.fetch(&root, Some(&address), &node)?;
                let least = (bytes / leaf) as u64;
                ensure!(blocks > least, "{blocks} of {least} leaves of {leaf} came");
                count += blocks;
                roots.push(root);
            }
            let other = self.second(&format!("leaves-kubo-{}", shown.len()), ISOLATED)?;
            other.connect(node.peer())?;
            for root in &roots {
                other.pin(root)?;
            }
            let transport = if address.contains("quic") {
                "QUIC"
            } else {
                "TCP"
            };
            shown.push(format!("{count} blocks over {transport}"));
        }
        Ok(format!(
            "perennis fetch: {}; ipfs pin add",
            shown.join(", ")
        ))
    }

    fn lossy_link(&mut self) -> Result<String> {
        let source = self.second("lossy-source", BOTH_TRANSPORTS)?;
        let (relay, blocks) = self.fetch_by(&source, 20, None)?;
        let lost = relay.lost();
        ensure!(lost > 50, "only {lost} datagrams were lost");
        Ok(format!(
            "perennis fetch over QUIC: {blocks} blocks, {lost} datagrams lost"
        ))
    }

    fn paused_peer(&mut self) -> Result<String> {
        let source = self.second("paused-source", BOTH_TRANSPORTS)?;
        let process = source.process_id();
        let then = move || {
            signal("-STOP", process);
            thread::spawn(move || {
                thread::sleep(PAUSE);
                signal("-CONT", process);
            });
        };
        let start = Instant::now();
        let (_, blocks) = self.fetch_by(&source, u64::MAX, Some((2_000, Box::new(then))))?;
        ensure!(
            start.elapsed() > PAUSE,
            "all had come before it stood still"
        );
        Ok(format!("perennis fetch over QUIC: {blocks} blocks"))
    }

    /// Has a new node fetch 16 MiB in leaves of 64 KiB from a daemon through a relay.
    fn fetch_by(
        &self,
        source: &Daemon,
        loses_one_of: u64,
        then: Option<(u64, relay::Then)>,
    ) -> Result<(Relay, u64)> {
        let root = source.add_as(16 << 20, &["--chunker=size-65536"])?;
        let addresses = source.addresses()?;
        let quic = addresses.iter().find(|address| address.contains("/quic"));
        let quic = quic.context("it listens to no QUIC")?;
        let port = quic.split('/').nth(4).context("an address with a port")?;
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse()?));
        let relay = Relay::to(server, loses_one_of, then)?;
        let way = quic.replace(&format!("/{port}/"), &format!("/{}/", relay.port()));
        let folder = format!("relayed-{}", source.process_id());
        let node = start_node(&self::folder(&self.scratch, &folder)?)?;
        let blocks = self.person.fetch(&root, Some(&way), &node)?;
        ensure!(blocks > 256, "only {blocks} blocks came");
        Ok((relay, blocks))
    }

    fn gateways_alike(&mut self) -> Result<String> {
        let site = folder(&self.scratch, "site")?;
        gateway::write_site(&site)?;
        let site = site.to_str().context("a path in UTF-8")?;
        let add = ["add", "-r", "--quieter", "--cid-version=1", site];
        let root = parse_cid(&self.daemon.ipfs(&add)?)?;
        let peer = self.daemon.address()?;
        self.person.fetch(&root, Some(&peer), &self.node)?;
        let ours = self.node.gateway().context("our gateway is off")?;
        let asked = gateway::compare(ours, &self.daemon.gateway()?, &root.to_string())?;
        Ok(format!(
            "{asked} questions to both: status, headers and bytes"
        ))
    }

    fn our_car(&mut self) -> Result<String> {
        self.person.publish("@kubo_imports", &self.node)?;
        let file = self.scratch.join("ours.car");
        self.person.export(&file)?;
        let file = file.to_str().context("a path in UTF-8")?;
        let imported =
            self.daemon
                .ipfs(&["dag", "import", "--stats", "--pin-roots=false", file])?;
        let stats = imported.lines().last().unwrap_or_default();
        Ok(format!("ipfs dag import: {stats}"))
    }

    fn their_car(&mut self) -> Result<String> {
        let root = self.person.publish("@kubo_exports", &self.node)?;
        let ours = self.scratch.join("again.car");
        self.person.export(&ours)?;
        let ours = ours.to_str().context("a path in UTF-8")?;
        self.daemon
            .ipfs(&["dag", "import", "--pin-roots=false", ours])?;
        let file = self.scratch.join("theirs.car");
        let mut export = self.kubo.command(self.daemon.dir());
        export.args(["dag", "export", "--progress=false", &root.to_string()]);
        export
            .stdout(fs::File::create(&file)?)
            .stderr(Stdio::null());
        ensure!(export.status()?.success(), "ipfs dag export failed");
        let blocks = self.person.verify_car(&file)?;
        ensure!(blocks >= 3, "only {blocks} blocks");
        Ok(format!("perennis car verify: {blocks} blocks"))
    }

    /// Another daemon, for the length of a case.
    fn second(&self, name: &str, settings: &[(&str, &str)]) -> Result<Daemon> {
        Daemon::start(&self.kubo, folder(&self.scratch, name)?, settings)
    }
}

/// Sends a signal to a process of ours; one that has ended needs none.
fn signal(signal: &str, process: u32) {
    let _ = Command::new("kill")
        .args([signal, &process.to_string()])
        .status();
}
