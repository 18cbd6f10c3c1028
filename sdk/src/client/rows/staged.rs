//! Rows of changes that wait to be signed.
//!
//! A row is the map of `ops`, a list, and `clock`, the reading of all of them. A change that sets a label is the map of `h`
//! (handle as it is spelled), `l` (label), `a` and `u` (created and updated, Unix milliseconds) and, where the label has
//! them, `c`, `i`, `n`, `s`, `t` and `x` as in a row of the list's tree; one that removes a label is the map of `k`, the key.
//!
//! An import stages a million of them at once, so they are written and read without a document in between.

use bytes::Bytes;
use perennis_shared::{
    codec::{
        CodecError,
        dag_cbor::{Decoder, Encoder},
    },
    taglist::{
        Colour, DatedOp, Handle, Hlc, Key, Label, LabelError, Note, Op, Source, Subject, Tag,
    },
    time::Millis,
};

use super::{damaged, unwritable};
use crate::store::StoreError;

/// Most changes in one row: with the longest notes and sources three quarters of what a row may have.
pub(in crate::client) const STAGED_ROW_OPS: usize = 1_000;

/// The row `key` of changes that were made at `clock`.
pub(in crate::client) fn encode_staged(
    key: &str,
    clock: Hlc,
    ops: &[Op],
) -> Result<Bytes, StoreError> {
    match write(clock, ops) {
        Ok(bytes) => Ok(bytes.into()),
        Err(source) => Err(unwritable(key, source)),
    }
}

/// The changes of the row `key`.
pub(in crate::client) fn parse_staged(key: &str, bytes: &[u8]) -> Result<Vec<DatedOp>, StoreError> {
    read(bytes).map_err(|_| damaged(key))
}

/// How many changes the row `key` has, and when they were made.
pub(in crate::client) fn count_staged(key: &str, bytes: &[u8]) -> Result<(usize, Hlc), StoreError> {
    let count = || -> Result<(usize, Hlc), CodecError> {
        let mut decoder = Decoder::new(bytes)?;
        let mut fields = decoder.map()?;
        fields.required(&mut decoder, "ops")?;
        let count = decoder.clone().list()?.remaining();
        decoder.skip(&mut |_| Err(CodecError::Inexpressible("a link inside a change")))?;
        fields.required(&mut decoder, "clock")?;
        let clock = Hlc::from_u64(decoder.uint()?);
        fields.finish(&mut decoder)?;
        decoder.finish()?;
        Ok((count, clock))
    };
    count().map_err(|_| damaged(key))
}

fn write(clock: Hlc, ops: &[Op]) -> Result<Vec<u8>, CodecError> {
    let mut encoder = Encoder::with_capacity(32 + ops.len() * 64);
    encoder.map(2)?;
    encoder.key("ops");
    encoder.list(ops.len())?;
    for op in ops {
        match op {
            Op::Set(label) => write_label(&mut encoder, label)?,
            Op::Remove(key) => {
                encoder.map(1)?;
                encoder.key("k");
                encoder.bytes(key.as_bytes());
                encoder.end();
            }
        }
    }
    encoder.end();
    encoder.key("clock");
    encoder.uint(clock.as_u64());
    encoder.end();
    encoder.finish()
}

fn write_label(encoder: &mut Encoder, label: &Label) -> Result<(), CodecError> {
    let optional = [
        label.colour.is_some(),
        label.subject.id.is_some(),
        label.note.is_some(),
        label.source.is_some(),
        label.negated,
        label.expires.is_some(),
    ];
    encoder.map(4 + optional.into_iter().filter(|written| *written).count())?;
    encoder.key("a");
    encoder.uint(label.created.0);
    if let Some(Colour(colour)) = &label.colour {
        encoder.key("c");
        encoder.bytes(colour);
    }
    encoder.key("h");
    encoder.text(label.subject.handle.as_str());
    if let Some(id) = label.subject.id {
        encoder.key("i");
        encoder.uint(id);
    }
    encoder.key("l");
    encoder.text(label.label.as_str());
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
    encoder.key("u");
    encoder.uint(label.updated.0);
    if let Some(end) = label.expires {
        encoder.key("x");
        encoder.uint(end.0);
    }
    encoder.end();
    Ok(())
}

fn read(bytes: &[u8]) -> Result<Vec<DatedOp>, CodecError> {
    let mut decoder = Decoder::new(bytes)?;
    let mut fields = decoder.map()?;
    fields.required(&mut decoder, "ops")?;
    let mut list = decoder.list()?;
    let mut ops = Vec::with_capacity(list.remaining().min(STAGED_ROW_OPS));
    while list.next(&mut decoder)? {
        ops.push(read_op(&mut decoder)?);
    }
    fields.required(&mut decoder, "clock")?;
    let clock = Hlc::from_u64(decoder.uint()?);
    fields.finish(&mut decoder)?;
    decoder.finish()?;
    let dated = ops.into_iter().map(|op| DatedOp { op, clock });
    Ok(dated.collect())
}

fn read_op(decoder: &mut Decoder<'_>) -> Result<Op, CodecError> {
    let mut fields = decoder.map()?;
    if fields.optional(decoder, "k")? {
        let bytes = decoder.bytes()?;
        let key = Key::parse(bytes).map_err(|_| decoder.malformed("not the key of a label"))?;
        fields.finish(decoder)?;
        return Ok(Op::Remove(key));
    }
    fields.required(decoder, "a")?;
    let created = Millis(decoder.uint()?);
    let mut colour = None;
    if fields.optional(decoder, "c")? {
        colour = Some(Colour(decoder.byte_array()?));
    }
    fields.required(decoder, "h")?;
    let handle = part(decoder, Handle::parse)?;
    let mut id = None;
    if fields.optional(decoder, "i")? {
        id = Some(decoder.uint()?);
    }
    fields.required(decoder, "l")?;
    let label = part(decoder, Tag::parse)?;
    let mut note = None;
    if fields.optional(decoder, "n")? {
        note = Some(part(decoder, Note::parse)?);
    }
    let mut source = None;
    if fields.optional(decoder, "s")? {
        source = Some(part(decoder, Source::parse)?);
    }
    let negated = fields.optional(decoder, "t")?;
    if negated && !decoder.bool()? {
        return Err(decoder.malformed("a default that is left out"));
    }
    fields.required(decoder, "u")?;
    let updated = Millis(decoder.uint()?);
    let mut expires = None;
    if fields.optional(decoder, "x")? {
        expires = Some(Millis(decoder.uint()?));
    }
    fields.finish(decoder)?;
    Ok(Op::Set(Label {
        subject: Subject { handle, id },
        label,
        colour,
        note,
        source,
        created,
        updated,
        expires,
        negated,
    }))
}

fn part<T>(
    decoder: &mut Decoder<'_>,
    parse: impl Fn(&str) -> Result<T, LabelError>,
) -> Result<T, CodecError> {
    let text = decoder.text()?;
    parse(text).map_err(|_| decoder.malformed("not a part of a label"))
}
