//! The TOML file as a list of keys, values and lines.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::value::Given;
use super::{Origin, Problem};

/// Largest file that is read, in bytes.
const FILE_BYTES: u64 = 1 << 20;

/// Reads a file.
pub(super) fn read(path: &Path) -> Result<Vec<(String, Given)>, Problem> {
    let whole = |message: String, fix: &str| Problem {
        key: String::new(),
        origin: Origin::File {
            path: path.to_owned(),
            line: 1,
        },
        message,
        fix: fix.to_owned(),
    };
    let unreadable = |error: std::io::Error| {
        whole(
            format!("cannot be read: {error}"),
            "give the path of a readable file",
        )
    };
    let length = std::fs::metadata(path).map_err(unreadable)?.len();
    if length > FILE_BYTES {
        return Err(whole(
            format!("has {length} bytes; a configuration has at most {FILE_BYTES}"),
            "give the path of a configuration file to --config",
        ));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    parse(path, &text)
}

/// Parses the text of a file.
pub(super) fn parse(path: &Path, text: &str) -> Result<Vec<(String, Given)>, Problem> {
    let origin = |at: usize| Origin::File {
        path: path.to_owned(),
        line: line_of(text, at),
    };
    let table = DeTable::parse(text).map_err(|error| Problem {
        key: String::new(),
        origin: origin(error.span().map_or(0, |span| span.start)),
        message: format!("is no TOML: {}", error.message().replace('\n', ", ")),
        fix: "correct the line; text stands in quotes, a table's name in [brackets]".to_owned(),
    })?;
    let mut rows = Vec::new();
    flatten("", table.get_ref(), &origin, &mut rows)?;
    Ok(rows)
}

fn flatten(
    prefix: &str,
    table: &DeTable<'_>,
    origin: &dyn Fn(usize) -> Origin,
    rows: &mut Vec<(String, Given)>,
) -> Result<(), Problem> {
    for (key, value) in table {
        let full = format!("{prefix}{}", key.get_ref());
        let at = || origin(key.span().start);
        match value.get_ref() {
            DeValue::Table(inner) => flatten(&format!("{full}."), inner, origin, rows)?,
            DeValue::Array(items) => {
                let items = items.iter().map(scalar).collect::<Option<Vec<_>>>();
                match items {
                    Some(items) => rows.push((full, Given::list(items, at()))),
                    None => return Err(nested(full, at())),
                }
            }
            _ => match scalar(value) {
                Some(text) => rows.push((full, Given::text(&text, at()))),
                None => return Err(nested(full, at())),
            },
        }
    }
    Ok(())
}

fn scalar(value: &Spanned<DeValue<'_>>) -> Option<String> {
    match value.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        DeValue::Datetime(time) => Some(time.to_string()),
        _ => None,
    }
}

fn nested(key: String, origin: Origin) -> Problem {
    Problem {
        key,
        origin,
        message: "is of a kind no setting has".to_owned(),
        fix: "write text, a whole number, true, false, or a list of texts".to_owned(),
    }
}

fn line_of(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(..at).unwrap_or(text.as_bytes());
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}
