//! `perennis log show`, `log compact` and `perennis diff`: what was signed, and what changed.

use perennis_sdk::client::{KEEP_REMOVED, PublishOptions};
use perennis_shared::cid::Cid;
use perennis_shared::did::Did;
use perennis_shared::log::{Entry, EntryKind};
use perennis_shared::uri;
use serde::Serialize;

use super::label::{LabelDocument, PAGE_LABELS};
use super::publish::{PublishDocument, document, send};
use crate::args::{Diff, LogCommand, LogCompact, LogShow};
use crate::ask::tokens_of;
use crate::context::Context;
use crate::failure::{Failure, with_cause};
use crate::page::{count, plain};
use crate::session::{Session, block_on, failure_of, parse_did};
use crate::unlock::unlock;
use crate::when::{now, relative};

pub(crate) fn run(context: &Context<'_>, command: &LogCommand) -> Result<(), Failure> {
    match command {
        LogCommand::Show(arguments) => block_on(show(context, arguments)),
        LogCommand::Compact(arguments) => block_on(compact(context, arguments)),
    }
}

#[derive(Serialize)]
struct LogDocument {
    did: String,
    head: Option<String>,
    entries: Vec<EntryDocument>,
    complete: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    staged: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<Vec<String>>,
}

#[derive(Serialize)]
struct EntryDocument {
    cid: String,
    kind: &'static str,
    sequence: u64,
    time: String,
    device: String,
    changes: u64,
    root: Option<String>,
    previous: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compacted: Option<String>,
}

impl From<&Entry> for EntryDocument {
    fn from(entry: &Entry) -> Self {
        Self {
            cid: entry.cid().to_string(),
            kind: match entry.kind() {
                EntryKind::Change => "entry",
                EntryKind::Merge => "merge",
                EntryKind::Compaction => "compaction",
            },
            sequence: entry.seq(),
            time: entry.clock().millis().to_string(),
            device: Did::from_key(entry.key()).to_string(),
            changes: entry.changes(),
            root: entry.root().map(|root| root.to_string()),
            previous: entry.prev().iter().map(Cid::to_string).collect(),
            compacted: entry.compacts().map(Cid::to_string),
        }
    }
}

async fn show(context: &Context<'_>, arguments: &LogShow) -> Result<(), Failure> {
    let session = Session::open_to_read(context, &arguments.nodes.urls).await?;
    let limit = arguments.limit as usize;
    let (did, entries, own) = match &arguments.did {
        Some(did) => {
            let did = parse_did(did)?;
            let entries = session.client.history_of(&did, limit).await;
            (did.to_string(), entries.map_err(failure_of!())?, None)
        }
        None => {
            let did = session.home.expect_identity()?.did;
            let own = session.client.backup().await.map_err(failure_of!())?;
            let entries = match own.head {
                Some(_) => session.client.history(limit).await.map_err(failure_of!())?,
                None => Vec::new(),
            };
            (did, entries, Some(own))
        }
    };
    let moment = now();
    let document = LogDocument {
        did,
        head: entries.first().map(|entry| entry.cid().to_string()),
        entries: entries.iter().map(EntryDocument::from).collect(),
        complete: entries.last().is_none_or(|entry| entry.prev().is_empty()),
        staged: own.as_ref().map(|own| own.staged),
        waiting: own.map(|own| own.waiting.iter().map(ToString::to_string).collect()),
    };
    context.output.answer(&document, |page| {
        let rows: Vec<Vec<String>> = entries
            .iter()
            .zip(&document.entries)
            .map(|(entry, shown)| {
                vec![
                    shown.sequence.to_string(),
                    relative(entry.clock().millis(), moment),
                    shown.kind.to_owned(),
                    count(shown.changes, "change"),
                    shown.cid.clone(),
                ]
            })
            .collect();
        page.table(&["ENTRY", "WHEN", "KIND", "WHAT", "CID"], &rows);
        let foot = if document.complete {
            "that is the whole log"
        } else {
            "more with --limit"
        };
        let foot = page.paint.dim(foot);
        page.line(foot);
        if let Some(staged @ 1..) = document.staged {
            super::label::waiting(page, staged);
        }
        for url in document.waiting.iter().flatten() {
            let line = page.paint.warn(format!(
                "{} has not stored the newest state: `perennis publish` sends it again",
                plain(url)
            ));
            page.line(line);
        }
    })
}

#[derive(Serialize)]
struct CompactDocument {
    #[serde(flatten)]
    published: PublishDocument,
    before: String,
}

async fn compact(context: &Context<'_>, arguments: &LogCompact) -> Result<(), Failure> {
    let session = Session::open(context, &arguments.nodes.urls).await?;
    let options = PublishOptions {
        tokens: tokens_of(&session, &arguments.token)?,
        ..PublishOptions::default()
    };
    let known = session.home.expect_identity()?;
    let before = session.client.backup().await.map_err(failure_of!())?.head;
    let before = before.ok_or_else(|| {
        Failure::not_found("empty_log", "there is no log yet").hint("run `perennis publish` first")
    })?;
    let identity = unlock(context, &session.home, &known)?;
    let spinner = context.output.spinner("compacting and publishing");
    let published = async {
        session
            .client
            .compact(&identity, KEEP_REMOVED)
            .await
            .map_err(failure_of!())?;
        session
            .client
            .publish(&identity, &session.nodes, &options)
            .await
            .map_err(failure_of!())
    };
    let published = published.await;
    spinner.finish_and_clear();
    let outcome = published?;
    let told = CompactDocument {
        published: document(&known.did, &outcome),
        before: before.to_string(),
    };
    send(context, &session, &outcome, &told, &told.published)
}

#[derive(Serialize)]
struct DiffDocument {
    old: String,
    new: String,
    added: usize,
    changed: usize,
    removed: usize,
    changes: Vec<ChangeDocument>,
}

#[derive(Serialize)]
struct ChangeDocument {
    change: &'static str,
    handle: String,
    label: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<LabelDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<LabelDocument>,
}

pub(crate) fn run_diff(context: &Context<'_>, arguments: &Diff) -> Result<(), Failure> {
    block_on(diff(context, arguments))
}

async fn diff(context: &Context<'_>, arguments: &Diff) -> Result<(), Failure> {
    let session = Session::open_to_read(context, &arguments.nodes.urls).await?;
    let did = match &arguments.did {
        Some(did) => parse_did(did)?,
        None => parse_did(&session.home.expect_identity()?.did)?,
    };
    let old = place(&session, &did, &arguments.old, arguments.did.is_some()).await?;
    let new = place(&session, &did, &arguments.new, arguments.did.is_some()).await?;
    let mut changes = Vec::new();
    let mut after = None;
    loop {
        let page = session
            .client
            .diff(&did, Some(&old), &new, after.as_ref(), PAGE_LABELS)
            .await
            .map_err(failure_of!())?;
        changes.extend(page.items.into_iter().map(|change| ChangeDocument {
            change: match (&change.before, &change.after) {
                (None, _) => "added",
                (Some(_), Some(_)) => "changed",
                (Some(_), None) => "removed",
            },
            handle: change.key.handle().to_string(),
            label: change.key.label().to_string(),
            before: change.before.map(|label| LabelDocument::new(&label, None)),
            after: change.after.map(|label| LabelDocument::new(&label, None)),
        }));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    let number = |kind: &str| {
        changes
            .iter()
            .filter(|change| change.change == kind)
            .count()
    };
    let document = DiffDocument {
        old: old.to_string(),
        new: new.to_string(),
        added: number("added"),
        changed: number("changed"),
        removed: number("removed"),
        changes,
    };
    context.output.answer(&document, |page| {
        for change in &document.changes {
            let line = format!("{} {}", change.handle, change.label);
            let line = match change.change {
                "added" => page.paint.good(format!("+ {line}")),
                "removed" => page.paint.bad(format!("- {line}")),
                _ => page.paint.warn(format!("~ {line}")),
            };
            page.line(line);
        }
        let foot = format!(
            "{} added, {} changed, {} removed",
            document.added, document.changed, document.removed
        );
        let foot = page.paint.dim(foot);
        page.line(foot);
    })
}

/// A log entry by its CID, or the newest one by `head`.
async fn place(session: &Session, did: &Did, text: &str, is_foreign: bool) -> Result<Cid, Failure> {
    if text != "head" {
        return uri::parse_cid(text).map_err(|error| {
            Failure::usage(format!("not a CID: {}", plain(text)))
                .hint(format!("{}; see `perennis log show`", with_cause(&error)))
        });
    }
    if is_foreign {
        return Ok(session
            .client
            .resolve_list(did, &[])
            .await
            .map_err(failure_of!())?
            .head);
    }
    let head = session.client.backup().await.map_err(failure_of!())?.head;
    head.ok_or_else(|| {
        Failure::not_found("empty_log", "there is no log yet").hint("run `perennis publish` first")
    })
}
