//! Paths, files and directories of others by the trustless gateway specification, with the graphs of its public conformance tests.

use std::collections::BTreeSet;

use perennis_shared::cid::{Block, Cid, Codec, cid_of};
use perennis_shared::codec::{Value, car, dag_cbor, dag_pb};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Author, Reply, TestNode};

const MIXED: &[u8] = include_bytes!("cars/subdir-with-mixed-block-files.car");
const DOCUMENT: &[u8] = include_bytes!("cars/dir-with-dag-cbor-with-links.car");
const REPEATED: &[u8] = include_bytes!("cars/dir-with-duplicate-files.car");
const SHARDS: &[u8] = include_bytes!("cars/single-layer-hamt-with-multi-block-files.car");
const MISSING: &[u8] = include_bytes!("cars/file-3k-and-3-blocks-missing-block.car");

fn blocks_of(bytes: &[u8]) -> Vec<Block> {
    let reader = car::Reader::new(bytes).unwrap();
    reader.collect::<Result<_, _>>().unwrap()
}

fn cids_of(reply: &Reply) -> Vec<Cid> {
    let blocks = blocks_of(&reply.ok().body);
    blocks.iter().map(|block| *block.cid()).collect()
}

/// A shard of a directory and those below it, depth first.
fn shards_from(blocks: &[Block], at: Cid) -> Vec<Cid> {
    let block = blocks.iter().find(|block| *block.cid() == at).unwrap();
    let links = dag_pb::decode(block.bytes()).unwrap().links;
    let below = links
        .iter()
        .filter(|link| link.name.as_ref().unwrap().len() == 2)
        .flat_map(|link| shards_from(blocks, link.hash));
    [at].into_iter().chain(below).collect()
}

/// A node that keeps a graph; its blocks in their order, the root first.
async fn keeping(bytes: &[u8]) -> (TestNode, Vec<Block>) {
    let node = TestNode::start().await;
    let blocks = blocks_of(bytes);
    node.keep(1, &blocks).await;
    (node, blocks)
}

/// Asks for each path and query behind the root, and compares what comes with blocks of the graph by their numbers.
async fn compare(bytes: &[u8], expected: &[(&str, &[usize])]) {
    let (node, blocks) = keeping(bytes).await;
    let mut tags = BTreeSet::new();
    for (asked, numbers) in expected {
        let (path, query) = asked.split_once('?').unwrap_or((asked, ""));
        let path = format!("/ipfs/{}{path}?format=car&{query}", blocks[0].cid());
        let reply = node.get(&path).await;
        let wanted: Vec<Cid> = numbers.iter().map(|at| *blocks[*at].cid()).collect();
        assert_eq!(cids_of(&reply), wanted, "{asked}");
        let tag = reply.header("etag").unwrap().to_owned();
        let same = node.get_with(&path, &[("If-None-Match", &tag)]).await;
        assert_eq!(same.status, 304, "{asked}");
        assert!(tags.insert(tag), "{asked} has the tag of another");
        let head = node.ask("HEAD", &path, &[], b"").await;
        assert_eq!((head.status, head.body.len()), (200, 0), "{asked}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_an_entity_and_a_part_of_a_file_bring_their_blocks_and_no_others() {
    let all: Vec<usize> = (0..10).collect();
    let file = "/subdir/multiblock.txt";
    let bytes = |range: &str| format!("{file}?dag-scope=entity&entity-bytes={range}");
    let (middle, to, end) = (bytes("512:*"), bytes("512:1023"), bytes("512:-256"));
    let (last, before, first) = (bytes("-5:*"), bytes("-9999:-3"), bytes("0:0"));
    let beyond = bytes("0:9999");
    compare(
        MIXED,
        &[
            ("", &all),
            ("?dag-scope=block", &[0]),
            ("?dag-scope=entity", &[0]),
            ("?entity-bytes=0:5", &[0]),
            ("/subdir", &all),
            ("/subdir?dag-scope=entity", &[0, 1]),
            ("/subdir/ascii.txt", &[0, 1, 2]),
            (file, &[0, 1, 4, 5, 6, 7, 8, 9]),
            ("/subdir/multiblock.txt?dag-scope=block", &[0, 1, 4]),
            (
                "/subdir/multiblock.txt?dag-scope=entity",
                &[0, 1, 4, 5, 6, 7, 8, 9],
            ),
            (&middle, &[0, 1, 4, 7, 8, 9]),
            (&to, &[0, 1, 4, 7, 8]),
            (&end, &[0, 1, 4, 7, 8]),
            (&last, &[0, 1, 4, 8, 9]),
            (&before, &[0, 1, 4, 5, 6, 7, 8]),
            (&first, &[0, 1, 4, 5]),
            (&beyond, &[0, 1, 4, 5, 6, 7, 8, 9]),
            // No byte at all.
            ("/subdir/multiblock.txt?entity-bytes=0:-9999", &[0, 1, 4]),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_an_entity_of_one_block_and_leads_on_by_its_links() {
    compare(
        DOCUMENT,
        &[
            ("/document?dag-scope=entity", &[0, 1]),
            ("/document?entity-bytes=0:*", &[0, 1]),
            ("/document/files/single", &[0, 1, 2]),
            ("/document/files?dag-scope=block", &[0, 1]),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_in_shards_is_listed_by_its_shards_and_walked_to_a_name() {
    let (node, blocks) = keeping(SHARDS).await;
    let root = dag_pb::decode(blocks[0].bytes()).unwrap();
    let named = |node: &dag_pb::Node, name: &str| {
        let mut links = node.links.iter();
        let link = links.find(|link| link.name.as_deref() == Some(name.as_bytes()));
        link.unwrap().hash
    };
    let top = *blocks[0].cid();
    let shards = shards_from(&blocks, top);
    assert_eq!(shards.len(), 237);
    for query in ["dag-scope=entity", "entity-bytes=0:*"] {
        let reply = node.get(&format!("/ipfs/{top}?format=car&{query}")).await;
        assert_eq!(cids_of(&reply), shards);
    }
    let shard = named(&root, "04");
    let below = blocks.iter().find(|block| *block.cid() == shard).unwrap();
    let file = named(&dag_pb::decode(below.bytes()).unwrap(), "BC2.txt");
    let reply = node
        .get(&format!("/ipfs/{top}/2.txt?format=car&dag-scope=block"))
        .await;
    assert_eq!(cids_of(&reply), [top, shard, file]);
    let roots = format!("{top},{file}");
    assert_eq!(reply.header("x-ipfs-roots"), Some(roots.as_str()));
    let absent = node
        .get(&format!("/ipfs/{top}/absent.txt?format=car"))
        .await;
    absent.refused(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_is_sent_once_or_at_each_of_its_places() {
    let (node, blocks) = keeping(REPEATED).await;
    let once: Vec<Cid> = blocks.iter().map(|block| *block.cid()).collect();
    let mut each = once.clone();
    each.insert(1, once[1]);
    let path = format!("/ipfs/{}", once[0]);
    for (query, accept, expected) in [
        (
            "",
            "application/vnd.ipld.car; version=1; order=dfs; dups=y",
            &each,
        ),
        ("", "application/vnd.ipld.car;order=unk;dups=n", &once),
        ("?format=car", "application/vnd.ipld.car; dups=y", &each),
        (
            "?format=car&car-dups=y",
            "application/vnd.ipld.car; dups=n",
            &each,
        ),
        ("?format=car&car-dups=n", "*/*", &once),
    ] {
        let reply = node
            .get_with(&format!("{path}{query}"), &[("Accept", accept)])
            .await;
        assert_eq!(&cids_of(&reply), expected, "{query} {accept}");
        let dups = if expected == &each { "y" } else { "n" };
        let kind = format!("application/vnd.ipld.car; version=1; order=dfs; dups={dups}");
        assert_eq!(reply.header("content-type"), Some(kind.as_str()));
    }
    let accept = [("Accept", "application/vnd.ipld.car; dups=y")];
    let reply = node.get_with(&path, &accept).await;
    let location = format!("{path}?format=car&car-dups=y");
    assert_eq!(reply.header("content-location"), Some(location.as_str()));
    let plain = node.get(&format!("{path}?format=car")).await;
    assert_eq!(plain.header("content-location"), None);
    // What stands in the CID is never sent as a block.
    let inside = "/ipfs/bafkqaf3imvwgy3zaneqgc3janfxgy2lomvscay3jmqfa?format=car&car-dups=y";
    assert!(cids_of(&node.get(inside).await).is_empty());
    assert!(cids_of(&node.get("/ipfs/bafkqaaa?format=car").await).is_empty());
}

/// An answer that begins well and is cut off.
async fn cut_off(node: &TestNode, path: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(node.addr()).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    assert!(bytes.starts_with(b"HTTP/1.1 200 "));
    assert!(!bytes.ends_with(b"\r\n0\r\n\r\n"));
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_file_is_served_whose_other_blocks_are_missing() {
    let (node, blocks) = keeping(MISSING).await;
    let cids: Vec<Cid> = blocks.iter().map(|block| *block.cid()).collect();
    let path = format!("/ipfs/{}?format=car&dag-scope=entity", cids[0]);
    let before = node.get(&format!("{path}&entity-bytes=0:1000")).await;
    assert_eq!(cids_of(&before), cids[..2]);
    let behind = node.get(&format!("{path}&entity-bytes=2200:*")).await;
    assert_eq!(cids_of(&behind), [cids[0], cids[2]]);

    // All of it: what is before the missing block comes, and the body ends without an end.
    let bytes = cut_off(&node, &path).await;
    for block in &blocks[..2] {
        let content = block.bytes();
        assert!(bytes.windows(content.len()).any(|window| window == content));
    }
}

/// As Kubo 0.43 does it.
#[tokio::test(flavor = "multi_thread")]
async fn a_graph_ends_before_a_block_whose_links_nobody_can_read() {
    let node = TestNode::start().await;
    let [first, last] = [b"first", b"other"].map(|text| Block::new(Codec::Raw, &text[..]).unwrap());
    let opaque = cid_of(Codec::Raw, b"opaque");
    let opaque = Block::verified(Cid::new_v1(0xfa, *opaque.hash()), &b"opaque"[..]).unwrap();
    let links = [&first, &opaque, &last].map(|block| Value::from(*block.cid()));
    let root = dag_cbor::encode(&Value::List(links.into())).unwrap();
    let root = Block::new(Codec::DagCbor, root).unwrap();
    let blocks = [root, first, opaque.clone(), last.clone()];
    let path = format!("/ipfs/{}?format=car", node.keep(1, &blocks).await);
    let bytes = cut_off(&node, &path).await;
    let has = |block: &Block| {
        let content = block.bytes();
        bytes.windows(content.len()).any(|window| window == content)
    };
    assert_eq!(blocks.each_ref().map(has), [true, true, false, false]);
    // It is sent where nothing below it is asked for, and its links are refused where they are.
    let path = format!("/ipfs/{}?format=car", opaque.cid());
    for scope in ["block", "entity"] {
        let reply = node.get(&format!("{path}&dag-scope={scope}")).await;
        assert_eq!(cids_of(&reply), [*opaque.cid()], "{scope}");
    }
    node.get(&path).await.refused(422, "unreadable_links");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_entity_cannot_be_is_told() {
    let (node, blocks) = keeping(MIXED).await;
    let path = format!("/ipfs/{}", blocks[0].cid());
    let file = format!("{path}/subdir/multiblock.txt?format=car");
    for (asked, status, code) in [
        (
            format!("{file}&entity-bytes=a:b"),
            400,
            "invalid_entity_bytes",
        ),
        (
            format!("{file}&entity-bytes=5:3"),
            400,
            "invalid_entity_bytes",
        ),
        (
            format!("{file}&entity-bytes=*:5"),
            400,
            "invalid_entity_bytes",
        ),
        (
            format!("{file}&entity-bytes=1026:*"),
            400,
            "entity_bytes_outside",
        ),
        (
            format!("{file}&car-version=2"),
            400,
            "invalid_car_parameter",
        ),
        (format!("{file}&car-dups=yes"), 400, "invalid_car_parameter"),
        (format!("{path}/subdir/none?format=car"), 404, "not_found"),
        (
            format!("{path}/subdir/ascii.txt/x?format=car"),
            404,
            "not_found",
        ),
        (format!("{path}/subdir?format=raw"), 400, "path_not_served"),
        (format!("{path}?format=ipns-record"), 400, "no_record_here"),
    ] {
        let reply = node.get(&asked).await;
        assert_eq!(reply.status, status, "{asked}");
        reply.refused(status, code);
    }
    let many = "/a".repeat(300);
    let reply = node.get(&format!("{path}{many}?format=car")).await;
    reply.refused(400, "path_too_long");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_names_the_file_and_takes_only_what_is_here() {
    let (node, blocks) = keeping(MIXED).await;
    let path = format!("/ipfs/{}", blocks[0].cid());
    let only = [("Cache-Control", "max-age=5, Only-If-Cached")];
    let absent = "/ipfs/bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy";
    let name = Author::new(9).name();
    for format in ["raw", "car"] {
        let query = format!("?format={format}&filename=te%22st%D1%82.bin");
        let reply = node.get(&format!("{path}{query}")).await;
        let expected = "attachment; filename=\"te_st_.bin\"; filename*=UTF-8''te%22st%D1%82.bin";
        assert_eq!(reply.ok().header("content-disposition"), Some(expected));
        let here = node
            .get_with(&format!("{path}?format={format}"), &only)
            .await;
        assert_eq!(here.status, 200);
        let absent = node
            .get_with(&format!("{absent}?format={format}"), &only)
            .await;
        assert_eq!((absent.status, absent.body.len()), (412, 0));
    }
    let record = node
        .get_with(&format!("/ipns/{name}?format=ipns-record"), &only)
        .await;
    assert_eq!((record.status, record.body.len()), (412, 0));
    let by_accept = node
        .get_with(&path, &[("Accept", "application/vnd.ipld.raw")])
        .await;
    let location = format!("{path}?format=raw");
    assert_eq!(
        by_accept.header("content-location"),
        Some(location.as_str())
    );
    let by_default = node.get_with(&path, &[("Accept", "*/*")]).await;
    assert_eq!(by_default.header("content-location"), None);
}
