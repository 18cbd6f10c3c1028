//! What the node counts, in the OpenMetrics format.
//!
//! Labels are types; no metric is named by text that was put together. Only what exists is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::storage::StoreSizes;

mod answers;
mod damage;
mod probe;

pub(crate) use answers::AnswerMetrics;
use damage::DamageMetrics;
pub(crate) use damage::Upkeep;
use probe::ProbeMetrics;
pub(crate) use probe::{BOUNDS_MS, Operation, ProbeOutcome};

/// Every metric of a node.
pub(crate) struct Metrics {
    registry: Registry,
    /// What the latency probe measures.
    pub(crate) probe: ProbeMetrics,
    /// What is damaged, and what is done about it.
    pub(crate) damage: DamageMetrics,
    /// What the memory for answers comes to.
    pub(crate) answers: AnswerMetrics,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Histogram,
    connections: Gauge,
    publishes: Family<OutcomeLabels, Counter>,
    publish_seconds: Histogram,
    resolves: Family<LookupLabels, Counter>,
    resolve_seconds: Histogram,
    hit_rate: Gauge<f64, AtomicU64>,
    dht_peers: Gauge,
    puts: Family<OutcomeLabels, Counter>,
    put_seconds: Histogram,
    put_peers: Histogram,
    put_lag: Gauge,
    hot: Gauge,
    provided: Family<OutcomeLabels, Counter>,
    mapped: Gauge,
    cache_hits: Counter,
    cache_misses: Counter,
    taglists: Gauge<i64, AtomicI64>,
    names: Gauge<i64, AtomicI64>,
    equivocations: Counter,
    fetched: Family<OutcomeLabels, Counter>,
    followed: Gauge<i64, AtomicI64>,
    looks: Family<OutcomeLabels, Counter>,
    rungs: Family<OutcomeLabels, Counter>,
    told: Family<OutcomeLabels, Counter>,
    heard: Family<OutcomeLabels, Counter>,
    scrubbed: Counter,
    damaged: Counter<u64, AtomicU64>,
    unreadable: Counter<u64, AtomicU64>,
    store: StoreGauges,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    endpoint: Endpoint,
    class: Class,
}

/// The endpoint of a request, by the name its route has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Endpoint(&'static str);

impl EncodeLabelValue for Endpoint {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>,
    ) -> Result<(), std::fmt::Error> {
        self.0.encode(encoder)
    }
}

/// The class of a status.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum Class {
    Success,
    Redirection,
    ClientError,
    ServerError,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: Outcome,
}

/// How something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Outcome {
    /// It was done.
    Ok,
    /// It was refused by a rule.
    Refused,
    /// It failed.
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LookupLabels {
    found: LookupResult,
}

/// Where a record was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum LookupResult {
    /// In memory.
    Cache,
    /// In the store.
    Store,
    /// In the network.
    Network,
    /// Nowhere.
    Absent,
}

impl LookupResult {
    const ALL: [LookupResult; 4] = [
        LookupResult::Cache,
        LookupResult::Store,
        LookupResult::Network,
        LookupResult::Absent,
    ];
}

#[derive(Default)]
struct StoreGauges {
    blocks: Gauge,
    bytes: Gauge,
    read_only: Gauge,
}

/// An open connection; it is counted until this is dropped.
pub(crate) struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    pub(crate) fn new() -> Metrics {
        // Reads take microseconds, writes wait for a disk, routers are on the other side of the world.
        let reads = [
            25e-6, 50e-6, 100e-6, 250e-6, 1e-3, 5e-3, 25e-3, 100e-3, 1.0, 10.0,
        ];
        let writes = [
            1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 1.0, 5.0, 30.0,
        ];
        let mut metrics = Metrics {
            registry: Registry::default(),
            probe: ProbeMetrics::new(),
            damage: DamageMetrics::default(),
            answers: AnswerMetrics::default(),
            requests: Family::default(),
            request_seconds: Histogram::new(reads),
            connections: Gauge::default(),
            publishes: Family::default(),
            publish_seconds: Histogram::new(writes),
            resolves: Family::default(),
            resolve_seconds: Histogram::new(reads),
            hit_rate: Gauge::default(),
            dht_peers: Gauge::default(),
            puts: Family::default(),
            put_seconds: Histogram::new(writes),
            put_peers: Histogram::new([0.0, 1.0, 4.0, 8.0, 12.0, 16.0, 20.0, 40.0]),
            put_lag: Gauge::default(),
            hot: Gauge::default(),
            provided: Family::default(),
            mapped: Gauge::default(),
            cache_hits: Counter::default(),
            cache_misses: Counter::default(),
            taglists: Gauge::default(),
            names: Gauge::default(),
            equivocations: Counter::default(),
            fetched: Family::default(),
            followed: Gauge::default(),
            looks: Family::default(),
            rungs: Family::default(),
            told: Family::default(),
            heard: Family::default(),
            scrubbed: Counter::default(),
            damaged: Counter::default(),
            unreadable: Counter::default(),
            store: StoreGauges::default(),
        };
        metrics.register();
        metrics.start_at_zero();
        metrics
    }

    /// What has not happened yet is there as 0, so that the first time it does can be seen as a change.
    fn start_at_zero(&self) {
        self.damage.start_at_zero();
        for outcome in [Outcome::Ok, Outcome::Refused, Outcome::Failed] {
            let labels = OutcomeLabels { outcome };
            for family in [
                &self.publishes,
                &self.puts,
                &self.provided,
                &self.fetched,
                &self.looks,
                &self.rungs,
                &self.told,
                &self.heard,
            ] {
                family.get_or_create(&labels).inc_by(0);
            }
        }
        for found in LookupResult::ALL {
            self.resolves
                .get_or_create(&LookupLabels { found })
                .inc_by(0);
        }
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        self.probe.register(registry);
        self.damage.register(registry);
        self.answers.register(registry);
        registry.register("http_requests", "Requests answered", self.requests.clone());
        registry.register_with_unit(
            "http_request_duration",
            "Time from the head of a request to the head of its answer",
            Unit::Seconds,
            self.request_seconds.clone(),
        );
        registry.register(
            "http_connections",
            "Open connections",
            self.connections.clone(),
        );
        registry.register(
            "ipns_publish",
            "Heads and records that were to be stored",
            self.publishes.clone(),
        );
        registry.register_with_unit(
            "ipns_publish_duration",
            "Time from the whole message to the durable commit",
            Unit::Seconds,
            self.publish_seconds.clone(),
        );
        registry.register(
            "ipns_resolve",
            "Records that were asked for",
            self.resolves.clone(),
        );
        registry.register_with_unit(
            "ipns_resolve_duration",
            "Time to find a record that was not in memory",
            Unit::Seconds,
            self.resolve_seconds.clone(),
        );
        registry.register(
            "ipns_cache_hit_rate",
            "Share of the records asked for since the start that were in memory, 0 to 1",
            self.hit_rate.clone(),
        );
        // Dashboards ask for it by this name, though it is no counter.
        registry.register(
            "ipns_dht_peers_total",
            "Peers in the routing tables of the DHT",
            self.dht_peers.clone(),
        );
        registry.register(
            "ipns_republish",
            "Records put to routers",
            self.puts.clone(),
        );
        registry.register_with_unit(
            "ipns_republish_duration",
            "Time one put to one router took",
            Unit::Seconds,
            self.put_seconds.clone(),
        );
        registry.register(
            "ipns_republish_peers",
            "Peers of the DHT that took a record that was put",
            self.put_peers.clone(),
        );
        registry.register_with_unit(
            "ipns_republish_lag",
            "How long the name that waits longest was due when the queue was read last",
            Unit::Seconds,
            self.put_lag.clone(),
        );
        registry.register(
            "ipns_hot_names",
            "Names that are put more often, since they are resolved often",
            self.hot.clone(),
        );
        registry.register(
            "dht_provides",
            "Blocks that the DHT was told of",
            self.provided.clone(),
        );
        registry.register(
            "dht_map_peers",
            "Peers on the map of the DHT; 0 without one",
            self.mapped.clone(),
        );
        registry.register(
            "block_cache_hits",
            "Blocks found in memory",
            self.cache_hits.clone(),
        );
        registry.register(
            "block_cache_misses",
            "Blocks looked for on the disk",
            self.cache_misses.clone(),
        );
        registry.register(
            "taglist_count",
            "Tag lists that are pinned completely",
            self.taglists.clone(),
        );
        registry.register("ipns_names", "Names that are kept", self.names.clone());
        registry.register(
            "ipns_equivocations",
            "Records refused because their key signed two values with one sequence",
            self.equivocations.clone(),
        );
        registry.register(
            "pin_fetches",
            "Missing blocks asked for at sources",
            self.fetched.clone(),
        );
        registry.register(
            "ipns_followed_names",
            "Names of others that are followed",
            self.followed.clone(),
        );
        registry.register(
            "ipns_follow_looks",
            "Searches for the records of followed names",
            self.looks.clone(),
        );
        registry.register(
            "ipns_ladder_releases",
            "Rungs of renewal ladders that were due",
            self.rungs.clone(),
        );
        registry.register(
            "ipns_pubsub_told",
            "Records told by gossip to peers that follow their names",
            self.told.clone(),
        );
        registry.register(
            "ipns_pubsub_heard",
            "Newer records heard by gossip of names that are kept",
            self.heard.clone(),
        );
        registry.register(
            "scrub_blocks",
            "Blocks read again to find damage",
            self.scrubbed.clone(),
        );
        registry.register(
            "scrub_damaged_blocks",
            "Damaged blocks found",
            self.damaged.clone(),
        );
        registry.register(
            "scrub_unreadable_blocks",
            "Blocks that the disk did not give out",
            self.unreadable.clone(),
        );
        registry.register("store_blocks", "Blocks kept", self.store.blocks.clone());
        registry.register_with_unit(
            "store_size",
            "Size of the segment files",
            Unit::Bytes,
            self.store.bytes.clone(),
        );
        registry.register(
            "store_read_only",
            "Whether the disk is full and writes are refused",
            self.store.read_only.clone(),
        );
    }

    /// All metrics as text.
    pub(crate) fn text(&self, sizes: StoreSizes) -> Result<String, std::fmt::Error> {
        let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.store.blocks.set(whole(sizes.blocks));
        self.store.bytes.set(whole(sizes.bytes));
        self.store.read_only.set(i64::from(sizes.read_only));
        self.hit_rate.set(self.share_of_hits());
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }

    fn share_of_hits(&self) -> f64 {
        let count = |found| self.resolves.get_or_create(&LookupLabels { found }).get();
        let all: u64 = LookupResult::ALL.into_iter().map(count).sum();
        count(LookupResult::Cache) as f64 / all.max(1) as f64
    }

    /// So many peers are in the routing tables of the DHT.
    pub(crate) fn routed(&self, peers: usize) {
        self.dht_peers.set(i64::try_from(peers).unwrap_or(i64::MAX));
    }

    pub(crate) fn answered(&self, endpoint: &'static str, status: StatusCode, started: Instant) {
        let class = match status.as_u16() {
            0..300 => Class::Success,
            300..400 => Class::Redirection,
            400..500 => Class::ClientError,
            _ => Class::ServerError,
        };
        let labels = RequestLabels {
            endpoint: Endpoint(endpoint),
            class,
        };
        self.requests.get_or_create(&labels).inc();
        self.request_seconds
            .observe(started.elapsed().as_secs_f64());
    }

    pub(crate) fn connection(self: &Arc<Self>) -> OpenConnection {
        self.connections.inc();
        OpenConnection(self.connections.clone())
    }

    pub(crate) fn published(&self, outcome: Outcome, took: Duration) {
        self.publishes
            .get_or_create(&OutcomeLabels { outcome })
            .inc();
        self.publish_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn resolved(&self, found: LookupResult, took: Option<Duration>) {
        self.resolves.get_or_create(&LookupLabels { found }).inc();
        if let Some(took) = took {
            self.resolve_seconds.observe(took.as_secs_f64());
        }
    }

    pub(crate) fn put(&self, outcome: Outcome, took: Duration) {
        self.puts.get_or_create(&OutcomeLabels { outcome }).inc();
        self.put_seconds.observe(took.as_secs_f64());
    }

    /// So many peers of the DHT took a record.
    pub(crate) fn reached(&self, peers: usize) {
        self.put_peers.observe(peers as f64);
    }

    /// The name that waits longest has been due for so long.
    pub(crate) fn lags(&self, by: Duration) {
        self.put_lag
            .set(i64::try_from(by.as_secs()).unwrap_or(i64::MAX));
    }

    /// So many names are hot.
    pub(crate) fn heated(&self, names: usize) {
        self.hot.set(i64::try_from(names).unwrap_or(i64::MAX));
    }

    pub(crate) fn provided(&self, outcome: Outcome) {
        self.provided
            .get_or_create(&OutcomeLabels { outcome })
            .inc();
    }

    /// So many peers are on the map of the DHT.
    pub(crate) fn mapped(&self, peers: usize) {
        self.mapped.set(i64::try_from(peers).unwrap_or(i64::MAX));
    }

    pub(crate) fn fetched(&self, outcome: Outcome) {
        self.fetched.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// So many names are followed from now on, or no longer.
    pub(crate) fn followed(&self, names: i64) {
        self.followed.inc_by(names);
    }

    pub(crate) fn looked(&self, outcome: Outcome) {
        self.looks.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    pub(crate) fn released(&self, outcome: Outcome) {
        self.rungs.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// A record was told by gossip.
    pub(crate) fn told(&self, outcome: Outcome) {
        self.told.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// A newer record was heard by gossip.
    pub(crate) fn heard(&self, outcome: Outcome) {
        self.heard.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    pub(crate) fn block_cache_hit(&self) {
        self.cache_hits.inc();
    }

    pub(crate) fn block_cache_miss(&self) {
        self.cache_misses.inc();
    }

    pub(crate) fn equivocation(&self) {
        self.equivocations.inc();
    }

    pub(crate) fn scrubbed(&self, blocks: u64, damaged: u64, unreadable: u64) {
        self.scrubbed.inc_by(blocks);
        self.damaged.inc_by(damaged);
        self.unreadable.inc_by(unreadable);
    }

    /// Sets how many names are kept and how many of them have a tag list that is pinned completely.
    pub(crate) fn counted(&self, names: u64, taglists: u64) {
        self.names.set(i64::try_from(names).unwrap_or(i64::MAX));
        self.taglists
            .set(i64::try_from(taglists).unwrap_or(i64::MAX));
    }

    /// A name or a tag list came or went between two counts.
    pub(crate) fn changed(&self, names: i64, taglists: i64) {
        self.names.inc_by(names);
        self.taglists.inc_by(taglists);
    }
}
