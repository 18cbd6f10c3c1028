//! The cases with Kubo.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, ensure};

use super::{Case, folder};
use crate::{
    kubo::{self, Daemon, ISOLATED, SERVER, in_repository},
    ours::{Node, Person},
    patience::until,
};

const PEER: &str = "Kubo 0.43.0";
const DAG_BYTES: usize = 64 << 20;

/// Resolves names through the routers it is told of, and nowhere else.
const DELEGATED: &[(&str, &str)] = &[
    ("Routing.Type", r#""delegated""#),
    ("Provide.Enabled", "false"),
];

/// Starts both sides, connects them, and runs every case.
pub(super) fn cases(program: &Path, scratch: &Path) -> Result<Vec<Case>> {
    let built = kubo::build()?;
    let kubo = Daemon::start(&built, folder(scratch, "kubo")?, SERVER)?;
    let node = Node::start(program, &folder(scratch, "kubo-node")?, &[])?;
    let person = Person::new(
        program,
        &scratch.join("kubo-home"),
        "oblige tundra velvet nephew crouton mimic",
    )?;
    kubo.ipfs(&["swarm", "connect", &node.peer])?;
    let both = Both {
        program: built,
        kubo,
        node,
        person,
        scratch: scratch.to_owned(),
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
            outcome: case(&both),
        })
        .collect())
}

/// Names come and go by gossip alone.
const GOSSIP: &[(&str, &str)] = &[
    ("Routing.Type", r#""none""#),
    ("Ipns.UsePubsub", "true"),
    ("Pubsub.Enabled", "true"),
];

/// Tries one thing, and says what showed that it works.
type Attempt = fn(&Both) -> Result<String>;

struct Both {
    program: PathBuf,
    kubo: Daemon,
    node: Node,
    person: Person,
    scratch: PathBuf,
}

impl Both {
    fn ours_over_dht(&self) -> Result<String> {
        let head = self.person.publish("@kubo_reads", &self.node)?;
        let name = &self.person.name;
        until(|| {
            let path = self.kubo.ipfs(&["name", "resolve", "--nocache", name])?;
            ensure!(
                path == format!("/ipfs/{head}"),
                "{name} is {path} there, {head} here"
            );
            Ok("ipfs name resolve --nocache".to_owned())
        })
    }

    fn theirs_over_dht(&self) -> Result<String> {
        let root = self.kubo.add(1_000)?;
        let value = format!("/ipfs/{root}");
        let name = self.kubo.ipfs(&["name", "publish", "--quieter", &value])?;
        self.person.resolves(&name, &self.node.url, &root)?;
        Ok("perennis resolve, the name being kept by no node of ours".to_owned())
    }

    fn ours_delegated(&self) -> Result<String> {
        let head = self.person.publish("@kubo_asks", &self.node)?;
        let routers = format!(r#"["{}"]"#, self.node.url);
        let mut settings = DELEGATED.to_vec();
        settings.push(("Routing.DelegatedRouters", &routers));
        let asks = self.second("kubo-delegated", &settings)?;
        let path = asks.ipfs(&["name", "resolve", "--nocache", &self.person.name])?;
        ensure!(path == format!("/ipfs/{head}"), "{path} there, {head} here");
        Ok("ipfs name resolve, Routing.Type delegated".to_owned())
    }

    fn theirs_delegated(&self) -> Result<String> {
        let root = self.kubo.add(2_000)?;
        self.kubo.ipfs(&["key", "gen", "second"])?;
        let value = format!("/ipfs/{root}");
        let name = self
            .kubo
            .ipfs(&["name", "publish", "--quieter", "--key", "second", &value])?;
        self.person.resolves(&name, &self.kubo.gateway()?, &root)?;
        Ok("perennis resolve --node GATEWAY".to_owned())
    }

    fn ours_by_gossip(&self) -> Result<String> {
        let hears = self.second("kubo-hears", GOSSIP)?;
        hears.ipfs(&["swarm", "connect", &self.node.peer])?;
        // The first comes by asking who was there before, the second by gossip.
        for handle in ["@kubo_joins", "@kubo_hears"] {
            let head = self.person.publish(handle, &self.node)?;
            until(|| {
                let path = hears.ipfs(&["name", "resolve", "--nocache", &self.person.name])?;
                ensure!(path == format!("/ipfs/{head}"), "{path} there, {head} here");
                Ok(())
            })?;
        }
        Ok("ipfs name resolve, Routing.Type none, two heads".to_owned())
    }

    fn theirs_by_gossip(&self) -> Result<String> {
        let tells = self.second("kubo-tells", GOSSIP)?;
        tells.ipfs(&["swarm", "connect", &self.node.peer])?;
        let root = tells.add(4_000)?;
        let value = format!("/ipfs/{root}");
        let name = tells.ipfs(&["name", "publish", "--allow-offline", "--quieter", &value])?;
        self.person.resolves(&name, &self.node.url, &root)?;
        Ok("perennis resolve, Routing.Type none there".to_owned())
    }

    fn orphan(&self) -> Result<String> {
        let owner = self.second("kubo-owner", SERVER)?;
        owner.ipfs(&["swarm", "connect", &self.node.peer])?;
        let root = owner.add(300_000)?;
        let value = format!("/ipfs/{root}");
        let name = owner.ipfs(&["name", "publish", "--quieter", &value])?;
        let node = &self.node.url;
        self.person
            .run(&["name", "follow", &name, "--node", node])?;
        until(|| {
            let shown = self.person.run(&["name", "show", &name, "--node", node])?;
            ensure!(shown["pin"] == "pinned", "{shown}");
            Ok(())
        })?;
        drop(owner);
        // Somebody who was not there while the owner was.
        let late = self.second("kubo-late", SERVER)?;
        late.ipfs(&["swarm", "connect", &self.node.peer])?;
        until(|| {
            let path = late.ipfs(&["name", "resolve", "--nocache", &name])?;
            ensure!(path == value, "{path} there, {value} here");
            Ok(())
        })?;
        late.ipfs(&["pin", "add", "--progress=false", &root])?;
        Ok(
            "perennis name follow; ipfs name resolve and pin add at a node that came later"
                .to_owned(),
        )
    }

    fn our_provider(&self) -> Result<String> {
        let head = self.person.publish("@kubo_finds", &self.node)?;
        self.person
            .run(&["provide", &head, "--node", &self.node.url])?;
        until(|| {
            let found = self.kubo.ipfs(&["routing", "findprovs", &head])?;
            ensure!(
                found.lines().any(|peer| peer == self.node.peer_id()),
                "found {found:?}"
            );
            Ok("ipfs routing findprovs".to_owned())
        })
    }

    fn their_provider(&self) -> Result<String> {
        let root = self.kubo.add(3_000)?;
        self.kubo.ipfs(&["routing", "provide", &root])?;
        self.person
            .finds(&root, &self.node.url, &self.kubo.peer_id()?)?;
        Ok("perennis providers".to_owned())
    }

    fn blocks_both_ways(&self) -> Result<String> {
        let root = self.kubo.add(DAG_BYTES)?;
        let peer = self.kubo.address()?;
        let node = &self.node.url;
        let fetched = self
            .person
            .run(&["fetch", &root, "--peer", &peer, "--node", node])?;
        let blocks = fetched["blocks"].as_u64().context("no count of blocks")?;
        ensure!(blocks > 256, "{fetched}");
        let other = self.second("kubo-isolated", ISOLATED)?;
        other.ipfs(&["swarm", "connect", &self.node.peer])?;
        other.ipfs(&["pin", "add", "--progress=false", &root])?;
        let sizes = other.ipfs(&["files", "stat", "--format=<size>", &format!("/ipfs/{root}")])?;
        ensure!(sizes == DAG_BYTES.to_string(), "{sizes} bytes there");
        Ok(format!(
            "perennis fetch: {blocks} blocks; ipfs pin add at a node that knows only ours"
        ))
    }

    fn our_car(&self) -> Result<String> {
        let file = self.scratch.join("ours.car");
        let file = file.to_str().context("a path in UTF-8")?;
        self.person.run(&["export", file])?;
        let imported = self
            .kubo
            .ipfs(&["dag", "import", "--stats", "--pin-roots=false", file])?;
        let stats = imported.lines().last().unwrap_or_default();
        Ok(format!("ipfs dag import: {stats}"))
    }

    fn their_car(&self) -> Result<String> {
        let root = self.person.publish("@kubo_exports", &self.node)?;
        let ours = self.scratch.join("again.car");
        let ours = ours.to_str().context("a path in UTF-8")?;
        self.person.run(&["export", ours])?;
        self.kubo
            .ipfs(&["dag", "import", "--pin-roots=false", ours])?;
        let file = self.scratch.join("theirs.car");
        let mut export = in_repository(&self.program, self.kubo.dir());
        export.args(["dag", "export", "--progress=false", &root]);
        export
            .stdout(fs::File::create(&file)?)
            .stderr(Stdio::null());
        ensure!(export.status()?.success(), "ipfs dag export failed");
        let file = file.to_str().context("a path in UTF-8")?;
        let verified = self.person.run(&["car", "verify", file])?;
        let blocks = verified["blocks"].as_u64().context("no count of blocks")?;
        ensure!(blocks >= 3, "{verified}");
        Ok(format!("perennis car verify: {blocks} blocks"))
    }

    /// Another daemon, for the length of a case.
    fn second(&self, name: &str, settings: &[(&str, &str)]) -> Result<Daemon> {
        Daemon::start(&self.program, folder(&self.scratch, name)?, settings)
    }
}
