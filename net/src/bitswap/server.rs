//! What peers want of us, and whose turn it is.
//!
//! A step machine without clock or I/O: wants go in, [`Job`]s come out, and what a job found goes in and comes out as a
//! [`Reply`]. Each peer has a ledger of bounded size; jobs are given out in turn, a batch to each peer, so that one
//! who wants much does not hold up one who wants little. Bytes read and not yet sent are bounded for each peer
//! and for all of them; a peer that takes nothing keeps what it holds and is passed over.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
};

use bytes::Bytes;
use libp2p::PeerId;
use perennis_shared::{
    cid::{Cid, Multihash, is_identity},
    limits::WIRE_BLOCK_BYTES,
    wire::bitswap::{Payload, Presence, Want, WantKind},
};

use super::{Config, source::BlockSource};

/// Blocks up to this many bytes are sent to a peer that only asks whether they are here.
const INSTEAD_OF_HAVE_BYTES: usize = 1_024;
/// Most wants of one job.
const JOB_WANTS: usize = 64;
/// Jobs of one peer under way at once: one is read while one is sent.
const JOBS_PER_PEER: usize = 2;

/// The wants of all peers.
#[derive(Debug)]
pub(super) struct Server {
    limits: Limits,
    ledgers: HashMap<PeerId, Ledger>,
    /// Peers with wants to be looked up and room for the answers.
    turn: VecDeque<PeerId>,
    /// Who wants what is not here, and under which CID: whatever that is, a block of its multihash is the one.
    absent: HashMap<Multihash, Vec<(PeerId, Cid)>>,
    jobs: usize,
    bytes: usize,
    order: u64,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    wants: usize,
    jobs: usize,
    job_bytes: usize,
    peer_bytes: usize,
    all_bytes: usize,
}

#[derive(Debug, Default)]
struct Ledger {
    wants: HashMap<Cid, Entry>,
    /// To be looked up: urgent ones first, then in their order.
    queue: BTreeSet<(Reverse<i32>, u64, Cid)>,
    /// Not here, oldest first. They stay wanted.
    absent: BTreeSet<(u64, Cid)>,
    in_turn: bool,
    jobs: usize,
    bytes: usize,
    /// Tells the ledgers of a peer that comes and goes apart.
    epoch: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    priority: i32,
    kind: WantKind,
    tell_absent: bool,
    order: u64,
    state: WantState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WantState {
    Queued,
    Reading,
    Absent,
}

/// A batch of one peer's wants to be looked up.
#[derive(Debug)]
pub(super) struct Job {
    lease: Lease,
    wants: Vec<(Cid, WantKind)>,
}

/// For whom a job is, and what it was lent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lease {
    peer: PeerId,
    epoch: u64,
    bytes: usize,
}

/// What a job found.
#[derive(Debug)]
pub(super) struct JobResult {
    lease: Lease,
    /// Nothing where looking up broke off.
    answers: Option<Vec<(Cid, Answer)>>,
}

#[derive(Debug)]
enum Answer {
    Block(Bytes),
    Here,
    Absent,
    /// No room was left for it.
    Later,
}

/// What a peer is to be sent.
#[derive(Debug, Default)]
pub(super) struct Reply {
    pub(super) payload: Vec<Payload>,
    pub(super) presences: Vec<Presence>,
}

/// Bytes that a payload counts for while it waits: small blocks take room as well.
pub(super) fn weight(payload: &Payload) -> usize {
    payload.data().len() + 128
}

impl Server {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            limits: Limits {
                wants: config.wants_per_peer,
                jobs: config.reads,
                job_bytes: config.message_bytes,
                peer_bytes: config.peer_bytes,
                all_bytes: config.serve_bytes,
            },
            ledgers: HashMap::new(),
            turn: VecDeque::new(),
            absent: HashMap::new(),
            jobs: 0,
            bytes: 0,
            order: 0,
        }
    }

    /// Takes a peer's wantlist. What there is no room for is answered as absent, where that was asked for.
    pub(super) fn wants(&mut self, peer: PeerId, wants: Vec<Want>, is_full: bool) -> Reply {
        let mut reply = Reply::default();
        if is_full {
            self.forget(&peer);
        }
        for want in wants {
            if want.is_cancel {
                self.cancel(&peer, &want.cid);
            } else if !is_identity(&want.cid) {
                self.want(peer, &want, &mut reply);
            }
        }
        self.give_turn(&peer);
        reply
    }

    /// These blocks are here now: peers who want them get them.
    pub(super) fn have_now(&mut self, cids: &[Cid]) {
        let mut woken = HashSet::new();
        for cid in cids {
            for (peer, cid) in self.absent.remove(cid.hash()).into_iter().flatten() {
                let Some(ledger) = self.ledgers.get_mut(&peer) else {
                    continue;
                };
                if let Some(entry) = ledger.wants.get_mut(&cid) {
                    entry.state = WantState::Queued;
                    ledger.absent.remove(&(entry.order, cid));
                    ledger.queue.insert(entry.rank(&cid));
                    woken.insert(peer);
                }
            }
        }
        for peer in woken {
            self.give_turn(&peer);
        }
    }

    /// The next batch to look up, if anything is wanted and there is room for what it may bring.
    pub(super) fn next_job(&mut self) -> Option<Job> {
        if self.jobs >= self.limits.jobs {
            return None;
        }
        for _ in 0..self.turn.len() {
            let peer = self.turn.pop_front()?;
            let Some(ledger) = self.ledgers.get_mut(&peer) else {
                continue;
            };
            let bytes = self.limits.job_bytes;
            let is_room = self.bytes + bytes <= self.limits.all_bytes
                || ledger.bytes == 0 && self.bytes < 2 * self.limits.all_bytes;
            if !is_room {
                self.turn.push_back(peer);
                continue;
            }
            let mut wants = Vec::with_capacity(ledger.queue.len().min(JOB_WANTS));
            while wants.len() < JOB_WANTS {
                let Some((_, _, cid)) = ledger.queue.pop_first() else {
                    break;
                };
                if let Some(entry) = ledger.wants.get_mut(&cid) {
                    entry.state = WantState::Reading;
                    wants.push((cid, entry.kind));
                }
            }
            ledger.in_turn = false;
            ledger.jobs += 1;
            ledger.bytes += bytes;
            let epoch = ledger.epoch;
            self.jobs += 1;
            self.bytes += bytes;
            self.give_turn(&peer);
            let lease = Lease { peer, epoch, bytes };
            return Some(Job { lease, wants });
        }
        None
    }

    /// Turns what a job found into what is sent. Its payload counts as held until [`Server::sent`].
    pub(super) fn finished(&mut self, result: JobResult) -> (PeerId, Reply) {
        self.jobs -= 1;
        let (lease, mut reply) = (result.lease, Reply::default());
        let peer = lease.peer;
        let ledger = self.ledgers.get_mut(&peer);
        let Some(ledger) = ledger.filter(|ledger| ledger.epoch == lease.epoch) else {
            self.bytes -= lease.bytes;
            return (peer, reply);
        };
        let mut held = 0;
        if result.answers.is_none() {
            ledger
                .wants
                .retain(|_, entry| entry.state != WantState::Reading);
        }
        for (cid, answer) in result.answers.into_iter().flatten() {
            let Some(entry) = ledger.wants.get_mut(&cid) else {
                continue; // Cancelled while it was looked up.
            };
            if entry.state != WantState::Reading {
                continue; // Cancelled, and wanted anew.
            }
            match answer {
                Answer::Block(data) => {
                    let payload = Payload::unchecked(&cid, data);
                    held += weight(&payload);
                    reply.payload.push(payload);
                    ledger.wants.remove(&cid);
                }
                // Asked for word of it, and for the block while it was looked up.
                Answer::Here if entry.kind == WantKind::Block => {
                    entry.state = WantState::Queued;
                    ledger.queue.insert(entry.rank(&cid));
                }
                Answer::Here => {
                    reply.presences.push(Presence { cid, is_here: true });
                    ledger.wants.remove(&cid);
                }
                Answer::Later => {
                    entry.state = WantState::Queued;
                    ledger.queue.insert(entry.rank(&cid));
                }
                Answer::Absent => {
                    entry.state = WantState::Absent;
                    ledger.absent.insert((entry.order, cid));
                    let waiting = self.absent.entry(*cid.hash()).or_default();
                    waiting.push((peer, cid));
                    if entry.tell_absent {
                        reply.presences.push(Presence {
                            cid,
                            is_here: false,
                        });
                    }
                }
            }
        }
        ledger.jobs -= 1;
        ledger.bytes = ledger.bytes - lease.bytes + held;
        self.bytes = self.bytes - lease.bytes + held;
        self.give_turn(&peer);
        (peer, reply)
    }

    /// So many bytes of payload, by their [`weight`], have been sent to a peer or dropped on the way.
    pub(super) fn sent(&mut self, peer: &PeerId, bytes: usize) {
        if let Some(ledger) = self.ledgers.get_mut(peer) {
            let bytes = bytes.min(ledger.bytes);
            ledger.bytes -= bytes;
            self.bytes -= bytes;
            self.give_turn(peer);
        }
    }

    /// Drops the ledger of a peer that has gone.
    pub(super) fn gone(&mut self, peer: &PeerId) {
        self.forget(peer);
        if let Some(ledger) = self.ledgers.remove(peer) {
            // Jobs under way give back what they were lent when they are done.
            let lent = ledger.jobs * self.limits.job_bytes;
            self.bytes -= ledger.bytes - lent;
        }
    }

    /// Wants of a peer that are not answered with a block or word of it.
    pub(super) fn wants_of(&self, peer: &PeerId) -> usize {
        self.ledgers
            .get(peer)
            .map_or(0, |ledger| ledger.wants.len())
    }

    /// Bytes read and not sent yet.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn want(&mut self, peer: PeerId, want: &Want, reply: &mut Reply) {
        self.order += 1;
        let ledger = self.ledgers.entry(peer).or_insert_with(|| Ledger {
            epoch: self.order,
            ..Ledger::default()
        });
        if let Some(entry) = ledger.wants.get_mut(&want.cid) {
            let rank = entry.rank(&want.cid);
            entry.priority = want.priority;
            entry.kind = entry.kind.max(want.kind);
            entry.tell_absent |= want.tell_absent;
            match entry.state {
                WantState::Reading => {}
                WantState::Queued => {
                    ledger.queue.remove(&rank);
                    ledger.queue.insert(entry.rank(&want.cid));
                }
                // It may have come meanwhile: it is looked up anew.
                WantState::Absent => {
                    entry.state = WantState::Queued;
                    ledger.absent.remove(&(entry.order, want.cid));
                    ledger.queue.insert(entry.rank(&want.cid));
                    self.forget_absent(&peer, &want.cid);
                }
            }
            return;
        }
        if ledger.wants.len() >= self.limits.wants && !self.make_room(peer, want, reply) {
            return;
        }
        let entry = Entry {
            priority: want.priority,
            kind: want.kind,
            tell_absent: want.tell_absent,
            order: self.order,
            state: WantState::Queued,
        };
        let ledger = self.ledgers.entry(peer).or_default();
        ledger.queue.insert(entry.rank(&want.cid));
        ledger.wants.insert(want.cid, entry);
    }

    /// Drops the want a full ledger can best do without: the oldest of those that are not here, else the least urgent.
    /// Whether that is not the new one.
    fn make_room(&mut self, peer: PeerId, want: &Want, reply: &mut Reply) -> bool {
        let ledger = self.ledgers.entry(peer).or_default();
        let oldest = ledger.absent.first().map(|(_, cid)| *cid);
        let least = ledger
            .queue
            .last()
            .filter(|(rank, ..)| rank.0 < want.priority);
        let dropped = oldest.or(least.map(|(_, _, cid)| *cid));
        let told = dropped.unwrap_or(want.cid);
        let asked = dropped.and_then(|cid| ledger.wants.get(&cid)).map_or(
            want.tell_absent,
            // Of one that is not here the peer has been told.
            |entry| entry.tell_absent && entry.state == WantState::Queued,
        );
        if asked {
            reply.presences.push(Presence {
                cid: told,
                is_here: false,
            });
        }
        if let Some(cid) = dropped {
            self.cancel(&peer, &cid);
        }
        dropped.is_some()
    }

    fn cancel(&mut self, peer: &PeerId, cid: &Cid) {
        let Some(ledger) = self.ledgers.get_mut(peer) else {
            return;
        };
        if let Some(entry) = ledger.wants.remove(cid) {
            ledger.queue.remove(&entry.rank(cid));
            if ledger.absent.remove(&(entry.order, *cid)) {
                self.forget_absent(peer, cid);
            }
        }
    }

    fn forget(&mut self, peer: &PeerId) {
        let Some(ledger) = self.ledgers.get_mut(peer) else {
            return;
        };
        ledger.wants.clear();
        ledger.queue.clear();
        for (_, cid) in std::mem::take(&mut ledger.absent) {
            self.forget_absent(peer, &cid);
        }
    }

    fn forget_absent(&mut self, peer: &PeerId, cid: &Cid) {
        if let Some(waiting) = self.absent.get_mut(cid.hash()) {
            waiting.retain(|known| known != &(*peer, *cid));
            if waiting.is_empty() {
                self.absent.remove(cid.hash());
            }
        }
    }

    fn give_turn(&mut self, peer: &PeerId) {
        let Some(ledger) = self.ledgers.get_mut(peer) else {
            return;
        };
        let may =
            ledger.bytes == 0 || ledger.bytes + self.limits.job_bytes <= self.limits.peer_bytes;
        if may && !ledger.in_turn && !ledger.queue.is_empty() && ledger.jobs < JOBS_PER_PEER {
            ledger.in_turn = true;
            self.turn.push_back(*peer);
        }
    }
}

impl Entry {
    fn rank(&self, cid: &Cid) -> (Reverse<i32>, u64, Cid) {
        (Reverse(self.priority), self.order, *cid)
    }
}

impl Job {
    /// Looks the wants up. At least one block is read; more until the bytes of the job are used up.
    pub(super) async fn run<S: BlockSource>(self, source: &S) -> JobResult {
        let cids: Vec<Cid> = self.wants.iter().map(|(cid, _)| *cid).collect();
        let sizes = source.sizes(&cids).await;
        let mut answers = Vec::with_capacity(cids.len());
        let (mut reads, mut bytes) = (Vec::new(), 0);
        for (at, (cid, kind)) in self.wants.into_iter().enumerate() {
            let size = sizes.get(at).copied().flatten();
            let answer = match size.filter(|size| *size <= WIRE_BLOCK_BYTES) {
                None => Answer::Absent,
                Some(size) if kind == WantKind::Have && size > INSTEAD_OF_HAVE_BYTES => {
                    Answer::Here
                }
                Some(size) if bytes > 0 && bytes + size > self.lease.bytes => Answer::Later,
                Some(size) => {
                    bytes += size;
                    reads.push((answers.len(), cid));
                    Answer::Absent // Until it is read.
                }
            };
            answers.push((cid, answer));
        }
        if !reads.is_empty() {
            let cids: Vec<Cid> = reads.iter().map(|(_, cid)| *cid).collect();
            let blocks = source.blocks(&cids).await;
            for ((at, _), block) in reads.into_iter().zip(blocks) {
                if let Some(data) = block.filter(|data| data.len() <= WIRE_BLOCK_BYTES) {
                    answers[at].1 = Answer::Block(data);
                }
            }
        }
        JobResult {
            lease: self.lease,
            answers: Some(answers),
        }
    }

    pub(super) fn lease(&self) -> Lease {
        self.lease
    }
}

impl Lease {
    /// What is found when looking up broke off. What it was for is wanted no longer.
    pub(super) fn broken(self) -> JobResult {
        JobResult {
            lease: self,
            answers: None,
        }
    }
}

#[cfg(test)]
mod tests;
