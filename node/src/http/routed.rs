//! Delegated Routing V1 for providers and peers: records of the schema `peer`, filtered as the client asks (IPIP-484), with what caches
//! may do with them. Must never touch: how they are found.

use hyper::StatusCode;
use hyper::header::{self, HeaderValue};
use perennis_net::dht::Contact;
use perennis_net::{Multiaddr, PeerId};
use perennis_rt as rt;
use serde::{Serialize, Serializer};

use super::answer::{Answer, JSON, answer, text_header};
use super::call::Call;
use super::document::json_as;
use super::http_date::http_date;
use super::media::named_quality;
use super::query;
use super::refusal::Refusal;

const NDJSON: &str = "application/x-ndjson";

/// The transfer protocol that is known of a peer by what it speaks.
const BITSWAP: &str = "transport-bitswap";

/// What stands for nothing known, in both filters.
const UNKNOWN: &str = "unknown";

/// How long, in seconds, a cache may keep an answer with records, and one without.
const FOUND_SECONDS: u32 = 300;
const NONE_SECONDS: u32 = 15;

/// How long, in seconds, it may be given while a newer one is asked for: as long as provider records last in the DHT.
const STALE_SECONDS: u32 = 172_800;

/// A record of the schema `peer` ("Known Schemas").
#[derive(Serialize)]
pub(super) struct PeerRecord {
    #[serde(rename = "Schema")]
    schema: &'static str,
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Addrs", serialize_with = "as_texts")]
    addresses: Vec<Multiaddr>,
    #[serde(rename = "Protocols")]
    protocols: Vec<&'static str>,
}

impl PeerRecord {
    /// A record of a peer that speaks these protocols, as far as that is known.
    pub(super) fn new<'a>(contact: Contact, speaks: impl IntoIterator<Item = &'a str>) -> Self {
        let mut speaks = speaks.into_iter();
        let is_bitswap = speaks.any(|protocol| protocol.starts_with("/ipfs/bitswap"));
        PeerRecord {
            schema: "peer",
            id: contact.peer.to_string(),
            addresses: distinct(contact.peer, contact.addresses),
            protocols: is_bitswap.then_some(BITSWAP).into_iter().collect(),
        }
    }
}

fn as_texts<S: Serializer>(addresses: &[Multiaddr], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(addresses.iter().map(ToString::to_string))
}

/// Addresses without the peer's own id at their end, each once.
pub(super) fn distinct(peer: PeerId, addresses: Vec<Multiaddr>) -> Vec<Multiaddr> {
    let mut distinct = Vec::with_capacity(addresses.len());
    for mut address in addresses {
        let names_a_peer = address.protocol_stack().last() == Some("p2p");
        // Nothing is added where it is there already.
        if names_a_peer && address.clone().with_p2p(peer).as_ref() == Ok(&address) {
            address.pop();
        }
        if !address.is_empty() && !distinct.contains(&address) {
            distinct.push(address);
        }
    }
    distinct
}

/// What a client wants of the records.
struct Filters {
    addresses: Vec<String>,
    protocols: Vec<String>,
}

impl Filters {
    fn parse(query: Option<&str>) -> Result<Filters, Refusal> {
        let list = |name| {
            let given = query::value(query, name)?.unwrap_or_default();
            let words = given
                .split(',')
                .map(|word| word.trim().to_ascii_lowercase());
            Ok::<_, Refusal>(words.filter(|word| !word.is_empty()).collect())
        };
        Ok(Filters {
            addresses: list("filter-addrs")?,
            protocols: list("filter-protocols")?,
        })
    }

    /// The record with the addresses that are wanted; none where it is not wanted.
    fn apply(&self, mut record: PeerRecord) -> Option<PeerRecord> {
        let wants = |name: &str| self.protocols.iter().any(|wanted| wanted == name);
        let is_wanted = match &*record.protocols {
            _ if self.protocols.is_empty() => true,
            [] => wants(UNKNOWN),
            known => known.iter().any(|name| wants(name)),
        };
        if !is_wanted {
            return None;
        }
        if self.addresses.is_empty() {
            return Some(record);
        }
        if record.addresses.is_empty() {
            let is_unknown_wanted = self.addresses.iter().any(|word| word == UNKNOWN);
            return is_unknown_wanted.then_some(record);
        }
        record.addresses.retain(|address| self.takes(address));
        (!record.addresses.is_empty()).then_some(record)
    }

    /// None of the protocols that are refused stands in it, and one of those that are wanted, if any are.
    fn takes(&self, address: &Multiaddr) -> bool {
        let has = |name: &str| address.protocol_stack().any(|part| part == name);
        let (mut is_one_wanted, mut is_wanted) = (false, false);
        for word in &self.addresses {
            match word.strip_prefix('!') {
                Some(refused) if has(refused) => return false,
                Some(_) => {}
                None => {
                    is_one_wanted = true;
                    is_wanted |= has(word);
                }
            }
        }
        is_wanted || !is_one_wanted
    }
}

/// The answer with those of the records that the client wants: JSON lines where it accepts them, one document otherwise.
pub(super) fn routed<D: Serialize>(
    call: &Call,
    records: Vec<PeerRecord>,
    document: impl FnOnce(Vec<PeerRecord>) -> D,
) -> Result<Answer, Refusal> {
    let filters = Filters::parse(call.query())?;
    let records = records.into_iter();
    let records: Vec<PeerRecord> = records.filter_map(|record| filters.apply(record)).collect();
    let seconds = if records.is_empty() {
        NONE_SECONDS
    } else {
        FOUND_SECONDS
    };
    let headers = call.request.headers();
    let lines = named_quality(headers, NDJSON);
    let mut answer = if lines == 0.0 || lines < named_quality(headers, "application/json") {
        json_as(StatusCode::OK, JSON, &document(records))
    } else {
        let mut text = Vec::new();
        for record in &records {
            serde_json::to_writer(&mut text, record).map_err(Refusal::internal)?;
            text.push(b'\n');
        }
        let kind = HeaderValue::from_static(NDJSON);
        answer(StatusCode::OK, kind, bytes::Bytes::from(text))
    };
    let control = format!(
        "public, max-age={seconds}, stale-while-revalidate={STALE_SECONDS}, stale-if-error={STALE_SECONDS}"
    );
    let headers = answer.headers_mut();
    headers.insert(header::CACHE_CONTROL, text_header(control));
    headers.insert(header::LAST_MODIFIED, http_date(rt::now()));
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    Ok(answer)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    const TCP: &str = "/ip4/127.0.0.1/tcp/4001";
    const QUIC: &str = "/ip4/127.0.0.1/udp/4001/quic-v1";
    const SIX: &str = "/ip6/::1/tcp/4001";

    fn peer() -> PeerId {
        let text = "12D3KooWQ5fTgUqAvX5wxbv5mZvhsg1oiRHsUzTo6hcjxS9kHWcW";
        text.parse().unwrap()
    }

    fn record(addresses: &[&str], speaks: &[&str]) -> PeerRecord {
        let addresses = addresses.iter().map(|text| text.parse().unwrap());
        let contact = Contact {
            peer: peer(),
            addresses: addresses.collect(),
        };
        PeerRecord::new(contact, speaks.iter().copied())
    }

    #[test]
    fn an_address_is_told_once_with_or_without_the_peer() {
        let with_peer = format!("{TCP}/p2p/{}", peer());
        let relay = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";
        let relayed = format!("{TCP}/p2p/{relay}/p2p-circuit/p2p/{}", peer());
        let alone = format!("/p2p/{}", peer());
        let told = record(&[&with_peer, TCP, QUIC, &relayed, TCP, &alone], &[]).addresses;
        let told: Vec<String> = told.iter().map(ToString::to_string).collect();
        let circuit = format!("{TCP}/p2p/{relay}/p2p-circuit");
        assert_eq!(told, [TCP, QUIC, &circuit]);
    }

    #[test]
    fn no_protocol_is_claimed_that_is_not_known() {
        assert!(record(&[TCP], &[]).protocols.is_empty());
        assert!(record(&[TCP], &["/ipfs/kad/1.0.0"]).protocols.is_empty());
        let speaks = ["/ipfs/kad/1.0.0", "/ipfs/bitswap/1.2.0"];
        assert_eq!(record(&[TCP], &speaks).protocols, [BITSWAP]);
    }

    #[test]
    fn addresses_are_filtered_as_the_specification_has_it() {
        let all = [TCP, QUIC, SIX];
        for (filter, expected) in [
            ("", Some(&all[..])),
            ("filter-addrs=quic-v1", Some(&[QUIC])),
            ("filter-addrs=QUIC-V1%2Cip6", Some(&[QUIC, SIX])),
            ("filter-addrs=!quic-v1", Some(&[TCP, SIX])),
            ("filter-addrs=!ip6,!quic-v1", Some(&[TCP])),
            ("filter-addrs=tcp,!ip6", Some(&[TCP])),
            ("filter-addrs=webtransport", None),
            ("filter-addrs=unknown", None),
            ("filter-addrs=unknown,ip6", Some(&[SIX])),
            ("filter-addrs=,", Some(&all[..])),
        ] {
            let filters = Filters::parse(Some(filter)).unwrap();
            let found = filters.apply(record(&all, &[]));
            let found = found.map(|record| record.addresses);
            let expected: Option<Vec<Multiaddr>> =
                expected.map(|texts| texts.iter().map(|text| text.parse().unwrap()).collect());
            assert_eq!(found, expected, "{filter}");
        }
        for (filter, is_kept) in [
            ("", true),
            ("filter-addrs=unknown,tcp", true),
            ("filter-addrs=tcp", false),
            ("filter-addrs=!tcp", false),
        ] {
            let filters = Filters::parse(Some(filter)).unwrap();
            assert_eq!(
                filters.apply(record(&[], &[])).is_some(),
                is_kept,
                "{filter}"
            );
        }
    }

    #[test]
    fn protocols_are_filtered_as_the_specification_has_it() {
        for (filter, of_known, of_unknown) in [
            ("", true, true),
            ("filter-protocols=transport-bitswap", true, false),
            ("filter-protocols=Unknown", false, true),
            ("filter-protocols=unknown,Transport-Bitswap", true, true),
            ("filter-protocols=transport-ipfs-gateway-http", false, false),
        ] {
            let filters = Filters::parse(Some(filter)).unwrap();
            let is_kept = |speaks: &[&str]| filters.apply(record(&[TCP], speaks)).is_some();
            assert_eq!(is_kept(&["/ipfs/bitswap"]), of_known, "{filter}");
            assert_eq!(is_kept(&[]), of_unknown, "{filter}");
        }
        assert!(Filters::parse(Some("filter-addrs=%zz")).is_err());
    }
}
