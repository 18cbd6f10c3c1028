//! Lists and maps while they are read.

use core::cmp::Ordering;

use super::{Decoder, Kind};
use crate::codec::{CodecError, FieldProblem};

/// A list that is being read.
#[derive(Debug)]
pub struct ListItems {
    remaining: usize,
}

impl ListItems {
    pub(super) fn new(remaining: usize) -> ListItems {
        ListItems { remaining }
    }

    /// Whether there is another item, to be read from the decoder now. Call it until it says no: that
    /// call closes the list.
    ///
    /// # Errors
    /// Refuses an input that ends where the item should begin.
    pub fn next(&mut self, decoder: &mut Decoder<'_>) -> Result<bool, CodecError> {
        match self.remaining.checked_sub(1) {
            Some(_) if decoder.at == decoder.input.len() => Err(decoder.truncated()),
            Some(remaining) => {
                self.remaining = remaining;
                Ok(true)
            }
            None => {
                decoder.depth = decoder.depth.saturating_sub(1);
                Ok(false)
            }
        }
    }

    /// Items not yet begun; never more than the input can hold.
    pub fn remaining(&self) -> usize {
        self.remaining
    }
}

/// A map that is being read.
#[derive(Debug)]
pub struct MapEntries<'a> {
    remaining: usize,
    last: Option<&'a str>,
}

impl<'a> MapEntries<'a> {
    pub(super) fn new(remaining: usize) -> MapEntries<'a> {
        MapEntries {
            remaining,
            last: None,
        }
    }

    /// The name of the next entry, whose value is to be read from the decoder now. Call it until
    /// there is none: that call closes the map.
    ///
    /// # Errors
    /// Refuses names that are no text, repeated, or not in canonical order.
    pub fn next(&mut self, decoder: &mut Decoder<'a>) -> Result<Option<&'a str>, CodecError> {
        let Some(remaining) = self.remaining.checked_sub(1) else {
            decoder.depth = decoder.depth.saturating_sub(1);
            return Ok(None);
        };
        let offset = decoder.at;
        if decoder.kind()? != Kind::Text {
            return Err(decoder.malformed("a map key that is not text"));
        }
        let key = decoder.text()?;
        if let Some(last) = self.last {
            let reason = match key_order(last.as_bytes(), key.as_bytes()) {
                Ordering::Less => None,
                Ordering::Equal => Some("a map key that was there before"),
                Ordering::Greater => Some("a map key that is not in canonical order"),
            };
            if let Some(reason) = reason {
                return Err(CodecError::Malformed { offset, reason });
            }
        }
        self.remaining = remaining;
        self.last = Some(key);
        Ok(Some(key))
    }

    /// Reads the name of the next entry, which must be `name`.
    ///
    /// # Errors
    /// Refuses another name and the end of the map.
    pub fn required(&mut self, decoder: &mut Decoder<'a>, name: &str) -> Result<(), CodecError> {
        if self.optional(decoder, name)? {
            Ok(())
        } else {
            Err(CodecError::field(name, FieldProblem::Missing))
        }
    }

    /// Reads the name of the next entry if it is `name`; otherwise leaves it for later.
    ///
    /// # Errors
    /// Refuses names that are no text, repeated, or not in canonical order.
    pub fn optional(&mut self, decoder: &mut Decoder<'a>, name: &str) -> Result<bool, CodecError> {
        if self.remaining == 0 {
            return Ok(false);
        }
        let (start, last) = (decoder.at, self.last);
        if self.next(decoder)? == Some(name) {
            return Ok(true);
        }
        decoder.at = start;
        self.last = last;
        self.remaining += 1;
        Ok(false)
    }

    /// Closes the map.
    ///
    /// # Errors
    /// Refuses an entry that was not read.
    pub fn finish(mut self, decoder: &mut Decoder<'a>) -> Result<(), CodecError> {
        match self.next(decoder)? {
            None => Ok(()),
            Some(name) => Err(CodecError::field(name, FieldProblem::Unknown)),
        }
    }

    /// Entries not yet begun; never more than the input can hold.
    pub fn remaining(&self) -> usize {
        self.remaining
    }
}

/// The order of names in a map: shorter first, names of one length bytewise (RFC 7049, section 3.9,
/// which DAG-CBOR keeps).
pub(super) fn key_order(a: &[u8], b: &[u8]) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}
