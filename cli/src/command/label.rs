//! `perennis label …`: changes are staged without a passphrase; `publish` signs them.

use perennis_sdk::client::{LabelFilter, LabelPage, LabelQuery, ListedLabel};
use perennis_shared::taglist::{Colour, Handle, Key, Label, LabelError, Note, Op, Source, Tag};
use perennis_shared::time::Millis;
use serde::Serialize;

use crate::args::{LabelAdd, LabelCommand, LabelList, LabelRemove};
use crate::context::Context;
use crate::failure::Failure;
use crate::page::{Page, count, plain};
use crate::session::{Session, block_on, failure_of, parse_did};
use crate::when::{now, parse_moment, relative};

mod exchange;
mod proof;

/// Labels read at a time where a command needs all of them.
pub(crate) const PAGE_LABELS: usize = 5_000;

pub(crate) fn run(context: &Context<'_>, command: &LabelCommand) -> Result<(), Failure> {
    match command {
        LabelCommand::Add(arguments) => block_on(add(context, arguments)),
        LabelCommand::Remove(arguments) => block_on(remove(context, arguments)),
        LabelCommand::List(arguments) => block_on(list(context, arguments)),
        LabelCommand::Import(arguments) => block_on(exchange::import(context, arguments)),
        LabelCommand::Export(arguments) => block_on(exchange::export(context, arguments)),
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
    user_id: Option<u64>,
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
            user_id: label.subject.id,
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

#[derive(Serialize)]
struct AddDocument {
    labels: Vec<LabelDocument>,
    staged: usize,
}

async fn add(context: &Context<'_>, arguments: &LabelAdd) -> Result<(), Failure> {
    let moment = now();
    let handle = parse_handle(&arguments.handle)?;
    let tags = parse_tags(&arguments.labels)?;
    let template = read_label(arguments, handle, moment)?;
    let session = Session::open(context, &[]).await?;
    let known = labels_on(&session, handle).await?;
    let labels: Vec<Label> = tags
        .into_iter()
        .map(|tag| {
            let before = known.iter().find(|label| label.label == tag);
            Label {
                created: before.map_or(moment, |label| label.created),
                label: tag,
                ..template.clone()
            }
        })
        .collect();
    let ops: Vec<Op> = labels.iter().cloned().map(Op::Set).collect();
    let staged = session.client.stage(&ops).await.map_err(failure_of!())?;
    let document = AddDocument {
        labels: labels
            .iter()
            .map(|label| LabelDocument::new(label, Some(true)))
            .collect(),
        staged,
    };
    context.output.answer(&document, |page| {
        for label in &labels {
            page.line(format!("{}  {}", label.subject.handle, label.label));
        }
        waiting(page, staged);
    })
}

/// Everything of a label that the flags say; its tag comes later.
fn read_label(arguments: &LabelAdd, handle: Handle, moment: Millis) -> Result<Label, Failure> {
    let first = parse_tags(&arguments.labels)?.swap_remove(0);
    let mut label = Label::new(handle, first, moment);
    label.subject.id = arguments.user_id;
    label.colour = parse_optional(arguments.colour.as_deref(), Colour::parse)?;
    label.note = parse_optional(arguments.note.as_deref(), Note::parse)?;
    label.source = parse_optional(arguments.source.as_deref(), Source::parse)?;
    label.negated = arguments.negate;
    label.expires = match &arguments.expires {
        Some(text) => Some(parse_moment(text, moment, "--expires")?),
        None => None,
    };
    Ok(label)
}

#[derive(Serialize)]
struct RemovedLabel {
    handle: String,
    label: String,
}

#[derive(Serialize)]
struct RemoveDocument {
    removed: Vec<RemovedLabel>,
    staged: usize,
}

async fn remove(context: &Context<'_>, arguments: &LabelRemove) -> Result<(), Failure> {
    let handle = parse_handle(&arguments.handle)?;
    let tags = parse_tags(&arguments.labels)?;
    let session = Session::open(context, &[]).await?;
    let known = labels_on(&session, handle).await?;
    let absent: Vec<&Tag> = tags
        .iter()
        .filter(|tag| !known.iter().any(|label| label.label == **tag))
        .collect();
    if let Some(tag) = absent.first() {
        return Err(
            Failure::not_found("label_not_found", format!("{handle} has no label {tag}"))
                .hint("see `perennis label list --prefix @HANDLE`; nothing was removed"),
        );
    }
    let removed: Vec<&Label> = known
        .iter()
        .filter(|label| arguments.all || tags.contains(&label.label))
        .collect();
    if removed.is_empty() {
        return Err(
            Failure::not_found("label_not_found", format!("{handle} has no labels"))
                .hint("see `perennis label list`"),
        );
    }
    let ops: Vec<Op> = removed
        .iter()
        .map(|label| Op::Remove(label.key()))
        .collect();
    let staged = session.client.stage(&ops).await.map_err(failure_of!())?;
    let document = RemoveDocument {
        removed: removed
            .iter()
            .map(|label| RemovedLabel {
                handle: label.subject.handle.to_string(),
                label: label.label.to_string(),
            })
            .collect(),
        staged,
    };
    context.output.answer(&document, |page| {
        for label in &document.removed {
            page.line(format!("{}  {}  removed", label.handle, label.label));
        }
        waiting(page, staged);
    })
}

fn waiting(page: &mut Page, staged: usize) {
    let text = format!(
        "{} to publish: perennis publish",
        count(staged as u64, "change")
    );
    let text = page.paint.dim(text);
    page.line(text);
}

#[derive(Serialize)]
struct ListDocument {
    did: String,
    head: Option<String>,
    labels: Vec<LabelDocument>,
    next: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    staged: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    damaged: Option<u64>,
}

async fn list(context: &Context<'_>, arguments: &LabelList) -> Result<(), Failure> {
    let session = Session::open(context, &arguments.nodes.urls).await?;
    let mut query = LabelQuery {
        filter: filter_of(arguments.prefix.as_deref())?,
        after: arguments.after.as_deref().map(parse_cursor).transpose()?,
        limit: if arguments.all {
            PAGE_LABELS
        } else {
            arguments.limit as usize
        },
        ..LabelQuery::default()
    };
    let mut document = None;
    loop {
        let (page, more) = match &arguments.did {
            Some(did) => foreign_page(&session, did, &query).await?,
            None => own_page(&session, &query).await?,
        };
        let document = document.get_or_insert_with(|| ListDocument {
            labels: Vec::new(),
            ..more
        });
        let own = arguments.did.is_none();
        document.labels.extend(
            page.labels
                .iter()
                .map(|listed| LabelDocument::new(&listed.label, own.then_some(listed.staged))),
        );
        document.next = page.next.as_ref().map(cursor_text);
        match page.next {
            Some(next) if arguments.all => query.after = Some(next),
            _ => break,
        }
    }
    let Some(document) = document else {
        return Ok(());
    };
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

async fn own_page(
    session: &Session,
    query: &LabelQuery,
) -> Result<(LabelPage, ListDocument), Failure> {
    let known = session.home.expect_identity()?;
    let page = session.client.labels(query).await.map_err(failure_of!())?;
    let document = ListDocument {
        did: known.did,
        head: page.head.map(|cid| cid.to_string()),
        labels: Vec::new(),
        next: None,
        staged: Some(page.staged),
        damaged: Some(page.damaged).filter(|rows| *rows > 0),
    };
    Ok((page, document))
}

async fn foreign_page(
    session: &Session,
    did: &str,
    query: &LabelQuery,
) -> Result<(LabelPage, ListDocument), Failure> {
    let did = parse_did(did)?;
    let foreign = session
        .client
        .labels_of(&did, query)
        .await
        .map_err(failure_of!())?;
    let document = ListDocument {
        did: did.to_string(),
        head: Some(foreign.resolved.head.to_string()),
        labels: Vec::new(),
        next: None,
        staged: None,
        damaged: None,
    };
    Ok((foreign.page, document))
}

fn show_list(page: &mut Page, document: &ListDocument) {
    if document.labels.is_empty() {
        page.line("no labels");
    } else {
        let moment = now();
        let rows: Vec<Vec<String>> = document
            .labels
            .iter()
            .map(|label| row(label, moment))
            .collect();
        page.table(&["HANDLE", "LABEL", "ENDS", "NOTE", ""], &rows);
    }
    let mut remarks = vec![count(document.labels.len() as u64, "label")];
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

/// Every own label on a handle, those that have ended too.
async fn labels_on(session: &Session, handle: Handle) -> Result<Vec<Label>, Failure> {
    let query = LabelQuery {
        filter: LabelFilter::Handle(handle),
        limit: PAGE_LABELS,
        with_expired: true,
        ..LabelQuery::default()
    };
    let page = session.client.labels(&query).await.map_err(failure_of!())?;
    Ok(page
        .labels
        .into_iter()
        .map(|listed: ListedLabel| listed.label)
        .collect())
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
            .hint("write it as @name: letters, digits and underscores, at most 15")
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

fn parse_optional<T>(
    text: Option<&str>,
    parse: impl Fn(&str) -> Result<T, LabelError>,
) -> Result<Option<T>, Failure> {
    text.map(|text| {
        parse(text).map_err(|error| {
            Failure::invalid("invalid_label", format!("not allowed: {}", plain(text)))
                .because(&error)
                .hint("see `perennis label add --help`")
        })
    })
    .transpose()
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
