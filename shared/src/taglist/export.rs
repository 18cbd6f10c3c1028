//! Writing labels to files: CSV and taglist/v1 JSON. What is written is read back by [`super::import`].

use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt::Write as _;

use super::{Handle, Label, import};
use crate::{limits::COMPAT_TAGS, time::Millis};

/// The header line of a CSV file, with its line end.
pub fn csv_header() -> String {
    import::column_names().join(",") + "\r\n"
}

/// One line of a CSV file, with its line end. Nothing of the label is left out. A note that a spreadsheet would run as a
/// formula has an apostrophe before it, which [`super::import`] takes away again.
pub fn csv_row(label: &Label) -> String {
    let mut row = String::with_capacity(96);
    let time = |time: Millis| time.to_string();
    let _ = write!(row, "{},{},", label.subject.handle, label.label);
    if let Some(note) = &label.note {
        match import::is_guarded(note.as_str()) {
            true => push_field(&mut row, &["'", note.as_str()].concat()),
            false => push_field(&mut row, note.as_str()),
        }
    }
    let parts = [
        label.colour.map(|colour| colour.to_string()),
        label
            .source
            .as_ref()
            .map(|source| source.as_str().to_string()),
        label.subject.id.map(|id| id.to_string()),
        Some(time(label.created)),
        Some(time(label.updated)),
        label.expires.map(time),
        Some(label.negated.to_string()),
    ];
    for part in parts {
        row.push(',');
        row.push_str(part.as_deref().unwrap_or_default());
    }
    row.push_str("\r\n");
    row
}

/// A whole CSV file.
pub fn csv<'a>(labels: impl IntoIterator<Item = &'a Label>) -> String {
    let mut text = csv_header();
    text.extend(labels.into_iter().map(csv_row));
    text
}

/// A file of taglist/v1 documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compat {
    /// The JSON text: an array with one object on a line.
    pub text: String,
    /// Labels that are not in it, because the format cannot say that a label does not apply.
    pub negated: u64,
    /// Labels that are not in it, because the format names accounts by their handles alone.
    pub numbered: u64,
    /// Labels that are in it without their note, colour, source, number or end, for which the format has no place.
    pub shortened: u64,
}

/// The labels as taglist/v1 JSON: handle, labels and the time of the last change, in Unix milliseconds. The format has no
/// place for notes, colours, sources, numbers and ends. A handle with more than [`COMPAT_TAGS`] labels has several objects.
pub fn compat<'a>(labels: impl IntoIterator<Item = &'a Label>) -> Compat {
    let (mut negated, mut numbered, mut shortened) = (0, 0, 0);
    let mut handles: BTreeMap<Handle, (Handle, Millis, Vec<&str>)> = BTreeMap::new();
    for label in labels {
        let handle = label.subject.handle;
        if label.negated {
            negated += 1;
            continue;
        }
        if handle.number().is_some() {
            numbered += 1;
            continue;
        }
        let bare = label.note.is_none()
            && label.colour.is_none()
            && label.source.is_none()
            && label.subject.id.is_none()
            && label.expires.is_none();
        shortened += u64::from(!bare);
        let document = handles
            .entry(handle.lower())
            .or_insert_with(|| (handle, label.updated, Vec::new()));
        document.1 = document.1.max(label.updated);
        document.2.push(label.label.as_str());
    }
    let mut text = String::from("[");
    for (handle, updated, mut tags) in handles.into_values() {
        tags.sort_unstable();
        for tags in tags.chunks(COMPAT_TAGS) {
            let comma = if text.len() > 1 { "," } else { "" };
            // Handles and labels need no escapes.
            let _ = write!(
                text,
                "{comma}\n{{\"version\":1,\"handle\":\"{handle}\",\"updated\":{},\"tags\":[\"{}\"]}}",
                updated.0,
                tags.join("\",\"")
            );
        }
    }
    text.push_str("\n]\n");
    Compat {
        text,
        negated,
        numbered,
        shortened,
    }
}

/// Appends a field, in quotes where it needs them.
fn push_field(row: &mut String, field: &str) {
    // A blank at either end is kept by all readers only in quotes.
    if !field.contains([',', '"', '\n', '\r']) && field.trim() == field {
        row.push_str(field);
        return;
    }
    row.push('"');
    row.push_str(&field.replace('"', "\"\""));
    row.push('"');
}
