//! The gate before the kept records: what other peers put here is validated before it is acknowledged.
//!
//! All checks are here, in one synchronous step: the key is `/ipns/` and a name, the record is within its limit, valid for
//! the name, not expired, and not worse than the one that is kept. A record that is already here costs no signature check.
//! What passes is a [`Record`] from here on, and is neither parsed nor verified again on its way to the disk.
//!
//! Many tasks put and ask at once, of both networks. What is kept of one key is compared and replaced by one of them at a
//! time; signatures are checked before that.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use libp2p::{Multiaddr, PeerId};
use parking_lot::Mutex;
use perennis_rt as rt;
use perennis_shared::{
    ipns::{Name, Record, RecordError, UnverifiedRecord, compare},
    limits::{PROVIDER_ADDRESSES, PROVIDER_KEY_BYTES, PROVIDERS_PER_GROUP, PROVIDERS_PER_KEY},
    time::Millis,
};

use super::{
    EXPIRY, Network,
    store::{DhtStore, StoredProvider, StoredRecord},
};
use crate::address::{Group, group_of};

/// What comes before the multihash of a name in the key of its record.
const NAMESPACE: &[u8] = b"/ipns/";

/// A record or provider that was renewed less than this ago is not written again.
const FRESH: Duration = Duration::from_secs(3_600);

/// Keys that this peer provides itself and answers with when it is asked.
const OWN_PROVIDED: usize = 65_536;

/// Keys that are changed at the same time, at most.
const CHANGES: usize = 64;

/// The key of a name's record in the DHT (IPNS specification, "Routing Record").
#[must_use]
pub fn record_key(name: &Name) -> Vec<u8> {
    [NAMESPACE, name.as_bytes()].concat()
}

/// The name in a key of the DHT.
#[must_use]
pub fn parse_key(key: &[u8]) -> Option<Name> {
    Name::from_bytes(key.strip_prefix(NAMESPACE)?).ok()
}

/// The records and providers that are kept here; both networks have one store behind them.
pub(super) struct Records {
    store: Arc<dyn DhtStore>,
    /// What this peer provides itself.
    own: Mutex<HashSet<Vec<u8>>>,
    /// Which of too many providers stay is decided by a hash that nobody else can compute.
    order: RandomState,
    /// Held while what is kept of a key is looked at and changed.
    changing: [Mutex<()>; CHANGES],
}

/// Why nothing is kept of what was put here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the key is of no name and of no block")]
    Key,
    #[error("the record is not valid")]
    Record(#[from] RecordError),
    #[error("the record has sequence {offered}, the one that is kept {kept}")]
    Stale { offered: u64, kept: u64 },
    #[error("there are too many providers of the key")]
    Crowded,
}

impl Records {
    pub(super) fn new(store: Arc<dyn DhtStore>) -> Self {
        Self {
            store,
            own: Mutex::default(),
            order: RandomState::new(),
            changing: std::array::from_fn(|_| Mutex::default()),
        }
    }

    /// The record of a key that somebody asks for.
    pub(super) fn record(&self, key: &[u8]) -> Option<Record> {
        let name = parse_key(key)?;
        let now = rt::now();
        self.store.was_asked(&name);
        let stored = self.store.record(&name)?;
        if stored.expires <= now {
            let _changing = self.changing(key).lock();
            // Another may have been put here meanwhile.
            let still = self.store.record(&name);
            if still.is_some_and(|stored| stored.expires <= now) {
                self.store.forget_record(&name);
            }
            return None;
        }
        // It was valid when it came, but may have ended since.
        Some(stored.record).filter(|record| !record.is_expired(now))
    }

    /// Keeps a record that is put here, and is at least as good as the one that is.
    pub(super) fn put(&self, key: &[u8], offered: &[u8]) -> Result<(), Refused> {
        let name = parse_key(key).ok_or(Refused::Key)?;
        let now = rt::now();
        let expires = later(now, EXPIRY);
        let kept = || self.store.record(&name).filter(|kept| kept.expires > now);
        let is_same = |kept: &StoredRecord| *kept.record.bytes() == offered;
        let record = match kept().filter(is_same) {
            Some(StoredRecord { expires, .. }) if expires >= later(now, EXPIRY - FRESH) => {
                return Ok(());
            }
            Some(same) => same.record,
            None => UnverifiedRecord::parse(offered)?.verify(&name, now)?,
        };
        let _changing = self.changing(key).lock();
        if let Some(StoredRecord { record: best, .. }) = kept()
            && compare(&record, &best).is_lt()
        {
            return Err(Refused::Stale {
                offered: record.sequence(),
                kept: best.sequence(),
            });
        }
        self.store
            .keep_record(&name, StoredRecord { record, expires });
        Ok(())
    }

    /// Answers with this peer itself when providers of a key are asked for.
    pub(super) fn provide(&self, key: &[u8]) {
        let mut own = self.own.lock();
        // Above the limit the closest peers still answer with it; only this one does not.
        if own.len() < OWN_PROVIDED {
            own.insert(key.to_vec());
        }
    }

    /// Does so no longer.
    pub(super) fn withdraw(&self, key: &[u8]) {
        self.own.lock().remove(key);
    }

    /// Whether this peer provides a key itself.
    pub(super) fn is_own(&self, key: &[u8]) -> bool {
        self.own.lock().contains(key)
    }

    /// Keeps a peer as a provider of a key, with those of its addresses that are of the network.
    pub(super) fn add_provider(
        &self,
        network: Network,
        key: &[u8],
        peer: PeerId,
        addresses: &[Multiaddr],
    ) -> Result<(), Refused> {
        if key.is_empty() || key.len() > PROVIDER_KEY_BYTES {
            return Err(Refused::Key);
        }
        let now = rt::now();
        let addresses: Vec<Bytes> = addresses
            .iter()
            .filter(|address| network.takes(address))
            .take(PROVIDER_ADDRESSES)
            .map(|address| Bytes::copy_from_slice(address.as_ref()))
            .collect();
        let offered = StoredProvider {
            peer,
            addresses,
            expires: later(now, EXPIRY),
        };
        let _changing = self.changing(key).lock();
        let mut providers = self.store.providers(key);
        for gone in providers.iter().filter(|provider| provider.expires <= now) {
            self.store.forget_provider(key, &gone.peer);
        }
        providers.retain(|provider| provider.expires > now);
        let is_fresh = |known: &StoredProvider| {
            known.peer == offered.peer
                && known.addresses == offered.addresses
                && known.expires > later(now, EXPIRY - FRESH)
        };
        if providers.iter().any(is_fresh) {
            return Ok(());
        }
        providers.retain(|known| known.peer != offered.peer);
        providers.push(offered.clone());
        match self.surplus(&providers) {
            Some(peer) if peer == offered.peer => return Err(Refused::Crowded),
            Some(peer) => self.store.forget_provider(key, &peer),
            None => {}
        }
        self.store.keep_provider(key, offered);
        Ok(())
    }

    /// The providers of a key, this peer not among them: each address group is heard before any is heard twice.
    pub(super) fn providers(&self, key: &[u8]) -> Vec<StoredProvider> {
        let now = rt::now();
        let mut providers = self.store.providers(key);
        providers.retain(|provider| provider.expires > now);
        interleave(&mut providers);
        providers
    }

    fn changing(&self, key: &[u8]) -> &Mutex<()> {
        let hash = self.order.hash_one(key);
        let at = usize::try_from(hash % CHANGES as u64).unwrap_or_default();
        &self.changing[at]
    }

    /// Who of too many providers gives way: of the largest address group the one whose hash is highest.
    fn surplus(&self, providers: &[StoredProvider]) -> Option<PeerId> {
        let mut groups: HashMap<Option<Group>, Vec<&StoredProvider>> = HashMap::new();
        for provider in providers {
            groups
                .entry(group_of_provider(provider))
                .or_default()
                .push(provider);
        }
        let is_crowded = |group: &Option<Group>, members: usize| {
            group.is_some() && members > PROVIDERS_PER_GROUP
        };
        let crowded = groups
            .iter()
            .any(|(group, members)| is_crowded(group, members.len()));
        if providers.len() <= PROVIDERS_PER_KEY && !crowded {
            return None;
        }
        let largest = groups
            .iter()
            .filter(|(group, members)| !crowded || is_crowded(group, members.len()))
            .max_by_key(|(group, members)| (members.len(), **group))
            .map(|(_, members)| members)?;
        largest
            .iter()
            .max_by_key(|provider| self.order.hash_one(provider.peer))
            .map(|provider| provider.peer)
    }
}

fn interleave(providers: &mut Vec<StoredProvider>) {
    let mut heard: HashMap<Option<Group>, usize> = HashMap::new();
    let mut ranked: Vec<(usize, StoredProvider)> = providers
        .drain(..)
        .map(|provider| {
            let turn = heard.entry(group_of_provider(&provider)).or_default();
            *turn += 1;
            (*turn, provider)
        })
        .collect();
    ranked.sort_by_key(|(turn, _)| *turn);
    providers.extend(ranked.into_iter().map(|(_, provider)| provider));
}

fn group_of_provider(provider: &StoredProvider) -> Option<Group> {
    provider
        .addresses
        .iter()
        .filter_map(|address| Multiaddr::try_from(address.to_vec()).ok())
        .find_map(|address| group_of(&address))
}

fn later(now: Millis, wait: Duration) -> Millis {
    Millis(
        now.0
            .saturating_add(wait.as_millis().try_into().unwrap_or(u64::MAX)),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use perennis_shared::{
        ipns::{RecordFields, create},
        sign::SigningKey,
        time::Timestamp,
    };

    use super::*;
    use crate::dht::MemoryDhtStore;

    fn records() -> Records {
        Records::new(Arc::new(MemoryDhtStore::new(100)))
    }

    fn add(records: &Records, key: &[u8], group: u8, host: u8) -> (PeerId, Result<(), Refused>) {
        let address = format!("/ip4/8.8.{group}.{host}/tcp/4001").parse().unwrap();
        let peer = PeerId::random();
        (
            peer,
            records.add_provider(Network::Lan, key, peer, &[address]),
        )
    }

    #[test]
    fn provider_spam_for_one_key_leaves_room_for_others() {
        let records = records();
        let key = b"some block";
        let (honest, added) = add(&records, key, 1, 1);
        added.unwrap();
        for host in 0..=255 {
            // Refused or not, nothing else may happen.
            let _ = add(&records, key, 2, host);
        }
        let (late, added) = add(&records, key, 3, 1);
        added.unwrap();
        let told = records.providers(key);
        assert!(told.len() <= PROVIDERS_PER_GROUP + 2);
        let first: Vec<PeerId> = told.iter().take(3).map(|record| record.peer).collect();
        assert!(first.contains(&honest) && first.contains(&late));
    }

    #[test]
    fn providers_are_bounded_whatever_their_groups() {
        let records = records();
        let key = b"some block";
        for group in 0..=255 {
            for host in 0..4 {
                let _ = add(&records, key, group, host);
            }
        }
        assert_eq!(records.store.providers(key).len(), PROVIDERS_PER_KEY);
    }

    #[test]
    fn many_who_put_at_once_leave_the_best() {
        let records = records();
        let key = SigningKey::from_seed(&[1; 32]);
        let name = Name::from_public_key(&key.public());
        let put = record_key(&name);
        let offered: Vec<Record> = (1..=32)
            .map(|sequence| {
                let fields = RecordFields {
                    value: "/ipfs/bafkqaaa",
                    sequence,
                    validity: Timestamp::from(later(rt::now(), EXPIRY)),
                    ttl: FRESH,
                };
                create(&key, &fields).unwrap()
            })
            .collect();
        std::thread::scope(|scope| {
            for half in [0, 1] {
                let (records, put, offered) = (&records, &put, &offered);
                scope.spawn(move || {
                    for record in offered.iter().skip(half).step_by(2) {
                        // One that comes after a better one is refused.
                        let _ = records.put(put, record.bytes());
                    }
                });
            }
        });
        assert_eq!(records.record(&put).unwrap().sequence(), 32);
        let stale = records.put(&put, offered[3].bytes());
        let is_stale = |stale| {
            matches!(
                stale,
                Err(Refused::Stale {
                    offered: 4,
                    kept: 32
                })
            )
        };
        assert!(is_stale(stale));
        records.put(&put, offered[31].bytes()).unwrap();
    }
}
