//! `perennis label …`: changes are staged without a passphrase; `publish` signs them.

use perennis_sdk::client::{LabelFilter, LabelQuery};
use perennis_shared::taglist::{FieldChange, Handle, Key, Label, Tag};
use perennis_shared::time::Millis;
use serde::Serialize;

use crate::args::LabelCommand;
use crate::context::Context;
use crate::failure::Failure;
use crate::page::{Page, count, plain};
use crate::session::{Session, block_on, failure_of};

mod edit;
mod export;
mod import;
mod list;
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
        LabelCommand::List(arguments) => block_on(list::list(context, arguments)),
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

/// Times as text. Those of labels that were imported together are the same.
#[derive(Default)]
struct TimeTexts(Option<(Millis, String)>);

impl TimeTexts {
    fn text(&mut self, time: Millis) -> String {
        match &self.0 {
            Some((last, text)) if *last == time => text.clone(),
            _ => {
                let text = time.to_string();
                self.0 = Some((time, text.clone()));
                text
            }
        }
    }
}

impl LabelDocument {
    pub(crate) fn new(label: &Label, staged: Option<bool>) -> Self {
        Self::with_times(label, staged, &mut TimeTexts::default())
    }

    fn with_times(label: &Label, staged: Option<bool>, times: &mut TimeTexts) -> Self {
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
            created: times.text(label.created),
            updated: times.text(label.updated),
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
        tracing::debug!(%error, "not a handle");
        Failure::invalid("invalid_handle", format!("not a handle: {}", plain(text))).hint("write it as @name: letters, digits and underscores, at most 15; or # and the account's number")
    })
}

fn parse_tags(texts: &[String]) -> Result<Vec<Tag>, Failure> {
    texts
        .iter()
        .map(|text| {
            Tag::parse(text).map_err(|error| {
                tracing::debug!(%error, "not a label");
                Failure::invalid("invalid_label", format!("not a label: {}", plain(text))).hint(
                    "write lower-case letters, digits and hyphens, at most 50: spam, crypto-scam",
                )
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
