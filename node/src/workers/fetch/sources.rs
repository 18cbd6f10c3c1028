//! Whom a fetch asks: gateways of the operator's, those that the publisher's DID document lists, and peers, in a race.

use std::sync::{Arc, OnceLock};

use perennis_net::bitswap::{BitswapError, Session};
use perennis_rt::BoxFuture;
use perennis_sdk::NodeUrl;
use perennis_sdk::exchange::{Exchange, FetchError, Source, SourceError};
use perennis_shared::cid::{Block, Cid};

use crate::routes::Routes;

/// Peers that are connected, and those that provide a head. Nobody is looked for before a block is asked of them.
pub(super) struct Peers {
    routes: Arc<Routes>,
    head: Cid,
    session: OnceLock<Session>,
}

impl Peers {
    pub(super) fn new(routes: &Arc<Routes>, head: Cid) -> Arc<Peers> {
        Arc::new(Peers {
            routes: Arc::clone(routes),
            head,
            session: OnceLock::new(),
        })
    }
}

impl Source for Peers {
    fn name(&self) -> String {
        "peers".to_owned()
    }

    fn block<'a>(&'a self, cid: &'a Cid) -> BoxFuture<'a, Result<Block, SourceError>> {
        let session = self
            .session
            .get_or_init(|| self.routes.providers(&self.head));
        Source::block(session, cid)
    }
}

/// All that may have blocks below a head.
pub(super) struct Sources {
    pub(super) all: Exchange,
    /// Who they are, for people.
    pub(super) names: String,
    /// Whether somebody else than peers was named.
    has_gateways: bool,
}

impl Sources {
    /// Those that the operator trusts, and may be anywhere; those that a document lists, which may only be public; and peers.
    pub(super) fn new(
        routes: &Routes,
        trusted: Vec<NodeUrl>,
        listed: Vec<NodeUrl>,
        peers: Arc<Peers>,
    ) -> Sources {
        let has_gateways = !trusted.is_empty() || !listed.is_empty();
        let mut names: Vec<String> = trusted.iter().map(NodeUrl::to_string).collect();
        let mut all = routes.exchange(trusted);
        for source in routes.foreign(listed) {
            names.push(source.name());
            all = all.with_source(source);
        }
        names.push("peers".to_owned());
        let names = names.join(", ");
        Sources {
            all: all.with_source(peers),
            names,
            has_gateways,
        }
    }

    /// Whether a block could not be had because there is nobody to ask.
    pub(super) fn are_nobody(&self, error: &FetchError) -> bool {
        match error {
            FetchError::Unavailable { failures, .. } if !self.has_gateways => {
                failures.iter().all(|(_, failure)| {
                    matches!(**failure, SourceError::Peers(BitswapError::NoPeers { .. }))
                })
            }
            _ => false,
        }
    }
}
