//! Reading labels from files: CSV and taglist/v1 JSON.
//!
//! Both readers go over the whole file and say for each row that is not valid where and why. Nothing is
//! imported in part unless the caller asks for the valid rows alone ([`Import::into_valid`]).

use alloc::{
    collections::{BTreeMap, btree_map::Entry},
    string::String,
    vec::Vec,
};

use super::{Key, Label, LabelError};
use crate::{
    limits::{IMPORT_BYTES, IMPORT_PROBLEMS, IMPORT_ROWS, LimitExceeded},
    time::{Millis, TimeError},
};

mod compat;
mod csv;

pub use compat::compat;
pub use csv::csv;

/// What a file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Import {
    labels: BTreeMap<Key, (Label, Place)>,
    problems: Vec<Problem>,
    problem_count: u64,
}

impl Import {
    /// The labels, sorted by key, if every row was valid.
    ///
    /// # Errors
    /// Returns the import itself when there are problems.
    pub fn into_labels(self) -> Result<Vec<Label>, Import> {
        if self.problem_count > 0 {
            return Err(self);
        }
        Ok(self.into_valid())
    }

    /// The labels of the rows that were valid, sorted by key.
    pub fn into_valid(self) -> Vec<Label> {
        self.labels.into_values().map(|(label, _)| label).collect()
    }

    /// How many rows were valid.
    pub fn valid_count(&self) -> usize {
        self.labels.len()
    }

    /// What is wrong, in the order of the file, at most [`IMPORT_PROBLEMS`] of them.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// How many problems there are, also beyond those that are kept.
    pub fn problem_count(&self) -> u64 {
        self.problem_count
    }

    /// Adds a valid label, unless there is one of its key already.
    fn add(&mut self, label: Label, place: Place) -> Result<(), ImportError> {
        match self.labels.entry(label.key()) {
            Entry::Occupied(first) => {
                let first = first.get().1.line;
                self.refuse(place, RowProblem::Duplicate { first });
            }
            Entry::Vacant(free) => {
                free.insert((label, place));
            }
        }
        LimitExceeded::check("labels of an import", IMPORT_ROWS, self.labels.len())?;
        Ok(())
    }

    fn refuse(&mut self, place: Place, problem: RowProblem) {
        self.problem_count += 1;
        if self.problems.len() < IMPORT_PROBLEMS {
            self.problems.push(Problem { place, problem });
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
    /// A part of the label breaks its rules.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// A time cannot be read.
    #[error("a time is written as 2026-11-21, 2026-11-21T09:27:00Z or in Unix milliseconds")]
    Time(#[source] TimeError),
    /// Not true or false.
    #[error("negated is true or false")]
    Negated,
    /// Not a number.
    #[error("an id is a whole number below 2^64")]
    Id,
    /// The row has more or fewer fields than the header.
    #[error("the row has {found} fields, the header {expected}")]
    FieldCount {
        /// Fields of the header.
        expected: usize,
        /// Fields of the row.
        found: usize,
    },
    /// The same label on the same handle was there before.
    #[error("the same label on the same handle is on line {first}")]
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
    /// The header of a CSV file does not name the columns it must.
    #[error("the first line must name the columns; `{0}` is missing")]
    ColumnMissing(&'static str),
    /// The header names a column that is not known.
    #[error("column `{0}` is not known; known are {known}", known = csv::COLUMN_NAMES)]
    ColumnUnknown(String),
    /// The header names a column twice.
    #[error("column `{0}` is there twice")]
    ColumnRepeated(&'static str),
    /// A quoted field of a CSV file does not end, or goes on after its closing quote.
    #[error("line {line}: the quotes of a field are not closed, or text follows or precedes them")]
    Quotes {
        /// The line on which the row begins, from 1.
        line: u64,
    },
    /// The JSON text does not hold together.
    #[error("line {line}: not JSON: an array or lines of taglist/v1 objects are expected")]
    Json {
        /// Where, from 1.
        line: u64,
    },
    /// The file or what is in it is above a limit.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
}

/// The names of the columns of a CSV file.
pub(super) fn csv_columns() -> [&'static str; 10] {
    csv::COLUMNS
}

/// The file as text, without a byte order mark.
fn text(bytes: &[u8]) -> Result<&str, ImportError> {
    LimitExceeded::check("import bytes", IMPORT_BYTES, bytes.len())?;
    let text = core::str::from_utf8(bytes).map_err(|error| ImportError::NotText {
        line: 1 + count_lines(&bytes[..error.valid_up_to()]),
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Err(ImportError::Empty);
    }
    Ok(text)
}

fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// A time as people write it.
fn parse_time(text: &str) -> Result<Millis, RowProblem> {
    if text.bytes().all(|byte| byte.is_ascii_digit())
        && let Ok(number) = text.parse()
    {
        return Millis::checked(number).map_err(RowProblem::Time);
    }
    if text.len() == 10 {
        let midnight = alloc::format!("{text}T00:00:00Z");
        return Millis::parse_rfc3339(&midnight).map_err(RowProblem::Time);
    }
    Millis::parse_rfc3339(text).map_err(RowProblem::Time)
}

#[cfg(test)]
mod tests;
