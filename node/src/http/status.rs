//! `/v1/status`: how the node and each of its background workers is.

use hyper::StatusCode;
use serde::Serialize;

use super::answer::Answer;
use super::call::Call;
use super::document::json;
use super::health::readiness;
use super::refusal::Refusal;
use crate::clock::ClockReport;
use crate::damage::Report;
use crate::metrics::Removal;
use crate::workers::WorkerStatus;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeStatus {
    version: &'static str,
    node: String,
    started_at: String,
    ready: bool,
    reasons: Vec<&'static str>,
    store: StoreStatus,
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
struct RepublishStatus {
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
    let status = NodeStatus {
        version: env!("CARGO_PKG_VERSION"),
        node: node.keystore.did().to_owned(),
        started_at: node.started_at.to_string(),
        ready: reasons.is_empty(),
        reasons,
        store: StoreStatus {
            blocks: sizes.blocks,
            bytes: sizes.bytes,
            read_only: sizes.read_only,
        },
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
