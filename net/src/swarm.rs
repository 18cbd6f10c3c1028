//! The swarm, and the one task that owns it: commands come in over channels, events out of libp2p, and nothing waits.
//!
//! - `behaviour`: what is spoken with other peers.
//! - `dial_back`: addresses that others name are dialled, within bounds.
//! - `worker`: the task; connections, routing tables and topics each have a file.
//!
//! Must never touch: what a protocol that was registered says on its streams ([`crate::protocol`]), the disk, or the
//! handles, which know only the channels.

use std::sync::{Arc, Weak};

use libp2p::{Multiaddr, PeerId};
use parking_lot::RwLock;

use crate::{
    bitswap,
    command::{self, Commands, SwarmCommand},
    config::{DhtMode, NetConfig},
    dht::{Local, Network, Server, protocol_of},
    error::StartError,
    protocol::{self, Streams},
    pubsub::Pubsub,
    transport,
};

mod behaviour;
mod dial_back;
mod worker;

use behaviour::Behaviour;
use worker::{Received, Worker};

/// What the handles of a peer that has started are made of.
pub(crate) struct Started {
    pub(crate) peer: PeerId,
    /// Addresses that are listened on, as they change.
    pub(crate) listening: Arc<RwLock<Vec<Multiaddr>>>,
    pub(crate) commands: Commands<SwarmCommand>,
    pub(crate) dht: Weak<Local>,
    pub(crate) streams: Streams,
    pub(crate) bitswap: bitswap::Handle,
    pub(crate) pubsub: Option<Pubsub>,
}

/// Starts a peer: listens, and leaves a task behind that works until nobody can send it commands any more.
pub(crate) async fn start(config: NetConfig) -> Result<Started, StartError> {
    let (streams, serving) = protocol::Behaviour::new();
    let identity = config.identity.clone();
    let behaviour = |key: &_, relay| Behaviour::new(&config, key, relay, streams);
    let mut swarm = transport::swarm(identity, config.limits.idle, behaviour).await?;
    let peer = *swarm.local_peer_id();
    for address in &config.announce {
        swarm.add_external_address(address.clone());
    }
    let listening = Arc::new(RwLock::new(Vec::new()));
    let (commands, received) = command::channel();
    let local = Arc::new(Local::new(
        peer,
        config.dht != DhtMode::Off,
        Arc::clone(&config.store),
        Arc::clone(&listening),
    ));
    let dht = Arc::downgrade(&local);
    let (of_pubsub, received_pubsub) = command::channel();
    let streams = swarm.behaviour().streams.streams(commands.downgrade());
    let bitswap = swarm.behaviour().bitswap.handle();
    let topics = config.pubsub.as_ref();
    let pubsub = topics.map(|topics| Pubsub::new(topics, streams.clone(), of_pubsub));
    let received = Received {
        swarm: received,
        pubsub: received_pubsub,
    };
    let worker = Worker::new(
        swarm,
        &config,
        received,
        Arc::clone(&listening),
        Arc::clone(&local),
        pubsub.clone(),
    );
    // Whoever is told of this peer's protocols is told of all.
    let mut registrations = Vec::new();
    if config.dht == DhtMode::Server {
        for network in Network::ALL {
            let protocol = protocol_of(&config.dht_protocol, network);
            registrations.push(streams.accept(protocol, Server::new(Arc::clone(&local), network)));
        }
    }
    drop(local);
    let worker = worker.listen(&config.listen).await?;
    if let Some(pubsub) = &pubsub {
        registrations.push(pubsub.answer(config.store));
    }
    let registrations = registrations.into_iter();
    let registrations = registrations.collect::<Result<Vec<_>, _>>();
    let registrations = registrations.expect("each is registered once, at the start");
    perennis_rt::spawn(worker.run(serving, registrations));
    Ok(Started {
        peer,
        listening,
        commands,
        dht,
        streams,
        bitswap,
        pubsub,
    })
}
