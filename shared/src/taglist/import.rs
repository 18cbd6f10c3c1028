//! Reading labels from files: tables (CSV and its relatives), taglist/v1 and other JSON, lists of accounts.
//!
//! The readers go over the whole file and say for each row that is not valid where and why. Nothing is
//! imported in part unless the caller asks for the valid rows alone ([`Import::into_valid`]). A row is an edit: what it does
//! not say, it does not change ([`crate::taglist::LabelEdit`]).

use alloc::{
    borrow::ToOwned,
    collections::{BTreeMap, btree_map::Entry},
    string::String,
    vec::Vec,
};

use super::{FieldError, Key, LabelEdit, LabelError, Tag};
use crate::{
    limits::{IMPORT_PROBLEMS, IMPORT_ROWS, LimitExceeded},
    time::Millis,
};

mod columns;
mod csv;
mod json;
mod objects;
mod text;

pub use columns::Column;
pub use csv::csv;
pub(super) use csv::is_guarded;
pub use json::json;
pub use text::Encoding;

/// What the caller says about a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// The time by which an end is to come.
    pub now: Millis,
    /// The label of rows that name none.
    pub label: Option<Tag>,
    /// Under which name the file has a column. Where one is given, fields of other names are left out instead of refused.
    pub map: Vec<(Column, String)>,
}

/// How a file was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Form {
    /// How its characters are encoded.
    pub encoding: Encoding,
    /// What separates the fields of a table; none for a list of accounts and for JSON.
    pub separator: Option<char>,
}

/// What a file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Import {
    edits: BTreeMap<Key, (LabelEdit, Place)>,
    repeated: u64,
    problems: Vec<Problem>,
    problem_count: u64,
    left_out: Vec<String>,
    form: Form,
}

impl Import {
    /// The changes, sorted by key, if every row was valid.
    ///
    /// # Errors
    /// Returns the import itself when there are problems.
    pub fn into_edits(self) -> Result<Vec<LabelEdit>, Import> {
        if self.problem_count > 0 {
            return Err(self);
        }
        Ok(self.into_valid())
    }

    /// The changes of the rows that were valid, sorted by key.
    pub fn into_valid(self) -> Vec<LabelEdit> {
        self.edits.into_values().map(|(edit, _)| edit).collect()
    }

    /// How many rows were valid, rows that say what another says counted once.
    pub fn valid_count(&self) -> usize {
        self.edits.len()
    }

    /// How many rows say what another one says.
    pub fn repeated(&self) -> u64 {
        self.repeated
    }

    /// What is wrong, in the order of the file, at most [`IMPORT_PROBLEMS`] of them.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// How many problems there are, also beyond those that are kept.
    pub fn problem_count(&self) -> u64 {
        self.problem_count
    }

    /// Names of fields of the file that are no part of a label, at most [`IMPORT_PROBLEMS`] of them.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// How the file was read.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Adds a valid row, unless there is another one of its key.
    fn add(&mut self, edit: LabelEdit, place: Place) -> Result<(), ImportError> {
        match self.edits.entry(edit.key()) {
            Entry::Occupied(first) => {
                let (same, at) = first.get();
                let first = at.line;
                // Two spellings are one handle.
                let handle = same.handle;
                if *same == (LabelEdit { handle, ..edit }) {
                    self.repeated += 1;
                } else {
                    self.refuse(place, RowProblem::Duplicate { first });
                }
            }
            Entry::Vacant(free) => {
                free.insert((edit, place));
            }
        }
        LimitExceeded::check("labels of an import", IMPORT_ROWS, self.edits.len())?;
        Ok(())
    }

    fn refuse(&mut self, place: Place, problem: RowProblem) {
        self.problem_count += 1;
        if self.problems.len() < IMPORT_PROBLEMS {
            self.problems.push(Problem { place, problem });
        }
    }

    fn leave_out(&mut self, field: &str) {
        let is_known = self.left_out.iter().any(|known| known == field);
        if !is_known && self.left_out.len() < IMPORT_PROBLEMS {
            self.left_out.push(field.to_owned());
        }
    }
}

/// Where something is in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line on which the row begins, from 1.
    pub line: u64,
    /// CSV: the field's number in its row, from 1. JSON: the label's number in `tags`, from 1. 0 for the whole row.
    pub column: u64,
}

/// A row that is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {}, column {}: {problem}", .place.line, .place.column)]
pub struct Problem {
    /// Where it is.
    pub place: Place,
    /// What is wrong with it.
    #[source]
    pub problem: RowProblem,
}

/// What is wrong with a row.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowProblem {
    /// Handle or label break their rules.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// Another part cannot be read.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// Neither a handle nor a number.
    #[error("the row names no account: neither a handle nor an id")]
    NoHandle,
    /// No label, and the caller named none for such rows.
    #[error("the row names no label")]
    NoLabel,
    /// The handle is another number than the id.
    #[error("the number in the place of the handle is another than the id")]
    OtherNumber,
    /// Quotes that do not match.
    #[error("the quotes of a field are not closed, or text follows or precedes them")]
    Quotes,
    /// The row has more or fewer fields than the header.
    #[error("the row has {found} fields, the header {expected}")]
    FieldCount {
        /// Fields of the header.
        expected: usize,
        /// Fields of the row.
        found: usize,
    },
    /// The same label on the same handle was there before, with other parts.
    #[error("the same label on the same handle, with other parts, is on line {first}")]
    Duplicate {
        /// The line of the first one.
        first: u64,
    },
    /// Not a taglist/v1 document.
    #[error("{0}")]
    Document(String),
}

/// Why a file cannot be read at all.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// Not text.
    #[error("the file is not UTF-8 text; the first wrong byte is on line {line}")]
    NotText {
        /// Where, from 1.
        line: u64,
    },
    /// The file has nothing in it.
    #[error("the file is empty")]
    Empty,
    /// The header of a table does not name the columns it must.
    #[error("the first line must name the columns; `{0}` is missing")]
    ColumnMissing(&'static str),
    /// The header names a column that is not known.
    #[error("column `{0}` is not known; known are {known}", known = columns::COLUMN_NAMES)]
    ColumnUnknown(String),
    /// The header names a column twice.
    #[error("column `{0}` is there twice")]
    ColumnRepeated(&'static str),
    /// A field that the caller has named is not in the file.
    #[error("the file has no field `{0}`")]
    NotMapped(String),
    /// The file names no labels.
    #[error("the file is a list of accounts, which names no label to put on them")]
    NoLabel,
    /// The JSON text does not hold together.
    #[error("line {line}: not JSON: an array or lines of objects are expected")]
    Json {
        /// Where, from 1.
        line: u64,
    },
    /// The file or what is in it is above a limit.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
}

/// The names of the columns of a table, in the order in which exports have them.
pub(super) fn column_names() -> [&'static str; 10] {
    columns::COLUMNS.map(Column::as_str)
}

#[cfg(test)]
mod tests;
