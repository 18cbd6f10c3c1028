//! Every figure that has a name for people or a goal.

use super::{Goal, Named};

const fn named(figure: &'static str, title: &'static str, goal: Goal) -> Named {
    Named {
        figure,
        title,
        goal,
    }
}

/// In the order of the report.
pub(in super::super) const NAMED: &[Named] = &[
    named(
        "ipns/create",
        "IPNS record created and signed",
        Goal::TimesPeer(8.0),
    ),
    named(
        "ipns/validate",
        "IPNS record parsed and verified",
        Goal::TimesPeer(3.0),
    ),
    named(
        "ipns/size",
        "IPNS record, same fields",
        Goal::AtMostAbovePeer(1.0),
    ),
    named(
        "store/put/1KiB",
        "Blocks of 1 KiB written, synced per 1,000",
        Goal::TimesPeer(3.0),
    ),
    named(
        "store/get/1KiB",
        "Blocks of 1 KiB read at random, each verified",
        Goal::TimesPeer(3.0),
    ),
    named(
        "store/put/256KiB",
        "Blocks of 256 KiB written",
        Goal::TimesPeer(2.0),
    ),
    named(
        "store/get/256KiB",
        "Blocks of 256 KiB read at random, each verified",
        Goal::TimesPeer(5.0),
    ),
    named(
        "store/written",
        "Bytes written to the disk per byte of block",
        Goal::AtMost(1.15),
    ),
    named(
        "store/rss/1M",
        "Store process with 1 M blocks of 1 KiB",
        Goal::AtMost(80.0),
    ),
    named(
        "store/open/1M",
        "Store with 1 M blocks opened",
        Goal::AtMost(1000.0),
    ),
    named(
        "store/commit/64",
        "Durable commits of one small block, 64 writers",
        Goal::Shown,
    ),
    named("store/commit/64/p99", "Slowest of 100 of them", Goal::Shown),
    named("store/rss/idle", "Store process, empty", Goal::Shown),
    named(
        "store/written/1KiB",
        "Bytes written per byte of block, 1 KiB",
        Goal::AtMost(1.15),
    ),
    named(
        "store/written/256KiB",
        "Bytes written per byte of block, 256 KiB",
        Goal::AtMost(1.15),
    ),
    named(
        "store/cpu/1KiB",
        "Processor time of 1,000 blocks of 1 KiB written",
        Goal::AtMost(1.5),
    ),
    named("store/cpu/256KiB", "The same of 256 KiB", Goal::Shown),
    named(
        "store/blocks/1M",
        "Bytes of the 1 M blocks that are collected and packed",
        Goal::Shown,
    ),
    named(
        "store/collect/1M",
        "Garbage collected among 1 M blocks",
        Goal::Shown,
    ),
    named(
        "store/peak/collect/1M",
        "Store process that has collected it",
        Goal::AtMost(128.0),
    ),
    named("store/pack/1M", "Blocks packed", Goal::Shown),
    named(
        "store/peak/pack/1M",
        "Store process that has packed them",
        Goal::AtMost(128.0),
    ),
    named(
        "store/written/packed",
        "Bytes written per byte of block, packing too",
        Goal::AtMost(2.2),
    ),
    named(
        "store/collect_packed/1M",
        "Garbage collected among packed blocks",
        Goal::Shown,
    ),
    named(
        "store/peak/collect_packed/1M",
        "Store process that has collected it",
        Goal::AtMost(128.0),
    ),
    named(
        "start/10000000/time",
        "Store with 10 M blocks opened",
        Goal::AtMost(0.3),
    ),
    named(
        "unclean/10000000/time",
        "The same, after its process died while it wrote",
        Goal::AtMost(2.0),
    ),
    named(
        "rebuild/10000000/time",
        "The same, without its index, which is made anew",
        Goal::AtMost(90.0),
    ),
    named(
        "rebuild/10000000/peak",
        "Store process that makes it anew",
        Goal::AtMost(256.0),
    ),
    named(
        "flips/right",
        "Bytes of a small store flipped: a right answer",
        Goal::Shown,
    ),
    named("flips/repaired", "… repaired", Goal::Shown),
    named("flips/told", "… told", Goal::Shown),
    named("flips/refused", "… refused by name", Goal::Shown),
    named("flips/silent", "… silent", Goal::AtMost(0.0)),
    named(
        "region/cached/1",
        "Regions of 16 KiB read with pread, in the page cache, 1 thread",
        Goal::Shown,
    ),
    named("region/cached/8", "The same, 8 threads", Goal::Shown),
    named(
        "region/cold/1",
        "The same, not in the page cache, 1 thread",
        Goal::Shown,
    ),
    named("region/cold/8", "The same, 8 threads", Goal::Shown),
    named(
        "kill/acknowledged",
        "Writes acknowledged before kills, each checked",
        Goal::Shown,
    ),
    named(
        "list/update/blocks",
        "Blocks rewritten by one label in a list of 100,000",
        Goal::AtMost(8.0),
    ),
    named(
        "list/update/bytes",
        "Bytes rewritten by it",
        Goal::AtMost(64.0),
    ),
    named("list/import", "Import of 100,000 rows", Goal::AtMost(5.0)),
    named(
        "list/proof",
        "Inclusion proof in a list of 100,000",
        Goal::AtMost(4096.0),
    ),
    named(
        "log/append",
        "Log entries signed and appended",
        Goal::AtLeast(16_600.0),
    ),
    named(
        "log/open",
        "Log of 10,000 entries reopened",
        Goal::AtMost(100.0),
    ),
    named(
        "http/ipns",
        "IPNS record by GET, 32 connections",
        Goal::TimesPeer(5.0),
    ),
    named(
        "http/block/1KiB",
        "Raw block of 1 KiB by GET, 32 connections",
        Goal::TimesPeer(2.5),
    ),
    named(
        "http/block/256KiB",
        "Raw block of 256 KiB by GET, 32 connections",
        Goal::TimesPeer(1.0),
    ),
    named(
        "http/block/64KiB",
        "Raw blocks of 64 KiB at random, 128 MiB of them, 32 connections",
        Goal::TimesPeer(3.0),
    ),
    named(
        "http/car",
        "CAR of 128 MiB by GET, 2 connections",
        Goal::TimesPeer(2.0),
    ),
    named(
        "http/file",
        "Files of 1 MiB by their paths, 64 MiB of them, 32 connections",
        Goal::TimesPeer(2.0),
    ),
    named(
        "publish/rate",
        "Durable publishes, 64 clients",
        Goal::AtLeast(1000.0),
    ),
    named("publish/p99", "Slowest of 100 of them", Goal::AtMost(100.0)),
    named(
        "flood/times",
        "Slowest of 100 publishes of a client while 64 connections of another address flood the node, beside alone",
        Goal::AtMost(2.0),
    ),
    named("flood/alone", "Slowest of 100 of them, alone", Goal::Shown),
    named(
        "flood/beside",
        "Slowest of 100 of them, beside the flood",
        Goal::Shown,
    ),
    named(
        "flood/sent",
        "Publishes of the flood meanwhile",
        Goal::Shown,
    ),
    named(
        "republish",
        "Names put to a private DHT of 20 peers",
        Goal::TimesPeer(10.0),
    ),
    named(
        "republish/cpu",
        "Processor time of a name",
        Goal::AtMost(2.0),
    ),
    named("republish/p99", "Slowest of 100 of them", Goal::Shown),
    named("republish/slowest", "Slowest of all", Goal::Shown),
    named("republish/peers", "Peers that took each", Goal::Shown),
    named(
        "republish/failed",
        "Names that failed three times",
        Goal::AtMost(0.0),
    ),
    named(
        "republish/bad",
        "Names put while a peer dies and one stalls",
        Goal::TimesPeer(10.0),
    ),
    named(
        "republish/bad/cpu",
        "Processor time of a name then",
        Goal::AtMost(2.0),
    ),
    named(
        "republish/bad/p99",
        "Slowest of 100 of them then",
        Goal::Shown,
    ),
    named(
        "republish/bad/peers",
        "Peers that took each then",
        Goal::Shown,
    ),
    named(
        "republish/bad/slowest",
        "Slowest of all names then",
        Goal::Shown,
    ),
    named(
        "republish/bad/failed",
        "Names that failed three times then",
        Goal::AtMost(0.0),
    ),
    named(
        "republish/others",
        "Names put to a private DHT of 20 Kubo peers",
        Goal::TimesPeer(4.0),
    ),
    named(
        "republish/others/cpu",
        "Processor time of a name there",
        Goal::AtMost(2.0),
    ),
    named(
        "republish/others/p99",
        "Slowest of 100 of them there",
        Goal::Shown,
    ),
    named(
        "republish/others/slowest",
        "Slowest of all there",
        Goal::Shown,
    ),
    named(
        "republish/others/peers",
        "Peers that took each there",
        Goal::Shown,
    ),
    named(
        "republish/others/failed",
        "Names that failed three times there",
        Goal::AtMost(0.0),
    ),
    named(
        "republish/rss/100k",
        "Node with 100,000 names that are due",
        Goal::AtMost(100.0),
    ),
    named("node/rss/idle", "Idle node", Goal::AtMost(60.0)),
    named(
        "node/rss/1M",
        "Node with 1 M blocks, just started",
        Goal::Shown,
    ),
    named(
        "node/start/1M",
        "Start with 1 M blocks until ready",
        Goal::AtMost(1.0),
    ),
    named(
        "net/bitswap/64MiB",
        "DAG of 64 MiB by bitswap into an empty node, leaves of 256 KiB",
        Goal::TimesPeer(2.0),
    ),
    named(
        "net/bitswap/64MiB/64KiB",
        "The same, leaves of 64 KiB",
        Goal::TimesPeer(2.0),
    ),
    named(
        "net/bitswap/64MiB/16KiB",
        "The same, leaves of 16 KiB",
        Goal::TimesPeer(2.0),
    ),
    named(
        "net/bitswap/64MiB/helia",
        "Leaves of 256 KiB, beside Helia",
        Goal::TimesPeer(5.0),
    ),
    named(
        "net/bitswap/cluster",
        "The same, connected with twenty nodes of which one has it",
        Goal::TimesPeer(1.5),
    ),
    named(
        "net/bitswap/rss/serving",
        "Node that has served it",
        Goal::AtMost(128.0),
    ),
    named(
        "net/bitswap/rss/fetching",
        "Node that has fetched it",
        Goal::AtMost(128.0),
    ),
    named(
        "net/resolve/cached/p99",
        "Slowest of 100 resolutions of a cached name",
        Goal::AtMost(1.0),
    ),
    named(
        "net/resolve/dht/p50",
        "Name resolved through a DHT of 20 peers of ours, median",
        Goal::AtMostTimesPeer(1.0),
    ),
    named(
        "net/resolve/dht/p99",
        "Slowest of 100 such resolutions",
        Goal::AtMostTimesPeer(1.0),
    ),
    named(
        "net/resolve/others/p50",
        "Name resolved through a DHT of 20 Kubo peers, median",
        Goal::AtMostTimesPeer(1.2),
    ),
    named(
        "net/resolve/others/p95",
        "Slowest of 20 such resolutions",
        Goal::AtMostTimesPeer(1.0),
    ),
    named(
        "net/rss/idle",
        "Idle node with 20 peers",
        Goal::AtMost(60.0),
    ),
    named(
        "net/rss/1000",
        "Node with 1,000 connected peers",
        Goal::AtMost(250.0),
    ),
    named(
        "readers/rss/before",
        "Node that keeps a graph of 16 MiB",
        Goal::Shown,
    ),
    named(
        "readers/rss/during",
        "The same with 1,099 slow readers of it",
        Goal::AtMost(256.0),
    ),
    named(
        "readers/rss/after",
        "The same 10 s after they have gone",
        Goal::AtMost(128.0),
    ),
    named(
        "readers/health",
        "Slowest answer about its health beside them",
        Goal::AtMost(100.0),
    ),
    named(
        "readers/graph",
        "Slowest whole graph taken beside them",
        Goal::Shown,
    ),
    named(
        "crash/points",
        "Power cuts of a store on a disk that lies, each checked",
        Goal::AtLeast(10_000.0),
    ),
    named(
        "crash/lost",
        "Acknowledged and lost, and told",
        Goal::AtMost(0.0),
    ),
    named(
        "crash/silent",
        "Acknowledged and lost, and not told",
        Goal::AtMost(0.0),
    ),
    named("crash/told", "Losses told that are none", Goal::AtMost(0.0)),
    named(
        "kill/points",
        "kill -9 points with acknowledged writes checked",
        Goal::AtLeast(2000.0),
    ),
    named("kill/lost", "Acknowledged writes lost", Goal::AtMost(0.0)),
    named("kill/half", "Half-visible writes", Goal::AtMost(0.0)),
    named(
        "kill/starts-failed",
        "Starts that failed",
        Goal::AtMost(0.0),
    ),
    named(
        "kill-node/points",
        "kill -9 of a node under load, and its start after each",
        Goal::AtLeast(500.0),
    ),
    named(
        "kill-node/acknowledged",
        "Publishes acknowledged before kills, each checked",
        Goal::Shown,
    ),
    named(
        "kill-node/lost",
        "Acknowledged publishes lost",
        Goal::AtMost(0.0),
    ),
    named(
        "kill-node/half",
        "Heads seen without all their blocks",
        Goal::AtMost(0.0),
    ),
    named(
        "kill-follow/points",
        "kill -9 of a node while what it follows comes, and its start after each",
        Goal::AtLeast(1500.0),
    ),
    named(
        "kill-follow/midway",
        "Those of them before all had come",
        Goal::Shown,
    ),
    named(
        "kill-follow/acknowledged",
        "Follows acknowledged before kills, each checked",
        Goal::Shown,
    ),
    named(
        "kill-follow/lost",
        "Acknowledged or seen, and lost",
        Goal::AtMost(0.0),
    ),
    named(
        "kill-follow/silent",
        "Not whole, and not told",
        Goal::AtMost(0.0),
    ),
    named(
        "kill-follow/told",
        "Damage told that is none",
        Goal::AtMost(0.0),
    ),
    named(
        "kill-fetch/points",
        "kill -9 of a node while it fetches, and its start after each",
        Goal::AtLeast(500.0),
    ),
    named(
        "kill-fetch/midway",
        "Those of them before all had come",
        Goal::Shown,
    ),
    named(
        "kill-fetch/acknowledged",
        "Fetches acknowledged before kills, each checked",
        Goal::Shown,
    ),
    named(
        "kill-fetch/lost",
        "Acknowledged or seen, and lost",
        Goal::AtMost(0.0),
    ),
    named(
        "kill-fetch/silent",
        "Not whole, and not told",
        Goal::AtMost(0.0),
    ),
    named(
        "kill-fetch/told",
        "Damage told that is none",
        Goal::AtMost(0.0),
    ),
];
