//! 64 clients that publish to a node, each its own small changes, one after the other, and wait for the durable answer:
//! `publish HOST:PORT`. What they send is signed beforehand, so that the node is measured and not its clients.
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    sync::Barrier,
    thread,
    time::{Duration, Instant, SystemTime},
};

use perennis_shared::{
    cid::{Block, Codec},
    codec::car,
    did::{DidDocument, Identity, Profile},
    ipns::{self, RecordFields},
    log::{self, Author},
    taglist::{Handle, Label, Op, Tag},
    time::{Millis, Timestamp},
};
use perennis_tests::measure::say;
use zeroize::Zeroizing;

const CLIENTS: usize = 64;
const PUBLISHES: usize = 120;
/// Publishes at the start that are not counted: connections and caches warm up.
const WARM: usize = 10;
const LIFETIME_MS: u64 = 90 * 24 * 3600 * 1000;

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    let Some(address) = arguments.next() else {
        // `cargo bench` without arguments runs every bench; this one has no node to talk to then.
        return;
    };
    let messages: Vec<Messages> = (0..CLIENTS).map(prepare).collect();
    let barrier = Barrier::new(CLIENTS + 1);
    let (time, mut waits) = thread::scope(|scope| {
        let clients: Vec<_> = messages
            .iter()
            .map(|messages| scope.spawn(|| client(&address, messages, &barrier)))
            .collect();
        barrier.wait();
        let start = Instant::now();
        let waits: Vec<Duration> = clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect();
        (start.elapsed(), waits)
    });
    waits.sort_unstable();
    say(
        "publish/rate",
        waits.len() as f64 / time.as_secs_f64(),
        "publishes/s",
    );
    let p99 = waits[waits.len() * 99 / 100];
    say("publish/p99", p99.as_secs_f64() * 1000.0, "ms");
}

/// The publishes of one client.
struct Messages {
    path: String,
    bodies: Vec<Vec<u8>>,
}

fn prepare(client: usize) -> Messages {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    let now = Millis(u64::try_from(now.as_millis()).unwrap());
    let mut root = [0x5a; 32];
    root[0] = u8::try_from(client).unwrap();
    let identity = Identity::from_root(Profile::V2, Zeroizing::new(root));
    let document = DidDocument::new(&identity, now).to_block().unwrap();
    let author = Author {
        did: identity.did(),
        signer: identity.signer(),
        document: *document.cid(),
    };
    let mut view = BTreeMap::new();
    let mut head = None;
    let bodies = (1..=(WARM + PUBLISHES) as u64).map(|sequence| {
        let handle = Handle::parse(&format!("@c{client}h{sequence}")).unwrap();
        let ops = vec![Op::Set(Label::new(
            handle,
            Tag::parse("seen").unwrap(),
            now,
        ))];
        let appended = log::append(&author, head.as_ref(), ops, now, &view).unwrap();
        let value = format!("/ipfs/{}", appended.entry.cid());
        let fields = RecordFields {
            value: &value,
            sequence,
            validity: Timestamp::from(Millis(now.0 + LIFETIME_MS)),
            ttl: Duration::from_secs(300),
        };
        let record = ipns::create(identity.ipns_signer(), &fields).unwrap();
        let record = Block::new(Codec::Raw, record.bytes().clone()).unwrap();
        let roots = [*appended.entry.cid(), *record.cid()];
        let first = (sequence == 1).then_some(&document);
        let blocks = first.into_iter().chain(&appended.added).chain([&record]);
        let body = car::write(&roots, blocks).unwrap();
        view.extend(
            appended
                .added
                .iter()
                .map(|block| (*block.cid(), block.bytes().clone())),
        );
        head = Some(appended.entry);
        body
    });
    let bodies = bodies.collect();
    Messages {
        path: format!("/v1/names/{}/publish", identity.name()),
        bodies,
    }
}

/// Publishes one after the other over one connection and returns how long each waited.
fn client(address: &str, messages: &Messages, barrier: &Barrier) -> Vec<Duration> {
    let mut stream = BufReader::new(TcpStream::connect(address).unwrap());
    stream.get_ref().set_nodelay(true).unwrap();
    let (warm, counted) = messages.bodies.split_at(WARM);
    for body in warm {
        post(&mut stream, address, &messages.path, body);
    }
    barrier.wait();
    let one = |body: &Vec<u8>| {
        let start = Instant::now();
        post(&mut stream, address, &messages.path, body);
        start.elapsed()
    };
    counted.iter().map(one).collect()
}

fn post(stream: &mut BufReader<TcpStream>, address: &str, path: &str, body: &[u8]) {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/vnd.ipld.car\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    stream.get_mut().write_all(&request).unwrap();
    let mut status = String::new();
    stream.read_line(&mut status).unwrap();
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = text.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).unwrap();
    assert!(
        status.starts_with("HTTP/1.1 200"),
        "{status}{}",
        String::from_utf8_lossy(&answer)
    );
}
