//! `/v1/names`: the names that are kept, how each is, and publishing.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header;
use hyper::{Request, StatusCode};
use perennis_rt as rt;
use perennis_shared::did::Did;
use perennis_shared::error::chain;
use perennis_shared::ipns::{Name, RecordError};
use perennis_shared::time::Millis;
use serde::Serialize;

use super::answer::{Answer, Refusal, json};
use super::follow::FollowedState;
use super::route;
use super::upload::Upload;
use crate::http::site::Site;
use crate::ingest::IngestError;
use crate::storage::NameState;
use crate::storage::StorageError;
use crate::workers::republish::TargetState;

/// Rows on a page when nothing else is asked for, and the most.
const PAGE: usize = 100;
const PAGE_MAX: usize = 1_000;

/// Parses the name in a path; a DID stands for its name.
pub(super) fn parse(text: &str) -> Result<Name, Refusal> {
    let parsed = if text.starts_with("did:") {
        Did::parse(text)
            .map(|did| did.name())
            .map_err(|error| error.to_string())
    } else {
        Name::parse(text).map_err(|error| error.to_string())
    };
    parsed.map_err(|message| {
        Refusal::bad_request(
            "invalid_name",
            message,
            "give an IPNS name such as k51…, or a DID",
        )
    })
}

/// One page of a long list.
pub(super) struct PageQuery {
    pub(super) after: Option<Name>,
    pub(super) limit: usize,
}

impl PageQuery {
    pub(super) fn parse(query: Option<&str>) -> Result<PageQuery, Refusal> {
        let after = match route::query(query, "after") {
            None | Some("") => None,
            Some(cursor) => Some(Name::parse(cursor).map_err(|_| {
                Refusal::bad_request(
                    "invalid_cursor",
                    "`after` is no cursor of ours",
                    "give the `next` of the page before, or leave it out",
                )
            })?),
        };
        let limit = PageQuery::parse_limit(query)?;
        Ok(PageQuery { after, limit })
    }

    pub(super) fn parse_limit(query: Option<&str>) -> Result<usize, Refusal> {
        Ok(match route::query(query, "limit") {
            None => PAGE,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=PAGE_MAX).contains(limit))
                .ok_or_else(|| {
                    Refusal::bad_request(
                        "invalid_limit",
                        "`limit` is no number from 1 to 1000",
                        "correct it or leave it out",
                    )
                })?,
        })
    }

    /// The rows of this page and the cursor of the next.
    pub(super) async fn rows(
        &self,
        node: &Site,
    ) -> Result<(Vec<(Name, NameState)>, Option<String>), Refusal> {
        let rows = node.read.names(self.after, self.limit).await;
        let rows = rows.map_err(|_| Refusal::internal())?;
        let next = if rows.len() == self.limit {
            rows.last().map(|(name, _)| name.to_string())
        } else {
            None
        };
        Ok((rows, next))
    }
}

#[derive(Serialize)]
struct Names {
    names: Vec<Row>,
    next: Option<String>,
}

/// What a page tells about a name.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    name: String,
    did: Option<String>,
    sequence: u64,
    head: Option<String>,
    alive_until: String,
    expired: bool,
    bytes: u64,
    blocks: u64,
    pin: &'static str,
    followed: bool,
    last_put: Option<String>,
    peers_reached: Option<u64>,
    next_due: Option<String>,
    hot: bool,
}

impl Row {
    fn new(name: &Name, kept: &NameState, puts: &[TargetState], hot: bool, now: Millis) -> Row {
        let last = puts.iter().max_by_key(|put| put.row.last_put);
        let last_put = last.and_then(|put| put.row.last_put);
        // The DHT's own count, whoever was the last to take the record.
        let peers = puts.iter().filter_map(|put| put.row.peers).max();
        let next_due = puts.iter().map(|put| put.due).min();
        Row {
            name: name.to_string(),
            did: kept.facts.did.clone(),
            sequence: kept.sequence,
            head: kept.head.map(|head| head.to_string()),
            alive_until: kept.valid_until.to_string(),
            expired: kept.valid_until < now,
            bytes: kept.facts.bytes,
            blocks: kept.facts.blocks,
            pin: kept.facts.pin.name(),
            followed: kept.followed.is_some(),
            last_put: last_put.map(|at| at.to_string()),
            peers_reached: peers,
            next_due: next_due.map(|at| at.to_string()),
            hot,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(flatten)]
    row: Row,
    following: Option<FollowedState>,
    ladder: Option<LadderState>,
    missing_blocks: Option<u64>,
    stored_at: String,
    document: Option<String>,
    list: Option<String>,
    equivocated: bool,
    /// A record of this sequence was acknowledged and is lost by damage: older ones are refused until one as new is found.
    #[serde(skip_serializing_if = "Option::is_none")]
    lost_sequence: Option<u64>,
    republish_period_seconds: u64,
    resolves_per_hour: f64,
    routers: Vec<Router>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Router {
    url: String,
    last_put: Option<String>,
    peers_reached: Option<u64>,
    last_error: Option<String>,
    failures: u32,
    next_due: String,
}

/// The rungs that are left.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LadderState {
    rungs: usize,
    next_release: Option<String>,
    alive_until: String,
}

impl LadderState {
    /// None where nothing is left that could be released.
    async fn find(
        node: &Site,
        name: &Name,
        kept: &NameState,
    ) -> Result<Option<LadderState>, Refusal> {
        let ladder = node.read.ladder(name).await;
        let ladder = ladder.map_err(|_| Refusal::internal())?;
        if ladder.is_empty() {
            return Ok(None);
        }
        let ladder = ladder.above(&kept.record);
        let now = rt::now();
        let left = ladder.rungs().iter().filter(|rung| !rung.is_expired(now));
        Ok(ladder
            .alive_until()
            .filter(|end| end.to_millis() >= now)
            .map(|end| LadderState {
                rungs: left.count(),
                next_release: ladder
                    .next_release(kept.record.validity())
                    .map(|at| at.to_string()),
                alive_until: end.to_millis().to_string(),
            }))
    }
}

impl Router {
    fn new(state: TargetState) -> Router {
        Router {
            url: state.url,
            last_put: state.row.last_put.map(|at| at.to_string()),
            peers_reached: state.row.peers,
            last_error: state.row.last_error,
            failures: state.row.failures,
            next_due: state.due.to_string(),
        }
    }
}

/// A page of names.
pub(super) async fn list(node: &Site, query: Option<&str>) -> Result<Answer, Refusal> {
    let page = PageQuery::parse(query)?;
    let (rows, next) = page.rows(node).await?;
    let now = rt::now();
    let puts = node
        .republish
        .states_of(rows.iter().map(|(name, _)| *name).collect())
        .await
        .map_err(|_| Refusal::internal())?;
    let names = rows
        .iter()
        .zip(puts)
        .map(|((name, kept), puts)| {
            let (_, hot) = node.republish.demand(name);
            Row::new(name, kept, &puts, hot, now)
        })
        .collect();
    Ok(json(StatusCode::OK, &Names { names, next }))
}

/// How one name is.
pub(super) async fn status(node: &Site, text: &str) -> Result<Answer, Refusal> {
    let name = parse(text)?;
    let kept = node
        .read
        .kept(&name)
        .await
        .map_err(|_| Refusal::internal())?;
    let Some(kept) = kept else {
        return Err(absent(node, &name).await?);
    };
    let lost_sequence = node.storage().floor(name).await;
    let states = node.republish.states(&name).await;
    let states = states.map_err(|_| Refusal::internal())?;
    let equivocated = node.read.has_evidence(&name).await;
    let next_look = node.read.next_look(&name).await;
    let next_look = next_look.map_err(|_| Refusal::internal())?;
    let (rate, hot) = node.republish.demand(&name);
    let status = Status {
        following: kept
            .followed
            .as_ref()
            .map(|row| FollowedState::new(row, next_look)),
        ladder: LadderState::find(node, &name, &kept).await?,
        missing_blocks: kept.facts.pin.missing(),
        stored_at: kept.stored_at.to_string(),
        document: kept.facts.document.map(|cid| cid.to_string()),
        list: kept.facts.list.map(|cid| cid.to_string()),
        equivocated: equivocated.map_err(|_| Refusal::internal())?,
        lost_sequence: lost_sequence.map_err(|_| Refusal::internal())?,
        republish_period_seconds: node.republish.period_of(&name).as_secs(),
        resolves_per_hour: (rate * 10.0).round() / 10.0,
        row: Row::new(&name, &kept, &states, hot, rt::now()),
        routers: states.into_iter().map(Router::new).collect(),
    };
    Ok(json(StatusCode::OK, &status))
}

/// That a name is not kept, or that its record is lost.
async fn absent(node: &Site, name: &Name) -> Result<Refusal, Refusal> {
    let is_lost = node.storage().is_head_lost(*name).await;
    if is_lost.map_err(|_| Refusal::internal())? {
        return Ok(Refusal::new(
            StatusCode::NOT_FOUND,
            "record_lost",
            format!(
                "the record of {name} was kept here and is lost by damage; it is being looked for"
            ),
            "publish it again, or wait until it is found",
        ));
    }
    Ok(Refusal::not_found(
        format!("{name} is not kept here"),
        "publish it to this node, or ask another",
    ))
}

/// Receives a publish message and stores it.
pub(super) async fn publish(
    node: &Arc<Site>,
    peer: IpAddr,
    text: &str,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let name = parse(text).map_err(Refusal::closing)?;
    let is_car = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|essence| essence.trim() == "application/vnd.ipld.car");
    if !is_car {
        return Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "a publish message is a CAR file",
            "send it with Content-Type: application/vnd.ipld.car",
        )
        .closing());
    }
    node.ingest
        .admit(&name, peer)
        .map_err(|error| refusal(error).closing())?;
    let mut message = node.ingest.receive();
    let mut upload = Upload::new(request, message.limit(), &node.config.http)?;
    while let Some(part) = upload.part().await? {
        message
            .push(&part)
            .map_err(|error| refusal(error).closing())?;
    }
    // A client that goes away now changes nothing: what it sent whole is stored whole.
    let node = Arc::clone(node);
    let stored = tokio::spawn(async move { node.ingest.publish(&name, message).await });
    let receipt = stored
        .await
        .map_err(|_| Refusal::internal())?
        .map_err(refusal)?;
    Ok(json(StatusCode::OK, &receipt))
}

/// The refusal a client sees for an error of the write door.
pub(super) fn refusal(error: IngestError) -> Refusal {
    use StatusCode as S;
    let message = chain(&error);
    match error {
        IngestError::NotAllowed => Refusal::new(
            S::FORBIDDEN,
            "not_allowed",
            message,
            "ask the node's operator to add the name to admission.allow",
        ),
        IngestError::TooOften { retry_after, .. } => Refusal::new(
            S::TOO_MANY_REQUESTS,
            "too_many_writes",
            message,
            "wait as long as Retry-After says, and gather changes into one publish",
        )
        .retry_after(retry_after),
        IngestError::Quota { .. } => Refusal::new(
            S::TOO_MANY_REQUESTS,
            "quota",
            message,
            "compact the log, use another node, or ask the operator to raise the quota",
        ),
        IngestError::Busy => Refusal::new(
            S::SERVICE_UNAVAILABLE,
            "busy",
            message,
            "try again after the time in Retry-After",
        )
        .retry_after(std::time::Duration::from_secs(1)),
        IngestError::Car(_) => Refusal::bad_request(
            "invalid_car",
            message,
            "send a CARv1 file whose blocks match their CIDs",
        ),
        IngestError::NotAMessage(_) => Refusal::bad_request(
            "invalid_message",
            message,
            "send CARv1 with the roots [head, record, rung…], the rungs right before the record, the record as its last block",
        ),
        IngestError::Record(error) => record_refusal(&error, message),
        IngestError::Ladder(_) => Refusal::new(
            S::UNPROCESSABLE_ENTITY,
            "invalid_ladder",
            message,
            "sign rungs of the record's sequence and value, each ending later than the one before",
        ),
        IngestError::NotFollowed => Refusal::not_found(
            message,
            "`perennis name list` shows which names are followed",
        ),
        IngestError::OtherHead { .. } => Refusal::new(
            S::UNPROCESSABLE_ENTITY,
            "head_mismatch",
            message,
            "sign a record whose value is /ipfs/ and the head's CID",
        ),
        IngestError::Head(_) => Refusal::new(
            S::UNPROCESSABLE_ENTITY,
            "invalid_head",
            message,
            "the head is an entry of the log, signed by a key its DID document lists",
        ),
        IngestError::Codec(_) => Refusal::new(
            S::UNPROCESSABLE_ENTITY,
            "invalid_block",
            message,
            "encode blocks canonically",
        ),
        IngestError::Missing { cids } => Refusal::new(
            S::UNPROCESSABLE_ENTITY,
            "missing_blocks",
            message,
            "send the message again with the blocks in `missing`",
        )
        .with_missing(cids),
        IngestError::Stale { .. } => Refusal::new(
            S::CONFLICT,
            "stale_record",
            message,
            "resolve the name, merge, and publish with a higher sequence",
        ),
        IngestError::Equivocation { .. } => Refusal::new(
            S::CONFLICT,
            "equivocation",
            message,
            "two devices published at once: resolve the name, merge, and publish with a higher sequence",
        ),
        IngestError::TooLarge(_) => Refusal::new(
            S::PAYLOAD_TOO_LARGE,
            "too_large",
            message,
            "publish in smaller steps: fewer changes at once",
        ),
        IngestError::Full => Refusal::new(
            S::INSUFFICIENT_STORAGE,
            "disk_full",
            message,
            "the node serves what it has; use another one until its operator makes room",
        ),
        IngestError::Read(error) => {
            tracing::error!(error = %chain(&error), "a write failed to read");
            Refusal::internal()
        }
        IngestError::Storage(StorageError::Gone) => gone(message),
        IngestError::Storage(error) => {
            tracing::error!(error = %chain(&error), "a write failed");
            Refusal::internal()
        }
    }
}

/// The node has lost its folder.
pub(super) fn gone(message: String) -> Refusal {
    Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "data_folder_gone",
        message,
        "use another node: what this one takes would be lost",
    )
}

fn record_refusal(error: &RecordError, message: String) -> Refusal {
    let hint = match error {
        RecordError::Expired { .. } => "sign a new record; check the clock of the device",
        RecordError::WrongKey | RecordError::BadSignature => {
            "sign the record with the key of the name in the path"
        }
        RecordError::V1Only => "sign a record of version 2",
        _ => "make the record as the IPNS specification says",
    };
    let status = match error {
        RecordError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::BAD_REQUEST,
    };
    let code = match error.code() {
        "malformed" => "malformed_record",
        "expired" => "expired_record",
        other => other,
    };
    Refusal::new(status, code, message, hint)
}
