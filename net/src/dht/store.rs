//! Where records and providers that other peers put here are kept.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use libp2p::PeerId;
use parking_lot::Mutex;
use perennis_rt as rt;
use perennis_shared::{
    ipns::{Name, Record},
    time::Millis,
};

/// Keeps records and providers for the DHT.
///
/// Called from many tasks at once, those that answer others among them: it must not wait for the network or for a sync of
/// the disk. What is kept of one key is changed by one task at a time. It was validated before, and its type says so: nobody
/// parses or verifies a record again on its way to the disk.
pub trait DhtStore: Send + Sync {
    /// The record of a name, as it was kept; it may have ended since.
    fn record(&self, name: &Name) -> Option<StoredRecord>;

    /// Somebody asked for the record of a name; called before [`DhtStore::record`] for each such question.
    fn was_asked(&self, _name: &Name) {}

    /// Keeps the record of a name in place of another. It was verified as one of this name.
    fn keep_record(&self, name: &Name, record: StoredRecord);

    /// Forgets the record of a name.
    fn forget_record(&self, name: &Name);

    /// The providers of a key.
    fn providers(&self, key: &[u8]) -> Vec<StoredProvider>;

    /// Keeps a provider of a key in place of what was known of it.
    fn keep_provider(&self, key: &[u8], provider: StoredProvider);

    /// Forgets a provider of a key.
    fn forget_provider(&self, key: &[u8], peer: &PeerId);
}

/// A record and when it ceases to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// The record.
    pub record: Record,
    /// When it is forgotten.
    pub expires: Millis,
}

/// A peer that says it has a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredProvider {
    /// The peer.
    pub peer: PeerId,
    /// Its addresses, as the bytes of multiaddrs.
    pub addresses: Vec<Bytes>,
    /// When it is forgotten.
    pub expires: Millis,
}

/// Keeps them in memory, for clients and tests.
#[derive(Clone, Debug)]
pub struct MemoryDhtStore {
    shared: Arc<Mutex<Shared>>,
    most: usize,
}

#[derive(Debug, Default)]
struct Shared {
    records: BTreeMap<Name, StoredRecord>,
    providers: BTreeMap<Vec<u8>, Vec<StoredProvider>>,
}

impl MemoryDhtStore {
    /// Keeps at most `most` names and as many keys with providers. When it is full, what has expired gives way, and
    /// nothing else.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            shared: Arc::default(),
            most,
        }
    }
}

impl MemoryDhtStore {
    /// How many names have a record here, expired or not.
    #[must_use]
    pub fn records(&self) -> usize {
        self.shared.lock().records.len()
    }

    /// How many keys have providers here, expired or not.
    #[must_use]
    pub fn provided_keys(&self) -> usize {
        self.shared.lock().providers.len()
    }
}

impl DhtStore for MemoryDhtStore {
    fn record(&self, name: &Name) -> Option<StoredRecord> {
        self.shared.lock().records.get(name).cloned()
    }

    fn keep_record(&self, name: &Name, record: StoredRecord) {
        let mut shared = self.shared.lock();
        if shared.records.len() >= self.most && !shared.records.contains_key(name) {
            let now = rt::now();
            shared.records.retain(|_, kept| kept.expires > now);
            if shared.records.len() >= self.most {
                return;
            }
        }
        shared.records.insert(*name, record);
    }

    fn forget_record(&self, name: &Name) {
        self.shared.lock().records.remove(name);
    }

    fn providers(&self, key: &[u8]) -> Vec<StoredProvider> {
        let shared = self.shared.lock();
        shared.providers.get(key).cloned().unwrap_or_default()
    }

    fn keep_provider(&self, key: &[u8], provider: StoredProvider) {
        let mut shared = self.shared.lock();
        if shared.providers.len() >= self.most && !shared.providers.contains_key(key) {
            let now = rt::now();
            shared.providers.retain(|_, providers| {
                providers.retain(|provider| provider.expires > now);
                !providers.is_empty()
            });
            if shared.providers.len() >= self.most {
                return;
            }
        }
        let providers = shared.providers.entry(key.to_vec()).or_default();
        providers.retain(|known| known.peer != provider.peer);
        providers.push(provider);
    }

    fn forget_provider(&self, key: &[u8], peer: &PeerId) {
        let mut shared = self.shared.lock();
        if let Some(providers) = shared.providers.get_mut(key) {
            providers.retain(|known| known.peer != *peer);
            if providers.is_empty() {
                shared.providers.remove(key);
            }
        }
    }
}
