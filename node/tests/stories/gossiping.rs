//! Nodes tell each other of newer records by gossip.

use perennis_net::{Bootstrap, DhtMode};
use perennis_node::config::P2pConfig;
use perennis_shared::cid::{Block, Codec};

use crate::support::{Author, DAY, Reply, TestNode};

const RECORD: (&str, &str) = ("Content-Type", "application/vnd.ipfs.ipns-record");
const ACCEPT: (&str, &str) = ("Accept", "application/vnd.ipfs.ipns-record");

/// A node that others reach on loopback, and that dials `others` first.
async fn node(others: &[&TestNode]) -> TestNode {
    node_with(others, |_| {}).await
}

async fn node_with(others: &[&TestNode], configure: impl FnOnce(&mut P2pConfig)) -> TestNode {
    let addresses = others
        .iter()
        .flat_map(|other| other.node.p2p_addresses())
        .map(|address| address.parse().unwrap())
        .collect();
    TestNode::with(|config| {
        config.p2p.listen = Some(vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()]);
        config.p2p.bootstrap = Bootstrap::Peers(addresses);
        configure(&mut config.p2p);
    })
    .await
}

fn has_sequence(sequence: u64) -> impl Fn(&Reply) -> bool {
    move |reply| reply.status == 200 && reply.json()["sequence"] == sequence
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_record_reaches_those_who_follow_the_name() {
    let owner = Author::new(60);
    let head = Block::new(Codec::Raw, b"a head".to_vec()).unwrap();
    let records = [1, 2].map(|sequence| owner.record(*head.cid(), sequence, 30 * DAY));
    let record = |sequence: usize| &records[sequence - 1];
    let shown = format!("/v1/names/{}", owner.name());
    let routed = format!("/routing/v1/ipns/{}", owner.name());

    let home = node(&[]).await;
    let follower = node(&[&home]).await;
    follower
        .ask("PUT", &shown, &[RECORD], record(1).bytes())
        .await
        .ok();
    home.ask("PUT", &routed, &[RECORD], record(1).bytes())
        .await
        .ok();
    home.ask("PUT", &routed, &[RECORD], record(2).bytes())
        .await
        .ok();
    follower.eventually(&shown, has_sequence(2)).await;

    // One that comes late has the old record, and asks those it finds.
    let late = node(&[&follower]).await;
    late.ask("PUT", &shown, &[RECORD], record(1).bytes())
        .await
        .ok();
    late.eventually(&shown, has_sequence(2)).await;

    // One that does not keep the name asks peers that follow it.
    let stranger = node(&[&home]).await;
    let answered = async {
        loop {
            let reply = stranger.get_with(&routed, &[ACCEPT]).await;
            if reply.header("content-type") == Some(RECORD.1) {
                return reply;
            }
            // That nobody knows a name is believed for five seconds.
            tokio::task::yield_now().await;
        }
    };
    let patience = std::time::Duration::from_secs(30);
    let reply = tokio::time::timeout(patience, answered).await.unwrap();
    assert_eq!(reply.body, record(2).bytes());
    assert_eq!(stranger.get(&shown).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_follow_the_same_name_find_each_other_in_the_dht() {
    let owner = Author::new(62);
    let head = Block::new(Codec::Raw, b"a head".to_vec()).unwrap();
    let records = [1, 2].map(|sequence| owner.record(*head.cid(), sequence, 30 * DAY));
    let shown = format!("/v1/names/{}", owner.name());

    let hub = node_with(&[], |p2p| p2p.dht = DhtMode::Server).await;
    // Clients of the DHT stand in nobody's table: no lookup leads to them.
    let mut clients = Vec::new();
    for _ in 0..2 {
        let client = node_with(&[&hub], |p2p| p2p.dht = DhtMode::Client).await;
        client
            .ask("PUT", &shown, &[RECORD], records[0].bytes())
            .await
            .ok();
        clients.push(client);
    }
    for (one, other) in [(0, 1), (1, 0)] {
        let other = clients[other].node.peer_id().to_string();
        let is_listed = |reply: &Reply| reply.json().to_string().contains(&other);
        clients[one].eventually("/v1/peers", is_listed).await;
    }
    clients[0]
        .ask(
            "PUT",
            &format!("/routing/v1/ipns/{}", owner.name()),
            &[RECORD],
            records[1].bytes(),
        )
        .await
        .ok();
    clients[1].eventually(&shown, has_sequence(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_that_are_each_others_endpoints_do_not_ask_in_circles() {
    let first = TestNode::start().await;
    let url = first.url();
    let second = TestNode::with(|config| config.ipns.routers = vec![url]).await;
    let owner = Author::new(61);
    let head = Block::new(Codec::Raw, b"a head".to_vec()).unwrap();
    let record = owner.record(*head.cid(), 4, 30 * DAY);
    let routed = format!("/routing/v1/ipns/{}", owner.name());
    first
        .ask("PUT", &routed, &[RECORD], record.bytes())
        .await
        .ok();
    // A question that was passed on to a node is not passed on by it.
    let looped = [ACCEPT, ("CDN-Loop", "other.example, perennis")];
    let reply = second.get_with(&routed, &looped).await;
    assert_ne!(reply.header("content-type"), Some(RECORD.1));
    let reply = second.get_with(&routed, &[ACCEPT]).await;
    assert_eq!(reply.ok().body, record.bytes());
}
