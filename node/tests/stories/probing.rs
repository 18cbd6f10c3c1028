//! The node measures each route by itself: it publishes a name of its own and sees whether others have it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use perennis_net::{Bootstrap, DhtMode};
use perennis_node::app::RunningNode;
use perennis_shared::ipns::{Name, UnverifiedRecord};
use perennis_shared::time::Millis;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::support::{Reply, TestNode, ask, config};

const PROBE: &str = "/v1/probe";

/// A node of a DHT on loopback that knows these others and puts records to these endpoints.
async fn node(others: &[&TestNode], endpoints: Vec<String>) -> TestNode {
    let addresses = others
        .iter()
        .flat_map(|other| other.node.p2p_addresses())
        .map(|address| address.parse().unwrap())
        .collect();
    let node = TestNode::with(|config| {
        config.p2p.listen = Some(vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()]);
        config.p2p.bootstrap = Bootstrap::Peers(addresses);
        config.p2p.dht = DhtMode::Server;
        config.ipns.routers = endpoints;
        config.probe.period = None;
    })
    .await;
    node.eventually("/v1/peers", |reply| {
        let tables = reply.json()["routing"].as_array().cloned().unwrap();
        let known: u64 = tables.iter().filter_map(|row| row["peers"].as_u64()).sum();
        known as usize == others.len()
    })
    .await;
    node
}

async fn probe(node: &TestNode) -> Value {
    node.ask("POST", PROBE, &[], b"").await.ok().json()
}

fn route<'a>(report: &'a Value, name: &str) -> &'a Value {
    let routes = report["routes"].as_array().unwrap();
    let found = routes.iter().find(|route| route["route"] == name);
    found.unwrap_or_else(|| panic!("no {name}: {report}"))
}

/// How an operation through a route ended so far: well, with an old record, not at all.
fn ended(report: &Value, name: &str, operation: &str) -> [u64; 3] {
    let of = &route(report, name)[operation];
    ["ok", "stale", "failed"].map(|field| of[field].as_u64().unwrap())
}

async fn metrics(node: &TestNode) -> String {
    let body = node.get("/metrics").await.ok().body.clone();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_canary_is_published_and_resolved_through_each_route() {
    let other = node(&[], Vec::new()).await;
    let url = other.url();
    let node = node(&[&other], vec![url.clone()]).await;
    let report = probe(&node).await;
    for name in ["dht", &url] {
        for operation in ["publish", "resolve"] {
            assert_eq!(ended(&report, name, operation), [1, 0, 0], "{report}");
            let of = &route(&report, name)[operation];
            assert!(of["p50Ms"].as_f64() <= of["maxMs"].as_f64());
            assert_eq!(of["lastOutcome"], "ok");
            let counts = of["buckets"].as_array().unwrap().iter();
            assert_eq!(
                counts
                    .filter_map(|bucket| bucket["count"].as_u64())
                    .sum::<u64>(),
                1
            );
        }
    }
    // What the other one has is the record that was signed last.
    let name = Name::parse(report["name"].as_str().unwrap()).unwrap();
    let kept = other.get(&format!("/ipns/{name}?format=ipns-record")).await;
    let kept = UnverifiedRecord::parse(&kept.ok().body).unwrap();
    let kept = kept.verify(&name, Millis(0)).unwrap();
    assert_eq!(report["sequence"], kept.sequence());

    let text = metrics(&node).await;
    for operation in ["Publish", "Resolve"] {
        let labels = format!("{{route=\"dht\",operation=\"{operation}\"");
        assert!(
            text.contains(&format!("ipns_probe_total{labels},outcome=\"Ok\"}} 1")),
            "{text}"
        );
        assert!(
            text.contains(&format!("ipns_probe_duration_seconds_count{labels}}} 1")),
            "{text}"
        );
    }
    let plot = node.get("/v1/probe/plot.svg").await;
    assert_eq!(plot.ok().header("content-type"), Some("image/svg+xml"));
    let plot = String::from_utf8(plot.body.to_vec()).unwrap();
    assert!(
        plot.contains(">dht</text>") && plot.contains(&url),
        "{plot}"
    );

    // The name is nobody's here: not among the names, not pinned, not counted.
    assert_eq!(
        node.get("/v1/names").await.ok().json()["names"],
        serde_json::json!([])
    );
    assert_eq!(
        node.get("/v1/index").await.ok().json()["entries"],
        serde_json::json!([])
    );
    assert_eq!(node.get("/v1/status").await.ok().json()["names"], 0);
    assert_ne!(name.peer_id(), node.node.peer_id());
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_follow_the_canary_hear_of_it_by_gossip() {
    let other = node(&[], Vec::new()).await;
    let node = node(&[&other], Vec::new()).await;
    let first = probe(&node).await;
    assert_eq!(ended(&first, "pubsub", "publish"), [0, 0, 0], "{first}");
    assert_eq!(
        route(&first, "pubsub")["idle"],
        "no connected peer follows the canary name"
    );
    // It finds the record in the DHT, and hears of the next ones at once.
    let follow = format!("/v1/names/{}", first["name"].as_str().unwrap());
    other.ask("PUT", &follow, &[], b"").await.ok();
    let heard = async {
        loop {
            let report = probe(&node).await;
            if ended(&report, "pubsub", "resolve")[0] > 0 {
                return report;
            }
        }
    };
    let report = tokio::time::timeout(Duration::from_secs(30), heard)
        .await
        .unwrap();
    assert_eq!(route(&report, "pubsub")["idle"], Value::Null);
}

/// An endpoint that nobody serves, and one that accepts and never answers.
async fn dead_and_silent() -> (String, String, JoinHandle<()>) {
    let dead = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
    let urls = (url(&dead), url(&silent));
    drop(dead);
    let holding = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = silent.accept().await {
            held.push(stream);
        }
    });
    (urls.0, urls.1, holding)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_endpoint_is_counted_as_failed_and_a_silent_one_delays_none() {
    let (dead, silent, holding) = dead_and_silent().await;
    let router = TestNode::start().await;
    let endpoints = vec![dead.clone(), silent.clone(), router.url()];
    let node = node(&[], endpoints).await;
    let addr = node.admin();
    let asking = tokio::spawn(async move { ask(addr, "POST", PROBE, &[], b"").await });
    let failed = |report: &Value| ended(report, &dead, "resolve") == [0, 0, 1];
    let well = |report: &Value| ended(report, &router.url(), "resolve") == [1, 0, 0];
    let reply = node
        .eventually(PROBE, |reply| failed(&reply.json()) && well(&reply.json()))
        .await;
    let report = reply.json();
    assert_eq!(report["probing"], true, "{report}");
    assert_eq!(ended(&report, &dead, "publish"), [0, 0, 1]);
    assert_eq!(ended(&report, &silent, "publish"), [0, 0, 0]);
    let of = &route(&report, &dead)["publish"];
    assert!(
        of["lastError"]
            .as_str()
            .is_some_and(|text| !text.is_empty())
    );
    assert_eq!(of["p50Ms"], Value::Null);
    // A node that stops does not wait for it either, and says so.
    node.node.shutdown().await;
    asking.await.unwrap().refused(503, "stopping");
    holding.abort();
}

/// An endpoint that takes every record and goes on serving the first.
async fn forgetful() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let first: Arc<Mutex<Option<Vec<u8>>>> = Arc::default();
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = answer(stream, &first).await;
        }
    });
    (addr, serving)
}

async fn answer(mut stream: TcpStream, first: &Mutex<Option<Vec<u8>>>) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let body = loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let length = head.split("content-length: ").nth(1);
        let length = length.map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
        if bytes.len() >= end + 4 + length {
            break bytes[end + 4..].to_vec();
        }
    };
    let kept = {
        let mut first = first.lock().unwrap();
        first.get_or_insert(body).clone()
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/vnd.ipfs.ipns-record\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        kept.len()
    );
    stream.write_all(&[head.as_bytes(), &kept].concat()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_serves_an_old_record_is_counted_as_stale() {
    let (addr, serving) = forgetful().await;
    let url = format!("http://{addr}");
    let node = node(&[], vec![url.clone()]).await;
    assert_eq!(ended(&probe(&node).await, &url, "resolve"), [1, 0, 0]);
    let report = probe(&node).await;
    assert_eq!(ended(&report, &url, "publish"), [2, 0, 0]);
    assert_eq!(ended(&report, &url, "resolve"), [1, 1, 0]);
    serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_the_name_and_does_not_go_back_in_sequence() {
    let router = TestNode::start().await;
    let endpoints = vec![router.url()];
    let node = node(&[], endpoints.clone()).await;
    let before = probe(&node).await;
    node.node.shutdown().await;
    let mut again = config(node.dir.path());
    again.ipns.routers = endpoints;
    let again = TestNode {
        node: RunningNode::start(again).await.unwrap(),
        dir: node.dir,
    };
    assert_eq!(again.get(PROBE).await.ok().json()["sequence"], Value::Null);
    let after = probe(&again).await;
    assert_eq!(after["name"], before["name"]);
    assert!(after["sequence"].as_u64() > before["sequence"].as_u64());
    // The router would have refused an older one.
    assert_eq!(ended(&after, &router.url(), "publish"), [1, 0, 0]);
    assert_eq!(ended(&after, &router.url(), "resolve"), [1, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rounds_are_made_on_the_schedule() {
    let router = TestNode::start().await;
    let url = router.url();
    let endpoints = vec![url.clone()];
    let node = TestNode::with(|config| {
        config.ipns.routers = endpoints;
        config.probe.period = Some(Duration::from_secs(1));
    })
    .await;
    let reply = node
        .eventually(PROBE, |reply| ended(&reply.json(), &url, "resolve")[0] >= 2)
        .await;
    let report = reply.json();
    assert_eq!(report["periodSeconds"], 1);
    assert!(report["rounds"].as_u64() >= Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_anybody_there_nothing_is_measured_and_it_says_so() {
    let node = node(&[], Vec::new()).await;
    let report = probe(&node).await;
    assert_eq!(
        route(&report, "dht")["idle"],
        "no peers of the DHT are known"
    );
    for name in ["dht", "pubsub"] {
        assert_eq!(ended(&report, name, "publish"), [0, 0, 0]);
        assert_eq!(ended(&report, name, "resolve"), [0, 0, 0]);
    }
    let status = node.get("/v1/status").await.ok().json();
    let workers = status["workers"].as_array().unwrap().iter();
    let mut rows = workers.filter(|worker| worker["name"] == "probe");
    let row = rows.next().unwrap();
    assert_eq!(row["progress"], "nobody is there to try a route with");
    assert!(!metrics(&node).await.contains("ipns_probe_total{"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_operator_has_a_round_made() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "0123456789abcdef").unwrap();
    let node = TestNode::with(|config| config.http.token_file = Some(file)).await;
    let bearer = ("Authorization", "Bearer 0123456789abcdef");
    let post = |headers: Vec<(&'static str, &'static str)>| {
        let addr = node.addr();
        async move { ask(addr, "POST", PROBE, &headers, b"").await }
    };
    post(Vec::new()).await.refused(401, "unauthorized");
    let foreign = ("Origin", "https://evil.example");
    post(vec![bearer, foreign])
        .await
        .refused(403, "foreign_origin");
    let is_untouched = |reply: Reply| reply.ok().json()["rounds"] == 0;
    assert!(is_untouched(node.get(PROBE).await));
    assert_eq!(post(vec![bearer]).await.ok().json()["rounds"], 1);
}
