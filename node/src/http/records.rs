//! `/routing/v1/ipns/{name}` (Delegated Routing V1), `/ipns/{name}` (trustless gateway) and `/v1/names/{name}/record`: records.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Request, StatusCode};
use perennis_rt as rt;
use perennis_shared::ipns::Name;
use perennis_shared::limits::RECORD_BYTES;
use perennis_shared::time::Millis;

use super::answer::{Answer, NO_STORE, answer, text_header};
use super::call::Call;
use super::document::json;
use super::file_name::attachment;
use super::http_date::http_date;
use super::media::{accepted, content_type};
use super::parameter::parse_name;
use super::refusal::Refusal;
use super::upload::{RECORD_ALONE, Upload};
use super::{gateway, name_status, query, request_cache};
use crate::http::service::Service;
use crate::metrics::LookupResult;
use crate::read::ServedRecord;
use crate::resolve::Reach;
use crate::routes::FORWARDER;

const RECORD: &str = "application/vnd.ipfs.ipns-record";
const RECORD_TYPE: HeaderValue = HeaderValue::from_static(RECORD);

/// How long, in seconds, a cache may keep that there is no record.
const ABSENT_SECONDS: u32 = 5;

/// How long, in seconds, a cache may keep a record that does not say it (Delegated Routing V1).
const USUAL_TTL_SECONDS: u64 = 60;

/// The answer when the record is in memory and the client takes it as it is.
pub(super) fn cached(node: &Service, text: &str, request: &Request<Incoming>) -> Option<Answer> {
    if !accepts_records(request) || request_cache::no_cache(request) {
        return None;
    }
    let name = Name::parse(text).ok()?;
    let answer = match node.read.cached_record(&name) {
        Some(kept) => {
            let answer = present(&kept, None, request)?;
            node.demand.lock().asked(rt::now(), &name);
            answer
        }
        None => {
            let record = node.resolve.cached(&name, reach(request))?;
            present(&record, Some(node.resolve.age(&name)), request)?
        }
    };
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
    let headers = answer.headers_mut();
    headers.insert(
        header::CACHE_CONTROL,
        text_header(format!("public, max-age={ABSENT_SECONDS}")),
    );
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    headers.insert(header::LAST_MODIFIED, http_date(rt::now()));
    Ok(answer)
}

/// The record that is kept here, ended or not.
pub(super) async fn kept(call: Call) -> Result<Answer, Refusal> {
    let (node, name) = (&call.node, parse_name(&call.parameter)?);
    let Some(kept) = node.read.kept(&name).await? else {
        return Err(name_status::absent(node, &name).await?);
    };
    let mut answer = answer(StatusCode::OK, RECORD_TYPE, kept.record.bytes().clone());
    // No cache gives it for one that lives.
    let headers = answer.headers_mut();
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    Ok(answer)
}

/// The record as the gateway specification has it: one that is missing is 404.
pub(super) async fn gateway(call: Call) -> Result<Answer, Refusal> {
    gateway_record(&call).await
}

/// As [`gateway`].
pub(super) async fn gateway_record(call: &Call) -> Result<Answer, Refusal> {
    let (node, text, request) = (&call.node, &*call.parameter, &call.request);
    let wanted = match query::value(request.uri().query(), "format")? {
        Some(format) => format == "ipns-record",
        None => accepts_records(request),
    };
    if !wanted {
        return Err(not_acceptable());
    }
    let (text, path) = text.split_once('/').unwrap_or((text, ""));
    if !path.is_empty() {
        return Err(Refusal::new(
            "path_not_served",
            "a record is of a name, without a path behind it",
            format!("ask for /ipns/{text}?format=ipns-record, and for the path under /ipfs/"),
        ));
    }
    let name = parse_name(text)?;
    let answer = find(node, &name, request).await?;
    let mut answer = answer.ok_or_else(|| absent(&name))?;
    if answer.status() == StatusCode::OK {
        let usual = format!("{name}.ipns-record");
        answer
            .headers_mut()
            .insert(header::CONTENT_DISPOSITION, attachment(request, &usual));
    }
    Ok(answer)
}

/// The answer with a record; none where nobody has one.
async fn find(
    node: &Service,
    name: &Name,
    request: &Request<Incoming>,
) -> Result<Option<Answer>, Refusal> {
    let found = look_up(node, name, request).await?;
    let is_known_here = request_cache::only_if_cached(request);
    let answer = found.and_then(|found| present(&found.record, found.age, request));
    Ok(answer.or_else(|| is_known_here.then(request_cache::not_cached)))
}

/// A valid record.
pub(super) struct FoundRecord {
    pub(super) record: Arc<ServedRecord>,
    /// How long ago it was heard of others; none of one that is kept here.
    age: Option<Duration>,
}

impl FoundRecord {
    /// How many seconds a cache may keep what the record says.
    pub(super) fn fresh_seconds(&self) -> u64 {
        let left = self.record.valid_until.0.saturating_sub(rt::now().0) / 1_000;
        fresh_seconds(&self.record, self.age, left)
    }
}

/// The record of a name; none where nobody has a valid one. What the request says of caches is minded: it may ask anew, or take only
/// what is here.
pub(super) async fn look_up(
    node: &Service,
    name: &Name,
    request: &Request<Incoming>,
) -> Result<Option<FoundRecord>, Refusal> {
    let started = Instant::now();
    let kept = node.read.record(name).await?;
    let kept = kept.filter(|record| record.valid_until > rt::now());
    if kept.is_some() {
        node.demand.lock().asked(rt::now(), name);
    }
    let reach = reach(request);
    let here = |record| FoundRecord { record, age: None };
    let heard = |record| FoundRecord {
        record,
        age: Some(node.resolve.age(name)),
    };
    let (place, found) = if request_cache::only_if_cached(request) {
        let known = || node.resolve.cached(name, reach).map(heard);
        (LookupResult::Cache, kept.map(here).or_else(known))
    } else if request_cache::no_cache(request) {
        // What is kept here is one of the places that are asked.
        let record = match (node.resolve.fresh(name, reach).await, kept) {
            (Ok(record), kept) => record.or(kept),
            (Err(_), Some(kept)) => Some(kept),
            (Err(unresolved), None) => return Err(unresolved.into()),
        };
        (LookupResult::Network, record.map(here))
    } else if let Some(record) = kept {
        (LookupResult::Store, Some(here(record)))
    } else {
        let record = node.resolve.record(name, reach).await?;
        (LookupResult::Network, record.map(heard))
    };
    let place = if found.is_none() {
        LookupResult::Absent
    } else {
        place
    };
    node.metrics.resolved(place, Some(started.elapsed()));
    Ok(found)
}

/// Who may be asked for the one who asks: a question that a node has passed on goes no further than to peers.
pub(super) fn reach(request: &Request<Incoming>) -> Reach {
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

/// The answer with a record; `None` when it has ended. `age` is how long ago it was heard of others.
fn present(
    record: &ServedRecord,
    age: Option<Duration>,
    request: &Request<Incoming>,
) -> Option<Answer> {
    let left = record.valid_until.0.checked_sub(rt::now().0)? / 1_000;
    let is_known = request.headers().contains_key(header::IF_NONE_MATCH)
        && gateway::known(request, record.etag.to_str().unwrap_or_default());
    let mut answer = if is_known {
        let mut answer = answer(StatusCode::NOT_MODIFIED, RECORD_TYPE, Bytes::new());
        answer.headers_mut().remove(header::CONTENT_TYPE);
        answer
    } else {
        answer(StatusCode::OK, RECORD_TYPE, record.bytes.clone())
    };
    cache_headers(&mut answer, record, age, left);
    Some(answer)
}

/// A cache may keep a record as long as is left of its TTL, and never beyond its end; until then it may give it while it asks anew,
/// and while nobody answers.
fn cache_headers(
    answer: &mut Answer,
    record: &ServedRecord,
    age: Option<Duration>,
    left_seconds: u64,
) {
    let old = age.map_or(0, |age| age.as_secs());
    let seconds = fresh_seconds(record, age, left_seconds);
    let control = format!(
        "public, max-age={seconds}, stale-while-revalidate={left_seconds}, stale-if-error={left_seconds}"
    );
    let heard = rt::now().0.saturating_sub(old * 1_000);
    let headers = answer.headers_mut();
    headers.insert(header::ETAG, record.etag.clone());
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    headers.insert(header::CACHE_CONTROL, text_header(control));
    headers.insert(header::EXPIRES, http_date(record.valid_until));
    headers.insert(header::LAST_MODIFIED, http_date(Millis(heard)));
    if age.is_some() {
        headers.insert(header::AGE, HeaderValue::from(old));
    }
}

/// What is left of its TTL, in seconds, and no more than is left of it.
fn fresh_seconds(record: &ServedRecord, age: Option<Duration>, left_seconds: u64) -> u64 {
    let ttl = match record.ttl_seconds {
        0 => USUAL_TTL_SECONDS,
        ttl => ttl,
    };
    let old = age.map_or(0, |age| age.as_secs());
    left_seconds.min(ttl.saturating_sub(old))
}

/// Stores a record.
pub(super) async fn put(call: Call) -> Result<Answer, Refusal> {
    let node = &call.node;
    let caller = call.caller;
    let name = parse_name(&call.parameter).map_err(Refusal::closing)?;
    let kind = content_type(call.request.headers());
    if kind.is_some_and(|kind| !kind.is_one_of(&[RECORD])) {
        return Err(Refusal::new(
            "not_acceptable",
            "a name takes its signed record only",
            "send it with Content-Type: application/vnd.ipfs.ipns-record",
        )
        .closing());
    }
    node.ingest
        .admit(&name, &caller)
        .await
        .map_err(|error| Refusal::from(error).closing())?;
    let upload = Upload::new(
        call.request,
        RECORD_BYTES as u64,
        RECORD_ALONE,
        &node.config.http,
    )?;
    let bytes = upload.whole().await?;
    // A client that goes away now changes nothing.
    let storing = Arc::clone(node);
    let stored = tokio::spawn(async move {
        let put = storing.ingest.put_record("http", &name, &bytes, &caller);
        put.await
    });
    let receipt = stored.await.map_err(Refusal::internal)??;
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

pub(super) fn absent(name: &Name) -> Refusal {
    Refusal::not_found(
        format!("no valid record of {name} is here"),
        "publish one to this node, or ask the publisher's other nodes",
    )
}
