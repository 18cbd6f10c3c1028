//! Rows, the values of a list's tree, and the changes that make them.
//!
//! A row without its key is the DAG-CBOR list `[clock, device]`, `[clock, device, parts]` or
//! `[clock, device, null]`: clock reading as an integer, the device tag as 8 bytes, then a map of the
//! label's optional parts (absent when there are none) or null when the label was removed. A change in a
//! log entry is `[key]`, `[key, parts]` or `[key, null]`: the entry holds clock and device once. A change
//! that was made before the entry was signed has a second item, an integer above zero: how much its clock reading
//! is below the entry's, so that no change can be later than its entry. The parts, none of them written
//! when it has its default:
//!
//! | name | kind | meaning | default |
//! |---|---|---|---|
//! | `a` | integer | created, Unix milliseconds | the clock's milliseconds |
//! | `c` | 3 bytes | colour | none |
//! | `h` | text | the handle's spelling | as in the key |
//! | `i` | integer | the account's number | unknown |
//! | `n` | text | note | none |
//! | `s` | text | source DID | none |
//! | `t` | true | negated | false |
//! | `u` | integer | updated, Unix milliseconds | the clock's milliseconds |
//! | `x` | integer | expires, Unix milliseconds | never |

use alloc::vec::Vec;

use super::{Colour, DeviceTag, Handle, Hlc, Key, Label, LabelError, Note, Source, Stamp, Subject};
use crate::{
    codec::{
        CodecError,
        dag_cbor::{Decoder, Encoder, Kind, ListItems},
    },
    time::Millis,
};

/// What a list knows about one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Which label on which handle.
    pub key: Key,
    /// The last change of this row.
    pub stamp: Stamp,
    /// The label, or `None` when that change removed it. The fact is kept so that merging with a device
    /// that has not heard of the removal does not bring the label back; compaction drops it.
    pub label: Option<Label>,
}

impl Row {
    /// The row's bytes without its key.
    pub(crate) fn encode(&self) -> Vec<u8> {
        encode_row(self.stamp, self.label.as_ref())
    }

    /// Reads a row whose key is known.
    ///
    /// # Errors
    /// Refuses what [`Row::encode`] would not have written.
    pub(crate) fn decode(key: Key, bytes: &[u8]) -> Result<Row, CodecError> {
        let mut decoder = Decoder::new(bytes)?;
        let mut items = decoder.list()?;
        next(&mut items, &mut decoder)?;
        let clock = Hlc::from_u64(decoder.uint()?);
        next(&mut items, &mut decoder)?;
        let device = DeviceTag(decoder.byte_array()?);
        let more = items.next(&mut decoder)?;
        let label = decode_state(more, &mut items, &mut decoder, key, clock)?;
        decoder.finish()?;
        let stamp = Stamp { clock, device };
        Ok(Row { key, stamp, label })
    }

    /// Whether this row replaces `other`, a row of the same key: the later stamp does. Of two rows with
    /// one stamp, which only a device that signs twice with one clock reading can make, the one whose
    /// bytes are greater does, so that every reader agrees.
    pub fn replaces(&self, other: &Row) -> bool {
        match self.stamp.cmp(&other.stamp) {
            core::cmp::Ordering::Less => false,
            core::cmp::Ordering::Greater => true,
            core::cmp::Ordering::Equal => self.encode() > other.encode(),
        }
    }
}

/// A change of one label.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(
    clippy::large_enum_variant,
    reason = "nearly every change of a list sets a label"
)]
pub enum Op {
    /// Puts the label on its handle or replaces the one that is there.
    Set(Label),
    /// Takes the label off its handle.
    Remove(Key),
}

impl Op {
    /// Which label on which handle is changed.
    pub fn key(&self) -> Key {
        match self {
            Op::Set(label) => label.key(),
            Op::Remove(key) => *key,
        }
    }

    /// The label that the change leaves; none when it takes the label off.
    pub fn label(&self) -> Option<&Label> {
        match self {
            Op::Set(label) => Some(label),
            Op::Remove(_) => None,
        }
    }

    /// The row this change makes when it has `stamp`.
    pub fn into_row(self, stamp: Stamp) -> Row {
        let key = self.key();
        let label = match self {
            Op::Set(label) => Some(label),
            Op::Remove(_) => None,
        };
        Row { key, stamp, label }
    }
}

/// A change and when it was made, which can be long before it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatedOp {
    /// The change.
    pub op: Op,
    /// The reading of its device's clock when it was made.
    pub clock: Hlc,
}

impl DatedOp {
    /// Which label on which handle is changed.
    pub fn key(&self) -> Key {
        self.op.key()
    }

    /// The stamp of the row the change makes when `device` signs it.
    pub fn stamp(&self, device: DeviceTag) -> Stamp {
        Stamp {
            clock: self.clock,
            device,
        }
    }

    /// Writes the change as it is in a log entry signed at `signed`, which is not before the change.
    ///
    /// # Errors
    /// None within the limits of a label.
    pub(crate) fn encode(&self, encoder: &mut Encoder, signed: Hlc) -> Result<(), CodecError> {
        let before = signed.as_u64() - self.clock.as_u64();
        let parts = self.op.label().map(|label| Parts::new(label, self.clock));
        let plain = parts.as_ref().is_some_and(|parts| parts.count == 0);
        encoder.list(1 + usize::from(before > 0) + usize::from(!plain))?;
        encoder.bytes(self.key().as_bytes());
        if before > 0 {
            encoder.uint(before);
        }
        match parts {
            Some(parts) => parts.encode(encoder)?,
            None => encoder.null(),
        }
        encoder.end();
        Ok(())
    }

    /// Reads a change of a log entry signed at `signed`.
    ///
    /// # Errors
    /// Refuses what [`DatedOp::encode`] would not have written.
    pub(crate) fn decode(decoder: &mut Decoder<'_>, signed: Hlc) -> Result<DatedOp, CodecError> {
        let mut items = decoder.list()?;
        next(&mut items, decoder)?;
        let bytes = decoder.bytes()?;
        let key = Key::parse(bytes).map_err(|_| decoder.malformed("not the key of a label"))?;
        let mut clock = signed;
        let mut more = items.next(decoder)?;
        if more && decoder.kind()? == Kind::Int {
            let before = decoder.uint()?;
            let made = signed.as_u64().checked_sub(before);
            clock = match made {
                Some(made) if before > 0 => Hlc::from_u64(made),
                _ => return Err(decoder.malformed("a change that is not before its entry")),
            };
            more = items.next(decoder)?;
        }
        let label = decode_state(more, &mut items, decoder, key, clock)?;
        let op = label.map_or(Op::Remove(key), Op::Set);
        Ok(DatedOp { op, clock })
    }
}

/// The bytes of a row without its key.
pub(crate) fn encode_row(stamp: Stamp, label: Option<&Label>) -> Vec<u8> {
    let mut encoder = Encoder::with_capacity(48);
    encode_row_into(&mut encoder, stamp, label)
        .and_then(|()| encoder.finish())
        .expect("a label within its limits can be encoded")
}

fn encode_row_into(
    encoder: &mut Encoder,
    stamp: Stamp,
    label: Option<&Label>,
) -> Result<(), CodecError> {
    let parts = label.map(|label| Parts::new(label, stamp.clock));
    let plain = parts.as_ref().is_some_and(|parts| parts.count == 0);
    encoder.list(if plain { 2 } else { 3 })?;
    encoder.uint(stamp.clock.as_u64());
    encoder.bytes(&stamp.device.0);
    match parts {
        Some(parts) => parts.encode(encoder)?,
        None => encoder.null(),
    }
    encoder.end();
    Ok(())
}

/// A label and how many of its parts are written.
struct Parts<'a> {
    label: &'a Label,
    at: Millis,
    spelled: bool,
    count: usize,
}

impl<'a> Parts<'a> {
    fn new(label: &'a Label, clock: Hlc) -> Parts<'a> {
        let at = clock.millis();
        let spelling = label.subject.handle.as_str().as_bytes();
        let spelled = spelling.iter().any(u8::is_ascii_uppercase);
        let written = [
            label.created != at,
            label.colour.is_some(),
            spelled,
            label.subject.id.is_some(),
            label.note.is_some(),
            label.source.is_some(),
            label.negated,
            label.updated != at,
            label.expires.is_some(),
        ];
        Parts {
            label,
            at,
            spelled,
            count: written.into_iter().filter(|written| *written).count(),
        }
    }

    /// Writes the map of parts, or nothing when it would be empty.
    fn encode(&self, encoder: &mut Encoder) -> Result<(), CodecError> {
        if self.count == 0 {
            return Ok(());
        }
        let label = self.label;
        encoder.map(self.count)?;
        if label.created != self.at {
            encoder.key("a");
            encoder.uint(label.created.0);
        }
        if let Some(colour) = label.colour {
            encoder.key("c");
            encoder.bytes(&colour.0);
        }
        if self.spelled {
            encoder.key("h");
            encoder.text(label.subject.handle.as_str());
        }
        if let Some(id) = label.subject.id {
            encoder.key("i");
            encoder.uint(id);
        }
        if let Some(note) = &label.note {
            encoder.key("n");
            encoder.text(note.as_str());
        }
        if let Some(source) = &label.source {
            encoder.key("s");
            encoder.text(source.as_str());
        }
        if label.negated {
            encoder.key("t");
            encoder.bool(true);
        }
        if label.updated != self.at {
            encoder.key("u");
            encoder.uint(label.updated.0);
        }
        if let Some(expires) = label.expires {
            encoder.key("x");
            encoder.uint(expires.0);
        }
        encoder.end();
        Ok(())
    }
}

/// Reads the rest of a row's or a change's list: parts, null or, where there is no more, nothing.
fn decode_state(
    more: bool,
    items: &mut ListItems,
    decoder: &mut Decoder<'_>,
    key: Key,
    clock: Hlc,
) -> Result<Option<Label>, CodecError> {
    let at = clock.millis();
    let mut label = Label::new(key.handle(), key.label(), at);
    if !more {
        return Ok(Some(label));
    }
    if decoder.kind()? == Kind::Null {
        decoder.null()?;
        return end(items, decoder).map(|()| None);
    }
    decode_parts(decoder, &mut label, at)?;
    end(items, decoder)?;
    Ok(Some(label))
}

fn decode_parts(
    decoder: &mut Decoder<'_>,
    label: &mut Label,
    at: Millis,
) -> Result<(), CodecError> {
    let mut parts = decoder.map()?;
    if parts.remaining() == 0 {
        return Err(decoder.malformed("an empty map of parts, which is left out"));
    }
    if parts.optional(decoder, "a")? {
        label.created = decode_time(decoder, at)?;
    }
    if parts.optional(decoder, "c")? {
        label.colour = Some(Colour(decoder.byte_array()?));
    }
    if parts.optional(decoder, "h")? {
        label.subject = Subject {
            handle: decode_spelling(decoder, &label.subject.handle)?,
            id: None,
        };
    }
    if parts.optional(decoder, "i")? {
        label.subject.id = Some(decoder.uint()?);
    }
    if parts.optional(decoder, "n")? {
        let note = Note::parse(decoder.text()?);
        label.note = Some(note.map_err(|error| refused(decoder, error, "not a note"))?);
    }
    if parts.optional(decoder, "s")? {
        let source = Source::parse(decoder.text()?);
        label.source = Some(source.map_err(|error| refused(decoder, error, "not a source"))?);
    }
    if parts.optional(decoder, "t")? {
        label.negated = decoder.bool()?;
        if !label.negated {
            return Err(decoder.malformed("a default that is left out"));
        }
    }
    if parts.optional(decoder, "u")? {
        label.updated = decode_time(decoder, at)?;
    }
    if parts.optional(decoder, "x")? {
        label.expires = Some(Millis(decoder.uint()?));
    }
    parts.finish(decoder)
}

fn decode_time(decoder: &mut Decoder<'_>, at: Millis) -> Result<Millis, CodecError> {
    let time = Millis(decoder.uint()?);
    if time == at {
        return Err(decoder.malformed("a default that is left out"));
    }
    Ok(time)
}

/// Reads the spelling of a handle: the same letters as in the key, at least one in upper case.
fn decode_spelling(decoder: &mut Decoder<'_>, lower: &Handle) -> Result<Handle, CodecError> {
    let text = decoder.text()?;
    if text == lower.as_str() || text.to_ascii_lowercase() != lower.as_str() {
        return Err(decoder.malformed("not another spelling of the handle"));
    }
    Handle::parse_bytes(text.as_bytes())
        .map_err(|error| refused(decoder, error, "not another spelling of the handle"))
}

fn refused(decoder: &Decoder<'_>, error: LabelError, reason: &'static str) -> CodecError {
    match error {
        LabelError::Limit(limit) => CodecError::Limit(limit),
        _ => decoder.malformed(reason),
    }
}

fn next(items: &mut ListItems, decoder: &mut Decoder<'_>) -> Result<(), CodecError> {
    if items.next(decoder)? {
        Ok(())
    } else {
        Err(decoder.malformed("a list with too few items"))
    }
}

fn end(items: &mut ListItems, decoder: &mut Decoder<'_>) -> Result<(), CodecError> {
    if items.next(decoder)? {
        Err(decoder.malformed("a list with too many items"))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
