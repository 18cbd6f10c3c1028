//! Names followed by gossip: newer records arrive, also at those who come late.

use perennis_net::{
    Net, Pubsub, PubsubConfig, PubsubError,
    dht::{DhtStore, MemoryDhtStore, StoredRecord},
};
use perennis_rt as rt;
use perennis_shared::{
    ipns::{Name, Record},
    time::Millis,
};

use crate::swarm::{Peer, address, config, name, record, record_until, until};

async fn gossiping(number: u16) -> Peer {
    let store = MemoryDhtStore::new(100);
    let mut config = config(number, &store);
    config.pubsub = Some(PubsubConfig { names: 8 });
    let net = Net::start(config).await.unwrap();
    Peer { net, store }
}

fn pubsub(peer: &Peer) -> &Pubsub {
    peer.net.pubsub().unwrap()
}

/// The next update, or a failure after a minute.
async fn update(peer: &Peer) -> (Name, Record) {
    let mut updates = pubsub(peer).updates();
    let next = tokio::time::timeout(std::time::Duration::from_secs(60), updates.next());
    next.await.expect("a record comes").unwrap()
}

async fn line(peers: u16, of: u8) -> Vec<Peer> {
    let mut line: Vec<Peer> = Vec::new();
    for number in 0..peers {
        let peer = gossiping(number).await;
        pubsub(&peer).follow(name(of), None).await.unwrap();
        if let Some(last) = line.last() {
            peer.net.connect_to(&address(&last.net)).await.unwrap();
        }
        line.push(peer);
    }
    line
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_record_reaches_peers_of_peers() {
    let line = line(4, 1).await;
    until(|| async { pubsub(&line[0]).tell(name(1), &record(1, 1)).await.unwrap() == 1 }).await;
    for peer in &line[1..] {
        until(|| async { pubsub(peer).newest(&name(1)).is_some() }).await;
    }
    let second = record(1, 2);
    pubsub(&line[3]).tell(name(1), &second).await.unwrap();
    for peer in &line[..3] {
        until(|| async {
            pubsub(peer)
                .newest(&name(1))
                .is_some_and(|best| best == second)
        })
        .await;
    }
    // Whoever takes the news late gets the best of them once.
    assert_eq!(update(&line[1]).await, (name(1), second));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_joiner_gets_the_newest_by_asking() {
    let (one, late) = (gossiping(1).await, gossiping(2).await);
    let newest = record(2, 9);
    pubsub(&one).follow(name(2), None).await.unwrap();
    assert_eq!(pubsub(&one).tell(name(2), &newest).await.unwrap(), 0);
    late.net.connect_to(&address(&one.net)).await.unwrap();
    pubsub(&late).follow(name(2), None).await.unwrap();
    assert_eq!(update(&late).await, (name(2), newest));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_was_there_first_learns_from_the_late_one() {
    let (first, late) = (gossiping(1).await, gossiping(2).await);
    pubsub(&first)
        .follow(name(3), Some(record(3, 1)))
        .await
        .unwrap();
    pubsub(&late)
        .follow(name(3), Some(record(3, 2)))
        .await
        .unwrap();
    late.net.connect_to(&address(&first.net)).await.unwrap();
    assert_eq!(update(&first).await.1.sequence(), 2);
    assert_eq!(pubsub(&late).newest(&name(3)).unwrap().sequence(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_was_put_here_is_given_to_who_asks() {
    let (keeper, asker) = (gossiping(1).await, gossiping(2).await);
    let stored = StoredRecord {
        record: record(4, 3),
        expires: Millis(u64::MAX),
    };
    keeper.store.keep_record(&name(4), stored);
    // It follows the name and has heard nothing of it.
    pubsub(&keeper).follow(name(4), None).await.unwrap();
    asker.net.connect_to(&address(&keeper.net)).await.unwrap();
    until(|| async { pubsub(&asker).find(&name(4)).await.is_ok() }).await;
    let found = pubsub(&asker).find(&name(4)).await.unwrap();
    assert_eq!(found.sequence(), 3);
    let unknown = pubsub(&asker).find(&name(5)).await.unwrap_err();
    assert!(matches!(unknown, PubsubError::NotFound { .. }), "{unknown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_older_or_of_another_name_is_not_told() {
    let peer = gossiping(1).await;
    let topics = pubsub(&peer);
    topics.follow(name(1), Some(record(1, 5))).await.unwrap();
    let older = topics.tell(name(1), &record(1, 4)).await.unwrap_err();
    assert!(
        matches!(
            older,
            PubsubError::Stale {
                seen: 5,
                offered: 4
            }
        ),
        "{older}"
    );
    for bad in [
        record(2, 9),
        record_until(1, 9, rt::now().0.saturating_sub(1_000)),
    ] {
        let refused = topics.tell(name(1), &bad).await.unwrap_err();
        assert!(matches!(refused, PubsubError::Record(_)), "{refused}");
    }
    let foreign = topics.follow(name(3), Some(record(2, 1))).await;
    assert!(matches!(foreign, Err(PubsubError::Record(_))));
    assert_eq!(topics.newest(&name(1)).unwrap().sequence(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_are_bounded_and_left() {
    let peer = gossiping(1).await;
    let topics = pubsub(&peer);
    for number in 1..=8 {
        assert!(topics.follow(name(number), None).await.unwrap());
    }
    let full = topics.follow(name(9), None).await.unwrap_err();
    assert!(matches!(full, PubsubError::TooMany { most: 8 }), "{full}");
    assert!(topics.leave(name(1)).await.unwrap());
    assert!(!topics.leave(name(1)).await.unwrap());
    assert!(topics.follow(name(9), None).await.unwrap());
    assert_eq!(topics.names().len(), 8);
    let mut updates = topics.updates();
    let topics = topics.clone();
    peer.net.stop().await;
    assert!(updates.next().await.is_none());
    assert!(matches!(
        topics.tell(name(2), &record(2, 1)).await,
        Err(PubsubError::Net(_))
    ));
}
