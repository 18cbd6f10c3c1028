//! The gate before the kept records: what other peers put here is validated before it is acknowledged.
//!
//! libp2p's behaviour acknowledges a put when [`RecordStore::put`] returns `Ok`, and resets the stream when it does
//! not. So all checks are here, in one synchronous step: the key is `/ipns/` and a name, the record is within its
//! limit, valid for the name, not expired, and not worse than the one that is kept. A record that is already here
//! costs no signature check. What passes is a [`perennis_shared::ipns::Record`] from here on, and is neither parsed nor
//! verified again on its way to the disk.

use std::{
    borrow::Cow,
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    iter,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use libp2p::{
    Multiaddr, PeerId,
    kad::{
        ProviderRecord, Record, RecordKey,
        store::{Error, RecordStore, Result},
    },
};
use perennis_rt as rt;
use perennis_shared::{
    ipns::{Name, UnverifiedRecord, compare},
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

/// The records and providers of one network.
pub(crate) struct Records {
    network: Network,
    store: Arc<dyn DhtStore>,
    /// What this peer provides itself.
    own: HashMap<RecordKey, ProviderRecord>,
    /// Which of too many providers stay is decided by a hash that nobody else can compute.
    order: RandomState,
}

impl Records {
    pub(crate) fn new(network: Network, store: Arc<dyn DhtStore>) -> Self {
        Self {
            network,
            store,
            own: HashMap::new(),
            order: RandomState::new(),
        }
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

impl RecordStore for Records {
    type RecordsIter<'a> = iter::Empty<Cow<'a, Record>>;
    type ProvidedIter<'a> = iter::Empty<Cow<'a, ProviderRecord>>;

    fn get(&self, key: &RecordKey) -> Option<Cow<'_, Record>> {
        let name = parse_key(key.as_ref())?;
        let now = rt::now();
        self.store.was_asked(&name);
        let stored = self.store.record(&name)?;
        if stored.expires <= now {
            self.store.forget_record(&name);
            return None;
        }
        // It was valid when it came, but may have ended since.
        if stored.record.is_expired(now) {
            return None;
        }
        let bytes = stored.record.bytes().to_vec();
        Some(Cow::Owned(Record::new(key.clone(), bytes)))
    }

    fn put(&mut self, offered: Record) -> Result<()> {
        // The error says only that the record is not kept; the behaviour tells the peer no more than that.
        const REFUSED: Error = Error::ValueTooLarge;
        let name = parse_key(offered.key.as_ref()).ok_or(REFUSED)?;
        let now = rt::now();
        let expires = later(now, EXPIRY);
        let kept = self.store.record(&name).filter(|kept| kept.expires > now);
        if let Some(kept) = &kept
            && *kept.record.bytes() == offered.value
        {
            if kept.expires < later(now, EXPIRY - FRESH) {
                let record = kept.record.clone();
                self.store
                    .keep_record(&name, StoredRecord { record, expires });
            }
            return Ok(());
        }
        let record = UnverifiedRecord::parse(&offered.value)
            .and_then(|record| record.verify(&name, now))
            .map_err(|error| {
                tracing::debug!(%name, %error, "a record that was put here is not valid");
                REFUSED
            })?;
        if let Some(StoredRecord { record: best, .. }) = kept
            && compare(&record, &best).is_lt()
        {
            tracing::debug!(%name, kept = best.sequence(), offered = record.sequence(), "a stale record was put here");
            return Err(REFUSED);
        }
        self.store
            .keep_record(&name, StoredRecord { record, expires });
        Ok(())
    }

    fn remove(&mut self, key: &RecordKey) {
        if let Some(name) = parse_key(key.as_ref()) {
            self.store.forget_record(&name);
        }
    }

    /// Nothing: the republisher of the node knows what is due.
    fn records(&self) -> Self::RecordsIter<'_> {
        iter::empty()
    }

    fn add_provider(&mut self, record: ProviderRecord) -> Result<()> {
        if record.expires.is_none() {
            // Above the limit the closest peers still answer with it; only this one does not.
            if self.own.len() < OWN_PROVIDED || self.own.contains_key(&record.key) {
                self.own.insert(record.key.clone(), record);
            }
            return Ok(());
        }
        let key = record.key.as_ref();
        if key.is_empty() || key.len() > PROVIDER_KEY_BYTES {
            return Err(Error::ValueTooLarge);
        }
        let now = rt::now();
        let mut providers = self.store.providers(key);
        for gone in providers.iter().filter(|provider| provider.expires <= now) {
            self.store.forget_provider(key, &gone.peer);
        }
        providers.retain(|provider| provider.expires > now);
        let addresses: Vec<Bytes> = record
            .addresses
            .iter()
            .filter(|address| self.network.takes(address))
            .take(PROVIDER_ADDRESSES)
            .map(|address| Bytes::copy_from_slice(address.as_ref()))
            .collect();
        let offered = StoredProvider {
            peer: record.provider,
            addresses,
            expires: later(now, EXPIRY),
        };
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
            Some(peer) if peer == offered.peer => return Err(Error::MaxProvidedKeys),
            Some(peer) => self.store.forget_provider(key, &peer),
            None => {}
        }
        self.store.keep_provider(key, offered);
        Ok(())
    }

    fn providers(&self, key: &RecordKey) -> Vec<ProviderRecord> {
        let now = rt::now();
        let mut providers = self.store.providers(key.as_ref());
        providers.retain(|provider| provider.expires > now);
        // The behaviour gives the first twenty: let each group be heard before any is heard twice.
        interleave(&mut providers);
        let known = providers.into_iter().map(|provider| ProviderRecord {
            key: key.clone(),
            provider: provider.peer,
            expires: instant_of(provider.expires, now),
            addresses: provider
                .addresses
                .into_iter()
                .filter_map(|address| Multiaddr::try_from(address.to_vec()).ok())
                .collect(),
        });
        self.own
            .get(key)
            .cloned()
            .into_iter()
            .chain(known)
            .collect()
    }

    /// Nothing: the node provides again what is due.
    fn provided(&self) -> Self::ProvidedIter<'_> {
        iter::empty()
    }

    fn remove_provider(&mut self, key: &RecordKey, peer: &PeerId) {
        if self.own.get(key).is_some_and(|own| own.provider == *peer) {
            self.own.remove(key);
        }
        self.store.forget_provider(key.as_ref(), peer);
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

fn instant_of(at: Millis, now: Millis) -> Option<Instant> {
    Some(Instant::now() + Duration::from_millis(at.0.saturating_sub(now.0)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::dht::MemoryDhtStore;

    fn records() -> Records {
        Records::new(Network::Lan, Arc::new(MemoryDhtStore::new(100)))
    }

    fn provider(key: &[u8], group: u8, host: u8) -> ProviderRecord {
        let address = format!("/ip4/8.8.{group}.{host}/tcp/4001").parse().unwrap();
        let mut record = ProviderRecord::new(RecordKey::new(&key), PeerId::random(), vec![address]);
        record.expires = Some(Instant::now() + EXPIRY);
        record
    }

    #[test]
    fn provider_spam_for_one_key_leaves_room_for_others() {
        let mut records = records();
        let key = b"some block";
        let honest = provider(key, 1, 1);
        records.add_provider(honest.clone()).unwrap();
        for host in 0..=255 {
            // Refused or not, nothing else may happen.
            let _ = records.add_provider(provider(key, 2, host));
        }
        let late = provider(key, 3, 1);
        records.add_provider(late.clone()).unwrap();
        let told = records.providers(&RecordKey::new(&key));
        assert!(told.len() <= PROVIDERS_PER_GROUP + 2);
        let first: Vec<PeerId> = told.iter().take(3).map(|record| record.provider).collect();
        assert!(first.contains(&honest.provider) && first.contains(&late.provider));
    }

    #[test]
    fn providers_are_bounded_whatever_their_groups() {
        let mut records = records();
        let key = b"some block";
        for group in 0..=255 {
            for host in 0..4 {
                let _ = records.add_provider(provider(key, group, host));
            }
        }
        assert_eq!(records.store.providers(key).len(), PROVIDERS_PER_KEY);
    }
}
