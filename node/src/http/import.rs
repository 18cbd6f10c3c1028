//! `/v1/imported`: CAR files of anybody, whose roots the operator pins under a name.
//!
//! What is wrong with a file is an answer of its own while it is received. Once it is here, the answer is JSON lines: progress of the
//! look at what is below its roots, and at its end what was kept and what not. When the caller goes away before the whole file was
//! sent, nothing is pinned; afterwards the import goes on to its end.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::poll_fn;
use hyper::StatusCode;
use hyper::header::HeaderValue;
use perennis_rt as rt;
use perennis_shared::cid::Cid;
use perennis_shared::codec::car::CarError;
use perennis_shared::error::{Retryable as _, chain};
use serde::Serialize;
use tokio::sync::{mpsc, watch};

use super::answer::{Answer, Body, BrokenOff, answer};
use super::call::Call;
use super::document::json;
use super::media::content_type;
use super::page_query::PageQuery;
use super::parameter::parse_block_cid;
use super::query;
use super::refusal::{ClientError as _, Refusal};
use super::upload::Upload;
use crate::ingest::{ImportOutcome, ImportWish, LookProgress};
use crate::storage::{Imported, ImportedState, ShortfallKind};

/// Longest name of a pin, in bytes, as the Pinning Service API has it.
const NAME_BYTES: usize = 255;

/// Most roots that a call may name.
const ROOTS: usize = 64;

/// Time between two lines about the progress.
const STEP: Duration = Duration::from_millis(200);

/// What helps where a file is too large.
const SMALLER_FILE: &str = "import it in parts, or have the node's operator raise import.max-size";

const CAR: &str = "application/vnd.ipld.car";
const LINES: HeaderValue = HeaderValue::from_static("application/x-ndjson");

/// One line of an import.
#[derive(Serialize)]
#[serde(
    tag = "event",
    rename_all = "lowercase",
    rename_all_fields = "camelCase"
)]
enum Line<'a> {
    Progress {
        /// Blocks below the roots that were looked at.
        blocks: u64,
        /// Those that are missing.
        missing_blocks: u64,
    },
    Done(Done<'a>),
    Failed {
        code: &'a str,
        /// What the caller may do: retry, reject, corrupt or fatal.
        kind: &'static str,
        message: String,
        hint: &'a str,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Done<'a> {
    /// Whether the roots are pinned.
    kept: bool,
    name: &'a str,
    version: u64,
    roots: Vec<Root>,
    /// Whether the file named no roots, so that they are those blocks to which no other of it links.
    roots_found: bool,
    blocks: u64,
    bytes: u64,
    new_blocks: u64,
    new_bytes: u64,
    missing_blocks: u64,
    /// The first of those.
    missing: Vec<String>,
    refused_blocks: u64,
    /// What is wrong with the first of those.
    refused: &'a [String],
    /// Blocks to which no root leads: nothing holds them.
    unreached_blocks: u64,
    empty_sections: u64,
    /// Where the file breaks off.
    truncated: Option<Truncated>,
    index_missing: bool,
    seconds: f64,
}

#[derive(Serialize)]
struct Truncated {
    /// Its length.
    offset: u64,
    /// Where the section begins that is not whole.
    section: u64,
}

#[derive(Serialize)]
struct Root {
    cid: String,
    state: &'static str,
    problem: Option<Problem>,
}

/// Why a root is not known to be here whole, and what to do about it.
#[derive(Serialize)]
struct Problem {
    code: &'static str,
    /// Which block it is about, the first of several.
    block: String,
    message: String,
    hint: &'static str,
}

impl Problem {
    fn of(state: ImportedState) -> Option<Problem> {
        let (code, block, message, hint) = match state {
            ImportedState::Pinned => return None,
            ImportedState::Opaque(block) => (
                "opaque",
                block,
                format!("the links of block {block} cannot be read"),
                ShortfallKind::Opaque.hint(),
            ),
            ImportedState::Incomplete(block) => (
                "missing",
                block,
                format!("block {block} is not here"),
                "fetch the root (perennis fetch CID), or import a file that has it",
            ),
        };
        Some(Problem {
            code,
            block: block.to_string(),
            message,
            hint,
        })
    }
}

impl Root {
    fn new(root: &Cid, state: ImportedState) -> Root {
        Root {
            cid: root.to_string(),
            state: state.name(),
            problem: Problem::of(state),
        }
    }
}

/// Receives a file, and pins its roots.
pub(super) async fn import(call: Call) -> Result<Answer, Refusal> {
    let wish = wish(&call).map_err(Refusal::closing)?;
    let Call { node, request, .. } = call;
    let sent = content_type(request.headers());
    if !sent.is_some_and(|sent| sent.is_one_of(&[CAR])) {
        return Err(Refusal::new(
            "unsupported_media_type",
            "what is imported is a CAR file",
            "send it with Content-Type: application/vnd.ipld.car",
        )
        .closing());
    }
    let started = rt::monotonic();
    let limit = node.ingest.import_bytes();
    let mut upload = Upload::of_file(request, limit, SMALLER_FILE, &node.config.http)?;
    let name = wish.name.clone();
    let begun = node.ingest.begin_import(wish).await;
    let mut import = begun.map_err(|error| Refusal::from(error).closing())?;
    while let Some(part) = upload.part().await? {
        let taken = import.push(&part).await;
        taken.map_err(|error| Refusal::from(error).closing())?;
    }
    let received = import.finish().await?;
    let (lines, mut told) = mpsc::channel(16);
    let (seen, progress) = watch::channel(LookProgress::default());
    tokio::spawn(async move {
        let pinning = received.pin(move |step| {
            seen.send_replace(step);
        });
        let outcome = tell_until(pinning, progress, &lines).await;
        let took = rt::monotonic().saturating_sub(started);
        let last = match &outcome {
            Ok(outcome) => {
                if outcome.is_kept {
                    for (root, _) in &outcome.roots {
                        node.reprovide.soon(*root);
                    }
                }
                line(&Line::Done(done(&name, outcome, took)))
            }
            Err(error) => line(&Line::Failed {
                code: error.code(),
                kind: error.kind().word(),
                message: chain(error),
                hint: error.hint(),
            }),
        };
        let _ = lines.send(Ok(last)).await;
    });
    let body = poll_fn(move |context| told.poll_recv(context));
    Ok(answer(StatusCode::OK, LINES, Body::Stream(Box::pin(body))))
}

fn wish(call: &Call) -> Result<ImportWish, Refusal> {
    let query = call.query();
    let name = name_in(query)?.unwrap_or_default();
    let roots = query::values(query, "root")?;
    if roots.len() > ROOTS {
        let message = format!("at most {ROOTS} roots can be named");
        let hint = "import the file once for each lot of them, or have it name them itself";
        return Err(Refusal::new("invalid_query", message, hint));
    }
    let roots = roots.iter().map(|root| parse_block_cid(root));
    let is_partial = match query::value(query, "partial")?.as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => {
            let message = "`partial` is neither true nor false";
            return Err(Refusal::new("invalid_query", message, "correct it"));
        }
    };
    Ok(ImportWish {
        name,
        roots: roots.collect::<Result<_, _>>()?,
        is_partial,
    })
}

/// The name of pins in a query.
fn name_in(query: Option<&str>) -> Result<Option<String>, Refusal> {
    let Some(name) = query::value(query, "name")? else {
        return Ok(None);
    };
    if name.len() > NAME_BYTES || name.chars().any(char::is_control) {
        return Err(Refusal::new(
            "invalid_name",
            format!("the name of a pin has at most {NAME_BYTES} bytes and no control characters"),
            "choose a shorter one, in one line",
        ));
    }
    Ok(Some(name.into_owned()))
}

/// Works to the end and writes a line now and then as long as somebody reads them.
async fn tell_until<T>(
    work: impl Future<Output = T>,
    progress: watch::Receiver<LookProgress>,
    lines: &mpsc::Sender<Result<Bytes, BrokenOff>>,
) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = work.as_mut() => return done,
            () = tokio::time::sleep(STEP) => {}
        }
        let LookProgress { blocks, missing } = *progress.borrow();
        let line = line(&Line::Progress {
            blocks,
            missing_blocks: missing,
        });
        // Who does not read gets the next one.
        let _ = lines.try_send(Ok(line));
    }
}

fn done<'a>(name: &'a str, outcome: &'a ImportOutcome, took: Duration) -> Done<'a> {
    let tally = &outcome.tally;
    let truncated = match tally.cut {
        Some(CarError::Truncated { offset, section }) => Some(Truncated { offset, section }),
        _ => None,
    };
    let root = |(root, state): &(Cid, ImportedState)| Root::new(root, *state);
    Done {
        kept: outcome.is_kept,
        name,
        version: tally.version,
        roots: outcome.roots.iter().map(root).collect(),
        roots_found: tally.roots_are_found,
        blocks: tally.blocks,
        bytes: tally.bytes,
        new_blocks: tally.new_blocks,
        new_bytes: tally.new_bytes,
        missing_blocks: outcome.missing_blocks,
        missing: outcome.missing.iter().map(Cid::to_string).collect(),
        refused_blocks: tally.refused_blocks,
        refused: &tally.refused,
        unreached_blocks: outcome.unreached_blocks,
        empty_sections: tally.empty_sections,
        truncated,
        index_missing: tally.lacks_index,
        seconds: took.as_secs_f64(),
    }
}

fn line(line: &Line<'_>) -> Bytes {
    let mut text = serde_json::to_vec(line).unwrap_or_default();
    text.push(b'\n');
    text.into()
}

#[derive(Serialize)]
struct List {
    imported: Vec<Pin>,
    next: Option<String>,
}

#[derive(Serialize)]
struct Pin {
    #[serde(flatten)]
    root: Root,
    name: String,
    at: String,
}

impl Pin {
    fn new(imported: &Imported) -> Pin {
        Pin {
            root: Root::new(&imported.root, imported.state),
            name: imported.name.clone(),
            at: imported.at.to_string(),
        }
    }
}

/// A page of the roots that were imported and are kept.
pub(super) async fn list(call: Call) -> Result<Answer, Refusal> {
    let limit = PageQuery::parse_limit(call.query())?;
    let after = match query::value(call.query(), "after")?.as_deref() {
        None | Some("") => None,
        Some(cursor) => Some(parse_cursor(cursor)?),
    };
    let rows = call.node.storage().imported(after, limit).await?;
    let next = rows
        .last()
        .filter(|_| rows.len() == limit)
        .map(|row| multibase::encode(multibase::Base::Base64Url, row.key()));
    let imported = rows.iter().map(Pin::new).collect();
    Ok(json(StatusCode::OK, &List { imported, next }))
}

fn parse_cursor(cursor: &str) -> Result<Vec<u8>, Refusal> {
    let decoded = multibase::decode(cursor).ok();
    let key = decoded
        .filter(|(base, _)| *base == multibase::Base::Base64Url)
        .map(|(_, key)| key)
        .filter(|key| Imported::is_key(key));
    key.ok_or_else(|| {
        Refusal::new(
            "invalid_cursor",
            "`after` is no cursor of ours",
            "give the `next` of the page before, or leave it out",
        )
    })
}

#[derive(Serialize)]
struct Removed {
    cid: String,
    removed: usize,
}

/// Keeps a root no longer for having been imported; its blocks are collected when nothing else holds them.
pub(super) async fn remove(call: Call) -> Result<Answer, Refusal> {
    let cid = parse_block_cid(&call.parameter)?;
    let name = name_in(call.query())?;
    let removed = call.node.ingest.remove_imported(&cid, name).await?;
    if removed == 0 {
        let message = format!("{cid} was not imported under that name, or not at all");
        let hint = "GET /v1/imported lists what was";
        return Err(Refusal::not_found(message, hint));
    }
    let cid = cid.to_string();
    Ok(json(StatusCode::OK, &Removed { cid, removed }))
}
