//! `label undo` and `label discard`: taking changes back.

use perennis_shared::taglist::Op;
use serde::Serialize;

use super::waiting;
use crate::args::LabelUndo;
use crate::context::Context;
use crate::failure::Failure;
use crate::page::count;
use crate::session::{Session, failure_of};

/// Changes that a document tells.
const CHANGES_TOLD: usize = 1_000;

/// Changes that are shown to people.
const CHANGES_SHOWN: usize = 20;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UndoDocument {
    /// `staged` or `published`.
    undone: &'static str,
    changes: usize,
    labels: Vec<UndoneLabel>,
    staged: usize,
}

#[derive(Serialize)]
struct UndoneLabel {
    change: &'static str,
    handle: String,
    label: String,
}

impl From<&Op> for UndoneLabel {
    fn from(op: &Op) -> Self {
        let (key, label) = (op.key(), op.label());
        Self {
            change: if label.is_some() { "set" } else { "removed" },
            handle: label
                .map_or(key.handle(), |label| label.subject.handle)
                .to_string(),
            label: key.label().to_string(),
        }
    }
}

pub(super) async fn undo(context: &Context<'_>, arguments: &LabelUndo) -> Result<(), Failure> {
    let session = Session::open(context, &[]).await?;
    session.home.expect_identity()?;
    let client = &session.client;
    let (undone, ops) = match arguments.published {
        true => ("published", client.revert().await.map_err(failure_of!())?),
        false => ("staged", client.unstage().await.map_err(failure_of!())?),
    };
    if ops.is_empty() {
        let nothing = match arguments.published {
            true => Failure::not_found("nothing_to_undo", "the newest entry changes no label")
                .hint("see `perennis log show`"),
            false => Failure::not_found("nothing_to_undo", "no change waits to be published")
                .hint("take back what was published last with `perennis label undo --published`"),
        };
        return Err(nothing);
    }
    let document = UndoDocument {
        undone,
        changes: ops.len(),
        labels: ops.iter().take(CHANGES_TOLD).map(Into::into).collect(),
        staged: client.staged_count().await.map_err(failure_of!())?,
    };
    context.output.answer(&document, |page| {
        for label in document.labels.iter().take(CHANGES_SHOWN) {
            let verb = match (arguments.published, label.change) {
                (true, "set") => "as it was",
                (true, _) => "taken off again",
                (false, "set") => "not set",
                (false, _) => "not removed",
            };
            page.line(format!("{}  {}  {verb}", label.handle, label.label));
        }
        if document.changes > CHANGES_SHOWN {
            let more = count((document.changes - CHANGES_SHOWN) as u64, "more change");
            let more = page.paint.dim(format!("… and {more}"));
            page.line(more);
        }
        waiting(page, document.staged);
    })
}

#[derive(Serialize)]
struct DiscardDocument {
    discarded: usize,
}

pub(super) async fn discard(context: &Context<'_>) -> Result<(), Failure> {
    let session = Session::open(context, &[]).await?;
    session.home.expect_identity()?;
    let discarded = session.client.discard_staged().await;
    let document = DiscardDocument {
        discarded: discarded.map_err(failure_of!())?,
    };
    context.output.answer(&document, |page| {
        let changes = count(document.discarded as u64, "change");
        page.line(format!(
            "{changes} taken back: nothing waits to be published"
        ));
    })
}
