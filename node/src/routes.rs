//! The node's ways out: where its records are put and found, and whom it asks for blocks.
//!
//! Owns the connections to HTTP servers, the endpoints and gateways of the configuration, the DHT, the peers that follow
//! a name, and how each of them did so far. Whoever asks for a record or a block, or puts a record, gets the routers for
//! it here. Must never touch: the store, decisions about what is asked and when.
//!
//! A node asks on behalf of others, and nodes may have each other as endpoints and sources. So that no question goes in
//! circles, every request says who passes it on ([RFC 8586](https://www.rfc-editor.org/rfc/rfc8586)): it is said by
//! the clients of this room, and there are no others.

use std::sync::Arc;

use parking_lot::Mutex;
use perennis_net::bitswap::Session;
use perennis_net::dht::Sweep;
use perennis_net::{Net, Pubsub};
use perennis_rt::http::{Http, HttpError, HttpTimes};
use perennis_sdk::NodeUrl;
use perennis_sdk::exchange::{Exchange, FetchLimits, Source};
use perennis_sdk::router::{
    self, Composite, CompositeTimes, Dht, Gathered, PubSub, RouteError, Router, Scores,
};
use perennis_shared::backoff::Backoff;
use perennis_shared::cid::Cid;
use perennis_shared::ipns::Name;

use crate::config::Config;
use crate::ssrf_guard::is_public;
use crate::token::RouterTokens;

mod foreign;

use foreign::ForeignHosts;

/// What a node calls itself to those that it asks.
pub(crate) const FORWARDER: &str = "perennis";

/// The ways out of a node.
pub(crate) struct Routes {
    /// For what the operator names, which may be anywhere.
    any: Http,
    /// For what somebody else's document names, with a pool of its own: what may be dialled is a property of the pool.
    foreign: ForeignHosts,
    /// As they were written, and as URLs.
    endpoints: Vec<(String, NodeUrl)>,
    tokens: RouterTokens,
    gateways: Vec<NodeUrl>,
    net: Net,
    sweep: Sweep,
    has_dht: bool,
    /// How the routers and sources did so far, whoever asked.
    scores: Arc<Mutex<Scores>>,
}

impl Routes {
    /// The routers and sources of the configuration, with the tokens of those that want one, and the network.
    ///
    /// # Errors
    /// No HTTP client can be set up.
    pub(crate) fn new(
        config: &Config,
        tokens: RouterTokens,
        net: Net,
    ) -> Result<Routes, HttpError> {
        let any = Http::new(HttpTimes::default())?.forwarding(FORWARDER);
        let public = if config.pins.allow_private_sources {
            any.clone()
        } else {
            Http::guarded(HttpTimes::default(), is_public)?.forwarding(FORWARDER)
        };
        let endpoints = config.ipns.endpoints();
        Ok(Routes {
            any,
            foreign: ForeignHosts::new(public),
            endpoints: endpoints.map(|(text, url)| (text.clone(), url)).collect(),
            tokens,
            gateways: urls(&config.pins.sources),
            sweep: Sweep::new(net.clone()),
            net,
            has_dht: config.p2p.has_dht(),
            scores: Arc::default(),
        })
    }

    /// The endpoints of the configuration, each under the text that stands there.
    pub(crate) fn labelled_endpoints(
        &self,
        backoff: Backoff,
    ) -> impl Iterator<Item = (&str, router::Http)> {
        self.endpoints.iter().map(move |(text, url)| {
            let mut router = router::Http::new(self.any.clone(), url.clone(), backoff);
            if let Some(token) = self.tokens.of(url) {
                router = router.with_token(token.clone());
            }
            (text.as_str(), router)
        })
    }

    /// The endpoints of the configuration.
    pub(crate) fn endpoints(&self) -> Vec<Arc<dyn Router>> {
        let endpoints = self.labelled_endpoints(Backoff::default());
        endpoints
            .map(|(_, router)| Arc::new(router) as Arc<dyn Router>)
            .collect()
    }

    /// The DHT, and the peers that follow a name.
    pub(crate) fn peers(&self) -> Vec<Arc<dyn Router>> {
        let mut routers: Vec<Arc<dyn Router>> = Vec::new();
        if let Some(dht) = self.dht() {
            routers.push(Arc::new(dht));
        }
        if let Some(pubsub) = self.pubsub() {
            routers.push(Arc::new(PubSub::new(pubsub.clone())));
        }
        routers
    }

    /// The DHT, where the node takes part in it.
    pub(crate) fn dht(&self) -> Option<Dht> {
        self.has_dht.then(|| Dht::new(self.net.clone()))
    }

    /// The peer that this node is.
    pub(crate) fn net(&self) -> &Net {
        &self.net
    }

    /// The DHT for many puts at once.
    pub(crate) fn sweep(&self) -> &Sweep {
        &self.sweep
    }

    /// The peers that follow a name, where the node gossips.
    pub(crate) fn pubsub(&self) -> Option<&Pubsub> {
        self.net.pubsub()
    }

    /// Several routers as one. How they do counts together with what all others ask.
    pub(crate) fn composite(
        &self,
        routers: Vec<Arc<dyn Router>>,
        times: CompositeTimes,
    ) -> Composite {
        Composite::with_scores(routers, times, Arc::clone(&self.scores))
    }

    /// The best valid record of a name that anybody knows, or one of these sources.
    ///
    /// # Errors
    /// As [`Composite::gather`].
    pub(crate) async fn resolve(
        &self,
        name: &Name,
        sources: &[String],
    ) -> Result<Gathered, RouteError> {
        self.gather(name, self.peers(), sources).await
    }

    /// As [`Routes::resolve`], of somebody else: what this node holds itself, and gives to the DHT and to peers, is no answer.
    ///
    /// # Errors
    /// As [`Composite::gather`].
    pub(crate) async fn resolve_elsewhere(
        &self,
        name: &Name,
        sources: &[String],
    ) -> Result<Gathered, RouteError> {
        let mut peers: Vec<Arc<dyn Router>> = Vec::new();
        if let Some(dht) = self.dht() {
            peers.push(Arc::new(dht.of_others()));
        }
        if let Some(pubsub) = self.pubsub() {
            peers.push(Arc::new(PubSub::new(pubsub.clone()).of_others()));
        }
        self.gather(name, peers, sources).await
    }

    async fn gather(
        &self,
        name: &Name,
        peers: Vec<Arc<dyn Router>>,
        sources: &[String],
    ) -> Result<Gathered, RouteError> {
        let mut routers = self.endpoints();
        routers.extend(peers);
        for url in urls(sources) {
            let router = router::Http::new(self.any.clone(), url, Backoff::default());
            routers.push(Arc::new(router));
        }
        let composite = self.composite(routers, CompositeTimes::default());
        composite.gather(name).await
    }

    /// The gateways of the configuration, which are asked for blocks.
    pub(crate) fn gateways(&self) -> &[NodeUrl] {
        &self.gateways
    }

    /// Asks these gateways for blocks, which the operator has named.
    pub(crate) fn exchange(&self, gateways: Vec<NodeUrl>) -> Exchange {
        let limits = FetchLimits::default();
        Exchange::new(self.any.clone(), gateways, Backoff::default(), limits)
    }

    /// Those of the servers in somebody else's document that are asked for blocks. They may be of the public Internet only.
    pub(crate) fn foreign(&self, listed: Vec<NodeUrl>) -> Vec<Arc<dyn Source>> {
        self.foreign.sources(listed)
    }

    /// Peers that may have what is below a root.
    pub(crate) fn providers(&self, root: &Cid) -> Session {
        self.net.fetch_session(root, &[])
    }

    /// Peers that are connected, for blocks that anybody may have.
    pub(crate) fn connected(&self) -> Session {
        self.net.bitswap().session(&[])
    }
}

/// What of these is a URL; the configuration and the API have checked theirs.
fn urls(texts: &[String]) -> Vec<NodeUrl> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}
