//! What an operator watches a node by: metrics, a dashboard over them, and spans in its log.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};

use perennis_net::{Bootstrap, DhtMode};
use perennis_node::config::Config;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

use crate::support::{Author, TestNode};

const ACCEPT: (&str, &str) = ("Accept", "application/vnd.ipfs.ipns-record");
const TOKEN: &str = "a-token-nobody-may-see";

fn as_peer(config: &mut Config, others: &[String]) {
    let bootstrap = others.iter().map(|address| address.parse().unwrap());
    config.p2p.listen = Some(vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()]);
    config.p2p.bootstrap = Bootstrap::Peers(bootstrap.collect());
    config.p2p.dht = DhtMode::Server;
    config.probe.period = None;
}

/// A node with a token that puts records to another one, over HTTP and the DHT; and that one.
async fn pair() -> (TestNode, TestNode) {
    let other = TestNode::with(|config| as_peer(config, &[])).await;
    let (url, addresses) = (other.url(), other.node.p2p_addresses());
    let node = TestNode::with(|config| {
        as_peer(config, &addresses);
        config.ipns.routers = vec![url];
        let token = config.data.join("token");
        std::fs::write(&token, TOKEN).unwrap();
        config.http.token_file = Some(token);
    })
    .await;
    (node, other)
}

/// Publishes, resolves what is kept and what others have, republishes, and probes.
async fn work(node: &TestNode, other: &TestNode) {
    for node in [node, other] {
        node.eventually("/v1/peers", |reply| {
            let tables = reply.json()["routing"].as_array().cloned().unwrap();
            tables.iter().any(|table| table["peers"] == 1)
        })
        .await;
    }
    let bearer = format!("Bearer {TOKEN}");
    let car = ("Content-Type", "application/vnd.ipld.car");
    let with_token = [car, ("Authorization", bearer.as_str())];
    let messages = [1, 2].map(|seed| Author::new(seed).publish(&[("@alice", "friend")]));
    let (first, second) = (&messages[0], &messages[1]);
    for (node, message, headers) in [(node, first, &with_token[..]), (other, second, &[car])] {
        let path = format!("/v1/names/{}/publish", message.name);
        node.ask("POST", &path, headers, &message.car()).await.ok();
        let path = format!("/v1/names/{}", message.name);
        node.eventually(&path, |reply| !reply.json()["lastPut"].is_null())
            .await;
    }
    for message in &messages {
        let path = format!("/routing/v1/ipns/{}", message.name);
        for _ in 0..2 {
            let reply = node.get_with(&path, &[ACCEPT]).await;
            assert_eq!(reply.ok().body, message.record.bytes());
        }
    }
    node.ask("POST", "/v1/probe", &with_token[1..], b"")
        .await
        .ok();
}

/// The names of all samples, and the value of each that has no labels.
async fn metrics(node: &TestNode) -> BTreeMap<String, Option<f64>> {
    let body = node.get("/metrics").await.ok().body.clone();
    let text = String::from_utf8(body.to_vec()).unwrap();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            let (name, rest) = line.split_at(line.find(['{', ' ']).unwrap());
            (name.to_owned(), rest.trim().parse().ok())
        })
        .collect()
}

/// The metrics that an expression of PromQL names.
fn named(expression: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut rest = expression;
    while let Some(letter) = rest.chars().next() {
        let is_part = |letter: char| letter.is_ascii_alphanumeric() || "_:$".contains(letter);
        if !is_part(letter) {
            let end = match letter {
                '{' => rest.find('}').unwrap() + 1,
                '[' => rest.find(']').unwrap() + 1,
                other => other.len_utf8(),
            };
            rest = &rest[end..];
            continue;
        }
        let (word, after) =
            rest.split_at(rest.find(|letter| !is_part(letter)).unwrap_or(rest.len()));
        rest = after.trim_start();
        match word {
            // Labels stand behind it.
            "by" => rest = &rest[rest.find(')').unwrap()..],
            _ if rest.starts_with('(') || rest.starts_with("by ") => {}
            number if number.starts_with(|first: char| first.is_ascii_digit()) => {}
            metric => drop(names.insert(metric.to_owned())),
        }
    }
    names
}

#[test]
fn metrics_are_found_in_expressions() {
    let found = named(
        r#"histogram_quantile(0.5, sum by (le, x) (rate(a_b_bucket{c="d"}[$__rate_interval])))"#,
    );
    assert_eq!(found, BTreeSet::from(["a_b_bucket".to_owned()]));
    let found = named(r#"rate(a{b=~"$c"}[1h]) / (rate(a[1h]) + d_total)"#);
    assert_eq!(
        found,
        BTreeSet::from(["a".to_owned(), "d_total".to_owned()])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_of_names_and_all_that_the_dashboard_shows_are_there() {
    let (node, other) = pair().await;
    let fresh = metrics(&node).await;
    for name in [
        "ipns_publish_total",
        "ipns_resolve_total",
        "ipns_republish_total",
    ] {
        assert!(fresh.contains_key(name), "{name} is missing at the start");
    }
    assert_eq!(fresh["ipns_cache_hit_rate"], Some(0.0));
    work(&node, &other).await;

    let shown = metrics(&node).await;
    for name in [
        "ipns_publish_total",
        "ipns_publish_duration_seconds_count",
        "ipns_resolve_total",
        "ipns_resolve_duration_seconds_count",
        "ipns_dht_peers_total",
        "ipns_cache_hit_rate",
    ] {
        assert!(shown.contains_key(name), "{name} is missing");
    }
    assert_eq!(shown["ipns_dht_peers_total"], Some(1.0));
    assert!(shown["ipns_publish_duration_seconds_count"] >= Some(1.0));
    assert!(shown["ipns_resolve_duration_seconds_count"] >= Some(1.0));
    // Each name was asked for twice, and the second time it was in memory.
    let rate = shown["ipns_cache_hit_rate"].unwrap();
    assert!((0.5..1.0).contains(&rate), "{rate}");

    let file = include_str!("../../../docs/dashboards/perennis-node.json");
    let dashboard: Value = serde_json::from_str(file).unwrap();
    let mut asked = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            asked.extend(named(target["expr"].as_str().unwrap()));
        }
    }
    assert!(asked.len() > 10, "{asked:?}");
    let unknown: Vec<_> = asked
        .iter()
        .filter(|name| !shown.contains_key(*name))
        .collect();
    assert!(unknown.is_empty(), "no such metrics: {unknown:?}");
}

/// Every span with its fields, and the text of everything.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Told>>);

#[derive(Default)]
struct Told {
    spans: BTreeMap<u64, BTreeMap<String, String>>,
    text: String,
}

struct Fields<'a>(&'a mut BTreeMap<String, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Seen {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, _: Context<'_, S>) {
        let mut fields = BTreeMap::new();
        attributes.record(&mut Fields(&mut fields));
        fields.insert("span".to_owned(), attributes.metadata().name().to_owned());
        self.0.lock().unwrap().spans.insert(id.into_u64(), fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut told = self.0.lock().unwrap();
        if let Some(fields) = told.spans.get_mut(&id.into_u64()) {
            values.record(&mut Fields(fields));
        }
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        // Its number is given to others.
        let mut told = self.0.lock().unwrap();
        if let Some(fields) = told.spans.remove(&id.into_u64()) {
            let line = format!("{fields:?}");
            let _ = writeln!(told.text, "{line}");
        }
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = BTreeMap::new();
        event.record(&mut Fields(&mut fields));
        let _ = writeln!(self.0.lock().unwrap().text, "{fields:?}");
    }
}

// On one thread, since what is seen is seen on this one only.
#[tokio::test]
async fn spans_tell_name_and_route_and_nothing_tells_a_secret() {
    let seen = Seen::default();
    // While there is one subscriber only, whether a span is of interest is decided by the thread that meets it first, and that of
    // another test has none.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let subscriber = tracing_subscriber::registry().with(seen.clone());
    let _guard = tracing::subscriber::set_default(subscriber);
    let (node, other) = pair().await;
    work(&node, &other).await;

    let told = std::mem::take(&mut seen.0.lock().unwrap().text);
    for (span, route) in [
        ("publish", "http"),
        ("resolve", ""),
        ("republish", &other.url()),
        ("probe", &other.url()),
        ("probe", "dht"),
    ] {
        let span = format!("\"span\": \"{span}\"");
        let is_there = told.lines().any(|line| {
            line.contains(&span) && line.contains("\"name\": \"k51") && {
                let route = format!("\"route\": \"\\\"{route}");
                line.contains(&route)
            }
        });
        assert!(is_there, "no {span} by {route}");
    }
    let passphrase = std::fs::read_to_string(node.dir.path().join("node.passphrase")).unwrap();
    for secret in [TOKEN, passphrase.trim()] {
        assert!(!told.contains(secret), "a secret was told");
    }
}

/// Which blocks were in the segment, only an index on the disk knows.
#[cfg(feature = "rocksdb")]
#[tokio::test]
async fn a_segment_that_is_gone_is_not_told_block_by_block() {
    use crate::support::{Reply, with_index_on_disk};

    let node = TestNode::with(with_index_on_disk).await;
    let message = Author::new(1).publish_many(200);
    let blocks = message.blocks.len();
    node.publish(&message).await.ok();
    node.node.shutdown().await;
    let dir = node.dir;
    for segment in std::fs::read_dir(dir.path().join("segments")).unwrap() {
        std::fs::remove_file(segment.unwrap().path()).unwrap();
    }

    let seen = Seen::default();
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let subscriber = tracing_subscriber::registry().with(seen.clone());
    let _guard = tracing::subscriber::set_default(subscriber);
    let node = TestNode::again(dir, with_index_on_disk).await;
    // Each of them is asked for and counted.
    let failed = |reply: &Reply| {
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        let mut lines = text.lines();
        let count = lines.find_map(|line| {
            line.strip_prefix("store_refetches_total{outcome=\"Failed\"} ")?
                .parse::<usize>()
                .ok()
        });
        count >= Some(blocks)
    };
    node.eventually("/metrics", failed).await;
    node.node.shutdown().await;

    let told = std::mem::take(&mut seen.0.lock().unwrap().text);
    let lines = |words: &str| told.lines().filter(|line| line.contains(words)).count();
    assert_eq!(lines("nobody has a damaged block"), 3, "{told}");
    let rest = format!("{} more blocks ({0} of 00000001.seg)", blocks - 3);
    assert_eq!(lines(&format!("nobody has {rest}")), 1, "{told}");
    assert_eq!(lines("acknowledged data is lost"), 1, "{told}");
}
