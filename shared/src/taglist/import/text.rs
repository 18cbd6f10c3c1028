//! The text of a file: its encoding and its lines, as the programs of this world write them.

use alloc::{borrow::Cow, string::String};

use super::ImportError;
use crate::limits::{IMPORT_BYTES, LimitExceeded};

/// How a file's characters are encoded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8, with or without a byte order mark.
    #[default]
    Utf8,
    /// UTF-16, little end first.
    Utf16Le,
    /// UTF-16, big end first.
    Utf16Be,
}

impl Encoding {
    /// Its usual name.
    pub fn as_str(self) -> &'static str {
        match self {
            Encoding::Utf8 => "UTF-8",
            Encoding::Utf16Le => "UTF-16LE",
            Encoding::Utf16Be => "UTF-16BE",
        }
    }

    /// By the byte order mark, or by where the zero bytes of a first ASCII character are.
    fn of(bytes: &[u8]) -> Encoding {
        match bytes {
            [0xff, 0xfe, ..] => Encoding::Utf16Le,
            [0xfe, 0xff, ..] => Encoding::Utf16Be,
            [first, 0, ..] if *first != 0 => Encoding::Utf16Le,
            [0, second, ..] if *second != 0 => Encoding::Utf16Be,
            _ => Encoding::Utf8,
        }
    }
}

/// The file as text, without a byte order mark.
pub(super) fn decode(bytes: &[u8]) -> Result<(Cow<'_, str>, Encoding), ImportError> {
    LimitExceeded::check("import bytes", IMPORT_BYTES, bytes.len())?;
    let encoding = Encoding::of(bytes);
    let mut text = match encoding {
        Encoding::Utf8 => core::str::from_utf8(bytes)
            .map(Cow::Borrowed)
            .map_err(|error| not_text(1 + count_breaks(&bytes[..error.valid_up_to()])))?,
        Encoding::Utf16Le => Cow::Owned(utf16(bytes, u16::from_le_bytes)?),
        Encoding::Utf16Be => Cow::Owned(utf16(bytes, u16::from_be_bytes)?),
    };
    if text.starts_with('\u{feff}') {
        text = match text {
            Cow::Borrowed(text) => Cow::Borrowed(&text['\u{feff}'.len_utf8()..]),
            Cow::Owned(mut text) => {
                text.remove(0);
                Cow::Owned(text)
            }
        };
    }
    if text.trim().is_empty() {
        return Err(ImportError::Empty);
    }
    Ok((text, encoding))
}

fn utf16(bytes: &[u8], unit: impl Fn([u8; 2]) -> u16) -> Result<String, ImportError> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let mut text = String::with_capacity(bytes.len() / 2);
    let mut is_text = rest.is_empty();
    for character in char::decode_utf16(pairs.iter().map(|pair| unit(*pair))) {
        match character {
            Ok(character) => text.push(character),
            Err(_) => {
                is_text = false;
                break;
            }
        }
    }
    match is_text {
        true => Ok(text),
        false => Err(not_text(1 + count_breaks(text.as_bytes()))),
    }
}

fn not_text(line: u64) -> ImportError {
    ImportError::NotText { line }
}

/// How many lines end in `bytes`: with LF, CR LF or CR alone.
pub(super) fn count_breaks(bytes: &[u8]) -> u64 {
    let ends = bytes.iter().enumerate().filter(|(at, byte)| match byte {
        b'\n' => true,
        b'\r' => bytes.get(at + 1) != Some(&b'\n'),
        _ => false,
    });
    ends.count() as u64
}
