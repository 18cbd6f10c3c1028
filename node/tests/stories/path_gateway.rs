//! Files, directories and documents by the path gateway specification, on the listener that is for browsers.

use std::net::SocketAddr;
use std::time::Duration;

use perennis_shared::cid::{Block, Cid, Codec, cid_of};
use perennis_shared::codec::{Value, car, dag_cbor, dag_json};
use perennis_shared::time::Millis;

use crate::support::unixfs::{directory, file, large_file, raw, shard};
use crate::support::{Author, DAY, Reply, TestNode, ask};

mod lies;

const IMMUTABLE: &str = "public, max-age=29030400, immutable";
const BROWSER: [(&str, &str); 1] = [("Accept", "text/html,application/xml;q=0.9,*/*;q=0.8")];

/// A node with a path gateway.
async fn started() -> TestNode {
    TestNode::with(|config| {
        config.http.gateway_listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    })
    .await
}

async fn get(node: &TestNode, path: &str, headers: &[(&str, &str)]) -> Reply {
    let gateway = node.node.gateway_addr().unwrap();
    ask(gateway, "GET", path, headers, b"").await
}

async fn head(node: &TestNode, path: &str) -> Reply {
    let gateway = node.node.gateway_addr().unwrap();
    ask(gateway, "HEAD", path, &[], b"").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_comes_by_its_path_as_it_is() {
    let node = started().await;
    let page = raw("<p>hello</p>\n");
    let text = file(b"plain words\n", &[]);
    let folder = directory(&[("a b.html", &page), ("notes", &text)]);
    let root = directory(&[("f", &folder)]);
    let blocks = [root.clone(), folder.clone(), page.clone(), text.clone()];
    node.keep(1, &blocks).await;
    let path = format!("/ipfs/{}/f", root.cid());
    let reply = get(&node, &format!("{path}/a%20b.html"), &BROWSER).await;
    assert_eq!(reply.ok().body, page.bytes());
    let roots = format!("{},{},{}", root.cid(), folder.cid(), page.cid());
    let (tag, asked) = (format!("\"{}\"", page.cid()), format!("{path}/a%20b.html"));
    for (name, value) in [
        ("content-type", "text/html"),
        ("content-length", "13"),
        ("etag", &tag),
        ("cache-control", IMMUTABLE),
        ("x-ipfs-path", &asked),
        ("x-ipfs-roots", &roots),
        ("accept-ranges", "bytes"),
        ("x-content-type-options", "nosniff"),
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", "GET, HEAD, OPTIONS"),
    ] {
        assert_eq!(reply.header(name), Some(value), "{name}");
    }
    assert_eq!(reply.header("content-disposition"), None);
    // What its scripts share with other content is nothing.
    let policy = reply.header("content-security-policy").unwrap();
    assert!(policy.starts_with("sandbox ") && !policy.contains("same-origin"));

    let reply = get(&node, &format!("{path}/notes"), &[]).await;
    assert_eq!(reply.ok().body, b"plain words\n"[..]);
    assert_eq!(
        reply.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    let seen = head(&node, &format!("{path}/notes")).await;
    assert_eq!((seen.status, seen.body.len()), (200, 0));
    assert_eq!(seen.header("content-length"), Some("12"));

    for (query, disposition, media_type) in [
        (
            "?filename=x.json",
            Some("inline; filename=\"x.json\""),
            "application/json",
        ),
        (
            "?download=true",
            Some("attachment; filename=\"notes\""),
            "text/plain; charset=utf-8",
        ),
        (
            "?download=true&filename=%C3%BC.png",
            Some("attachment; filename=\"_.png\"; filename*=UTF-8''%C3%BC.png"),
            "image/png",
        ),
        ("?download=false", None, "text/plain; charset=utf-8"),
    ] {
        let reply = get(&node, &format!("{path}/notes{query}"), &[]).await;
        assert_eq!(reply.header("content-disposition"), disposition, "{query}");
        assert_eq!(reply.header("content-type"), Some(media_type), "{query}");
    }
    let tag = format!("\"{}\"", text.cid());
    for tags in [tag.clone(), format!("\"x\", W/{tag}"), "*".to_owned()] {
        let same = get(&node, &format!("{path}/notes"), &[("If-None-Match", &tags)]).await;
        assert_eq!((same.status, same.body.len()), (304, 0), "{tags}");
        assert_eq!(same.header("etag"), Some(tag.as_str()));
        assert_eq!(same.header("cache-control"), Some(IMMUTABLE));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_many_blocks_is_sent_whole_and_in_ranges() {
    let node = started().await;
    let (content, blocks) = large_file();
    let path = format!("/ipfs/{}", node.keep(1, &blocks).await);
    let whole = get(&node, &path, &[]).await;
    assert!(whole.ok().body == content[..], "{} bytes", whole.body.len());
    assert_eq!(whole.header("content-length"), Some("700000"));
    assert_eq!(
        whole.header("content-type"),
        Some("application/octet-stream")
    );
    let seen = head(&node, &path).await;
    assert_eq!(seen.header("content-length"), Some("700000"));
    let last = content.len();
    for (range, expected) in [
        ("bytes=0-0", 0..1),
        ("bytes=1-4", 1..5),
        ("bytes=99999-100010", 99_999..100_011),
        ("bytes=250000-650000", 250_000..650_001),
        ("bytes=600000-", 600_000..last),
        ("bytes=-7", last - 7..last),
        ("bytes=0-99999999", 0..last),
        // Of several the first.
        ("bytes=5-9, 100-200", 5..10),
    ] {
        let reply = get(&node, &path, &[("Range", range)]).await;
        assert_eq!(reply.status, 206, "{range}");
        assert!(reply.body == content[expected.clone()], "{range}");
        let told = format!("bytes {}-{}/{last}", expected.start, expected.end - 1);
        assert_eq!(reply.header("content-range"), Some(told.as_str()));
    }
    let outside = get(&node, &path, &[("Range", "bytes=700000-")]).await;
    outside.refused(416, "range_outside");
    assert_eq!(outside.header("content-range"), Some("bytes */700000"));
    let tag = whole.header("etag").unwrap();
    for (if_range, status) in [(tag, 206), ("\"another\"", 200)] {
        let headers = [("Range", "bytes=1-4"), ("If-Range", if_range)];
        assert_eq!(get(&node, &path, &headers).await.status, status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_listed_or_shows_its_own_page() {
    let node = started().await;
    let note = raw("words");
    let inner = directory(&[("x<y>.txt", &note), ("\u{105}", &note)]);
    let page = raw("<h1>mine</h1>");
    let site = directory(&[("index.html", &page), ("note", &note)]);
    let root = directory(&[("in ner", &inner), ("site", &site)]);
    let blocks = [
        root.clone(),
        inner.clone(),
        site.clone(),
        note.clone(),
        page,
    ];
    node.keep(1, &blocks).await;
    let path = format!("/ipfs/{}", root.cid());
    for (asked, location) in [
        (path.clone(), format!("{path}/")),
        (
            format!("{path}/in%20ner?download=false&x=%26"),
            format!("{path}/in%20ner/?download=false&x=%26"),
        ),
        (format!("{path}/site"), format!("{path}/site/")),
    ] {
        let reply = get(&node, &asked, &[]).await;
        assert_eq!((reply.status, reply.body.len()), (301, 0), "{asked}");
        assert_eq!(reply.header("location"), Some(location.as_str()));
    }
    let reply = get(&node, &format!("{path}/in%20ner/"), &[]).await;
    let listed = String::from_utf8(reply.ok().body.to_vec()).unwrap();
    for part in [
        "Index of /ipfs/<a href=",
        &format!("<a href=\"{path}/in%20ner/x%3Cy%3E.txt\">x&lt;y&gt;.txt</a>"),
        &format!("<a href=\"{path}/in%20ner/%C4%85\">\u{105}</a>"),
        &format!("<a href=\"{path}/in%20ner/..\">..</a>"),
        "</html>",
    ] {
        assert!(listed.contains(part), "{part}: {listed}");
    }
    let tag = reply.header("etag").unwrap();
    let is_of_listing =
        tag.starts_with("\"DirIndex-") && tag.ends_with(&format!("_CID-{}\"", inner.cid()));
    assert!(is_of_listing, "{tag}");
    let control = "public, max-age=604800, stale-while-revalidate=2678400";
    assert_eq!(reply.header("cache-control"), Some(control));
    let roots = format!("{},{}", root.cid(), inner.cid());
    assert_eq!(reply.header("x-ipfs-roots"), Some(roots.as_str()));
    let policy = reply.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'"));
    let same = get(
        &node,
        &format!("{path}/in%20ner/"),
        &[("If-None-Match", tag)],
    )
    .await;
    assert_eq!(
        (same.status, same.header("cache-control")),
        (304, Some(control))
    );
    let seen = head(&node, &format!("{path}/in%20ner/")).await;
    assert_eq!((seen.status, seen.body.len()), (200, 0));

    let reply = get(&node, &format!("{path}/site/"), &[("Range", "bytes=4-7")]).await;
    assert_eq!((reply.status, &reply.body[..]), (206, &b"mine"[..]));
    assert_eq!(reply.header("content-type"), Some("text/html"));
    let tag = format!("\"{}\"", site.cid());
    assert_eq!(reply.header("etag"), Some(tag.as_str()));
    assert_eq!(reply.header("cache-control"), Some(IMMUTABLE));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_in_shards_is_listed_whole() {
    let node = started().await;
    let note = raw("words");
    let entries: Vec<String> = (0..200).map(|at| format!("AAname {at}")).collect();
    let entries: Vec<(&str, &Block)> = entries.iter().map(|name| (&**name, &note)).collect();
    let lower = shard(&entries);
    let upper = shard(&[("04", &lower), ("05other", &note)]);
    let path = format!("/ipfs/{}/", node.keep(1, &[upper, lower, note]).await);
    let reply = get(&node, &path, &[]).await;
    let listed = String::from_utf8(reply.ok().body.to_vec()).unwrap();
    for at in 0..200 {
        assert!(listed.contains(&format!(">name {at}</a>")), "{at}");
    }
    assert!(listed.contains(">other</a>"));
    assert_eq!(listed.matches("<tr>").count(), 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_sent_as_it_is_or_shown_to_a_person() {
    let node = started().await;
    let leaf = raw("leaf");
    let value = Value::map([
        ("link", Value::from(*leaf.cid())),
        ("text", Value::from("<b>")),
    ]);
    let cbor = Block::new(Codec::DagCbor, dag_cbor::encode(&value).unwrap()).unwrap();
    let json = dag_json::encode_bytes(&value).unwrap();
    let json = Block::new(Codec::DagJson, json).unwrap();
    node.keep(1, &[cbor.clone(), leaf.clone()]).await;
    node.keep(2, &[json.clone(), leaf.clone()]).await;
    for (block, name, plain, disposition) in [
        (&cbor, "dag-cbor", "cbor", "attachment"),
        (&json, "dag-json", "json", "inline"),
    ] {
        let path = format!("/ipfs/{}", block.cid());
        let own = format!("application/vnd.ipld.{name}");
        let plain_type = format!("application/{plain}");
        for (query, accept, media_type) in [
            ("", "*/*", &own),
            (&*format!("?format={name}"), "text/html", &own),
            (&*format!("?format={plain}"), "*/*", &plain_type),
            ("", &own, &own),
            ("", &plain_type, &plain_type),
        ] {
            let reply = get(&node, &format!("{path}{query}"), &[("Accept", accept)]).await;
            assert_eq!(reply.ok().body, block.bytes(), "{query} {accept}");
            assert_eq!(reply.header("content-type"), Some(media_type.as_str()));
            let named = format!("{disposition}; filename=\"{}.{plain}\"", block.cid());
            assert_eq!(reply.header("content-disposition"), Some(named.as_str()));
        }
        let accept = [("Accept", &*own)];
        let reply = get(&node, &path, &accept).await;
        let location = format!("{path}?format={name}");
        assert_eq!(reply.header("content-location"), Some(location.as_str()));
        let tag = format!("\"{}.{name}\"", block.cid());
        assert_eq!(reply.header("etag"), Some(tag.as_str()));
        let part = get(&node, &path, &[("Range", "bytes=1-3")]).await;
        assert_eq!((part.status, &part.body[..]), (206, &block.bytes()[1..4]));

        let reply = get(&node, &path, &BROWSER).await;
        assert_eq!(reply.status, 301);
        let reply = get(&node, &format!("{path}/"), &BROWSER).await;
        let page = String::from_utf8(reply.ok().body.to_vec()).unwrap();
        let link = format!("href=\"/ipfs/{}\"", leaf.cid());
        for part in ["&lt;b&gt;", &link, "</html>"] {
            assert!(page.contains(part), "{page}");
        }
        assert_eq!(
            reply.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        assert!(reply.header("etag").unwrap().starts_with("\"DagIndex-"));
        assert_eq!(reply.header("content-disposition"), None);

        let other = if name == "dag-cbor" {
            "dag-json"
        } else {
            "dag-cbor"
        };
        get(&node, &format!("{path}?format={other}"), &[])
            .await
            .refused(406, "not_acceptable");
        get(&node, &format!("{path}/text"), &[])
            .await
            .refused(501, "path_inside_document");
        let leaf = get(&node, &format!("{path}/link"), &[]).await;
        assert_eq!(leaf.ok().body, b"leaf"[..]);
        get(&node, &format!("{path}/none"), &[])
            .await
            .refused(404, "not_found");
    }
    // A file is taken as JSON where it is some.
    let data = raw("{\"a\": 1}");
    let words = raw("words");
    node.keep(3, std::slice::from_ref(&data)).await;
    node.keep(4, std::slice::from_ref(&words)).await;
    let accept = [("Accept", "application/json")];
    let reply = get(&node, &format!("/ipfs/{}", data.cid()), &accept).await;
    assert_eq!(reply.ok().header("content-type"), Some("application/json"));
    let path = format!("/ipfs/{}", words.cid());
    get(&node, &path, &accept)
        .await
        .refused(406, "not_acceptable");
    let accept = [("Accept", "application/json, */*")];
    assert_eq!(get(&node, &path, &accept).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_and_graphs_are_served_as_by_the_trustless_gateway() {
    let node = started().await;
    let note = raw("words");
    let root = directory(&[("note", &note)]);
    node.keep(1, &[root.clone(), note.clone()]).await;
    let path = format!("/ipfs/{}/note", root.cid());
    let reply = get(&node, &format!("{path}?format=raw"), &[]).await;
    assert_eq!(reply.ok().body, b"words"[..]);
    let roots = format!("{},{}", root.cid(), note.cid());
    assert_eq!(reply.header("x-ipfs-roots"), Some(roots.as_str()));
    let named = format!("attachment; filename=\"{}.bin\"", note.cid());
    assert_eq!(reply.header("content-disposition"), Some(named.as_str()));
    let accept = [("Accept", "application/vnd.ipld.car; dups=y")];
    let reply = get(&node, &path, &accept).await;
    let blocks: Result<Vec<Block>, _> = car::Reader::new(&reply.ok().body).unwrap().collect();
    assert_eq!(blocks.unwrap(), [root, note]);
    let kind = "application/vnd.ipld.car; version=1; order=dfs; dups=y";
    assert_eq!(reply.header("content-type"), Some(kind));
    get(&node, &format!("{path}?format=tar"), &[])
        .await
        .refused(406, "not_acceptable");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_shows_what_it_points_at() {
    let node = started().await;
    let note = raw("words");
    let inner = directory(&[("note", &note)]);
    let root = directory(&[("in", &inner)]);
    node.keep(1, &[root.clone(), inner.clone(), note.clone()])
        .await;
    let (first, second) = (Author::new(1).name(), Author::new(2).name());
    let end = Millis(perennis_rt::now().0 + DAY.as_millis() as u64);
    let points = [
        (2, format!("/ipfs/{}/in", root.cid())),
        (3, format!("/ipns/{first}/in")),
        (4, "/ipns/docs.example.org".to_owned()),
        (5, format!("/ipns/{}", Author::new(5).name())),
    ];
    // 32 names lead to the first one's content, and a 33rd leads to them.
    let chain = (99..131).map(|at| (at, format!("/ipns/{}", Author::new(at + 1).name())));
    let end_of_chain = (131, format!("/ipfs/{}/in", root.cid()));
    for (author, value) in points
        .iter()
        .chain(&chain.chain([end_of_chain]).collect::<Vec<_>>())
    {
        let author = Author::new(*author);
        let record = author.record_until(value, 1, end);
        let path = format!("/routing/v1/ipns/{}", author.name());
        let headers = [("Content-Type", "application/vnd.ipfs.ipns-record")];
        node.ask("PUT", &path, &headers, record.bytes()).await.ok();
    }
    for (author, path) in [(1, "/in/note"), (2, "/note"), (3, "/note"), (100, "/note")] {
        let path = format!("/ipns/{}{path}", Author::new(author).name());
        let reply = get(&node, &path, &[]).await;
        assert_eq!(reply.ok().body, b"words"[..], "{path}");
        assert_eq!(reply.header("x-ipfs-path"), Some(path.as_str()));
        let roots = format!("{},{},{}", root.cid(), inner.cid(), note.cid());
        assert_eq!(reply.header("x-ipfs-roots"), Some(roots.as_str()));
        let control = reply.header("cache-control").unwrap();
        assert_eq!(control, "public, max-age=300");
    }
    let listing = get(&node, &format!("/ipns/{second}/"), &[]).await;
    let control = "public, max-age=300, stale-while-revalidate=2678400";
    assert_eq!(listing.ok().header("cache-control"), Some(control));
    let raw = get(&node, &format!("/ipns/{second}/note?format=raw"), &[]).await;
    assert_eq!(
        raw.ok().header("cache-control"),
        Some("public, max-age=300")
    );
    let record = get(&node, &format!("/ipns/{second}?format=ipns-record"), &[]).await;
    let kind = Some("application/vnd.ipfs.ipns-record");
    assert_eq!(record.ok().header("content-type"), kind);

    let other_text = format!("/ipns/{}/note?x=1", second.peer_id());
    let reply = get(&node, &other_text, &[]).await;
    let location = format!("/ipns/{second}/note?x=1");
    assert_eq!(
        (reply.status, reply.header("location")),
        (302, Some(location.as_str()))
    );
    let nobody = Author::new(9).name();
    let reply = get(&node, &format!("/ipns/{nobody}"), &[]).await;
    reply.refused(502, "unresolved_name");
    assert!(reply.header("retry-after").is_some());
    let only = [("Cache-Control", "only-if-cached")];
    assert_eq!(
        get(&node, &format!("/ipns/{nobody}"), &only).await.status,
        412
    );
    for (path, status, code) in [
        (
            format!("/ipns/{}", Author::new(4).name()),
            501,
            "dnslink_not_followed",
        ),
        (
            format!("/ipns/{}", Author::new(5).name()),
            422,
            "name_cycle",
        ),
        (
            format!("/ipns/{}", Author::new(99).name()),
            422,
            "name_chain_too_long",
        ),
        (
            "/ipns/en.wikipedia-on-ipfs.org/wiki".to_owned(),
            501,
            "dnslink_not_followed",
        ),
        ("/ipns/nonsense".to_owned(), 400, "invalid_name"),
    ] {
        get(&node, &path, &[]).await.refused(status, code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_off_unless_set_and_changes_nothing() {
    let off = TestNode::start().await;
    assert_eq!(off.node.gateway_addr(), None);
    let node = started().await;
    let gateway = node.node.gateway_addr().unwrap();
    let note = raw("words");
    let path = format!("/ipfs/{}", node.keep(1, &[note]).await);
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let reply = ask(gateway, method, &path, &[], b"").await;
        reply.refused(405, "method_not_allowed");
        assert_eq!(reply.header("allow"), Some("GET, HEAD, OPTIONS"));
    }
    let preflight = ask(gateway, "OPTIONS", &path, &[], b"").await;
    assert_eq!(preflight.status, 204);
    let methods = preflight.header("access-control-allow-methods");
    assert_eq!(methods, Some("GET, HEAD, OPTIONS"));
    for path in [
        "/",
        "/v1/status",
        "/metrics",
        "/v1/names",
        "/routing/v1/ipns/k51",
    ] {
        for method in ["GET", "PUT", "POST"] {
            let reply = ask(gateway, method, path, &[], b"").await;
            assert_eq!(reply.status, 404, "{method} {path}");
        }
    }
    // And the other listener shows no page of a stranger.
    node.get_with(&path, &BROWSER).await.ok();
    let reply = node.get_with(&path, &[("Accept", "text/html")]).await;
    reply.refused(406, "not_acceptable");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_is_told_in_a_page_what_cannot_be_shown() {
    let node = started().await;
    let absent = cid_of(Codec::Raw, b"nobody has this");
    let other = Cid::new_v1(0x0090, *absent.hash());
    let note = raw("words");
    let root = directory(&[("note", &note)]);
    node.keep(1, &[root.clone(), note]).await;
    for (path, status, code) in [
        (format!("/ipfs/{absent}"), 404, "not_found"),
        (format!("/ipfs/{other}"), 406, "not_acceptable"),
        (format!("/ipfs/{}/none/x", root.cid()), 404, "not_found"),
        ("/ipfs/nonsense/x".to_owned(), 400, "invalid_cid"),
        (
            format!("/ipfs/{}?format=ipns-record", root.cid()),
            400,
            "no_record_here",
        ),
        (
            format!("/ipfs/{}?format=dag-json", root.cid()),
            406,
            "not_acceptable",
        ),
    ] {
        get(&node, &path, &[]).await.refused(status, code);
        let reply = get(&node, &path, &BROWSER).await;
        assert_eq!(reply.status, status, "{path}");
        let page = String::from_utf8(reply.body.to_vec()).unwrap();
        assert!(page.starts_with("<!DOCTYPE html>"), "{page}");
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        assert!(reply.header("content-security-policy").is_some());
    }
    let only = [("Cache-Control", "only-if-cached")];
    let reply = get(&node, &format!("/ipfs/{absent}"), &only).await;
    assert_eq!((reply.status, reply.body.len()), (412, 0));
    let worker = [("Service-Worker", "script")];
    let path = format!("/ipfs/{}/note", root.cid());
    get(&node, &path, &worker)
        .await
        .refused(400, "service_worker");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_browser_holds_no_more_than_its_share() {
    use tokio::io::AsyncWriteExt as _;
    let node = TestNode::with(|config| {
        config.http.gateway_listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        config.http.answer_memory_bytes = 8 << 20;
        config.http.idle_timeout = Duration::from_millis(200);
    })
    .await;
    let (content, blocks) = large_file();
    let path = format!("/ipfs/{}", node.keep(1, &blocks).await);
    let gateway = node.node.gateway_addr().unwrap();
    let mut slow = Vec::new();
    for _ in 0..64 {
        let mut stream = tokio::net::TcpStream::connect(gateway).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    let reply = get(&node, &path, &[]).await;
    assert!(reply.ok().body == content[..]);
}
