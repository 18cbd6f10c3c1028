//! The network against Kubo and Helia, every process on loopback: a DAG fetched by bitswap in leaves of three sizes, from one peer
//! and from one of twenty, names resolved through a private DHT of ours and of Kubo's, and the memory of a node that has twenty
//! peers and nothing to do.
//!
//! Both sides take turns in every round; the figure is the middle of the rounds.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use perennis_shared::cid::Cid;
use perennis_shared::ipns::Name;

use super::{Scratch, figure::Figure};
use crate::node::Node;
use crate::peers::helia::{self, Helia, HeliaNode};
use crate::peers::kubo::{DHT_SERVER, Daemon, ISOLATED, Kubo, LABEL, SERVER};
use crate::person::Person;

const DAG_BYTES: usize = 64 << 20;
/// Lengths of leaves, KiB; the last is what is measured beside Helia too.
const LEAVES: [usize; 3] = [16, 64, 256];
const ROUNDS: usize = 5;
const CLUSTER_ROUNDS: usize = 3;
const HELIA_ROUNDS: usize = 3;
/// Leaves of the DAG that one of twenty has.
const CLUSTER_BLOCKS: u64 = 256;
const PEERS: usize = 20;
/// What the identities come from.
const WORDS: &str = "lantern orbit cactus mellow reunion dwarf";
const NAMES: usize = 100;
/// Pause between two resolutions.
const QUIET: Duration = Duration::from_millis(200);
/// How long a node with peers is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(20);

/// Measures all; without Kubo there is nothing to fetch from and nothing to compare with.
///
/// # Errors
/// A node does not start, or does not give what it has.
pub(super) fn measure() -> Result<Vec<Figure>> {
    let Some(kubo) = Kubo::installed() else {
        println!("Kubo is not here: the network is not measured");
        return Ok(Vec::new());
    };
    let scratch = Scratch::new("network")?;
    let bench = Bench {
        kubo,
        dir: scratch.path().to_owned(),
    };
    let mut figures = Vec::new();
    for leaves in LEAVES {
        figures.extend(bench.bitswap(leaves)?);
    }
    figures.push(bench.cluster()?);
    figures.extend(bench.names()?);
    figures.extend(bench.names_of_others()?);
    Ok(figures)
}

struct Bench {
    kubo: Kubo,
    dir: PathBuf,
}

impl Bench {
    fn node(&self, name: &str) -> Result<Node> {
        let data = self.dir.join(name);
        let mut command = Node::command(&data, None, "127.0.0.1:0");
        command.stderr(fs::File::create(data.with_extension("log"))?);
        Node::launch(command, &data)
    }

    fn daemon(&self, name: &str, settings: &[(&str, &str)]) -> Result<Daemon> {
        Daemon::start(&self.kubo, self.dir.join(name), settings)
    }

    /// A DAG of 64 MiB with leaves of so many KiB, by a node that has nothing from one that has served nobody.
    fn bitswap(&self, leaves: usize) -> Result<Vec<Figure>> {
        let source = self.daemon(&format!("source-{leaves}"), ISOLATED)?;
        let chunker = format!("--chunker=size-{}", leaves << 10);
        let root = source.add_as(DAG_BYTES, &["--cid-version=1", "--raw-leaves", &chunker])?;
        let least = (DAG_BYTES / (leaves << 10)) as u64;
        let is_usual = LEAVES.last() == Some(&leaves);
        let person = Person::new(WORDS)?;
        let (mut rates, mut their_rates) = (Vec::new(), Vec::new());
        let (mut serving, mut fetching) = (Vec::new(), Vec::new());
        let helia = Helia::installed().filter(|_| is_usual);
        let mut helia_rates = Vec::new();
        for round in 0..ROUNDS {
            let theirs = self.daemon(&format!("fetching-kubo-{leaves}-{round}"), ISOLATED)?;
            theirs.connect(&source.address()?)?;
            let start = Instant::now();
            theirs.pin(&root)?;
            their_rates.push(rate(start.elapsed()));
            drop(theirs);
            if let Some(helia) = helia.as_ref().filter(|_| round < HELIA_ROUNDS) {
                helia_rates.push(self.between_helias(helia, round)?);
            }

            let holds = self.node(&format!("serving-{leaves}-{round}"))?;
            fetch(&person, &root, least, Some(&source.address()?), &holds)?;
            let wants = self.node(&format!("fetching-{leaves}-{round}"))?;
            let start = Instant::now();
            fetch(&person, &root, least, Some(holds.peer()), &wants)?;
            rates.push(rate(start.elapsed()));
            serving.push(holds.resident_mib());
            fetching.push(wants.resident_mib());
        }
        let ours = middle(rates);
        let name = match is_usual {
            true => "net/bitswap/64MiB".to_owned(),
            false => format!("net/bitswap/64MiB/{leaves}KiB"),
        };
        let mut figures = vec![Figure::new(&name, ours, "MB/s").beside(LABEL, middle(their_rates))];
        if !helia_rates.is_empty() {
            let figure = Figure::new("net/bitswap/64MiB/helia", ours, "MB/s");
            figures.push(figure.beside(helia::LABEL, middle(helia_rates)));
        }
        if is_usual {
            figures.extend([
                Figure::new("net/bitswap/rss/serving", middle(serving), "MiB"),
                Figure::new("net/bitswap/rss/fetching", middle(fetching), "MiB"),
            ]);
        }
        Ok(figures)
    }

    /// As [`Bench::bitswap`], between two Helias.
    fn between_helias(&self, helia: &Helia, round: usize) -> Result<f64> {
        let log = |side| self.dir.join(format!("helia-{side}-{round}.log"));
        let mut holds = HeliaNode::start(helia, &log("serving"), false, &[])?;
        let mut wants = HeliaNode::start(helia, &log("fetching"), false, &[])?;
        let root = holds.add(&self.dir, DAG_BYTES)?;
        wants.connect(holds.address())?;
        let start = Instant::now();
        wants.fetch(&root, DAG_BYTES)?;
        Ok(rate(start.elapsed()))
    }

    /// The same DAG, by a node that is connected with twenty and does not know which of them has it.
    fn cluster(&self) -> Result<Figure> {
        let source = self.daemon("cluster-source", ISOLATED)?;
        let root = source.add(DAG_BYTES)?;
        let kubos = (1..PEERS)
            .map(|index| self.daemon(&format!("cluster-kubo-{index}"), ISOLATED))
            .collect::<Result<Vec<_>>>()?;
        let nodes = (0..PEERS)
            .map(|index| self.node(&format!("cluster-{index}")))
            .collect::<Result<Vec<_>>>()?;
        let person = Person::new(WORDS)?;
        // In the middle, so that neither the first nor the last that is asked has it.
        fetch(
            &person,
            &root,
            CLUSTER_BLOCKS,
            Some(&source.address()?),
            &nodes[PEERS / 2],
        )?;
        let (mut rates, mut their_rates) = (Vec::new(), Vec::new());
        for round in 0..CLUSTER_ROUNDS {
            let theirs = self.daemon(&format!("cluster-fetching-kubo-{round}"), ISOLATED)?;
            for other in kubos.iter().chain([&source]) {
                theirs.connect(&other.address()?)?;
            }
            let start = Instant::now();
            theirs.pin(&root)?;
            their_rates.push(rate(start.elapsed()));
            drop(theirs);

            let wants = self.node(&format!("cluster-fetching-{round}"))?;
            for other in &nodes {
                person.connect(&wants, other.peer())?;
            }
            let start = Instant::now();
            fetch(&person, &root, CLUSTER_BLOCKS, None, &wants)?;
            rates.push(rate(start.elapsed()));
        }
        let figure = Figure::new("net/bitswap/cluster", middle(rates), "MB/s");
        Ok(figure.beside(LABEL, middle(their_rates)))
    }

    /// Names put into a DHT of twenty peers of ours by one of them, and resolved by a peer that has none, ours and
    /// Kubo in turn.
    fn names(&self) -> Result<Vec<Figure>> {
        let first = self.node("first")?;
        let others = (1..PEERS)
            .map(|index| self.node(&format!("peer-{index}")))
            .collect::<Result<Vec<_>>>()?;
        let asks = self.node("asks")?;
        let kubo = self.daemon("asks-kubo", SERVER)?;
        let person = Person::new(WORDS)?;
        for node in others.iter().chain([&asks]) {
            person.connect(node, first.peer())?;
        }
        kubo.connect(first.peer())?;
        for node in &others {
            kubo.connect(node.peer())?;
            person.connect(&asks, node.peer())?;
        }
        let names = publish(&first, &person)?;
        thread::sleep(IDLE);
        let idle = asks.resident_mib();
        let idle_kubo = kubo.resident_mib()?;

        let (mut ours, mut theirs) = resolve_in_turn(&names, &asks, &kubo)?;
        let mut cached = Vec::new();
        for _ in 0..10 {
            for name in &names {
                cached.push(get(asks.address(), &format!("/routing/v1/ipns/{name}"))?);
            }
        }
        Ok(vec![
            Figure::new("net/resolve/cached/p99", percentile(&mut cached, 99), "ms"),
            Figure::new("net/resolve/dht/p50", percentile(&mut ours, 50), "ms")
                .beside(LABEL, percentile(&mut theirs, 50)),
            Figure::new("net/resolve/dht/p99", percentile(&mut ours, 99), "ms")
                .beside(LABEL, percentile(&mut theirs, 99)),
            Figure::new("net/rss/idle", idle, "MiB").beside(LABEL, idle_kubo),
        ])
    }

    /// As [`Bench::names`], in a DHT whose twenty peers are Kubo's.
    fn names_of_others(&self) -> Result<Vec<Figure>> {
        let peers = (0..PEERS)
            .map(|index| self.daemon(&format!("others-{index}"), DHT_SERVER))
            .collect::<Result<Vec<_>>>()?;
        let puts = self.node("puts-to-others")?;
        let asks = self.node("asks-others")?;
        let kubo = self.daemon("others-asks-kubo", DHT_SERVER)?;
        let person = Person::new(WORDS)?;
        for peer in &peers {
            let address = peer.address()?;
            for other in &peers {
                if other.process_id() > peer.process_id() {
                    other.connect(&address)?;
                }
            }
            person.connect(&puts, &address)?;
        }
        let names = publish(&puts, &person)?;
        // Those who ask come when all is put, so that they were given nothing; and only the twenty have it.
        drop(puts);
        for peer in &peers {
            let address = peer.address()?;
            person.connect(&asks, &address)?;
            kubo.connect(&address)?;
        }
        let (mut ours, mut theirs) = resolve_in_turn(&names, &asks, &kubo)?;
        Ok(vec![
            Figure::new("net/resolve/others/p50", percentile(&mut ours, 50), "ms")
                .beside(LABEL, percentile(&mut theirs, 50)),
            Figure::new("net/resolve/others/p95", percentile(&mut ours, 95), "ms")
                .beside(LABEL, percentile(&mut theirs, 95)),
        ])
    }
}

/// Milliseconds of the first resolution of each name, by ours and by Kubo, in turn.
fn resolve_in_turn(names: &[Name], ours: &Node, kubo: &Daemon) -> Result<(Vec<f64>, Vec<f64>)> {
    let gateway = kubo.gateway()?;
    let (mut our_times, mut their_times) = (Vec::new(), Vec::new());
    for name in names {
        let path = format!("/routing/v1/ipns/{name}");
        for (address, times) in [
            (ours.address(), &mut our_times),
            (gateway.trim_start_matches("http://"), &mut their_times),
        ] {
            // What the last one set off, corrections and subscriptions, is not what this one is measured by.
            thread::sleep(QUIET);
            times.push(get(address, &path)?);
        }
    }
    Ok((our_times, their_times))
}

/// So many names published to a node, and put by it into the DHT.
fn publish(node: &Node, person: &Person) -> Result<Vec<Name>> {
    let mut names = Vec::new();
    for index in 0..NAMES {
        let author = Person::new(&format!("{WORDS} {index}"))?;
        author.publish("@somebody", node)?;
        names.push(*author.name());
    }
    for name in &names {
        person.waits_for(name, node, |status| status.last_put.is_some())?;
    }
    Ok(names)
}

/// Has a node fetch a DAG of at least so many leaves, and fails where some of it was there.
fn fetch(person: &Person, root: &Cid, leaves: u64, from: Option<&str>, into: &Node) -> Result<()> {
    let blocks = person.fetch(root, from, into)?;
    ensure!(blocks > leaves, "it was not cold: {blocks} blocks came");
    Ok(())
}

/// Milliseconds of one GET that is answered with a record, the connection included.
fn get(address: &str, path: &str) -> Result<f64> {
    let start = Instant::now();
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: application/vnd.ipfs.ipns-record\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let elapsed = start.elapsed();
    let head = String::from_utf8_lossy(&answer[..answer.len().min(4_096)]).into_owned();
    let is_record = head.starts_with("HTTP/1.1 200") && head.contains("ipns-record");
    ensure!(is_record, "{address}{path}: {head}");
    Ok(elapsed.as_secs_f64() * 1_000.0)
}

fn rate(elapsed: Duration) -> f64 {
    DAG_BYTES as f64 / 1e6 / elapsed.as_secs_f64()
}

fn middle(mut values: Vec<f64>) -> f64 {
    percentile(&mut values, 50)
}

fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() * percent / 100).min(values.len() - 1)]
}
