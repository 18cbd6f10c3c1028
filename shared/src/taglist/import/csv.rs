//! CSV (RFC 4180) with a header line, in UTF-8.
//!
//! Columns, in any order: `handle` and `label`, which must be there, `note`, `colour`, `source`, `id`,
//! `created`, `updated`, `expires`, `negated`. An empty field is an absent one. Lines end with CR LF or LF; empty
//! lines are passed over.

use alloc::{borrow::Cow, string::ToString, vec::Vec};

use super::{Import, ImportError, Place, RowProblem, parse_time, text};
use crate::{
    taglist::{Colour, Handle, Label, Note, Source, Tag},
    time::Millis,
};

/// The columns, for messages.
pub(super) const COLUMN_NAMES: &str =
    "handle, label, note, colour, source, id, created, updated, expires and negated";

/// The columns in the order in which exports have them.
pub(super) const COLUMNS: [&str; 10] = [
    "handle", "label", "note", "colour", "source", "id", "created", "updated", "expires", "negated",
];

/// Reads a CSV file. Labels without times of their own were created and updated at `at`.
///
/// # Errors
/// Refuses files that are no text, that have a header which is not understood, or quotes that do not match.
/// Rows that are not valid are in the import's problems.
pub fn csv(bytes: &[u8], at: Millis) -> Result<Import, ImportError> {
    let mut reader = Reader {
        rest: text(bytes)?,
        line: 1,
    };
    let mut import = Import::default();
    let mut columns: Option<Vec<&'static str>> = None;
    while let Some((line, fields)) = reader.row()? {
        match &columns {
            None => columns = Some(header(&fields)?),
            Some(columns) => read_row(&mut import, columns, &fields, line, at)?,
        }
    }
    columns.map(|_| import).ok_or(ImportError::Empty)
}

fn header(fields: &[Cow<'_, str>]) -> Result<Vec<&'static str>, ImportError> {
    let mut columns = Vec::with_capacity(fields.len());
    for field in fields {
        let name = field.trim().to_ascii_lowercase();
        let name = if name == "color" { "colour" } else { &name };
        let known = COLUMNS.into_iter().find(|column| *column == name);
        let column = known.ok_or_else(|| ImportError::ColumnUnknown(field.to_string()))?;
        if columns.contains(&column) {
            return Err(ImportError::ColumnRepeated(column));
        }
        columns.push(column);
    }
    for required in &COLUMNS[..2] {
        if !columns.contains(required) {
            return Err(ImportError::ColumnMissing(required));
        }
    }
    Ok(columns)
}

fn read_row(
    import: &mut Import,
    columns: &[&'static str],
    fields: &[Cow<'_, str>],
    line: u64,
    at: Millis,
) -> Result<(), ImportError> {
    if fields.len() != columns.len() {
        let problem = RowProblem::FieldCount {
            expected: columns.len(),
            found: fields.len(),
        };
        import.refuse(Place { line, column: 0 }, problem);
        return Ok(());
    }
    match parse_label(columns, fields, at) {
        Ok(label) => import.add(label, Place { line, column: 0 }),
        Err((index, problem)) => {
            let column = index as u64 + 1;
            import.refuse(Place { line, column }, problem);
            Ok(())
        }
    }
}

/// The label of a row, or the number of the field that is wrong, from 0.
fn parse_label(
    columns: &[&'static str],
    fields: &[Cow<'_, str>],
    at: Millis,
) -> Result<Label, (usize, RowProblem)> {
    let part = |name: &str| {
        let index = columns.iter().position(|column| *column == name);
        index.map_or((0, ""), |index| (index, fields[index].as_ref()))
    };
    let (index, handle) = part("handle");
    let handle = Handle::parse(handle.trim()).map_err(|error| (index, error.into()))?;
    let (index, tag) = part("label");
    let tag = Tag::parse(tag.trim()).map_err(|error| (index, error.into()))?;
    let mut label = Label::new(handle, tag, at);
    for (index, (column, field)) in columns.iter().zip(fields).enumerate() {
        if !field.is_empty() {
            set_part(&mut label, column, field).map_err(|problem| (index, problem))?;
        }
    }
    if columns.contains(&"created") && !columns.contains(&"updated") {
        label.updated = label.created;
    }
    Ok(label)
}

fn set_part(label: &mut Label, column: &str, field: &str) -> Result<(), RowProblem> {
    match column {
        "note" => label.note = Some(Note::parse(&field.replace("\r\n", "\n"))?),
        "colour" => label.colour = Some(Colour::parse(field.trim())?),
        "source" => label.source = Some(Source::parse(field.trim())?),
        "id" => label.subject.id = Some(field.trim().parse().map_err(|_| RowProblem::Id)?),
        "created" => label.created = parse_time(field.trim())?,
        "updated" => label.updated = parse_time(field.trim())?,
        "expires" => label.expires = Some(parse_time(field.trim())?),
        "negated" => {
            label.negated = match field.trim().to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" => true,
                "false" | "0" | "no" => false,
                _ => return Err(RowProblem::Negated),
            };
        }
        _ => {}
    }
    Ok(())
}

/// The line on which a row begins, and its fields.
type Row<'a> = (u64, Vec<Cow<'a, str>>);

/// Splits text into rows and fields.
struct Reader<'a> {
    rest: &'a str,
    line: u64,
}

impl<'a> Reader<'a> {
    /// The next row; `None` at the end of the text.
    fn row(&mut self) -> Result<Option<Row<'a>>, ImportError> {
        while let Some(rest) = self
            .rest
            .strip_prefix("\r\n")
            .or_else(|| self.rest.strip_prefix('\n'))
        {
            self.rest = rest;
            self.line += 1;
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        let line = self.line;
        let mut fields = Vec::new();
        loop {
            let (field, rest) = split_field(self.rest).ok_or(ImportError::Quotes { line })?;
            self.line += field.bytes().filter(|byte| *byte == b'\n').count() as u64;
            fields.push(field);
            if let Some(rest) = rest.strip_prefix(',') {
                self.rest = rest;
                continue;
            }
            let rest = rest.strip_prefix('\r').unwrap_or(rest);
            if let Some(rest) = rest.strip_prefix('\n') {
                self.rest = rest;
                self.line += 1;
                return Ok(Some((line, fields)));
            }
            if rest.is_empty() {
                self.rest = rest;
                return Ok(Some((line, fields)));
            }
            return Err(ImportError::Quotes { line });
        }
    }
}

/// A field and what follows it: a comma, the end of the line or the end of the text.
fn split_field(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', '\n']).unwrap_or(text.len());
        let end = if text[..end].ends_with('\r') && !text[end..].starts_with(',') {
            end - 1
        } else {
            end
        };
        let field = &text[..end];
        return (!field.contains(['"', '\r'])).then_some((Cow::Borrowed(field), &text[end..]));
    };
    let mut from = 0;
    loop {
        let quote = from + quoted[from..].find('"')?;
        let after = &quoted[quote + 1..];
        if after.starts_with('"') {
            from = quote + 2;
            continue;
        }
        let field = &quoted[..quote];
        let field = if field.contains('"') {
            Cow::Owned(field.replace("\"\"", "\""))
        } else {
            Cow::Borrowed(field)
        };
        let ends = after.is_empty() || after.starts_with([',', '\n', '\r']);
        return ends.then_some((field, after));
    }
}
