//! A peer on raw streams, which keeps no rule it does not want to keep.

use std::time::Duration;

use futures_util::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, Swarm, Transport,
    core::{transport::MemoryTransport, upgrade},
    identify,
    identity::Keypair,
    noise,
    swarm::{self, NetworkBehaviour, SwarmEvent, dial_opts::DialOpts},
    yamux,
};
use perennis_net::{
    Net,
    dht::{DhtProtocol, Network},
    peers::PeerInfo,
};
use perennis_shared::wire::write_length;

use crate::swarm::until;

/// How long an answer is waited for that is not to come.
const SILENCE: Duration = Duration::from_millis(700);

/// A peer on raw streams.
pub(crate) struct Raw {
    pub(crate) peer: PeerId,
    control: libp2p_stream::Control,
}

/// What the DHT of IPFS speaks.
fn protocol(network: Network) -> StreamProtocol {
    StreamProtocol::try_from_owned(DhtProtocol::default().name(network)).unwrap()
}

/// A swarm that speaks nothing by itself.
fn swarm(limit: usize) -> Swarm<libp2p_stream::Behaviour> {
    let config = swarm::Config::with_tokio_executor().with_max_negotiating_inbound_streams(limit);
    let key = Keypair::generate_ed25519();
    swarm_of(&key, libp2p_stream::Behaviour::new(), config)
}

fn swarm_of<B: NetworkBehaviour>(key: &Keypair, behaviour: B, config: swarm::Config) -> Swarm<B> {
    let transport = MemoryTransport::default()
        .upgrade(upgrade::Version::V1)
        .authenticate(noise::Config::new(key).unwrap())
        .multiplex(yamux::Config::default())
        .boxed();
    let config = config.with_idle_connection_timeout(Duration::from_secs(600));
    Swarm::new(transport, behaviour, key.public().to_peer_id(), config)
}

impl Raw {
    /// A peer that is connected with the one at this address.
    pub(crate) async fn connected(address: &Multiaddr) -> Raw {
        let mut swarm = swarm(10_000);
        let peer = *swarm.local_peer_id();
        let control = swarm.behaviour().new_control();
        swarm.dial(address.clone()).unwrap();
        let (connected, is_connected) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let mut connected = Some(connected);
            loop {
                let event = swarm.select_next_some().await;
                if matches!(event, SwarmEvent::ConnectionEstablished { .. })
                    && let Some(connected) = connected.take()
                {
                    let _ = connected.send(());
                }
            }
        });
        is_connected.await.unwrap();
        Raw { peer, control }
    }

    /// A stream for the routing protocol of private networks.
    pub(crate) async fn stream(&self, to: PeerId) -> Option<Stream> {
        let protocol = protocol(Network::Lan);
        let mut opening = self.control.clone();
        tokio::time::timeout(Duration::from_secs(5), opening.open_stream(to, protocol))
            .await
            .ok()?
            .ok()
    }

    /// Writes a message with its length on a stream of its own.
    pub(crate) async fn send(&self, to: PeerId, message: &[u8]) -> Option<Stream> {
        let mut stream = self.stream(to).await?;
        stream.write_all(&framed(message)).await.ok()?;
        stream.flush().await.ok()?;
        Some(stream)
    }
}

/// A peer that stands still: what is connected stays so, and nothing is answered.
pub(crate) struct Stuck {
    swarm: Swarm<libp2p_stream::Behaviour>,
    address: Multiaddr,
}

impl Stuck {
    /// Connects to a peer, and then does nothing any more.
    pub(crate) async fn connected(to: &Net) -> Stuck {
        let key = Keypair::generate_ed25519();
        // Without an executor its connections move only with the swarm.
        let config = swarm::Config::without_executor();
        let mut swarm = swarm_of(&key, libp2p_stream::Behaviour::new(), config);
        swarm.listen_on("/memory/0".parse().unwrap()).unwrap();
        swarm.dial(to.addresses()[0].clone()).unwrap();
        let mut address = None;
        let mut is_connected = false;
        while !is_connected || address.is_none() {
            match swarm.select_next_some().await {
                SwarmEvent::NewListenAddr { address: at, .. } => address = Some(at),
                SwarmEvent::ConnectionEstablished { .. } => is_connected = true,
                _ => {}
            }
        }
        let address = address.unwrap();
        let own = *swarm.local_peer_id();
        let is_there = |peers: Vec<PeerInfo>| peers.iter().any(|info| info.peer == own);
        until(|| async { is_there(to.peers().await.unwrap()) }).await;
        Stuck { swarm, address }
    }

    pub(crate) fn peer(&self) -> PeerId {
        *self.swarm.local_peer_id()
    }

    /// Where it listens, without its id.
    pub(crate) fn address(&self) -> Multiaddr {
        self.address.clone()
    }
}

/// A peer that says of itself that it serves the public DHT at an address, wherever it is.
#[derive(NetworkBehaviour)]
struct Claiming {
    streams: libp2p_stream::Behaviour,
    identify: identify::Behaviour,
}

/// Connects with the peer at `address` and claims to be at `claimed`. It goes on until the test ends.
pub(crate) async fn claim(address: &Multiaddr, claimed: Multiaddr) -> PeerId {
    let key = Keypair::generate_ed25519();
    let identify = identify::Config::new("ipfs/0.1.0".to_owned(), key.public());
    let behaviour = Claiming {
        streams: libp2p_stream::Behaviour::new(),
        identify: identify::Behaviour::new(identify),
    };
    let mut swarm = swarm_of(&key, behaviour, swarm::Config::with_tokio_executor());
    let protocol = protocol(Network::Public);
    let mut serving = swarm
        .behaviour()
        .streams
        .new_control()
        .accept(protocol)
        .unwrap();
    swarm.add_external_address(claimed);
    swarm.dial(address.clone()).unwrap();
    let peer = *swarm.local_peer_id();
    let (identified, is_identified) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let mut identified = Some(identified);
        loop {
            tokio::select! {
                event = swarm.select_next_some() => {
                    let is_sent = matches!(
                        event,
                        SwarmEvent::Behaviour(ClaimingEvent::Identify(identify::Event::Sent { .. }))
                    );
                    if is_sent && let Some(identified) = identified.take() {
                        let _ = identified.send(());
                    }
                }
                _ = serving.next() => {}
            }
        }
    });
    is_identified.await.unwrap();
    peer
}

/// Whether anything comes on a stream before the silence is long enough.
pub(crate) async fn is_answered(stream: Option<Stream>) -> bool {
    let Some(mut stream) = stream else {
        return false;
    };
    let mut byte = [0];
    let read = tokio::time::timeout(SILENCE, stream.read_exact(&mut byte)).await;
    matches!(read, Ok(Ok(())))
}

/// A message with its length before it.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    write_length(&mut frame, message.len());
    frame.extend_from_slice(message);
    frame
}

/// Opens so many connections with one peer, one dial after the other, and keeps what is kept; tells how many dials ended.
pub(crate) async fn open_connections(address: &Multiaddr, wanted: usize) -> usize {
    let mut swarm = swarm(16);
    let (mut dialled, mut ended) = (0, 0);
    let mut under_way = 0;
    while ended < wanted {
        while under_way < 64 && dialled < wanted {
            let dial = DialOpts::unknown_peer_id().address(address.clone()).build();
            dialled += 1;
            match swarm.dial(dial) {
                Ok(()) => under_way += 1,
                Err(_) => ended += 1,
            }
        }
        match swarm.select_next_some().await {
            SwarmEvent::ConnectionEstablished { .. }
            | SwarmEvent::OutgoingConnectionError { .. } => {
                under_way -= 1;
                ended += 1;
            }
            _ => {}
        }
    }
    // The connections that are left stay open until the test ends.
    tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    ended
}
