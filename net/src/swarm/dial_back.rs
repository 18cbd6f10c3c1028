//! The server of AutoNAT v2, within bounds: it dials the addresses that strangers name, so only public ones, only so many, and only
//! where this peer itself is public.
//!
//! A request that is not tried is answered with `E_INTERNAL_ERROR`, which says nothing of the address: "unreachable" would be a lie
//! that a peer acts on. Source: AutoNAT v2 of the libp2p specifications, section "Implementation suggestions".

use std::collections::{HashMap, HashSet};
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::{
    Multiaddr, PeerId,
    autonat::v2::server,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm,
    },
};
use perennis_rt as rt;

use crate::address::{AddressScope, scope_of};

/// Most addresses that are dialled in a minute, as in the Go implementation: for all peers, and for one.
const MOST: usize = 60;
const MOST_OF_PEER: usize = 12;
const MINUTE: Duration = Duration::from_secs(60);

/// Answers whether peers can be reached.
#[derive(Default)]
pub(super) struct Behaviour {
    server: server::Behaviour,
    /// Addresses under which the world is known to reach this peer.
    public: HashSet<Multiaddr>,
    /// Dials that the server has asked for and that were not begun.
    asked: HashSet<ConnectionId>,
    begun: Dials,
}

/// Dials of the minute that runs.
#[derive(Default)]
struct Dials {
    since: Duration,
    all: usize,
    of_peers: HashMap<PeerId, usize>,
}

/// An address that is not dialled for a peer who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum NotDialled {
    #[error("only public addresses are dialled for others")]
    Private,
    #[error("enough addresses were dialled for others in this minute")]
    Enough,
}

impl Behaviour {
    fn admit(&mut self, peer: PeerId, addresses: &[Multiaddr]) -> Result<(), NotDialled> {
        let is_public = |address| scope_of(address) == AddressScope::Public && names_an_ip(address);
        if !addresses.iter().all(is_public) {
            return Err(NotDialled::Private);
        }
        match self.begun.count(peer, rt::monotonic()) {
            true => Ok(()),
            false => Err(NotDialled::Enough),
        }
    }

    /// A handler that serves nothing. The server has it for what it did not dial itself; and where it did, it lets go of the request.
    fn idle(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let port = PortUse::Reuse;
        self.server.handle_established_outbound_connection(
            id,
            peer,
            address,
            Endpoint::Dialer,
            port,
        )
    }
}

impl Dials {
    /// Counts one; false where there are enough.
    fn count(&mut self, peer: PeerId, now: Duration) -> bool {
        if now.saturating_sub(self.since) >= MINUTE {
            *self = Self {
                since: now,
                ..Self::default()
            };
        }
        if self.all >= MOST {
            return false;
        }
        let of_peer = self.of_peers.entry(peer).or_default();
        if *of_peer >= MOST_OF_PEER {
            return false;
        }
        self.all += 1;
        *of_peer += 1;
        true
    }
}

/// What a name resolves to is not known before it is dialled.
fn names_an_ip(address: &Multiaddr) -> bool {
    use libp2p::multiaddr::Protocol;
    let first = address.iter().next();
    matches!(first, Some(Protocol::Ip4(_) | Protocol::Ip6(_)))
        && !address
            .iter()
            .any(|part| matches!(part, Protocol::P2pCircuit))
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = <server::Behaviour as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = server::Event;

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if self.asked.remove(&id)
            && let Some(peer) = peer
            && let Err(why) = self.admit(peer, addresses)
        {
            tracing::debug!(%peer, ?addresses, %why, "an address is not dialled for a peer");
            drop(self.idle(id, peer, &Multiaddr::empty()));
            return Err(ConnectionDenied::new(why));
        }
        Ok(Vec::new())
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if self.public.is_empty() {
            return self.idle(id, peer, remote);
        }
        self.server
            .handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.server
            .handle_established_outbound_connection(id, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match &event {
            FromSwarm::ExternalAddrConfirmed(confirmed)
                if scope_of(confirmed.addr) == AddressScope::Public =>
            {
                self.public.insert(confirmed.addr.clone());
            }
            FromSwarm::ExternalAddrExpired(expired) => {
                self.public.remove(expired.addr);
            }
            _ => {}
        }
        self.server.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.server.on_connection_handler_event(peer, id, event);
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        let polled = self.server.poll(context);
        if let Poll::Ready(ToSwarm::Dial { opts }) = &polled {
            self.asked.insert(opts.connection_id());
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use libp2p::identity::Keypair;

    use super::*;

    fn peer() -> PeerId {
        Keypair::generate_ed25519().public().to_peer_id()
    }

    fn dials(behaviour: &mut Behaviour, peer: PeerId, address: &str) -> bool {
        let id = ConnectionId::new_unchecked(behaviour.begun.all + 1);
        behaviour.asked.insert(id);
        let address = [address.parse().unwrap()];
        let begun = behaviour.handle_pending_outbound_connection(
            id,
            Some(peer),
            &address,
            Endpoint::Dialer,
        );
        assert!(behaviour.asked.is_empty());
        begun.is_ok()
    }

    #[test]
    fn only_public_addresses_are_dialled_for_others() {
        let mut behaviour = Behaviour::default();
        for address in [
            "/ip4/127.0.0.1/tcp/4001",
            "/ip4/169.254.169.254/tcp/80",
            "/ip4/10.0.0.1/udp/4001/quic-v1",
            "/ip6/::1/tcp/4001",
            "/ip6/::ffff:192.168.0.1/tcp/4001",
            "/ip6/fd00::1/tcp/4001",
            "/dns4/localhost/tcp/80",
            "/dns/example.com/tcp/80",
            "/ip4/9.9.9.9/tcp/1/p2p-circuit",
        ] {
            assert!(!dials(&mut behaviour, peer(), address), "{address}");
        }
        assert!(dials(&mut behaviour, peer(), "/ip4/9.9.9.9/tcp/4001"));
        assert!(dials(&mut behaviour, peer(), "/ip6/2620:fe::fe/tcp/4001"));
    }

    #[test]
    fn what_this_peer_dials_for_itself_goes_anywhere() {
        let mut behaviour = Behaviour::default();
        let address = ["/ip4/127.0.0.1/tcp/4001".parse().unwrap()];
        let begun = behaviour.handle_pending_outbound_connection(
            ConnectionId::new_unchecked(1),
            Some(peer()),
            &address,
            Endpoint::Dialer,
        );
        assert!(begun.is_ok());
    }

    #[test]
    fn a_minute_has_only_so_many_dials_for_one_and_for_all() {
        let mut dials = Dials::default();
        let (one, start) = (peer(), MINUTE * 10);
        let taken =
            |dials: &mut Dials, peer, at| (0..100).filter(|_| dials.count(peer, at)).count();
        assert_eq!(taken(&mut dials, one, start), MOST_OF_PEER);
        let others: usize = (0..10).map(|_| taken(&mut dials, peer(), start)).sum();
        assert_eq!(others, MOST - MOST_OF_PEER);
        assert_eq!(taken(&mut dials, one, start + MINUTE), MOST_OF_PEER);
    }

    #[test]
    fn a_peer_that_is_not_public_itself_serves_nobody() {
        use libp2p::swarm::{ConnectionHandler, behaviour::ExternalAddrConfirmed};
        let mut behaviour = Behaviour::default();
        let address: Multiaddr = "/ip4/9.9.9.9/tcp/4001".parse().unwrap();
        let serves = |behaviour: &mut Behaviour| {
            let id = ConnectionId::new_unchecked(1);
            let handler = behaviour
                .handle_established_inbound_connection(id, peer(), &address, &address)
                .unwrap();
            let protocols = handler.listen_protocol();
            libp2p::core::upgrade::UpgradeInfo::protocol_info(protocols.upgrade()).count() > 0
        };
        assert!(!serves(&mut behaviour));
        let loopback = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        for (addr, is_public) in [(&loopback, false), (&address, true)] {
            let confirmed = ExternalAddrConfirmed { addr };
            behaviour.on_swarm_event(FromSwarm::ExternalAddrConfirmed(confirmed));
            assert_eq!(serves(&mut behaviour), is_public);
        }
    }
}
