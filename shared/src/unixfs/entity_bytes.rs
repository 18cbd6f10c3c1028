//! Which bytes of an entity a client asks for (trustless gateway specification, `entity-bytes`).

use core::{fmt, ops::Range, str::FromStr};

/// The value `from:to`. Both are places of bytes, counted from the end where they are negative, and both are included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntityBytes {
    from: i64,
    /// `None` is the end.
    to: Option<i64>,
}

/// What that comes to in an entity whose size is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selected {
    /// These bytes, some at least; where they reach the end the range ends at `u64::MAX`.
    Bytes(Range<u64>),
    /// No byte at all, from inside of the entity or from its end.
    Nothing,
    /// It begins behind the last byte.
    Outside,
}

/// The text is no value of `entity-bytes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "entity-bytes is two whole numbers with a colon between, the second one `*` for the end, and ends no earlier than it begins"
)]
pub struct EntityBytesError;

impl FromStr for EntityBytes {
    type Err = EntityBytesError;

    /// # Errors
    /// Refuses what is not of the form, numbers that do not fit into 64 bits, and an end before the beginning where both are counted
    /// from the same side.
    fn from_str(text: &str) -> Result<EntityBytes, EntityBytesError> {
        let (from, to) = text.split_once(':').ok_or(EntityBytesError)?;
        let from = number(from)?;
        let to = match to {
            "*" => None,
            to => Some(number(to)?),
        };
        let is_backwards = |to: i64| (from < 0) == (to < 0) && to < from;
        if to.is_some_and(is_backwards) {
            return Err(EntityBytesError);
        }
        Ok(EntityBytes { from, to })
    }
}

/// The form that is read.
impl fmt::Display for EntityBytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to {
            Some(to) => write!(formatter, "{}:{to}", self.from),
            None => write!(formatter, "{}:*", self.from),
        }
    }
}

/// Digits, with a minus before them or nothing.
fn number(text: &str) -> Result<i64, EntityBytesError> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = is_number.then(|| text.parse().ok()).flatten();
    parsed.ok_or(EntityBytesError)
}

impl EntityBytes {
    /// What it comes to in an entity of so many bytes.
    pub fn of(&self, size: u64) -> Selected {
        let place = |number: i64| match u64::try_from(number) {
            Ok(place) => Some(place),
            Err(_) => size.checked_sub(number.unsigned_abs()),
        };
        // What begins before the first byte begins with it.
        let from = place(self.from).unwrap_or(0);
        if from > 0 && from >= size {
            return Selected::Outside;
        }
        let end = match self.to.map(place) {
            None => size,
            // It ends before the first byte.
            Some(None) => 0,
            Some(Some(last)) => last.saturating_add(1).min(size),
        };
        if from >= end {
            return Selected::Nothing;
        }
        Selected::Bytes(from..if end == size { u64::MAX } else { end })
    }
}
