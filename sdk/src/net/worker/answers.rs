//! What libp2p's results and errors are for those who asked.

use std::sync::Arc;

use libp2p::{PeerId, kad, swarm::DialError};

use crate::net::{
    command::{Answer, Contact},
    handle::ConnectError,
};

pub(super) fn answers_of(result: kad::QueryResult) -> Vec<Answer> {
    use kad::QueryResult as Q;
    match result {
        Q::GetClosestPeers(Ok(found)) => vec![closest(found.peers)],
        Q::GetClosestPeers(Err(kad::GetClosestPeersError::Timeout { peers, .. })) => {
            vec![closest(peers), Answer::TimedOut]
        }
        Q::GetRecord(Ok(kad::GetRecordOk::FoundRecord(found))) => {
            vec![Answer::Record(found.peer, found.record.value)]
        }
        Q::GetRecord(Ok(kad::GetRecordOk::FinishedWithNoAdditionalRecord { cache_candidates })) => {
            vec![Answer::Without(cache_candidates.into_values().collect())]
        }
        Q::GetRecord(Err(kad::GetRecordError::NotFound { closest_peers, .. })) => {
            vec![Answer::Without(closest_peers)]
        }
        Q::GetRecord(Err(kad::GetRecordError::Timeout { .. })) => vec![Answer::TimedOut],
        Q::GetProviders(Ok(kad::GetProvidersOk::FoundProviders { providers, .. })) => {
            vec![Answer::Providers(providers.into_iter().collect())]
        }
        Q::GetProviders(Ok(kad::GetProvidersOk::FinishedWithNoAdditionalRecord { .. })) => {
            Vec::new()
        }
        Q::GetProviders(Err(_)) => vec![Answer::TimedOut],
        _ => Vec::new(),
    }
}

fn closest(peers: Vec<kad::PeerInfo>) -> Answer {
    let contact = |peer: kad::PeerInfo| Contact {
        peer: peer.peer_id,
        addresses: peer.addrs,
    };
    Answer::Closest(peers.into_iter().map(contact).collect())
}

pub(super) fn dial_failure(peer: PeerId, error: &Arc<DialError>) -> ConnectError {
    match error.as_ref() {
        DialError::NoAddresses => ConnectError::NoAddress { peer },
        DialError::LocalPeerId { .. } => ConnectError::Own,
        DialError::Denied { .. } => ConnectError::Denied { peer },
        DialError::WrongPeerId { obtained, address } => ConnectError::WrongPeer {
            wanted: peer,
            found: *obtained,
            address: address.clone(),
        },
        _ => ConnectError::Dial {
            peer,
            source: Arc::clone(error),
        },
    }
}
