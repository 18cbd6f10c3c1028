//! `/metrics`: the figures of the node in the OpenMetrics text format.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::HeaderValue;
use perennis_rt as rt;

use super::answer::{Answer, answer};
use super::call::Call;
use super::refusal::Refusal;

const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// How long the peer-to-peer side is waited for.
const PEER: Duration = Duration::from_secs(1);

pub(super) async fn metrics(call: Call) -> Result<Answer, Refusal> {
    let node = &call.node;
    // A peer that is busy or has stopped must not keep the other figures back: then the last number stays.
    if let Ok(Ok(status)) = rt::timeout(PEER, node.swarm.net.status()).await {
        let peers: usize = status.routing.iter().map(|(_, peers)| peers).sum();
        node.metrics.dht_peers.set(peers);
    }
    if let Ok(report) = node.damage.report().await {
        node.metrics.damage.set_report(&report);
    }
    let unreadable = node.storage().unreadable_rows();
    node.metrics.damage.set_unreadable_rows(&unreadable);
    let taken = node.answers.taken_bytes();
    node.metrics.answers.memory_bytes.set(taken);
    let sizes = node.storage_sizes();
    let text = node.metrics.text(sizes).map_err(Refusal::internal)?;
    Ok(answer(
        StatusCode::OK,
        OPEN_METRICS,
        bytes::Bytes::from(text),
    ))
}
