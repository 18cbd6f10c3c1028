//! `/ipfs/{cid}`: blocks and graphs of blocks (trustless gateway specification).
//!
//! What is sent of more than [`SMALL_BYTES`] is counted among the memory of all answers before the answer begins.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use perennis_shared::cid::{Block, Cid, Codec, cid_of, parse_cid};
use perennis_shared::unixfs::{EntityBytes, Node, PathWalk, Selected};

use super::answer::{Answer, Body, answer, text_header};
use super::call::Call;
use super::file_name::attachment;
use super::memory::{REQUEST_PATIENCE, SMALL_BYTES, block_bytes, counted};
use super::refusal::Refusal;
use super::request_cache;
use crate::http::service::Service;

mod depth_first;
mod format;
mod graph;
mod path;
mod walk;

pub(super) use depth_first::DepthFirst;
pub(super) use format::{Format, location, serves};
use format::{dups_name, scope};
pub(super) use graph::{ABSENT_HINT, Graph, PART_BYTES, Selection};
use graph::{DagScope, Form};
pub(super) use path::{follow, refused};

const RAW: HeaderValue = HeaderValue::from_static("application/vnd.ipld.raw");
pub(super) const IMMUTABLE: HeaderValue =
    HeaderValue::from_static("public, max-age=29030400, immutable");
pub(super) const ROOTS: HeaderName = HeaderName::from_static("x-ipfs-roots");
pub(super) const PATH: HeaderName = HeaderName::from_static("x-ipfs-path");

/// Most segments of a path whose blocks are named in a header.
const ROOTS_NAMED: usize = 32;

/// The answer to the most frequent request, when the block is in memory and there is room to send it: all of a block,
/// without a word about ranges.
pub(super) fn cached(node: &Service, text: &str, request: &Request<Incoming>) -> Option<Answer> {
    if request.headers().contains_key(header::RANGE) || Format::of(request).ok()? != Format::Raw {
        return None;
    }
    let cid = parse_cid(text).ok()?;
    let block = node.read.cached_block(&cid)?;
    let bytes = if is_small(block.bytes().len(), request) {
        block.bytes().clone()
    } else {
        block_bytes(node.answers.send_now(&block)?, node.answers.place_now()?)
    };
    Some(whole_block(text, bytes, request))
}

/// A block or a graph. What is not here is 412 for a client that takes only what is.
pub(super) async fn block(call: Call) -> Result<Answer, Refusal> {
    let answered = served(&call).await;
    match answered {
        Err(refusal) if refusal.is_absence() && request_cache::only_if_cached(&call.request) => {
            Ok(request_cache::not_cached())
        }
        answered => answered,
    }
}

async fn served(call: &Call) -> Result<Answer, Refusal> {
    let (node, request) = (&call.node, &call.request);
    let (text, path) = call
        .parameter
        .split_once('/')
        .unwrap_or((&call.parameter, ""));
    let cid = root_cid(text)?;
    match Format::of(request)? {
        Format::Raw if path.split('/').any(|segment| !segment.is_empty()) => Err(Refusal::new(
            "path_not_served",
            "a block is sent by its CID alone",
            format!("ask with format=car for the blocks along the path, or for /ipfs/{text}"),
        )),
        Format::Raw => raw(node, text, &cid, request).await,
        Format::Car { repeats } => {
            let path = follow(node, &cid, path).await?;
            graph(node, text, path, repeats, request).await
        }
    }
}

/// The CID that a path begins at.
pub(super) fn root_cid(text: &str) -> Result<Cid, Refusal> {
    parse_cid(text).map_err(|error| {
        Refusal::new(
            "invalid_cid",
            error.to_string(),
            "give a CID such as bafyrei…",
        )
    })
}

/// A block that is here.
pub(super) async fn read(node: &Service, cid: &Cid) -> Result<Block, Refusal> {
    let block = node.read.block(cid).await?;
    block.ok_or_else(|| absent(cid))
}

/// Whether so much of a block needs no room among the memory for answers.
fn is_small(length: usize, request: &Request<Incoming>) -> bool {
    length <= SMALL_BYTES || request.method() == Method::HEAD
}

/// A part of a block for an answer.
pub(super) async fn sent(
    node: &Service,
    block: Block,
    part: Range<usize>,
    request: &Request<Incoming>,
) -> Result<Bytes, Refusal> {
    let bytes = block.bytes();
    if is_small(part.len(), request) {
        return Ok(if part.len() == bytes.len() {
            bytes.clone()
        } else {
            // A copy, so that a few bytes do not hold all of the block.
            Bytes::copy_from_slice(&bytes[part])
        });
    }
    let answers = &node.answers;
    let (cid, length) = (*block.cid(), bytes.len());
    if let Some(sent) = answers.send_now(&block)
        && let Some(place) = answers.place_now()
    {
        return Ok(block_bytes(sent, place).slice(part));
    }
    // Whoever waits holds nothing, so it is read once more.
    drop(block);
    let place = answers.place().await?;
    let share = answers.share(length, REQUEST_PATIENCE).await?;
    let block = read(node, &cid).await?;
    Ok(block_bytes(answers.send_with(block, share), place).slice(part))
}

fn absent(cid: &Cid) -> Refusal {
    Refusal::not_found(format!("block {cid} is not here"), ABSENT_HINT)
}

fn whole_block(text: &str, bytes: Bytes, request: &Request<Incoming>) -> Answer {
    let etag = format!("\"{text}.raw\"");
    if known(request, &etag) {
        return unchanged(etag);
    }
    let mut answer = answer(StatusCode::OK, RAW, bytes);
    block_headers(&mut answer, request, Format::Raw, text, etag);
    answer
        .headers_mut()
        .insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    answer
}

/// A block as it is.
pub(super) async fn raw(
    node: &Service,
    text: &str,
    cid: &Cid,
    request: &Request<Incoming>,
) -> Result<Answer, Refusal> {
    let etag = format!("\"{text}.raw\"");
    if let Some(range) = range(request, &etag) {
        let length = node.read.block_bytes(cid).await?;
        let length = length.ok_or_else(|| absent(cid))?;
        if known(request, &etag) {
            return Ok(unchanged(etag));
        }
        match region(range, length) {
            Region::Unread => {}
            Region::Outside => return Err(outside(length)),
            Region::Inside { first, end } => {
                let bytes = part(node, cid, first..end, length, request).await?;
                let mut answer = answer(StatusCode::PARTIAL_CONTENT, RAW, bytes);
                block_headers(&mut answer, request, Format::Raw, text, etag);
                answer.headers_mut().insert(
                    header::CONTENT_RANGE,
                    text_header(format!("bytes {first}-{}/{length}", end - 1)),
                );
                return Ok(answer);
            }
        }
    }
    // Several ranges, or none that we can read, are answered with everything (RFC 9110, section 14.2).
    let block = read(node, cid).await?;
    let all = 0..block.bytes().len();
    let bytes = sent(node, block, all, request).await?;
    Ok(whole_block(text, bytes, request))
}

/// The ranges that a request is for; none where the client has another version of what is sent with this tag.
pub(super) fn range<'a>(request: &'a Request<Incoming>, etag: &str) -> Option<&'a str> {
    let headers = request.headers();
    let is_of_this = headers
        .get(header::IF_RANGE)
        .is_none_or(|given| given.as_bytes() == etag.as_bytes());
    let range = headers.get(header::RANGE).filter(|_| is_of_this)?;
    range.to_str().ok()?.strip_prefix("bytes=")
}

/// The refusal of a range of what has so many bytes.
pub(super) fn outside(length: usize) -> Refusal {
    Refusal::new(
        "range_outside",
        format!("there are {length} bytes and the range lies outside of them"),
        "ask for a range inside of them, or for all",
    )
    .with_header(
        header::CONTENT_RANGE,
        text_header(format!("bytes */{length}")),
    )
}

/// A part of a block for an answer. Of a block that is not in memory and of which most is not asked for, no more is read.
async fn part(
    node: &Service,
    cid: &Cid,
    part: Range<usize>,
    length: usize,
    request: &Request<Incoming>,
) -> Result<Bytes, Refusal> {
    let cached = node.read.cached_block(cid);
    if cached.is_some() || length <= SMALL_BYTES || part.len() > length / 2 {
        let block = match cached {
            Some(block) => block,
            None => read(node, cid).await?,
        };
        return sent(node, block, part, request).await;
    }
    let room = if is_small(part.len(), request) {
        None
    } else {
        let place = node.answers.place().await?;
        let share = node.answers.share(part.len(), REQUEST_PATIENCE).await?;
        Some((place, share))
    };
    let bytes = node.read.part(cid, part).await?;
    let bytes = bytes.ok_or_else(|| absent(cid))?;
    Ok(match room {
        Some((place, share)) => counted(bytes, place, Some(share)),
        None => bytes.into(),
    })
}

/// What a range of bytes comes to for what has some length.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Region {
    Inside { first: usize, end: usize },
    Outside,
    Unread,
}

pub(super) fn region(range: &str, length: usize) -> Region {
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

fn block_headers(
    answer: &mut Answer,
    request: &Request<Incoming>,
    format: Format,
    text: &str,
    etag: String,
) {
    let extension = match format {
        Format::Raw => "bin",
        Format::Car { .. } => "car",
    };
    let headers = answer.headers_mut();
    headers.insert(header::ETAG, text_header(etag));
    headers.insert(header::CACHE_CONTROL, IMMUTABLE);
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    headers.insert(
        header::CONTENT_DISPOSITION,
        attachment(request, &format!("{text}.{extension}")),
    );
    if let Some(location) = format.location(request) {
        headers.insert(header::CONTENT_LOCATION, location);
    }
    headers.insert(ROOTS, text_header(text.to_owned()));
    headers.insert(PATH, text_header(request.uri().path().to_owned()));
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

/// A graph as a CAR.
pub(super) async fn graph(
    node: &Arc<Service>,
    text: &str,
    path: PathWalk,
    repeats: bool,
    request: &Request<Incoming>,
) -> Result<Answer, Refusal> {
    let (scope, wanted) = scope(request.uri().query())?;
    let terminus = read(node, path.at()).await?;
    let etag = graph_etag(text, &path, scope, wanted.as_ref(), repeats);
    let (scope, bytes) = match wanted {
        Some(wanted) => selected(&terminus, wanted)?,
        None => (scope, None),
    };
    drop(terminus);
    if known(request, &etag) {
        return Ok(unchanged(etag));
    }
    let body = if request.method() == Method::HEAD {
        Body::Empty
    } else {
        let place = node.answers.place().await?;
        let selection = Selection {
            path: path.passed().to_vec(),
            terminus: *path.at(),
            form: Form::Car(scope),
            bytes,
            repeats,
        };
        Graph::begin(node, selection, place).await?.into_body()
    };
    let dups = dups_name(repeats);
    let kind = format!("application/vnd.ipld.car; version=1; order=dfs; dups={dups}");
    let mut answer = answer(StatusCode::OK, text_header(kind), body);
    block_headers(&mut answer, request, Format::Car { repeats }, text, etag);
    let headers = answer.headers_mut();
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("none"));
    headers.insert(ROOTS, text_header(roots(text, &path)));
    Ok(answer)
}

/// Which blocks belong to a graph never changes; in which order another version sends them may. The path is named by its hash:
/// it may be long.
fn graph_etag(
    text: &str,
    path: &PathWalk,
    scope: DagScope,
    bytes: Option<&EntityBytes>,
    repeats: bool,
) -> String {
    let mut etag = format!("W/\"{text}.car.{}.dfs.{}", scope.name(), dups_name(repeats));
    if let Some(bytes) = bytes {
        etag.push_str(&format!(".{bytes}"));
    }
    if let [_, ..] = path.passed() {
        let blocks = path.passed().iter().chain([path.at()]);
        let bytes: Vec<u8> = blocks.flat_map(Cid::to_bytes).collect();
        etag.push_str(&format!(".{}", cid_of(Codec::Raw, &bytes)));
    }
    etag.push('"');
    etag
}

/// What is sent of an entity of which these bytes are wanted. They say nothing of what is no file.
fn selected(
    terminus: &Block,
    wanted: EntityBytes,
) -> Result<(DagScope, Option<Range<u64>>), Refusal> {
    // One that cannot be read says so when it is sent.
    let node = Node::parse(terminus.cid(), terminus.bytes()).ok().flatten();
    let size = match node {
        Some(Node::File(file)) => file.size(),
        _ => None,
    };
    let Some(size) = size else {
        return Ok((DagScope::Entity, None));
    };
    match wanted.of(size) {
        Selected::Bytes(bytes) => Ok((DagScope::Entity, Some(bytes))),
        Selected::Nothing => Ok((DagScope::Block, None)),
        Selected::Outside => Err(Refusal::new(
            "entity_bytes_outside",
            format!("the file has {size} bytes and entity-bytes begins behind them"),
            "ask for bytes inside the file, or leave entity-bytes out",
        )),
    }
}

/// The block that each segment of the path leads to, the root as the client has written it.
pub(super) fn roots(text: &str, path: &PathWalk) -> String {
    let mut roots = text.to_owned();
    for cid in path.roots().iter().skip(1).take(ROOTS_NAMED) {
        roots.push_str(&format!(",{cid}"));
    }
    roots
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
}
