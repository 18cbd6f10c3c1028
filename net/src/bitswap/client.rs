//! What we want, and whom to ask for it.
//!
//! A step machine without clock or I/O. What is wanted is a multihash: an answer is one under whichever CID of it a peer sends or
//! names it, and whoever wants it gets it under the CID that they know. A want belongs to one or more sessions; a session is a set of peers that may
//! have what it is after. All of them are asked whether they have a session's first blocks, and the likeliest
//! is asked for the block at once; later blocks are asked of those that have proven themselves, each according
//! to how fast it answers and how much it is busy with. Who says no, goes away or is slower than it uses to be is
//! followed by the next; slow answers are still taken. Where nobody is left to ask, those who were asked are asked once more, since
//! an answer may be lost on a connection that stays. The first right answer ends the want everywhere.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use libp2p::PeerId;
use perennis_shared::{
    cid::{Block, Cid, Multihash},
    wire::bitswap::{Payload, Presence, Want},
};

use super::{Config, error::BitswapError, peers::Peer};

mod choose;

/// Blocks of a session after which peers are no longer asked whether they have the next.
const PROBED_WANTS: usize = 4;
/// Peers asked for one block at the same time.
const ASKED_AT_ONCE: usize = 3;
/// Peers that one session asks.
const SESSION_PEERS: usize = 32;
/// How often the peers of a want are asked once more before it fails while other blocks of its session come. Each time is twice as far
/// from the next.
const REPEATS: u32 = 5;
/// Time after which a peer that has lost an answer is asked for it once more.
const AFTER_LOSS: Duration = Duration::from_millis(250);
/// How often a peer that has given blocks and has gone is connected to anew before it counts as lost, and the time before the first
/// of that. Each time is twice as long as the one before.
const REDIALS: u32 = 5;
const BEFORE_REDIAL: Duration = Duration::from_millis(250);
/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(50);

pub(super) type SessionId = u64;
pub(super) type WantId = u64;

/// All sessions and what is known of peers.
#[derive(Debug)]
pub(super) struct Client {
    limits: Limits,
    peers: HashMap<PeerId, Peer>,
    sessions: HashMap<SessionId, Session>,
    wants: HashMap<Multihash, Wanted>,
    /// Wants whose peers are all as busy as they may be, in their order.
    pending: VecDeque<Multihash>,
    woken: Duration,
    counts: Counts,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    wants: usize,
    asks_per_peer: usize,
    want_timeout: Duration,
    unrequested: u64,
}

/// What has come and what was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Blocks that somebody waited for.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blocks that came again, mostly as two peers were asked.
    pub duplicates: u64,
    /// Blocks nobody asked their sender for, wrong ones among them.
    pub unrequested: u64,
}

#[derive(Debug, Default)]
struct Session {
    /// Those it was opened with. With none it asks whoever is connected.
    named: Vec<PeerId>,
    /// Named peers that cannot be reached.
    lost: HashSet<PeerId>,
    proven: HashSet<PeerId>,
    /// Named peers that had proven themselves and have gone.
    redials: HashMap<PeerId, Redial>,
    wants: HashSet<Multihash>,
    probed: usize,
    last_block: Duration,
}

/// A peer that is connected to anew.
#[derive(Clone, Copy, Debug)]
struct Redial {
    /// None while it is dialled.
    at: Option<Duration>,
    tries: u32,
}

#[derive(Debug)]
struct Wanted {
    /// The CID that peers are asked for: that of who wanted it first.
    cid: Cid,
    readers: Vec<Reader>,
    /// Who has been asked for the block, in order, late ones among them.
    asked: Vec<PeerId>,
    late: usize,
    has: HashSet<PeerId>,
    has_not: HashSet<PeerId>,
    /// Who has been asked anything about it.
    told: Vec<PeerId>,
    is_pending: bool,
    since: Duration,
    /// When those asked count as late.
    hedge_at: Duration,
    /// How often somebody was asked once more.
    repeats: u32,
    /// When somebody who was asked is to be asked once more.
    again_at: Duration,
}

/// Who waits for a block.
#[derive(Clone, Copy, Debug)]
struct Reader {
    session: SessionId,
    want: WantId,
    /// As they know it.
    cid: Cid,
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Output {
    /// Tell a peer.
    Tell(PeerId, Want),
    /// Connect to a peer.
    Dial(PeerId),
    /// A want has ended.
    Done(WantId, Result<Block, BitswapError>),
    /// A peer has sent another lot of blocks that nobody asked for: so many by now.
    Unrequested(PeerId, u64),
}

type Out = Vec<Output>;

impl Client {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            limits: Limits {
                wants: config.wants,
                asks_per_peer: config.asks_per_peer,
                want_timeout: config.want_timeout,
                unrequested: config.unrequested.max(1),
            },
            peers: HashMap::new(),
            sessions: HashMap::new(),
            wants: HashMap::new(),
            pending: VecDeque::new(),
            woken: Duration::ZERO,
            counts: Counts::default(),
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// Answers of this peer that are waited for.
    pub(super) fn answers_open(&self, peer: &PeerId) -> usize {
        self.peers.get(peer).map_or(0, Peer::answers_open)
    }

    /// When [`Client::wake`] has something to do.
    pub(super) fn next_wake(&self) -> Option<Duration> {
        (!self.wants.is_empty()).then(|| self.woken + TICK)
    }

    /// Adds peers to a session, which begins with that.
    pub(super) fn open(&mut self, now: Duration, id: SessionId, peers: &[PeerId], out: &mut Out) {
        let session = self.sessions.entry(id).or_default();
        session.last_block = now;
        for peer in peers.iter().take(SESSION_PEERS) {
            if session.named.len() < SESSION_PEERS && !session.named.contains(peer) {
                session.named.push(*peer);
            }
            session.lost.remove(peer);
            session.redials.remove(peer);
            if !self.peers.contains_key(peer) {
                out.push(Output::Dial(*peer));
            }
        }
        self.retry(now, id, out);
    }

    /// Ends a session. Its wants end without a word.
    pub(super) fn close(&mut self, id: SessionId, out: &mut Out) {
        let Some(session) = self.sessions.remove(&id) else {
            return;
        };
        for hash in session.wants {
            if let Some(wanted) = self.wants.get_mut(&hash) {
                wanted.readers.retain(|reader| reader.session != id);
                if wanted.readers.is_empty() {
                    self.end(&hash, out);
                }
            }
        }
    }

    /// Wants a block. Every want ends with one [`Output::Done`], unless it is cancelled.
    pub(super) fn want(
        &mut self,
        now: Duration,
        id: WantId,
        by: SessionId,
        cid: Cid,
        out: &mut Out,
    ) {
        let hash = *cid.hash();
        if self.wants.len() >= self.limits.wants && !self.wants.contains_key(&hash) {
            let max = self.limits.wants;
            out.push(Output::Done(id, Err(BitswapError::TooManyWants { max })));
            return;
        }
        let session = self.sessions.entry(by).or_default();
        if session.wants.is_empty() {
            session.last_block = now;
        }
        session.wants.insert(hash);
        session.probed += 1;
        let is_probed = session.probed <= PROBED_WANTS;
        let wanted = self.wants.entry(hash);
        let wanted = wanted.or_insert_with(|| Wanted::new(now, cid));
        wanted.readers.push(Reader {
            session: by,
            want: id,
            cid,
        });
        self.advance(now, &hash, is_probed, out);
    }

    /// Ends one want of a session without a word.
    pub(super) fn cancel(&mut self, id: WantId, by: SessionId, cid: &Cid, out: &mut Out) {
        let hash = cid.hash();
        let Some(wanted) = self.wants.get_mut(hash) else {
            return;
        };
        let is_it = |reader: &Reader| reader.session == by && reader.want == id;
        wanted.readers.retain(|reader| !is_it(reader));
        if !wanted.readers.iter().any(|reader| reader.session == by)
            && let Some(session) = self.sessions.get_mut(&by)
        {
            session.wants.remove(hash);
        }
        if wanted.readers.is_empty() {
            self.end(hash, out);
        }
    }

    /// A peer can be asked from now on.
    pub(super) fn connected(&mut self, now: Duration, peer: PeerId, out: &mut Out) {
        self.peers.entry(peer).or_default();
        let concerned: Vec<SessionId> = self
            .sessions
            .iter_mut()
            .filter(|(_, session)| session.named.is_empty() || session.named.contains(&peer))
            .map(|(id, session)| {
                session.lost.remove(&peer);
                session.redials.remove(&peer);
                // It is asked whether it has the next blocks, so that it has its share of what follows.
                session.probed = 0;
                *id
            })
            .collect();
        for id in concerned {
            self.retry(now, id, out);
        }
        self.fill(now, out);
    }

    /// A peer has gone, or cannot be reached or spoken to. One that has given blocks is connected to anew.
    pub(super) fn gone(&mut self, now: Duration, peer: &PeerId, out: &mut Out) {
        self.peers.remove(peer);
        for session in self.sessions.values_mut() {
            session.lose(now, peer);
        }
        let concerned: Vec<Multihash> = self
            .wants
            .iter_mut()
            .filter_map(|(hash, wanted)| wanted.forget(peer).then_some(*hash))
            .collect();
        for hash in concerned {
            self.advance(now, &hash, true, out);
        }
        self.retry_all(now, out);
    }

    /// Whether a peer that has gone is to be connected to anew.
    pub(super) fn seeks(&self, peer: &PeerId) -> bool {
        let mut sessions = self.sessions.values();
        sessions.any(|session| session.redials.contains_key(peer))
    }

    /// A peer has sent something that was lost on the way. What it was is not known: all that it was asked for is asked once
    /// more, unless it comes soon.
    pub(super) fn lost(&mut self, now: Duration, peer: &PeerId) {
        let asked = self.wants.values_mut();
        for wanted in asked.filter(|wanted| wanted.asked.contains(peer)) {
            let soon = now + AFTER_LOSS * 2_u32.pow(wanted.repeats.min(REPEATS));
            wanted.again_at = wanted.again_at.min(soon);
        }
    }

    /// What of a message from a peer is worth hashing.
    pub(super) fn admit(
        &mut self,
        peer: &PeerId,
        payload: Vec<Payload>,
        out: &mut Out,
    ) -> Vec<Payload> {
        let Some(known) = self.peers.get_mut(peer) else {
            return Vec::new();
        };
        let before = known.unrequested();
        let admitted = known.admit(payload);
        self.count_unrequested(peer, before, out);
        admitted
    }

    /// Payloads of a peer have been hashed and these are the blocks.
    pub(super) fn blocks(
        &mut self,
        now: Duration,
        peer: &PeerId,
        hashed: usize,
        blocks: Vec<Block>,
        out: &mut Out,
    ) {
        let refused = hashed - blocks.len();
        let Some(known) = self.peers.get_mut(peer) else {
            return;
        };
        known.hashed(hashed);
        let before = known.unrequested();
        (0..refused).for_each(|_| known.count_unrequested());
        for block in blocks {
            self.block(now, peer, block, out);
        }
        self.count_unrequested(peer, before, out);
        self.fill(now, out);
    }

    /// A peer says what it has.
    pub(super) fn presences(
        &mut self,
        now: Duration,
        peer: &PeerId,
        presences: &[Presence],
        out: &mut Out,
    ) {
        for Presence { cid, is_here } in presences {
            let hash = cid.hash();
            let Some(known) = self.peers.get_mut(peer) else {
                return;
            };
            // Of a block that is asked for itself, the block is the answer.
            let is_answer = if *is_here {
                !known.is_asked_for(hash) && known.answered(now, hash)
            } else {
                known.denied(hash)
            };
            if !is_answer {
                continue;
            }
            let Some(wanted) = self.wants.get_mut(hash) else {
                continue;
            };
            if *is_here {
                wanted.has.insert(*peer);
                for reader in &wanted.readers {
                    if let Some(session) = self.sessions.get_mut(&reader.session) {
                        session.proven.insert(*peer);
                    }
                }
            } else {
                wanted.forget(peer);
                wanted.has_not.insert(*peer);
            }
            let is_probed = !is_here;
            self.advance(now, hash, is_probed, out);
        }
        self.fill(now, out);
    }

    /// Does what is due: asks others where somebody is late, and ends what has waited too long.
    pub(super) fn wake(&mut self, now: Duration, out: &mut Out) {
        if self.woken + TICK > now {
            return;
        }
        self.woken = now;
        let is_late = |wanted: &Wanted| wanted.late < wanted.asked.len() && wanted.hedge_at <= now;
        let late: Vec<Multihash> = self
            .wants
            .iter_mut()
            .filter(|(_, wanted)| is_late(wanted))
            .map(|(hash, wanted)| {
                for peer in &wanted.asked[wanted.late..] {
                    if let Some(known) = self.peers.get_mut(peer) {
                        known.is_late();
                    }
                }
                wanted.late = wanted.asked.len();
                *hash
            })
            .collect();
        for hash in late {
            self.advance(now, &hash, true, out);
        }
        self.repeat(now, out);
        for session in self.sessions.values_mut() {
            for (peer, redial) in &mut session.redials {
                if redial.at.take_if(|at| *at <= now).is_some() {
                    out.push(Output::Dial(*peer));
                }
            }
        }
        let wants = self.wants.iter();
        let expired: Vec<Multihash> = wants
            .filter(|(_, wanted)| self.has_expired(now, wanted))
            .map(|(hash, _)| *hash)
            .collect();
        for hash in expired {
            self.expire(now, &hash, out);
        }
        self.fill(now, out);
    }

    /// Whether a want ends: its session has had nothing for the whole time, or nobody has answered it however often they were asked.
    fn has_expired(&self, now: Duration, wanted: &Wanted) -> bool {
        let last_block = |reader: &Reader| Some(self.sessions.get(&reader.session)?.last_block);
        let latest = wanted
            .readers
            .iter()
            .filter_map(last_block)
            .max()
            .unwrap_or_default();
        let is_unanswered = wanted.repeats >= REPEATS && wanted.again_at <= now;
        is_unanswered || latest.max(wanted.since) + self.limits.want_timeout <= now
    }

    fn expire(&mut self, now: Duration, hash: &Multihash, out: &mut Out) {
        let why = |wanted: &Wanted, cid: &Cid| {
            if wanted.told.is_empty() && !wanted.is_pending {
                return wanted.nobody(cid);
            }
            BitswapError::Timeout {
                cid: Box::new(*cid),
                after: now.saturating_sub(wanted.since),
            }
        };
        self.fail(hash, why, out);
    }

    fn block(&mut self, now: Duration, peer: &PeerId, block: Block, out: &mut Out) {
        let hash = *block.cid().hash();
        let Some(known) = self.peers.get_mut(peer) else {
            return;
        };
        if !known.answered(now, &hash) {
            known.count_unrequested();
            return;
        }
        known.received(block.bytes().len());
        let Some(wanted) = self.wants.get(&hash) else {
            self.counts.duplicates += 1;
            return;
        };
        self.counts.blocks += 1;
        self.counts.bytes += block.bytes().len() as u64;
        for reader in wanted.readers.clone() {
            if let Some(session) = self.sessions.get_mut(&reader.session) {
                session.wants.remove(&hash);
                session.proven.insert(*peer);
                session.last_block = now;
            }
            let named = block.named(&reader.cid);
            let named = named.expect("a want is found by the multihash of its readers' CIDs");
            out.push(Output::Done(reader.want, Ok(named)));
        }
        self.end(&hash, out);
    }

    /// Ends a want with an error, which names the block as each reader knows it.
    fn fail(
        &mut self,
        hash: &Multihash,
        why: impl Fn(&Wanted, &Cid) -> BitswapError,
        out: &mut Out,
    ) {
        let Some(wanted) = self.wants.get(hash) else {
            return;
        };
        for reader in &wanted.readers {
            out.push(Output::Done(reader.want, Err(why(wanted, &reader.cid))));
        }
        self.end(hash, out);
    }

    /// Forgets a want and takes back every question about it.
    fn end(&mut self, hash: &Multihash, out: &mut Out) {
        let Some(wanted) = self.wants.remove(hash) else {
            return;
        };
        for reader in &wanted.readers {
            if let Some(session) = self.sessions.get_mut(&reader.session) {
                session.wants.remove(hash);
            }
        }
        for id in wanted.told {
            let known = self.peers.get_mut(&id);
            if known.is_some_and(|known| known.cancel(hash)) {
                out.push(Output::Tell(id, Want::cancel(wanted.cid)));
            }
        }
    }

    fn count_unrequested(&mut self, peer: &PeerId, before: u64, out: &mut Out) {
        let Some(known) = self.peers.get(peer) else {
            return;
        };
        let (now, lot) = (known.unrequested(), self.limits.unrequested);
        self.counts.unrequested += now - before;
        if now / lot > before / lot {
            out.push(Output::Unrequested(*peer, now));
        }
    }
}

impl Session {
    fn lose(&mut self, now: Duration, peer: &PeerId) {
        let was_proven = self.proven.remove(peer);
        if !self.named.contains(peer) {
            return;
        }
        let tries = self.redials.get(peer).map(|redial| redial.tries);
        match tries.or(was_proven.then_some(0)) {
            Some(tries) if tries < REDIALS && !self.wants.is_empty() => {
                let at = Some(now + BEFORE_REDIAL * 2_u32.pow(tries));
                let tries = tries + 1;
                self.redials.insert(*peer, Redial { at, tries });
            }
            _ => {
                self.redials.remove(peer);
                self.lost.insert(*peer);
            }
        }
    }
}

impl Wanted {
    fn new(now: Duration, cid: Cid) -> Self {
        Self {
            cid,
            readers: Vec::new(),
            asked: Vec::new(),
            late: 0,
            has: HashSet::new(),
            has_not: HashSet::new(),
            told: Vec::new(),
            is_pending: false,
            since: now,
            hedge_at: now,
            repeats: 0,
            again_at: now,
        }
    }

    fn note(&mut self, peer: PeerId) {
        if !self.told.contains(&peer) {
            self.told.push(peer);
        }
    }

    /// Whether the peer was being asked for the block.
    fn forget(&mut self, peer: &PeerId) -> bool {
        let before = self.asked.len();
        self.asked.retain(|asked| asked != peer);
        self.late = self.late.min(self.asked.len());
        self.has.remove(peer);
        self.asked.len() < before
    }
}

#[cfg(test)]
mod tests;
