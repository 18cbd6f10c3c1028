//! `/ipfs/{cid}`: blocks and graphs of blocks (trustless gateway specification).

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use perennis_shared::cid::{Block, Cid, Codec, is_identity, parse_cid};
use perennis_shared::codec;
use perennis_shared::codec::car;
use tokio::sync::mpsc;

use super::answer::{Answer, Body, BrokenOff, Refusal, answer, text_header};
use super::route;
use crate::app::Node;
use crate::read::ReadError;

const RAW: HeaderValue = HeaderValue::from_static("application/vnd.ipld.raw");
const CAR: HeaderValue =
    HeaderValue::from_static("application/vnd.ipld.car; version=1; order=dfs; dups=n");
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=29030400, immutable");
const ROOTS: HeaderName = HeaderName::from_static("x-ipfs-roots");
const PATH: HeaderName = HeaderName::from_static("x-ipfs-path");

/// Most blocks sent in one graph.
const GRAPH_BLOCKS: usize = 1_000_000;

/// Parts of a CAR file that wait for the client, each of about this many bytes.
const PART_BYTES: usize = 64 << 10;
const PARTS: usize = 4;

/// What a client can ask for under `/ipfs/`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Raw,
    Car,
}

/// Which part of a graph.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Block,
    Entity,
    All,
}

impl Scope {
    const fn name(self) -> &'static str {
        match self {
            Scope::Block => "block",
            Scope::Entity => "entity",
            Scope::All => "all",
        }
    }
}

/// The answer to the most frequent request, when the block is in memory: all of a block, without a word about ranges.
pub(super) fn cached(node: &Node, text: &str, request: &Request<Incoming>) -> Option<Answer> {
    if request.headers().contains_key(header::RANGE) || format(request).ok()? != Format::Raw {
        return None;
    }
    let cid = parse_cid(text).ok()?;
    let block = node.read.cached_block(&cid)?;
    Some(whole_block(text, block.bytes().clone(), request))
}

/// A block or a graph.
pub(super) async fn block(
    node: &Arc<Node>,
    text: &str,
    request: &Request<Incoming>,
) -> Result<Answer, Refusal> {
    if let Some((cid, _)) = text.split_once('/') {
        return Err(Refusal::bad_request(
            "path_not_served",
            "paths behind a CID are not served",
            format!("fetch /ipfs/{cid} and follow its links"),
        ));
    }
    let cid = parse_cid(text).map_err(|error| {
        Refusal::bad_request(
            "invalid_cid",
            error.to_string(),
            "give a CID such as bafyrei…",
        )
    })?;
    let format = format(request)?;
    let root = node
        .read
        .block(&cid)
        .await
        .map_err(unreadable)?
        .ok_or_else(|| absent(&cid))?;
    match format {
        Format::Raw => ranged_block(text, root.bytes().clone(), request),
        Format::Car => graph(node, text, root, request),
    }
}

fn unreadable(error: ReadError) -> Refusal {
    match error {
        ReadError::Corrupt => Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "corrupt_block",
            "this block is damaged on this node's disk; it was set aside and is fetched again",
            "ask another node meanwhile",
        ),
        ReadError::HashNotAllowed(reason) => Refusal::bad_request(
            "hash_not_allowed",
            format!("no content is accepted under this CID: {reason}"),
            "use a CID with sha2-256",
        ),
        ReadError::Storage(_) => Refusal::internal(),
    }
}

fn absent(cid: &Cid) -> Refusal {
    Refusal::not_found(
        format!("block {cid} is not here"),
        "this node serves what was published to it; ask the publisher's other nodes",
    )
}

fn whole_block(text: &str, bytes: Bytes, request: &Request<Incoming>) -> Answer {
    let etag = format!("\"{text}.raw\"");
    if known(request, &etag) {
        return unchanged(etag);
    }
    let mut answer = answer(StatusCode::OK, RAW, bytes);
    block_headers(&mut answer, text, etag, "bin");
    answer
        .headers_mut()
        .insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    answer
}

fn ranged_block(text: &str, bytes: Bytes, request: &Request<Incoming>) -> Result<Answer, Refusal> {
    let etag = format!("\"{text}.raw\"");
    let headers = request.headers();
    let range = headers
        .get(header::RANGE)
        .filter(|_| {
            headers
                .get(header::IF_RANGE)
                .is_none_or(|given| given.as_bytes() == etag.as_bytes())
        })
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("bytes="));
    let Some(range) = range else {
        return Ok(whole_block(text, bytes, request));
    };
    let length = bytes.len();
    match region(range, length) {
        // Several ranges, or none that we can read, are answered with everything (RFC 9110, section 14.2).
        Region::Unread => Ok(whole_block(text, bytes, request)),
        Region::Outside => Err(Refusal::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            "range_outside",
            format!("the block has {length} bytes and the range lies outside of them"),
            "ask for a range inside the block, or for all of it",
        )
        .with_header(
            header::CONTENT_RANGE,
            text_header(format!("bytes */{length}")),
        )),
        Region::Inside { first, end } => {
            let mut answer = answer(StatusCode::PARTIAL_CONTENT, RAW, bytes.slice(first..end));
            block_headers(&mut answer, text, etag, "bin");
            answer.headers_mut().insert(
                header::CONTENT_RANGE,
                text_header(format!("bytes {first}-{}/{length}", end - 1)),
            );
            Ok(answer)
        }
    }
}

/// What a range of bytes comes to for a block of some length.
#[derive(Debug, PartialEq, Eq)]
enum Region {
    Inside { first: usize, end: usize },
    Outside,
    Unread,
}

fn region(range: &str, length: usize) -> Region {
    let Some((first, last)) = range.split_once('-') else {
        return Region::Unread;
    };
    let number = |text: &str| -> Option<usize> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().unwrap_or(usize::MAX))
    };
    let (first, end) = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => (first, last.saturating_add(1).min(length)),
        (Some(first), None) if last.is_empty() => (first, length),
        (None, Some(count)) if first.is_empty() => (length.saturating_sub(count), length),
        _ => return Region::Unread,
    };
    if first < end {
        Region::Inside { first, end }
    } else {
        Region::Outside
    }
}

fn block_headers(answer: &mut Answer, text: &str, etag: String, extension: &str) {
    let headers = answer.headers_mut();
    headers.insert(header::ETAG, text_header(etag));
    headers.insert(header::CACHE_CONTROL, IMMUTABLE);
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    headers.insert(
        header::CONTENT_DISPOSITION,
        text_header(format!("attachment; filename=\"{text}.{extension}\"")),
    );
    headers.insert(ROOTS, text_header(text.to_owned()));
    headers.insert(PATH, text_header(format!("/ipfs/{text}")));
}

fn unchanged(etag: String) -> Answer {
    let mut answer = answer(StatusCode::NOT_MODIFIED, RAW, Bytes::new());
    let headers = answer.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    headers.insert(header::ETAG, text_header(etag));
    headers.insert(header::CACHE_CONTROL, IMMUTABLE);
    answer
}

/// Whether the client says that it has what this tag stands for.
pub(super) fn known(request: &Request<Incoming>, etag: &str) -> bool {
    let Some(given) = request.headers().get(header::IF_NONE_MATCH) else {
        return false;
    };
    given.to_str().is_ok_and(|given| {
        given.split(',').map(str::trim).any(|given| {
            given == "*" || given.trim_start_matches("W/") == etag.trim_start_matches("W/")
        })
    })
}

fn graph(
    node: &Arc<Node>,
    text: &str,
    root: Block,
    request: &Request<Incoming>,
) -> Result<Answer, Refusal> {
    let scope = match route::query(request.uri().query(), "dag-scope") {
        None | Some("all") => Scope::All,
        Some("block") => Scope::Block,
        Some("entity") => Scope::Entity,
        Some(_) => {
            return Err(Refusal::bad_request(
                "invalid_scope",
                "dag-scope is block, entity or all",
                "correct it or leave it out",
            ));
        }
    };
    // Which blocks belong to a graph never changes; in which order another version sends them may.
    let etag = format!("W/\"{text}.car.{}\"", scope.name());
    if known(request, &etag) {
        return Ok(unchanged(etag));
    }
    let body = if request.method() == Method::HEAD {
        Body::Empty
    } else {
        let (sender, receiver) = mpsc::channel(PARTS);
        tokio::spawn(send_graph(Arc::clone(node), root, scope, sender));
        Body::Stream(receiver)
    };
    let mut answer = answer(StatusCode::OK, CAR, body);
    block_headers(&mut answer, text, etag, "car");
    answer
        .headers_mut()
        .insert(header::ACCEPT_RANGES, HeaderValue::from_static("none"));
    Ok(answer)
}

type Parts = mpsc::Sender<Result<Bytes, BrokenOff>>;

async fn send_graph(node: Arc<Node>, root: Block, scope: Scope, parts: Parts) {
    let cid = *root.cid();
    if let Err(broken) = walk(&node, root, scope, &parts).await {
        tracing::debug!(%cid, error = %broken, "a graph could not be sent to its end");
        let _ = parts.send(Err(broken)).await;
    }
}

/// Sends the graph below a block in depth-first order, each block once.
async fn walk(node: &Node, root: Block, scope: Scope, parts: &Parts) -> Result<(), BrokenOff> {
    let broken = |error: &dyn std::fmt::Display| BrokenOff(error.to_string());
    let mut file = car::Writer::new(&[*root.cid()]).map_err(|error| broken(&error))?;
    let mut seen = HashSet::from([*root.cid()]);
    let mut ahead = Vec::new();
    let mut next = Some(root);
    while let Some(block) = next {
        let cid = block.cid();
        let descend = match scope {
            Scope::Block => false,
            // Only UnixFS files are more than one block to their readers.
            Scope::Entity => cid.codec() == Codec::DagPb.code(),
            Scope::All => true,
        };
        if descend {
            let links = codec::links(cid, block.bytes()).map_err(|error| broken(&error))?;
            ahead.extend(links.into_iter().rev());
        }
        // The content of an identity CID stands in the link itself.
        if !is_identity(cid) {
            file.push(&block);
        }
        if file.ready() >= PART_BYTES {
            let part = Bytes::from(file.take());
            if parts.send(Ok(part)).await.is_err() {
                return Ok(());
            }
        }
        next = None;
        while let Some(cid) = ahead.pop() {
            if !seen.insert(cid) {
                continue;
            }
            if seen.len() > GRAPH_BLOCKS {
                return Err(BrokenOff(format!("it has more than {GRAPH_BLOCKS} blocks")));
            }
            next = node
                .read
                .block(&cid)
                .await
                .map_err(|error| broken(&error))?;
            if next.is_none() {
                return Err(BrokenOff(format!("block {cid} is not here")));
            }
            break;
        }
    }
    // Whoever went away needs no end.
    let _ = parts.send(Ok(Bytes::from(file.take()))).await;
    Ok(())
}

/// What the client wants: the parameter `format` wins over the header `Accept`; without both a block is sent raw.
fn format(request: &Request<Incoming>) -> Result<Format, Refusal> {
    let not_served = || {
        Refusal::new(
            StatusCode::NOT_ACCEPTABLE,
            "not_acceptable",
            "this gateway serves verifiable formats only",
            "ask for ?format=raw or ?format=car, or accept application/vnd.ipld.raw or application/vnd.ipld.car",
        )
    };
    if let Some(query) = request.uri().query()
        && let Some(format) = route::query(Some(query), "format")
    {
        return match format {
            "raw" => Ok(Format::Raw),
            "car" => Ok(Format::Car),
            _ => Err(not_served()),
        };
    }
    let mut offers = request.headers().get_all(header::ACCEPT).iter().peekable();
    if offers.peek().is_none() {
        return Ok(Format::Raw);
    }
    offers
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(accepted)
        .ok_or_else(not_served)
}

fn accepted(offer: &str) -> Option<Format> {
    let mut parts = offer.split(';').map(str::trim);
    let format = match parts.next()? {
        "application/vnd.ipld.raw" | "*/*" | "application/*" => Format::Raw,
        "application/vnd.ipld.car" => Format::Car,
        _ => return None,
    };
    let served = parts.all(|parameter| match parameter.split_once('=') {
        Some(("version", version)) => version == "1",
        Some(("q", quality)) => quality.parse::<f32>().is_ok_and(|quality| quality > 0.0),
        _ => true,
    });
    served.then_some(format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_stay_inside_the_block() {
        let inside = |first, end| Region::Inside { first, end };
        for (range, expected) in [
            ("0-0", inside(0, 1)),
            ("0-9", inside(0, 10)),
            ("3-", inside(3, 10)),
            ("9-99999999999999999999999", inside(9, 10)),
            ("-3", inside(7, 10)),
            ("-99", inside(0, 10)),
            ("10-", Region::Outside),
            ("-0", Region::Outside),
            ("99999999999999999999-", Region::Outside),
            ("5-4", Region::Unread),
            ("-", Region::Unread),
            ("", Region::Unread),
            ("0-1,3-4", Region::Unread),
            ("+1-2", Region::Unread),
        ] {
            assert_eq!(region(range, 10), expected, "{range}");
        }
        assert_eq!(region("0-", 0), Region::Outside);
    }

    #[test]
    fn offers_are_read_with_their_parameters() {
        assert!(accepted("application/vnd.ipld.car;version=1;order=dfs") == Some(Format::Car));
        assert!(accepted("application/vnd.ipld.car;version=2").is_none());
        assert!(accepted("application/vnd.ipld.raw;q=0").is_none());
        assert!(accepted(" */*;q=0.8") == Some(Format::Raw));
        assert!(accepted("text/html").is_none());
    }
}
