//! Hundreds of clients that take a large graph a few bytes at a time: the node's memory, its health, its peers.

use std::path::Path;

use perennis_tests::home::Home;
use perennis_tests::node::Node;
use perennis_tests::readers::{SlowReader, keep_graph};

const READERS: usize = 400;

/// A graph of 24 MiB, of blocks of a MiB: a part of it for each reader would be hundreds of MiB.
const LEAVES: u64 = 24;
const LEAF_BYTES: usize = 1 << 20;

/// What the node may hold more than before, in MiB: the memory for answers, the cache, blocks that are being read, and
/// what connections cost.
const MORE_MIB: f64 = 128.0;

/// What may stay of it when they have gone.
const LEFT_MIB: f64 = 64.0;

const CONFIG: &str = "\
[http]
answer-memory = \"16MiB\"
[admission]
memory = \"64MiB\"
[cache]
blocks = \"1MiB\"
[p2p]
memory = \"64MiB\"
";

#[test]
fn slow_readers_cost_neither_memory_nor_health_nor_peers() {
    let user = Home::new();
    let config = user.file("node.toml", CONFIG);
    let node = Node::start_with(&user.beside("node"), Path::new(&config));
    let path = keep_graph(&node, LEAVES, LEAF_BYTES);
    let before = node.resident_mib();

    let mut readers: Vec<SlowReader> = (0..READERS)
        .map(|_| SlowReader::ask(&node, &path))
        .collect();
    let mut most = before;
    for _ in 0..5 {
        readers.retain_mut(SlowReader::take_a_little);
        assert_eq!(node.json("/health/live")["status"], "ok");
        // Who reads at all gets everything, if not at once.
        let whole = node.eventually(&path, |answer| answer.status == 200);
        assert!(whole.body.len() as u64 > LEAVES * LEAF_BYTES as u64);
        most = most.max(node.resident_mib());
    }
    assert!(readers.len() > READERS / 2, "{} are left", readers.len());
    assert!(most < before + MORE_MIB, "{before} MiB, then {most} MiB");

    let other = Node::start(&user.beside("other"));
    user.json(&["peers", "connect", node.peer(), "--node", other.admin()]);

    drop(readers);
    node.eventually("/health/live", |_| node.resident_mib() < before + LEFT_MIB);
}
