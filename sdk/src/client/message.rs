//! The publish message: blocks first, then the rungs, the record last, in one CAR, in one request.

use bytes::Bytes;
use perennis_rt::http::{Http, Request};
use perennis_shared::{
    cid::{Block, Cid, Codec, parse_cid},
    codec::car::{CarError, Writer},
    ipns::{Name, Record},
    limits::LimitExceeded,
};
use serde::Deserialize;

use crate::{
    node_url::NodeUrl,
    remote::{Refusal, RemoteError, refusal},
};

pub(super) const CAR_TYPE: &str = "application/vnd.ipld.car";
const ANSWER_BYTES: usize = 64 << 10;

/// The block under which a record travels. Records are far below the limit of a block.
pub(super) fn record_block(record: &Record) -> Result<Block, LimitExceeded> {
    Block::new(Codec::Raw, record.bytes().clone())
}

/// Begins a message or capsule whose newest entry is `head`. A message names the rungs of its ladder as further
/// roots, lowest first; they come right before the record.
pub(super) fn writer(head: &Cid, record: &Block, rungs: &[Block]) -> Result<Writer, CarError> {
    let rungs = rungs.iter().map(|rung| *rung.cid());
    let roots: Vec<Cid> = [*head, *record.cid()].into_iter().chain(rungs).collect();
    Writer::new(&roots)
}

/// What a node says after it has stored a message.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    stored: bool,
    sequence: u64,
}

/// How a node answered.
#[derive(Debug)]
pub(super) enum Reply {
    /// It holds everything durably.
    Stored,
    /// It lacks these blocks.
    Missing(Vec<Cid>),
    /// It has seen something newer, or another record of this sequence.
    Superseded(Refusal),
}

/// The request that hands one message over.
pub(super) fn request(node: &NodeUrl, name: &Name, body: Bytes) -> Request {
    Request::post(node.at(&format!("v1/names/{name}/publish")), CAR_TYPE, body)
}

/// Hands one message over and waits for the acknowledgement of this record.
pub(super) async fn send(
    http: &Http,
    request: Request,
    record: &Record,
) -> Result<Reply, RemoteError> {
    let response = http.send(request).await?;
    if response.status() == 200 {
        let body = response.bytes(ANSWER_BYTES).await?;
        return match serde_json::from_slice::<Stored>(&body) {
            Ok(stored) if stored.stored && stored.sequence == record.sequence() => {
                Ok(Reply::Stored)
            }
            Ok(_) => Err(RemoteError::Answer {
                what: "the node does not say that it has stored this record",
            }),
            Err(_) => Err(RemoteError::Answer {
                what: "the acknowledgement is not in the agreed form",
            }),
        };
    }
    match refusal(response).await {
        RemoteError::Refused(refusal) if refusal.code == "missing_blocks" => {
            let missing = refusal.missing.iter().map(|text| parse_cid(text).ok());
            match missing.collect::<Option<Vec<Cid>>>() {
                Some(missing) if !missing.is_empty() => Ok(Reply::Missing(missing)),
                _ => Err(RemoteError::Answer {
                    what: "the node lacks blocks but does not name them",
                }),
            }
        }
        RemoteError::Refused(refusal) if refusal.status == 409 => Ok(Reply::Superseded(refusal)),
        other => Err(other),
    }
}
