//! `/routing/v1/ipns/{name}` (Delegated Routing V1) and `/ipns/{name}` (trustless gateway): records.

use std::time::Instant;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Request, StatusCode};
use perennis_rt as rt;
use perennis_shared::ipns::Name;
use perennis_shared::limits::RECORD_BYTES;

use super::answer::{Answer, answer, text_header};
use super::call::Call;
use super::document::json;
use super::media::accepted;
use super::parameter::parse_name;
use super::refusal::Refusal;
use super::upload::Upload;
use super::{gateway, query};
use crate::http::service::Service;
use crate::metrics::LookupResult;
use crate::read::ServedRecord;
use crate::resolve::Reach;
use crate::routes::FORWARDER;

const RECORD: &str = "application/vnd.ipfs.ipns-record";
const RECORD_TYPE: HeaderValue = HeaderValue::from_static(RECORD);

/// How long, in seconds, a cache may keep that there is no record.
const ABSENT_SECONDS: u32 = 5;

/// The answer when the record is in memory and the client takes it as it is.
pub(super) fn cached(node: &Service, text: &str, request: &Request<Incoming>) -> Option<Answer> {
    if !accepts_records(request) {
        return None;
    }
    let name = Name::parse(text).ok()?;
    let kept = node.read.cached_record(&name);
    let is_kept = kept.is_some();
    let record = kept.or_else(|| node.resolve.cached(&name, reach(request)))?;
    let answer = present(&record, request)?;
    if is_kept {
        node.demand.lock().asked(rt::now(), &name);
    }
    node.metrics.resolved(LookupResult::Cache, None);
    Some(answer)
}

/// The record as the routing specification has it: one that is missing is 200 with another content type.
pub(super) async fn routing(call: Call) -> Result<Answer, Refusal> {
    let (node, text, request) = (&call.node, &*call.parameter, &call.request);
    if !accepts_records(request) {
        return Err(not_acceptable());
    }
    let name = parse_name(text)?;
    if let Some(answer) = find(node, &name, request).await? {
        return Ok(answer);
    }
    let mut answer = json(StatusCode::OK, &absent(&name).document());
    answer.headers_mut().insert(
        header::CACHE_CONTROL,
        text_header(format!("public, max-age={ABSENT_SECONDS}")),
    );
    Ok(answer)
}

/// The record as the gateway specification has it: one that is missing is 404.
pub(super) async fn gateway(call: Call) -> Result<Answer, Refusal> {
    let (node, text, request) = (&call.node, &*call.parameter, &call.request);
    let wanted = match query::value(request.uri().query(), "format")? {
        Some(format) => format == "ipns-record",
        None => accepts_records(request),
    };
    if !wanted || text.contains('/') {
        return Err(not_acceptable());
    }
    let name = parse_name(text)?;
    let answer = find(node, &name, request).await?;
    let mut answer = answer.ok_or_else(|| absent(&name))?;
    answer.headers_mut().insert(
        header::CONTENT_DISPOSITION,
        text_header(format!("attachment; filename=\"{name}.ipns-record\"")),
    );
    Ok(answer)
}

async fn find(
    node: &Service,
    name: &Name,
    request: &Request<Incoming>,
) -> Result<Option<Answer>, Refusal> {
    let started = Instant::now();
    let record = node.read.record(name).await?;
    let mut found = LookupResult::Store;
    let mut answer = record.and_then(|record| present(&record, request));
    if answer.is_some() {
        node.demand.lock().asked(rt::now(), name);
    } else {
        found = LookupResult::Network;
        let record = node.resolve.record(name, reach(request)).await;
        answer = record.and_then(|record| present(&record, request));
    }
    if answer.is_none() {
        found = LookupResult::Absent;
    }
    node.metrics.resolved(found, Some(started.elapsed()));
    Ok(answer)
}

/// Who may be asked for the one who asks: a question that a node has passed on goes no further than to peers.
fn reach(request: &Request<Incoming>) -> Reach {
    let mut loops = request.headers().get_all("cdn-loop").iter();
    let is_of_node = |value: &HeaderValue| {
        let ids = value.to_str().unwrap_or_default().split(',');
        // Parameters may follow an identifier.
        ids.filter_map(|id| id.split(';').next())
            .any(|id| id.trim() == FORWARDER)
    };
    if loops.any(is_of_node) {
        Reach::Peers
    } else {
        Reach::All
    }
}

/// The answer with a record; `None` when it has ended.
fn present(record: &ServedRecord, request: &Request<Incoming>) -> Option<Answer> {
    let left = record.valid_until.0.checked_sub(rt::now().0)? / 1_000;
    if request.headers().contains_key(header::IF_NONE_MATCH)
        && gateway::known(request, record.etag.to_str().unwrap_or_default())
    {
        let mut answer = answer(StatusCode::NOT_MODIFIED, RECORD_TYPE, Bytes::new());
        answer.headers_mut().remove(header::CONTENT_TYPE);
        cache_headers(&mut answer, record, left);
        return Some(answer);
    }
    let mut answer = answer(StatusCode::OK, RECORD_TYPE, record.bytes.clone());
    cache_headers(&mut answer, record, left);
    Some(answer)
}

/// A cache may keep a record as long as its TTL says, and never beyond its end.
fn cache_headers(answer: &mut Answer, record: &ServedRecord, left_seconds: u64) {
    let seconds = left_seconds.min(record.ttl_seconds);
    let headers = answer.headers_mut();
    headers.insert(header::ETAG, record.etag.clone());
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    headers.insert(
        header::CACHE_CONTROL,
        text_header(format!("public, max-age={seconds}")),
    );
}

/// Stores a record.
pub(super) async fn put(call: Call) -> Result<Answer, Refusal> {
    let node = &call.node;
    let name = parse_name(&call.parameter).map_err(Refusal::closing)?;
    node.ingest
        .admit(&name, call.peer)
        .map_err(|error| Refusal::from(error).closing())?;
    let upload = Upload::new(call.request, RECORD_BYTES as u64, &node.config.http)?;
    let bytes = upload.whole().await?;
    let receipt = node.ingest.put_record("http", &name, &bytes).await?;
    Ok(json(StatusCode::OK, &receipt))
}

fn accepts_records(request: &Request<Incoming>) -> bool {
    let record = accepted(request.headers(), &[()], |range, ()| {
        range.is_one_of(&[RECORD]) || range.is_wildcard()
    });
    record.is_some()
}

fn not_acceptable() -> Refusal {
    Refusal::new(
        "not_acceptable",
        "a name is served as its signed record only",
        "accept application/vnd.ipfs.ipns-record, or ask for ?format=ipns-record under /ipns/",
    )
}

fn absent(name: &Name) -> Refusal {
    Refusal::not_found(
        format!("no valid record of {name} is here"),
        "publish one to this node, or ask the publisher's other nodes",
    )
}
