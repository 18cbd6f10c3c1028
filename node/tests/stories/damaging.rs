//! What was damaged while a node was stopped is told, is had again from others, and costs nothing else.

use std::path::{Path, PathBuf};
use std::time::Duration;

use perennis_node::config::Config;
use perennis_shared::cid::{Block, Codec};
use perennis_store::{Batch, IndexEngine, IndexOptions, Queue, Store, StoreOptions};
use serde_json::{Value, json};

use crate::support::{Author, DAY, Message, Reply, TestNode};

const ACCEPT: (&str, &str) = ("Accept", "application/vnd.ipfs.ipns-record");

/// A peer on loopback that is found by nobody.
#[cfg(feature = "rocksdb")]
fn as_peer(config: &mut Config) {
    config.p2p.listen = Some(vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()]);
}

fn segments(data: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data.join("segments")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Flips a bit of the first place in the log that has these bytes.
pub(crate) fn flip(data: &Path, bytes: &[u8]) {
    for path in segments(data) {
        let mut file = std::fs::read(&path).unwrap();
        let found = file.windows(bytes.len()).position(|window| window == bytes);
        if let Some(at) = found {
            file[at + bytes.len() / 2] ^= 1;
            std::fs::write(&path, file).unwrap();
            return;
        }
    }
    panic!("the bytes are in no segment");
}

/// The data of a running node as a power cut would leave them.
fn as_after_a_crash(from: &Path) -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let to = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy(&entry.path(), &to);
            } else {
                std::fs::copy(entry.path(), to).unwrap();
            }
        }
    }
    let dir = tempfile::tempdir().unwrap();
    copy(from, dir.path());
    dir
}

async fn damage(node: &TestNode) -> Value {
    let reply = node.get("/health/ready").await;
    reply.ok().json()["damage"].clone()
}

async fn metrics(node: &TestNode) -> String {
    let reply = node.get("/metrics").await;
    String::from_utf8(reply.ok().body.to_vec()).unwrap()
}

async fn has_all(node: &TestNode, blocks: &[Block]) {
    for block in blocks {
        let reply = node.get(&format!("/ipfs/{}?format=raw", block.cid())).await;
        assert_eq!(reply.ok().body, block.bytes());
    }
}

/// An index that is made anew reads the block before anybody else does, so this is of one that was kept.
#[cfg(feature = "rocksdb")]
#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_is_told_and_the_block_comes_again_from_another_peer() {
    let as_peer_on_disk = |config: &mut Config| {
        as_peer(config);
        crate::support::with_index_on_disk(config);
    };
    let other = TestNode::with(as_peer).await;
    let node = TestNode::with(as_peer_on_disk).await;
    let message = Author::new(1).publish_many(50);
    for node in [&other, &node] {
        node.publish(&message).await.ok();
    }
    node.node.shutdown().await;
    let block = message.blocks.last().unwrap();
    flip(node.dir.path(), block.bytes());

    let node = TestNode::again(node.dir, as_peer_on_disk).await;
    let path = format!("/ipfs/{}?format=raw", block.cid());
    // Whoever reads it first, it is not served.
    let first = node.get(&path).await;
    assert!(matches!(first.status, 404 | 500), "{}", first.status);
    let told = node
        .eventually("/health/ready", |reply| {
            reply.json()["damage"]["quarantinedBlocks"] == 1
        })
        .await;
    let told = told.ok().json();
    assert_eq!(
        (&told["status"], &told["reasons"]),
        (&json!("ok"), &json!([]))
    );
    assert_eq!(told["damage"]["refetchesWaiting"], 1);
    let sentence = told["damage"]["sentences"][0].as_str().unwrap();
    assert!(sentence.contains(&block.cid().to_string()), "{sentence}");
    let listed = node.get("/v1/damage").await.ok().json();
    assert_eq!(listed["blocks"][0]["cid"], block.cid().to_string());
    let text = metrics(&node).await;
    assert!(text.contains("store_quarantined_blocks 1"), "{text}");

    let address = other.node.p2p_addresses()[0].clone();
    let body = json!({ "address": address }).to_string();
    let json = ("Content-Type", "application/json");
    node.ask("POST", "/v1/peers/connect", &[json], body.as_bytes())
        .await
        .ok();
    let again = node.eventually(&path, |reply| reply.status == 200).await;
    assert_eq!(again.body, block.bytes());
    let mended = node
        .eventually("/health/ready", |reply| {
            reply.json()["damage"]["quarantinedBlocks"] == 0
        })
        .await;
    assert_eq!(mended.ok().json()["damage"]["refetchesWaiting"], 0);
    let text = metrics(&node).await;
    assert!(
        text.contains("store_refetches_total{outcome=\"Ok\"} 1"),
        "{text}"
    );
    let status = node.get("/v1/status").await.ok().json();
    let workers = status["workers"].as_array().unwrap();
    let refetch = workers.iter().find(|worker| worker["name"] == "refetch");
    assert!(refetch.unwrap()["done"].as_u64() >= Some(1));
    has_all(&node, &message.blocks).await;
}

/// An index that is made anew has found the damage before a scrub comes by.
#[cfg(feature = "rocksdb")]
#[tokio::test(flavor = "multi_thread")]
async fn a_scrub_finds_damage_and_gateways_bring_the_blocks_again() {
    use crate::support::with_index_on_disk;

    let other = TestNode::start().await;
    let node = TestNode::with(with_index_on_disk).await;
    let message = Author::new(1).publish_many(50);
    for node in [&other, &node] {
        node.publish(&message).await.ok();
    }
    node.node.shutdown().await;
    for block in &message.blocks {
        flip(node.dir.path(), block.bytes());
    }
    // The round that was read at the start has ended: the next one is due at once.
    let store = Store::open(node.dir.path(), &StoreOptions::default()).unwrap();
    let mut batch = Batch::new();
    batch.delete_meta(b"scrubbed");
    store.commit(batch).unwrap();
    drop(store);
    let url = other.url();
    let node = TestNode::again(node.dir, |config| {
        with_index_on_disk(config);
        config.pins.sources = vec![url];
    })
    .await;
    for block in &message.blocks {
        let path = format!("/ipfs/{}?format=raw", block.cid());
        // Before the scrub comes by, a damaged block is refused when it is read.
        let again = node.eventually(&path, |reply| reply.status == 200).await;
        assert_eq!(again.body, block.bytes());
    }
    let mended = |reply: &Reply| {
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        let counts = ["store_quarantined_blocks 0", "store_refetches_waiting 0"];
        counts.iter().all(|count| text.contains(count))
            && !text.contains("store_refetches_total{outcome=\"Ok\"} 0")
            && !text.contains("scrub_blocks_total 0")
    };
    node.eventually("/metrics", mended).await;
}

/// A name that was published once on a node, whose log was damaged where its head was set.
async fn with_a_lost_head() -> (tempfile::TempDir, Author, Message) {
    let node = TestNode::start().await;
    let mut author = Author::new(1);
    author.publish(&[("@alice", "friend")]);
    let second = author.publish(&[("@bob", "spam")]);
    let message = Message {
        blocks: author.all_blocks(),
        ..second
    };
    node.publish(&message).await.ok();
    // What comes after it shows that it was acknowledged.
    node.publish(&Author::new(2).publish(&[("@carol", "friend")]))
        .await
        .ok();
    let dir = as_after_a_crash(node.dir.path());
    // The table of the batch is the first to name the block.
    flip(dir.path(), &message.head.hash().to_bytes());
    (dir, author, message)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_head_is_told_refuses_what_is_older_and_is_found_at_another_node() {
    let (dir, author, message) = with_a_lost_head().await;
    let other = TestNode::start().await;
    other.publish(&message).await.ok();
    let name = message.name;
    let path = format!("/v1/names/{name}");

    let node = TestNode::again(dir, |_| {}).await;
    let told = damage(&node).await;
    assert_eq!(
        (&told["losses"], &told["lostHeads"], &told["floors"]),
        (&json!(1), &json!(1), &json!(1)),
        "{told}"
    );
    assert_eq!(told["lossesByKind"], json!({ "damaged_group": 1 }));
    assert_eq!(told["sentences"].as_array().map(Vec::len), Some(1));
    node.get(&path).await.refused(404, "record_lost");
    let older = Message {
        record: author.record(message.head, 1, 30 * DAY),
        ..message.clone()
    };
    node.put_record(&older).await.refused(409, "stale_record");
    let text = metrics(&node).await;
    assert!(
        text.contains("store_losses{kind=\"damaged_group\"} 1"),
        "{text}"
    );
    // Both count: the other is there whole, and this one is looked for.
    node.eventually("/v1/status", |reply| reply.json()["names"] == 2)
        .await;
    node.node.shutdown().await;

    let url = other.url();
    let node = TestNode::again(node.dir, |config| {
        config.ipns.routers = vec![url.clone()];
        config.pins.sources = vec![url];
    })
    .await;
    // Not dismissed, so still told.
    assert_eq!(damage(&node).await["losses"], 1);
    let found = node
        .eventually(&path, |reply| {
            reply.status == 200 && reply.json()["pin"] == "pinned"
        })
        .await;
    assert_eq!(found.json()["sequence"], 2);
    let record = node
        .get_with(&format!("/routing/v1/ipns/{name}"), &[ACCEPT])
        .await;
    assert_eq!(record.ok().body, message.record.bytes());
    has_all(&node, &message.blocks).await;
    let mended = node
        .eventually("/health/ready", |reply| {
            let damage = &reply.json()["damage"];
            damage["lostHeads"] == 0 && damage["floors"] == 0
        })
        .await;
    assert_eq!(mended.ok().json()["damage"]["losses"], 1);
    let left = node.ask("DELETE", "/v1/damage", &[], b"").await.ok().json();
    assert_eq!((&left["losses"], &left["list"]), (&json!(0), &json!([])));
    assert_eq!(damage(&node).await["losses"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_head_is_made_up_for_by_its_owner() {
    let (dir, mut author, message) = with_a_lost_head().await;
    let node = TestNode::again(dir, |_| {}).await;
    assert_eq!(damage(&node).await["floors"], 1);
    let mut third = author.publish(&[("@dave", "friend")]);
    third.blocks = author.all_blocks();
    node.publish(&third).await.ok();
    // What is told is counted now and then.
    node.eventually("/health/ready", |reply| {
        reply.json()["damage"]["floors"] == 0
    })
    .await;
    node.publish(&message).await.refused(409, "stale_record");
}

/// The store of a stopped node.
fn opened(data: &Path) -> Store {
    let options = StoreOptions {
        index: IndexOptions::on(IndexEngine::Memory),
        ..StoreOptions::default()
    };
    Store::open(data, &options).unwrap()
}

/// The numbers of all queues, as the document of the format lists them; a test of the queues holds it to be whole.
fn queues() -> Vec<u8> {
    let format = std::fs::read_to_string("../docs/FORMAT.md").unwrap();
    let rows = format
        .lines()
        .filter_map(|line| line.strip_prefix("| `q`, `k` queue "));
    let numbers: Vec<u8> = rows
        .map(|row| row.split(' ').next().unwrap().parse().unwrap())
        .collect();
    assert!(numbers.len() >= 6, "{numbers:?}");
    numbers
}

/// Rows of the node's own, written over in a stopped node's store.
fn spoil(data: &Path, rows: &[Vec<u8>], queues: &[u8]) {
    let store = opened(data);
    let mut batch = Batch::new();
    for row in rows {
        assert!(store.meta(row).unwrap().is_some(), "{row:?}");
        batch.put_meta(row, b"\xff what nobody can read".to_vec());
    }
    for queue in queues {
        let due = perennis_shared::time::Millis(1);
        batch.enqueue(Queue(*queue), b"\xff nobody", due, Vec::new());
    }
    store.commit(batch).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_cannot_be_read_stop_nothing_and_are_found_out_again() {
    let other = TestNode::start().await;
    let url = other.url();
    let with_router = |config: &mut Config| {
        config.ipns.routers = vec![url.clone()];
        config.pins.scan_period = Duration::from_secs(1);
    };
    let node = TestNode::with(with_router).await;
    let mut names = Vec::new();
    for seed in 1..=5 {
        let message = Author::new(seed).publish_many(20);
        node.publish(&message).await.ok();
        names.push(message.name);
        let path = format!("/v1/names/{}", message.name);
        node.eventually(&path, |reply| !reply.json()["lastPut"].is_null())
            .await;
    }
    // Somebody's files, which are let go where the name is not followed.
    let owner = Author::new(9);
    let leaf = Block::new(Codec::Raw, b"somebody's file".to_vec()).unwrap();
    let record = owner.record(*leaf.cid(), 1, 30 * DAY);
    let source = TestNode::start().await;
    let held = Message {
        name: owner.name(),
        head: *leaf.cid(),
        record,
        blocks: vec![leaf.clone()],
        ..Author::new(8).publish(&[("@alice", "friend")])
    };
    drop(source);
    let car = ("Content-Type", "application/vnd.ipld.car");
    let followed = format!("/v1/names/{}", owner.name());
    node.ask("PUT", &followed, &[car], &held.car()).await.ok();
    node.node.shutdown().await;

    names.sort_by_key(|name| name.to_bytes());
    let row = |table: &[u8], name: &[u8]| [table, name].concat();
    let mut rows: Vec<_> = [0, 2, 4]
        .map(|place: usize| row(b"n/", names[place].as_bytes()))
        .into();
    rows.push(row(b"p/\x10", names[1].as_bytes()));
    rows.push(row(b"w/", owner.name().as_bytes()));
    spoil(node.dir.path(), &rows, &queues());

    let node = TestNode::again(node.dir, with_router).await;
    for name in &names {
        let path = format!("/v1/names/{name}");
        let is_known = |reply: &Reply| {
            let status = reply.json();
            status["pin"] == "pinned" && !status["did"].is_null() && status["blocks"] != 0
        };
        node.eventually(&path, is_known).await;
    }
    let status = node
        .eventually(&followed, |reply| reply.status == 200)
        .await;
    let status = status.json();
    assert_eq!(
        (&status["followed"], &status["pin"]),
        (&json!(true), &json!("pinned"))
    );
    let is_told = |reply: &Reply| {
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        ["facts", "puts", "followed", "queues"].iter().all(|table| {
            let count = format!("store_unreadable_rows_total{{table=\"{table}\"}} ");
            text.contains(&count) && !text.contains(&format!("{count}0"))
        })
    };
    node.eventually("/metrics", is_told).await;
    // A record that is put again writes the row of its put anew.
    node.put_record(&Message {
        record: {
            let head = node.get(&format!("/v1/names/{}", names[1])).await.json()["head"].clone();
            let seed = (1..=5).find(|seed| Author::new(*seed).name() == names[1]);
            let head = head.as_str().unwrap().parse().unwrap();
            Author::new(seed.unwrap()).record(head, 1, 120 * DAY)
        },
        name: names[1],
        ..held.clone()
    })
    .await
    .ok();
    // The sources of the followed name are gone, which is told until somebody has seen it.
    node.eventually("/health/ready", |reply| {
        reply.json()["damage"]["rowsSetAside"] == 1
    })
    .await;
    let left = node.get("/v1/damage").await.ok().json();
    let key = hex::encode(row(b"mw/", owner.name().as_bytes()));
    let shown = left["rows"][0]["key"].as_str().unwrap();
    assert!(key.starts_with(shown));
    // Meanwhile the node is not ready, and says what it is and the way back.
    let ready = node.get("/health/ready").await;
    assert_eq!(ready.status, 503);
    let ready = ready.json();
    assert_eq!(ready["reasons"], json!(["rows_unreadable"]));
    let sentence = ready["damage"]["sentences"][0].as_str().unwrap();
    assert!(sentence.contains(shown), "{sentence}");
    let hint = ready["hint"].as_str().unwrap();
    assert!(
        hint.contains("store rebuild") && hint.contains("--dismiss"),
        "{hint}"
    );
    let left = node.ask("DELETE", "/v1/damage", &[], b"").await.ok().json();
    assert_eq!(left["rowsSetAside"], 0);
    let ready = node.get("/health/ready").await.ok().json();
    assert_eq!(
        (&ready["reasons"], &ready["hint"]),
        (&json!([]), &Value::Null)
    );
    // The scan has gone on, round after round.
    let is_scanning = |reply: &Reply| {
        let status = reply.json();
        let workers = status["workers"].as_array().unwrap();
        workers
            .iter()
            .any(|worker| worker["name"] == "pin scan" && worker["done"].as_u64() >= Some(12))
    };
    node.eventually("/v1/status", is_scanning).await;
    has_all(&node, &[leaf]).await;
}
