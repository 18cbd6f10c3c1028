//! JSON: taglist/v1, the format of the compatible extension, and objects of other programs.
//!
//! A file is one object, an array of objects, or an object on each line. One with `tags` is a taglist/v1 document,
//! `{"version", "handle", "updated", "tags"}`: `version` is 1 (`"1"`, `"v1"` and `"taglist/v1"` are read too), `handle` matches
//! `^@[a-zA-Z0-9_]{1,15}$`, `updated` is an RFC 3339 time or Unix milliseconds, and `tags` are at most 100 different labels
//! `^[a-z0-9-]{1,50}$`; other fields are refused. Any other object is a row with the columns of a table
//! ([`super::csv()`]), which may lie in objects of their own, as `user.screen_name`; other fields are left out and told. Numbers
//! of accounts are text or whole numbers.

use alloc::{
    borrow::Cow,
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec::Vec,
};

use super::{
    Form, Import, ImportError, ImportOptions, Place, RowProblem,
    columns::{COLUMNS, Draft},
    objects::Objects,
    text,
};
use crate::{
    codec::{CodecError, Fields, Value, dag_json},
    limits::{COMPAT_TAGS, LimitExceeded},
    taglist::{FieldError, Handle, LabelEdit, Tag},
    time::{DateMeans, Millis},
};

/// Deepest object in which a column is looked for.
const DEPTH: usize = 3;

/// Reads a file of JSON objects.
///
/// # Errors
/// Refuses files that are no text and no sequence of JSON objects. Objects and labels that are not valid are
/// in the import's problems.
pub fn json(bytes: &[u8], options: &ImportOptions) -> Result<Import, ImportError> {
    let (text, encoding) = text::decode(bytes)?;
    let mut import = Import {
        form: Form {
            encoding,
            separator: None,
        },
        ..Import::default()
    };
    let mut objects = Objects::new(&text);
    while let Some((line, object)) = objects.next()? {
        let place = Place { line, column: 0 };
        match read(object, &mut import, place, options) {
            Ok(read) => read?,
            Err(problem) => import.refuse(place, problem),
        }
    }
    Ok(import)
}

fn read(
    object: &str,
    import: &mut Import,
    place: Place,
    options: &ImportOptions,
) -> Result<Result<(), ImportError>, RowProblem> {
    let value = dag_json::decode_relaxed(object.as_bytes()).map_err(document_problem)?;
    let is_document = matches!(&value, Value::Map(fields) if fields.contains_key("tags"));
    if is_document {
        return Ok(Document::parse(value)?.read_into(import, place));
    }
    let edit = read_row(value, import, options)?;
    Ok(import.add(edit, place))
}

struct Document {
    handle: Handle,
    updated: Millis,
    tags: Vec<String>,
}

impl Document {
    fn parse(value: Value) -> Result<Document, RowProblem> {
        let mut fields = value.into_fields().map_err(document_problem)?;
        check_version(&mut fields)?;
        let handle = fields.take_text("handle").map_err(document_problem)?;
        if !handle.starts_with('@') {
            return Err(RowProblem::Document("a handle begins with @".to_string()));
        }
        let handle = Handle::parse(&handle)?;
        let time = |read: Result<Millis, _>| read.map_err(|error| FieldError::Time(error).into());
        let updated = match fields.take("updated").map_err(document_problem)? {
            Value::Text(text) => time(Millis::parse_written(&text, DateMeans::Start)),
            Value::Int(number) => match u64::try_from(number) {
                Ok(number) => time(Millis::counted(number)),
                Err(_) => Err(RowProblem::Document("updated is out of range".to_string())),
            },
            _ => Err(RowProblem::Document("updated must be a time".to_string())),
        }?;
        let tags = fields.take_list("tags").map_err(document_problem)?;
        fields.finish().map_err(document_problem)?;
        LimitExceeded::check("tags of a document", COMPAT_TAGS, tags.len())
            .map_err(|limit| RowProblem::Document(limit.to_string()))?;
        Ok(Document {
            handle,
            updated,
            tags,
        })
    }

    fn read_into(self, import: &mut Import, place: Place) -> Result<(), ImportError> {
        for (index, tag) in self.tags.iter().enumerate() {
            let place = Place {
                column: index as u64 + 1,
                ..place
            };
            match Tag::parse(tag) {
                Ok(tag) => {
                    let edit = LabelEdit {
                        updated: Some(self.updated),
                        ..LabelEdit::new(self.handle, tag)
                    };
                    import.add(edit, place)?;
                }
                Err(error) => import.refuse(place, error.into()),
            }
        }
        Ok(())
    }
}

fn check_version(fields: &mut Fields) -> Result<(), RowProblem> {
    let is_known = match fields.take("version").map_err(document_problem)? {
        Value::Int(number) => number == 1,
        Value::Text(text) => matches!(text.as_str(), "1" | "v1" | "taglist/v1"),
        _ => false,
    };
    if is_known {
        Ok(())
    } else {
        let message = "the version is not 1, which is the one known here";
        Err(RowProblem::Document(message.to_string()))
    }
}

/// Reads an object of another program.
fn read_row(
    value: Value,
    import: &mut Import,
    options: &ImportOptions,
) -> Result<LabelEdit, RowProblem> {
    let mut fields = BTreeMap::new();
    flatten(value, String::new(), 0, &mut fields);
    let mut draft = Draft::default();
    for column in COLUMNS {
        let names = column.names(options);
        let Some(name) = names.iter().find(|name| fields.contains_key(**name)) else {
            continue;
        };
        let text = match fields.remove(*name) {
            Some(Value::Text(text)) => text,
            Some(Value::Int(number)) => number.to_string(),
            Some(Value::Bool(value)) => value.to_string(),
            Some(_) => {
                let problem = format!("{name} must be text, a whole number, true or false");
                return Err(RowProblem::Document(problem));
            }
            None => continue,
        };
        // What an account has under its other names is not left out.
        names.iter().for_each(|name| drop(fields.remove(*name)));
        draft.take(column, Cow::Owned(text))?;
    }
    fields.keys().for_each(|name| import.leave_out(name));
    draft.finish(options).map_err(|(_, problem)| problem)
}

/// The values of an object by their paths.
fn flatten(value: Value, path: String, depth: usize, fields: &mut BTreeMap<String, Value>) {
    match value {
        Value::Map(entries) if depth < DEPTH => {
            for (name, value) in entries {
                let path = match path.as_str() {
                    "" => name,
                    path => format!("{path}.{name}"),
                };
                flatten(value, path, depth + 1, fields);
            }
        }
        Value::Null => {}
        value => {
            fields.insert(path, value);
        }
    }
}

fn document_problem(error: CodecError) -> RowProblem {
    RowProblem::Document(error.to_string())
}
