//! Which peer is asked next.

use std::time::Duration;

use libp2p::PeerId;
use perennis_shared::{
    cid::{Cid, Multihash},
    wire::bitswap::{Want, WantKind},
};

use super::{ASKED_AT_ONCE, Client, Out, Output, REPEATS, SESSION_PEERS, SessionId, Wanted};
use crate::bitswap::{error::BitswapError, peers::Peer};

impl Client {
    /// Goes on with the wants of a session that nobody is being asked for.
    pub(super) fn retry(&mut self, now: Duration, id: SessionId, out: &mut Out) {
        let stuck = |hash: &&Multihash| {
            let wanted = self.wants.get(*hash);
            wanted.is_some_and(|wanted| !wanted.is_pending && wanted.asked.len() <= wanted.late)
        };
        let wants = self.sessions.get(&id).map(|session| &session.wants);
        let stuck: Vec<Multihash> = wants.into_iter().flatten().filter(stuck).copied().collect();
        for hash in stuck {
            self.advance(now, &hash, true, out);
        }
    }

    /// The same for all sessions.
    pub(super) fn retry_all(&mut self, now: Duration, out: &mut Out) {
        let sessions: Vec<SessionId> = self.sessions.keys().copied().collect();
        for id in sessions {
            self.retry(now, id, out);
        }
        self.fill(now, out);
    }

    /// Gives peers that have become free what waits for one.
    pub(super) fn fill(&mut self, now: Duration, out: &mut Out) {
        for _ in 0..self.pending.len() {
            let Some(hash) = self.pending.pop_front() else {
                return;
            };
            let wanted = self.wants.get_mut(&hash);
            if let Some(wanted) = wanted.filter(|wanted| wanted.is_pending) {
                wanted.is_pending = false;
                self.advance(now, &hash, false, out);
                if self
                    .wants
                    .get(&hash)
                    .is_some_and(|wanted| wanted.is_pending)
                {
                    // It has gone to the back; its place is the front.
                    if let Some(last) = self.pending.pop_back() {
                        self.pending.push_front(last);
                    }
                    return;
                }
            }
        }
    }

    /// Asks the next peer, if one is needed and there is one. With `is_probed` the others are asked for word.
    pub(super) fn advance(
        &mut self,
        now: Duration,
        hash: &Multihash,
        is_probed: bool,
        out: &mut Out,
    ) {
        let Some(wanted) = self.wants.get(hash) else {
            return;
        };
        let in_time = wanted.asked.len() - wanted.late.min(wanted.asked.len());
        if in_time > 0 || wanted.asked.len() >= ASKED_AT_ONCE || wanted.is_pending {
            return;
        }
        let candidates = self.candidates(wanted);
        let is_free = |peer: &PeerId| {
            let known = self.peers.get(peer);
            let most = self.limits.asks_per_peer;
            known.is_some_and(|known| known.blocks_open() < most.min(known.window()))
        };
        let rank = |peer: &PeerId| {
            let is_proven = wanted.readers.iter().any(|reader| {
                let session = self.sessions.get(&reader.session);
                session.is_some_and(|session| session.proven.contains(peer))
            });
            let cost = self.peers.get(peer).map(Peer::cost);
            (!wanted.has.contains(peer), !is_proven, cost, *peer)
        };
        let best = candidates
            .iter()
            .filter(|peer| is_free(peer))
            .min_by_key(|peer| rank(peer));
        let (best, is_alone) = (best.copied(), wanted.asked.is_empty());
        let Some(best) = best else {
            if is_alone && !candidates.is_empty() {
                if let Some(wanted) = self.wants.get_mut(hash) {
                    wanted.is_pending = true;
                }
                self.pending.push_back(*hash);
            } else if is_alone && self.is_hopeless(hash) {
                self.fail(hash, Wanted::nobody, out);
            }
            return;
        };
        self.ask(now, hash, best, out);
        if is_probed {
            for peer in candidates.into_iter().filter(|peer| *peer != best) {
                self.probe(now, hash, peer, out);
            }
        }
    }

    fn probe(&mut self, now: Duration, hash: &Multihash, peer: PeerId, out: &mut Out) {
        let (Some(wanted), Some(known)) = (self.wants.get_mut(hash), self.peers.get_mut(&peer))
        else {
            return;
        };
        if !wanted.has.contains(&peer) && known.ask(now, *hash, WantKind::Have) {
            wanted.note(peer);
            out.push(Output::Tell(peer, Want::new(wanted.cid, WantKind::Have, 1)));
        }
    }

    fn ask(&mut self, now: Duration, hash: &Multihash, peer: PeerId, out: &mut Out) {
        let (Some(wanted), Some(known)) = (self.wants.get_mut(hash), self.peers.get_mut(&peer))
        else {
            return;
        };
        wanted.asked.push(peer);
        wanted.hedge_at = now + known.hedge_after();
        wanted.again_at = now + known.again_after();
        wanted.note(peer);
        if known.ask(now, *hash, WantKind::Block) {
            out.push(Output::Tell(
                peer,
                Want::new(wanted.cid, WantKind::Block, 1),
            ));
        }
    }

    /// Asks those once more who were asked for blocks and have not answered in their time.
    pub(super) fn repeat(&mut self, now: Duration, out: &mut Out) {
        let is_due = |wanted: &Wanted| {
            !wanted.asked.is_empty() && wanted.repeats < REPEATS && wanted.again_at <= now
        };
        let wants = self.wants.iter_mut();
        for (hash, wanted) in wants.filter(|(_, wanted)| is_due(wanted)) {
            let turn = wanted.repeats as usize % wanted.asked.len();
            wanted.repeats += 1;
            let peer = wanted.asked[turn];
            let Some(known) = self.peers.get_mut(&peer) else {
                continue;
            };
            wanted.again_at = now + known.again_after() * 2_u32.pow(wanted.repeats);
            if known.ask_again(now, hash) {
                out.push(Output::Tell(
                    peer,
                    Want::new(wanted.cid, WantKind::Block, 1),
                ));
            }
        }
    }

    /// Connected peers that may have what is wanted and are not asked for it.
    fn candidates(&self, wanted: &Wanted) -> Vec<PeerId> {
        let mut found = Vec::new();
        for reader in &wanted.readers {
            let Some(session) = self.sessions.get(&reader.session) else {
                continue;
            };
            let mut add = |peer: &PeerId| {
                let is_new = !wanted.asked.contains(peer) && !wanted.has_not.contains(peer);
                if is_new && self.peers.contains_key(peer) && !found.contains(peer) {
                    found.push(*peer);
                }
            };
            if session.named.is_empty() {
                session.proven.iter().for_each(&mut add);
                let is_new = |peer: &&PeerId| !wanted.has_not.contains(*peer);
                let others = self.peers.keys().filter(is_new);
                others.take(SESSION_PEERS).for_each(&mut add);
            } else {
                session.named.iter().for_each(&mut add);
            }
        }
        found
    }

    /// Whether every peer that was to be asked has said no or cannot be reached.
    fn is_hopeless(&self, hash: &Multihash) -> bool {
        let Some(wanted) = self.wants.get(hash) else {
            return false;
        };
        wanted.readers.iter().all(|reader| {
            let Some(session) = self.sessions.get(&reader.session) else {
                return true;
            };
            let is_out =
                |peer: &PeerId| session.lost.contains(peer) || wanted.has_not.contains(peer);
            session.named.iter().all(is_out)
        })
    }
}

impl Wanted {
    /// That nobody can be asked for it any more.
    pub(super) fn nobody(&self, cid: &Cid) -> BitswapError {
        let (cid, asked) = (Box::new(*cid), self.has_not.len());
        if asked == 0 {
            BitswapError::NoPeers { cid }
        } else {
            BitswapError::NotFound { cid, asked }
        }
    }
}
