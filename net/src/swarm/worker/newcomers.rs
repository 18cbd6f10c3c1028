//! Room for newcomers: where the places for connections that others opened run out, those go that nobody uses.
//!
//! Without it whoever opens so many connections and says nothing shuts everybody else out.

use std::collections::HashSet;

use libp2p::PeerId;
use perennis_rt as rt;

use super::Worker;

/// The share of the places that is kept free, as far as there are idle connections.
const FREE_SHARE: usize = 16;

impl Worker {
    /// Closes connections of idle peers, the oldest first, until there is room again.
    pub(super) fn make_room(&mut self) {
        let most = self.most_inbound;
        let target = most - (most / FREE_SHARE).max(1).min(most);
        let surplus = self.peers.open_inbound().saturating_sub(target);
        if surplus == 0 {
            return;
        }
        let candidates = self.peers.inbound_older_than(self.grace, rt::now());
        if candidates.is_empty() {
            return;
        }
        let behaviour = self.swarm.behaviour();
        let gossiping: HashSet<PeerId> = match behaviour.pubsub.as_ref() {
            Some(pubsub) => pubsub.all_mesh_peers().copied().collect(),
            None => HashSet::new(),
        };
        let is_in_table = |peer: &PeerId| self.tables.values().any(|table| table.has(peer));
        let is_idle = |peer: &PeerId| {
            !is_in_table(peer)
                && !gossiping.contains(peer)
                && !behaviour.bitswap.is_in_use(peer)
                && !behaviour.streams.is_served(peer)
        };
        let idle: Vec<PeerId> = candidates
            .into_iter()
            .filter(is_idle)
            .take(surplus)
            .collect();
        for peer in idle {
            tracing::debug!(%peer, "an idle connection gives way to newcomers");
            self.peers.gave_way += 1;
            // It may be gone already.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }
}
