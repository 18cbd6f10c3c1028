//! Puts of many names: what one lookup learned serves all names near it, for a while.

use std::{collections::HashMap, time::Duration};

use futures_util::lock::Mutex;
use perennis_shared::ipns::{Name, Record};

use super::{
    Contact, DhtError, Network, PutReport,
    keyspace::{Closest, Keyspace, MOST_LOOKUPS},
    record_key,
};
use crate::{net::handle::Net, rt};

/// How long what was learned of a network counts. Peers come and go; half of the public ones within hours.
const FRESH: Duration = Duration::from_secs(600);

/// The networks of a peer, as far as lookups have shown them.
pub struct Sweep {
    net: Net,
    networks: HashMap<Network, Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    keyspace: Keyspace,
    since: Duration,
}

impl Sweep {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(net: Net) -> Self {
        let networks = Network::ALL.map(|network| (network, Mutex::default()));
        Self {
            net,
            networks: networks.into(),
        }
    }

    /// Puts a record to the peers closest to its name, as [`Net::put_record`] does, with fewer lookups. Names that are
    /// put in the order of the keyspace ([`super::point_of`]) share most.
    ///
    /// # Errors
    /// As [`Net::put_record`].
    pub async fn put_record(&self, name: &Name, record: &Record) -> Result<PutReport, DhtError> {
        let key = record_key(name);
        let mut closest = Vec::new();
        for network in Network::ALL {
            let contacts = self.closest(network, &key).await?;
            if !contacts.is_empty() {
                closest.push((network, contacts));
            }
        }
        self.net.put_record_to(name, record, closest).await
    }

    /// The closest peers of one network. Who asks while a lookup is under way waits for it: it may serve both.
    async fn closest(&self, network: Network, key: &[u8]) -> Result<Vec<Contact>, DhtError> {
        let Some(known) = self.networks.get(&network) else {
            return Ok(Vec::new());
        };
        let mut known = known.lock().await;
        let now = rt::monotonic();
        if now.saturating_sub(known.since) > FRESH {
            *known = Known {
                keyspace: Keyspace::default(),
                since: now,
            };
        }
        for _ in 0..MOST_LOOKUPS {
            match known.keyspace.closest(key) {
                Closest::Known(contacts) => {
                    if contacts.is_empty() {
                        // An empty network may have peers a moment later.
                        *known = Known::default();
                    }
                    return Ok(contacts);
                }
                Closest::LookUp(target) => match self.net.closest_in(network, &target).await? {
                    Some(found) => known.keyspace.learn(&target, found),
                    // It ran out of time: what is known has to do.
                    None => break,
                },
            }
        }
        Ok(known.keyspace.best(key))
    }
}
