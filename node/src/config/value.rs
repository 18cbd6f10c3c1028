//! Values as they are given, and spans of time and sizes as they are written.

use std::time::Duration;

use super::Origin;

/// A value somebody gave.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) origin: Origin,
    pub(super) items: Vec<String>,
    is_list: bool,
}

/// Why a value is refused.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) message: String,
    pub(super) fix: String,
}

/// Refuses a value.
pub(super) fn refuse<T>(message: &str, fix: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal {
        message: message.to_owned(),
        fix: fix.into(),
    })
}

impl Given {
    /// A value given as text: a list setting takes it as items separated by commas.
    pub(super) fn text(value: &str, origin: Origin) -> Given {
        Given {
            origin,
            items: vec![value.to_owned()],
            is_list: false,
        }
    }

    /// A list.
    pub(super) fn list(items: Vec<String>, origin: Origin) -> Given {
        Given {
            origin,
            items,
            is_list: true,
        }
    }

    /// The value for a message.
    pub(super) fn quoted(&self) -> String {
        if self.is_list {
            return format!("= {:?}", self.items);
        }
        let text = self.items.first().map_or("", String::as_str);
        let cut: String = text.chars().take(80).collect();
        format!("= {cut:?}")
    }

    /// The value, when it is no list.
    pub(super) fn one(&self) -> Result<&str, Refusal> {
        match self.items.as_slice() {
            [one] if !self.is_list => Ok(one.trim()),
            _ => refuse("is a list", "write one value"),
        }
    }

    /// The items of a list, or of text with commas.
    pub(super) fn many(&self) -> impl Iterator<Item = &str> {
        let separator = if self.is_list { '\0' } else { ',' };
        self.items
            .iter()
            .flat_map(move |item| item.split(separator))
            .map(str::trim)
            .filter(|item| !item.is_empty())
    }

    /// Whether it is this word alone.
    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(self.items.as_slice(), [only] if only.trim() == word)
    }
}

const SPANS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

const SIZES: [(&str, u64); 5] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

/// A span of time.
pub(super) fn parse_span(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, millis) = SPANS.iter().find(|(name, _)| *name == unit.trim())?;
    let number: u64 = number.parse().ok()?;
    Some(Duration::from_millis(number.checked_mul(*millis)?))
}

/// A size in bytes.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = if unit.is_empty() { "B" } else { unit.trim() };
    let (_, bytes) = SIZES.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*bytes)
}

/// A span as it can be written in the file.
pub(super) fn show_span(span: Duration) -> String {
    let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let (unit, size) = SPANS
        .iter()
        .rev()
        .find(|(_, size)| millis >= *size && millis.is_multiple_of(*size))
        .unwrap_or(&SPANS[0]);
    format!("{}{unit}", millis / size)
}

/// A size as it can be written in the file.
pub(super) fn show_size(bytes: u64) -> String {
    let (unit, size) = SIZES
        .iter()
        .find(|(_, size)| bytes >= *size && bytes.is_multiple_of(*size))
        .unwrap_or(&SIZES[4]);
    format!("{}{unit}", bytes / size)
}
