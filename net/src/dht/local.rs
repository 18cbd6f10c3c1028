//! What this peer itself knows: the peers of its routing tables, and the records and providers that are kept here.
//!
//! Others are answered from it (`server`), and our own lookups begin with it. Any task may ask at any time; nothing waits
//! for the task that owns the swarm, which only tells of what changes in its tables and addresses.
//!
//! Must never touch: the swarm, or a stream.

use std::sync::Arc;

use libp2p::{Multiaddr, PeerId};
use parking_lot::RwLock;
use perennis_shared::wire::kad::{self, Question, Request};

use super::{
    Contact, DhtStore, Network, REPLICAS,
    records::{Records, Refused},
    store::StoredProvider,
    table::Table,
};

/// Addresses of this peer that others are told when they ask for a block that it has.
const OWN_ADDRESSES: usize = 12;

/// What this peer knows of both networks.
pub(crate) struct Local {
    pub(super) own: PeerId,
    /// Whether this peer takes part in the DHT. One that does not knows nothing.
    takes_part: bool,
    public: Table,
    lan: Table,
    records: Records,
    /// Addresses that are listened on, as they change.
    listening: Arc<RwLock<Vec<Multiaddr>>>,
    /// Addresses at which others are known to reach this peer.
    external: RwLock<Vec<Multiaddr>>,
}

/// The answer of one peer of the DHT to a question.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    /// The bytes it has as the record.
    pub(crate) record: Option<Vec<u8>>,
    /// The peers closest to the key that it knows.
    pub(crate) closer: Vec<Contact>,
    /// Peers that say they have the block.
    pub(crate) providers: Vec<Contact>,
}

impl Local {
    pub(crate) fn new(
        own: PeerId,
        takes_part: bool,
        store: Arc<dyn DhtStore>,
        listening: Arc<RwLock<Vec<Multiaddr>>>,
    ) -> Self {
        Self {
            own,
            takes_part,
            public: Table::default(),
            lan: Table::default(),
            records: Records::new(store),
            listening,
            external: RwLock::default(),
        }
    }

    /// The message that answers a request of a peer in a network; `None` where nothing is answered.
    ///
    /// # Errors
    /// A record is not kept: it is not valid, or a better one is here.
    pub(super) fn answer_to(
        &self,
        network: Network,
        peer: &PeerId,
        request: &Request<'_>,
    ) -> Result<Option<Vec<u8>>, Refused> {
        match request {
            Request::Ask { question, key } => Ok(Some(self.message(network, peer, *question, key))),
            Request::Put { key, value } => {
                self.records.put(key, value)?;
                Ok(Some(kad::put_value(key, value)))
            }
            Request::AddProvider { key, providers } => {
                // Nobody speaks for another.
                let own = peer.to_bytes();
                for told in providers.iter().filter(|told| told.peer == own) {
                    let addresses = read_all(told.addresses.iter().copied());
                    let added = self.records.add_provider(network, key, *peer, &addresses);
                    if let Err(error) = added {
                        // There is no answer that could say so, and what follows on the stream may be good.
                        tracing::debug!(%peer, %error, "a provider is not kept");
                    }
                }
                Ok(None)
            }
            Request::Ping => Ok(Some(kad::pong())),
        }
    }

    fn message(&self, network: Network, peer: &PeerId, question: Question, key: &[u8]) -> Vec<u8> {
        let closer = self.table(network).closest(key, REPLICAS, peer);
        let closer = closer.iter().map(|member| member.told.as_slice());
        match question {
            Question::Closest if key == self.own.to_bytes() => {
                // The Go implementation asks a peer for itself, and takes one that names nobody for no server.
                let own = told_of(&self.own, &self.own_addresses(network));
                let closer = std::iter::once(own.as_slice()).chain(closer.take(REPLICAS - 1));
                kad::answer(question, key, None, [], closer)
            }
            Question::Closest => kad::answer(question, key, None, [], closer),
            Question::Record => {
                let record = self.records.record(key);
                let value = record.as_ref().map(|record| record.bytes().as_ref());
                kad::answer(question, key, value, [], closer)
            }
            Question::Providers => {
                let others = self.records.providers(key);
                let others = others.iter().filter(|other| other.peer != *peer);
                let mut told: Vec<Vec<u8>> = Vec::with_capacity(REPLICAS);
                if self.records.is_own(key) {
                    told.push(told_of(&self.own, &self.own_addresses(network)));
                }
                let others = others.map(|other| self.provider_as_told(network, other));
                told.extend(others.take(REPLICAS - told.len()));
                let told = told.iter().map(Vec::as_slice);
                kad::answer(question, key, None, told, closer)
            }
        }
    }

    /// Both networks have one store, but the public one hears of no private addresses.
    fn provider_as_told(&self, network: Network, provider: &StoredProvider) -> Vec<u8> {
        let stored = provider.addresses.iter().map(AsRef::as_ref);
        let mut addresses = read_all(stored);
        addresses.retain(|address| network.takes(address));
        if addresses.is_empty() {
            // They may be known by other means.
            addresses = self.table(network).addresses_of(&provider.peer);
        }
        told_of(&provider.peer, &addresses)
    }

    /// What this peer would answer to a question of its own.
    pub(super) fn answer(&self, network: Network, question: Question, key: &[u8]) -> Answer {
        if !self.takes_part {
            return Answer::default();
        }
        let closer = self.table(network).closest(key, REPLICAS, &self.own);
        let closer = closer.iter().map(|member| member.contact.clone());
        let mut answer = Answer {
            closer: closer.collect(),
            ..Answer::default()
        };
        match question {
            Question::Closest => {}
            Question::Record => {
                let record = self.records.record(key);
                answer.record = record.map(|record| record.bytes().to_vec());
            }
            Question::Providers => {
                if self.records.is_own(key) {
                    answer.providers.push(Contact {
                        peer: self.own,
                        addresses: self.own_addresses(network),
                    });
                }
                let others = self.records.providers(key).into_iter();
                answer.providers.extend(others.map(|provider| Contact {
                    peer: provider.peer,
                    addresses: read_all(provider.addresses.iter().map(AsRef::as_ref)),
                }));
            }
        }
        answer
    }

    /// Keeps a record as if another peer had put it here.
    pub(super) fn put(&self, key: &[u8], value: &[u8]) {
        if self.takes_part
            && let Err(error) = self.records.put(key, value)
        {
            tracing::debug!(%error, "a record of our own is not kept");
        }
    }

    /// Tells others that this peer provides a key when they ask it.
    pub(super) fn provide(&self, key: &[u8]) {
        self.records.provide(key);
    }

    /// Stops to count as a provider of a key.
    pub(super) fn withdraw(&self, key: &[u8]) {
        self.records.withdraw(key);
    }

    /// A peer is in the routing table of a network at these addresses; with none it is not.
    pub(crate) fn tell_peer(&self, network: Network, contact: Contact) {
        self.table(network).set(contact);
    }

    /// A peer is not in the routing table of a network any more.
    pub(crate) fn tell_gone(&self, network: Network, peer: &PeerId) {
        self.table(network).remove(peer);
    }

    /// These peers are in the routing table of a network, and no others.
    pub(crate) fn tell_all(&self, network: Network, contacts: impl IntoIterator<Item = Contact>) {
        self.table(network).replace(contacts);
    }

    /// Others reach this peer at these addresses.
    pub(crate) fn tell_external(&self, addresses: Vec<Multiaddr>) {
        *self.external.write() = addresses;
    }

    fn table(&self, network: Network) -> &Table {
        match network {
            Network::Public => &self.public,
            Network::Lan => &self.lan,
        }
    }

    fn own_addresses(&self, network: Network) -> Vec<Multiaddr> {
        let (external, listening) = (self.external.read(), self.listening.read());
        let mut addresses: Vec<Multiaddr> = Vec::new();
        for address in external.iter().chain(listening.iter()) {
            if network.takes(address) && !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
        addresses.truncate(OWN_ADDRESSES);
        addresses
    }
}

fn told_of(peer: &PeerId, addresses: &[Multiaddr]) -> Vec<u8> {
    kad::contact(&peer.to_bytes(), addresses.iter().map(AsRef::as_ref))
}

/// The addresses among these that can be read.
fn read_all<'a>(addresses: impl Iterator<Item = &'a [u8]>) -> Vec<Multiaddr> {
    addresses
        .filter_map(|address| Multiaddr::try_from(address.to_vec()).ok())
        .collect()
}
