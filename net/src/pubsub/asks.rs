//! Which peer is asked for the newest record of which name. Pure: it is told what happened, and says whom to ask.
//!
//! A peer that shares a name is asked once when it is found. Bounds hold whatever peers do: how many are asked about one
//! name, and how often one peer is asked, in a period; how many questions are under way, to one peer and altogether; how
//! many wait. A peer that speaks no fetch is not asked again.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use libp2p::PeerId;
use perennis_shared::{ipns::Name, limits::PUBSUB_PEER_TOPICS, time::Millis};

/// The period in which the two counts below are bounded.
const PERIOD: Duration = Duration::from_secs(600);

/// Peers asked about one name in a period: enough to meet one that is honest and up to date.
const PEERS_PER_NAME: u32 = 16;

/// Questions to one peer in a period: one for each topic that is remembered of it.
const ASKS_PER_PEER: u32 = PUBSUB_PEER_TOPICS as u32;

/// Questions under way to one peer.
const RUNNING_PER_PEER: usize = 4;

/// Questions under way.
const RUNNING: usize = 64;

/// Questions that wait; further ones are dropped, and the next message of the name makes up for them.
const WAITING: usize = 16_384;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AsksInput {
    /// A peer was found to follow a name that is followed here.
    Shared { peer: PeerId, name: Name },
    /// A question has ended.
    Ended { peer: PeerId, outcome: AskOutcome },
    /// There is no connection with a peer any more.
    Gone { peer: PeerId },
    /// A name is followed no more.
    Left { name: Name },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AskOutcome {
    /// The peer answered, with a record or without.
    Answered,
    /// It answered with what is no valid record.
    Invalid,
    /// It did not answer.
    Failed,
    /// It refuses whatever it is asked: it does not speak the protocol.
    Deaf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AsksOutput {
    /// Ask this peer about this name.
    Ask { peer: PeerId, name: Name },
}

#[derive(Debug, Default)]
pub(crate) struct Asks {
    peers: HashMap<PeerId, Asked>,
    /// How many peers were asked about a name.
    names: HashMap<Name, Count>,
    /// Peers with questions that wait and room for one more, in turn.
    ready: VecDeque<PeerId>,
    waiting: usize,
    running: usize,
}

#[derive(Debug, Default)]
struct Asked {
    waiting: VecDeque<Name>,
    running: usize,
    count: Count,
    is_ready: bool,
    is_deaf: bool,
    /// Gone while questions were under way: forgotten when they have ended.
    is_gone: bool,
}

/// A count of what happened since the start of a period.
#[derive(Debug, Default)]
struct Count {
    since: Millis,
    asks: u32,
}

impl Count {
    /// Counts one more, unless there were `most` in the period.
    fn admit(&mut self, now: Millis, most: u32) -> bool {
        if now - self.since >= PERIOD {
            *self = Count {
                since: now,
                asks: 0,
            };
        }
        let is_admitted = self.asks < most;
        self.asks += u32::from(is_admitted);
        is_admitted
    }
}

impl Asks {
    pub(crate) fn handle(&mut self, now: Millis, input: AsksInput, out: &mut Vec<AsksOutput>) {
        match input {
            AsksInput::Shared { peer, name } => self.shared(now, peer, name),
            AsksInput::Ended { peer, outcome } => self.ended(peer, outcome),
            AsksInput::Gone { peer } => self.gone(&peer),
            AsksInput::Left { name } => self.left(&name),
        }
        self.ask(out);
    }

    fn shared(&mut self, now: Millis, peer: PeerId, name: Name) {
        let asked = self.peers.entry(peer).or_default();
        asked.is_gone = false;
        if asked.is_deaf || self.waiting >= WAITING || asked.waiting.contains(&name) {
            return;
        }
        // The peer's own bound first: one that comes and goes must not use up what a name has.
        if !asked.count.admit(now, ASKS_PER_PEER)
            || !self
                .names
                .entry(name)
                .or_default()
                .admit(now, PEERS_PER_NAME)
        {
            return;
        }
        asked.waiting.push_back(name);
        self.waiting += 1;
        self.queue(peer);
    }

    fn ended(&mut self, peer: PeerId, outcome: AskOutcome) {
        self.running = self.running.saturating_sub(1);
        let Some(asked) = self.peers.get_mut(&peer) else {
            return;
        };
        asked.running = asked.running.saturating_sub(1);
        if outcome == AskOutcome::Deaf {
            asked.is_deaf = true;
            self.waiting -= asked.waiting.len();
            asked.waiting.clear();
        }
        if asked.is_gone && asked.running == 0 {
            self.peers.remove(&peer);
            return;
        }
        self.queue(peer);
    }

    fn gone(&mut self, peer: &PeerId) {
        let Some(asked) = self.peers.get_mut(peer) else {
            return;
        };
        self.waiting -= asked.waiting.len();
        asked.waiting.clear();
        asked.is_gone = true;
        if asked.running == 0 {
            self.peers.remove(peer);
        }
    }

    fn left(&mut self, name: &Name) {
        self.names.remove(name);
        for asked in self.peers.values_mut() {
            let before = asked.waiting.len();
            asked.waiting.retain(|waiting| waiting != name);
            self.waiting -= before - asked.waiting.len();
        }
    }

    /// Puts a peer into the turn when it has something to be asked and room for it.
    fn queue(&mut self, peer: PeerId) {
        if let Some(asked) = self.peers.get_mut(&peer)
            && !asked.is_ready
            && !asked.waiting.is_empty()
            && asked.running < RUNNING_PER_PEER
        {
            asked.is_ready = true;
            self.ready.push_back(peer);
        }
    }

    fn ask(&mut self, out: &mut Vec<AsksOutput>) {
        while self.running < RUNNING {
            let Some(peer) = self.ready.pop_front() else {
                return;
            };
            let Some(asked) = self.peers.get_mut(&peer) else {
                continue;
            };
            asked.is_ready = false;
            if asked.running < RUNNING_PER_PEER
                && let Some(name) = asked.waiting.pop_front()
            {
                self.waiting -= 1;
                self.running += 1;
                asked.running += 1;
                out.push(AsksOutput::Ask { peer, name });
            }
            self.queue(peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use perennis_shared::sign::SigningKey;
    use proptest::prelude::*;

    use super::*;

    const NOW: Millis = Millis(1_790_000_000_000);

    fn name(number: u32) -> Name {
        let mut seed = [1; 32];
        seed[..4].copy_from_slice(&number.to_be_bytes());
        Name::from_public_key(&SigningKey::from_seed(&seed).public())
    }

    fn run(asks: &mut Asks, now: Millis, input: AsksInput) -> Vec<(PeerId, Name)> {
        let mut out = Vec::new();
        asks.handle(now, input, &mut out);
        let pair = |AsksOutput::Ask { peer, name }| (peer, name);
        out.into_iter().map(pair).collect()
    }

    fn shared(asks: &mut Asks, now: Millis, peer: PeerId, name: Name) -> usize {
        run(asks, now, AsksInput::Shared { peer, name }).len()
    }

    #[test]
    fn a_name_with_many_peers_is_asked_of_some() {
        let mut asks = Asks::default();
        let name = name(0);
        let asked: usize = (0..500)
            .map(|_| shared(&mut asks, NOW, PeerId::random(), name))
            .sum();
        assert_eq!(asked, 16);
        let later = Millis(NOW.0 + 600_000);
        assert_eq!(shared(&mut asks, later, PeerId::random(), name), 1);
    }

    #[test]
    fn one_peer_is_asked_a_few_things_at_once() {
        let mut asks = Asks::default();
        let peer = PeerId::random();
        let asked: usize = (0..100)
            .map(|number| shared(&mut asks, NOW, peer, name(number)))
            .sum();
        assert_eq!(asked, 4);
        let ended = AsksInput::Ended {
            peer,
            outcome: AskOutcome::Answered,
        };
        assert_eq!(run(&mut asks, NOW, ended).len(), 1);
        // Others are served meanwhile.
        assert_eq!(shared(&mut asks, NOW, PeerId::random(), name(7)), 1);
        let deaf = AsksInput::Ended {
            peer,
            outcome: AskOutcome::Deaf,
        };
        assert!(run(&mut asks, NOW, deaf).is_empty());
        assert_eq!(asks.waiting, 0);
        assert_eq!(shared(&mut asks, NOW, peer, name(200)), 0);
    }

    #[test]
    fn a_peer_that_comes_and_goes_is_forgotten() {
        let mut asks = Asks::default();
        for _ in 0..100 {
            let peer = PeerId::random();
            shared(&mut asks, NOW, peer, name(1));
            run(&mut asks, NOW, AsksInput::Gone { peer });
            let outcome = AskOutcome::Failed;
            run(&mut asks, NOW, AsksInput::Ended { peer, outcome });
        }
        assert!(asks.peers.len() <= 84, "{}", asks.peers.len());
        run(&mut asks, NOW, AsksInput::Left { name: name(1) });
        assert!(asks.names.is_empty());
    }

    proptest! {
        #[test]
        fn the_counts_hold_whatever_happens(
            steps in prop::collection::vec((0_u8..4, 0_usize..3, 0_u32..6, 0_u64..400_000), 1..200),
        ) {
            let peers = [PeerId::random(), PeerId::random(), PeerId::random()];
            let mut asks = Asks::default();
            let mut under_way: Vec<PeerId> = Vec::new();
            let mut now = NOW;
            for (kind, peer, number, passed) in steps {
                now = Millis(now.0 + passed);
                let peer = peers[peer];
                let input = match kind {
                    0 => AsksInput::Shared { peer, name: name(number) },
                    1 => AsksInput::Gone { peer },
                    2 => AsksInput::Left { name: name(number) },
                    _ => {
                        let Some(at) = under_way.iter().position(|under| *under == peer) else {
                            continue;
                        };
                        under_way.swap_remove(at);
                        AsksInput::Ended { peer, outcome: AskOutcome::Answered }
                    }
                };
                under_way.extend(run(&mut asks, now, input).into_iter().map(|(peer, _)| peer));
                prop_assert_eq!(asks.running, under_way.len());
                let waiting: usize = asks.peers.values().map(|asked| asked.waiting.len()).sum();
                prop_assert_eq!(asks.waiting, waiting);
                for peer in &peers {
                    let running = under_way.iter().filter(|under| *under == peer).count();
                    prop_assert!(running <= RUNNING_PER_PEER);
                }
            }
        }
    }
}
