//! The list of settings: the one place where a key, its meaning, its bounds and its field meet.

use std::fmt::Display;
use std::time::Duration;

use perennis_net::{Bootstrap, DhtMode};

use super::value::{Given, Refusal, show_size, show_span};
use super::{Config, LogFormat, ProvideStrategy};

/// One setting.
pub struct Setting {
    /// Its key: table, dot, name.
    pub key: &'static str,
    /// What it is for, with units and bounds.
    pub meaning: &'static str,
    pub(super) set: fn(&mut Config, &Given) -> Result<(), Refusal>,
    pub(super) show: fn(&Config) -> String,
}

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

/// Every setting, in the order of the documentation.
#[must_use]
pub fn settings() -> &'static [Setting] {
    SETTINGS
}

macro_rules! setting {
    ($key:literal, $meaning:literal, $($field:ident).+, |$given:ident| $parse:expr, |$value:ident| $show:expr) => {
        Setting {
            key: $key,
            meaning: $meaning,
            set: |config, $given| {
                config.$($field).+ = $parse;
                Ok(())
            },
            show: |config| {
                let $value = &config.$($field).+;
                $show
            },
        }
    };
}

static SETTINGS: &[Setting] = &[
    setting!(
        "data",
        "directory of the node's data",
        data,
        |given| given.path()?,
        |value| value.display().to_string()
    ),
    setting!(
        "http.listen",
        "address and port of the HTTP server; port 0 takes a free one",
        http.listen,
        |given| given.address()?,
        |value| value.to_string()
    ),
    setting!(
        "http.token-file",
        "file with the bearer token for calls that change something; required for other than loopback addresses",
        http.token_file,
        |given| Some(given.path()?),
        |value| show_path(value.as_deref())
    ),
    setting!(
        "http.max-connections",
        "connections served at once, 1 to 100,000",
        http.max_connections,
        |given| given.count(1, 100_000)?,
        |value| value.to_string()
    ),
    setting!(
        "http.header-timeout",
        "time for the head of a request, and for an idle connection, 100ms to 5m",
        http.header_timeout,
        |given| given.span(SECOND / 10, 300 * SECOND)?,
        |value| show_span(*value)
    ),
    setting!(
        "http.idle-timeout",
        "longest pause inside a body, and longest time a client may be slow in taking an answer while others wait for its memory, 100ms to 5m",
        http.idle_timeout,
        |given| given.span(SECOND / 10, 300 * SECOND)?,
        |value| show_span(*value)
    ),
    setting!(
        "http.body-timeout",
        "time for a whole body, 100ms to 1h",
        http.body_timeout,
        |given| given.span(SECOND / 10, HOUR)?,
        |value| show_span(*value)
    ),
    setting!(
        "http.answer-memory",
        "memory for answers that clients have not taken yet, 8MiB to 1TiB",
        http.answer_memory_bytes,
        |given| given.size(8 * MIB, TIB)?,
        |value| show_size(*value)
    ),
    setting!(
        "p2p.listen",
        "multiaddrs to listen on for other peers, or none; auto is port 4781 of TCP and QUIC, or a free one when it is taken",
        p2p.listen,
        |given| given.listen()?,
        |value| match value.as_deref() {
            None => "auto".to_owned(),
            Some([]) => "none".to_owned(),
            Some(addresses) => join(addresses),
        }
    ),
    setting!(
        "p2p.announce",
        "multiaddrs told to other peers beside those that are found out, such as those of a port that is forwarded",
        p2p.announce,
        |given| given.multiaddrs()?,
        |value| join(value.as_slice())
    ),
    setting!(
        "p2p.bootstrap",
        "peers to dial first: public, none, or multiaddrs that end in a peer id; with none nothing is dialled that was not named",
        p2p.bootstrap,
        |given| given.bootstrap()?,
        |value| match value {
            Bootstrap::Public => "public".to_owned(),
            Bootstrap::None => "none".to_owned(),
            Bootstrap::Peers(addresses) => join(addresses.as_slice()),
        }
    ),
    setting!(
        "p2p.dht",
        "part in the DHT: server answers others, client only asks, off neither",
        p2p.dht,
        |given| given.dht()?,
        |value| match value {
            DhtMode::Server => "server".to_owned(),
            DhtMode::Client => "client".to_owned(),
            DhtMode::Off => "off".to_owned(),
        }
    ),
    setting!(
        "p2p.pubsub",
        "whether records are told and heard by gossip (IPNS over PubSub): on or off",
        p2p.pubsub,
        |given| match given.string()?.as_str() {
            "on" => true,
            "off" => false,
            _ => {
                return Err(Refusal {
                    message: "is neither on nor off".to_owned(),
                    fix: "write on or off".to_owned(),
                });
            }
        },
        |value| if *value { "on" } else { "off" }.to_owned()
    ),
    setting!(
        "p2p.pubsub-names",
        "most names followed by gossip, those the operator follows first, 1 to 100,000",
        p2p.pubsub_names,
        |given| given.count(1, 100_000)?,
        |value| value.to_string()
    ),
    setting!(
        "p2p.pubsub-period",
        "time in which each record is told of again by gossip, 1s to 1d",
        p2p.pubsub_period,
        |given| given.span(SECOND, DAY)?,
        |value| show_span(*value)
    ),
    setting!(
        "p2p.accelerated",
        "whether a map of the whole DHT is kept, so that puts need no lookups; looking through the public one takes minutes",
        p2p.accelerated,
        |given| given.flag()?,
        |value| value.to_string()
    ),
    setting!(
        "p2p.max-connections",
        "connections with peers, 1 to 100,000",
        p2p.max_connections,
        |given| given.count(1, 100_000)?,
        |value| value.to_string()
    ),
    setting!(
        "p2p.max-inbound",
        "connections that other peers opened, 0 to 100,000",
        p2p.max_inbound,
        |given| given.count(0, 100_000)?,
        |value| value.to_string()
    ),
    setting!(
        "p2p.max-per-group",
        "connections that peers of one public /24 (IPv4) or /48 (IPv6) opened, 1 to 100,000",
        p2p.max_per_group,
        |given| given.count(1, 100_000)?,
        |value| value.to_string()
    ),
    setting!(
        "p2p.memory",
        "memory of the node, beside http.answer-memory, admission.memory and cache.blocks, above which no further connection is taken, 64MiB to 1TiB",
        p2p.memory_bytes,
        |given| given.size(64 * MIB, TIB)?,
        |value| show_size(*value)
    ),
    setting!(
        "p2p.deny",
        "peer ids that are never spoken to",
        p2p.deny,
        |given| given.peers()?,
        |value| join(value.as_slice())
    ),
    setting!(
        "p2p.allow",
        "peer ids that alone are spoken to; empty lets all",
        p2p.allow,
        |given| given.peers()?,
        |value| join(value.as_slice())
    ),
    setting!(
        "ipns.republish-period",
        "time between two puts of a record to a router, 1s to 24h (records in the public DHT end after 48h)",
        ipns.republish_period,
        |given| given.span(SECOND, DAY)?,
        |value| show_span(*value)
    ),
    setting!(
        "ipns.republish-concurrency",
        "records put at the same time to one router, 1 to 1,024",
        ipns.republish_concurrency,
        |given| given.count(1, 1_024)?,
        |value| value.to_string()
    ),
    setting!(
        "ipns.routers",
        "delegated routing endpoints that records are put to, and asked for names that are not kept here",
        ipns.routers,
        |given| given.urls()?,
        |value| value.join(", ")
    ),
    setting!(
        "ipns.hot.period",
        "time between two puts of a name that is resolved often, where it is shorter than ipns.republish-period, 1s to 24h",
        ipns.hot.period,
        |given| given.span(SECOND, DAY)?,
        |value| show_span(*value)
    ),
    setting!(
        "ipns.hot.resolves",
        "resolves an hour from which a name counts as hot, 1 to 1,000,000; it no longer does below half of that",
        ipns.hot.resolves,
        |given| given.count(1, 1_000_000)? as u32,
        |value| value.to_string()
    ),
    setting!(
        "ipns.hot.half-life",
        "time in which a resolve comes to count half, 1s to 30d",
        ipns.hot.half_life,
        |given| given.span(SECOND, 30 * DAY)?,
        |value| show_span(*value)
    ),
    setting!(
        "ipns.hot.names",
        "most names that are hot at a time, 0 to 65,536; 0 turns it off",
        ipns.hot.names,
        |given| given.count(0, 65_536)?,
        |value| value.to_string()
    ),
    setting!(
        "provide.strategy",
        "blocks the DHT is told of: roots (heads, and what was fetched), all, or off",
        provide.strategy,
        |given| match given.string()?.as_str() {
            "roots" => ProvideStrategy::Roots,
            "all" => ProvideStrategy::All,
            "off" => ProvideStrategy::Off,
            _ => {
                return Err(Refusal {
                    message: "is no strategy".to_owned(),
                    fix: "write roots, all or off".to_owned(),
                });
            }
        },
        |value| value.name().to_owned()
    ),
    setting!(
        "provide.period",
        "time in which the DHT is told of each of them once, 1s to 47h (provider records end after 48h)",
        provide.period,
        |given| given.span(SECOND, 47 * HOUR)?,
        |value| show_span(*value)
    ),
    setting!(
        "provide.concurrency",
        "blocks the DHT is told of at the same time, 1 to 1,024",
        provide.concurrency,
        |given| given.count(1, 1_024)?,
        |value| value.to_string()
    ),
    setting!(
        "follow.period",
        "time between two searches for the record of a followed name, 1s to 7d",
        follow.period,
        |given| given.span(SECOND, 7 * DAY)?,
        |value| show_span(*value)
    ),
    setting!(
        "probe.period",
        "time between two rounds in which the node publishes and resolves its canary name through each route, 1s to 7d, or off",
        probe.period,
        |given| given.span_or_off(SECOND, 7 * DAY)?,
        |value| value.map_or_else(|| "off".to_owned(), show_span)
    ),
    setting!(
        "admission.allow",
        "DIDs or IPNS names that may publish; none lets everybody",
        admission.allow,
        |given| given.names()?,
        |value| value
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    ),
    setting!(
        "admission.max-names",
        "most names kept, from 1",
        admission.max_names,
        |given| given.number(1, u64::MAX >> 1)?,
        |value| value.to_string()
    ),
    setting!(
        "admission.name-size",
        "most bytes of blocks kept for one name, 4KiB to 1TiB",
        admission.name_bytes,
        |given| given.size(4 * KIB, TIB)?,
        |value| show_size(*value)
    ),
    setting!(
        "admission.name-blocks",
        "most blocks kept for one name, from 4",
        admission.name_blocks,
        |given| given.number(4, u64::MAX >> 1)?,
        |value| value.to_string()
    ),
    setting!(
        "admission.message-size",
        "largest publish message, 16KiB to 48MiB",
        admission.message_bytes,
        |given| given.size(16 * KIB, 48 * MIB)?,
        |value| show_size(*value)
    ),
    setting!(
        "admission.memory",
        "memory for messages that are being received, 16KiB to 64GiB",
        admission.memory_bytes,
        |given| given.size(16 * KIB, 65_536 * MIB)?,
        |value| show_size(*value)
    ),
    setting!(
        "admission.name-rate",
        "writes per minute for one name, 1 to 1,000,000",
        admission.name_rate,
        |given| given.count(1, 1_000_000)? as u32,
        |value| value.to_string()
    ),
    setting!(
        "admission.address-rate",
        "writes per minute from one address that is not loopback, 1 to 1,000,000",
        admission.address_rate,
        |given| given.count(1, 1_000_000)? as u32,
        |value| value.to_string()
    ),
    setting!(
        "pins.scan-period",
        "time between two scans of all heads, 1s to 30d",
        pins.scan_period,
        |given| given.span(SECOND, 30 * DAY)?,
        |value| show_span(*value)
    ),
    setting!(
        "pins.sources",
        "gateways asked for missing blocks, beside those a DID document lists",
        pins.sources,
        |given| given.urls()?,
        |value| value.join(", ")
    ),
    setting!(
        "pins.allow-private-sources",
        "whether sources that a DID document lists may be loopback or private addresses",
        pins.allow_private_sources,
        |given| given.flag()?,
        |value| value.to_string()
    ),
    setting!(
        "cache.blocks",
        "verified blocks kept in memory, 1MiB to 1TiB",
        cache.block_bytes,
        |given| given.size(MIB, TIB)?,
        |value| show_size(*value)
    ),
    setting!(
        "cache.records",
        "encoded records kept in memory, 16 to 100,000,000",
        cache.records,
        |given| given.count(16, 100_000_000)?,
        |value| value.to_string()
    ),
    setting!(
        "scrub.period",
        "time from the end of a round that reads every block again to the next, 1m to 365d",
        scrub.period,
        |given| given.span(60 * SECOND, 365 * DAY)?,
        |value| show_span(*value)
    ),
    setting!(
        "scrub.rate",
        "most bytes read in a second by these rounds, 64KiB to 1TiB",
        scrub.bytes_per_second,
        |given| given.size(64 * KIB, TIB)?,
        |value| show_size(*value)
    ),
    setting!(
        "keystore.passphrase-file",
        "file with the passphrase that seals the node's key; without it one is made beside the key",
        keystore.passphrase_file,
        |given| Some(given.path()?),
        |value| show_path(value.as_deref())
    ),
    setting!(
        "log.format",
        "how log lines look: human or json",
        log.format,
        |given| match given.string()?.as_str() {
            "human" => LogFormat::Human,
            "json" => LogFormat::Json,
            _ => {
                return Err(Refusal {
                    message: "is no format".to_owned(),
                    fix: "write human or json".to_owned(),
                });
            }
        },
        |value| match value {
            LogFormat::Human => "human".to_owned(),
            LogFormat::Json => "json".to_owned(),
        }
    ),
    setting!(
        "log.filter",
        "which lines are written: error, warn, info, debug, trace, or a filter by module",
        log.filter,
        |given| {
            let text = given.string()?;
            if tracing_subscriber::EnvFilter::try_new(&text).is_err() {
                return Err(Refusal {
                    message: "is no filter".to_owned(),
                    fix: "write a level such as info, or info,perennis_node::workers=debug"
                        .to_owned(),
                });
            }
            text
        },
        |value| value.clone()
    ),
];

fn show_path(path: Option<&std::path::Path>) -> String {
    path.map(|path| path.display().to_string())
        .unwrap_or_default()
}

fn join<T: Display>(values: &[T]) -> String {
    let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
    texts.join(", ")
}
