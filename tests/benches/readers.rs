//! The memory of a node while 1,099 clients take a graph of 16 MiB at a few bytes a second, and after they have gone.
//!
//! Beside them a client asks for the node's health, and another takes the whole graph.
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use perennis_tests::bench::Scratch;
use perennis_tests::measure::say;
use perennis_tests::node::Node;
use perennis_tests::readers::{SlowReader, keep_graph};

const READERS: usize = 1_099;
const LEAVES: u64 = 64;
const LEAF_BYTES: usize = 256 << 10;

/// How long the readers stay, and how long the node is left alone before its memory is read for the last time.
const STAY: Duration = Duration::from_secs(20);
const REST: Duration = Duration::from_secs(10);

/// How long an answer is waited for.
const LONGEST: Duration = Duration::from_secs(10);

/// Time between two reads of each reader.
const STEP: Duration = Duration::from_secs(1);

fn main() {
    let is_measured = std::env::args().any(|argument| argument == "--bench");
    let (wanted, stay, rest) = if is_measured {
        (READERS, STAY, REST)
    } else {
        (20, STEP, Duration::ZERO)
    };
    let dir = Scratch::new("readers").unwrap();
    let mut command = Node::command(dir.path(), None, "127.0.0.1:0");
    // All of them have one address, which half of all places are for.
    command.env("PERENNIS_HTTP_MAX_CONNECTIONS", "4096");
    let node = Node::start_as(command, dir.path());
    let path = keep_graph(&node, LEAVES, LEAF_BYTES);
    say("readers/rss/before", node.resident_mib(), "MiB");

    let mut readers: Vec<SlowReader> = (0..wanted).map(|_| SlowReader::ask(&node, &path)).collect();
    let (mut most, mut health, mut graph) = (0.0_f64, 0.0_f64, 0.0_f64);
    let started = Instant::now();
    while started.elapsed() < stay {
        let turn = Instant::now();
        readers.retain_mut(SlowReader::take_a_little);
        health = health.max(timed(&node, "/health/live"));
        graph = graph.max(timed(&node, &path));
        most = most.max(node.resident_mib());
        std::thread::sleep(STEP.saturating_sub(turn.elapsed()));
    }
    say("readers/rss/during", most, "MiB");
    say("readers/health", health * 1e3, "ms");
    say("readers/graph", graph * 1e3, "ms");
    drop(readers);
    std::thread::sleep(rest);
    say("readers/rss/after", node.resident_mib(), "MiB");
}

/// Seconds until a whole answer is there; one that does not come counts as the longest wait.
fn timed(node: &Node, path: &str) -> f64 {
    let started = Instant::now();
    let mut stream = TcpStream::connect(node.address()).unwrap();
    stream.set_read_timeout(Some(LONGEST)).unwrap();
    let address = node.address();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let took = match stream.read_to_end(&mut answer) {
        Ok(_) if answer.starts_with(b"HTTP/1.1 200") => started.elapsed(),
        _ => LONGEST,
    };
    took.as_secs_f64()
}
