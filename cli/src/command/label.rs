//! `perennis label …`: changes are staged without a passphrase; `publish` signs them.

use perennis_sdk::client::{LabelFilter, LabelQuery, LabelScan, ListedLabel};
use perennis_sdk::store::Disk;
use perennis_shared::taglist::{FieldChange, Handle, Key, Label, Tag};
use perennis_shared::time::Millis;
use serde::{Serialize, Serializer};

use crate::args::{LabelCommand, LabelList};
use crate::context::Context;
use crate::failure::Failure;
use crate::page::{Page, count, plain};
use crate::session::{Session, block_on, failure_of, parse_did};
use crate::when::{now, relative};

mod edit;
mod export;
mod import;
mod proof;
mod undo;

/// Labels read at a time where a command needs all of them.
pub(crate) const PAGE_LABELS: usize = 5_000;

pub(crate) fn run(context: &Context<'_>, command: &LabelCommand) -> Result<(), Failure> {
    match command {
        LabelCommand::Add(arguments) => block_on(edit::add(context, arguments)),
        LabelCommand::Remove(arguments) => block_on(edit::remove(context, arguments)),
        LabelCommand::Undo(arguments) => block_on(undo::undo(context, arguments)),
        LabelCommand::Discard => block_on(undo::discard(context)),
        LabelCommand::List(arguments) => block_on(list(context, arguments)),
        LabelCommand::Import(arguments) => block_on(import::import(context, arguments)),
        LabelCommand::Export(arguments) => block_on(export::export(context, arguments)),
        LabelCommand::Prove(arguments) => block_on(proof::prove(context, arguments)),
        LabelCommand::Verify(arguments) => proof::verify(context, arguments),
    }
}

/// A label in documents.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LabelDocument {
    handle: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    label: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    colour: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    created: String,
    updated: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    negated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    staged: Option<bool>,
}

impl LabelDocument {
    pub(crate) fn new(label: &Label, staged: Option<bool>) -> Self {
        Self {
            handle: label.subject.handle.to_string(),
            user_id: label.subject.id.map(|id| id.to_string()),
            label: label.label.to_string(),
            colour: label.colour.map(|colour| colour.to_string()),
            note: label.note.as_ref().map(|note| note.as_str().to_owned()),
            source: label
                .source
                .as_ref()
                .map(|source| source.as_str().to_owned()),
            created: label.created.to_string(),
            updated: label.updated.to_string(),
            expires: label.expires.map(|end| end.to_string()),
            negated: label.negated,
            staged,
        }
    }
}

/// A part that is not what it was.
#[derive(Clone, Debug, Serialize)]
struct FieldDocument {
    field: &'static str,
    before: Option<String>,
    after: Option<String>,
}

impl From<FieldChange> for FieldDocument {
    fn from(change: FieldChange) -> Self {
        Self {
            field: change.field.as_str(),
            before: change.before,
            after: change.after,
        }
    }
}

impl FieldDocument {
    /// `note: "old" → "new"`
    fn text(&self) -> String {
        let shown = |value: &Option<String>| match value {
            Some(value) => plain(value),
            None => "none".to_owned(),
        };
        let (before, after) = (shown(&self.before), shown(&self.after));
        format!("{}: {before} → {after}", self.field)
    }
}

pub(crate) fn waiting(page: &mut Page, staged: usize) {
    let text = format!(
        "{} to publish: perennis publish",
        count(staged as u64, "change")
    );
    let text = page.paint.dim(text);
    page.line(text);
}

/// Labels that are written one by one: a list may have a million.
struct Labels {
    listed: Vec<ListedLabel>,
    own: bool,
}

impl Labels {
    fn documents(&self) -> impl Iterator<Item = LabelDocument> {
        self.listed.iter().map(|listed| {
            let staged = self.own.then_some(listed.staged);
            LabelDocument::new(&listed.label, staged)
        })
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.documents())
    }
}

#[derive(Serialize)]
struct ListDocument {
    did: String,
    head: Option<String>,
    labels: Labels,
    next: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    staged: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    damaged: Option<u64>,
}

async fn list(context: &Context<'_>, arguments: &LabelList) -> Result<(), Failure> {
    let filter = match &arguments.handle {
        Some(handle) => LabelFilter::Handle(parse_handle(handle)?),
        None => filter_of(arguments.prefix.as_deref())?,
    };
    let query = LabelQuery {
        filter,
        after: arguments.after.as_deref().map(parse_cursor).transpose()?,
        ..LabelQuery::default()
    };
    let session = Session::open_to_read(context, &arguments.nodes.urls).await?;
    let own = arguments.did.is_none();
    let (did, mut scan) = match &arguments.did {
        Some(did) => {
            let did = parse_did(did)?;
            let scan = session.client.scan_labels_of(&did, &query).await;
            let (_, scan) = scan.map_err(failure_of!())?;
            (did.to_string(), scan)
        }
        None => {
            let known = session.home.expect_identity()?;
            let scan = session.client.scan_labels(&query).await;
            (known.did, scan.map_err(failure_of!())?)
        }
    };
    let mut document = ListDocument::new(did, &scan, own);
    let limit = match arguments.all {
        true => usize::MAX,
        false => arguments.limit as usize,
    };
    let listed = &mut document.labels.listed;
    while listed.len() < limit {
        let several = PAGE_LABELS.min(limit - listed.len());
        let page = scan.next(several).await.map_err(failure_of!())?;
        if page.is_empty() {
            break;
        }
        listed.extend(page);
    }
    let last = listed.last().map(|listed| listed.label.key());
    if !arguments.all && !scan.next(1).await.map_err(failure_of!())?.is_empty() {
        document.next = last.as_ref().map(cursor_text);
    }
    if let Some(rows) = document.damaged {
        context.output.warn(format!(
            "{} of this home damaged or gone: changes that were not published may be missing here; see `perennis home check`",
            count(rows, "row")
        ));
    }
    context
        .output
        .answer(&document, |page| show_list(page, &document))
}

impl ListDocument {
    fn new(did: String, scan: &LabelScan<'_, Disk>, own: bool) -> Self {
        Self {
            did,
            head: scan.head.map(|cid| cid.to_string()),
            labels: Labels {
                listed: Vec::new(),
                own,
            },
            next: None,
            staged: own.then_some(scan.staged),
            damaged: Some(scan.damaged).filter(|rows| *rows > 0),
        }
    }
}

fn show_list(page: &mut Page, document: &ListDocument) {
    let labels = document.labels.listed.len();
    if labels == 0 {
        page.line("no labels");
    } else {
        let moment = now();
        let rows: Vec<Vec<String>> = document
            .labels
            .documents()
            .map(|label| row(&label, moment))
            .collect();
        page.table(&["HANDLE", "LABEL", "ENDS", "NOTE", ""], &rows);
    }
    let mut remarks = vec![count(labels as u64, "label")];
    if let Some(staged @ 1..) = document.staged {
        remarks.push(format!("{} to publish", count(staged as u64, "change")));
    }
    if let Some(next) = &document.next {
        remarks.push(format!("more with --after {next}"));
    }
    let remarks = page.paint.dim(remarks.join(", "));
    page.line(remarks);
}

fn row(label: &LabelDocument, moment: Millis) -> Vec<String> {
    let ends = label
        .expires
        .as_deref()
        .and_then(|end| Millis::parse_rfc3339(end).ok())
        .map_or_else(String::new, |end| relative(end, moment));
    let name = if label.negated {
        format!("not {}", label.label)
    } else {
        label.label.clone()
    };
    let state = match label.staged {
        Some(true) => "staged",
        _ => "",
    };
    vec![
        label.handle.clone(),
        name,
        ends,
        label.note.as_deref().map_or_else(String::new, plain),
        state.to_owned(),
    ]
}

/// Every own label that the filter lets, those that have ended too.
async fn labels_by(session: &Session, filter: LabelFilter) -> Result<Vec<Label>, Failure> {
    let query = LabelQuery {
        filter,
        with_expired: true,
        ..LabelQuery::default()
    };
    let scan = session.client.scan_labels(&query).await;
    let mut scan = scan.map_err(failure_of!())?;
    let mut labels = Vec::new();
    loop {
        let page = scan.next(PAGE_LABELS).await.map_err(failure_of!())?;
        if page.is_empty() {
            return Ok(labels);
        }
        labels.extend(page.into_iter().map(|listed| listed.label));
    }
}

pub(crate) fn filter_of(prefix: Option<&str>) -> Result<LabelFilter, Failure> {
    match prefix {
        None => Ok(LabelFilter::All),
        Some(text) => {
            let bare = text.strip_prefix('@').unwrap_or(text);
            if !bare.is_empty() {
                parse_handle(bare)?;
            }
            Ok(LabelFilter::HandlesFrom(text.to_owned()))
        }
    }
}

fn parse_handle(text: &str) -> Result<Handle, Failure> {
    Handle::parse(text).map_err(|error| {
        Failure::invalid("invalid_handle", format!("not a handle: {}", plain(text)))
            .because(&error)
            .hint("write it as @name: letters, digits and underscores, at most 15; or # and the account's number")
    })
}

fn parse_tags(texts: &[String]) -> Result<Vec<Tag>, Failure> {
    texts
        .iter()
        .map(|text| {
            Tag::parse(text).map_err(|error| {
                Failure::invalid("invalid_label", format!("not a label: {}", plain(text)))
                    .because(&error)
                    .hint("write lower-case letters, digits and hyphens, at most 50: spam, crypto-scam")
            })
        })
        .collect()
}

/// A place in a list as text: `@handle/label`.
fn cursor_text(key: &Key) -> String {
    format!("{}/{}", key.handle(), key.label())
}

fn parse_cursor(text: &str) -> Result<Key, Failure> {
    text.split_once('/')
        .and_then(|(handle, label)| {
            Some(Key::new(
                &Handle::parse(handle).ok()?,
                &Tag::parse(label).ok()?,
            ))
        })
        .ok_or_else(|| {
            Failure::usage(format!("not a place in a list: {}", plain(text)))
                .hint("give --after the `next` of the page before, such as @name/label")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text() {
        let key = Key::new(
            &Handle::parse("@some_one").unwrap(),
            &Tag::parse("crypto-scam").unwrap(),
        );
        assert_eq!(parse_cursor(&cursor_text(&key)).unwrap(), key);
        assert_eq!(parse_cursor("@nobody").unwrap_err().code, "usage");
    }
}
