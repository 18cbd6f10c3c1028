//! `/routing/v1/ipns/{name}` (Delegated Routing V1) and `/ipns/{name}` (trustless gateway): records.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Request, StatusCode};
use perennis_rt as rt;
use perennis_shared::ipns::Name;
use perennis_shared::limits::RECORD_BYTES;

use super::answer::{Answer, Refusal, answer, json, text_header};
use super::upload::Upload;
use super::{gateway, names, route};
use crate::http::site::Site;
use crate::metrics::LookupResult;
use crate::read::ServedRecord;
use crate::resolve::Reach;
use crate::routes::FORWARDER;

const RECORD: &str = "application/vnd.ipfs.ipns-record";
const RECORD_TYPE: HeaderValue = HeaderValue::from_static(RECORD);

/// How long, in seconds, a cache may keep that there is no record.
const ABSENT_SECONDS: u32 = 5;

/// The answer when the record is in memory and the client takes it as it is.
pub(super) fn cached(node: &Site, text: &str, request: &Request<Incoming>) -> Option<Answer> {
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
pub(super) async fn routing(
    node: &Arc<Site>,
    text: &str,
    request: &Request<Incoming>,
) -> Result<Answer, Refusal> {
    if !accepts_records(request) {
        return Err(not_acceptable());
    }
    let name = names::parse(text)?;
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
pub(super) async fn gateway(
    node: &Arc<Site>,
    text: &str,
    request: &Request<Incoming>,
) -> Result<Answer, Refusal> {
    let wanted = match route::query(request.uri().query(), "format") {
        Some(format) => format == "ipns-record",
        None => accepts_records(request),
    };
    if !wanted || text.contains('/') {
        return Err(not_acceptable());
    }
    let name = names::parse(text)?;
    let answer = find(node, &name, request).await?;
    let mut answer = answer.ok_or_else(|| absent(&name))?;
    answer.headers_mut().insert(
        header::CONTENT_DISPOSITION,
        text_header(format!("attachment; filename=\"{name}.ipns-record\"")),
    );
    Ok(answer)
}

async fn find(
    node: &Site,
    name: &Name,
    request: &Request<Incoming>,
) -> Result<Option<Answer>, Refusal> {
    let started = Instant::now();
    let record = node
        .read
        .record(name)
        .await
        .map_err(|_| Refusal::internal())?;
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
pub(super) async fn put(
    node: &Arc<Site>,
    peer: IpAddr,
    text: &str,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let name = names::parse(text).map_err(Refusal::closing)?;
    node.ingest
        .admit(&name, peer)
        .map_err(|error| names::refusal(error).closing())?;
    let upload = Upload::new(request, RECORD_BYTES as u64, &node.config.http)?;
    let bytes = upload.whole().await?;
    let stored = node.ingest.put_record("http", &name, &bytes).await;
    let receipt = stored.map_err(names::refusal)?;
    Ok(json(StatusCode::OK, &receipt))
}

fn accepts_records(request: &Request<Incoming>) -> bool {
    let mut offers = request.headers().get_all(header::ACCEPT).iter().peekable();
    offers.peek().is_none()
        || offers
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|offer| offer.split(';').next())
            .any(|offer| matches!(offer.trim(), RECORD | "*/*" | "application/*"))
}

fn not_acceptable() -> Refusal {
    Refusal::new(
        StatusCode::NOT_ACCEPTABLE,
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
