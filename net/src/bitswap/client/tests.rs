#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use perennis_shared::{cid::Codec, wire::bitswap::WantKind};
use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A client, its peers and what it says, with a clock of its own.
struct World {
    client: Client,
    peers: Vec<PeerId>,
    now: Duration,
    out: Out,
}

fn world(peers: usize) -> World {
    let config = Config {
        wants: 8,
        asks_per_peer: 2,
        want_timeout: 10 * SECOND,
        unrequested: 2,
        ..Config::default()
    };
    let mut world = World {
        client: Client::new(&config),
        peers: (0..peers).map(|_| PeerId::random()).collect(),
        now: SECOND,
        out: Vec::new(),
    };
    for peer in world.peers.clone() {
        world.client.connected(world.now, peer, &mut world.out);
    }
    world
}

fn block(number: u64) -> Block {
    Block::new(Codec::Raw, number.to_le_bytes().to_vec()).unwrap()
}

fn cid(number: u64) -> Cid {
    *block(number).cid()
}

impl World {
    fn want(&mut self, number: u64) {
        self.client
            .want(self.now, number, 1, cid(number), &mut self.out);
    }

    fn open(&mut self, peers: &[PeerId]) {
        self.client.open(self.now, 1, peers, &mut self.out);
    }

    fn sends(&mut self, peer: PeerId, number: u64) {
        let payload = vec![Payload::new(&block(number))];
        let admitted = self.client.admit(&peer, payload, &mut self.out);
        let blocks: Vec<Block> = admitted
            .into_iter()
            .map(|payload| payload.into_block().unwrap())
            .collect();
        self.client
            .blocks(self.now, &peer, blocks.len(), blocks, &mut self.out);
    }

    fn says(&mut self, peer: PeerId, number: u64, is_here: bool) {
        let word = [Presence {
            cid: cid(number),
            is_here,
        }];
        self.client.presences(self.now, &peer, &word, &mut self.out);
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(wake) = self.client.next_wake().filter(|wake| *wake <= end) {
            self.now = wake.max(self.now);
            self.client.wake(self.now, &mut self.out);
        }
        self.now = end;
    }

    /// Whom it asks for blocks, since the last call.
    fn asked(&mut self) -> Vec<PeerId> {
        let is_ask = |want: &Want| want.kind == WantKind::Block && !want.is_cancel;
        let told = self.out.iter().filter_map(|output| match output {
            Output::Tell(peer, want) if is_ask(want) => Some(*peer),
            _ => None,
        });
        told.collect()
    }

    fn done(&self) -> Vec<(WantId, Result<(), &'static str>)> {
        let done = self.out.iter().filter_map(|output| match output {
            Output::Done(id, result) => {
                let result = result.as_ref().map(|_| ()).map_err(BitswapError::code);
                Some((*id, result))
            }
            _ => None,
        });
        done.collect()
    }

    fn clear(&mut self) {
        self.out.clear();
    }
}

#[test]
fn one_peer_is_asked_for_the_block_and_the_others_for_word_of_it() {
    let mut world = world(3);
    world.open(&[]);
    world.want(1);
    assert_eq!(world.asked().len(), 1);
    assert_eq!(world.out.len(), 3);
    let asked = world.asked()[0];
    world.clear();
    world.sends(asked, 1);
    assert_eq!(world.done(), [(1, Ok(()))]);
    let cancels = world.out.iter().filter(
        |output| matches!(output, Output::Tell(peer, want) if want.is_cancel && *peer != asked),
    );
    assert_eq!(cancels.count(), 2);
}

#[test]
fn who_says_no_is_followed_by_who_says_yes() {
    let mut world = world(3);
    world.open(&[]);
    world.want(1);
    let first = world.asked()[0];
    let yes = *world.peers.iter().find(|peer| **peer != first).unwrap();
    world.says(yes, 1, true);
    world.clear();
    world.says(first, 1, false);
    assert_eq!(world.asked(), [yes]);
}

/// Another CID of the same multihash.
fn spelled(number: u64, codec: Codec) -> Cid {
    Cid::new_v1(codec.code(), *cid(number).hash())
}

#[test]
fn an_answer_is_one_whichever_cid_of_the_multihash_it_is_under() {
    for (asked, sent) in [
        (spelled(1, Codec::DagPb), cid(1)),
        (cid(1), Cid::new_v0(*cid(1).hash()).unwrap()),
        (
            Cid::new_v0(*cid(1).hash()).unwrap(),
            spelled(1, Codec::DagCbor),
        ),
    ] {
        let mut world = world(1);
        world.open(&[]);
        world.client.want(world.now, 7, 1, asked, &mut world.out);
        let peer = world.asked()[0];
        let payload = vec![Payload::new(&block(1).named(&sent).unwrap())];
        let admitted = world.client.admit(&peer, payload, &mut world.out);
        let blocks = vec![admitted[0].clone().into_block().unwrap()];
        world
            .client
            .blocks(world.now, &peer, 1, blocks, &mut world.out);
        let come = world.out.iter().find_map(|output| match output {
            Output::Done(7, Ok(block)) => Some(block.clone()),
            _ => None,
        });
        assert_eq!(come, block(1).named(&asked), "{asked} as {sent}");
        assert_eq!(world.client.answers_open(&peer), 0);
        assert_eq!(world.client.counts().unrequested, 0);
    }
}

#[test]
fn two_who_want_it_under_other_cids_ask_once_and_each_gets_it_as_they_know_it() {
    let mut world = world(1);
    world.open(&[]);
    world.want(1);
    let other = spelled(1, Codec::DagPb);
    world.client.want(world.now, 2, 1, other, &mut world.out);
    assert_eq!(world.asked().len(), 1);
    let peer = world.peers[0];
    world.clear();
    world.sends(peer, 1);
    let come: Vec<(WantId, Cid)> = world
        .out
        .iter()
        .filter_map(|output| match output {
            Output::Done(id, Ok(block)) => Some((*id, *block.cid())),
            _ => None,
        })
        .collect();
    assert_eq!(come, [(1, cid(1)), (2, other)]);
    // And if it does not come, each is told of theirs.
    world.want(3);
    let other = spelled(3, Codec::DagPb);
    world.client.want(world.now, 4, 1, other, &mut world.out);
    let word = [Presence {
        cid: other,
        is_here: false,
    }];
    world
        .client
        .presences(world.now, &peer, &word, &mut world.out);
    let told: Vec<Cid> = world
        .out
        .iter()
        .filter_map(|output| match output {
            Output::Done(_, Err(BitswapError::NotFound { cid, .. })) => Some(**cid),
            _ => None,
        })
        .collect();
    assert_eq!(told, [cid(3), other]);
}

#[test]
fn when_all_say_no_it_ends_at_once() {
    let mut world = world(2);
    world.open(&[]);
    world.want(1);
    for peer in world.peers.clone() {
        world.says(peer, 1, false);
    }
    assert_eq!(world.done(), [(1, Err("block_not_found"))]);
    assert!(world.client.next_wake().is_none());
}

#[test]
fn who_is_late_is_joined_by_another_and_may_still_answer() {
    let mut world = world(2);
    world.open(&[]);
    world.want(1);
    let first = world.asked()[0];
    world.clear();
    world.pass(3 * SECOND);
    let second = world.asked();
    assert_eq!(second.len(), 1);
    assert_ne!(second[0], first);
    world.sends(first, 1);
    assert_eq!(world.done(), [(1, Ok(()))]);
    world.sends(second[0], 1);
    assert_eq!(world.client.counts().duplicates, 1);
    assert_eq!(world.client.counts().unrequested, 0);
}

#[test]
fn silence_ends_in_a_timeout_that_says_how_long() {
    let mut world = world(1);
    world.open(&[]);
    world.want(1);
    world.pass(9 * SECOND);
    assert_eq!(world.done(), []);
    world.pass(2 * SECOND);
    assert_eq!(world.done(), [(1, Err("block_timeout"))]);
}

#[test]
fn a_session_that_gets_blocks_waits_longer_for_the_rest() {
    let mut world = world(1);
    let peer = world.peers[0];
    world.open(&[]);
    world.want(1);
    world.want(2);
    world.pass(8 * SECOND);
    world.sends(peer, 2);
    world.pass(8 * SECOND);
    assert_eq!(world.done(), [(2, Ok(()))]);
    world.pass(30 * SECOND);
    assert_eq!(world.done().len(), 2);
}

#[test]
fn a_busy_peer_gets_the_next_want_when_it_has_answered() {
    let mut world = world(1);
    let peer = world.peers[0];
    world.open(&[]);
    (1..=4).for_each(|number| world.want(number));
    assert_eq!(world.asked().len(), 2);
    world.clear();
    world.sends(peer, 1);
    world.sends(peer, 2);
    assert_eq!(world.asked().len(), 2);
    world.sends(peer, 3);
    world.sends(peer, 4);
    assert_eq!(world.done().len(), 4);
}

#[test]
fn a_peer_that_goes_is_replaced_and_waiting_wants_with_it() {
    let mut world = world(2);
    world.open(&[]);
    (1..=4).for_each(|number| world.want(number));
    let leaves = world.peers[0];
    let stays = world.peers[1];
    world.client.gone(world.now, &leaves, &mut world.out);
    for number in [1, 2, 3, 4, 1, 2, 3, 4] {
        world.sends(stays, number);
    }
    let mut done = world.done();
    done.sort_unstable();
    assert_eq!(done, [(1, Ok(())), (2, Ok(())), (3, Ok(())), (4, Ok(()))]);
}

#[test]
fn named_peers_are_dialled_and_waited_for() {
    let mut world = world(1);
    let named = PeerId::random();
    world.open(&[named]);
    assert!(matches!(world.out[..], [Output::Dial(peer)] if peer == named));
    world.want(1);
    assert_eq!(world.asked(), [], "others are not asked");
    assert_eq!(world.done(), []);
    world.client.connected(world.now, named, &mut world.out);
    assert_eq!(world.asked(), [named]);
}

#[test]
fn named_peers_that_cannot_be_reached_end_the_want() {
    let mut world = world(0);
    let named = PeerId::random();
    world.open(&[named]);
    world.want(1);
    world.client.gone(world.now, &named, &mut world.out);
    assert_eq!(world.done(), [(1, Err("no_peers"))]);
}

#[test]
fn more_wants_than_allowed_are_refused() {
    let mut world = world(1);
    world.open(&[]);
    (1..=9).for_each(|number| world.want(number));
    assert_eq!(world.done(), [(9, Err("too_many_wants"))]);
}

#[test]
fn blocks_nobody_asked_a_peer_for_are_not_even_hashed() {
    let mut world = world(2);
    world.open(&[]);
    let peer = world.peers[0];
    let pushed = vec![Payload::new(&block(7)); 5];
    assert!(world.client.admit(&peer, pushed, &mut world.out).is_empty());
    assert!(matches!(world.out[..], [Output::Unrequested(_, 5)]));
    assert_eq!(world.client.counts().unrequested, 5);
}

#[test]
fn a_closed_session_takes_everything_back() {
    let mut world = world(1);
    world.open(&[]);
    world.want(1);
    world.clear();
    world.client.close(1, &mut world.out);
    assert!(matches!(&world.out[..], [Output::Tell(_, want)] if want.is_cancel));
    assert!(world.client.next_wake().is_none());
    assert!(world.client.answers_open(&world.peers[0]) == 0);
}

#[test]
fn an_answer_that_is_lost_is_asked_for_again_while_its_peer_stays() {
    let mut world = world(1);
    let peer = world.peers[0];
    world.open(&[]);
    world.want(1);
    world.clear();
    world.pass(4 * SECOND);
    assert_eq!(world.asked(), [peer]);
    world.sends(peer, 1);
    assert_eq!(world.done(), [(1, Ok(()))]);
    assert_eq!(world.client.counts().unrequested, 0);
}

#[test]
fn what_is_known_to_be_lost_is_asked_for_again_soon() {
    let mut world = world(1);
    let peer = world.peers[0];
    world.open(&[]);
    world.want(1);
    world.clear();
    world.client.lost(world.now, &peer);
    world.pass(SECOND / 2);
    assert_eq!(world.asked(), [peer]);
    // A peer that loses everything is asked less and less often.
    world.clear();
    for _ in 0..160 {
        world.client.lost(world.now, &peer);
        world.pass(SECOND / 20);
    }
    assert!(
        (1..=4).contains(&world.asked().len()),
        "{:?}",
        world.asked()
    );
}

#[test]
fn a_want_nobody_answers_ends_after_its_repeats_although_others_come() {
    let mut world = world(1);
    let peer = world.peers[0];
    world.open(&[]);
    world.want(1);
    let mut waited = Duration::ZERO;
    for number in 2.. {
        world.want(number);
        world.pass(5 * SECOND);
        world.sends(peer, number);
        waited += 5 * SECOND;
        let done = world.done();
        if done.contains(&(1, Err("block_timeout"))) {
            break;
        }
        assert!(waited < 400 * SECOND, "it never ends");
    }
    assert!(waited > 120 * SECOND, "{waited:?}");
    let is_first = |output: &&Output| match output {
        Output::Tell(_, want) => want.cid == cid(1) && !want.is_cancel,
        _ => false,
    };
    let asked = world.out.iter().filter(is_first).count();
    assert_eq!(u32::try_from(asked), Ok(1 + REPEATS));
}

#[test]
fn a_want_that_waits_for_its_turn_does_not_end_while_others_come() {
    let mut world = world(1);
    let peer = world.peers[0];
    world.open(&[]);
    (1..=8).for_each(|number| world.want(number));
    for number in 1..=8 {
        world.pass(9 * SECOND);
        world.sends(peer, number);
    }
    assert_eq!(world.done().len(), 8);
    assert!(world.done().iter().all(|(_, done)| done.is_ok()));
}

#[test]
fn of_large_blocks_fewer_are_asked_for_at_once() {
    let mut peer = Peer::default();
    assert_eq!(peer.window(), 64);
    (0..100).for_each(|_| peer.received(16 << 10));
    assert_eq!(peer.window(), 1_024);
    peer.received(1 << 20);
    assert_eq!(peer.window(), 16);
    (0..200).for_each(|_| peer.received(64 << 10));
    assert!((200..=256).contains(&peer.window()), "{}", peer.window());
}

#[derive(Clone, Debug)]
enum Step {
    Want(u64),
    Cancel(u64),
    Send(usize, u64),
    Say(usize, u64, bool),
    Connect(usize),
    Leave(usize),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (peer, number) = (0..3_usize, 0..6_u64);
    prop_oneof![
        number.clone().prop_map(Step::Want),
        number.clone().prop_map(Step::Cancel),
        (peer.clone(), number.clone()).prop_map(|(peer, number)| Step::Send(peer, number)),
        (peer.clone(), number, any::<bool>())
            .prop_map(|(peer, number, is_here)| Step::Say(peer, number, is_here)),
        peer.clone().prop_map(Step::Connect),
        peer.prop_map(Step::Leave),
        (0..5_000_u64).prop_map(Step::Pass),
    ]
}

proptest! {
    /// Whatever peers do, every want ends exactly once, and nothing is left of it.
    #[test]
    fn every_want_ends_once(steps in proptest::collection::vec(step(), 0..200)) {
        let mut world = world(3);
        world.open(&[]);
        let (mut next, mut open) = (0, HashMap::new());
        for step in steps {
            match step {
                Step::Want(number) => {
                    next += 1;
                    open.insert(next, number);
                    let cid = cid(number);
                    world.client.want(world.now, next, 1, cid, &mut world.out);
                }
                Step::Cancel(number) => {
                    let found = open.iter().find(|(_, open)| **open == number);
                    if let Some(id) = found.map(|(id, _)| *id) {
                        open.remove(&id);
                        world.client.cancel(id, 1, &cid(number), &mut world.out);
                    }
                }
                Step::Send(peer, number) => world.sends(world.peers[peer], number),
                Step::Say(peer, number, here) => world.says(world.peers[peer], number, here),
                Step::Connect(peer) => {
                    let peer = world.peers[peer];
                    world.client.connected(world.now, peer, &mut world.out);
                }
                Step::Leave(peer) => {
                    let peer = world.peers[peer];
                    world.client.gone(world.now, &peer, &mut world.out);
                }
                Step::Pass(millis) => world.pass(Duration::from_millis(millis)),
            }
            for (id, _) in world.done() {
                prop_assert!(open.remove(&id).is_some(), "want {id} ended twice");
            }
            world.clear();
            prop_assert_eq!(open.is_empty(), world.client.wants.is_empty());
        }
        world.pass(Duration::from_secs(60));
        for (id, _) in world.done() {
            prop_assert!(open.remove(&id).is_some(), "want {id} ended twice");
        }
        prop_assert!(open.is_empty(), "{open:?}");
        prop_assert!(world.peers.iter().all(|peer| world.client.answers_open(peer) == 0));
    }
}

/// How often it dials since the last call.
fn dials(world: &mut World) -> usize {
    let is_dial = |output: &Output| matches!(output, Output::Dial(_));
    let dials = world.out.iter().filter(|output| is_dial(output)).count();
    world.clear();
    dials
}

#[test]
fn a_named_peer_that_has_given_blocks_is_connected_to_anew() {
    let mut world = world(1);
    let peer = world.peers[0];
    world.open(&[peer]);
    world.want(1);
    world.sends(peer, 1);
    world.want(2);
    world.clear();
    world.client.gone(world.now, &peer, &mut world.out);
    assert!(world.done().is_empty(), "it has waited for nobody");
    assert!(world.client.seeks(&peer));
    world.pass(SECOND);
    assert_eq!(dials(&mut world), 1);
    // It is not there yet.
    world.client.gone(world.now, &peer, &mut world.out);
    world.pass(SECOND);
    assert_eq!(dials(&mut world), 1);
    world.client.connected(world.now, peer, &mut world.out);
    assert_eq!(world.asked(), [peer]);
    assert!(!world.client.seeks(&peer));
    world.sends(peer, 2);
    assert_eq!(world.done().last(), Some(&(2, Ok(()))));
}

#[test]
fn a_peer_that_stays_away_is_lost_in_the_end() {
    let mut world = world(1);
    let peer = world.peers[0];
    world.open(&[peer]);
    world.want(1);
    world.sends(peer, 1);
    world.want(2);
    world.clear();
    let mut dialled = 0;
    for _ in 0..=REDIALS {
        world.client.gone(world.now, &peer, &mut world.out);
        if !world.client.seeks(&peer) {
            break;
        }
        let left = world.client.sessions[&1].redials[&peer].at.unwrap();
        world.pass(left.saturating_sub(world.now) + TICK);
        dialled += 1;
    }
    assert_eq!(world.done(), [(2, Err("no_peers"))]);
    assert_eq!(dialled, REDIALS);
}

#[test]
fn a_peer_that_goes_without_having_given_anything_is_lost_at_once() {
    let mut world = world(1);
    let peer = world.peers[0];
    world.open(&[peer]);
    world.want(1);
    world.client.gone(world.now, &peer, &mut world.out);
    assert_eq!(world.done(), [(1, Err("no_peers"))]);
    world.pass(SECOND);
    assert_eq!(dials(&mut world), 0);
}
