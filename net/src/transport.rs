//! How bytes reach another peer: TCP, QUIC and WebSocket, and channels within this process.
//!
//! The one place of this crate where the target may be asked for. Must never touch: what is said over a connection, which
//! is the behaviour that it is given.

use std::time::Duration;

use libp2p::{
    Swarm, SwarmBuilder, Transport, core::transport::MemoryTransport, core::upgrade,
    identity::Keypair, noise, relay, swarm::NetworkBehaviour, tcp, tls, yamux,
};

use crate::error::StartError;

/// Streams of a connection, counted so that the windows of all of them together grow by 768 KiB at most: rust-yamux
/// divides 1 GiB into 256 KiB for each stream that may be open, and what is left over.
const STREAMS: usize = 4_093;

/// No window of a stream grows beyond 1 MiB. Peers in JavaScript fill a window with one frame, however large, and
/// rust-yamux ends a connection on which a frame is larger than that. What a connection holds is bounded with it.
fn multiplexer() -> yamux::Config {
    let mut config = yamux::Config::default();
    config.set_max_num_streams(STREAMS);
    config
}

/// The swarm of a peer, which speaks what `behaviour` says and keeps a connection without streams for `idle`. It listens
/// nowhere yet.
pub(crate) async fn swarm<B: NetworkBehaviour>(
    identity: Keypair,
    idle: Duration,
    behaviour: impl FnOnce(&Keypair, relay::client::Behaviour) -> B,
) -> Result<Swarm<B>, StartError> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| StartError::Transport(error);
    let swarm = SwarmBuilder::with_existing_identity(identity)
        .with_tokio()
        .with_tcp(
            tcp::Config::default().nodelay(true),
            // The first is what this peer proposes: its cipher is the processor's.
            (tls::Config::new, noise::Config::new),
            multiplexer,
        )
        .map_err(|error| failed(error.into()))?
        .with_quic()
        .with_other_transport(|key| {
            let noise = noise::Config::new(key)?;
            let memory = MemoryTransport::default()
                .upgrade(upgrade::Version::V1Lazy)
                .authenticate(noise)
                .multiplex(multiplexer());
            Ok(memory)
        })
        .map_err(|error| failed(error.into()))?
        .with_dns()
        .map_err(|error| failed(error.into()))?
        .with_websocket(noise::Config::new, multiplexer)
        .await
        .map_err(|error| failed(error.into()))?
        .with_relay_client(noise::Config::new, multiplexer)
        .map_err(|error| failed(error.into()))?
        .with_behaviour(behaviour)
        .unwrap_or_else(|never| match never {})
        .with_swarm_config(|swarm| {
            swarm
                .with_idle_connection_timeout(idle)
                .with_max_negotiating_inbound_streams(256)
        })
        .build();
    Ok(swarm)
}
