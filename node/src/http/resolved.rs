//! `GET /v1/resolve/{name}`: what a name leads to in the end, by way of other names where records point at those.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use perennis_rt as rt;
use perennis_shared::cid::Cid;
use perennis_shared::ipns::{Name, NameChain, NameChainError, NameStep};
use serde::Serialize;

use super::answer::Answer;
use super::call::Call;
use super::document::json;
use super::parameter::parse_name;
use super::records::{absent, look_up};
use super::refusal::{ClientError, Refusal};
use super::request_cache;
use crate::http::service::Service;
use crate::read::ServedRecord;
use crate::resolve::DEADLINE;

/// What a name leads to.
pub(super) struct Content {
    /// The CID at which the content path begins.
    pub(super) root: Cid,
    /// What follows it, without the slash before it.
    pub(super) rest: String,
    /// The names on the way, in their order, each with its record.
    pub(super) steps: Vec<(Name, Arc<ServedRecord>)>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Resolved {
    name: String,
    path: String,
    root: String,
    rest: String,
    steps: Vec<Step>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    name: String,
    value: String,
    sequence: u64,
    valid_until: String,
}

/// Where a name leads.
pub(super) async fn resolve(call: Call) -> Result<Answer, Refusal> {
    let name = parse_name(&call.parameter)?;
    let content = match follow(&call.node, name, "", &call.request).await {
        Ok(content) => content,
        Err(refusal) if refusal.is_absence() && request_cache::only_if_cached(&call.request) => {
            return Ok(request_cache::not_cached());
        }
        Err(refusal) => return Err(refusal),
    };
    let path = match &*content.rest {
        "" => format!("/ipfs/{}", content.root),
        rest => format!("/ipfs/{}/{rest}", content.root),
    };
    let steps = content.steps.iter().map(|(name, record)| Step {
        name: name.to_string(),
        value: String::from_utf8_lossy(&record.value).into_owned(),
        sequence: record.sequence,
        valid_until: record.valid_until.to_string(),
    });
    let document = Resolved {
        name: name.to_string(),
        path,
        root: content.root.to_string(),
        steps: steps.collect(),
        rest: content.rest,
    };
    Ok(json(StatusCode::OK, &document))
}

/// Follows a name to content, with the records that are kept here and those that others have; `rest` is what is to be found below it.
/// What the request says of caches holds for each name on the way.
///
/// All names together get as much time as one.
pub(super) async fn follow(
    node: &Service,
    name: Name,
    rest: &str,
    request: &Request<Incoming>,
) -> Result<Content, Refusal> {
    let mut names = NameChain::new(name, rest);
    let mut at = name;
    let mut steps = Vec::new();
    let walk = async {
        loop {
            let record = record(node, &at, request).await?;
            let step = names.follow(&record.value)?;
            steps.push((at, record));
            match step {
                NameStep::Content { root, rest } => return Ok((root, rest)),
                NameStep::Name(next) => at = next,
            }
        }
    };
    let walked: Result<Result<(Cid, String), Refusal>, _> = rt::timeout(DEADLINE, walk).await;
    let (root, rest) = walked.unwrap_or_else(|_| {
        Err(Refusal::new(
            "resolve_too_slow",
            format!(
                "{} names lead on from {name}, and the next one was not found within {} s",
                steps.len(),
                DEADLINE.as_secs()
            ),
            "try again: what was found is remembered",
        ))
    })?;
    Ok(Content { root, rest, steps })
}

async fn record(
    node: &Service,
    name: &Name,
    request: &Request<Incoming>,
) -> Result<Arc<ServedRecord>, Refusal> {
    let found = look_up(node, name, request).await?;
    let found = found.ok_or_else(|| absent(name))?;
    Ok(found.record)
}

impl ClientError for NameChainError {
    fn code(&self) -> &'static str {
        NameChainError::code(self)
    }

    fn hint(&self) -> &'static str {
        match self {
            NameChainError::Domain { .. } => {
                "look its DNSLink up in the DNS, and ask for the path that it says"
            }
            _ => "only the owner of the last name can change where its record points",
        }
    }
}
