//! The cases with Kubo.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    Case, folder,
    ours::{Node, Person},
};
use crate::{
    kubo::{self, ALONE, in_repository},
    shell,
};

const PEER: &str = "Kubo 0.43.0";
const PATIENCE: Duration = Duration::from_secs(60);

/// Beyond [`ALONE`]: a server of the DHT on loopback.
const SERVER: &[(&str, &str)] = &[
    ("Routing.Type", r#""dhtserver""#),
    ("Routing.LoopbackAddressesOnLanDHT", "true"),
    ("Addresses.Swarm", r#"["/ip4/127.0.0.1/tcp/0"]"#),
    ("Addresses.API", r#""/ip4/127.0.0.1/tcp/0""#),
    ("Addresses.Gateway", r#""/ip4/127.0.0.1/tcp/0""#),
    ("Ipns.UsePubsub", "true"),
    ("Pubsub.Enabled", "true"),
];

/// A running daemon; stopped when dropped.
struct Daemon {
    program: PathBuf,
    dir: PathBuf,
    child: Child,
}

impl Daemon {
    fn start(program: &Path, dir: PathBuf) -> Result<Daemon> {
        let configure =
            |arguments: &[&str]| shell::output(in_repository(program, &dir).args(arguments));
        configure(&["init", "--profile", "test"])?;
        for (key, value) in ALONE.iter().chain(SERVER) {
            configure(&["config", "--json", key, value])?;
        }
        let log = fs::File::create(dir.join("daemon.log"))?;
        let child = in_repository(program, &dir)
            .arg("daemon")
            .stdout(log.try_clone()?)
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .context("cannot start Kubo")?;
        let mut daemon = Daemon {
            program: program.to_owned(),
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
            ensure!(start.elapsed() < PATIENCE, "Kubo did not come up");
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    fn ipfs(&self, arguments: &[&str]) -> Result<String> {
        let mut command = in_repository(&self.program, &self.dir);
        Ok(shell::output(command.args(arguments))?.trim().to_owned())
    }

    fn gateway(&self) -> Result<String> {
        Ok(fs::read_to_string(self.dir.join("gateway"))?
            .trim()
            .to_owned())
    }

    /// Puts a file of this many bytes and returns its root.
    fn add(&self, bytes: usize) -> Result<String> {
        let file = self.dir.join(format!("file-{bytes}"));
        fs::write(&file, noise(bytes))?;
        let file = file.to_str().context("a path in UTF-8")?;
        self.ipfs(&[
            "add",
            "--quieter",
            "--cid-version",
            "1",
            "--raw-leaves",
            file,
        ])
    }

    fn peer_id(&self) -> Result<String> {
        self.ipfs(&["config", "Identity.PeerID"])
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Nothing is left to do for one that has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts both sides, connects them, and runs every case.
pub(super) fn cases(program: &Path, scratch: &Path) -> Result<Vec<Case>> {
    let kubo = Daemon::start(&kubo::build()?, folder(scratch, "kubo")?)?;
    let node = Node::start(program, &folder(scratch, "kubo-node")?)?;
    let person = Person::new(
        program,
        &scratch.join("kubo-home"),
        "correct horse battery staple pink",
    )?;
    kubo.ipfs(&["swarm", "connect", &node.peer])?;
    let both = Both {
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
            "IPNS: published there, resolved here over Delegated Routing",
            Both::theirs_delegated,
        ),
        ("providers: provided here, found there", Both::our_provider),
        (
            "providers: provided there, found here",
            Both::their_provider,
        ),
        ("CAR: exported here, imported there", Both::our_car),
        ("CAR: exported there, verified here", Both::their_car),
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

/// Tries one thing, and says what showed that it works.
type Attempt = fn(&Both) -> Result<String>;

struct Both {
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
        self.resolves(&name, &self.node.url, &root)?;
        Ok("perennis resolve, the name being kept by no node of ours".to_owned())
    }

    fn theirs_delegated(&self) -> Result<String> {
        let root = self.kubo.add(2_000)?;
        self.kubo.ipfs(&["key", "gen", "second"])?;
        let value = format!("/ipfs/{root}");
        let name = self
            .kubo
            .ipfs(&["name", "publish", "--quieter", "--key", "second", &value])?;
        self.resolves(&name, &self.kubo.gateway()?, &root)?;
        Ok("perennis resolve --node GATEWAY".to_owned())
    }

    fn resolves(&self, name: &str, node: &str, root: &str) -> Result<()> {
        until(|| {
            let resolved = self.person.run(&["resolve", name, "--node", node])?;
            let head = resolved["head"].as_str().unwrap_or_default();
            ensure!(head == root, "{name} is {head} here, {root} there");
            Ok(())
        })
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
        let peer = self.kubo.peer_id()?;
        until(|| {
            let found = self
                .person
                .run(&["providers", &root, "--node", &self.node.url])?;
            let providers = found["providers"]
                .as_array()
                .context("no list of providers")?;
            let is_theirs = |provider: &serde_json::Value| provider["peerId"] == peer.as_str();
            ensure!(providers.iter().any(is_theirs), "found {found}");
            Ok("perennis providers".to_owned())
        })
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
        let root = self.kubo.add(1_000_000)?;
        let file = self.scratch.join("theirs.car");
        let mut export = in_repository(&self.kubo.program, &self.kubo.dir);
        export.args(["dag", "export", "--progress=false", &root]);
        export
            .stdout(fs::File::create(&file)?)
            .stderr(Stdio::null());
        ensure!(export.status()?.success(), "ipfs dag export failed");
        let file = file.to_str().context("a path in UTF-8")?;
        let verified = self.person.run(&["car", "verify", file])?;
        let blocks = verified["blocks"].as_u64().context("no count of blocks")?;
        ensure!(blocks >= 4, "{verified}");
        Ok(format!("perennis car verify: {blocks} blocks"))
    }
}

/// Tries again for a while: routing tables fill a moment after a connection.
fn until<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        match attempt() {
            Err(_) if start.elapsed() < PATIENCE / 2 => thread::sleep(Duration::from_millis(250)),
            outcome => return outcome,
        }
    }
}

/// Bytes that compress badly, the same each time.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ bytes as u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
    .take(bytes)
    .collect()
}
