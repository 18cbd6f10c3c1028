//! Names put to a private DHT of real peers on loopback: names a second, and processor time of the process that puts.
//!
//! The peers run in a process of their own, unless `--bootstrap ADDRESS` names others, such as those of another
//! implementation; then `--bootstrap` is given once for each peer. `--names N` and `--peers N` set how many there are,
//! `--bad N` how many of our peers die, and how many stall, when a tenth of the names is put. With `--serial ADDRESS` the
//! names are put one by one to the Delegated Routing API there, and the time of `--process ID` is told: another
//! implementation's way to do the same.
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use perennis_net::{
    DhtMode, Multiaddr, Net, NetConfig, PeerId,
    config::identity_of,
    dht::{DhtStore, MemoryDhtStore, StoredProvider, StoredRecord, Sweep, point_of, record_key},
};
use perennis_rt as rt;
use perennis_shared::{
    ipns::{self, Name, Record, RecordFields},
    sign::SigningKey,
    time::{Millis, Timestamp},
};
use perennis_tests::measure::say;

const VALUE: &str = "/ipfs/bafyreigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi";

/// Names put at the same time: the node's default.
const AT_ONCE: usize = 16;

struct Arguments {
    peers: usize,
    names: usize,
    bad: usize,
    bootstrap: Vec<Multiaddr>,
    serial: Option<String>,
    process: String,
    is_serving: bool,
}

fn main() {
    let arguments = parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // A stalled peer holds a thread for ever.
        .worker_threads(2 + arguments.bad)
        .enable_all()
        .build()
        .unwrap();
    if arguments.is_serving {
        runtime.block_on(serve(&arguments));
        std::process::exit(0);
    }
    if let Some(address) = &arguments.serial {
        put_one_by_one(&arguments, address);
        std::process::exit(0);
    }
    runtime.block_on(async {
        if arguments.bootstrap.is_empty() {
            for bad in [0, arguments.bad] {
                let (peers, mut served) = start_peers(arguments.peers, bad);
                let label = if bad == 0 { "" } else { "/bad" };
                measure(&arguments, &peers, label, || {
                    if bad > 0 {
                        writeln!(served.1, "break").unwrap();
                    }
                })
                .await;
                let _ = served.0.kill();
                let _ = served.0.wait();
            }
        } else {
            measure(&arguments, &arguments.bootstrap, "/others", || {}).await;
        }
    });
    // Nothing is waited for: the tasks of the peer end with the process.
    std::process::exit(0);
}

fn parse() -> Arguments {
    let mut arguments = Arguments {
        peers: 20,
        names: 10_000,
        bad: 1,
        bootstrap: Vec::new(),
        serial: None,
        process: "self".to_owned(),
        is_serving: false,
    };
    let mut given = std::env::args().skip(1);
    while let Some(flag) = given.next() {
        let mut number = || given.next().unwrap().parse().unwrap();
        match flag.as_str() {
            "--peers" => arguments.peers = number(),
            "--names" => arguments.names = number(),
            "--bad" => arguments.bad = number(),
            "--serial" => arguments.serial = given.next(),
            "--process" => arguments.process = given.next().unwrap(),
            "--serve" => arguments.is_serving = true,
            "--bootstrap" => {
                let address = given.next().unwrap();
                arguments.bootstrap.push(address.parse().unwrap());
            }
            // What cargo adds.
            "--bench" => {}
            other => panic!("no flag is called {other}"),
        }
    }
    arguments
}

/// Puts names over HTTP, one after the other, and says how fast that was.
fn put_one_by_one(arguments: &Arguments, address: &str) {
    let records = records(arguments.names);
    let (started, cpu) = (Instant::now(), cpu_seconds(&arguments.process));
    for (name, record) in &records {
        let mut stream = TcpStream::connect(address).unwrap();
        let (bytes, path) = (record.bytes(), format!("/routing/v1/ipns/{name}"));
        write!(
            stream,
            "PUT {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/vnd.ipfs.ipns-record\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            bytes.len()
        )
        .unwrap();
        stream.write_all(bytes).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let names = arguments.names as f64;
    let rate = names / started.elapsed().as_secs_f64();
    say("republish/serial", rate, "names/s");
    let cpu = cpu_seconds(&arguments.process) - cpu;
    say("republish/serial/cpu", cpu * 1e3 / names, "ms");
}

/// Puts all names once and says how fast that was.
async fn measure(arguments: &Arguments, peers: &[Multiaddr], label: &str, halfway: impl FnOnce()) {
    let net = peer(9_999, Arc::new(MemoryDhtStore::new(arguments.names))).await;
    for address in peers {
        net.connect_to(address).await.unwrap();
    }
    let wanted = peers.len();
    loop {
        let routing = net.status().await.unwrap().routing;
        if routing.iter().any(|(_, known)| *known >= wanted) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut records = records(arguments.names);
    records.sort_by_cached_key(|(name, _)| point_of(&record_key(name)));
    let sweep = Sweep::new(net);
    let mut halfway = Some(halfway);
    let (mut done, mut reached) = (0_usize, 0_usize);
    let failed = AtomicUsize::new(0);
    let mut slowest: Vec<Duration> = Vec::with_capacity(records.len());
    let (started, cpu) = (Instant::now(), cpu_seconds("self"));
    let mut puts = tokio::task::JoinSet::new();
    let mut waiting = records.into_iter();
    loop {
        while puts.len() < AT_ONCE
            && let Some((name, record)) = waiting.next()
        {
            let sweep = sweep.clone();
            puts.spawn(async move {
                let started = Instant::now();
                let mut tries = 0;
                loop {
                    tries += 1;
                    match sweep.put_record(&name, &record).await {
                        Ok(report) => return (Some(report.reached.len()), started.elapsed()),
                        Err(_) if tries < 3 => {}
                        Err(_) => return (None, started.elapsed()),
                    }
                }
            });
        }
        let Some(put) = puts.join_next().await else {
            break;
        };
        let (peers, took) = put.unwrap();
        slowest.push(took);
        done += 1;
        match peers {
            Some(peers) => reached += peers,
            None => drop(failed.fetch_add(1, Ordering::Relaxed)),
        }
        if done == arguments.names / 10
            && let Some(halfway) = halfway.take()
        {
            halfway();
        }
    }
    let took = started.elapsed().as_secs_f64();
    let cpu = cpu_seconds("self") - cpu;
    slowest.sort_unstable();
    let at = |share: f64| slowest[((slowest.len() - 1) as f64 * share) as usize].as_secs_f64();
    let names = arguments.names as f64;
    say(&format!("republish{label}"), names / took, "names/s");
    say(&format!("republish{label}/cpu"), cpu * 1e3 / names, "ms");
    say(&format!("republish{label}/p99"), at(0.99) * 1e3, "ms");
    say(&format!("republish{label}/slowest"), at(1.0) * 1e3, "ms");
    let each = reached as f64 / names;
    say(&format!("republish{label}/peers"), each, "peers");
    let failed = failed.load(Ordering::Relaxed) as f64;
    say(&format!("republish{label}/failed"), failed, "names");
}

fn records(names: usize) -> Vec<(Name, Record)> {
    let one = |number: usize| {
        let mut seed = [3; 32];
        seed[..8].copy_from_slice(&number.to_be_bytes());
        let key = SigningKey::from_seed(&seed).with_engine(rt::sign_engine);
        let fields = RecordFields {
            value: VALUE,
            sequence: 1,
            validity: Timestamp::from(Millis(rt::now().0 + 90 * 86_400_000)),
            ttl: Duration::from_secs(300),
        };
        (
            Name::from_public_key(&key.public()),
            ipns::create(&key, &fields).unwrap(),
        )
    };
    (0..names).map(one).collect()
}

async fn peer(number: u16, store: Arc<dyn DhtStore>) -> Net {
    let mut seed = [11; 32];
    seed[..2].copy_from_slice(&number.to_be_bytes());
    let mut config = NetConfig::new(identity_of(&seed), store);
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    config.dht = DhtMode::Server;
    Net::start(config).await.unwrap()
}

/// Starts this program again as so many peers.
fn start_peers(peers: usize, bad: usize) -> (Vec<Multiaddr>, (Child, ChildStdin)) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--serve", "--peers", &peers.to_string()])
        .args(["--bad", &bad.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let addresses = lines.by_ref().take(peers);
    let addresses = addresses.map(|line| line.unwrap().parse().unwrap());
    let addresses = addresses.collect();
    let orders = child.stdin.take().unwrap();
    (addresses, (child, orders))
}

/// Runs peers that know each other until the orders end; at the order to break some die and some stall.
#[allow(
    clippy::print_stdout,
    reason = "standard output is how the peers tell where they are"
)]
async fn serve(arguments: &Arguments) {
    let stalls: Vec<Arc<AtomicBool>> = (0..arguments.bad).map(|_| Arc::default()).collect();
    let mut peers = Vec::new();
    for number in 0..arguments.peers {
        let memory = MemoryDhtStore::new(1_000_000);
        let store: Arc<dyn DhtStore> = match stalls.get(number) {
            Some(is_stalled) => Arc::new(Stalling {
                memory,
                is_stalled: Arc::clone(is_stalled),
            }),
            None => Arc::new(memory),
        };
        peers.push(peer(u16::try_from(number).unwrap(), store).await);
    }
    for (number, peer) in peers.iter().enumerate() {
        for other in &peers[..number] {
            peer.connect_to(&other.addresses()[0]).await.unwrap();
        }
    }
    for peer in &peers {
        println!("{}", peer.addresses()[0]);
    }
    let orders = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        let _ = std::io::stdin().read_line(&mut line);
        line
    });
    if orders.await.unwrap().trim() == "break" {
        for stall in &stalls {
            stall.store(true, Ordering::Relaxed);
        }
        for _ in 0..arguments.bad {
            peers.pop().unwrap().stop().await;
        }
    }
    std::future::pending::<()>().await;
}

/// A peer whose whole work stands still from a moment on, though its connections are open.
struct Stalling {
    memory: MemoryDhtStore,
    is_stalled: Arc<AtomicBool>,
}

impl DhtStore for Stalling {
    fn record(&self, name: &Name) -> Option<StoredRecord> {
        while self.is_stalled.load(Ordering::Relaxed) {
            std::thread::park();
        }
        self.memory.record(name)
    }

    fn keep_record(&self, name: &Name, record: StoredRecord) {
        self.memory.keep_record(name, record);
    }

    fn forget_record(&self, name: &Name) {
        self.memory.forget_record(name);
    }

    fn providers(&self, key: &[u8]) -> Vec<StoredProvider> {
        self.memory.providers(key)
    }

    fn keep_provider(&self, key: &[u8], provider: StoredProvider) {
        self.memory.keep_provider(key, provider);
    }

    fn forget_provider(&self, key: &[u8], peer: &PeerId) {
        self.memory.forget_provider(key, peer);
    }
}

/// Processor time of a process.
fn cpu_seconds(process: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // Behind the name in parentheses: the state is the third field, user and system time are the 14th and 15th.
    let fields = stat.rsplit(')').next().unwrap();
    let ticks = fields.split_whitespace().skip(11).take(2);
    // A hundredth of a second each, on every Linux.
    ticks
        .map(|ticks| ticks.parse::<f64>().unwrap())
        .sum::<f64>()
        / 100.0
}
