//! Puts of many names and providers of many blocks: what one lookup learned serves all keys near it, for a while.
//!
//! With [`Sweep::map`] the whole network is looked through beforehand, so that nothing waits for a lookup (the
//! *accelerated client* of the Go implementation): neighbourhood after neighbourhood, until every part of the keyspace
//! is covered. Such a map is renewed while the one before it is in use.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::{future::join_all, lock::Mutex};
use perennis_rt as rt;
use perennis_shared::{
    cid::Cid,
    ipns::{Name, Record},
};

use super::{
    Contact, Dht, DhtError, Network, PutReport,
    keyspace::{Closest, Keyspace, MOST_LOOKUPS},
    record_key,
};

/// How long what was learned of a network counts. Peers come and go; half of the public ones within hours.
const FRESH: Duration = Duration::from_secs(600);

/// How long a map of a whole network counts, unless it is renewed.
const MAP_FRESH: Duration = Duration::from_secs(2 * 3_600);

/// Lookups at once while the whole network is looked through.
const MAPPING: usize = 16;

/// Lookups after which a map is given up: enough for 200,000 peers.
const MOST_MAPPING: usize = 65_536;

/// Lookups of one map that may fail.
const MAPPING_FAILURES: usize = 64;

/// The networks of a peer, as far as lookups have shown them; clones share what they know.
#[derive(Clone)]
pub struct Sweep {
    dht: Dht,
    networks: Arc<HashMap<Network, Mutex<Known>>>,
}

#[derive(Default)]
struct Known {
    keyspace: Keyspace,
    since: Duration,
    is_whole: bool,
}

impl Known {
    fn is_fresh(&self, now: Duration) -> bool {
        let lasts = if self.is_whole { MAP_FRESH } else { FRESH };
        // A network without peers may have some at any moment, and to ask nobody costs nothing.
        self.keyspace.len() > 0 && now.saturating_sub(self.since) <= lasts
    }
}

/// A network that was looked through as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// Which.
    pub network: Network,
    /// Its peers that answer.
    pub peers: usize,
    /// Lookups it took.
    pub lookups: usize,
}

impl Sweep {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(dht: impl Into<Dht>) -> Self {
        let networks = Network::ALL.map(|network| (network, Mutex::default()));
        Self {
            dht: dht.into(),
            networks: Arc::new(networks.into()),
        }
    }

    /// Puts a record to the peers closest to its name, as [`Dht::put_record`] does, with fewer lookups. Names that are
    /// put in the order of the keyspace ([`super::point_of`]) share most.
    ///
    /// # Errors
    /// As [`Dht::put_record`].
    pub async fn put_record(&self, name: &Name, record: &Record) -> Result<PutReport, DhtError> {
        let closest = self.closest(&record_key(name)).await?;
        self.dht.put_record_to(name, record, closest).await
    }

    /// Tells the peers closest to a block that this peer has it, as [`Dht::provide`] does, with fewer lookups.
    ///
    /// # Errors
    /// As [`Dht::provide`].
    pub async fn provide(&self, cid: &Cid) -> Result<PutReport, DhtError> {
        let closest = self.closest(&cid.hash().to_bytes()).await?;
        self.dht.provide_to(cid, closest).await
    }

    /// The peers closest to a key in each network with peers.
    ///
    /// # Errors
    /// Nobody can be asked.
    pub async fn closest(&self, key: &[u8]) -> Result<Vec<(Network, Vec<Contact>)>, DhtError> {
        let asked = Network::ALL.map(|network| async move {
            let found = self.closest_in(network, key).await;
            found.map(|contacts| (network, contacts))
        });
        let mut closest = Vec::new();
        for found in join_all(asked).await {
            let (network, contacts) = found?;
            if !contacts.is_empty() {
                closest.push((network, contacts));
            }
        }
        if closest.is_empty() {
            return Err(DhtError::NoPeers);
        }
        Ok(closest)
    }

    /// Looks through both networks as a whole and uses what was found from then on.
    ///
    /// # Errors
    /// Nobody can be asked, or too many lookups ran out of time. What was known before stays in use.
    pub async fn map(&self) -> Result<Vec<Mapped>, DhtError> {
        let mut maps = Vec::new();
        for network in Network::ALL {
            let mapped = self.map_network(network).await?;
            if mapped.peers > 0 {
                maps.push(mapped);
            }
        }
        if maps.is_empty() {
            return Err(DhtError::NoPeers);
        }
        Ok(maps)
    }

    async fn map_network(&self, network: Network) -> Result<Mapped, DhtError> {
        let mut keyspace = Keyspace::default();
        let (mut lookups, mut failures) = (0, 0);
        let started = rt::monotonic();
        loop {
            let keys = keyspace.unmapped(MAPPING);
            if keys.is_empty() {
                break;
            }
            lookups += keys.len();
            let found = keys.iter().map(|key| self.dht.closest_in(network, key));
            for (key, found) in keys.iter().zip(join_all(found).await) {
                match found? {
                    Some(found) => keyspace.learn(key, found),
                    None => failures += 1,
                }
            }
            if failures > MAPPING_FAILURES || lookups > MOST_MAPPING {
                let after = rt::monotonic().saturating_sub(started);
                return Err(DhtError::Deadline { after });
            }
        }
        let peers = keyspace.len();
        if let Some(known) = self.networks.get(&network) {
            *known.lock().await = Known {
                keyspace,
                since: rt::monotonic(),
                is_whole: true,
            };
        }
        Ok(Mapped {
            network,
            peers,
            lookups,
        })
    }

    /// The closest peers of one network. Who asks while a lookup is under way waits for it: it may serve both.
    async fn closest_in(&self, network: Network, key: &[u8]) -> Result<Vec<Contact>, DhtError> {
        let Some(known) = self.networks.get(&network) else {
            return Ok(Vec::new());
        };
        let mut known = known.lock().await;
        let now = rt::monotonic();
        if !known.is_fresh(now) {
            *known = Known {
                since: now,
                ..Known::default()
            };
        }
        for _ in 0..MOST_LOOKUPS {
            match known.keyspace.closest(key) {
                Closest::Known(contacts) => return Ok(contacts),
                Closest::LookUp(target) => match self.dht.closest_in(network, &target).await? {
                    Some(found) => known.keyspace.learn(&target, found),
                    // It ran out of time: what is known has to do.
                    None => break,
                },
            }
        }
        Ok(known.keyspace.best(key))
    }
}
