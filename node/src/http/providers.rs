//! Who has a block: `/v1/provide`, `/v1/providers`, and Delegated Routing V1 for providers and peers.

use std::collections::HashMap;

use hyper::StatusCode;
use perennis_net::dht::{Contact, Providers};
use perennis_net::{Multiaddr, PeerId};
use perennis_shared::cid::{Cid, parse_cid};
use perennis_shared::error::chain;
use serde::Serialize;

use super::answer::Answer;
use super::call::Call;
use super::document::json;
use super::parameter::{parse_block_cid, parse_peer};
use super::query;
use super::refusal::Refusal;
use super::routed::{PeerRecord, distinct, routed};
use crate::http::service::Service;

/// Providers that are looked for when the caller does not say.
const USUAL: usize = 20;

/// Most providers that are looked for.
const MOST: usize = 100;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProvidersDocument {
    cid: String,
    providers: Vec<ProviderDocument>,
    complete: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProviderDocument {
    peer_id: String,
    addresses: Vec<String>,
}

/// The peers that say they have a block.
pub(super) async fn list(call: Call) -> Result<Answer, Refusal> {
    let node = &call.node;
    let cid = parse_block_cid(&call.parameter)?;
    let most = match query::value(call.query(), "limit")? {
        None => USUAL,
        Some(limit) => limit
            .parse()
            .ok()
            .filter(|limit| (1..=MOST).contains(limit))
            .ok_or_else(|| {
                Refusal::new(
                    "invalid_limit",
                    "limit is no number of providers",
                    "write 1 to 100",
                )
            })?,
    };
    let found = find(node, &cid, most).await?;
    let document = ProvidersDocument {
        cid: cid.to_string(),
        complete: found.complete,
        providers: found
            .providers
            .into_iter()
            .map(|provider| ProviderDocument {
                peer_id: provider.peer.to_string(),
                addresses: distinct(provider.peer, provider.addresses)
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
            })
            .collect(),
    };
    Ok(json(StatusCode::OK, &document))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Provided {
    cid: String,
    reached: usize,
    failed: usize,
}

/// Tells the DHT that this node has a block.
pub(super) async fn provide(call: Call) -> Result<Answer, Refusal> {
    let node = &call.node;
    let cid = parse_block_cid(&call.parameter)?;
    if node.read.block(&cid).await?.is_none() {
        return Err(Refusal::not_found(
            format!("{cid} is not here"),
            "fetch it first, or publish it to this node",
        ));
    }
    // For one block a lookup that ends early is quicker than the sweep's, which serves neighbours too.
    let report = node.swarm.net.dht().provide(&cid).await?;
    let document = Provided {
        cid: cid.to_string(),
        reached: report.reached.len(),
        failed: report.failed.len(),
    };
    Ok(json(StatusCode::OK, &document))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RoutedProviders {
    providers: Vec<PeerRecord>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RoutedPeers {
    peers: Vec<PeerRecord>,
}

/// `GET /routing/v1/providers/{cid}`.
pub(super) async fn routed_providers(call: Call) -> Result<Answer, Refusal> {
    let cid = parse_block_cid(&call.parameter).map_err(Refusal::unprocessable)?;
    let found = find(&call.node, &cid, MOST).await?;
    let spoken = Spoken::of(&call.node).await;
    let records = found.providers.into_iter();
    let records = records.map(|contact| spoken.record(contact)).collect();
    routed(&call, records, |providers| RoutedProviders { providers })
}

/// `GET /routing/v1/peers/{peer id}`.
pub(super) async fn routed_peer(call: Call) -> Result<Answer, Refusal> {
    let node = &call.node;
    let peer = parse_routed(&call.parameter).map_err(Refusal::unprocessable)?;
    let net = &node.swarm.net;
    let mut addresses = net.addresses_of(peer).await?;
    if addresses.is_empty() {
        addresses = looked_up(node, peer).await;
    }
    let spoken = Spoken::of(node).await;
    let found = (!addresses.is_empty()).then(|| spoken.record(Contact { peer, addresses }));
    let records = found.into_iter().collect();
    routed(&call, records, |peers| RoutedPeers { peers })
}

/// Which protocols are known of which peers: of those that are connected what they say, and our own.
struct Spoken {
    own: PeerId,
    connected: HashMap<PeerId, Vec<String>>,
}

impl Spoken {
    async fn of(node: &Service) -> Spoken {
        let net = &node.swarm.net;
        let connected = net.peers().await.unwrap_or_else(|error| {
            tracing::debug!(error = %chain(&error), "the connected peers could not be listed");
            Vec::new()
        });
        let connected = connected
            .into_iter()
            .map(|info| (info.peer, info.protocols));
        Spoken {
            own: net.peer_id(),
            connected: connected.collect(),
        }
    }

    fn record(&self, contact: Contact) -> PeerRecord {
        let own = (contact.peer == self.own).then_some("/ipfs/bitswap");
        let connected = self.connected.get(&contact.peer);
        let connected = connected.into_iter().flatten().map(String::as_str);
        PeerRecord::new(contact, own.into_iter().chain(connected))
    }
}

/// The specification has peer ids as CIDs with the libp2p-key codec; the old text form is read too.
fn parse_routed(text: &str) -> Result<PeerId, Refusal> {
    if let Ok(cid) = parse_cid(text)
        && let Ok(peer) = PeerId::from_bytes(&cid.hash().to_bytes())
    {
        return Ok(peer);
    }
    parse_peer(text)
}

async fn looked_up(node: &Service, peer: PeerId) -> Vec<Multiaddr> {
    let closest = node.swarm.net.dht().closest(&peer.to_bytes()).await;
    let closest = closest.unwrap_or_else(|error| {
        tracing::debug!(error = %chain(&error), "a peer could not be looked up");
        Vec::new()
    });
    closest
        .into_iter()
        .flat_map(|(_, contacts)| contacts)
        .find(|contact| contact.peer == peer)
        .map(|contact| contact.addresses)
        .unwrap_or_default()
}

async fn find(node: &Service, cid: &Cid, most: usize) -> Result<Providers, Refusal> {
    let net = &node.swarm.net;
    let mut found = net.dht().find_providers(cid, most).await?;
    let is_here = node.read.block(cid).await?.is_some();
    let own = net.peer_id();
    found.providers.retain(|provider| provider.peer != own);
    if is_here {
        let addresses = net.addresses();
        found.providers.insert(
            0,
            Contact {
                peer: own,
                addresses,
            },
        );
        found.providers.truncate(most);
    }
    Ok(found)
}
