//! Who may write, how often, and how much.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use perennis_sdk::exchange::DagLimits;
use perennis_shared::ipns::Name;
use quick_cache::sync::Cache;

use super::IngestError;
use crate::caller::Caller;
use crate::config::{AdmissionConfig, Config};
use crate::storage::GraphFacts;

/// Names and addresses whose rate is remembered. Whoever is forgotten starts with a full bucket again.
const REMEMBERED: usize = 65_536;

/// The rules of the configuration and the rates seen lately.
pub(super) struct Admission {
    pub(super) rules: AdmissionConfig,
    /// Most bytes of one fetch on demand.
    fetch_bytes: u64,
    names: Cache<Name, Arc<Bucket>>,
    addresses: Cache<IpAddr, Arc<Bucket>>,
    /// By the origins of pages.
    origins: Cache<Box<str>, Arc<Bucket>>,
}

impl Admission {
    pub(super) fn new(config: &Config) -> Admission {
        Admission {
            rules: config.admission.clone(),
            fetch_bytes: config.fetch.max_bytes,
            names: Cache::new(REMEMBERED),
            addresses: Cache::new(REMEMBERED),
            origins: Cache::new(REMEMBERED),
        }
    }

    /// Whether somebody may write a name now. It counts for the caller, not for the name: a stranger who names it must not use up
    /// its rate.
    pub(super) fn admit(
        &self,
        name: &Name,
        caller: &Caller,
        now: Instant,
    ) -> Result<(), IngestError> {
        if !self.rules.allow.is_empty() && !self.rules.allow.contains(name) {
            return Err(IngestError::NotAllowed);
        }
        if caller.is_rated {
            let rate = self.rules.address_rate;
            // The address first: who writes too often takes nothing of what pages of the origin have together.
            take(&self.addresses, &counted(caller.address), rate, now)
                .map_err(too_often("this address", rate))?;
            if let Some(origin) = &caller.origin {
                let rate = self.rules.origin_rate;
                take(&self.origins, origin, rate, now)
                    .map_err(too_often("pages of this origin", rate))?;
            }
        }
        Ok(())
    }

    /// Whether a name may change once more now. Asked when its signature was verified.
    pub(super) fn admit_signed(&self, name: &Name, now: Instant) -> Result<(), IngestError> {
        let rate = self.rules.name_rate;
        take(&self.names, name, rate, now).map_err(too_often("this name", rate))
    }

    pub(super) fn check_size(&self, facts: &GraphFacts) -> Result<(), IngestError> {
        let bounds = [
            (
                "bytes for one name",
                "admission.name-size",
                facts.bytes,
                self.rules.name_bytes,
            ),
            (
                "blocks for one name",
                "admission.name-blocks",
                facts.blocks,
                self.rules.name_blocks,
            ),
        ];
        for (what, setting, needed, allowed) in bounds {
            if needed > allowed {
                return Err(IngestError::Quota {
                    what,
                    setting,
                    needed,
                    allowed,
                });
            }
        }
        Ok(())
    }

    pub(super) fn most_blocks(&self) -> u64 {
        self.rules.name_blocks
    }

    /// How much one fetch on demand may bring. It belongs to no name.
    pub(super) fn fetch_limits(&self) -> DagLimits {
        DagLimits {
            bytes: self.fetch_bytes,
            ..DagLimits::default()
        }
    }

    /// Whether more may come in with a fetch that has brought so many bytes.
    pub(super) fn check_fetched(&self, bytes: u64) -> Result<(), IngestError> {
        let allowed = self.fetch_bytes;
        if bytes > allowed {
            return Err(IngestError::FetchTooLarge { allowed });
        }
        Ok(())
    }
}

fn too_often(what: &'static str, per_minute: u32) -> impl FnOnce(Duration) -> IngestError {
    move |retry_after| IngestError::TooOften {
        what,
        per_minute,
        retry_after,
    }
}

/// One household shares the first 64 bits of its IPv6 addresses.
fn counted(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => v4.into(),
            None => std::net::Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
        },
        v4 => v4,
    }
}

/// Tokens that come back evenly over a minute; at most a minute's worth.
struct Bucket(Mutex<(f64, Instant)>);

fn take<K: Clone + Eq + std::hash::Hash>(
    buckets: &Cache<K, Arc<Bucket>>,
    key: &K,
    per_minute: u32,
    now: Instant,
) -> Result<(), Duration> {
    let most = f64::from(per_minute);
    let bucket = match buckets.get(key) {
        Some(bucket) => bucket,
        None => {
            let bucket = Arc::new(Bucket(Mutex::new((most, now))));
            buckets.insert(key.clone(), Arc::clone(&bucket));
            bucket
        }
    };
    let mut state = bucket.0.lock();
    let per_second = most / 60.0;
    let (left, since) = *state;
    let passed = now.saturating_duration_since(since).as_secs_f64();
    let left = (left + passed * per_second).min(most);
    if left < 1.0 {
        *state = (left, now);
        return Err(Duration::from_secs_f64((1.0 - left) / per_second));
    }
    *state = (left - 1.0, now);
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use perennis_shared::sign::SigningKey;

    use super::*;

    fn name(seed: u8) -> Name {
        Name::from_public_key(&SigningKey::from_seed(&[seed; 32]).public())
    }

    fn admission(change: impl FnOnce(&mut AdmissionConfig)) -> Admission {
        let mut config = Config::default();
        change(&mut config.admission);
        Admission::new(&config)
    }

    #[test]
    fn a_fetch_on_demand_has_a_limit_of_its_own_which_is_a_setting() {
        let mut config = Config::default();
        config.admission.name_bytes = 1;
        config.fetch.max_bytes = 1_000;
        let admission = Admission::new(&config);
        assert_eq!(admission.fetch_limits().bytes, 1_000);
        admission.check_fetched(1_000).unwrap();
        let refused = admission.check_fetched(1_001).unwrap_err();
        let message = refused.to_string();
        assert!(message.contains("fetch.max-size"), "{message}");
    }

    fn at(address: &str) -> Caller {
        Caller::anybody(address.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn a_name_has_its_rate_and_gets_it_back_with_time() {
        let admission = admission(|rules| rules.name_rate = 2);
        let now = Instant::now();
        let admit = |seed, now| admission.admit_signed(&name(seed), now);
        admit(1, now).unwrap();
        admit(1, now).unwrap();
        let refused = admit(1, now).unwrap_err();
        let IngestError::TooOften { retry_after, .. } = refused else {
            panic!("{refused}");
        };
        assert_eq!(retry_after, Duration::from_secs(30));
        admit(2, now).unwrap();
        admit(1, now + retry_after).unwrap();
        assert!(admit(1, now + retry_after).is_err());
    }

    #[test]
    fn every_address_has_its_rate_unless_its_caller_is_known() {
        let admission = admission(|rules| rules.address_rate = 1);
        let now = Instant::now();
        let of = |address: &str| Caller::anybody(address.parse::<IpAddr>().unwrap());
        for (one, neighbour, stranger) in [
            ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"),
            ("127.0.0.1", "::ffff:127.0.0.1", "127.0.0.2"),
        ] {
            admission.admit(&name(1), &of(one), now).unwrap();
            assert!(admission.admit(&name(2), &of(neighbour), now).is_err());
            admission.admit(&name(3), &of(stranger), now).unwrap();
        }
        let known = Caller {
            is_rated: false,
            ..of("127.0.0.1")
        };
        for seed in 10..20 {
            admission.admit(&name(seed), &known, now).unwrap();
        }
    }

    #[test]
    fn pages_of_one_origin_have_a_rate_together_of_which_who_is_refused_takes_nothing() {
        let admission = admission(|rules| {
            rules.address_rate = 2;
            rules.origin_rate = 3;
        });
        let now = Instant::now();
        let page = |address: u8, origin: &str| Caller {
            origin: Some(origin.into()),
            ..Caller::anybody([192, 0, 2, address])
        };
        let mut seed = 0;
        let mut is_taken = |caller| {
            seed += 1;
            admission.admit(&name(seed), &caller, now).is_ok()
        };
        let app = "https://app.example";
        // The third is refused for its address.
        let taken = [1, 1, 1, 2, 3].map(|address| is_taken(page(address, app)));
        assert_eq!(taken, [true, true, false, true, false]);
        assert!(is_taken(page(4, "https://other.example")));
        assert!(is_taken(Caller::anybody([192, 0, 2, 5])));
    }

    #[test]
    fn who_names_a_name_uses_up_none_of_its_rate() {
        let admission = admission(|rules| {
            rules.address_rate = 1_000;
            rules.name_rate = 1;
        });
        let now = Instant::now();
        for _ in 0..20 {
            admission.admit(&name(1), &at("192.0.2.1"), now).unwrap();
        }
        admission.admit_signed(&name(1), now).unwrap();
    }

    #[test]
    fn a_list_of_names_lets_only_those_in() {
        let admission = admission(|rules| rules.allow = vec![name(1)]);
        let admit = |seed| admission.admit(&name(seed), &at("127.0.0.1"), Instant::now());
        admit(1).unwrap();
        assert!(matches!(admit(2), Err(IngestError::NotAllowed)));
    }

    #[test]
    fn quotas_name_what_is_used_up() {
        let admission = admission(|rules| rules.name_blocks = 2);
        let facts = |blocks| GraphFacts {
            blocks,
            ..GraphFacts::unknown()
        };
        admission.check_size(&facts(2)).unwrap();
        assert!(matches!(
            admission.check_size(&facts(3)),
            Err(IngestError::Quota {
                setting: "admission.name-blocks",
                needed: 3,
                allowed: 2,
                ..
            })
        ));
    }
}
