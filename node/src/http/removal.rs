//! `DELETE /v1/names/{name}/record` and `/v1/denied`: removing names, and those that are taken no more.

use hyper::StatusCode;
use serde::Serialize;

use super::answer::{Answer, no_content};
use super::call::Call;
use super::document::json;
use super::page_query::PageQuery;
use super::parameter::parse_name;
use super::query;
use super::refusal::Refusal;

/// A name that was removed, as it was.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RemovedDocument {
    name: String,
    sequence: Option<u64>,
    alive_until: Option<String>,
    bytes: u64,
    blocks: u64,
    followed: bool,
    denied: bool,
}

/// Removes a name.
pub(super) async fn remove(call: Call) -> Result<Answer, Refusal> {
    let name = parse_name(&call.parameter)?;
    let deny = query::value(call.query(), "deny")?.as_deref() == Some("true");
    let node = call.node;
    // A client that goes away now changes nothing.
    let removing = tokio::spawn(async move { node.ingest.remove(&name, deny).await });
    let removed = removing.await.map_err(Refusal::internal)??;
    let kept = removed.kept.as_ref();
    let document = RemovedDocument {
        name: name.to_string(),
        sequence: kept.map(|kept| kept.sequence),
        alive_until: kept.map(|kept| kept.valid_until.to_string()),
        bytes: kept.map_or(0, |kept| kept.facts.bytes),
        blocks: kept.map_or(0, |kept| kept.facts.blocks),
        followed: removed.was_followed,
        denied: deny,
    };
    Ok(json(StatusCode::OK, &document))
}

#[derive(Serialize)]
struct Denied {
    names: Vec<DeniedName>,
    next: Option<String>,
}

#[derive(Serialize)]
struct DeniedName {
    name: String,
    since: String,
}

/// A page of names that are taken no more.
pub(super) async fn denied(call: Call) -> Result<Answer, Refusal> {
    let page = PageQuery::parse(call.query())?;
    let rows = call.node.storage().denied(page.after, page.limit).await?;
    let is_full = rows.len() == page.limit;
    let next = rows.last().filter(|_| is_full);
    let next = next.map(|(name, _)| name.to_string());
    let names = rows.iter().map(|(name, since)| DeniedName {
        name: name.to_string(),
        since: since.to_string(),
    });
    let names = names.collect();
    Ok(json(StatusCode::OK, &Denied { names, next }))
}

/// Takes a name again.
pub(super) async fn allow(call: Call) -> Result<Answer, Refusal> {
    let name = parse_name(&call.parameter)?;
    if call.node.ingest.allow(&name).await? {
        return Ok(no_content());
    }
    Err(Refusal::not_found(
        format!("{name} is not denied"),
        "`perennis name list --denied` shows which names are",
    ))
}
