//! `/v1/pins` and `/v1/index`: what is kept, and for whom.

use hyper::StatusCode;
use serde::Serialize;

use super::answer::Answer;
use super::call::Call;
use super::document::json;
use super::page_query::PageQuery;
use super::refusal::Refusal;
use crate::storage::{GraphFacts, Pin};

#[derive(Serialize)]
struct Pins {
    pins: Vec<PinEntry>,
    next: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PinEntry {
    cid: String,
    name: String,
    state: &'static str,
    missing_blocks: Option<u64>,
    problem: Option<PinProblem>,
    bytes: u64,
    blocks: u64,
    since: String,
}

/// Why what a name points at is not held whole, and what to do about it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PinProblem {
    code: &'static str,
    block: Option<String>,
    message: String,
    hint: &'static str,
}

impl PinProblem {
    pub(super) fn of(facts: &GraphFacts) -> Option<PinProblem> {
        let shortfall = facts.shortfall.as_ref()?;
        Some(PinProblem {
            code: shortfall.kind.code(),
            block: shortfall.block.map(|cid| cid.to_string()),
            message: shortfall.cause.clone(),
            hint: shortfall.kind.hint(),
        })
    }
}

/// A page of pins: the newest head of each name, with everything below it.
pub(super) async fn list(call: Call) -> Result<Answer, Refusal> {
    let page = PageQuery::parse(call.query())?;
    let (rows, next) = page.rows(&call.node).await?;
    let pins = rows
        .iter()
        .filter(|(_, kept)| kept.facts.pin != Pin::RecordOnly)
        .filter_map(|(name, kept)| {
            Some(PinEntry {
                cid: kept.head?.to_string(),
                name: name.to_string(),
                state: kept.facts.pin.name(),
                missing_blocks: kept.facts.pin.missing(),
                problem: PinProblem::of(&kept.facts),
                bytes: kept.facts.bytes,
                blocks: kept.facts.blocks,
                since: kept.stored_at.to_string(),
            })
        })
        .collect();
    Ok(json(StatusCode::OK, &Pins { pins, next }))
}

#[derive(Serialize)]
struct Index {
    entries: Vec<IndexEntry>,
    next: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IndexEntry {
    did: String,
    name: String,
    head: String,
    document: Option<String>,
    tag_list: Option<String>,
    sequence: u64,
    alive_until: String,
}

/// A page of the identities that are pinned completely.
pub(super) async fn index(call: Call) -> Result<Answer, Refusal> {
    let page = PageQuery::parse(call.query())?;
    let (rows, next) = page.rows(&call.node).await?;
    let entries = rows
        .iter()
        .filter(|(_, kept)| kept.facts.is_pinned_list())
        .filter_map(|(name, kept)| {
            Some(IndexEntry {
                did: kept.facts.did.clone()?,
                name: name.to_string(),
                head: kept.head?.to_string(),
                document: kept.facts.document.map(|cid| cid.to_string()),
                tag_list: kept.facts.list.map(|cid| cid.to_string()),
                sequence: kept.sequence,
                alive_until: kept.valid_until.to_string(),
            })
        })
        .collect();
    Ok(json(StatusCode::OK, &Index { entries, next }))
}
