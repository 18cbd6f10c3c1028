//! Health, metrics and the status of the node.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::HeaderValue;
use perennis_rt as rt;
use perennis_shared::error::chain;
use serde::Serialize;

use super::answer::{Answer, answer};
use super::document::json;
use super::refusal::Refusal;
use crate::damage::{ROWS_HINT, Report};
use crate::http::site::Site;
use crate::opening::Opening;
use crate::workers::WorkerStatus;

const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// How long the peer-to-peer side is waited for.
const PEER: Duration = Duration::from_secs(1);

/// The index as a whole cannot be read.
const INDEX_UNREADABLE: &str = "index_unreadable";

/// Some of its rows cannot be read, and were set aside.
const ROWS_UNREADABLE: &str = "rows_unreadable";

#[derive(Serialize)]
struct Health {
    status: &'static str,
    reasons: Vec<&'static str>,
    /// What brings the node back where rows of its index cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'static str>,
    /// What is damaged and not mended yet. A node that tells and mends damaged blocks and lost records is ready all the same; one
    /// whose index has rows that cannot be read is not, since it may know less than it acknowledged.
    #[serde(skip_serializing_if = "Option::is_none")]
    damage: Option<Report>,
    /// How far opening the store is.
    #[serde(skip_serializing_if = "Option::is_none")]
    opening: Option<Opening>,
}

pub(super) fn live() -> Answer {
    let health = Health {
        status: "ok",
        reasons: Vec::new(),
        hint: None,
        damage: None,
        opening: None,
    };
    json(StatusCode::OK, &health)
}

/// Readiness while the store is being opened.
pub(super) fn opening(opening: Option<Opening>) -> Answer {
    let health = Health {
        status: "unavailable",
        reasons: vec!["opening"],
        hint: None,
        damage: None,
        opening,
    };
    json(StatusCode::SERVICE_UNAVAILABLE, &health)
}

/// The way back from a reason that does not end by itself; none for others.
fn hint(reasons: &[&'static str]) -> Option<&'static str> {
    if reasons.contains(&INDEX_UNREADABLE) {
        Some("restart the node: it makes a damaged index anew from its log and checkpoints")
    } else if reasons.contains(&ROWS_UNREADABLE) {
        Some(ROWS_HINT)
    } else {
        None
    }
}

/// Why the node is not ready, and what is damaged, where that can be told.
async fn state(node: &Site) -> (Vec<&'static str>, Option<Arc<Report>>) {
    let mut reasons = node.not_ready();
    match node.damage.report().await {
        Ok(report) => {
            if report.rows_set_aside > 0 {
                reasons.push(ROWS_UNREADABLE);
            }
            (reasons, Some(report))
        }
        Err(error) => {
            tracing::error!(error = %chain(&error), "the rows of the index cannot be read");
            if reasons.is_empty() {
                reasons.push(INDEX_UNREADABLE);
            }
            (reasons, None)
        }
    }
}

pub(super) async fn ready(node: &Site) -> Answer {
    let (reasons, damage) = state(node).await;
    let (code, status) = if reasons.is_empty() {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
    };
    let health = Health {
        status,
        hint: hint(&reasons),
        reasons,
        damage: damage.as_deref().cloned(),
        opening: None,
    };
    json(code, &health)
}

pub(super) async fn metrics(node: &Site) -> Result<Answer, Refusal> {
    // A peer that is busy or has stopped must not keep the other figures back: then the last number stays.
    if let Ok(Ok(status)) = rt::timeout(PEER, node.swarm.net.status()).await {
        let peers = status.routing.iter().map(|(_, peers)| peers).sum();
        node.metrics.routed(peers);
    }
    if let Ok(report) = node.damage.report().await {
        node.metrics.damage.found(&report);
    }
    let unreadable = node.storage().unreadable_rows();
    node.metrics.damage.unreadable(&unreadable);
    node.metrics.answers.taken(node.answers.taken_bytes());
    let sizes = node.storage_sizes();
    let text = node.metrics.text(sizes).map_err(Refusal::internal)?;
    Ok(answer(
        StatusCode::OK,
        OPEN_METRICS,
        bytes::Bytes::from(text),
    ))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    version: &'static str,
    node: String,
    started_at: String,
    ready: bool,
    reasons: Vec<&'static str>,
    store: Store,
    damage: Option<Report>,
    names: u64,
    republish: Republish,
    workers: Vec<WorkerStatus>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Store {
    blocks: u64,
    bytes: u64,
    read_only: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Republish {
    period_seconds: u64,
    routers: Vec<String>,
}

pub(super) async fn status(node: &Site) -> Answer {
    let (reasons, damage) = state(node).await;
    let sizes = node.storage_sizes();
    let status = Status {
        version: env!("CARGO_PKG_VERSION"),
        node: node.keystore.did().to_owned(),
        started_at: node.started_at.to_string(),
        ready: reasons.is_empty(),
        reasons,
        store: Store {
            blocks: sizes.blocks,
            bytes: sizes.bytes,
            read_only: sizes.read_only,
        },
        damage: damage.as_deref().cloned(),
        names: node.name_count(),
        republish: Republish {
            period_seconds: node.config.ipns.republish_period.as_secs(),
            routers: node.config.routers(),
        },
        workers: node.workers.status(),
    };
    json(StatusCode::OK, &status)
}
