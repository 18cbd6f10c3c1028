//! The protocols between peers that the node accepts, beside those that every peer of ours speaks: the DHT, bitswap, and
//! gossip with its questions.
//!
//! A protocol is a [`Protocol`] and a [`Handler`] in a file of the room that it belongs to, and a line in the list below. The
//! node's [`Swarm`] keeps the registrations; whoever opens a stream for it asks [`perennis_net::Net::open`].

use perennis_net::{AcceptError, Handler, Protocol};

use crate::swarm::Swarm;
use crate::workers::Parts;

/// What is accepted, and what makes its handler of the parts of the node.
const PROTOCOLS: &[(Protocol, Make)] = &[
    #[cfg(test)]
    (tests::ECHO, |parts| Box::new(tests::Echo::new(parts))),
];

type Make = fn(&Parts<'_>) -> Box<dyn Handler>;

/// Accepts all of them, until the node stops.
pub(super) fn accept_all(swarm: &mut Swarm, parts: &Parts<'_>) -> Result<(), AcceptError> {
    for (protocol, make) in PROTOCOLS {
        swarm.accept(protocol.clone(), make(parts))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::net::SocketAddr;
    use std::sync::{Arc, Weak};

    use perennis_net::config::identity_of;
    use perennis_net::dht::MemoryDhtStore;
    use perennis_net::framing::{read_frame, write_frame};
    use perennis_net::protocol::{ServeResult, Stream};
    use perennis_net::{Bootstrap, DhtMode, Net, NetConfig, OpenError, PeerId};
    use perennis_rt::BoxFuture;
    use perennis_store::IndexEngine;

    use super::*;
    use crate::app::RunningNode;
    use crate::config::Config;
    use crate::ingest::Ingest;

    /// Longest message, in bytes.
    const MESSAGE_BYTES: usize = 64;

    /// Says back what it is told, and how many blocks a name may have here.
    pub(super) const ECHO: Protocol = Protocol::new("/perennis-test/echo", "1.0.0");

    pub(super) struct Echo {
        ingest: Arc<Ingest>,
    }

    impl Echo {
        pub(super) fn new(parts: &Parts<'_>) -> Echo {
            Echo {
                ingest: Arc::clone(parts.ingest),
            }
        }
    }

    impl Handler for Echo {
        fn serve(&self, _peer: PeerId, mut stream: Stream) -> BoxFuture<'_, ServeResult> {
            Box::pin(async move {
                let mut answer = read_frame(&mut stream, MESSAGE_BYTES).await?;
                answer.extend_from_slice(&self.ingest.most_blocks().to_be_bytes());
                write_frame(&mut stream, &answer).await?;
                Ok(())
            })
        }
    }

    async fn node(data: &std::path::Path) -> RunningNode {
        let mut config = Config {
            data: data.to_owned(),
            index: IndexEngine::Memory,
            ..Config::default()
        };
        config.http.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        config.p2p.listen = Some(vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()]);
        config.p2p.bootstrap = Bootstrap::None;
        config.p2p.dht = DhtMode::Off;
        RunningNode::start(config).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_protocol_in_the_list_is_answered_until_the_node_stops() {
        let dir = tempfile::tempdir().unwrap();
        let node = node(dir.path()).await;
        let most_blocks = node.node.ingest.most_blocks();
        let ingest: Weak<Ingest> = Arc::downgrade(&node.node.ingest);
        let store = Arc::new(MemoryDhtStore::new(1));
        let client = Net::start(NetConfig::new(identity_of(&[1; 32]), store));
        let client = client.await.unwrap();
        let address = node.p2p_addresses()[0].parse().unwrap();
        let peer = client.connect_to(&address).await.unwrap();

        for message in [&b"hello"[..], b"again"] {
            let mut stream = client.open(peer, &ECHO).await.unwrap();
            write_frame(&mut stream, message).await.unwrap();
            let answer = read_frame(&mut stream, MESSAGE_BYTES).await.unwrap();
            assert_eq!(answer, [message, &most_blocks.to_be_bytes()].concat());
        }
        let other = Protocol::new("/perennis-test/other", "1.0.0");
        let refused = client.open(peer, &other).await.unwrap_err();
        assert!(
            matches!(refused, OpenError::Unsupported { .. }),
            "{refused:?}"
        );

        node.shutdown().await;
        assert!(ingest.upgrade().is_none(), "a handler outlives its node");
    }
}
