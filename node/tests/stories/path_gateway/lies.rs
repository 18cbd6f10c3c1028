//! What blocks say that is not so, and what is missing: told, and never sent as if it were whole.

use std::net::SocketAddr;

use perennis_shared::cid::{Block, Cid, Codec};
use perennis_shared::codec::dag_pb;

use super::{get, head, started};
use crate::support::unixfs::{directory, file, raw, shard};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_file_lacks_or_lies_about_is_never_sent_as_whole() {
    let node = started().await;
    let [one, two, three] = [1, 2, 3].map(|byte| raw(vec![byte; 70_000]));
    let part = |block| (block, 70_000);
    let lacking = file(b"", &[part(&one), part(&two), part(&three)]);
    let path = format!(
        "/ipfs/{}",
        node.keep(1, &[lacking, one.clone(), three.clone()]).await
    );
    for range in ["bytes=10-20", "bytes=69990-69999", "bytes=140000-209999"] {
        let reply = get(&node, &path, &[("Range", range)]).await;
        assert_eq!(reply.status, 206, "{range}");
    }
    let gateway = node.node.gateway_addr().unwrap();
    // The first block is there; what begins in one that is not is refused.
    let missing = get(&node, &path, &[("Range", "bytes=70000-70001")]).await;
    missing.refused(404, "not_found");
    assert!(cut_off(gateway, &path).await < 210_000);
    let lying = |sizes: [u64; 2]| file(b"", &[(&one, sizes[0]), (&three, sizes[1])]);
    // What is seen before anything is sent is refused; behind that the connection is broken off.
    for (author, sizes) in [
        (2, [70_001, 70_000]),
        (3, [69_999, 70_000]),
        (4, [0, 70_000]),
        (5, [0, 0]),
        (6, [u64::MAX, u64::MAX]),
        (7, [70_000, u64::MAX - 70_000]),
    ] {
        let blocks = [lying(sizes), one.clone(), three.clone()];
        let path = format!("/ipfs/{}", node.keep(author, &blocks).await);
        let reply = get(&node, &path, &[]).await;
        reply.refused(422, "unreadable_links");
        assert_eq!(head(&node, &path).await.status, 422, "{sizes:?}");
    }
    for (author, sizes) in [(8, [70_000, 1 << 40]), (9, [70_000, 0])] {
        let blocks = [lying(sizes), one.clone(), three.clone()];
        let path = format!("/ipfs/{}", node.keep(author, &blocks).await);
        assert_eq!(cut_off(gateway, &path).await, 70_000, "{sizes:?}");
    }
    // Without sizes nothing is known of it.
    let without = file(b"", &[(&one, 70_000)]);
    let mut bare = dag_pb::decode(without.bytes()).unwrap();
    bare.data = Some(vec![8, 2]);
    let bare = Block::new(Codec::DagPb, dag_pb::encode(&bare).unwrap()).unwrap();
    let path = format!("/ipfs/{}", node.keep(10, &[bare, one]).await);
    get(&node, &path, &[])
        .await
        .refused(422, "unreadable_links");
}

/// 61 nodes of two links each to the one below, and nothing at the end: 2⁶¹ ways that hold no byte.
#[tokio::test(flavor = "multi_thread")]
async fn a_small_file_of_lies_is_refused_at_its_first_one() {
    let node = started().await;
    let mut blocks = vec![raw("")];
    for _ in 0..61 {
        let below = blocks.last().unwrap();
        blocks.push(file(b"", &[(below, 5), (below, 5)]));
    }
    blocks.reverse();
    let path = format!("/ipfs/{}", node.keep(1, &blocks).await);
    for headers in [&[][..], &[("Range", "bytes=9-")], &[("Range", "bytes=4-6")]] {
        let reply = get(&node, &path, headers).await;
        reply.refused(422, "unreadable_links");
        let told = String::from_utf8_lossy(&reply.body).into_owned();
        assert!(told.contains("10 bytes of the file"), "{told}");
    }
    // Levels that say the truth end as well.
    let mut chain = vec![raw("0123456789")];
    for _ in 0..200 {
        chain.push(file(b"", &[(chain.last().unwrap(), 10)]));
    }
    chain.reverse();
    let path = format!("/ipfs/{}", node.keep(2, &chain).await);
    let reply = get(&node, &path, &[]).await;
    reply.refused(422, "unreadable_links");
}

/// How many bytes of a body came before it was cut off.
async fn cut_off(gateway: SocketAddr, path: &str) -> u64 {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(gateway).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    assert!(bytes.starts_with(b"HTTP/1.1 200 "));
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    (bytes.len() - end.unwrap() - 4) as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_directory_lacks_is_refused_or_said_in_its_page() {
    let node = started().await;
    let note = raw("words");
    let path = |root: Cid| format!("/ipfs/{root}/");
    let absent = shard(&[("07lost", &note)]);
    let of_absent = shard(&[("04", &absent), ("05other", &note)]);
    let of_file = shard(&[("04", &note)]);
    for (author, root, kept, status, code) in [
        (1, &of_absent, vec![note.clone()], 404, "not_found"),
        (2, &of_file, vec![note.clone()], 422, "unreadable_links"),
    ] {
        let blocks: Vec<Block> = [root.clone()].into_iter().chain(kept).collect();
        let path = path(node.keep(author, &blocks).await);
        get(&node, &path, &[]).await.refused(status, code);
        assert_eq!(head(&node, &path).await.status, status);
    }
    // Behind the first part the rest is listed, and what is missing is named.
    let entries: Vec<String> = (0..400).map(|at| format!("AAname {at}")).collect();
    let entries: Vec<(&str, &Block)> = entries.iter().map(|name| (&**name, &note)).collect();
    let many = shard(&entries);
    let last = shard(&[("0Alast one", &note)]);
    let root = shard(&[("04", &many), ("05", &absent), ("06", &last)]);
    let path = path(node.keep(3, &[root, many, last, note]).await);
    let listed = get(&node, &path, &[]).await.ok().body.to_vec();
    let listed = String::from_utf8(listed).unwrap();
    let told = format!("block {} of the directory is not here", absent.cid());
    for part in [&*told, ">name 399</a>", ">last one</a>", "</html>"] {
        assert!(listed.contains(part), "{part}: {listed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_no_text_hides_no_other() {
    let node = started().await;
    let note = raw("words");
    let mut root = dag_pb::decode(directory(&[("a.html", &note), ("b", &note)]).bytes()).unwrap();
    root.links[1].name = Some(vec![0xff]);
    let root = Block::new(Codec::DagPb, dag_pb::encode(&root).unwrap()).unwrap();
    let block = format!("/ipfs/{}", note.cid());
    let path = format!("/ipfs/{}", node.keep(1, &[root, note]).await);
    let reply = get(&node, &format!("{path}/a.html"), &[]).await;
    assert_eq!(reply.ok().body, b"words"[..]);
    let reply = get(&node, &format!("{path}/"), &[]).await;
    let listed = String::from_utf8(reply.ok().body.to_vec()).unwrap();
    let link = format!("<a href=\"{block}\">%FF</a>");
    assert!(listed.contains(&link), "{listed}");
    let entity = format!("{path}?format=car&dag-scope=entity");
    get(&node, &entity, &[]).await.ok();
}
