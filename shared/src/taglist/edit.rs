//! Changing a label by its parts: what an edit does not name stays as it is.
//!
//! Somebody who writes a new note has said nothing about the label's end, and a file without a column for colours nothing
//! about colours. So each part is kept, cleared or set; empty text says nothing, and only [`CLEAR`] clears. Files, the
//! command line and JavaScript read into this one type, so that the rule is the same everywhere.

use alloc::{string::String, string::ToString, vec::Vec};

use super::{Colour, Handle, Key, Label, LabelError, Note, Source, Tag};
use crate::time::{DateMeans, Millis, TimeError};

/// What stands in a cell of a file whose part shall be cleared.
pub const CLEAR: &str = "<clear>";

/// What an edit says of one part of a label.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Part<T> {
    /// Nothing: it stays as it is.
    #[default]
    Keep,
    /// It has none any more.
    Clear,
    /// It becomes this.
    Set(T),
}

impl<T: Clone> Part<T> {
    fn over(&self, before: Option<T>) -> Option<T> {
        match self {
            Part::Keep => before,
            Part::Clear => None,
            Part::Set(value) => Some(value.clone()),
        }
    }
}

/// A part of a label that an edit may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// The remark.
    Note,
    /// The colour of its badge.
    Colour,
    /// The DID it was learnt from.
    Source,
    /// The account's number.
    Id,
    /// When it ends.
    Expires,
    /// Whether it states that it does not apply.
    Negated,
}

impl Field {
    /// All of them.
    pub const ALL: [Field; 6] = [
        Field::Note,
        Field::Colour,
        Field::Source,
        Field::Id,
        Field::Expires,
        Field::Negated,
    ];

    /// The field's name, in files and documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Field::Note => "note",
            Field::Colour => "colour",
            Field::Source => "source",
            Field::Id => "id",
            Field::Expires => "expires",
            Field::Negated => "negated",
        }
    }

    /// The field of this name.
    pub fn parse(name: &str) -> Option<Field> {
        Field::ALL.into_iter().find(|field| field.as_str() == name)
    }

    fn of(self, label: &Label) -> Option<String> {
        match self {
            Field::Note => label.note.as_ref().map(|note| note.as_str().to_string()),
            Field::Colour => label.colour.map(|colour| colour.to_string()),
            Field::Source => label.source.as_ref().map(|did| did.as_str().to_string()),
            Field::Id => label.subject.id.map(|id| id.to_string()),
            Field::Expires => label.expires.map(|end| end.to_string()),
            Field::Negated => label.negated.then(|| "true".to_string()),
        }
    }
}

/// A change of one label, part by part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelEdit {
    /// On which handle, in the spelling of the edit.
    pub handle: Handle,
    /// Which label.
    pub label: Tag,
    /// The account's number.
    pub id: Part<u64>,
    /// The colour of its badge.
    pub colour: Part<Colour>,
    /// The remark.
    pub note: Part<Note>,
    /// The DID it was learnt from.
    pub source: Part<Source>,
    /// When it ends.
    pub expires: Part<Millis>,
    /// Whether it does not apply; none says nothing.
    pub negated: Option<bool>,
    /// When a label that is new was first put on the handle; none: when it is applied.
    pub created: Option<Millis>,
    /// When the change was made, as its author says; none: when it is applied.
    pub updated: Option<Millis>,
}

/// A part that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldChange {
    /// Which one.
    pub field: Field,
    /// What it was; none where there was none.
    pub before: Option<String>,
    /// What it is; none where there is none.
    pub after: Option<String>,
}

/// Why text is no value of a field.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// It breaks the rules of its part.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// It is no time.
    #[error("a time is written as 2026-11-21, 2026-11-21T09:27:00Z or in Unix milliseconds")]
    Time(#[from] TimeError),
    /// An end that has passed.
    #[error("the label ended before it was read, at {0}")]
    Ended(Millis),
    /// Neither true nor false.
    #[error("negated is true or false")]
    Negated,
    /// No number of an account.
    #[error("an id is a whole number below 2^64")]
    Id,
}

impl LabelEdit {
    /// An edit that puts the label there, if it is not, and names no part.
    pub fn new(handle: Handle, label: Tag) -> LabelEdit {
        LabelEdit {
            id: match handle.number() {
                Some(id) => Part::Set(id),
                None => Part::Keep,
            },
            handle,
            label,
            colour: Part::Keep,
            note: Part::Keep,
            source: Part::Keep,
            expires: Part::Keep,
            negated: None,
            created: None,
            updated: None,
        }
    }

    /// Which label on which handle.
    pub fn key(&self) -> Key {
        Key::new(&self.handle, &self.label)
    }

    /// Sets a part from text, as files and people write it at `now`. Empty text says nothing.
    ///
    /// # Errors
    /// Says what is wrong with the text. An end must be to come.
    pub fn set(&mut self, field: Field, text: &str, now: Millis) -> Result<(), FieldError> {
        if text.trim().is_empty() {
            return Ok(());
        }
        let trimmed = text.trim();
        match field {
            // Only a line break at its end is the file's; blanks are the author's.
            Field::Note => self.note = Part::Set(Note::parse(&text.replace("\r\n", "\n"))?),
            Field::Colour => self.colour = Part::Set(Colour::parse(trimmed)?),
            Field::Source => self.source = Part::Set(Source::parse(trimmed)?),
            Field::Id => {
                let is_number = trimmed.bytes().all(|byte| byte.is_ascii_digit());
                let id = trimmed.parse().ok().filter(|_| is_number);
                self.id = Part::Set(id.ok_or(FieldError::Id)?);
            }
            Field::Expires => {
                let end = Millis::parse_written(trimmed, DateMeans::End)?;
                self.set_expires(end, now)?;
            }
            Field::Negated => {
                self.negated = Some(match trimmed.to_ascii_lowercase().as_str() {
                    "true" | "1" | "yes" => true,
                    "false" | "0" | "no" => false,
                    _ => return Err(FieldError::Negated),
                });
            }
        }
        Ok(())
    }

    /// Sets the end.
    ///
    /// # Errors
    /// [`FieldError::Ended`] where it is not to come.
    pub fn set_expires(&mut self, end: Millis, now: Millis) -> Result<(), FieldError> {
        if end <= now {
            return Err(FieldError::Ended(end));
        }
        self.expires = Part::Set(end);
        Ok(())
    }

    /// Clears a part: a label has none of it any more, and one that was negated applies.
    pub fn clear(&mut self, field: Field) {
        match field {
            Field::Note => self.note = Part::Clear,
            Field::Colour => self.colour = Part::Clear,
            Field::Source => self.source = Part::Clear,
            Field::Id => self.id = Part::Clear,
            Field::Expires => self.expires = Part::Clear,
            Field::Negated => self.negated = Some(false),
        }
    }

    /// The label that the edit makes of the one that is there. One that has ended at `now` counts as there, but for its end:
    /// putting a label on a handle means that it is on it.
    pub fn apply(&self, before: Option<&Label>, now: Millis) -> Label {
        let Some(before) = before else {
            return Label {
                subject: super::Subject {
                    handle: self.handle,
                    id: self.id.over(None),
                },
                label: self.label.clone(),
                colour: self.colour.over(None),
                note: self.note.over(None),
                source: self.source.over(None),
                created: self.created.or(self.updated).unwrap_or(now),
                updated: self.updated.or(self.created).unwrap_or(now),
                expires: self.expires.over(None),
                negated: self.negated.unwrap_or(false),
            };
        };
        let is_spelled = self
            .handle
            .as_str()
            .bytes()
            .any(|byte| byte.is_ascii_uppercase());
        Label {
            subject: super::Subject {
                // Letters that are all small say nothing about the spelling.
                handle: match is_spelled {
                    true => self.handle,
                    false => before.subject.handle,
                },
                id: self.id.over(before.subject.id),
            },
            label: self.label.clone(),
            colour: self.colour.over(before.colour),
            note: self.note.over(before.note.clone()),
            source: self.source.over(before.source.clone()),
            created: before.created,
            updated: self.updated.unwrap_or(now),
            expires: self.expires.over(before.expires.filter(|end| *end > now)),
            negated: self.negated.unwrap_or(before.negated),
        }
    }
}

/// The parts in which two states of a label differ. Times of creation and change are no such parts.
pub fn differences(before: &Label, after: &Label) -> Vec<FieldChange> {
    let change = |field: Field| {
        let (before, after) = (field.of(before), field.of(after));
        (before != after).then_some(FieldChange {
            field,
            before,
            after,
        })
    };
    Field::ALL.into_iter().filter_map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_795_253_220_000);

    fn edit() -> LabelEdit {
        LabelEdit::new(
            Handle::parse("@alice").unwrap(),
            Tag::parse("spam").unwrap(),
        )
    }

    fn full() -> Label {
        let mut edit = LabelEdit::new(
            Handle::parse("@Alice").unwrap(),
            Tag::parse("spam").unwrap(),
        );
        for (field, text) in VALUES {
            edit.set(field, text, NOW).unwrap();
        }
        edit.apply(None, NOW)
    }

    const VALUES: [(Field, &str); 6] = [
        (Field::Note, " sells\r\nfollowers "),
        (Field::Colour, " #FF0000 "),
        (Field::Source, "did:key:z6Mk"),
        (Field::Id, "1778338116564078593"),
        (Field::Expires, "2030-01-31"),
        (Field::Negated, "YES"),
    ];

    #[test]
    fn what_an_edit_does_not_name_stays() {
        let before = full();
        let later = NOW + core::time::Duration::from_secs(1);
        let after = edit().apply(Some(&before), later);
        assert_eq!(
            after,
            Label {
                updated: later,
                ..before.clone()
            }
        );
        assert!(differences(&before, &after).is_empty());
        for (field, _) in VALUES {
            let mut silent = edit();
            silent.set(field, "", NOW).unwrap();
            silent.set(field, " \r\n", NOW).unwrap();
            assert_eq!(silent, edit(), "{field:?}: empty text says nothing");

            let mut clearing = edit();
            clearing.clear(field);
            let cleared = clearing.apply(Some(&before), later);
            let changes = differences(&before, &cleared);
            assert_eq!(changes.len(), 1, "{changes:?}");
            assert_eq!((changes[0].field, &changes[0].after), (field, &None));
            assert_eq!(Field::parse(field.as_str()), Some(field));
        }
    }

    #[test]
    fn parts_are_read_as_people_write_them() {
        let label = full();
        assert_eq!(label.note.as_ref().unwrap().as_str(), " sells\nfollowers ");
        assert_eq!(label.subject.id, Some(1_778_338_116_564_078_593));
        assert_eq!(
            label.expires.unwrap().to_string(),
            "2030-02-01T00:00:00.000Z"
        );
        assert!(label.negated);
        let refused = |field, text: &str| edit().set(field, text, NOW).unwrap_err();
        assert_eq!(refused(Field::Id, "-1"), FieldError::Id);
        assert_eq!(refused(Field::Id, "+1"), FieldError::Id);
        assert_eq!(refused(Field::Id, "1.7783381165640785e18"), FieldError::Id);
        assert_eq!(refused(Field::Negated, "x"), FieldError::Negated);
        assert_eq!(
            refused(Field::Expires, "1900000000"),
            FieldError::Time(TimeError::Seconds)
        );
        assert!(matches!(
            refused(Field::Expires, "2020-01-31"),
            FieldError::Ended(_)
        ));
        assert!(matches!(
            refused(Field::Colour, "red"),
            FieldError::Label(_)
        ));
    }

    #[test]
    fn a_label_that_has_ended_is_put_on_the_handle_again() {
        let mut before = full();
        before.expires = Some(NOW);
        let after = edit().apply(Some(&before), NOW);
        assert_eq!(after.expires, None);
        assert_eq!(after.note, before.note);
        assert_eq!(differences(&before, &after)[0].field, Field::Expires);
    }

    #[test]
    fn a_number_in_the_place_of_the_handle_is_the_account_s() {
        let edit = LabelEdit::new(Handle::of_number(17), Tag::parse("spam").unwrap());
        assert_eq!(edit.apply(None, NOW).subject.id, Some(17));
    }
}
