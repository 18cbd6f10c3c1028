#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use futures_util::FutureExt;
use perennis_shared::cid::{Codec, cid_of};
use proptest::prelude::*;

use super::*;

/// A source that has blocks of the sizes given, by number.
struct Numbered(Vec<(u64, usize)>);

fn cid(number: u64) -> Cid {
    cid_of(Codec::Raw, &number.to_le_bytes())
}

impl Numbered {
    fn size(&self, wanted: &Cid) -> Option<usize> {
        let known = self
            .0
            .iter()
            .find(|(number, _)| cid(*number).hash() == wanted.hash());
        known.map(|(_, size)| *size)
    }
}

impl BlockSource for Numbered {
    async fn sizes(&self, cids: &[Cid]) -> Vec<Option<usize>> {
        cids.iter().map(|cid| self.size(cid)).collect()
    }

    async fn blocks(&self, cids: &[Cid]) -> Vec<Option<Bytes>> {
        cids.iter()
            .map(|cid| Some(vec![0; self.size(cid)?].into()))
            .collect()
    }
}

fn run(job: Job, source: &Numbered) -> JobResult {
    job.run(source).now_or_never().unwrap()
}

fn block(number: u64, priority: i32) -> Want {
    Want::new(cid(number), WantKind::Block, priority)
}

fn small() -> Server {
    Server::new(&Config {
        wants_per_peer: 4,
        message_bytes: 1_000,
        peer_bytes: 3_000,
        serve_bytes: 10_000,
        ..Config::default()
    })
}

fn absent(reply: &Reply) -> Vec<Cid> {
    let words = reply.presences.iter().filter(|word| !word.is_here);
    words.map(|word| word.cid).collect()
}

#[test]
fn wants_are_answered_by_kind_and_forgotten_once_they_are() {
    let (mut server, peer) = (small(), PeerId::random());
    let source = Numbered(vec![(1, 500), (2, 2_000), (3, 10)]);
    let wants = vec![
        block(1, 1),
        Want::new(cid(2), WantKind::Have, 1),
        Want::new(cid(3), WantKind::Have, 1),
        block(4, 1),
    ];
    assert!(server.wants(peer, wants, false).presences.is_empty());
    let found = run(server.next_job().unwrap(), &source);
    let (to, reply) = server.finished(found);
    assert_eq!(to, peer);
    let sizes: Vec<usize> = reply
        .payload
        .iter()
        .map(|payload| payload.data().len())
        .collect();
    assert_eq!(
        sizes,
        [500, 10],
        "a small block comes in place of word of it"
    );
    assert_eq!(absent(&reply), [cid(4)]);
    assert!(reply.presences.contains(&Presence {
        cid: cid(2),
        is_here: true
    }));
    assert_eq!(server.wants_of(&peer), 1, "what is not here stays wanted");
    assert!(server.next_job().is_none());
    let held = reply.payload.iter().map(weight).sum();
    assert_eq!(server.bytes(), held);
    server.sent(&peer, held);
    assert_eq!(server.bytes(), 0);
}

#[test]
fn what_arrives_is_given_to_who_waits_and_to_nobody_who_cancelled() {
    let (mut server, stays, leaves) = (small(), PeerId::random(), PeerId::random());
    let empty = Numbered(vec![]);
    for peer in [stays, leaves] {
        server.wants(peer, vec![block(1, 1)], false);
        let found = run(server.next_job().unwrap(), &empty);
        server.finished(found);
    }
    server.wants(leaves, vec![Want::cancel(cid(1))], false);
    server.have_now(&[cid(1)]);
    let found = run(server.next_job().unwrap(), &Numbered(vec![(1, 9)]));
    let (to, reply) = server.finished(found);
    assert_eq!((to, reply.payload.len()), (stays, 1));
    assert!(server.next_job().is_none());
}

#[test]
fn a_block_that_arrives_under_another_cid_of_its_multihash_is_given_to_who_waits() {
    let (mut server, peer) = (small(), PeerId::random());
    let old = Cid::new_v0(*cid(1).hash()).unwrap();
    let wanted = Cid::new_v1(Codec::DagPb.code(), *cid(1).hash());
    for cid in [old, wanted] {
        server.wants(peer, vec![Want::new(cid, WantKind::Block, 1)], false);
    }
    let found = run(server.next_job().unwrap(), &Numbered(vec![]));
    server.finished(found);
    server.have_now(&[cid(1)]);
    let found = run(server.next_job().unwrap(), &Numbered(vec![(1, 9)]));
    let (_, reply) = server.finished(found);
    assert_eq!(reply.payload.len(), 2);
    assert!(server.absent.is_empty());
}

#[test]
fn a_full_ledger_drops_what_is_not_here_then_what_is_least_urgent() {
    let (mut server, peer) = (small(), PeerId::random());
    server.wants(peer, vec![block(1, 5)], false);
    let found = run(server.next_job().unwrap(), &Numbered(vec![]));
    server.finished(found);
    server.wants(peer, vec![block(2, 5), block(3, 2), block(4, 5)], false);
    let reply = server.wants(peer, vec![block(5, 1)], false);
    assert_eq!(absent(&reply), [], "of the first it has been told");
    let reply = server.wants(peer, vec![block(6, 9)], false);
    assert_eq!(absent(&reply), [cid(5)]);
    let reply = server.wants(peer, vec![block(7, 1)], false);
    assert_eq!(absent(&reply), [cid(7)], "the new one is the least urgent");
    assert_eq!(server.wants_of(&peer), 4);
}

#[test]
fn peers_take_turns_whatever_they_want() {
    let mut server = Server::new(&Config::default());
    let (greedy, modest) = (PeerId::random(), PeerId::random());
    let many = (0..2_000).map(|number| block(number, i32::MAX)).collect();
    server.wants(greedy, many, false);
    server.wants(modest, vec![block(1, 1)], false);
    let jobs: Vec<PeerId> = std::iter::from_fn(|| server.next_job())
        .map(|job| job.lease().peer)
        .take(2)
        .collect();
    assert!(jobs.contains(&modest), "{jobs:?}");
}

#[test]
fn a_peer_that_takes_nothing_stops_at_its_share() {
    let (mut server, stalled, other) = (small(), PeerId::random(), PeerId::random());
    let source = Numbered((0..100).map(|number| (number, 900)).collect());
    for number in 0..50 {
        server.wants(stalled, vec![block(number, 1)], false);
        while let Some(job) = server.next_job() {
            let found = run(job, &source);
            server.finished(found);
        }
    }
    assert!(server.bytes() <= 3_000 + 2 * 128, "{}", server.bytes());
    server.wants(other, vec![block(1, 1)], false);
    assert_eq!(server.next_job().unwrap().lease().peer, other);
}

#[test]
fn large_blocks_wait_for_the_next_batch() {
    let mut server = Server::new(&Config {
        message_bytes: 1_000,
        peer_bytes: 10_000,
        ..Config::default()
    });
    let peer = PeerId::random();
    let source = Numbered(vec![(1, 800), (2, 800), (3, 5_000)]);
    server.wants(peer, vec![block(1, 3), block(2, 2), block(3, 1)], false);
    for expected in [800, 800, 5_000] {
        let found = run(server.next_job().unwrap(), &source);
        let (_, reply) = server.finished(found);
        assert_eq!(reply.payload.len(), 1);
        assert_eq!(reply.payload[0].data().len(), expected);
    }
}

#[test]
fn a_peer_that_comes_back_owes_nothing_for_a_job_of_before() {
    let (mut server, peer) = (small(), PeerId::random());
    let source = Numbered(vec![(1, 500)]);
    server.wants(peer, vec![block(1, 1)], false);
    let before = server.next_job().unwrap();
    server.gone(&peer);
    server.wants(peer, vec![block(1, 1)], false);
    let (_, reply) = server.finished(run(before, &source));
    assert!(reply.payload.is_empty());
    let found = run(server.next_job().unwrap(), &source);
    let (_, reply) = server.finished(found);
    assert_eq!(reply.payload.len(), 1);
    server.sent(&peer, 628);
    assert_eq!(server.bytes(), 0);
}

#[test]
fn a_source_that_breaks_costs_its_wants_and_no_memory() {
    let (mut server, peer) = (small(), PeerId::random());
    server.wants(peer, vec![block(1, 1)], false);
    let job = server.next_job().unwrap();
    server.finished(job.lease().broken());
    assert_eq!((server.wants_of(&peer), server.bytes()), (0, 0));
}

#[derive(Clone, Debug)]
enum Step {
    Want(usize, u64, i32, bool),
    Cancel(usize, u64),
    Full(usize),
    Gone(usize),
    Begin,
    End,
    Sent(usize),
    HaveNow(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (peer, number) = (0..3_usize, 0..12_u64);
    prop_oneof![
        (peer.clone(), number.clone(), any::<i32>(), any::<bool>())
            .prop_map(|(peer, number, priority, have)| Step::Want(peer, number, priority, have)),
        (peer.clone(), number.clone()).prop_map(|(peer, number)| Step::Cancel(peer, number)),
        peer.clone().prop_map(Step::Full),
        peer.clone().prop_map(Step::Gone),
        Just(Step::Begin),
        Just(Step::End),
        peer.prop_map(Step::Sent),
        number.prop_map(Step::HaveNow),
    ]
}

proptest! {
    /// Whatever peers do, ledgers stay within their bounds and every byte that was lent comes back.
    #[test]
    fn bytes_come_back_whatever_happens(steps in proptest::collection::vec(step(), 0..200)) {
        let peers = [PeerId::random(), PeerId::random(), PeerId::random()];
        let source = Numbered((0..8).map(|number| (number, 100 * number as usize)).collect());
        let mut server = small();
        let mut jobs = VecDeque::new();
        let mut unsent = [0; 3];
        for step in steps {
            match step {
                Step::Want(peer, number, priority, have) => {
                    let kind = if have { WantKind::Have } else { WantKind::Block };
                    server.wants(peers[peer], vec![Want::new(cid(number), kind, priority)], false);
                }
                Step::Cancel(peer, number) => {
                    server.wants(peers[peer], vec![Want::cancel(cid(number))], false);
                }
                Step::Full(peer) => drop(server.wants(peers[peer], vec![], true)),
                Step::Gone(peer) => {
                    server.gone(&peers[peer]);
                    unsent[peer] = 0;
                }
                Step::Begin => jobs.extend(server.next_job()),
                Step::End => {
                    if let Some(job) = jobs.pop_front() {
                        let (to, reply) = server.finished(run(job, &source));
                        let at = peers.iter().position(|peer| *peer == to).unwrap();
                        unsent[at] += reply.payload.iter().map(weight).sum::<usize>();
                    }
                }
                Step::Sent(peer) => server.sent(&peers[peer], std::mem::take(&mut unsent[peer])),
                Step::HaveNow(number) => server.have_now(&[cid(number)]),
            }
            prop_assert!(peers.iter().all(|peer| server.wants_of(peer) <= 4));
        }
        for job in jobs {
            server.finished(run(job, &source));
        }
        for peer in peers {
            server.gone(&peer);
        }
        prop_assert_eq!(server.bytes(), 0);
        prop_assert!(server.absent.is_empty());
    }
}
