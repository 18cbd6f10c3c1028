//! Records and providers in a network of peers.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use perennis_net::dht::{DhtError, DhtStore, Network, StoredRecord, Sweep};
use perennis_shared::{
    cid::{Block, Codec},
    time::Millis,
};

use crate::swarm::{name, network, peer, record, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_is_put_to_the_closest_and_found_by_all() {
    let network = network(8).await;
    let record = record(1, 5);
    let report = network[3]
        .net
        .dht()
        .put_record(&name(1), &record)
        .await
        .unwrap();
    // One that is behind the quorum may still be about to answer.
    let told = report.reached.len() + report.late;
    assert_eq!(told, 7, "{:?}", report.failed);
    for peer in &network {
        let found = peer.net.dht().find_record(&name(1)).await.unwrap();
        assert_eq!(found.best, record);
        assert!(found.equivocation.is_none());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_with_an_older_record_are_told_the_best() {
    let network = network(6).await;
    let (old, new) = (record(2, 1), record(2, 2));
    network[0]
        .net
        .dht()
        .put_record(&name(2), &old)
        .await
        .unwrap();
    // One peer alone hears of the newer one.
    let kept = StoredRecord {
        record: new.clone(),
        expires: Millis(u64::MAX),
    };
    network[4].store.keep_record(&name(2), kept);
    let found = network[1].net.dht().find_record(&name(2)).await.unwrap();
    assert_eq!(found.best, new);
    assert!(found.corrected >= 4, "{found:?}");
    let others = [0, 2, 3, 5].map(|index| &network[index]);
    until(|| async {
        others.iter().all(|peer| {
            peer.store
                .record(&name(2))
                .is_some_and(|kept| kept.record == new)
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_valid_is_not_kept_by_anybody() {
    let network = network(4).await;
    network[0]
        .net
        .dht()
        .put_record(&name(3), &record(3, 9))
        .await
        .unwrap();
    // A valid record of another name, and an old one of this name.
    for (bad, of) in [(record(4, 1), 3), (record(3, 8), 3)] {
        let refused = network[1]
            .net
            .dht()
            .put_record(&name(of), &bad)
            .await
            .unwrap_err();
        assert!(
            matches!(refused, DhtError::Quorum { reached: 0, .. }),
            "{refused}"
        );
    }
    let found = network[2].net.dht().find_record(&name(3)).await.unwrap();
    assert_eq!(found.best.sequence(), 9);
    // The lanes that were refused serve the next record.
    let report = network[1]
        .net
        .dht()
        .put_record(&name(3), &record(3, 10))
        .await
        .unwrap();
    assert_eq!(report.reached.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_name_and_an_empty_network_are_told_apart() {
    let pair = network(2).await;
    let unknown = pair[0].net.dht().find_record(&name(5)).await.unwrap_err();
    assert!(matches!(unknown, DhtError::NotFound { .. }), "{unknown}");
    let alone = peer(100).await;
    let nobody = alone.net.dht().find_record(&name(5)).await.unwrap_err();
    assert!(matches!(nobody, DhtError::NoPeers), "{nobody}");
    let nobody = alone
        .net
        .dht()
        .put_record(&name(1), &record(1, 1))
        .await
        .unwrap_err();
    assert!(matches!(nobody, DhtError::NoPeers), "{nobody}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn providers_are_found_with_their_addresses() {
    let network = network(6).await;
    let block = Block::new(Codec::Raw, b"a block".to_vec()).unwrap();
    for provider in [1, 4] {
        let report = network[provider]
            .net
            .dht()
            .provide(block.cid())
            .await
            .unwrap();
        assert!(report.reached.len() >= 4, "{report:?}");
    }
    let wanted: HashSet<_> = [1, 4].map(|index| network[index].net.peer_id()).into();
    until(|| async {
        let found = network[2]
            .net
            .dht()
            .find_providers(block.cid(), 20)
            .await
            .unwrap();
        let peers: HashSet<_> = found.providers.iter().map(|found| found.peer).collect();
        peers == wanted
            && found
                .providers
                .iter()
                .all(|found| !found.addresses.is_empty())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_peers_resolve_everything_after_a_third_has_left() {
    let mut network = network(50).await;
    let names = 1..=40;
    let puts = names.clone().map(|number| {
        let net = network[usize::from(number)].net.clone();
        async move {
            net.dht()
                .put_record(&name(number), &record(number, 7))
                .await
                .unwrap()
        }
    });
    join_all(puts).await;
    for gone in network.drain(..15) {
        gone.net.stop().await;
    }
    let resolves = names.map(|number| {
        let net = network[usize::from(number) % network.len()].net.clone();
        async move { net.dht().find_record(&name(number)).await.unwrap().best }
    });
    for (number, best) in (1..=40).zip(join_all(resolves).await) {
        assert_eq!(best.sequence(), 7, "name {number}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_refused_delays_no_other() {
    let network = network(4).await;
    network[0]
        .net
        .dht()
        .put_record(&name(1), &record(1, 9))
        .await
        .unwrap();
    let net = &network[1].net;
    let stale: Vec<_> = (1..=4)
        .map(|sequence| {
            let net = net.clone();
            tokio::spawn(async move { net.dht().put_record(&name(1), &record(1, sequence)).await })
        })
        .collect();
    // A refusal resets the stream that the others are waiting for too.
    let started = Instant::now();
    for number in 2..30 {
        let report = net
            .dht()
            .put_record(&name(number), &record(number, 1))
            .await;
        assert_eq!(report.unwrap().reached.len(), 3);
    }
    assert!(started.elapsed().as_secs() < 4, "{:?}", started.elapsed());
    for refused in stale {
        let refused = refused.await.unwrap().unwrap_err();
        assert!(matches!(refused, DhtError::Quorum { reached: 0, .. }));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_map_of_the_network_nothing_is_looked_up() {
    let network = network(30).await;
    let sweep = Sweep::new(network[7].net.clone());
    let mapped = sweep.map().await.unwrap();
    assert_eq!(mapped.len(), 1, "{mapped:?}");
    assert_eq!(mapped[0].network, Network::Lan);
    // Peers whose tables are still filling up may not tell of each other yet.
    assert!((27..=29).contains(&mapped[0].peers), "{mapped:?}");
    let block = Block::new(Codec::Raw, b"a block".to_vec()).unwrap();
    // Nobody is left to be asked: what is known is enough.
    let report = sweep.put_record(&name(1), &record(1, 1)).await.unwrap();
    assert!(report.reached.len() >= 16, "{report:?}");
    let report = sweep.provide(block.cid()).await.unwrap();
    assert!(report.reached.len() >= 16, "{report:?}");
    let found = network[20].net.dht().find_record(&name(1)).await.unwrap();
    assert_eq!(found.best, record(1, 1));
    let own = network[7].net.peer_id();
    until(|| async {
        let found = network[20].net.dht().find_providers(block.cid(), 5).await;
        found
            .unwrap()
            .providers
            .iter()
            .any(|found| found.peer == own)
    })
    .await;
}

#[test]
fn a_runtime_that_stops_ends_what_is_being_asked_and_put() {
    // Lanes that cannot begin any more must not be begun again for ever.
    for _ in 0..8 {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let network = network(4).await;
            for number in 0..200 {
                let net = network[usize::from(number) % 4].net.clone();
                tokio::spawn(async move {
                    let _ = net
                        .dht()
                        .put_record(&name(number), &record(number, 1))
                        .await;
                    let _ = net.dht().find_record(&name(number)).await;
                });
            }
        });
        let patience = Duration::from_secs(20);
        let stopping = Instant::now();
        runtime.shutdown_timeout(patience);
        assert!(stopping.elapsed() < patience, "a task does not end");
    }
}
