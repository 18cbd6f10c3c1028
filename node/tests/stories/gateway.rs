//! Blocks and graphs by the trustless gateway specification.

use perennis_shared::cid::{Block, Codec, cid_of};
use perennis_shared::codec::car;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::{Author, Message, TestNode, reply};

async fn published() -> (TestNode, Author, Message) {
    let node = TestNode::start().await;
    let mut author = Author::new(1);
    let message = author.publish_many(500);
    node.publish(&message).await.ok();
    (node, author, message)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_comes_with_the_headers_of_the_specification() {
    let (node, _, message) = published().await;
    let path = format!("/ipfs/{}", message.head);
    for (path, accept) in [
        (format!("{path}?format=raw"), "text/html"),
        (path.clone(), "application/vnd.ipld.raw"),
        (path.clone(), "*/*"),
    ] {
        // Once from the disk, once from memory.
        for _ in 0..2 {
            let reply = node.get_with(&path, &[("Accept", accept)]).await;
            assert_eq!(reply.ok().body, message.blocks.last().unwrap().bytes());
            let cid = message.head.to_string();
            for (name, value) in [
                ("content-type", "application/vnd.ipld.raw".to_owned()),
                ("etag", format!("\"{cid}.raw\"")),
                (
                    "cache-control",
                    "public, max-age=29030400, immutable".to_owned(),
                ),
                ("x-ipfs-roots", cid.clone()),
                ("x-ipfs-path", format!("/ipfs/{cid}")),
                ("x-content-type-options", "nosniff".to_owned()),
                (
                    "content-disposition",
                    format!("attachment; filename=\"{cid}.bin\""),
                ),
                ("access-control-allow-origin", "*".to_owned()),
            ] {
                assert_eq!(reply.header(name), Some(value.as_str()), "{name}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_request_tells_the_length_and_a_known_block_is_not_sent_again() {
    let (node, _, message) = published().await;
    let path = format!("/ipfs/{}", message.head);
    let length = message.blocks.last().unwrap().bytes().len().to_string();
    let head = node.ask("HEAD", &path, &[], b"").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some(length.as_str()));
    let etag = format!("\"{}.raw\"", message.head);
    for tags in [etag.clone(), format!("\"x\", W/{etag}"), "*".to_owned()] {
        let same = node.get_with(&path, &[("If-None-Match", &tags)]).await;
        assert_eq!((same.status, same.body.len()), (304, 0), "{tags}");
    }
    let other = node.get_with(&path, &[("If-None-Match", "\"x\"")]).await;
    assert_eq!(other.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn regions_of_a_block_are_checked_against_its_bounds() {
    let (node, _, message) = published().await;
    let path = format!("/ipfs/{}", message.head);
    let bytes = message.blocks.last().unwrap().bytes();
    let length = bytes.len();
    for (range, expected) in [
        ("bytes=0-9".to_owned(), 0..10),
        ("bytes=5-".to_owned(), 5..length),
        ("bytes=-7".to_owned(), length - 7..length),
        (format!("bytes={}-99999999", length - 1), length - 1..length),
    ] {
        let reply = node.get_with(&path, &[("Range", &range)]).await;
        assert_eq!(reply.status, 206, "{range}");
        assert_eq!(reply.body, bytes[expected.clone()]);
        let told = format!("bytes {}-{}/{length}", expected.start, expected.end - 1);
        assert_eq!(reply.header("content-range"), Some(told.as_str()));
    }
    let outside = format!("bytes={length}-");
    let reply = node.get_with(&path, &[("Range", &outside)]).await;
    reply.refused(416, "range_outside");
    let told = format!("bytes */{length}");
    assert_eq!(reply.header("content-range"), Some(told.as_str()));
    for unread in ["bytes=1-2,4-5", "lines=1-2", "bytes=9-1"] {
        let reply = node.get_with(&path, &[("Range", unread)]).await;
        assert_eq!(reply.ok().body.len(), length, "{unread}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_of_a_large_block_is_read_without_the_rest_of_it() {
    let node = TestNode::start().await;
    let content: Vec<u8> = (0..1_u32 << 20).map(|at| (at % 251) as u8).collect();
    let block = Block::new(Codec::Raw, content).unwrap();
    let path = format!("/ipfs/{}", node.keep(2, std::slice::from_ref(&block)).await);
    let length = block.bytes().len();
    // Inside a part under one sum, over the edge of two, the end, and more than answers may have uncounted.
    for part in [
        70_000..70_010,
        32_760..32_780,
        length - 5..length,
        1_000..300_000,
    ] {
        let range = format!("bytes={}-{}", part.start, part.end - 1);
        let reply = node.get_with(&path, &[("Range", &range)]).await;
        assert_eq!(reply.status, 206, "{range}");
        assert_eq!(reply.body, block.bytes()[part]);
        let etag = format!("\"{}.raw\"", block.cid());
        let headers = [("Range", range.as_str()), ("If-None-Match", etag.as_str())];
        assert_eq!(node.get_with(&path, &headers).await.status, 304);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graph_comes_as_a_car_file_that_can_be_checked() {
    let (node, author, message) = published().await;
    let path = format!("/ipfs/{}", message.head);
    let reply = node.get(&format!("{path}?format=car")).await;
    let content_type = reply.header("content-type").unwrap();
    assert_eq!(
        content_type,
        "application/vnd.ipld.car; version=1; order=dfs; dups=n"
    );
    let reader = car::Reader::new(&reply.ok().body).unwrap();
    assert_eq!(reader.header().roots, [message.head]);
    let mut got: Vec<Block> = reader.collect::<Result<_, _>>().unwrap();
    assert_eq!(*got[0].cid(), message.head);
    let mut all = author.all_blocks();
    got.sort_by_key(|block| block.cid().to_bytes());
    all.sort_by_key(|block| block.cid().to_bytes());
    assert_eq!(got, all);

    for scope in ["block", "entity"] {
        let accept = [(
            "Accept",
            "application/vnd.ipld.car;version=1;order=dfs;dups=n",
        )];
        let reply = node
            .get_with(&format!("{path}?dag-scope={scope}"), &accept)
            .await;
        let got: Result<Vec<Block>, _> = car::Reader::new(&reply.ok().body).unwrap().collect();
        assert_eq!(got.unwrap().len(), 1, "{scope}");
    }
    let etag = reply.header("etag").unwrap().to_owned();
    let same = node
        .get_with(&format!("{path}?format=car"), &[("If-None-Match", &etag)])
        .await;
    assert_eq!(same.status, 304);
    let head = node
        .ask("HEAD", &format!("{path}?format=car"), &[], b"")
        .await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_served_is_told() {
    let (node, _, message) = published().await;
    let absent = cid_of(Codec::Raw, b"nobody has this");
    for (path, status, code) in [
        (format!("/ipfs/{absent}"), 404, "not_found"),
        ("/ipfs/nonsense".to_owned(), 400, "invalid_cid"),
        (
            format!("/ipfs/{}/path", message.head),
            400,
            "path_not_served",
        ),
        (
            format!("/ipfs/{}?format=tar", message.head),
            406,
            "not_acceptable",
        ),
        (
            format!("/ipfs/{}?format=car&dag-scope=half", message.head),
            400,
            "invalid_scope",
        ),
        ("/ipfs/%zz".to_owned(), 400, "invalid_path"),
        ("/nothing/here".to_owned(), 404, "not_found"),
    ] {
        node.get(&path).await.refused(status, code);
    }
    // A hash that can be forged is not served, whatever is asked for.
    let sha1 = "bafkrcfaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let reply = node.get(&format!("/ipfs/{sha1}")).await;
    assert_eq!(reply.status, 400);
    let reply = node
        .get_with(
            &format!("/ipfs/{}", message.head),
            &[("Accept", "text/html")],
        )
        .await;
    reply.refused(406, "not_acceptable");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_says_in_which_format_it_wants_the_answer() {
    let (node, _, message) = published().await;
    let path = format!("/ipfs/{}", message.head);
    for (query, status) in [("", 400), ("?format=raw", 200), ("?format=car", 200)] {
        let mut stream = TcpStream::connect(node.addr()).await.unwrap();
        let head = format!("GET {path}{query} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let reply = reply(stream, false).await.unwrap();
        assert_eq!(reply.status, status, "{query}");
        if status == 400 {
            reply.refused(400, "format_missing");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn content_inside_a_cid_is_served_from_it() {
    let node = TestNode::start().await;
    let reply = node.get("/ipfs/bafkqabtimvwgy3yk").await;
    assert_eq!(reply.ok().body, b"hello\n"[..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_rots_on_the_disk_is_never_served() {
    let (node, _, message) = published().await;
    let block = message.blocks.last().unwrap();
    let dir = node.dir.path().join("segments");
    node.node.shutdown().await;
    for entry in std::fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        let mut file = std::fs::read(&path).unwrap();
        if let Some(at) = file
            .windows(block.bytes().len())
            .position(|window| window == block.bytes())
        {
            file[at + 10] ^= 1;
            std::fs::write(&path, file).unwrap();
        }
    }
    let running = perennis_node::app::RunningNode::start(crate::support::config(node.dir.path()))
        .await
        .unwrap();
    let again = TestNode {
        dir: node.dir,
        node: running,
    };
    let path = format!("/ipfs/{}", message.head);
    // Whether a reader finds the damage or the pin scan was faster: the bytes are not served.
    let first = again.get(&path).await;
    assert!(matches!(first.status, 404 | 500), "{}", first.status);
    assert!(matches!(
        first.code().as_str(),
        "not_found" | "corrupt_block"
    ));
    // It was set aside, and the publisher can send it again.
    again.eventually(&path, |reply| reply.status == 404).await;
    again.publish(&message).await.ok();
    assert_eq!(again.get(&path).await.ok().body, block.bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_read_percent_encoded_or_not() {
    let (node, _, message) = published().await;
    let path = format!("/ipfs/{}", message.head);
    for query in [
        "format=car&dag-scope=block",
        "%66ormat=car&dag%2Dscope=block",
        "format=%63ar&dag-scope=bl%6Fck",
        "%zz=1&format=car&dag-scope=block",
    ] {
        let reply = node.get(&format!("{path}?{query}")).await;
        let sent = reply.header("content-type").unwrap_or_default();
        assert!(sent.starts_with("application/vnd.ipld.car"), "{query}");
        let blocks: Result<Vec<Block>, _> = car::Reader::new(&reply.ok().body).unwrap().collect();
        assert_eq!(blocks.unwrap().len(), 1, "{query}");
    }
    node.get(&format!("{path}?format=%zz"))
        .await
        .refused(400, "invalid_query");
}
