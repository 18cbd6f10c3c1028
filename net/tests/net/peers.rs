//! Connections: made, refused, banned.

use std::{sync::Arc, time::Duration};

use futures_util::{AsyncReadExt, AsyncWriteExt};
use perennis_net::{
    ConnectError, DhtMode, Net, PeerId,
    dht::MemoryDhtStore,
    protocol::{Handler, Protocol, ServeResult, Stream},
};
use perennis_rt::BoxFuture;
use tokio::sync::Semaphore;

use crate::swarm::{address, config, peer, until};

/// Its streams are served until the other end closes them.
const HOLD: Protocol = Protocol::new("/perennis-test/hold", "1.0.0").with_streams(8, 2);

/// Tells of each stream that is served.
struct Holding(Arc<Semaphore>);

impl Handler for Holding {
    fn serve(&self, _peer: PeerId, mut stream: Stream) -> BoxFuture<'_, ServeResult> {
        Box::pin(async move {
            self.0.add_permits(1);
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await?;
            Ok(())
        })
    }
}

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
async fn idle_peers_give_way_to_newcomers_and_those_in_use_stay() {
    let store = MemoryDhtStore::new(10);
    let mut limited = config(1, &store);
    limited.limits.inbound = 8;
    limited.limits.grace = Duration::ZERO;
    // Who serves the DHT is of use; here nobody is.
    limited.dht = DhtMode::Off;
    let limited = Net::start(limited).await.unwrap();
    let client = async |number| {
        let store = MemoryDhtStore::new(10);
        let mut client = config(number, &store);
        client.dht = DhtMode::Off;
        client.listen = Vec::new();
        Net::start(client).await.unwrap()
    };
    let came = Arc::new(Semaphore::new(0));
    let _registered = limited.accept(HOLD, Holding(Arc::clone(&came))).unwrap();
    let busy = client(2).await;
    busy.connect_to(&address(&limited)).await.unwrap();
    let mut stream = busy.open(limited.peer_id(), &HOLD).await.unwrap();
    stream.write_all(b"!").await.unwrap();
    stream.flush().await.unwrap();
    came.acquire().await.unwrap().forget();
    let mut clients = Vec::new();
    for number in 3..30 {
        let client = client(number).await;
        client.connect_to(&address(&limited)).await.unwrap();
        clients.push(client);
    }
    until(|| async {
        let status = limited.status().await.unwrap();
        let newest = clients.last().unwrap().peer_id();
        let peers = limited.peers().await.unwrap();
        let has = |peer| peers.iter().any(|info| info.peer == peer);
        status.inbound.gave_way >= 19 && has(newest) && has(busy.peer_id())
    })
    .await;
    drop(stream);
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
