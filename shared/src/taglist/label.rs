//! Labels and their parts, each a type that can only hold what its rules allow.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, str::FromStr};

use super::Key;
use crate::{
    limits::{HANDLE_BYTES, LABEL_BYTES, LimitExceeded, NOTE_CHARS, SOURCE_BYTES, SUBJECT_BYTES},
    time::Millis,
};

/// One label on one handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Whom the label is about.
    pub subject: Subject,
    /// The label.
    pub label: Tag,
    /// Colour of its badge.
    pub colour: Option<Colour>,
    /// A remark.
    pub note: Option<Note>,
    /// The DID the label was learnt from.
    pub source: Option<Source>,
    /// When the label was first put on the handle, as its author says.
    pub created: Millis,
    /// When it was last changed, as its author says.
    pub updated: Millis,
    /// When it ends.
    pub expires: Option<Millis>,
    /// The label states that it does *not* apply.
    pub negated: bool,
}

impl Label {
    /// A label without any of the optional parts, created and updated at `at`.
    pub fn new(handle: Handle, label: Tag, at: Millis) -> Label {
        Label {
            subject: Subject { handle, id: None },
            label,
            colour: None,
            note: None,
            source: None,
            created: at,
            updated: at,
            expires: None,
            negated: false,
        }
    }

    /// Where the label is in a list.
    pub fn key(&self) -> Key {
        Key::new(&self.subject.handle, &self.label)
    }

    /// Whether the label has ended at `now`.
    pub fn is_expired(&self, now: Millis) -> bool {
        self.expires.is_some_and(|end| end <= now)
    }
}

/// Whom a label is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    /// The account's handle.
    pub handle: Handle,
    /// The account's number, which stays when the handle changes.
    pub id: Option<u64>,
}

/// An x.com handle: 1 to 15 letters, digits and underscores. It keeps its spelling; two spellings are
/// equal for [`Key`]s, not for `==`. In the place of a handle that is not known stands `#` and the account's number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle {
    bytes: [u8; SUBJECT_BYTES],
    len: u8,
}

impl Handle {
    /// What stands for an account of which only the number is known.
    pub fn of_number(id: u64) -> Handle {
        Handle::from_checked(alloc::format!("#{id}").as_bytes())
    }

    /// The account's number, where that stands in the place of the handle.
    pub fn number(&self) -> Option<u64> {
        self.as_str().strip_prefix('#')?.parse().ok()
    }

    /// Parses a handle with or without its `@`, or `#` and a number.
    ///
    /// # Errors
    /// Refuses other characters and lengths.
    pub fn parse(text: &str) -> Result<Handle, LabelError> {
        Handle::parse_bytes(text.strip_prefix('@').unwrap_or(text).as_bytes())
    }

    pub(crate) fn parse_bytes(text: &[u8]) -> Result<Handle, LabelError> {
        let valid = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let is_handle = !text.is_empty() && text.len() <= HANDLE_BYTES && text.iter().all(valid);
        if is_handle || is_number(text) {
            Ok(Handle::from_checked(text))
        } else {
            Err(LabelError::Handle)
        }
    }

    fn from_checked(text: &[u8]) -> Handle {
        let mut bytes = [0; SUBJECT_BYTES];
        bytes[..text.len()].copy_from_slice(text);
        Handle {
            bytes,
            len: text.len() as u8,
        }
    }

    /// The handle as it is spelled, without `@`; `#` and the number where that stands in its place.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..usize::from(self.len)]).expect("a handle is ASCII")
    }

    /// The handle in lower case.
    pub fn lower(&self) -> Handle {
        let mut lower = *self;
        lower.bytes.make_ascii_lowercase();
        lower
    }
}

/// Whether text is `#` and a number of an account in its only form.
fn is_number(text: &[u8]) -> bool {
    let number = text
        .strip_prefix(b"#")
        .and_then(|digits| core::str::from_utf8(digits).ok())
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
        .filter(|digits| *digits == "0" || !digits.starts_with('0'));
    number.is_some_and(|digits| digits.parse::<u64>().is_ok())
}

impl fmt::Display for Handle {
    /// With `@`, or `#` and the number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bytes[0] {
            b'#' => f.write_str(self.as_str()),
            _ => write!(f, "@{}", self.as_str()),
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Handle {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Handle, LabelError> {
        Handle::parse(text)
    }
}

/// The text of a label: 1 to 50 lower-case letters, digits and hyphens.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

impl Tag {
    /// Parses a label.
    ///
    /// # Errors
    /// Refuses other characters and lengths.
    pub fn parse(text: &str) -> Result<Tag, LabelError> {
        Tag::check(text.as_bytes())?;
        Ok(Tag(text.to_string()))
    }

    pub(crate) fn check(text: &[u8]) -> Result<(), LabelError> {
        let valid = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
        if text.is_empty() || text.len() > LABEL_BYTES || !text.iter().all(valid) {
            return Err(LabelError::Label);
        }
        Ok(())
    }

    /// A label whose bytes [`Tag::check`] has accepted.
    pub(crate) fn from_checked(text: &[u8]) -> Tag {
        Tag(String::from_utf8(Vec::from(text)).expect("a label is ASCII"))
    }

    /// The label's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Tag {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Tag, LabelError> {
        Tag::parse(text)
    }
}

/// A colour in red, green and blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour(pub [u8; 3]);

impl Colour {
    /// Parses `#rrggbb`, in any case.
    ///
    /// # Errors
    /// Refuses other forms.
    pub fn parse(text: &str) -> Result<Colour, LabelError> {
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6);
        let digits = digits.ok_or(LabelError::Colour)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(LabelError::Colour);
        }
        let number = u32::from_str_radix(digits, 16).map_err(|_| LabelError::Colour)?;
        let [_, red, green, blue] = number.to_be_bytes();
        Ok(Colour([red, green, blue]))
    }
}

impl fmt::Display for Colour {
    /// `#rrggbb` in lower case.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

impl FromStr for Colour {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Colour, LabelError> {
        Colour::parse(text)
    }
}

/// A remark of 1 to 280 characters. Line breaks are allowed, other control characters are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note(String);

impl Note {
    /// Parses a remark.
    ///
    /// # Errors
    /// Refuses empty text, control characters other than line feeds, and text above [`NOTE_CHARS`].
    pub fn parse(text: &str) -> Result<Note, LabelError> {
        LimitExceeded::check("note characters", NOTE_CHARS, text.chars().count())?;
        if text.is_empty() || text.chars().any(|c| c.is_control() && c != '\n') {
            return Err(LabelError::Note);
        }
        Ok(Note(text.to_string()))
    }

    /// The remark's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The DID a label was learnt from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source(String);

impl Source {
    /// Parses a DID by the syntax of W3C DID Core, section 3.1; any method is allowed.
    ///
    /// # Errors
    /// Refuses other text and text above [`SOURCE_BYTES`].
    pub fn parse(text: &str) -> Result<Source, LabelError> {
        LimitExceeded::check("source bytes", SOURCE_BYTES, text.len())?;
        let (method, id) = text
            .strip_prefix("did:")
            .and_then(|rest| rest.split_once(':'))
            .ok_or(LabelError::Source)?;
        let method_char = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let id_char = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:%".contains(&byte);
        if method.is_empty() || !method.bytes().all(method_char) {
            return Err(LabelError::Source);
        }
        if id.is_empty() || id.ends_with(':') || !id.bytes().all(id_char) {
            return Err(LabelError::Source);
        }
        Ok(Source(text.to_string()))
    }

    /// The DID's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why something is no label or no part of one.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// Not a handle.
    #[error(
        "a handle is 1 to {HANDLE_BYTES} letters, digits and underscores, with or without @; for an account of which only the number is known write # and the number"
    )]
    Handle,
    /// Not a label.
    #[error("a label is 1 to {LABEL_BYTES} lower-case letters, digits and hyphens")]
    Label,
    /// Not a colour.
    #[error("a colour is written #rrggbb")]
    Colour,
    /// Not a note.
    #[error("a note is text without control characters and not empty")]
    Note,
    /// Not a DID.
    #[error("a source is a DID such as did:key:z6Mk…")]
    Source,
    /// Something is too long.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_keep_their_spelling() {
        for (text, shown) in [
            ("@Alice_1", "@Alice_1"),
            ("x", "@x"),
            ("ABCDEFGHIJKLMNO", "@ABCDEFGHIJKLMNO"),
        ] {
            assert_eq!(Handle::parse(text).unwrap().to_string(), shown);
        }
        assert_eq!(Handle::parse("AbC").unwrap().lower().as_str(), "abc");
        for text in ["", "@", "@@a", "a-b", "a b", "ABCDEFGHIJKLMNOP", "ä", "a\0"] {
            assert_eq!(Handle::parse(text), Err(LabelError::Handle), "{text:?}");
        }
    }

    #[test]
    fn a_number_stands_for_a_handle_that_is_not_known() {
        for id in [0, 7, 1_778_338_116_564_078_593, u64::MAX] {
            let handle = Handle::of_number(id);
            assert_eq!(handle.number(), Some(id));
            assert_eq!(handle.to_string(), alloc::format!("#{id}"));
            assert_eq!(Handle::parse(&handle.to_string()), Ok(handle));
            let key = Key::new(&handle, &Tag::parse(&"a".repeat(50)).unwrap());
            assert_eq!(Key::parse(key.as_bytes()).unwrap().handle(), handle);
        }
        assert_eq!(Handle::parse("17").unwrap().number(), None);
        for text in ["#", "#01", "#-1", "#1a", "#18446744073709551616"] {
            assert_eq!(Handle::parse(text), Err(LabelError::Handle), "{text:?}");
        }
    }

    #[test]
    fn parts_hold_only_what_their_rules_allow() {
        assert!(Tag::parse("spam-2").is_ok());
        assert!(Tag::parse(&"a".repeat(50)).is_ok());
        for text in ["", "Spam", "a b", "a_b", "ä", &"a".repeat(51)] {
            assert_eq!(Tag::parse(text), Err(LabelError::Label), "{text:?}");
        }
        assert_eq!(Colour::parse("#FFa000").unwrap().to_string(), "#ffa000");
        for text in ["", "ffa000", "#fff", "#ffa00g", "#+fa000", "#ffa0000"] {
            assert_eq!(Colour::parse(text), Err(LabelError::Colour), "{text:?}");
        }
        assert!(Note::parse(&"ä".repeat(280)).is_ok());
        assert!(Note::parse("two\nlines").is_ok());
        assert_eq!(Note::parse(""), Err(LabelError::Note));
        assert_eq!(Note::parse("a\u{7}"), Err(LabelError::Note));
        assert!(matches!(
            Note::parse(&"ä".repeat(281)),
            Err(LabelError::Limit(_))
        ));
        for text in [
            "did:key:z6Mk",
            "did:web:example.com:user",
            "did:ipns:k51abc",
        ] {
            assert!(Source::parse(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "did:",
            "did:key:",
            "did:KEY:a",
            "did:key:a b",
            "did:key:a:",
            "key:a",
        ] {
            assert_eq!(Source::parse(text), Err(LabelError::Source), "{text:?}");
        }
        assert!(matches!(
            Source::parse(&("did:a:".to_string() + &"a".repeat(251))),
            Err(LabelError::Limit(_))
        ));
    }

    #[test]
    fn a_label_ends_at_its_expiry() {
        let mut label = Label::new(
            Handle::parse("a").unwrap(),
            Tag::parse("b").unwrap(),
            Millis(1),
        );
        assert!(!label.is_expired(Millis(u64::MAX)));
        label.expires = Some(Millis(10));
        assert!(!label.is_expired(Millis(9)));
        assert!(label.is_expired(Millis(10)));
    }
}
