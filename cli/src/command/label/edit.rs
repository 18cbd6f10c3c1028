//! `label add` and `label remove`.

use perennis_sdk::client::LabelFilter;
use perennis_shared::taglist::{Field, Handle, Label, LabelEdit, Op, Part, Tag, differences};
use perennis_shared::time::Millis;
use serde::Serialize;

use super::{FieldDocument, LabelDocument, labels_by, parse_handle, parse_tags, waiting};
use crate::args::{LabelAdd, LabelRemove};
use crate::context::Context;
use crate::failure::Failure;
use crate::page::plain;
use crate::session::{Session, failure_of};
use crate::when::{now, parse_moment};

#[derive(Serialize)]
struct AddDocument {
    labels: Vec<LabelDocument>,
    changes: Vec<AddedLabel>,
    staged: usize,
}

#[derive(Serialize)]
struct AddedLabel {
    change: &'static str,
    handle: String,
    label: String,
    fields: Vec<FieldDocument>,
}

pub(super) async fn add(context: &Context<'_>, arguments: &LabelAdd) -> Result<(), Failure> {
    let moment = now();
    let handle = parse_handle(&arguments.handle)?;
    let edits = edits(arguments, handle, moment)?;
    let session = Session::open(context, &[]).await?;
    let known = labels_on(&session, handle).await?;
    let (mut labels, mut ops, mut changes) = (Vec::new(), Vec::new(), Vec::new());
    for edit in edits {
        let before = known.iter().find(|label| label.label == edit.label);
        let label = edit.apply(before, moment);
        let fields = before.map(|before| differences(before, &label));
        let change = match &fields {
            None => "added",
            Some(fields) if fields.is_empty() => "unchanged",
            Some(_) => "changed",
        };
        // Nothing is signed that says nothing new.
        let label = match before.filter(|_| change == "unchanged") {
            Some(before) => before.clone(),
            None => {
                ops.push(Op::Set(label.clone()));
                label
            }
        };
        changes.push(AddedLabel {
            change,
            handle: label.subject.handle.to_string(),
            label: label.label.to_string(),
            fields: fields.into_iter().flatten().map(Into::into).collect(),
        });
        labels.push(label);
    }
    let staged = match ops.is_empty() {
        true => session.client.staged_count().await.map_err(failure_of!())?,
        false => session.client.stage(&ops).await.map_err(failure_of!())?,
    };
    let document = AddDocument {
        labels: labels
            .iter()
            .map(|label| {
                LabelDocument::new(label, Some(ops.iter().any(|op| op.key() == label.key())))
            })
            .collect(),
        changes,
        staged,
    };
    context.output.answer(&document, |page| {
        for (label, change) in labels.iter().zip(&document.changes) {
            let not = if label.negated { "not " } else { "" };
            let mut line = format!("{}  {not}{}", label.subject.handle, label.label);
            let fields: Vec<String> = change.fields.iter().map(FieldDocument::text).collect();
            if change.change != "added" {
                line = format!("{line}  {}", change.change);
            }
            if !fields.is_empty() {
                line = format!("{line}  {}", fields.join(", "));
            }
            page.line(line);
        }
        waiting(page, staged);
    })
}

/// What the flags say, for each of the labels.
fn edits(arguments: &LabelAdd, handle: Handle, moment: Millis) -> Result<Vec<LabelEdit>, Failure> {
    let mut edits = Vec::new();
    for tag in parse_tags(&arguments.labels)? {
        let mut edit = LabelEdit::new(handle, tag);
        let texts = [
            (Field::Note, &arguments.note),
            (Field::Colour, &arguments.colour),
            (Field::Source, &arguments.source),
            (Field::Id, &arguments.user_id),
        ];
        for (field, text) in texts {
            if let Some(text) = text {
                set(&mut edit, field, text, moment)?;
            }
        }
        if let Some(text) = arguments.expires.as_deref().filter(|text| !text.is_empty()) {
            edit.expires = Part::Set(parse_moment(text, moment, "--expires")?);
        }
        if arguments.negate {
            edit.negated = Some(true);
        }
        for name in &arguments.clear {
            edit.clear(field_of(name)?);
        }
        if let Some(number) = handle.number()
            && edit.id != Part::Set(number)
        {
            return Err(Failure::usage(format!(
                "{handle} is the number of the account: it cannot have another --user-id"
            ))
            .hint("leave --user-id out, or name the handle"));
        }
        edits.push(edit);
    }
    Ok(edits)
}

fn set(edit: &mut LabelEdit, field: Field, text: &str, moment: Millis) -> Result<(), Failure> {
    edit.set(field, text, moment).map_err(|error| {
        let hint = match field {
            Field::Colour => "write it as #rrggbb, such as #cc0000",
            Field::Note => "shorten the note",
            Field::Source => "write the source as a DID, such as did:key:z6Mk…",
            _ => "see `perennis label add --help`",
        };
        Failure::invalid(
            "invalid_label",
            format!("{} cannot be {}", field.as_str(), plain(text)),
        )
        .because(&error)
        .hint(hint)
    })
}

/// A field by the name of its flag.
fn field_of(name: &str) -> Result<Field, Failure> {
    let field = match name {
        "user-id" => Some(Field::Id),
        "negate" => Some(Field::Negated),
        name => Field::parse(name),
    };
    field.ok_or_else(|| {
        Failure::usage(format!("--clear does not know {}", plain(name)))
            .hint("name one or more of note, colour, source, expires, user-id and negate")
    })
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

pub(super) async fn remove(context: &Context<'_>, arguments: &LabelRemove) -> Result<(), Failure> {
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
            Failure::not_found("label_not_found", format!("{handle} has no label {tag}")).hint(
                format!("see `perennis label list {handle}`; nothing was removed"),
            ),
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

/// Every own label on a handle, those that have ended too.
async fn labels_on(session: &Session, handle: Handle) -> Result<Vec<Label>, Failure> {
    labels_by(session, LabelFilter::Handle(handle)).await
}
