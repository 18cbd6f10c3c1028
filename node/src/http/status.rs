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
