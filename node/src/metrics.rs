//! What the node counts, in the OpenMetrics format.
//!
//! A metric is a field and the call of [`Instruments`] that makes it, which also registers it. Labels are types; no metric is named by
//! text that was put together. Only what exists is counted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use prometheus_client::registry::{Registry, Unit};

use crate::storage::StoreSizes;

mod answers;
mod damage;
mod instruments;
mod labels;
mod probe;

pub(crate) use answers::AnswerMetrics;
use damage::DamageMetrics;
pub(crate) use damage::{Attempt, Upkeep};
use instruments::{Counter, Counters, Gauge, Histogram, Instruments, Share};
use labels::{LookupLabels, OutcomeLabels, RemovalLabels, RequestLabels};
pub(crate) use labels::{LookupResult, Outcome, Removal};
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
    requests: Counters<RequestLabels>,
    request_duration: Histogram,
    connections: Gauge,
    publishes: Counters<OutcomeLabels>,
    publish_duration: Histogram,
    resolves: Counters<LookupLabels>,
    resolve_duration: Histogram,
    cache_hit_rate: Share,
    pub(crate) dht_peers: Gauge,
    republishes: Counters<OutcomeLabels>,
    republish_duration: Histogram,
    pub(crate) republish_peers: Histogram,
    pub(crate) republish_lag: Gauge,
    pub(crate) hot_names: Gauge,
    pub(crate) provides: Counters<OutcomeLabels>,
    pub(crate) dht_map_peers: Gauge,
    pub(crate) block_cache_hits: Counter,
    pub(crate) block_cache_misses: Counter,
    pub(crate) tag_lists: Gauge,
    pub(crate) names: Gauge,
    unclaimed_names: Gauge,
    unclaimed_size: Gauge,
    pub(crate) removed_names: Counters<RemovalLabels>,
    pub(crate) equivocations: Counter,
    pub(crate) pin_fetches: Counters<OutcomeLabels>,
    pub(crate) followed_names: Gauge,
    pub(crate) follow_lookups: Counters<OutcomeLabels>,
    pub(crate) ladder_releases: Counters<OutcomeLabels>,
    pub(crate) gossip_published: Counters<OutcomeLabels>,
    pub(crate) gossip_received: Counters<OutcomeLabels>,
    pub(crate) clock_jumps: Counter,
    pub(crate) scrubbed_blocks: Counter,
    pub(crate) scrub_damaged_blocks: Counter,
    pub(crate) scrub_unreadable_blocks: Counter,
    store_blocks: Gauge,
    store_size: Gauge,
    store_read_only: Gauge,
}

/// An open connection; it is counted until this is dropped.
pub(crate) struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.add(-1);
    }
}

impl Metrics {
    pub(crate) fn new() -> Metrics {
        // Reads take microseconds, writes wait for a disk, routers are on the other side of the world.
        let reads = &[
            25e-6, 50e-6, 100e-6, 250e-6, 1e-3, 5e-3, 25e-3, 100e-3, 1.0, 10.0,
        ];
        let writes = &[
            1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 1.0, 5.0, 30.0,
        ];
        let peers = &[0.0, 1.0, 4.0, 8.0, 12.0, 16.0, 20.0, 40.0];
        let mut registry = Registry::default();
        let make = &mut Instruments(&mut registry);
        // They are shown in this order.
        Metrics {
            probe: ProbeMetrics::new(make),
            damage: DamageMetrics::new(make),
            answers: AnswerMetrics::new(make),
            requests: make.counters("http_requests", "Requests answered"),
            request_duration: make.durations(
                "http_request_duration",
                "Time from the head of a request to the head of its answer",
                reads,
            ),
            connections: make.gauge("http_connections", "Open connections"),
            publishes: make.counters("ipns_publish", "Heads and records that were to be stored"),
            publish_duration: make.durations(
                "ipns_publish_duration",
                "Time from the whole message to the durable commit",
                writes,
            ),
            resolves: make.counters("ipns_resolve", "Records that were asked for"),
            resolve_duration: make.durations(
                "ipns_resolve_duration",
                "Time to find a record that was not in memory",
                reads,
            ),
            cache_hit_rate: make.share(
                "ipns_cache_hit_rate",
                "Share of the records asked for since the start that were in memory, 0 to 1",
            ),
            // Dashboards ask for it by this name, though it is no counter.
            dht_peers: make.gauge(
                "ipns_dht_peers_total",
                "Peers in the routing tables of the DHT",
            ),
            republishes: make.counters("ipns_republish", "Records put to routers"),
            republish_duration: make.durations(
                "ipns_republish_duration",
                "Time one put to one router took",
                writes,
            ),
            republish_peers: make.histogram(
                "ipns_republish_peers",
                "Peers of the DHT that took a record that was put",
                peers,
            ),
            republish_lag: make.gauge_in(
                Unit::Seconds,
                "ipns_republish_lag",
                "How long the name that waits longest was due when the queue was read last",
            ),
            hot_names: make.gauge(
                "ipns_hot_names",
                "Names that are put more often, since they are resolved often",
            ),
            provides: make.counters("dht_provides", "Blocks that the DHT was told of"),
            dht_map_peers: make.gauge(
                "dht_map_peers",
                "Peers on the map of the DHT; 0 without one",
            ),
            block_cache_hits: make.counter("block_cache_hits", "Blocks found in memory"),
            block_cache_misses: make.counter("block_cache_misses", "Blocks looked for on the disk"),
            tag_lists: make.gauge("taglist_count", "Tag lists that are pinned completely"),
            names: make.gauge("ipns_names", "Names that are kept"),
            unclaimed_names: make.gauge(
                "ipns_unclaimed_names",
                "Names that are kept and that nobody has claimed",
            ),
            unclaimed_size: make.gauge_in(
                Unit::Bytes,
                "ipns_unclaimed_size",
                "Bytes of the blocks below the heads of names that nobody has claimed",
            ),
            removed_names: make.counters("ipns_removed_names", "Names that were removed"),
            equivocations: make.counter(
                "ipns_equivocations",
                "Records refused because their key signed two values with one sequence",
            ),
            pin_fetches: make.counters("pin_fetches", "Missing blocks asked for at sources"),
            followed_names: make.gauge("ipns_followed_names", "Names of others that are followed"),
            follow_lookups: make.counters(
                "ipns_follow_looks",
                "Searches for the records of followed names",
            ),
            ladder_releases: make.counters(
                "ipns_ladder_releases",
                "Rungs of renewal ladders that were due",
            ),
            gossip_published: make.counters(
                "ipns_pubsub_told",
                "Records told by gossip to peers that follow their names",
            ),
            gossip_received: make.counters(
                "ipns_pubsub_heard",
                "Newer records heard by gossip of names that are kept",
            ),
            clock_jumps: make.counter(
                "clock_jumps",
                "Times that the wall clock showed something else than the time that had passed",
            ),
            scrubbed_blocks: make.counter("scrub_blocks", "Blocks read again to find damage"),
            scrub_damaged_blocks: make.counter("scrub_damaged_blocks", "Damaged blocks found"),
            scrub_unreadable_blocks: make.counter(
                "scrub_unreadable_blocks",
                "Blocks that the disk did not give out",
            ),
            store_blocks: make.gauge("store_blocks", "Blocks kept"),
            store_size: make.gauge_in(Unit::Bytes, "store_size", "Size of the segment files"),
            store_read_only: make.gauge(
                "store_read_only",
                "Whether the disk is full and writes are refused",
            ),
            registry,
        }
    }

    /// All metrics as text.
    pub(crate) fn text(&self, sizes: StoreSizes) -> Result<String, std::fmt::Error> {
        self.store_blocks.set(sizes.blocks);
        self.unclaimed_names.set(sizes.unclaimed.names);
        self.unclaimed_size.set(sizes.unclaimed.bytes);
        self.store_size.set(sizes.bytes);
        self.store_read_only.set(i64::from(sizes.read_only));
        let found = |place| self.resolves.count(place);
        let all: u64 = LookupResult::ALL.into_iter().map(found).sum();
        let hits = found(LookupResult::Cache);
        self.cache_hit_rate.set(hits as f64 / all.max(1) as f64);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// A request of this endpoint was answered with this status.
    pub(crate) fn request_answered(
        &self,
        endpoint: &'static str,
        status: StatusCode,
        started: Instant,
    ) {
        self.requests.inc(RequestLabels::new(endpoint, status));
        self.request_duration.observe_time(started.elapsed());
    }

    /// A connection was opened.
    pub(crate) fn connection_opened(self: &Arc<Self>) -> OpenConnection {
        self.connections.add(1);
        OpenConnection(self.connections.clone())
    }

    /// A publish message or a bare record came to this after so long.
    pub(crate) fn published(&self, outcome: Outcome, took: Duration) {
        self.publishes.inc(outcome);
        self.publish_duration.observe_time(took);
    }

    /// A record was found there. The time is that of a search, where one was made.
    pub(crate) fn resolved(&self, found: LookupResult, took: Option<Duration>) {
        self.resolves.inc(found);
        if let Some(took) = took {
            self.resolve_duration.observe_time(took);
        }
    }

    /// A put to a router came to this after so long.
    pub(crate) fn republished(&self, outcome: Outcome, took: Duration) {
        self.republishes.inc(outcome);
        self.republish_duration.observe_time(took);
    }
}

#[cfg(test)]
mod tests;
