//! How bytes reach another peer: TCP, QUIC and WebSocket, and channels within this process.

use libp2p::{
    Swarm, SwarmBuilder, Transport, core::transport::MemoryTransport, core::upgrade, noise, tcp,
    yamux,
};

use super::{behaviour::Behaviour, config::NetConfig, handle::StartError};

/// The swarm of a peer. It listens nowhere yet.
pub(super) async fn swarm(config: &NetConfig) -> Result<Swarm<Behaviour>, StartError> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| StartError::Transport(error);
    let idle = config.limits.idle;
    let swarm = SwarmBuilder::with_existing_identity(config.identity.clone())
        .with_tokio()
        .with_tcp(
            tcp::Config::default().nodelay(true),
            noise::Config::new,
            yamux::Config::default,
        )
        .map_err(|error| failed(error.into()))?
        .with_quic()
        .with_other_transport(|key| {
            let noise = noise::Config::new(key)?;
            let memory = MemoryTransport::default()
                .upgrade(upgrade::Version::V1Lazy)
                .authenticate(noise)
                .multiplex(yamux::Config::default());
            Ok(memory)
        })
        .map_err(|error| failed(error.into()))?
        .with_dns()
        .map_err(|error| failed(error.into()))?
        .with_websocket(noise::Config::new, yamux::Config::default)
        .await
        .map_err(|error| failed(error.into()))?
        .with_relay_client(noise::Config::new, yamux::Config::default)
        .map_err(|error| failed(error.into()))?
        .with_behaviour(|key, relay| Behaviour::new(config, key, relay))
        .unwrap_or_else(|never| match never {})
        .with_swarm_config(|swarm| {
            swarm
                .with_idle_connection_timeout(idle)
                .with_max_negotiating_inbound_streams(256)
        })
        .build();
    Ok(swarm)
}
