//! Whatever a node asks others or gives to them says that it is a node that does, so that nothing goes in circles.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use perennis_node::app::RunningNode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::damaging::flip;
use crate::support::{Author, TestNode, config};

/// A server that takes every record, has nothing, and writes down what it was asked.
struct Witness {
    url: String,
    heads: Arc<Mutex<Vec<String>>>,
    serving: JoinHandle<()>,
}

impl Witness {
    async fn start() -> Witness {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = Arc::clone(&heads);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = Arc::clone(&seen);
                tokio::spawn(async move { serve(stream, &seen).await });
            }
        });
        Witness {
            url,
            heads,
            serving,
        }
    }

    /// Waits for a request that begins like this.
    async fn sees(&self, begin: &str) {
        let seen = async {
            while !self.heads().iter().any(|head| head.starts_with(begin)) {
                tokio::task::yield_now().await;
            }
        };
        let seen = tokio::time::timeout(Duration::from_secs(20), seen).await;
        assert!(seen.is_ok(), "no {begin}: {:?}", self.heads());
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(mut stream: TcpStream, heads: &Mutex<Vec<String>>) {
    let mut bytes = Vec::new();
    while let Ok(1..) = stream.read_buf(&mut bytes).await {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let length = head.split("content-length: ").nth(1);
        let length = length.map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
        if bytes.len() < end + 4 + length {
            continue;
        }
        let status = if head.starts_with("put") { 200 } else { 404 };
        heads.lock().unwrap().push(head);
        let answer =
            format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let _ = stream.write_all(answer.as_bytes()).await;
        return;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_to_others_says_that_a_node_passes_it_on() {
    let endpoint = Witness::start().await;
    let gateway = Witness::start().await;
    let source = Witness::start().await;
    let urls = [endpoint.url.clone(), gateway.url.clone()];
    let node = TestNode::with(|config| {
        let [endpoint, gateway] = urls.clone();
        config.ipns.routers = vec![endpoint];
        config.pins.sources = vec![gateway];
        config.pins.allow_private_sources = true;
        config.probe.period = None;
    })
    .await;

    // The republisher puts a record, and the pin fetch asks the operator's gateways for what is below it.
    let bare = Author::new(1).publish(&[("@alice", "friend")]);
    node.put_record(&bare).await.ok();
    let routed = |name: &dyn std::fmt::Display| format!("/routing/v1/ipns/{name}");
    endpoint.sees(&format!("put {}", routed(&bare.name))).await;
    gateway.sees(&format!("get /ipfs/{}", bare.head)).await;

    // So does it ask the sources that the document of a list names.
    let mut author = Author::new(2);
    author.set_sources(std::slice::from_ref(&source.url));
    let whole = author.publish_many(50);
    node.publish(&whole).await.ok();
    let next = author.publish(&[("@bob", "spam")]);
    node.put_record(&next).await.ok();
    source.sees(&format!("get /ipfs/{}", next.head)).await;

    // A reader's question goes on, and a name that is to be followed is looked for.
    let asked = Author::new(3).name();
    node.get(&routed(&asked)).await;
    endpoint.sees(&format!("get {}", routed(&asked))).await;
    let followed = Author::new(4).name();
    let path = format!("/v1/names/{followed}?source={}", source.url);
    node.ask("PUT", &path, &[], b"").await;
    for server in [&endpoint, &source] {
        server.sees(&format!("get {}", routed(&followed))).await;
    }

    // The probe puts its name to the endpoint and asks for it.
    let report = node.ask("POST", "/v1/probe", &[], b"").await.ok().json();
    let canary = report["name"].as_str().unwrap().to_owned();
    for method in ["put", "get"] {
        endpoint
            .sees(&format!("{method} {}", routed(&canary)))
            .await;
    }

    // A damaged block is asked for at the gateways.
    let block = whole.blocks.last().unwrap();
    node.node.shutdown().await;
    flip(node.dir.path(), block.bytes());
    let mut config = config(node.dir.path());
    config.pins.sources = vec![gateway.url.clone()];
    config.pins.allow_private_sources = true;
    let again = TestNode {
        node: RunningNode::start(config).await.unwrap(),
        dir: node.dir,
    };
    let path = format!("/ipfs/{}?format=raw", block.cid());
    let reply = again.get(&path).await;
    assert!(matches!(reply.status, 404 | 500), "{}", reply.status);
    gateway.sees(&format!("get /ipfs/{}", block.cid())).await;

    for server in [&endpoint, &gateway, &source] {
        for head in server.heads() {
            assert!(head.contains("\r\ncdn-loop: perennis"), "{head}");
        }
    }
}
