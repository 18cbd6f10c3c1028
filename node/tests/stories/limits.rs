//! Clients that are slow, endless, many or without permission.

use std::time::{Duration, Instant};

use perennis_node::config::PublishPolicy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Author, TestNode, reply};

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

#[tokio::test(flavor = "multi_thread")]
async fn further_connections_wait_for_their_turn() {
    let node = TestNode::with(|config| {
        config.http.max_connections = 2;
        config.http.header_timeout = SHORT;
    })
    .await;
    let mut idle = Vec::new();
    for _ in 0..8 {
        idle.push(TcpStream::connect(node.addr()).await.unwrap());
    }
    // Those that say nothing lose their place.
    node.get("/health/live").await.ok();
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
            assert!(
                reply.status == 200 || reply.status == 429,
                "{}",
                reply.status
            );
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
