//! `/v1/peers` and `/routing/v1/peers`: who is connected, and where somebody can be reached.

use hyper::StatusCode;
use perennis_net::peers::{Inbound, PeerInfo};
use perennis_net::{Multiaddr, NetStatus, PeerId};
use serde::{Deserialize, Serialize};

use super::answer::Answer;
use super::call::Call;
use super::document::json;
use super::parameter::parse_peer;
use super::refusal::Refusal;
use super::upload::Upload;

/// Largest document that is read, in bytes.
const REQUEST_BYTES: u64 = 4_096;

/// What helps where it is larger.
const ADDRESS_ALONE: &str = "send the address of the peer alone";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Peers {
    peer_id: String,
    listening: Vec<String>,
    external: Vec<String>,
    routing: Vec<Table>,
    inbound: InboundDocument,
    banned: Vec<String>,
    peers: Vec<Peer>,
}

#[derive(Serialize)]
struct Table {
    protocol: String,
    peers: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InboundDocument {
    open: usize,
    accepted: u64,
    last_minute: u64,
    refused: u64,
    gave_way: u64,
    groups: Vec<Group>,
}

#[derive(Serialize)]
struct Group {
    group: String,
    connections: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Peer {
    peer_id: String,
    address: String,
    inbound: bool,
    connections: usize,
    agent: Option<String>,
    protocols: Vec<String>,
    latency_ms: Option<f64>,
    since: String,
}

/// Everybody who is connected.
pub(super) async fn list(call: Call) -> Result<Answer, Refusal> {
    let net = &call.node.swarm.net;
    let status = net.status().await?;
    let peers = net.peers().await?;
    Ok(json(
        StatusCode::OK,
        &document(net.peer_id(), status, peers),
    ))
}

fn document(own: PeerId, status: NetStatus, peers: Vec<PeerInfo>) -> Peers {
    let texts = |addresses: &[Multiaddr]| addresses.iter().map(ToString::to_string).collect();
    Peers {
        peer_id: own.to_string(),
        listening: texts(&status.listening),
        external: texts(&status.external),
        routing: status
            .routing
            .iter()
            .map(|(network, peers)| Table {
                protocol: status.dht_protocol.name(*network),
                peers: *peers,
            })
            .collect(),
        inbound: inbound(status.inbound),
        banned: status.banned.iter().map(ToString::to_string).collect(),
        peers: peers.into_iter().map(peer).collect(),
    }
}

fn inbound(inbound: Inbound) -> InboundDocument {
    InboundDocument {
        open: inbound.open,
        accepted: inbound.accepted,
        last_minute: inbound.last_minute,
        refused: inbound.refused,
        gave_way: inbound.gave_way,
        groups: inbound
            .groups
            .into_iter()
            .map(|(group, connections)| Group { group, connections })
            .collect(),
    }
}

fn peer(info: PeerInfo) -> Peer {
    Peer {
        peer_id: info.peer.to_string(),
        address: info.address.to_string(),
        inbound: info.inbound,
        connections: info.connections,
        agent: info.agent,
        protocols: info.protocols,
        latency_ms: info.latency.map(|latency| latency.as_secs_f64() * 1_000.0),
        since: info.since.to_string(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConnectRequest {
    address: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Connected {
    peer_id: String,
    connected: bool,
}

/// Connects to the peer at an address.
pub(super) async fn connect(call: Call) -> Result<Answer, Refusal> {
    let Call { node, request, .. } = call;
    let upload = Upload::new(request, REQUEST_BYTES, ADDRESS_ALONE, &node.config.http)?;
    let body = upload.whole().await?;
    let invalid = |message: String| {
        let hint = r#"send {"address": "/ip4/…/tcp/…/p2p/…"}"#;
        Refusal::new("invalid_address", message, hint)
    };
    let wanted: ConnectRequest =
        serde_json::from_slice(&body).map_err(|error| invalid(error.to_string()))?;
    let address: Multiaddr = wanted
        .address
        .parse()
        .map_err(|error| invalid(format!("{:?} is no multiaddr: {error}", wanted.address)))?;
    let peer = node.swarm.net.connect_to(&address).await?;
    let document = Connected {
        peer_id: peer.to_string(),
        connected: true,
    };
    Ok(json(StatusCode::OK, &document))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Banned {
    peer_id: String,
    banned: bool,
    changed: bool,
}

/// Bans a peer. Those that are banned for good are listed in the configuration.
pub(super) async fn ban(call: Call) -> Result<Answer, Refusal> {
    let peer = parse_peer(&call.parameter)?;
    let changed = call.node.swarm.net.ban(peer).await?;
    Ok(banned(peer, true, changed))
}

/// Bans a peer no longer.
pub(super) async fn unban(call: Call) -> Result<Answer, Refusal> {
    let peer = parse_peer(&call.parameter)?;
    let changed = call.node.swarm.net.unban(peer).await?;
    Ok(banned(peer, false, changed))
}

fn banned(peer: PeerId, banned: bool, changed: bool) -> Answer {
    let document = Banned {
        peer_id: peer.to_string(),
        banned,
        changed,
    };
    json(StatusCode::OK, &document)
}
