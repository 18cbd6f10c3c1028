//! `/health/…`: whether the process lives, and whether the node takes writes.

use std::sync::Arc;

use hyper::StatusCode;
use perennis_shared::error::chain;
use serde::Serialize;

use super::answer::Answer;
use super::call::Call;
use super::document::json;
use super::refusal::Refusal;
use crate::damage::{ROWS_HINT, Report};
use crate::http::service::Service;
use crate::opening::Opening;

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

pub(super) async fn live(_: Call) -> Result<Answer, Refusal> {
    Ok(alive())
}

/// That the process answers.
pub(super) fn alive() -> Answer {
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
pub(super) async fn readiness(node: &Service) -> (Vec<&'static str>, Option<Arc<Report>>) {
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

pub(super) async fn ready(call: Call) -> Result<Answer, Refusal> {
    let (reasons, damage) = readiness(&call.node).await;
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
    Ok(json(code, &health))
}
