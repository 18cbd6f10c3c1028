//! `/v1/status`: how the node and each of its background workers is.

use hyper::StatusCode;
use perennis_net::Multiaddr;
use perennis_shared::time::Millis;
use serde::Serialize;

use super::answer::Answer;
use super::call::Call;
use super::document::json;
use super::health::readiness;
use super::refusal::Refusal;
use crate::clock::ClockReport;
use crate::damage::Report;
use crate::data_folder::{DiskSpace, disk_space};
use crate::metrics::Removal;
use crate::storage::queues::QueueState;
use crate::swarm::Swarm;
use crate::workers::WorkerStatus;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeStatus {
    version: &'static str,
    node: String,
    started_at: String,
    uptime_seconds: u64,
    /// None where the peer does not answer.
    p2p: Option<P2pStatus>,
    ready: bool,
    reasons: Vec<&'static str>,
    store: StoreStatus,
    /// None where the system does not tell.
    disk: Option<DiskSpace>,
    queues: Vec<QueueState>,
    damage: Option<Report>,
    names: u64,
    unclaimed: UnclaimedStatus,
    removed_names: RemovedNames,
    republish: RepublishStatus,
    clock: ClockReport,
    limits: Limits,
    workers: Vec<WorkerStatus>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StoreStatus {
    blocks: u64,
    bytes: u64,
    read_only: bool,
}

/// What the names hold that nobody has claimed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UnclaimedStatus {
    names: u64,
    most_names: u64,
    bytes: u64,
    most_bytes: u64,
}

/// Names that were removed since the start, by why.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RemovedNames {
    operator: u64,
    lapsed: u64,
    unclaimed: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct P2pStatus {
    peer_id: String,
    /// What it listens on.
    listening: Vec<String>,
    /// Where others are known to reach it.
    external: Vec<String>,
    peers: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RepublishStatus {
    /// When the next record is put, or since when the longest due one is; none without names or routers.
    next_at: Option<String>,
    period_seconds: u64,
    routers: Vec<String>,
}

/// What is taken at most.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Limits {
    import_bytes: u64,
}

pub(super) async fn status(call: Call) -> Result<Answer, Refusal> {
    let node = &call.node;
    let (reasons, damage) = readiness(node).await;
    let sizes = node.storage_sizes();
    let now = perennis_rt::now();
    let queues = node.republish.queues();
    let mut next_at = None;
    for (_, queue) in &queues {
        let next = node.storage().queue_next(*queue).await?;
        next_at = next_at.into_iter().chain(next).min();
    }
    let queues = node.storage().queue_states(queues, now).await?;
    let folder = node.config.data.clone();
    let disk = tokio::task::spawn_blocking(move || disk_space(&folder)).await;
    let status = NodeStatus {
        version: env!("CARGO_PKG_VERSION"),
        node: node.keystore.did().to_owned(),
        started_at: node.started_at.to_string(),
        uptime_seconds: (now - node.started_at).as_secs(),
        p2p: p2p(&node.swarm).await,
        ready: reasons.is_empty(),
        reasons,
        store: StoreStatus {
            blocks: sizes.blocks,
            bytes: sizes.bytes,
            read_only: sizes.read_only,
        },
        disk: disk.ok().and_then(Result::ok),
        queues,
        damage: damage.as_deref().cloned(),
        names: node.name_count(),
        unclaimed: UnclaimedStatus {
            names: sizes.unclaimed.names,
            most_names: node.config.admission.unclaimed_names,
            bytes: sizes.unclaimed.bytes,
            most_bytes: node.config.admission.unclaimed_bytes,
        },
        removed_names: RemovedNames {
            operator: node.metrics.removed_names.count(Removal::Operator),
            lapsed: node.metrics.removed_names.count(Removal::Lapsed),
            unclaimed: node.metrics.removed_names.count(Removal::Unclaimed),
        },
        republish: RepublishStatus {
            next_at: next_at.map(|next: Millis| next.to_string()),
            period_seconds: node.config.ipns.republish_period.as_secs(),
            routers: node.config.routers(),
        },
        clock: node.clock.report(),
        limits: Limits {
            import_bytes: node.ingest.import_bytes(),
        },
        workers: node.workers.status(),
    };
    Ok(json(StatusCode::OK, &status))
}

async fn p2p(swarm: &Swarm) -> Option<P2pStatus> {
    let status = swarm.net.status().await.ok()?;
    let texts = |addresses: &[Multiaddr]| addresses.iter().map(ToString::to_string).collect();
    Some(P2pStatus {
        peer_id: swarm.net.peer_id().to_string(),
        listening: texts(&status.listening),
        external: texts(&status.external),
        peers: status.peers,
    })
}
