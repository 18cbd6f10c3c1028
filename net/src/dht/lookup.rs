//! One question to the DHT: peers are asked on the way to a key, in both networks together.
//!
//! Lookups go over the long streams of [`Sender`], as puts do: a question costs one message there and one back, and no
//! negotiation. Their order is decided by [`Walk`].

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use libp2p::{Multiaddr, PeerId};
use perennis_rt::{self as rt, BoxFuture};
use perennis_shared::{
    codec::CodecError,
    wire::kad::{self, Question},
};

use super::{
    Answer, Contact, Dht, Network, Sender, handle::Sizes, keyspace::Point, sender::Expect,
};
use crate::{error::NetError, framing::framed};

mod walk;

use walk::Walk;

/// How long a lookup may take.
pub(super) const LOOKUP: Duration = Duration::from_secs(60);

/// How long one peer may take, a dial included.
const ASK: Duration = Duration::from_secs(5);

/// How often it is seen who has become slow.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// A question on its way. Dropping it ends it.
pub(super) struct Lookup {
    sender: Sender,
    sizes: Sizes,
    question: Question,
    key: Bytes,
    frame: Bytes,
    walks: BTreeMap<Network, Walk>,
    /// What this peer itself would answer, until it was told.
    own: Vec<Heard>,
    asking: FuturesUnordered<BoxFuture<'static, Asked>>,
    ends_at: Duration,
    is_in_hurry: bool,
    is_late: bool,
}

/// What came back.
pub(super) struct Heard {
    pub(super) network: Network,
    /// Who answered; `None` when it was this peer itself.
    pub(super) from: Option<PeerId>,
    pub(super) answer: Answer,
}

type Asked = (Network, PeerId, Option<Answer>);

impl Dht {
    /// Begins to ask about a key; nothing is asked before [`Lookup::next`].
    pub(super) fn look_up(
        &self,
        networks: &[Network],
        question: Question,
        key: &[u8],
    ) -> Result<Lookup, NetError> {
        let local = self.local()?;
        let key = Bytes::copy_from_slice(key);
        let (mut walks, mut own) = (BTreeMap::new(), Vec::new());
        for network in networks.iter().copied() {
            let mut answer = local.answer(network, question, &key);
            let closer = std::mem::take(&mut answer.closer);
            walks.insert(network, Walk::new(self.peer_id(), &key, closer));
            own.push(Heard {
                network,
                from: None,
                answer,
            });
        }
        Ok(Lookup {
            sender: self.sender.clone(),
            sizes: Arc::clone(&self.sizes),
            question,
            frame: framed(&question.message(&key)),
            key,
            walks,
            own,
            asking: FuturesUnordered::new(),
            ends_at: rt::monotonic() + LOOKUP,
            is_in_hurry: false,
            is_late: false,
        })
    }
}

impl Lookup {
    /// The next answer; `None` when the peers closest to the key have answered, or the time is over.
    pub(super) async fn next(&mut self) -> Option<Heard> {
        if let Some(own) = self.own.pop() {
            return Some(own);
        }
        loop {
            let now = rt::monotonic();
            self.is_late = now >= self.ends_at;
            if self.is_late {
                return None;
            }
            self.ask_on(now);
            if self.is_over() {
                self.learn();
                return None;
            }
            let Ok(asked) = rt::timeout(LOOK_AGAIN, self.asking.next()).await else {
                continue;
            };
            let (network, peer, answer) = asked?;
            let Some(walk) = self.walks.get_mut(&network) else {
                continue;
            };
            match answer {
                None => walk.failed(&peer),
                Some(mut answer) => {
                    walk.answered(&peer, std::mem::take(&mut answer.closer));
                    return Some(Heard {
                        network,
                        from: Some(peer),
                        answer,
                    });
                }
            }
        }
    }

    /// Asks nobody of this network any more.
    pub(super) fn leave(&mut self, network: Network) {
        self.walks.remove(&network);
    }

    /// From now on slow peers are not waited for.
    pub(super) fn hurry(&mut self) {
        self.is_in_hurry = true;
    }

    /// Whether it ended because the time was over.
    pub(super) fn is_late(&self) -> bool {
        self.is_late
    }

    /// The peers closest to the key of those that answered, nearest first.
    pub(super) fn closest(&self, network: Network) -> Vec<Contact> {
        let walk = self.walks.get(&network);
        walk.map(Walk::closest).unwrap_or_default()
    }

    /// The nearest peers that were heard of so far, with their distances, nearest first.
    pub(super) fn heard(&self, network: Network) -> impl Iterator<Item = (&Point, &Contact)> {
        self.walks.get(&network).into_iter().flat_map(Walk::heard)
    }

    fn is_over(&self) -> bool {
        let is_over =
            |walk: &Walk| walk.is_over() || (self.is_in_hurry && walk.is_waiting_for_slow_ones());
        self.walks.values().all(is_over)
    }

    /// Each lookup that came to its end shows how large a network is.
    fn learn(&self) {
        let mut sizes = self.sizes.lock();
        for (network, walk) in self.walks.iter().filter(|(_, walk)| walk.is_over()) {
            let size = sizes.entry(*network).or_default();
            size.learn(walk.heard().map(|(distance, _)| distance));
        }
    }

    fn ask_on(&mut self, now: Duration) {
        for (network, walk) in &mut self.walks {
            while let Some(contact) = walk.next(now) {
                let asking = ask(
                    self.sender.clone(),
                    *network,
                    contact,
                    self.frame.clone(),
                    (self.question, self.key.clone()),
                );
                self.asking.push(Box::pin(asking));
            }
        }
    }
}

async fn ask(
    sender: Sender,
    network: Network,
    contact: Contact,
    frame: Bytes,
    (question, key): (Question, Bytes),
) -> Asked {
    let peer = contact.peer;
    let sending = sender.send(network, contact, frame, Expect::Knowledge);
    let answer = match rt::timeout(ASK, sending).await {
        Ok(Ok(message)) => match read(network, &message, question, &key) {
            Ok(answer) => Some(answer),
            Err(error) => {
                tracing::debug!(%peer, %error, "a peer answered with what is no answer");
                None
            }
        },
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "a peer could not be asked");
            None
        }
        Err(_) => {
            tracing::debug!(%peer, "a peer did not answer in time");
            None
        }
    };
    (network, peer, answer)
}

fn read(
    network: Network,
    message: &[u8],
    question: Question,
    key: &[u8],
) -> Result<Answer, CodecError> {
    let answer = kad::Answer::parse(message, question, key)?;
    Ok(Answer {
        record: answer.record.map(<[u8]>::to_vec),
        closer: contacts(network, &answer.closer),
        providers: contacts(network, &answer.providers),
    })
}

/// Peers and addresses that can be read, and are of this network: a public peer cannot send anybody to private ones.
fn contacts(network: Network, told: &[kad::Contact<'_>]) -> Vec<Contact> {
    let contact = |told: &kad::Contact<'_>| {
        let addresses = told.addresses.iter();
        let addresses = addresses.filter_map(|bytes| Multiaddr::try_from(bytes.to_vec()).ok());
        Some(Contact {
            peer: PeerId::from_bytes(told.peer).ok()?,
            addresses: addresses.filter(|at| network.takes(at)).collect(),
        })
    };
    told.iter().filter_map(contact).collect()
}
