//! `/v1/fetched`: DAGs fetched from peers on demand.
//!
//! A fetch answers with JSON lines, one for each step, so that a person sees it move. When the caller goes away the
//! fetch ends; what has come stays for the next attempt, until it is released.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::poll_fn;
use hyper::StatusCode;
use hyper::header::HeaderValue;
use perennis_net::Multiaddr;
use perennis_rt as rt;
use perennis_sdk::exchange::{FetchError, Progress, fetch_dag};
use perennis_shared::cid::Cid;
use perennis_shared::error::{Retryable as _, chain};
use perennis_shared::time::Millis;
use serde::Serialize;
use tokio::sync::{mpsc, watch};

use super::answer::{Answer, Body, BrokenOff, answer};
use super::call::Call;
use super::document::json;
use super::page_query::PageQuery;
use super::parameter::parse_block_cid;
use super::query;
use super::refusal::{FETCH_TOO_LARGE, Refusal};
use crate::http::service::Service;
use crate::storage::Fetched;

/// Time between two lines about the progress.
const STEP: Duration = Duration::from_millis(200);

const LINES: HeaderValue = HeaderValue::from_static("application/x-ndjson");

/// One line of a fetch.
#[derive(Serialize)]
#[serde(
    tag = "event",
    rename_all = "lowercase",
    rename_all_fields = "camelCase"
)]
enum Line<'a> {
    Progress {
        blocks: u64,
        bytes: u64,
        held: u64,
        left: u64,
    },
    Done {
        cid: String,
        blocks: u64,
        bytes: u64,
        held: u64,
        /// Blocks whose links cannot be read: what is below them is not known, and not kept.
        opaque: u64,
        /// The first of those.
        #[serde(skip_serializing_if = "Option::is_none")]
        first_opaque: Option<String>,
        seconds: f64,
    },
    Failed {
        code: &'a str,
        /// What the caller may do: retry, reject, corrupt or fatal.
        kind: &'static str,
        message: String,
        hint: &'a str,
    },
}

/// Fetches the DAG below a CID, from a named peer and from those who provide it, and keeps it.
pub(super) async fn start(call: Call) -> Result<Answer, Refusal> {
    let node = &call.node;
    let cid = parse_block_cid(&call.parameter)?;
    let mut named = Vec::new();
    if let Some(text) = query::value(call.query(), "peer")? {
        let address: Multiaddr = text.parse().map_err(|error| {
            let message = format!("{text:?} is no multiaddr: {error}");
            Refusal::new("invalid_address", message, "write it as /ip4/…/tcp/…/p2p/…")
        })?;
        named.push(node.swarm.net.connect_to(&address).await?);
    }
    let sink = node.ingest.begin_fetch(&cid).await?;
    let session = node.swarm.net.fetch_session(&cid, &named);
    let (lines, mut told) = mpsc::channel(16);
    let (seen, progress) = watch::channel(Progress::default());
    let node = call.node;
    tokio::spawn(async move {
        let started = rt::monotonic();
        let fetching = async {
            let roots = [cid];
            let fetch = fetch_dag(&session, &roots, &sink, sink.limits(), |step| {
                seen.send_replace(step);
            });
            fetch.await
        };
        let outcome = tokio::select! {
            outcome = fetching => outcome,
            () = tell(progress, &lines) => return,
            () = lines.closed() => return,
        };
        let took = rt::monotonic().saturating_sub(started);
        let line = finish(&node, &cid, outcome, took).await;
        let _ = lines.send(Ok(line)).await;
    });
    let body = poll_fn(move |context| told.poll_recv(context));
    Ok(answer(StatusCode::OK, LINES, Body::Stream(Box::pin(body))))
}

/// Writes a line now and then; ends when nobody reads them.
async fn tell(progress: watch::Receiver<Progress>, lines: &mpsc::Sender<Result<Bytes, BrokenOff>>) {
    loop {
        tokio::time::sleep(STEP).await;
        let Progress {
            blocks,
            bytes,
            held,
            left,
            ..
        } = *progress.borrow();
        let line = line(&Line::Progress {
            blocks,
            bytes,
            held,
            left,
        });
        if lines.send(Ok(line)).await.is_err() {
            return;
        }
    }
}

async fn finish(
    node: &Service,
    cid: &Cid,
    outcome: Result<Progress, FetchError>,
    took: Duration,
) -> Bytes {
    let Progress {
        blocks,
        bytes,
        held,
        opaque,
        first_opaque,
        ..
    } = match outcome {
        Ok(done) => done,
        Err(error) => {
            let hint = match &error {
                FetchError::TooLarge { limit: "bytes", .. } => FETCH_TOO_LARGE,
                FetchError::TooLarge { .. } => "fetch a part of it",
                _ => {
                    "name a peer that has it with --peer, or try again: what has come stays until `pin remove` lets it go"
                }
            };
            return line(&Line::Failed {
                code: error.code(),
                kind: error.kind().word(),
                message: chain(&error),
                hint,
            });
        }
    };
    let fetched = Fetched {
        root: *cid,
        at: rt::now(),
        blocks: blocks + held,
        bytes,
        opaque,
    };
    if let Err(error) = node.ingest.finish_fetch(fetched).await {
        let message = chain(&error);
        return line(&Line::Failed {
            code: "storage",
            kind: error.kind().word(),
            message,
            hint: "look at the node's log",
        });
    }
    node.reprovide.soon(*cid);
    let cid = cid.to_string();
    line(&Line::Done {
        cid,
        blocks,
        bytes,
        held,
        opaque,
        first_opaque: first_opaque.map(|cid| cid.to_string()),
        seconds: took.as_secs_f64(),
    })
}

fn line(line: &Line<'_>) -> Bytes {
    let mut text = serde_json::to_vec(line).unwrap_or_default();
    text.push(b'\n');
    text.into()
}

#[derive(Serialize)]
struct List {
    fetched: Vec<FetchedDag>,
    next: Option<String>,
}

#[derive(Serialize)]
struct FetchedDag {
    cid: String,
    blocks: u64,
    bytes: u64,
    /// `pinned`, or `opaque` where there are blocks whose links cannot be read.
    state: &'static str,
    at: String,
}

/// A page of what was fetched and is kept.
pub(super) async fn list(call: Call) -> Result<Answer, Refusal> {
    let limit = PageQuery::parse_limit(call.query())?;
    let after = query::value(call.query(), "after")?
        .as_deref()
        .map(parse_block_cid)
        .transpose()?;
    let rows = call.node.storage().fetched(after, limit).await?;
    let next = rows
        .last()
        .filter(|_| rows.len() == limit)
        .map(|row| row.root.to_string());
    let fetched = rows
        .iter()
        .map(|row| FetchedDag {
            cid: row.root.to_string(),
            blocks: row.blocks,
            bytes: row.bytes,
            state: row.state(),
            at: Millis::to_string(&row.at),
        })
        .collect();
    Ok(json(StatusCode::OK, &List { fetched, next }))
}

#[derive(Serialize)]
struct Released {
    cid: String,
    released: bool,
}

/// Keeps a DAG no longer; its blocks are collected when nothing else holds them.
pub(super) async fn release(call: Call) -> Result<Answer, Refusal> {
    let cid = parse_block_cid(&call.parameter)?;
    let released = call.node.ingest.release(&cid).await?;
    if !released {
        let message = format!("{cid} was not fetched");
        return Err(Refusal::not_found(
            message,
            "GET /v1/fetched lists what was",
        ));
    }
    Ok(json(
        StatusCode::OK,
        &Released {
            cid: cid.to_string(),
            released,
        },
    ))
}
