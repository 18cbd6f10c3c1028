//! taglist/v1 JSON, the format of the compatible extension: an object for each handle,
//! `{"version", "handle", "updated", "tags"}`.
//!
//! A file is one object, an array of objects, or an object on each line. `version` is 1 (`"1"`, `"v1"` and
//! `"taglist/v1"` are read too), `handle` matches `^@[a-zA-Z0-9_]{1,15}$`, `updated` is an RFC 3339 time or
//! Unix milliseconds, and `tags` are at most 100 different labels `^[a-z0-9-]{1,50}$`. Other fields are refused.

use alloc::string::{String, ToString};

use super::{Import, ImportError, Place, RowProblem, count_lines, parse_time, text};
use crate::{
    codec::{CodecError, Fields, Value, dag_json},
    limits::{COMPAT_TAGS, LimitExceeded},
    taglist::{Handle, Label, Tag},
    time::Millis,
};

/// Reads a file of taglist/v1 documents.
///
/// # Errors
/// Refuses files that are no text and no sequence of JSON objects. Documents and labels that are not valid are
/// in the import's problems.
pub fn compat(bytes: &[u8]) -> Result<Import, ImportError> {
    let mut import = Import::default();
    let mut objects = Objects::new(text(bytes)?);
    while let Some((line, object)) = objects.next()? {
        let place = Place { line, column: 0 };
        match Document::parse(object) {
            Ok(document) => document.read_into(&mut import, place)?,
            Err(problem) => import.refuse(place, problem),
        }
    }
    Ok(import)
}

struct Document {
    handle: Handle,
    updated: Millis,
    tags: alloc::vec::Vec<String>,
}

impl Document {
    fn parse(object: &str) -> Result<Document, RowProblem> {
        let value = dag_json::decode_relaxed(object.as_bytes()).map_err(document_problem)?;
        let mut fields = value.into_fields().map_err(document_problem)?;
        check_version(&mut fields)?;
        let handle = fields.take_text("handle").map_err(document_problem)?;
        if !handle.starts_with('@') {
            return Err(RowProblem::Document("a handle begins with @".to_string()));
        }
        let handle = Handle::parse(&handle)?;
        let updated = match fields.take("updated").map_err(document_problem)? {
            Value::Text(text) => parse_time(&text)?,
            Value::Int(number) => match u64::try_from(number) {
                Ok(number) => Millis::checked(number).map_err(RowProblem::Time)?,
                Err(_) => return Err(RowProblem::Document("updated is out of range".to_string())),
            },
            _ => return Err(RowProblem::Document("updated must be a time".to_string())),
        };
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
                Ok(tag) => import.add(Label::new(self.handle, tag, self.updated), place)?,
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

fn document_problem(error: CodecError) -> RowProblem {
    RowProblem::Document(error.to_string())
}

/// Cuts text into its objects, each to be read by the JSON decoder.
struct Objects<'a> {
    text: &'a str,
    at: usize,
    line: u64,
    in_array: bool,
    state: Position,
}

#[derive(Clone, Copy, PartialEq)]
enum Position {
    /// At the beginning of the text.
    Start,
    /// In an array, before its first object or its end.
    First,
    /// After an object.
    Between,
    /// After a comma in an array: another object must come.
    Comma,
    /// After the end of an array: nothing may come.
    End,
}

impl<'a> Objects<'a> {
    fn new(text: &'a str) -> Objects<'a> {
        Objects {
            text,
            at: 0,
            line: 1,
            in_array: false,
            state: Position::Start,
        }
    }

    /// The line on which the next object begins, and its text.
    fn next(&mut self) -> Result<Option<(u64, &'a str)>, ImportError> {
        while let Some(byte) = self.text.as_bytes().get(self.at) {
            let failed = ImportError::Json { line: self.line };
            match (byte, self.state) {
                (b'\n', _) => self.line += 1,
                (b' ' | b'\t' | b'\r', _) => {}
                (b'[', Position::Start) => {
                    self.in_array = true;
                    self.state = Position::First;
                }
                (b']', Position::First | Position::Between) if self.in_array => {
                    self.state = Position::End
                }
                (b',', Position::Between) if self.in_array => self.state = Position::Comma,
                (b'{', Position::Start | Position::First | Position::Comma) => {
                    return self.object().map(Some);
                }
                (b'{', Position::Between) if !self.in_array => return self.object().map(Some),
                _ => return Err(failed),
            }
            self.at += 1;
        }
        let is_whole = match self.state {
            Position::End => true,
            Position::Between => !self.in_array,
            Position::Start | Position::First | Position::Comma => false,
        };
        if is_whole {
            Ok(None)
        } else {
            Err(ImportError::Json { line: self.line })
        }
    }

    /// The object that begins here, up to its closing brace.
    fn object(&mut self) -> Result<(u64, &'a str), ImportError> {
        let (start, line) = (self.at, self.line);
        let (mut depth, mut in_string, mut escaped) = (0u32, false, false);
        for (offset, byte) in self.text.as_bytes()[start..].iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_string => escaped = true,
                b'"' => in_string = !in_string,
                b'{' | b'[' if !in_string => depth = depth.saturating_add(1),
                b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                let object = &self.text[start..=start + offset];
                self.at = start + offset + 1;
                self.line += count_lines(object.as_bytes());
                self.state = Position::Between;
                return Ok((line, object));
            }
        }
        Err(ImportError::Json { line })
    }
}
