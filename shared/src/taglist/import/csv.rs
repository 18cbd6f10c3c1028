//! Tables of text (RFC 4180 and its relatives): CSV with a header line, or a list with one account on each line.
//!
//! Columns, in any order: `handle` or `id`, `label` unless the caller names one for all rows, `note`, `colour`, `source`,
//! `created`, `updated`, `expires`, `negated`. Empty fields say nothing. Fields are separated by commas, semicolons, tabs or
//! bars, whichever the header has, or what a first line `sep=;` says. Lines end with CR LF, LF or CR; empty lines are passed
//! over. A note that a spreadsheet would run as a formula may begin with an apostrophe, which is not part of it.

use alloc::{borrow::Cow, vec::Vec};

use super::{
    Form, Import, ImportError, ImportOptions, Place, RowProblem,
    columns::{Column, Draft, header, subject},
    text::{self, count_breaks},
};
use crate::taglist::{Field, LabelEdit};

const SEPARATORS: [char; 4] = [',', ';', '\t', '|'];

/// Reads a table.
///
/// # Errors
/// Refuses files that are no text, and a header that is not understood. Rows that are not valid are in the import's
/// problems.
pub fn csv(bytes: &[u8], options: &ImportOptions) -> Result<Import, ImportError> {
    let (text, encoding) = text::decode(bytes)?;
    let (said, rest) = said_separator(&text);
    let first_line = rest
        .split(['\n', '\r'])
        .find(|line| !line.trim().is_empty());
    let separator = said.unwrap_or_else(|| separator_of(first_line.unwrap_or_default()));
    let mut import = Import {
        form: Form {
            encoding,
            separator: Some(separator),
        },
        ..Import::default()
    };
    let mut reader = Reader {
        separator,
        rest,
        line: 1 + u64::from(said.is_some()),
    };
    let mut columns: Option<Vec<Option<Column>>> = None;
    while let Some((line, fields)) = reader.row() {
        let Some(fields) = fields else {
            import.refuse(Place { line, column: 0 }, RowProblem::Quotes);
            continue;
        };
        match &columns {
            Some(columns) if columns.is_empty() => {
                read_account(&mut import, &fields, line, options)?;
            }
            Some(columns) => read_row(&mut import, columns, fields, line, options)?,
            None if is_header(&fields, options) => {
                let found = header(&fields, options)?;
                for (field, column) in fields.iter().zip(&found) {
                    if column.is_none() {
                        import.leave_out(field.trim());
                    }
                }
                columns = Some(found);
            }
            None if fields.len() == 1 && options.map.is_empty() => {
                read_account(&mut import, &fields, line, options)?;
                import.form.separator = None;
                columns = Some(Vec::new());
            }
            // Says what is missing.
            None => columns = Some(header(&fields, options)?),
        }
    }
    match columns {
        Some(_) => Ok(import),
        None if import.problem_count > 0 => Ok(import),
        None => Err(ImportError::Empty),
    }
}

/// What a first line `sep=;` says, and the lines after it.
fn said_separator(text: &str) -> (Option<char>, &str) {
    let line = text.split(['\n', '\r']).next().unwrap_or_default();
    let said = line.trim_matches('"');
    let said = said
        .get(..4)
        .filter(|start| start.eq_ignore_ascii_case("sep="))
        .and_then(|_| said[4..].chars().next());
    match said {
        Some(separator) if !matches!(separator, '"' | '\n' | '\r') => {
            let rest = &text[line.len()..];
            let rest = rest
                .strip_prefix("\r\n")
                .or_else(|| rest.strip_prefix(['\n', '\r']));
            (Some(separator), rest.unwrap_or_default())
        }
        _ => (None, text),
    }
}

/// The separator that the header has most of, outside of quotes.
fn separator_of(line: &str) -> char {
    let mut counts = [0_usize; SEPARATORS.len()];
    let mut is_quoted = false;
    for character in line.chars() {
        is_quoted ^= character == '"';
        if !is_quoted && let Some(at) = SEPARATORS.iter().position(|known| *known == character) {
            counts[at] += 1;
        }
    }
    let mut best = 0;
    for (at, count) in counts.iter().enumerate() {
        if *count > counts[best] {
            best = at;
        }
    }
    SEPARATORS[best]
}

fn is_header(fields: &[Cow<'_, str>], options: &ImportOptions) -> bool {
    fields
        .iter()
        .any(|field| Column::of(field, options).is_some())
}

/// A line of a list without a header: an account, on which the caller's label is put.
fn read_account(
    import: &mut Import,
    fields: &[Cow<'_, str>],
    line: u64,
    options: &ImportOptions,
) -> Result<(), ImportError> {
    let label = options.label.clone().ok_or(ImportError::NoLabel)?;
    let place = Place { line, column: 1 };
    let [account] = fields else {
        let problem = RowProblem::FieldCount {
            expected: 1,
            found: fields.len(),
        };
        import.refuse(Place { column: 0, ..place }, problem);
        return Ok(());
    };
    let read = subject(account.trim());
    match read {
        Ok(handle) => import.add(LabelEdit::new(handle, label), Place { column: 0, ..place }),
        Err(problem) => {
            import.refuse(place, problem);
            Ok(())
        }
    }
}

fn read_row(
    import: &mut Import,
    columns: &[Option<Column>],
    fields: Vec<Cow<'_, str>>,
    line: u64,
    options: &ImportOptions,
) -> Result<(), ImportError> {
    let place = Place { line, column: 0 };
    if fields.len() != columns.len() {
        let problem = RowProblem::FieldCount {
            expected: columns.len(),
            found: fields.len(),
        };
        import.refuse(place, problem);
        return Ok(());
    }
    match parse_row(columns, fields, options) {
        Ok(edit) => import.add(edit, place),
        Err((column, problem)) => {
            let at = columns.iter().position(|known| *known == column);
            let column = column.and(at).map_or(0, |at| at as u64 + 1);
            import.refuse(Place { line, column }, problem);
            Ok(())
        }
    }
}

fn parse_row(
    columns: &[Option<Column>],
    fields: Vec<Cow<'_, str>>,
    options: &ImportOptions,
) -> Result<LabelEdit, (Option<Column>, RowProblem)> {
    let mut draft = Draft::default();
    for (column, field) in columns.iter().zip(fields) {
        let Some(column) = *column else {
            continue;
        };
        let field = match column {
            Column::Part(Field::Note) => unguarded(field),
            _ => field,
        };
        let taken = draft.take(column, field);
        taken.map_err(|problem| (Some(column), problem))?;
    }
    draft.finish(options)
}

/// Whether a spreadsheet would run a cell that begins so.
fn is_formula(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@', '\t'])
}

/// Whether a cell is written with an apostrophe before it, which import takes away again: it is a formula, or would be taken
/// for one that has its apostrophe.
pub(in crate::taglist) fn is_guarded(text: &str) -> bool {
    is_formula(text.trim_start_matches('\''))
}

fn unguarded(field: Cow<'_, str>) -> Cow<'_, str> {
    if !field.starts_with('\'') || !is_guarded(&field) {
        return field;
    }
    match field {
        Cow::Borrowed(text) => Cow::Borrowed(&text[1..]),
        Cow::Owned(text) => Cow::Owned(text[1..].into()),
    }
}

/// The line on which a row begins, and its fields; none where its quotes cannot be read.
type Row<'a> = (u64, Option<Vec<Cow<'a, str>>>);

/// Splits text into rows and fields.
struct Reader<'a> {
    separator: char,
    rest: &'a str,
    line: u64,
}

impl<'a> Reader<'a> {
    /// The next row; `None` at the end of the text. After a row that cannot be read the next line begins another one.
    fn row(&mut self) -> Option<Row<'a>> {
        while self.line_end() {}
        if self.rest.is_empty() {
            return None;
        }
        let (line, start) = (self.line, self.rest);
        let mut fields = Vec::new();
        loop {
            let Some((field, rest)) = split_field(self.rest, self.separator) else {
                let end = start.find(['\n', '\r']).unwrap_or(start.len());
                self.rest = &start[end..];
                self.line = line;
                self.line_end();
                return Some((line, None));
            };
            self.line += count_breaks(field.as_bytes());
            fields.push(field);
            match rest.strip_prefix(self.separator) {
                Some(rest) => self.rest = rest,
                None => {
                    self.rest = rest;
                    self.line_end();
                    return Some((line, Some(fields)));
                }
            }
        }
    }

    /// Passes over the end of a line, if one is next.
    fn line_end(&mut self) -> bool {
        let rest = self
            .rest
            .strip_prefix("\r\n")
            .or_else(|| self.rest.strip_prefix(['\n', '\r']));
        if let Some(rest) = rest {
            self.rest = rest;
            self.line += 1;
        }
        rest.is_some()
    }
}

/// A field and what follows it: a separator, the end of the line or the end of the text.
fn split_field(text: &str, separator: char) -> Option<(Cow<'_, str>, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([separator, '\n', '\r']).unwrap_or(text.len());
        let field = &text[..end];
        return (!field.contains('"')).then_some((Cow::Borrowed(field), &text[end..]));
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
        let ends = after.is_empty() || after.starts_with([separator, '\n', '\r']);
        return ends.then_some((field, after));
    }
}
