//! The operator gives a node CAR files of anybody, and it keeps what they are about.

use perennis_shared::cid::{Block, Cid, Codec};
use perennis_shared::codec::car::{self, Event, FileDecoder};
use serde_json::{Value, json};

use crate::support::{Reply, TestNode};

const CAR: (&str, &str) = ("Content-Type", "application/vnd.ipld.car");

/// A file of version 2 that go-car made: a directory under a CIDv0 and the file in it.
const VERSION_2: &[u8] =
    include_bytes!("../../../shared/src/codec/car/file/made/v2-padded-full-index.car");

fn leaf(number: u64) -> Block {
    Block::new(Codec::Raw, number.to_be_bytes().to_vec()).unwrap()
}

/// A list of links in DAG-CBOR.
fn list(links: &[&Block]) -> Block {
    let mut bytes = vec![0x9f];
    for link in links {
        bytes.extend_from_slice(&[0xd8, 42, 0x58, 37, 0]);
        bytes.extend_from_slice(&link.cid().to_bytes());
    }
    bytes.push(0xff);
    Block::new(Codec::DagCbor, bytes).unwrap()
}

async fn import(node: &TestNode, query: &str, file: &[u8]) -> Reply {
    node.ask("POST", &format!("/v1/imported{query}"), &[CAR], file)
        .await
}

/// The last line.
fn last(reply: &Reply) -> Value {
    let lines = String::from_utf8(reply.ok().body.to_vec()).unwrap();
    serde_json::from_str(lines.lines().last().unwrap()).unwrap()
}

async fn imported(node: &TestNode) -> Vec<Value> {
    let page = node.get("/v1/imported").await.ok().json();
    page["imported"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_version_2_is_imported_listed_served_and_removed_under_another_cid() {
    let node = TestNode::start().await;
    let done = last(&import(&node, "?name=my%20files", VERSION_2).await);
    let directory: Cid = "QmV9s4aHWWibKg6CHNSUWd6ESMtnM6axEXGmwp5wWoPFDn"
        .parse()
        .unwrap();
    let file = "bafkreihtq57iupmy7ae5t6ceayh35iugjjfwngakel7seklqctimc2g3fy";
    assert_eq!(
        (&done["event"], &done["kept"], &done["version"]),
        (&json!("done"), &json!(true), &json!(2))
    );
    assert_eq!(
        (&done["newBlocks"], &done["refusedBlocks"]),
        (&json!(2), &json!(0))
    );
    let rows = imported(&node).await;
    let facts: Vec<_> = rows
        .iter()
        .map(|row| (&row["cid"], &row["name"], &row["state"]))
        .collect();
    let (name, state) = (json!("my files"), json!("pinned"));
    for cid in [json!(directory.to_string()), json!(file)] {
        assert!(facts.contains(&(&cid, &name, &state)), "{facts:?}");
    }
    let hash = *directory.hash();
    let new = Cid::new_v1(Codec::DagPb.code(), hash);
    node.get(&format!("/ipfs/{new}?format=raw")).await.ok();
    // Again: nothing new, and no further pin.
    let again = last(&import(&node, "?name=my%20files", VERSION_2).await);
    assert_eq!(
        (&again["kept"], &again["newBlocks"]),
        (&json!(true), &json!(0))
    );
    assert_eq!(imported(&node).await.len(), 2);

    let raw = Cid::new_v1(Codec::Raw.code(), hash);
    let path = format!("/v1/imported/{raw}");
    let other = node
        .ask("DELETE", &format!("{path}?name=x"), &[], b"")
        .await;
    other.refused(404, "not_found");
    let removed = node.ask("DELETE", &path, &[], b"").await.ok().json();
    assert_eq!(removed["removed"], 1);
    node.ask("DELETE", &path, &[], b"")
        .await
        .refused(404, "not_found");
    assert_eq!(imported(&node).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_out_is_what_went_in_depth_first() {
    let node = TestNode::start().await;
    let leaves: Vec<Block> = (0..50).map(leaf).collect();
    let inner: Vec<Block> = leaves
        .chunks(5)
        .map(|some| list(&some.iter().collect::<Vec<_>>()))
        .collect();
    let root = list(&inner.iter().collect::<Vec<_>>());
    // Leaves first, as some write it, and twice.
    let blocks = leaves.iter().chain(&inner).chain([&root]).chain(&leaves);
    let file = car::write(&[*root.cid()], blocks).unwrap();
    let done = last(&import(&node, "", &file).await);
    assert_eq!(
        (&done["kept"], &done["blocks"], &done["newBlocks"]),
        (&json!(true), &json!(111), &json!(61))
    );
    let path = format!("/ipfs/{}?format=car", root.cid());
    let sent = node.get(&path).await.ok().body.clone();
    assert_eq!(sent, node.get(&path).await.ok().body);
    let mut decoder = FileDecoder::new();
    decoder.push(&sent);
    let mut cids = Vec::new();
    while let Some(event) = decoder.next_event().unwrap() {
        if let Event::Block(block) = event {
            cids.push(*block.cid());
        }
    }
    decoder.finish().unwrap();
    let mut expected = vec![*root.cid()];
    for (inner, leaves) in inner.iter().zip(leaves.chunks(5)) {
        expected.push(*inner.cid());
        expected.extend(leaves.iter().map(|leaf| *leaf.cid()));
    }
    assert_eq!(cids, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_file_is_told_with_its_place_and_nothing_is_pinned() {
    let node = TestNode::start().await;
    let (one, two) = (leaf(1), leaf(2));
    let root = list(&[&one, &two]);
    let file = car::write(&[*root.cid()], [&root, &one, &two]).unwrap();
    let message = |reply: &Reply| {
        reply.json()["error"]["message"]
            .as_str()
            .unwrap()
            .to_owned()
    };

    let cut = import(&node, "", &file[..file.len() - 1]).await;
    cut.refused(400, "invalid_car");
    let at = file.len() - 1;
    assert!(
        message(&cut).contains(&format!("byte {at}")),
        "{}",
        message(&cut)
    );
    let mut changed = file.clone();
    changed[at] ^= 1;
    let changed = import(&node, "", &changed).await;
    changed.refused(400, "invalid_car");
    assert!(message(&changed).contains(&two.cid().to_string()));
    import(&node, "", b"no CAR file")
        .await
        .refused(400, "invalid_car");
    import(&node, "", b"").await.refused(400, "invalid_car");
    import(&node, "?partial=perhaps", &file)
        .await
        .refused(400, "invalid_query");
    import(&node, "?root=x", &file)
        .await
        .refused(400, "invalid_cid");
    let long = format!("?name={}", "n".repeat(256));
    import(&node, &long, &file)
        .await
        .refused(400, "invalid_name");
    let text = [("Content-Type", "text/plain")];
    let reply = node.ask("POST", "/v1/imported", &text, &file).await;
    reply.refused(415, "unsupported_media_type");

    let lacking = car::write(&[*root.cid()], [&root, &one]).unwrap();
    let other = TestNode::start().await;
    let done = last(&import(&other, "", &lacking).await);
    assert_eq!(
        (&done["kept"], &done["missingBlocks"]),
        (&json!(false), &json!(1))
    );
    assert_eq!(done["missing"], json!([two.cid().to_string()]));
    assert_eq!(done["roots"][0]["state"], "incomplete");
    for node in [&node, &other] {
        assert_eq!(imported(node).await, Vec::<Value>::new());
    }

    let done = last(&import(&other, "?partial=true", &file[..at]).await);
    assert_eq!(done["kept"], true);
    assert_eq!(done["truncated"]["offset"], at);
    assert_eq!(
        imported(&other).await[0]["problem"]["block"],
        two.cid().to_string()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_roots_are_listed_in_pages() {
    let node = TestNode::start().await;
    let leaves: Vec<Block> = (0..1_200).map(leaf).collect();
    // More roots than a message of ours names; go-car writes them in this form.
    let mut header = vec![0xa2];
    header.extend_from_slice(b"\x65roots\x9f");
    for leaf in &leaves {
        header.extend_from_slice(&[0xd8, 42, 0x58, 37, 0]);
        header.extend_from_slice(&leaf.cid().to_bytes());
    }
    header.extend_from_slice(b"\xff\x67version\x01");
    let mut file = varint(header.len());
    file.extend_from_slice(&header);
    for leaf in &leaves {
        file.extend_from_slice(&varint(36 + 8));
        file.extend_from_slice(&leaf.cid().to_bytes());
        file.extend_from_slice(leaf.bytes());
    }
    let done = last(&import(&node, "?name=many", &file).await);
    assert_eq!(done["roots"].as_array().unwrap().len(), 1_200);
    let mut seen = 0;
    let mut path = "/v1/imported?limit=500".to_owned();
    loop {
        let page = node.get(&path).await.ok().json();
        seen += page["imported"].as_array().unwrap().len();
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!("/v1/imported?limit=500&after={next}");
    }
    assert_eq!(seen, 1_200);
    node.get("/v1/imported?after=!")
        .await
        .refused(400, "invalid_cursor");
}

fn varint(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_imported_outlives_a_restart() {
    let node = TestNode::start().await;
    let root = list(&[&leaf(1)]);
    let file = car::write(&[*root.cid()], [&root, &leaf(1)]).unwrap();
    last(&import(&node, "?name=kept", &file).await);
    let rows = imported(&node).await;
    node.node.shutdown().await;
    let node = TestNode::again(node.dir, |_| {}).await;
    assert_eq!(imported(&node).await, rows);
    node.get(&format!("/ipfs/{}", leaf(1).cid())).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_above_the_limit_is_refused_before_it_is_sent_and_the_limit_is_told() {
    let node = TestNode::with(|config| config.import.max_bytes = 1_000).await;
    let status = node.get("/v1/status").await.ok().json();
    assert_eq!(status["limits"]["importBytes"], 1_000);
    let leaves: Vec<Block> = (0..100).map(leaf).collect();
    let file = car::write(&[], &leaves).unwrap();
    let reply = import(&node, "", &file).await;
    reply.refused(413, "too_large");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_larger_than_all_memory_for_messages_is_imported() {
    let node = TestNode::with(|config| config.admission.memory_bytes = 4 << 20).await;
    let leaves: Vec<Block> = (0..64_u8)
        .map(|number| Block::new(Codec::Raw, vec![number; 256 << 10]).unwrap())
        .collect();
    let root = list(&leaves.iter().collect::<Vec<_>>());
    let file = car::write(&[*root.cid()], leaves.iter().chain([&root])).unwrap();
    let done = last(&import(&node, "", &file).await);
    assert_eq!((&done["kept"], &done["blocks"]), (&json!(true), &json!(65)));
}
