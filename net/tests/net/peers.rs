//! Connections: made, refused, banned.

use perennis_net::{ConnectError, DhtMode, Net, dht::MemoryDhtStore};

use crate::swarm::{address, config, peer, until};

#[tokio::test]
async fn a_peer_speaks_tcp_quic_and_websocket() {
    for listen in [
        "/ip4/127.0.0.1/tcp/0",
        "/ip4/127.0.0.1/udp/0/quic-v1",
        "/ip4/127.0.0.1/tcp/0/ws",
    ] {
        let store = MemoryDhtStore::new(10);
        let mut server = config(1, &store);
        server.listen = vec![listen.parse().unwrap()];
        let server = Net::start(server).await.unwrap();
        let mut client = config(2, &store);
        client.listen = Vec::new();
        let client = Net::start(client).await.unwrap();
        let reached = client.connect_to(&address(&server)).await.unwrap();
        assert_eq!(reached, server.peer_id(), "{listen}");
        let peers = client.peers().await.unwrap();
        assert_eq!(peers.len(), 1);
        assert!(!peers[0].inbound);
        until(|| async {
            let peers = server.peers().await.unwrap();
            peers.len() == 1
                && peers[0]
                    .agent
                    .as_deref()
                    .is_some_and(|agent| agent.starts_with("perennis/"))
        })
        .await;
    }
}

#[tokio::test]
async fn somebody_else_at_an_address_is_told() {
    let (one, other) = (peer(1).await, peer(2).await);
    let mut address = address(&one.net);
    address.pop();
    let address = address.with_p2p(other.net.peer_id()).unwrap();
    let third = peer(3).await;
    let error = third.net.connect_to(&address).await.unwrap_err();
    assert!(matches!(error, ConnectError::WrongPeer { .. }), "{error:?}");
    let nobody = "/memory/1".parse().unwrap();
    let error = third.net.connect_to(&nobody).await.unwrap_err();
    assert!(matches!(error, ConnectError::NoPeer { .. }), "{error:?}");
    let own = crate::swarm::address(&third.net);
    let error = third.net.connect_to(&own).await.unwrap_err();
    assert!(matches!(error, ConnectError::Own), "{error:?}");
}

#[tokio::test]
async fn a_banned_peer_is_not_spoken_to_until_it_is_unbanned() {
    let (one, other) = (peer(1).await, peer(2).await);
    other.net.connect_to(&address(&one.net)).await.unwrap();
    assert!(one.net.ban(other.net.peer_id()).await.unwrap());
    until(|| async { one.net.peers().await.unwrap().is_empty() }).await;
    let error = one.net.connect_to(&address(&other.net)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Denied { .. }), "{error:?}");
    assert_eq!(
        one.net.status().await.unwrap().banned,
        [other.net.peer_id()]
    );
    assert!(one.net.unban(other.net.peer_id()).await.unwrap());
    one.net.connect_to(&address(&other.net)).await.unwrap();
}

#[tokio::test]
async fn the_connections_of_others_are_limited() {
    let store = MemoryDhtStore::new(10);
    let mut limited = config(1, &store);
    limited.limits.inbound = 3;
    let limited = Net::start(limited).await.unwrap();
    let mut clients = Vec::new();
    for number in 2..12 {
        let client = peer(number).await;
        // Who comes too late is refused, at once or after the handshake.
        let _ = client.net.connect_to(&address(&limited)).await;
        clients.push(client);
    }
    until(|| async {
        let status = limited.status().await.unwrap();
        status.peers == 3 && status.inbound.open == 3 && status.inbound.refused >= 7
    })
    .await;
}

#[tokio::test]
async fn without_the_dht_nothing_is_asked() {
    let store = MemoryDhtStore::new(10);
    let mut off = config(1, &store);
    off.dht = DhtMode::Off;
    let off = Net::start(off).await.unwrap();
    assert!(off.status().await.unwrap().routing.is_empty());
    assert!(off.dht().closest(b"key").await.is_err());
}
