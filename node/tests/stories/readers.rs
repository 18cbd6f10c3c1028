//! Clients that take their answers slowly, many at once, beside others who want theirs.

use std::net::SocketAddr;
use std::time::Duration;

use perennis_node::config::Config;
use perennis_shared::cid::{Block, Cid, Codec};
use perennis_shared::codec::{Value, car, dag_cbor};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::support::{Reply, TestNode};

const MIB: usize = 1 << 20;

/// The memory for answers in these tests, in bytes: that of a few blocks.
const MEMORY: u64 = 8 << 20;

/// Leaves of a graph, each of a MiB: together far more than the buffers of a socket take.
const LEAVES: u8 = 8;

/// Graphs of which nothing is shared, and slow readers of each.
const GRAPHS: u8 = 8;
const READERS: usize = 25;

fn tight(config: &mut Config) {
    config.http.answer_memory_bytes = MEMORY;
    config.http.idle_timeout = Duration::from_millis(300);
    config.cache.block_bytes = MIB as u64;
}

fn over(links: Vec<Value>) -> Block {
    let bytes = dag_cbor::encode(&Value::List(links)).unwrap();
    Block::new(Codec::DagCbor, bytes).unwrap()
}

/// A root over leaves that no other graph has.
fn graph(number: u8) -> Vec<Block> {
    let leaves: Vec<Block> = (0..LEAVES)
        .map(|leaf| {
            let mut bytes = vec![leaf; MIB];
            bytes[0] = number;
            Block::new(Codec::Raw, bytes).unwrap()
        })
        .collect();
    let links = leaves.iter().map(|leaf| Value::Link(*leaf.cid())).collect();
    [over(links)].into_iter().chain(leaves).collect()
}

/// A client that asks and takes nothing yet.
async fn ask(addr: SocketAddr, path: &str) -> TcpStream {
    ask_from(1, addr, path).await
}

/// The same from an address of this machine: places are shared by address.
async fn ask_from(last: u8, addr: SocketAddr, path: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket
        .bind(SocketAddr::from(([127, 0, 0, last], 0)))
        .unwrap();
    let mut stream = socket.connect(addr).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Takes a few bytes now and then, until the node has ended the connection.
async fn take_slowly(mut stream: TcpStream) {
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    while let Ok(1..) = stream.read(&mut [0; 16]).await {
        ticks.tick().await;
    }
}

async fn metric(node: &TestNode, name: &str) -> u64 {
    let reply = node.get("/metrics").await;
    let text = String::from_utf8_lossy(&reply.ok().body).into_owned();
    let line = text.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.split(' ').nth(1));
    value.and_then(|value| value.parse().ok()).expect(name)
}

fn blocks_of(reply: &Reply) -> Vec<Block> {
    let reader = car::Reader::new(&reply.ok().body).unwrap();
    reader.collect::<Result<_, _>>().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_readers_share_the_memory_for_answers_and_give_way() {
    let node = TestNode::with(tight).await;
    let mut paths = Vec::new();
    for number in 0..GRAPHS {
        let root = node.keep(number, &graph(number)).await;
        paths.push(format!("/ipfs/{root}?format=car"));
    }
    let mut slow = JoinSet::new();
    for path in &paths {
        for _ in 0..READERS {
            slow.spawn(take_slowly(ask(node.addr(), path).await));
        }
    }
    // While they are there the node tells how it is, and that the memory holds.
    let mut most = 0;
    while most < MEMORY / 2 {
        node.get("/health/live").await.ok();
        most = most.max(metric(&node, "http_answer_memory_bytes").await);
    }
    // Others get what they want, all of it.
    for number in [0, GRAPHS - 1] {
        let path = &paths[usize::from(number)];
        let got = node.eventually(path, |reply| reply.status == 200).await;
        assert_eq!(blocks_of(&got), graph(number));
        node.get("/health/live").await.ok();
        most = most.max(metric(&node, "http_answer_memory_bytes").await);
    }
    assert!(most <= MEMORY, "{most} bytes");
    assert!(metric(&node, "http_slow_clients_ended_total").await > 0);
    // Nobody has to stay for what they held to come back.
    slow.shutdown().await;
    node.eventually("/metrics", |reply| {
        String::from_utf8_lossy(&reply.body).contains("http_answer_memory_bytes 0\n")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_finds_no_room_is_told_when_to_come_back() {
    let node = TestNode::with(|config| {
        tight(config);
        // Nobody is slow before the test is over.
        config.http.idle_timeout = Duration::from_secs(300);
        config.http.max_connections = 16;
    })
    .await;
    let blocks = graph(1);
    let path = format!("/ipfs/{}?format=car", node.keep(1, &blocks).await);
    // Three of four connections may have large answers. The others are as many as requests that end while the next begins need.
    let mut held = Vec::new();
    for last in 2..14 {
        let mut stream = ask_from(last, node.addr(), &path).await;
        let mut begin = [0; 12];
        stream.read_exact(&mut begin).await.unwrap();
        assert_eq!(&begin, b"HTTP/1.1 200");
        held.push(stream);
    }
    let leaf = format!("/ipfs/{}?format=raw", blocks[1].cid());
    for path in [&path, &leaf] {
        let refused = node.get(path).await;
        refused.refused(503, "busy");
        assert_eq!(refused.header("retry-after"), Some("5"));
        assert_eq!(refused.header("connection"), Some("close"));
    }
    assert_eq!(metric(&node, "http_answers_refused_total").await, 2);
    // What is small is sent all the same: a few bytes of a block, its length, a root.
    let few = node.get_with(&leaf, &[("Range", "bytes=5-9")]).await;
    assert_eq!(
        (few.status, few.body.as_ref()),
        (206, &blocks[1].bytes()[5..10])
    );
    assert_eq!(node.ask("HEAD", &leaf, &[], b"").await.status, 200);
    let root = format!("/ipfs/{}?format=raw", blocks[0].cid());
    assert_eq!(node.get(&root).await.ok().body, blocks[0].bytes());
    node.get("/health/ready").await.ok();
    drop(held);
    let got = node.eventually(&leaf, |reply| reply.status == 200).await;
    assert_eq!(got.body, blocks[1].bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_block_for_many_clients_is_in_memory_once() {
    let node = TestNode::with(tight).await;
    let blocks = graph(1);
    let path = format!("/ipfs/{}?format=car", node.keep(1, &blocks).await);
    let mut streams = Vec::new();
    for _ in 0..100 {
        let mut stream = ask(node.addr(), &path).await;
        let mut begin = [0; 12];
        stream.read_exact(&mut begin).await.unwrap();
        assert_eq!(&begin, b"HTTP/1.1 200");
        streams.push(stream);
    }
    // They are all in the same few blocks.
    let taken = metric(&node, "http_answer_memory_bytes").await;
    assert!(taken <= MEMORY, "{taken} bytes");
    assert_eq!(metric(&node, "http_answers_refused_total").await, 0);
    // And each gets all of it.
    for stream in streams.split_off(90) {
        let mut stream = stream;
        let mut rest = vec![0; usize::from(LEAVES) * MIB];
        stream.read_exact(&mut rest).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wide_graph_that_repeats_itself_is_sent_in_order_each_block_once() {
    let node = TestNode::with(tight).await;
    let leaves: Vec<Block> = (0..3_u8)
        .map(|byte| Block::new(Codec::Raw, vec![byte; 10]).unwrap())
        .collect();
    // From the lowest: each leads to the one below it and, many times over, to the leaves.
    let mut levels: Vec<Block> = Vec::new();
    for level in 0..6 {
        let below = levels.last().map(|below| Value::Link(*below.cid()));
        let again = (0..20_000).map(|link| Value::Link(*leaves[(link + level) % 3].cid()));
        levels.push(over(below.into_iter().chain(again).collect()));
    }
    levels.reverse();
    let blocks: Vec<Block> = levels.iter().chain(&leaves).cloned().collect();
    let root = node.keep(1, &blocks).await;
    let got = blocks_of(&node.get(&format!("/ipfs/{root}?format=car")).await);
    // Down to the lowest, whose links name the leaves in their order.
    assert_eq!(got, blocks);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graph_whose_links_cannot_be_read_is_named_before_it_begins() {
    let node = TestNode::start().await;
    let other = Cid::new_v1(0x0202, *graph(1)[1].cid().hash());
    let bytes = graph(1)[1].bytes().clone();
    let root = Block::verified(other, bytes.clone()).unwrap();
    let root = node.keep(1, &[over(vec![Value::Link(other)]), root]).await;
    assert_ne!(root, other);
    let path = format!("/ipfs/{other}?format=car");
    node.get(&path).await.refused(422, "unreadable_links");
    let alone = node.get(&format!("{path}&dag-scope=block")).await;
    assert_eq!(*blocks_of(&alone)[0].bytes(), bytes);
}
