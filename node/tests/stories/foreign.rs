//! Content that other software made is found, kept, walked and served as it is; what cannot be held whole says why.

use perennis_shared::cid::{Block, Cid, Codec, Multihash};
use perennis_shared::codec::car;
use perennis_shared::ipns::Record;
use perennis_shared::time::Millis;
use serde_json::Value as Json;

use crate::support::{Author, DAY, Reply, TestNode};

const RECORD: (&str, &str) = ("Content-Type", "application/vnd.ipfs.ipns-record");
const CAR: (&str, &str) = ("Content-Type", "application/vnd.ipld.car");

/// `hello file` as a raw leaf, to which all the others link.
fn leaf() -> Block {
    Block::new(Codec::Raw, b"hello file".to_vec()).unwrap()
}

/// A block of a codec by its bytes in hexadecimal, under version 1.
fn block(codec: u64, bytes: &str) -> Block {
    let bytes = hex::decode(bytes).unwrap();
    let hash = *perennis_shared::cid::cid_of(Codec::Raw, &bytes).hash();
    Block::verified(Cid::new_v1(codec, hash), bytes).unwrap()
}

/// A UnixFS directory with one file, `index.html`.
fn directory() -> Block {
    block(
        0x70,
        "12340a2401551220f3877e8a3d98f809d9f844060fbea2864a4b66980a22ff22297014d0c168db2e120a696e6465782e68746d6c180a0a020801",
    )
}

fn record(owner: &Author, value: &str) -> Record {
    let end = Millis(perennis_rt::now().0 + DAY.as_millis() as u64);
    owner.record_until(value, 1, end)
}

/// Follows a name from its record and these blocks.
async fn follow(node: &TestNode, owner: &Author, value: &str, blocks: &[Block]) -> Reply {
    let record = record(owner, value);
    let record_block = Block::new(Codec::Raw, record.bytes().clone()).unwrap();
    let roots = [*blocks[0].cid(), *record_block.cid()];
    let body = car::write(&roots, blocks.iter().chain([&record_block])).unwrap();
    let path = format!("/v1/names/{}", owner.name());
    node.ask("PUT", &path, &[CAR], &body).await
}

async fn serves(node: &TestNode, cid: &Cid, bytes: &[u8]) {
    let reply = node.get(&format!("/ipfs/{cid}?format=raw")).await;
    assert_eq!(reply.ok().body, bytes, "{cid}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_may_point_at_any_path_and_all_below_its_root_is_pinned() {
    let node = TestNode::start().await;
    let root = *directory().cid();
    let base16 = format!("f{}", hex::encode(root.to_bytes()));
    for (seed, value) in [
        format!("/ipfs/{root}/index.html"),
        format!("/ipfs/{root}/"),
        format!("/ipfs/{base16}"),
    ]
    .iter()
    .enumerate()
    {
        let owner = Author::new(seed as u8 + 1);
        let blocks = [directory(), leaf()];
        let status = follow(&node, &owner, value, &blocks).await.ok().json();
        assert_eq!(status["pin"], "pinned", "{value}: {status}");
        assert_eq!(status["head"], root.to_string());
        assert_eq!(status["value"], *value);
        assert_eq!(
            (&status["blocks"], &status["problem"]),
            (&Json::from(2), &Json::Null)
        );
    }
    serves(&node, leaf().cid(), leaf().bytes()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_is_found_under_every_cid_of_its_multihash() {
    let node = TestNode::start().await;
    let hash: Multihash = *directory().cid().hash();
    let old = Cid::new_v0(hash).unwrap();
    let sent = Block::verified(old, directory().bytes().clone()).unwrap();
    let owner = Author::new(1);
    // The record says version 1, the file has version 0.
    let value = format!("/ipfs/{}", directory().cid());
    let status = follow(&node, &owner, &value, &[sent, leaf()]).await;
    let status = status.ok().json();
    assert_eq!(
        (&status["pin"], &status["blocks"]),
        (&Json::from("pinned"), &Json::from(2))
    );
    for cid in [old, *directory().cid(), Cid::new_v1(0x55, hash)] {
        serves(&node, &cid, directory().bytes()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_that_are_in_no_canonical_form_are_kept_walked_and_served() {
    let node = TestNode::start().await;
    let leaf_cid = "01551220f3877e8a3d98f809d9f844060fbea2864a4b66980a22ff22297014d0c168db2e";
    let json = format!(" {{\"a\": {{\"/\":\"{}\"}} }}\n", leaf().cid());
    let long_inline = format!("0a6801550064{}1206696e6c696e651864", "79".repeat(100));
    let roots = [
        block(
            0x71,
            &format!("a262626201 6161d82a582500{leaf_cid}").replace(' ', ""),
        ),
        block(0x0129, &hex::encode(json)),
        block(
            0x70,
            &format!("1274{long_inline}122b0a24{leaf_cid}120172180a0a020801"),
        ),
        // A name in a directory that is no text.
        block(0x70, &format!("122c0a24{leaf_cid}1202fffe180a0a020801")),
        // An object of DAG-JOSE.
        block(0x85, &format!("a1677061796c6f61645824{leaf_cid}")),
    ];
    for (seed, root) in roots.into_iter().enumerate() {
        let owner = Author::new(seed as u8 + 1);
        let value = format!("/ipfs/{}", root.cid());
        let blocks = [root.clone(), leaf()];
        let status = follow(&node, &owner, &value, &blocks).await.ok().json();
        let pinned = (&Json::from("pinned"), &Json::from(2));
        assert_eq!((&status["pin"], &status["blocks"]), pinned, "{status}");
        serves(&node, root.cid(), root.bytes()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_named_with_the_reason_and_what_to_do() {
    let node = TestNode::start().await;
    let leaf_cid = hex::encode(leaf().cid().to_bytes());
    let jose = block(0x85, &format!("a1677061796c6f61645824{leaf_cid}"));
    let owner = Author::new(1);
    let value = format!("/ipfs/{}", jose.cid());
    follow(&node, &owner, &value, &[jose]).await.ok();
    let path = format!("/v1/names/{}", owner.name());
    let is_tried = |reply: &Reply| {
        let problem = &reply.json()["problem"];
        !problem.is_null() && problem["code"] != "awaited"
    };
    let status = node.eventually(&path, is_tried).await.json();
    assert_eq!(
        (&status["pin"], &status["missingBlocks"]),
        (&Json::from("incomplete"), &Json::from(1))
    );
    assert_eq!(status["problem"]["block"], leaf().cid().to_string());
    assert!(
        status["problem"]["hint"]
            .as_str()
            .unwrap()
            .contains("--source"),
        "{status}"
    );
    let pins = node.get("/v1/pins").await.ok().json();
    assert_eq!(pins["pins"][0]["problem"], status["problem"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_whose_links_cannot_be_read_is_kept_and_never_told_as_pinned() {
    let node = TestNode::start().await;
    // Broken CBOR, and a codec that nobody here reads.
    for (seed, root) in [block(0x71, "ffffff"), block(0x90, "00")]
        .into_iter()
        .enumerate()
    {
        let owner = Author::new(seed as u8 + 1);
        let value = format!("/ipfs/{}", root.cid());
        let status = follow(&node, &owner, &value, std::slice::from_ref(&root)).await;
        let status = status.ok().json();
        assert_eq!(status["pin"], "opaque", "{status}");
        assert_eq!(status["problem"]["code"], "opaque");
        assert_eq!(status["problem"]["block"], root.cid().to_string());
        serves(&node, root.cid(), root.bytes()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_points_at_no_content_says_so() {
    let node = TestNode::start().await;
    let other = Author::new(9).name();
    for (seed, (value, code)) in [
        (format!("/ipns/{other}"), "other_name"),
        ("/ipns/docs.example.org".to_owned(), "dnslink"),
        ("/hello".to_owned(), "no_content"),
    ]
    .into_iter()
    .enumerate()
    {
        let owner = Author::new(seed as u8 + 1);
        let path = format!("/v1/names/{}", owner.name());
        let record = record(&owner, &value);
        let status = node.ask("PUT", &path, &[RECORD], record.bytes()).await;
        let status = status.ok().json();
        assert_eq!(
            (&status["pin"], &status["head"]),
            (&Json::from("record_only"), &Json::Null)
        );
        assert_eq!(status["problem"]["code"], code, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_ends_a_pin_is_told_with_its_setting() {
    let node = TestNode::with(|config| config.admission.name_blocks = 4).await;
    let leaves: Vec<Block> = (0..8)
        .map(|number| Block::new(Codec::Raw, vec![number; 9]).unwrap())
        .collect();
    let links: String = leaves
        .iter()
        .map(|leaf| format!("d82a582500{}", hex::encode(leaf.cid().to_bytes())))
        .collect();
    let root = block(0x71, &format!("88{links}"));
    let owner = Author::new(1);
    let value = format!("/ipfs/{}", root.cid());
    follow(&node, &owner, &value, &[root, leaves[0].clone()])
        .await
        .ok();
    let path = format!("/v1/names/{}", owner.name());
    let is_told = |reply: &Reply| reply.json()["problem"]["code"] == "quota";
    let status = node.eventually(&path, is_told).await.json();
    assert_eq!(status["pin"], "incomplete");
    let hint = status["problem"]["hint"].as_str().unwrap();
    assert!(hint.contains("admission.name-blocks"), "{hint}");
}
