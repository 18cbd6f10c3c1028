//! A node on a free port, a client that can misbehave, and an author with a list.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use perennis_net::{Bootstrap, DhtMode};
use perennis_node::app::RunningNode;
use perennis_node::config::{AdminListen, Config};
use perennis_shared::cid::{Block, Cid};
use perennis_shared::codec::car;
use perennis_store::IndexEngine;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

mod author;
pub(crate) mod unixfs;

use author::record_block;
pub(crate) use author::{Author, DAY, Message};

/// How long a test waits for something that happens by itself.
const PATIENCE: Duration = Duration::from_secs(20);

/// A configuration for a data directory, on a free port of loopback, with an index that each start makes anew.
pub(crate) fn config(data: &Path) -> Config {
    let mut config = Config {
        data: data.to_owned(),
        index: IndexEngine::Memory,
        ..Config::default()
    };
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    config.http.listen = free;
    config.http.admin_listen = AdminListen::At(free);
    // A peer that keeps to itself.
    config.p2p.listen = Some(Vec::new());
    config.p2p.bootstrap = Bootstrap::None;
    config.p2p.dht = DhtMode::Off;
    config
}

/// As a node of an operator has it: for stories about the index, and about what only an index that was kept knows.
#[cfg(feature = "rocksdb")]
pub(crate) fn with_index_on_disk(config: &mut Config) {
    config.index = IndexEngine::Disk;
}

/// A node with a data directory of its own.
pub(crate) struct TestNode {
    pub(crate) dir: TempDir,
    pub(crate) node: RunningNode,
}

impl TestNode {
    pub(crate) async fn start() -> TestNode {
        TestNode::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> TestNode {
        TestNode::again(tempfile::tempdir().unwrap(), change).await
    }

    /// A node with the data directory of one that was stopped.
    pub(crate) async fn again(dir: TempDir, change: impl FnOnce(&mut Config)) -> TestNode {
        let mut config = config(dir.path());
        change(&mut config);
        let node = RunningNode::start(config).await.unwrap();
        TestNode { dir, node }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.node.http_addr()
    }

    pub(crate) fn url(&self) -> String {
        self.node.url()
    }

    /// Where the operator calls.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.node.admin_addr().unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[], b"").await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.ask("GET", path, headers, b"").await
    }

    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        let addr = match is_for_everybody(method, path) {
            true => self.addr(),
            false => self.admin(),
        };
        ask(addr, method, path, headers, body).await
    }

    /// As [`TestNode::ask`], at the listener for everybody whatever the path.
    pub(crate) async fn ask_in_public(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        ask(self.addr(), method, path, headers, body).await
    }

    pub(crate) async fn publish(&self, message: &Message) -> Reply {
        let path = format!("/v1/names/{}/publish", message.name);
        let headers = [("Content-Type", "application/vnd.ipld.car")];
        self.ask("POST", &path, &headers, &message.car()).await
    }

    pub(crate) async fn put_record(&self, message: &Message) -> Reply {
        let path = format!("/routing/v1/ipns/{}", message.name);
        let headers = [("Content-Type", "application/vnd.ipfs.ipns-record")];
        self.ask("PUT", &path, &headers, message.record.bytes())
            .await
    }

    /// Lets the node keep a graph, its root first, as that of an author's name. Gives the root.
    pub(crate) async fn keep(&self, author: u8, blocks: &[Block]) -> Cid {
        let root = *blocks[0].cid();
        let owner = Author::new(author);
        let record = record_block(&owner.record(root, 1, DAY));
        let message = car::write(&[root, *record.cid()], blocks.iter().chain([&record])).unwrap();
        let path = format!("/v1/names/{}", owner.name());
        let headers = [("Content-Type", "application/vnd.ipld.car")];
        self.ask("PUT", &path, &headers, &message).await.ok();
        root
    }

    /// Asks again and again until the answer is as it should be.
    pub(crate) async fn eventually(&self, path: &str, is_so: impl Fn(&Reply) -> bool) -> Reply {
        let asked = async {
            loop {
                let reply = self.get(path).await;
                if is_so(&reply) {
                    return reply;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, asked).await.unwrap()
    }
}

/// Whether everybody may call it without a token. What is not, a story asks as the operator does.
fn is_for_everybody(method: &str, path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    let is_publish = path.ends_with("/publish") || path.starts_with("/routing/v1/ipns/");
    let of_operator = [
        "/v1/names",
        "/v1/pins",
        "/v1/index",
        "/v1/fetched",
        "/v1/imported",
        "/v1/peers",
        "/v1/damage",
        "/v1/probe",
        "/v1/probe/plot.svg",
        "/v1/snapshots",
        "/v1/denied",
        "/v1/status",
        "/metrics",
    ];
    match method {
        "GET" | "HEAD" | "OPTIONS" => !of_operator.contains(&path),
        _ => is_publish,
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The code of a refusal, after checking that it has all three parts.
    pub(crate) fn code(&self) -> String {
        let error = &self.json()["error"];
        for part in ["code", "message", "hint"] {
            let text = error[part].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{part} is missing: {error}");
        }
        error["code"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) {
        assert_eq!(
            (self.status, self.code().as_str()),
            (status, code),
            "{}",
            self.json()
        );
    }

    #[track_caller]
    pub(crate) fn ok(&self) -> &Reply {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        self
    }
}

/// One request on a connection of its own. It accepts any type where it does not say which, as most clients do.
pub(crate) async fn ask(
    addr: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Reply {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n");
    let says_type = headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("accept"));
    if !says_type {
        head.push_str("Accept: */*\r\n");
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() || matches!(method, "PUT" | "POST") {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    // A server that refuses a body before it was sent closes early.
    let _ = stream.write_all(body).await;
    reply(stream, method == "HEAD").await.expect("an answer")
}

/// Reads an answer to its end; `None` when the server closed without one.
pub(crate) async fn reply(mut stream: TcpStream, is_head: bool) -> Option<Reply> {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    // A reset after the answer is the server's way of not reading the rest of a body.
    let _ = read.expect("the server ends the connection");
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut reply = Reply {
        status,
        headers,
        body: Bytes::copy_from_slice(&bytes[end + 4..]),
    };
    if reply.header("transfer-encoding") == Some("chunked") {
        reply.body = unchunk(&reply.body)?.into();
    } else if let Some(length) = reply.header("content-length")
        && !is_head
    {
        assert_eq!(length.parse::<usize>().unwrap(), reply.body.len());
    }
    Some(reply)
}

/// The content of a chunked body; `None` when it was cut off.
fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?, 16).ok()?;
        rest = &rest[end + 2..];
        if length == 0 {
            return Some(content);
        }
        content.extend_from_slice(rest.get(..length)?);
        rest = rest.get(length + 2..)?;
    }
}
