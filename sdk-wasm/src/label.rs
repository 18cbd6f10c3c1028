//! Labels in JavaScript: what a caller says of one, and pages of a list.

use js_sys::{Array, Object};
use perennis_sdk::client::{LabelFilter, LabelPage, LabelQuery, ListedLabel};
use perennis_shared::taglist::{Field, Handle, Key, LabelEdit, Note, Source, Tag};
use perennis_shared::time::Millis;
use wasm_bindgen::JsValue;

use crate::error::{JsResult, invalid, make};
use crate::object::{Fields, Options, exact};

/// Labels of one page unless the caller says otherwise, and at most.
const PAGE: u64 = 100;
const LARGEST_PAGE: u64 = 10_000;

pub(crate) fn parse_handle(text: &str) -> JsResult<Handle> {
    Handle::parse(text).map_err(|error| invalid("invalid_handle", &error))
}

pub(crate) fn parse_tag(text: &str) -> JsResult<Tag> {
    Tag::parse(text).map_err(|error| invalid("invalid_label", &error))
}

/// What a caller says of a label.
pub(crate) fn parse_edit(
    handle: &str,
    label: &str,
    options: Option<Object>,
    now: Millis,
) -> JsResult<LabelEdit> {
    const KNOWN: [&str; 7] = [
        "note", "colour", "source", "expires", "id", "negated", "clear",
    ];
    let options = Options::new(options, &KNOWN)?;
    let mut edit = LabelEdit::new(parse_handle(handle)?, parse_tag(label)?);
    let texts = [
        (Field::Note, options.text("note")?),
        (Field::Colour, options.text("colour")?),
        (Field::Source, options.text("source")?),
        (Field::Id, options.id("id")?),
    ];
    let refused = |error| invalid("invalid_label", &error);
    for (field, text) in texts {
        if let Some(text) = text {
            edit.set(field, &text, now).map_err(refused)?;
        }
    }
    if let Some(end) = options.time("expires")? {
        edit.set_expires(end, now).map_err(refused)?;
    }
    if let Some(negated) = options.boolean("negated")? {
        edit.negated = Some(negated);
    }
    for name in options.texts("clear")? {
        let field = Field::parse(&name).ok_or_else(|| {
            let message = format!(
                "clear does not know {name}; it knows {}",
                Field::ALL.map(Field::as_str).join(", ")
            );
            make("invalid_argument", &message, false)
        })?;
        edit.clear(field);
    }
    Ok(edit)
}

pub(crate) fn parse_query(options: Option<Object>) -> JsResult<LabelQuery> {
    const KNOWN: [&str; 5] = ["prefix", "handle", "after", "limit", "withEnded"];
    let options = Options::new(options, &KNOWN)?;
    let filter = match (options.text("handle")?, options.text("prefix")?) {
        (Some(handle), None) => LabelFilter::Handle(parse_handle(&handle)?),
        (None, Some(prefix)) => LabelFilter::HandlesFrom(prefix),
        (None, None) => LabelFilter::All,
        (Some(_), Some(_)) => {
            let message = "the options handle and prefix do not go together";
            return Err(make("invalid_argument", message, false));
        }
    };
    let limit = options.number("limit")?.unwrap_or(PAGE);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        let message = format!("the option limit must be from 1 to {LARGEST_PAGE}");
        return Err(make("invalid_argument", &message, false));
    }
    let after = options.text("after")?;
    Ok(LabelQuery {
        filter,
        after: after.map(|text| parse_cursor(&text)).transpose()?,
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
        with_expired: options.boolean("withEnded")?.unwrap_or(false),
    })
}

/// A place in a list as text: the handle and the label.
fn cursor(key: &Key) -> String {
    format!("{} {}", key.handle().as_str(), key.label().as_str())
}

fn parse_cursor(text: &str) -> JsResult<Key> {
    let (handle, label) = text.split_once(' ').ok_or_else(|| {
        make(
            "invalid_argument",
            "the option after must be the next of a page",
            false,
        )
    })?;
    Ok(Key::new(&parse_handle(handle)?, &parse_tag(label)?))
}

pub(crate) fn page_object(page: &LabelPage) -> JsValue {
    Fields::new()
        .set(
            "labels",
            page.labels.iter().map(label_object).collect::<Array>(),
        )
        .set_some("next", page.next.as_ref().map(cursor))
        .set_some("damaged", (page.damaged > 0).then(|| exact(page.damaged)))
        .done()
}

fn label_object(listed: &ListedLabel) -> JsValue {
    let label = &listed.label;
    Fields::new()
        .set("handle", label.subject.handle.as_str())
        .set_some("id", label.subject.id.map(|id| id.to_string()))
        .set("label", label.label.as_str())
        .set_some("note", label.note.as_ref().map(Note::as_str))
        .set_some("colour", label.colour.map(|colour| colour.to_string()))
        .set_some("source", label.source.as_ref().map(Source::as_str))
        .set("created", exact(label.created.0))
        .set("updated", exact(label.updated.0))
        .set_some("expires", label.expires.map(|at| exact(at.0)))
        .set("negated", label.negated)
        .set("staged", listed.staged)
        .done()
}

/// Which label on which handle.
pub(crate) fn key_object(key: &Key) -> JsValue {
    Fields::new()
        .set("handle", key.handle().as_str())
        .set("label", key.label().as_str())
        .done()
}
