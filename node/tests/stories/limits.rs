//! Clients that are slow, endless, many or without permission.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use perennis_node::config::PublishPolicy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::{Author, Reply, TestNode, reply};

const SHORT: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_stops_is_given_up() {
    let node = TestNode::with(|config| config.http.idle_timeout = SHORT).await;
    let name = Author::new(1).name();
    let mut stream = TcpStream::connect(node.addr()).await.unwrap();
    let head = format!(
        "POST /v1/names/{name}/publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/vnd.ipld.car\r\nContent-Length: 1000\r\n\r\n\x3a"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let reply = reply(stream, false).await.unwrap();
    reply.refused(408, "too_slow");
    assert_eq!(reply.header("connection"), Some("close"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_drips_without_end_is_given_up() {
    let node = TestNode::with(|config| config.http.body_timeout = 3 * SHORT).await;
    let name = Author::new(1).name();
    let mut stream = TcpStream::connect(node.addr()).await.unwrap();
    let head = format!(
        "PUT /routing/v1/ipns/{name} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut from, mut to) = stream.into_split();
    let dripping = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(SHORT / 10);
        while to.write_all(b"1\r\nx\r\n").await.is_ok() {
            ticks.tick().await;
        }
    });
    let started = Instant::now();
    let mut bytes = [0; 12];
    from.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"HTTP/1.1 408");
    assert!(started.elapsed() < 20 * SHORT);
    dripping.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_body_is_cut_at_the_limit() {
    let node = TestNode::with(|config| config.admission.message_bytes = 64 << 10).await;
    let name = Author::new(1).name();
    let mut stream = TcpStream::connect(node.addr()).await.unwrap();
    let head = format!(
        "POST /v1/names/{name}/publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/vnd.ipld.car\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // A section of a CAR file may be long: the limit of the whole is what stops this one.
    let message = Author::new(1).publish_many(3_000);
    let car = message.car();
    assert!(car.len() > 64 << 10);
    for piece in car.chunks(8_000) {
        let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
        if stream.write_all(&chunk).await.is_err() {
            break;
        }
    }
    let mut bytes = [0; 12];
    stream.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"HTTP/1.1 413");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announced_length_above_the_limit_is_refused_before_the_body() {
    let node = TestNode::start().await;
    let name = Author::new(1).name();
    let mut stream = TcpStream::connect(node.addr()).await.unwrap();
    let head = format!(
        "POST /v1/names/{name}/publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/vnd.ipld.car\r\nContent-Length: 99999999999\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    reply(stream, false)
        .await
        .unwrap()
        .refused(413, "too_large");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_a_whole_body_before_it_reads_is_told_why_it_is_refused() {
    let node = TestNode::start().await;
    let name = Author::new(1).name();
    let body = vec![7; 4 << 20];
    for (path, kind, status, code) in [
        (
            "/v1/imported".to_owned(),
            "application/vnd.ipld.car",
            401,
            "unauthorized",
        ),
        (
            format!("/routing/v1/ipns/{name}"),
            "application/vnd.ipfs.ipns-record",
            413,
            "too_large",
        ),
        (
            format!("/routing/v1/ipns/{name}"),
            "text/plain",
            406,
            "not_acceptable",
        ),
    ] {
        let method = if status == 401 { "POST" } else { "PUT" };
        let mut stream = TcpStream::connect(node.addr()).await.unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body).await.unwrap();
        let refused = reply(stream, false).await.unwrap();
        refused.refused(status, code);
        if status == 413 {
            let hint = refused.json()["error"]["hint"].to_string();
            assert!(
                hint.contains("send it alone") && !hint.contains("blocks"),
                "{hint}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_misspelt_key_in_a_query_is_refused_where_no_other_specification_says_what_it_is() {
    let node = TestNode::start().await;
    for (method, path) in [
        ("GET", "/v1/names?limt=1"),
        ("GET", "/v1/names?limit"),
        ("GET", "/v1/status?limit=1"),
        ("POST", "/v1/imported?nmae=a"),
    ] {
        let refused = node.ask(method, path, &[], b"").await;
        refused.refused(400, "invalid_query");
    }
    for cursor in ["zzz", "uAAAA", "x"] {
        let refused = node.get(&format!("/v1/imported?after={cursor}")).await;
        refused.refused(400, "invalid_cursor");
    }
    let name = Author::new(1).name();
    node.get(&format!("/routing/v1/ipns/{name}?limt=1"))
        .await
        .ok();
    let block = "/ipfs/bafkqaaa?format=raw&limt=1";
    node.get(block).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_come_or_does_not_end_is_given_up() {
    let node = TestNode::with(|config| config.http.header_timeout = SHORT).await;
    for begun in ["", "GET / HTTP/1.1\r\nHost"] {
        let mut stream = TcpStream::connect(node.addr()).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        let answer = reply(stream, false).await;
        assert!(answer.is_none_or(|answer| answer.status == 408));
    }
    let mut stream = TcpStream::connect(node.addr()).await.unwrap();
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    let _ = stream.write_all(long.as_bytes()).await;
    let answer = reply(stream, false).await;
    assert!(answer.is_none_or(|answer| answer.status == 431));
    node.get("/health/live").await.ok();
}

/// A connection from an address of this machine.
async fn connect_from(node: &TestNode, last: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    let from = SocketAddr::from(([127, 0, 0, last], 0));
    socket.bind(from).unwrap();
    socket.connect(node.addr()).await.unwrap()
}

/// Asks from an address of this machine.
async fn get_from(node: &TestNode, last: u8, path: &str) -> Reply {
    let mut stream = connect_from(node, last).await;
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    reply(stream, false).await.unwrap()
}

/// Begins uploads from an address, each with so much of its body: of messages, or of bare records.
async fn begin_uploads(
    node: &TestNode,
    last: u8,
    number: usize,
    is_record: bool,
    body: &[u8],
) -> Vec<TcpStream> {
    let name = Author::new(1).name();
    let head = if is_record {
        format!(
            "PUT /routing/v1/ipns/{name} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000\r\n\r\n"
        )
    } else {
        format!(
            "POST /v1/names/{name}/publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/vnd.ipld.car\r\nContent-Length: 60000\r\n\r\n"
        )
    };
    let mut open = Vec::new();
    for _ in 0..number {
        let mut stream = connect_from(node, last).await;
        stream.write_all(head.as_bytes()).await.unwrap();
        // One that is refused may be closed by now.
        let _ = stream.write_all(body).await;
        open.push(stream);
    }
    open
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_leaves_places_for_others_and_is_told_how_the_node_is_in_any_case() {
    let node = TestNode::with(|config| config.http.max_connections = 16).await;
    // As eleven hundred sockets that send a byte in seven seconds do to a node with the usual number of places.
    let slow = begin_uploads(&node, 2, 40, false, b"\x3a").await;
    for _ in 0..8 {
        get_from(&node, 3, "/openapi.json").await.ok();
        get_from(&node, 3, "/health/live").await.ok();
        get_from(&node, 2, "/health/live").await.ok();
        get_from(&node, 2, "/health/ready").await.ok();
    }
    let refused = get_from(&node, 2, "/openapi.json").await;
    refused.refused(503, "no_place");
    assert_eq!(refused.header("retry-after"), Some("2"));
    assert_eq!(refused.header("connection"), Some("close"));
    drop(slow);
    // Its places are its own again.
    let asked = async {
        while get_from(&node, 2, "/openapi.json").await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), asked)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_brings_less_than_a_kibibyte_a_second_loses_its_place_however_steady_it_is() {
    let node = TestNode::with(|config| {
        config.http.max_connections = 4;
        config.http.idle_timeout = 2 * SHORT;
    })
    .await;
    // All places but those that are kept for others, and a start that was fast.
    let slow = begin_uploads(&node, 2, 2, true, &[7; 4_000]).await;
    let dripping = slow.into_iter().map(|stream| async move {
        let (mut from, mut to) = stream.into_split();
        let drip = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(SHORT / 10);
            while to.write_all(b"x").await.is_ok() {
                ticks.tick().await;
            }
        });
        let mut bytes = [0; 12];
        from.read_exact(&mut bytes).await.unwrap();
        drip.abort();
        bytes
    });
    let started = Instant::now();
    for status in futures_util::future::join_all(dripping).await {
        assert_eq!(&status, b"HTTP/1.1 408");
    }
    assert!(started.elapsed() < 20 * SHORT);
    get_from(&node, 2, "/openapi.json").await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_stall_leave_memory_for_others() {
    let node = TestNode::with(|config| {
        config.admission.memory_bytes = 1 << 20;
        config.admission.message_bytes = 64 << 10;
    })
    .await;
    // The beginning of a real message, many times.
    let message = Author::new(1).publish_many(600);
    let car = message.car();
    assert!(car.len() > 20_000 && car.len() < 60_000, "{}", car.len());
    let stalled = begin_uploads(&node, 2, 90, false, &car[..car.len() - 1]).await;
    for seed in 2..6 {
        let other = Author::new(seed).publish_many(600);
        let mut stream = connect_from(&node, 3).await;
        let car = other.car();
        let head = format!(
            "POST /v1/names/{}/publish HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/vnd.ipld.car\r\nContent-Length: {}\r\n\r\n",
            other.name,
            car.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&car).await.unwrap();
        reply(stream, false).await.unwrap().ok();
    }
    drop(stalled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_writes_too_often_is_told_when_to_come_back() {
    let node = TestNode::with(|config| config.admission.name_rate = 2).await;
    let mut author = Author::new(1);
    for label in ["one", "two"] {
        node.publish(&author.publish(&[("@alice", label)]))
            .await
            .ok();
    }
    let refused = node.publish(&author.publish(&[("@alice", "three")])).await;
    refused.refused(429, "too_many_writes");
    let after: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=30).contains(&after), "{after}");
    node.publish(&Author::new(2).publish(&[("@alice", "one")]))
        .await
        .ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_share_the_memory_set_aside_for_them() {
    let node = TestNode::with(|config| {
        config.admission.memory_bytes = 64 << 10;
        config.admission.message_bytes = 64 << 10;
    })
    .await;
    let message = Author::new(1).publish_many(700);
    assert!(message.car().len() < 64 << 10, "{}", message.car().len());
    let car = message.car();
    let name = message.name;
    let head = format!(
        "POST /v1/names/{name}/publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/vnd.ipld.car\r\nContent-Length: {}\r\n\r\n",
        car.len()
    );
    // Which of two that come together is refused is not said: the first one may be, while another is still read.
    for _ in 0..20 {
        // One holds most of the memory and does not end.
        let mut first = TcpStream::connect(node.addr()).await.unwrap();
        first.write_all(head.as_bytes()).await.unwrap();
        let (last, most) = car.split_last().unwrap();
        first.write_all(most).await.unwrap();
        let busy = loop {
            let other = Author::new(2).publish_many(700);
            let reply = node.publish(&other).await;
            if reply.status == 503 {
                break reply;
            }
            // The same sequence with another value, where the one before was taken.
            assert!([200, 409, 429].contains(&reply.status), "{}", reply.status);
        };
        busy.refused(503, "busy");
        assert_eq!(busy.header("retry-after"), Some("1"));
        // One that was refused may be closed by now.
        let _ = first.write_all(&[*last]).await;
        let mut bytes = [0; 12];
        match first.read_exact(&mut bytes).await {
            Ok(_) if &bytes == b"HTTP/1.1 200" => return,
            Ok(_) => assert_eq!(&bytes, b"HTTP/1.1 503"),
            Err(_) => {}
        }
    }
    panic!("the first one was refused whenever another came");
}

#[tokio::test(flavor = "multi_thread")]
async fn writing_needs_the_token_where_there_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "a-token-of-some-length\n").unwrap();
    let node = TestNode::with(|config| {
        config.http.token_file = Some(file);
        config.http.publish = PublishPolicy::Token;
    })
    .await;
    let message = Author::new(1).publish(&[("@alice", "friend")]);
    let refused = node.publish(&message).await;
    refused.refused(401, "unauthorized");
    let challenge = refused.header("www-authenticate");
    assert_eq!(challenge, Some("Bearer scope=\"publish\""));
    let path = format!("/v1/names/{}/publish", message.name);
    for (token, status) in [
        ("Bearer wrong", 401),
        ("Bearer a-token-of-some-length", 200),
    ] {
        let headers = [
            ("Content-Type", "application/vnd.ipld.car"),
            ("Authorization", token),
        ];
        let reply = node.ask("POST", &path, &headers, &message.car()).await;
        assert_eq!(reply.status, status, "{token}");
    }
    node.get(&format!("/ipfs/{}", message.head)).await.ok();
}
