//! Records by the routing and the gateway specification.

use perennis_node::config::AllowedOrigins;

use crate::support::{Author, DAY, TestNode};

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_put_and_found_under_every_spelling_of_its_name() {
    let node = TestNode::start().await;
    let message = Author::new(1).publish(&[("@alice", "friend")]);
    node.put_record(&message).await.ok();
    let name = message.name;
    let spellings = [name.to_string(), name.to_cid().to_string(), name.peer_id()];
    for spelling in spellings {
        let reply = node.get(&format!("/routing/v1/ipns/{spelling}")).await;
        assert_eq!(reply.ok().body, message.record.bytes());
        let content_type = reply.header("content-type").unwrap();
        assert_eq!(content_type, "application/vnd.ipfs.ipns-record");
        let reply = node
            .get(&format!("/ipns/{spelling}?format=ipns-record"))
            .await;
        assert_eq!(reply.ok().body, message.record.bytes());
    }
    // Nobody has sent the blocks yet.
    let status = node.get(&format!("/v1/names/{name}")).await.ok().json();
    assert_ne!(status["pin"], "pinned");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_record_is_200_of_another_type_for_routers_and_404_for_gateways() {
    let node = TestNode::start().await;
    let name = Author::new(1).name();
    let reply = node.get(&format!("/routing/v1/ipns/{name}")).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.code(), "not_found");
    assert_eq!(reply.header("cache-control"), Some("public, max-age=5"));
    node.get(&format!("/ipns/{name}?format=ipns-record"))
        .await
        .refused(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn caches_keep_a_record_no_longer_than_its_ttl_and_its_end() {
    let node = TestNode::start().await;
    let author = Author::new(1);
    let mut message = Author::new(1).publish(&[("@alice", "friend")]);
    let path = format!("/routing/v1/ipns/{}", message.name);
    let max_age = |reply: &crate::support::Reply| -> u64 {
        let header = reply.header("cache-control").unwrap();
        let rest = header.strip_prefix("public, max-age=").unwrap();
        let (seconds, rest) = rest.split_once(',').unwrap();
        // Until its end it may be given while a newer one is asked for, and while nobody answers.
        let left = rest.trim().strip_prefix("stale-while-revalidate=").unwrap();
        let (left, error) = left.split_once(", stale-if-error=").unwrap();
        assert_eq!(left, error);
        assert!(left.parse::<u64>().unwrap() <= 90 * DAY.as_secs());
        for date in ["expires", "last-modified"] {
            assert!(reply.header(date).unwrap().ends_with(" GMT"), "{date}");
        }
        assert_eq!(reply.header("vary"), Some("Accept"));
        // It is kept here, and not heard of others some time ago.
        assert_eq!(reply.header("age"), None);
        seconds.parse().unwrap()
    };
    node.put_record(&message).await.ok();
    assert_eq!(max_age(node.get(&path).await.ok()), 300);
    message.record = author.record(message.head, 2, DAY / 1_440);
    node.put_record(&message).await.ok();
    assert!(max_age(node.get(&path).await.ok()) <= 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_the_record_is_told_so() {
    let node = TestNode::start().await;
    let mut author = Author::new(1);
    let first = author.publish(&[("@alice", "friend")]);
    node.publish(&first).await.ok();
    let path = format!("/routing/v1/ipns/{}", first.name);
    let etag = node
        .get(&path)
        .await
        .ok()
        .header("etag")
        .unwrap()
        .to_owned();
    let same = node.get_with(&path, &[("If-None-Match", &etag)]).await;
    assert_eq!((same.status, same.body.len()), (304, 0));
    assert_eq!(same.header("etag"), Some(etag.as_str()));
    node.publish(&author.publish(&[("@bob", "spam")]))
        .await
        .ok();
    let newer = node.get_with(&path, &[("If-None-Match", &etag)]).await;
    assert_eq!(newer.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_record_of_the_name_is_refused() {
    let node = TestNode::start().await;
    let message = Author::new(1).publish(&[("@alice", "friend")]);
    let path = format!("/routing/v1/ipns/{}", message.name);
    node.ask("PUT", &path, &[], b"nonsense")
        .await
        .refused(400, "malformed_record");
    node.ask("PUT", &path, &[], &vec![0; 10_241])
        .await
        .refused(413, "too_large");
    let mut other = message.clone();
    other.name = Author::new(2).name();
    node.put_record(&other).await.refused(400, "bad_signature");
    node.ask("PUT", "/routing/v1/ipns/nonsense", &[], b"x")
        .await
        .refused(400, "invalid_name");
    node.get("/routing/v1/ipns/nonsense")
        .await
        .refused(400, "invalid_name");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_formats_of_a_name_are_not_served() {
    let node = TestNode::start().await;
    let name = Author::new(1).name();
    node.get_with(
        &format!("/routing/v1/ipns/{name}"),
        &[("Accept", "text/html")],
    )
    .await
    .refused(406, "not_acceptable");
    node.get(&format!("/ipns/{name}?format=tar"))
        .await
        .refused(406, "not_acceptable");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_no_list_is_kept_alive_all_the_same() {
    let node = TestNode::start().await;
    let author = Author::new(1);
    let mut message = Author::new(1).publish(&[("@alice", "friend")]);
    let end = perennis_shared::time::Millis(4_000_000_000_000);
    message.record = author.record_until("/ipns/example.org", 5, end);
    node.put_record(&message).await.ok();
    let status = node
        .get(&format!("/v1/names/{}", message.name))
        .await
        .ok()
        .json();
    assert_eq!(status["pin"], "record_only");
    assert!(status["head"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_may_read_and_write_where_they_are_allowed_to() {
    let node = TestNode::with(|config| config.http.allow_origins = AllowedOrigins::All).await;
    let name = Author::new(1).name();
    let path = format!("/routing/v1/ipns/{name}");
    let origin = ("Origin", "https://x.com");
    let asked = [
        origin,
        ("Access-Control-Request-Method", "PUT"),
        ("Access-Control-Request-Headers", "content-type"),
    ];
    let preflight = node.ask("OPTIONS", &path, &asked, b"").await;
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-origin"), Some("*"));
    let methods = preflight.header("access-control-allow-methods").unwrap();
    assert!(methods.contains("PUT"), "{methods}");
    let headers = preflight.header("access-control-allow-headers").unwrap();
    assert!(headers.contains("Content-Type"), "{headers}");
    let reply = node.get_with(&path, &[origin]).await;
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    let refused = node.ask("DELETE", &path, &[origin], b"").await;
    refused.refused(405, "method_not_allowed");
    assert_eq!(refused.header("access-control-allow-origin"), Some("*"));
    assert!(refused.header("allow").unwrap().contains("PUT"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_others_is_told_with_its_age_and_asked_for_anew_where_that_is_wanted() {
    let other = TestNode::start().await;
    let url = other.url();
    let node = TestNode::with(|config| config.ipns.routers = vec![url]).await;
    let mut author = Author::new(1);
    let first = author.publish(&[("@alice", "friend")]);
    other.put_record(&first).await.ok();
    let path = format!("/routing/v1/ipns/{}", first.name);
    // Once from the other node, once from memory.
    for _ in 0..2 {
        let reply = node.get(&path).await;
        assert_eq!(reply.ok().body, first.record.bytes());
        let age: u64 = reply.header("age").unwrap().parse().unwrap();
        let control = reply.header("cache-control").unwrap();
        let most = format!("public, max-age={},", 300 - age);
        assert!(control.starts_with(&most), "{control} at {age}");
    }
    let second = author.publish(&[("@bob", "spam")]);
    other.put_record(&second).await.ok();
    assert_eq!(node.get(&path).await.ok().body, first.record.bytes());
    let only = [("Cache-Control", "only-if-cached")];
    assert_eq!(
        node.get_with(&path, &only).await.ok().body,
        first.record.bytes()
    );
    let anew = node.get_with(&path, &[("Cache-Control", "No-Cache")]).await;
    assert_eq!(anew.ok().body, second.record.bytes());
    assert_eq!(node.get(&path).await.ok().body, second.record.bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_takes_a_record_and_no_other_type() {
    let node = TestNode::start().await;
    let message = Author::new(1).publish(&[("@alice", "friend")]);
    let path = format!("/routing/v1/ipns/{}", message.name);
    let bytes = message.record.bytes();
    let put = async |kind| {
        node.ask("PUT", &path, &[("Content-Type", kind)], bytes)
            .await
    };
    put("application/json").await.refused(406, "not_acceptable");
    put("Application/VND.IPFS.ipns-record; x=y").await.ok();
    let asked = node
        .get(&format!("/ipns/{}/path?format=ipns-record", message.name))
        .await;
    asked.refused(400, "path_not_served");
    let named = format!(
        "/ipns/{}?format=ipns-record&filename=test%D1%82.x",
        message.name
    );
    let expected = "attachment; filename=\"test_.x\"; filename*=UTF-8''test%D1%82.x";
    let named = node.get(&named).await;
    assert_eq!(named.ok().header("content-disposition"), Some(expected));
}

/// Each byte that may mean something in a path as % and two digits.
fn escaped(text: &str) -> String {
    let escaped = text.bytes().map(|byte| match byte {
        b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    });
    escaped.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_cids_are_taken_as_people_have_them() {
    let node = TestNode::start().await;
    let message = Author::new(1).publish(&[("@alice", "friend")]);
    node.publish(&message).await.ok();
    let (name, base32) = (message.name.to_string(), message.name.to_cid().to_string());
    for spelling in [
        name.clone(),
        name.to_uppercase(),
        base32.clone(),
        message.name.peer_id(),
        format!("ipns://{name}"),
        format!("/ipns/{base32}/"),
        format!("https://dweb.link/ipns/{name}?format=ipns-record"),
        format!("https://{name}.ipns.dweb.link"),
        message.did.to_string(),
    ] {
        let status = node.get(&format!("/v1/names/{}", escaped(&spelling))).await;
        assert_eq!(status.ok().json()["name"], name, "{spelling}");
        let routed = format!("/routing/v1/ipns/{}", escaped(&spelling));
        let record = node.get(&routed).await;
        assert_eq!(record.ok().body, message.record.bytes(), "{spelling}");
    }
    // With the slash that an address line puts behind it.
    node.get(&format!("/v1/names/{name}/")).await.ok();
    let path = format!("/v1/names/{}", escaped(&format!("ipns://{name}/a")));
    node.get(&path).await.refused(400, "invalid_name");

    let head = message.head.to_string();
    for spelling in [
        head.clone(),
        head.to_uppercase(),
        format!("ipfs://{head}"),
        format!("/ipfs/{head}/"),
        format!("https://{head}.ipfs.localhost:8080/"),
    ] {
        // It is a CID, and nobody has fetched it.
        let path = format!("/v1/fetched/{}", escaped(&spelling));
        let reply = node.ask("DELETE", &path, &[], b"").await;
        reply.refused(404, "not_found");
    }
    let path = format!("/v1/fetched/{}", escaped("ipfs://nonsense"));
    let reply = node.ask("DELETE", &path, &[], b"").await;
    reply.refused(400, "invalid_cid");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_that_stands_twice_in_the_query_is_refused() {
    let node = TestNode::start().await;
    for path in ["/v1/names?limit=1&limit=2", "/v1/pins?limit=1&limit=1"] {
        node.get(path).await.refused(400, "invalid_query");
    }
    let message = Author::new(1).publish(&[("@alice", "friend")]);
    node.publish(&message).await.ok();
    for query in [
        "format=raw&format=car",
        "format=car&dag-scope=all&dag-scope=block",
    ] {
        let path = format!("/ipfs/{}?{query}", message.head);
        node.get(&path).await.refused(400, "invalid_query");
    }
}
