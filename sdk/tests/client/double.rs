//! A node in this process: routing, trustless gateway and publish over real HTTP, with faults on request.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    convert::Infallible,
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures_util::stream;
use perennis_rt::{
    self as rt,
    http::{Http, HttpTimes},
};
use perennis_sdk::NodeUrl;
use perennis_shared::{
    backoff::Backoff,
    cid::{Block, Cid, parse_cid},
    codec::{self, car},
    ipns::{self, Ladder, Name, Record, UnverifiedRecord},
};
use serde_json::json;

const RECORD_TYPE: &str = "application/vnd.ipfs.ipns-record";
const CAR_TYPE: &str = "application/vnd.ipld.car";

/// Most missing blocks that a refusal lists.
const MISSING_LISTED: usize = 3;

/// What one request meets instead of, or before, a proper answer.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// An error status, with a `Retry-After` in seconds if given.
    Status(u16, Option<u64>),
    /// The request is read and nothing is ever answered.
    Silence,
    /// A proper head, then bytes without end.
    Endless,
    /// The answer breaks off in its middle.
    Half,
    /// The right answer with one byte changed.
    Flipped,
    /// Something else, as 200 with a content type.
    Other(&'static str, Bytes),
    /// The request is carried out, and the connection breaks before the answer.
    DoneButUnheard,
}

/// The three doors of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Door {
    Routing,
    Raw,
    Car,
    Publish,
}

#[derive(Default)]
struct Inside {
    blocks: HashMap<Cid, Block>,
    records: BTreeMap<String, Record>,
    ladders: BTreeMap<String, Ladder>,
    faults: HashMap<Door, VecDeque<Fault>>,
    always: HashMap<Door, Fault>,
    requests: Vec<Door>,
    published_blocks: Vec<usize>,
    token: Option<String>,
}

/// A running node. It stops with the test's runtime.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) url: NodeUrl,
    inside: Arc<Mutex<Inside>>,
}

impl Node {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let node = Self {
            url: url.parse().unwrap(),
            inside: Arc::default(),
        };
        let router = Router::new()
            .route("/routing/v1/ipns/{name}", get(read_record).put(put_record))
            .route("/ipfs/{cid}", get(read_content))
            .route("/v1/names/{name}/record", get(read_held))
            .route("/v1/names/{name}/publish", post(publish))
            .with_state(node.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        node
    }

    /// The next request at `door` meets `fault`; faults queue up.
    pub(crate) fn next(&self, door: Door, fault: Fault) {
        let mut inside = self.inside.lock().unwrap();
        inside.faults.entry(door).or_default().push_back(fault);
    }

    /// Another node, which has all that this one was given.
    pub(crate) async fn twin(&self) -> Self {
        let twin = Self::start().await;
        {
            let (from, mut to) = (self.inside.lock().unwrap(), twin.inside.lock().unwrap());
            to.blocks = from.blocks.clone();
            to.records = from.records.clone();
            to.ladders = from.ladders.clone();
        }
        twin
    }

    /// Messages are taken with this token only.
    pub(crate) fn ask_for_token(&self, token: &str) {
        self.inside.lock().unwrap().token = Some(format!("Bearer {token}"));
    }

    /// Every request at `door` meets `fault`.
    pub(crate) fn always(&self, door: Door, fault: Fault) {
        self.inside.lock().unwrap().always.insert(door, fault);
    }

    /// Requests at `door` are answered properly again.
    pub(crate) fn heal(&self, door: Door) {
        let mut inside = self.inside.lock().unwrap();
        inside.always.remove(&door);
        inside.faults.remove(&door);
    }

    pub(crate) fn put_block(&self, block: &Block) {
        let mut inside = self.inside.lock().unwrap();
        inside.blocks.insert(*block.cid(), block.clone());
    }

    pub(crate) fn put_record(&self, name: &Name, record: &Record) {
        let mut inside = self.inside.lock().unwrap();
        inside.records.insert(name.to_string(), record.clone());
    }

    pub(crate) fn record(&self, name: &Name) -> Option<Record> {
        self.inside
            .lock()
            .unwrap()
            .records
            .get(&name.to_string())
            .cloned()
    }

    /// The rungs that came with the last message of a name.
    pub(crate) fn ladder(&self, name: &Name) -> Ladder {
        let inside = self.inside.lock().unwrap();
        inside
            .ladders
            .get(&name.to_string())
            .cloned()
            .unwrap_or_default()
    }

    pub(crate) fn forget_block(&self, cid: &Cid) {
        self.inside.lock().unwrap().blocks.remove(cid);
    }

    /// How many requests came to `door`.
    pub(crate) fn requests(&self, door: Door) -> usize {
        let inside = self.inside.lock().unwrap();
        inside.requests.iter().filter(|seen| **seen == door).count()
    }

    /// How many blocks each publish message held, the record's not counted.
    pub(crate) fn published_blocks(&self) -> Vec<usize> {
        self.inside.lock().unwrap().published_blocks.clone()
    }

    fn fault(&self, door: Door) -> Option<Fault> {
        let mut inside = self.inside.lock().unwrap();
        inside.requests.push(door);
        let next = inside.faults.get_mut(&door).and_then(VecDeque::pop_front);
        next.or_else(|| inside.always.get(&door).cloned())
    }
}

/// HTTP with times short enough for tests.
pub(crate) fn http() -> Http {
    Http::new(times()).unwrap()
}

pub(crate) fn times() -> HttpTimes {
    HttpTimes {
        connect: Duration::from_millis(500),
        idle: Duration::from_millis(150),
        whole: Duration::from_millis(600),
    }
}

/// The attempts of the default policy without its pauses.
pub(crate) fn backoff() -> Backoff {
    Backoff {
        base: Duration::from_millis(1),
        max: Duration::from_millis(4),
        attempts: 5,
    }
}

async fn read_record(State(node): State<Node>, Path(name): Path<String>) -> Response {
    let record = node.inside.lock().unwrap().records.get(&name).cloned();
    let answer = match record {
        Some(record) => ok(RECORD_TYPE, record.bytes().clone()),
        None => ok("text/plain", Bytes::from_static(b"no record\n")),
    };
    spoil(node.fault(Door::Routing), answer).await
}

async fn read_held(State(node): State<Node>, Path(name): Path<String>) -> Response {
    let record = node.inside.lock().unwrap().records.get(&name).cloned();
    match record {
        Some(record) => ok(RECORD_TYPE, record.bytes().clone()),
        None => refuse(StatusCode::NOT_FOUND, "not_found", &[]),
    }
}

async fn put_record(State(node): State<Node>, Path(name): Path<String>, body: Bytes) -> Response {
    let fault = node.fault(Door::Routing);
    let Some((name, record)) = parse_record(&name, &body) else {
        return refuse(StatusCode::BAD_REQUEST, "invalid_record", &[]);
    };
    node.put_record(&name, &record);
    spoil(fault, StatusCode::OK.into_response()).await
}

async fn read_content(
    State(node): State<Node>,
    Path(cid): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let is_car = query.get("format").is_some_and(|format| format == "car");
    let fault = node.fault(if is_car { Door::Car } else { Door::Raw });
    let root = parse_cid(&cid).unwrap();
    let blocks = node.inside.lock().unwrap().blocks.clone();
    let Some(block) = blocks.get(&root) else {
        return spoil(fault, refuse(StatusCode::NOT_FOUND, "not_found", &[])).await;
    };
    let answer = if is_car {
        let mut writer = car::Writer::new(&[root]).unwrap();
        let mut next = VecDeque::from([root]);
        while let Some(cid) = next.pop_front() {
            if let Some(block) = blocks.get(&cid) {
                writer.push(block);
                next.extend(codec::links(&cid, block.bytes()).unwrap());
            }
        }
        ok(CAR_TYPE, writer.take().into())
    } else {
        ok("application/vnd.ipld.raw", block.bytes().clone())
    };
    spoil(fault, answer).await
}

async fn publish(
    State(node): State<Node>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let token = node.inside.lock().unwrap().token.clone();
    let shown = headers
        .get("authorization")
        .and_then(|shown| shown.to_str().ok());
    if token.is_some() && shown != token.as_deref() {
        return refuse(StatusCode::UNAUTHORIZED, "unauthorized", &[]);
    }
    let fault = node.fault(Door::Publish);
    if matches!(
        fault,
        None | Some(Fault::DoneButUnheard | Fault::Half | Fault::Flipped)
    ) {
        let answer = node.take_in(&name, &body);
        return spoil(fault, answer).await;
    }
    spoil(fault, StatusCode::OK.into_response()).await
}

impl Node {
    /// Carries out one publish message by the rules of a node.
    fn take_in(&self, name: &str, body: &[u8]) -> Response {
        let mut inside = self.inside.lock().unwrap();
        let Ok(reader) = car::Reader::new(body) else {
            return refuse(StatusCode::BAD_REQUEST, "malformed_car", &[]);
        };
        let roots = reader.header().roots.clone();
        let Ok(mut sent) = reader.collect::<Result<Vec<Block>, _>>() else {
            return refuse(StatusCode::BAD_REQUEST, "malformed_car", &[]);
        };
        let [head, record_cid, rungs @ ..] = &roots[..] else {
            return refuse(StatusCode::BAD_REQUEST, "malformed_car", &[]);
        };
        let (head, record_cid) = (*head, *record_cid);
        let last = sent.pop().filter(|block| *block.cid() == record_cid);
        let rungs_from = sent.len().saturating_sub(rungs.len());
        let sent_rungs = sent.split_off(rungs_from);
        if !sent_rungs.iter().map(Block::cid).eq(rungs) {
            return refuse(StatusCode::BAD_REQUEST, "malformed_car", &[]);
        }
        let Some((name, record)) = last.and_then(|block| parse_record(name, block.bytes())) else {
            return refuse(StatusCode::UNPROCESSABLE_ENTITY, "invalid_record", &[]);
        };
        if record.head() != Some(head) {
            return refuse(StatusCode::UNPROCESSABLE_ENTITY, "invalid_record", &[]);
        }
        let rungs = sent_rungs.iter().map(|rung| &rung.bytes()[..]);
        let Ok(ladder) = Ladder::verify(&name, &record, rungs) else {
            return refuse(StatusCode::UNPROCESSABLE_ENTITY, "invalid_ladder", &[]);
        };
        inside.ladders.insert(name.to_string(), ladder);
        inside.published_blocks.push(sent.len());
        if let Some(seen) = inside.records.get(&name.to_string()) {
            if ipns::equivocates(seen, &record) {
                return refuse(StatusCode::CONFLICT, "equivocation", &[]);
            }
            if ipns::compare(&record, seen).is_lt() {
                return refuse(StatusCode::CONFLICT, "stale_record", &[]);
            }
        }
        let mut blocks = inside.blocks.clone();
        blocks.extend(sent.iter().map(|block| (*block.cid(), block.clone())));
        let mut next = VecDeque::from([head]);
        let mut missing = Vec::new();
        while let Some(cid) = next.pop_front() {
            match blocks.get(&cid) {
                Some(block) => next.extend(codec::links(&cid, block.bytes()).unwrap()),
                None => missing.push(cid.to_string()),
            }
        }
        if !missing.is_empty() {
            missing.truncate(MISSING_LISTED);
            return refuse(StatusCode::UNPROCESSABLE_ENTITY, "missing_blocks", &missing);
        }
        inside.blocks = blocks;
        inside.records.insert(name.to_string(), record.clone());
        let answer = json!({
            "name": name.to_string(),
            "sequence": record.sequence(),
            "head": head.to_string(),
            "stored": true,
            "validUntil": record.validity().to_string(),
            "blocks": { "received": sent.len(), "new": sent.len() },
        });
        ok("application/json", answer.to_string().into())
    }
}

fn parse_record(name: &str, bytes: &[u8]) -> Option<(Name, Record)> {
    let name = Name::parse(name).ok()?;
    let record = UnverifiedRecord::parse(bytes).ok()?;
    Some((name, record.verify(&name, rt::now()).ok()?))
}

fn ok(content_type: &'static str, body: Bytes) -> Response {
    ([(header::CONTENT_TYPE, content_type)], body).into_response()
}

fn refuse(status: StatusCode, code: &str, missing: &[String]) -> Response {
    let error = json!({ "error": { "code": code, "message": "by the double", "hint": null, "missing": missing } });
    (status, error.to_string()).into_response()
}

async fn spoil(fault: Option<Fault>, answer: Response) -> Response {
    let Some(fault) = fault else {
        return answer;
    };
    let (parts, body) = answer.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let content_type = parts.headers.get(header::CONTENT_TYPE).cloned();
    let with_type = |body: Body| {
        let mut headers = HeaderMap::new();
        if let Some(content_type) = content_type {
            headers.insert(header::CONTENT_TYPE, content_type);
        }
        (StatusCode::OK, headers, body).into_response()
    };
    match fault {
        Fault::Status(status, retry_after) => {
            let mut headers = HeaderMap::new();
            if let Some(seconds) = retry_after {
                headers.insert(header::RETRY_AFTER, seconds.into());
            }
            (StatusCode::from_u16(status).unwrap(), headers).into_response()
        }
        Fault::Silence => pending().await,
        Fault::Endless => {
            let zeros = Bytes::from_static(&[0; 16384]);
            with_type(Body::from_stream(stream::repeat_with(move || {
                Ok::<_, Infallible>(zeros.clone())
            })))
        }
        Fault::Half => {
            let half = bytes.slice(..bytes.len() / 2);
            with_type(Body::from_stream(stream::iter([
                Ok(half),
                Err(std::io::Error::other("cut")),
            ])))
        }
        Fault::Flipped => {
            let mut bytes = bytes.to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            with_type(Body::from(bytes))
        }
        Fault::Other(content_type, body) => ok(content_type, body),
        Fault::DoneButUnheard => with_type(Body::from_stream(stream::iter([Err::<Bytes, _>(
            std::io::Error::other("cut"),
        )]))),
    }
}
