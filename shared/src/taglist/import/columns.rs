//! Which field of a file is which part of a label.

use alloc::{
    borrow::Cow,
    string::{String, ToString},
    vec::Vec,
};

use super::{ImportError, ImportOptions, RowProblem};
use crate::{
    taglist::{CLEAR, Field, Handle, LabelEdit, Tag},
    time::{DateMeans, Millis},
};

/// A part of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// The handle, alone or in the URL of its profile.
    Handle,
    /// The label.
    Label,
    /// Another part of the label.
    Part(Field),
    /// When the label was first put on the handle.
    Created,
    /// When it was last changed.
    Updated,
}

/// The columns in the order in which exports have them.
pub(super) const COLUMNS: [Column; 10] = [
    Column::Handle,
    Column::Label,
    Column::Part(Field::Note),
    Column::Part(Field::Colour),
    Column::Part(Field::Source),
    Column::Part(Field::Id),
    Column::Created,
    Column::Updated,
    Column::Part(Field::Expires),
    Column::Part(Field::Negated),
];

/// The columns, for messages.
pub(super) const COLUMN_NAMES: &str =
    "handle, label, note, colour, source, id, created, updated, expires and negated";

/// Other names of columns in files of other programs, the best first where one has several. A point leads into an object.
const OTHER_NAMES: [(&str, Column); 11] = [
    ("screen_name", Column::Handle),
    ("username", Column::Handle),
    ("user.screen_name", Column::Handle),
    ("user.username", Column::Handle),
    ("tag", Column::Label),
    ("color", Column::Part(Field::Colour)),
    ("user_id", Column::Part(Field::Id)),
    ("id_str", Column::Part(Field::Id)),
    ("user.id_str", Column::Part(Field::Id)),
    ("user.rest_id", Column::Part(Field::Id)),
    ("rest_id", Column::Part(Field::Id)),
];

impl Column {
    /// The column's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Column::Handle => "handle",
            Column::Label => "label",
            Column::Part(field) => field.as_str(),
            Column::Created => "created",
            Column::Updated => "updated",
        }
    }

    /// The column of this name.
    pub fn parse(name: &str) -> Option<Column> {
        COLUMNS.into_iter().find(|column| column.as_str() == name)
    }

    /// The names under which a file may have the column, the best first: what the caller says, else its own, else others.
    pub(super) fn names(self, options: &ImportOptions) -> Vec<&str> {
        let said = options.map.iter().find(|(column, _)| *column == self);
        if let Some((_, name)) = said {
            return Vec::from([name.as_str()]);
        }
        let others = OTHER_NAMES
            .into_iter()
            .filter(|(_, column)| *column == self);
        // A number under `id` may have been rounded by whoever wrote it, one under the names that say it is text was not.
        let own = [self.as_str()].into_iter();
        match self {
            Column::Part(Field::Id) => others.map(|(name, _)| name).chain(own).collect(),
            _ => own.chain(others.map(|(name, _)| name)).collect(),
        }
    }

    /// The column that a file has under `name`, in any case of letters.
    pub(super) fn of(name: &str, options: &ImportOptions) -> Option<Column> {
        let is_named = |column: &Column| {
            let names = column.names(options);
            names
                .iter()
                .any(|known| known.eq_ignore_ascii_case(name.trim()))
        };
        COLUMNS.into_iter().find(is_named)
    }
}

/// A row while it is being read.
#[derive(Default)]
pub(super) struct Draft {
    handle: Option<Handle>,
    label: Option<Tag>,
    parts: Vec<(Field, String)>,
    created: Option<Millis>,
    updated: Option<Millis>,
}

impl Draft {
    /// Takes the text of a column. Empty text says nothing.
    pub(super) fn take(&mut self, column: Column, text: Cow<'_, str>) -> Result<(), RowProblem> {
        if text.trim().is_empty() {
            return Ok(());
        }
        match column {
            Column::Handle => self.handle = Some(handle(text.trim())?),
            Column::Label => self.label = Some(Tag::parse(text.trim())?),
            Column::Part(field) => self.parts.push((field, text.into_owned())),
            Column::Created => self.created = Some(time(text.trim())?),
            Column::Updated => self.updated = Some(time(text.trim())?),
        }
        Ok(())
    }

    /// The change that the row is; with the field that is wrong where one is.
    pub(super) fn finish(
        self,
        options: &ImportOptions,
    ) -> Result<LabelEdit, (Option<Column>, RowProblem)> {
        let mut number = None;
        for (field, text) in &self.parts {
            if *field == Field::Id && text.trim() != CLEAR {
                number = text.trim().parse().ok();
            }
        }
        let handle = self.handle.or(number.map(Handle::of_number));
        let label = self.label.or_else(|| options.label.clone());
        let no_label = (Some(Column::Label), RowProblem::NoLabel);
        let label = label.ok_or(no_label)?;
        // A number that cannot be read is what is wrong, rather than that there is no handle.
        let subject = handle.unwrap_or(Handle::of_number(0));
        let mut edit = LabelEdit::new(subject, label);
        for (field, text) in self.parts {
            let column = Some(Column::Part(field));
            if text.trim() == CLEAR {
                edit.clear(field);
                continue;
            }
            let set = edit.set(field, &text, options.now);
            set.map_err(|problem| (column, RowProblem::Field(problem)))?;
        }
        let Some(handle) = handle else {
            return Err((Some(Column::Handle), RowProblem::NoHandle));
        };
        if handle.number().is_some() && handle.number() != number.or(handle.number()) {
            return Err((Some(Column::Part(Field::Id)), RowProblem::OtherNumber));
        }
        edit.created = self.created;
        edit.updated = self.updated;
        Ok(edit)
    }
}

/// A handle as files have it: alone, in the URL of a profile, or as a number that is too long for one.
fn handle(text: &str) -> Result<Handle, RowProblem> {
    let name = profile_name(text).unwrap_or(text);
    if name.len() > crate::limits::HANDLE_BYTES
        && let Some(number) = account_number(name)
    {
        return Ok(number);
    }
    Ok(Handle::parse(name)?)
}

/// What a line of a list that has no header names: digits alone are a number.
pub(super) fn subject(text: &str) -> Result<Handle, RowProblem> {
    match account_number(text) {
        Some(number) => Ok(number),
        None => handle(text),
    }
}

fn account_number(text: &str) -> Option<Handle> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let id = is_number.then(|| text.parse().ok()).flatten();
    id.map(Handle::of_number)
}

/// The first segment of the path of a URL on x.com.
fn profile_name(text: &str) -> Option<&str> {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))
        .unwrap_or(text);
    let (host, path) = rest.split_once('/')?;
    let host = host.to_ascii_lowercase();
    let host = host
        .strip_prefix("www.")
        .or_else(|| host.strip_prefix("mobile."))
        .unwrap_or(&host);
    if host != "x.com" && host != "twitter.com" {
        return None;
    }
    path.split(['/', '?', '#']).next()
}

fn time(text: &str) -> Result<Millis, RowProblem> {
    Millis::parse_written(text, DateMeans::Start)
        .map_err(|error| RowProblem::Field(crate::taglist::FieldError::Time(error)))
}

/// Finds the columns of a header line: for each of its fields a column, or none for one that is left out.
pub(super) fn header(
    fields: &[Cow<'_, str>],
    options: &ImportOptions,
) -> Result<Vec<Option<Column>>, ImportError> {
    let mut columns = Vec::with_capacity(fields.len());
    for field in fields {
        let column = Column::of(field, options);
        if column.is_none() && options.map.is_empty() {
            return Err(ImportError::ColumnUnknown(field.trim().to_string()));
        }
        if column.is_some() && columns.contains(&column) {
            let column = column.map_or("", Column::as_str);
            return Err(ImportError::ColumnRepeated(column));
        }
        columns.push(column);
    }
    for (column, name) in &options.map {
        if !columns.contains(&Some(*column)) {
            return Err(ImportError::NotMapped(name.clone()));
        }
    }
    let has = |column| columns.contains(&Some(column));
    if !has(Column::Handle) && !has(Column::Part(Field::Id)) {
        return Err(ImportError::ColumnMissing("handle"));
    }
    if !has(Column::Label) && options.label.is_none() {
        return Err(ImportError::ColumnMissing("label"));
    }
    Ok(columns)
}
