//! DAG-CBOR (IPLD specification, "DAG-CBOR"; CBOR is RFC 8949), strict and bounded.
//!
//! [`Encoder`] writes a typed document straight into bytes, [`Decoder`] reads one without copying;
//! [`encode`] and [`decode`] do the same for a whole [`Value`] and are built on those two, so that
//! there is one set of rules: keys sorted by length, then bytewise, and never twice; integers and
//! lengths in their shortest form; definite lengths only; floats of 64 bits, finite; tag 42 with a
//! CID and no other tag; UTF-8 text; nothing after the value; depth, size and count within
//! [`crate::limits`].

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use super::{CodecError, Value};
use crate::limits::{CBOR_VALUES, LimitExceeded};

mod containers;
mod decoder;
mod encoder;

pub use containers::{ListItems, MapEntries};
pub use decoder::{Decoder, Kind};
pub use encoder::Encoder;

/// Encodes a value in its only form.
///
/// # Errors
/// Refuses NaN, infinities, integers outside −2⁶⁴ to 2⁶⁴ − 1, values nested deeper than
/// [`crate::limits::CBOR_DEPTH`] and results above [`crate::limits::WIRE_BLOCK_BYTES`].
pub fn encode(value: &Value) -> Result<Vec<u8>, CodecError> {
    let mut encoder = Encoder::new();
    encode_value(&mut encoder, value)?;
    encoder.finish()
}

/// Decodes exactly one value.
///
/// # Errors
/// Refuses everything that [`encode`] would not have written, and blocks of more than
/// [`CBOR_VALUES`] values.
pub fn decode(bytes: &[u8]) -> Result<Value, CodecError> {
    let mut decoder = Decoder::new(bytes)?;
    let mut left = CBOR_VALUES;
    let value = decode_value(&mut decoder, &mut left)?;
    decoder.finish()?;
    Ok(value)
}

fn encode_value(encoder: &mut Encoder, value: &Value) -> Result<(), CodecError> {
    match value {
        Value::Null => encoder.null(),
        Value::Bool(value) => encoder.bool(*value),
        Value::Int(value) => encoder.int(*value)?,
        Value::Float(value) => encoder.float(*value)?,
        Value::Text(value) => encoder.text(value),
        Value::Bytes(value) => encoder.bytes(value),
        Value::Link(value) => encoder.link(value),
        Value::List(items) => {
            encoder.list(items.len())?;
            for item in items {
                encode_value(encoder, item)?;
            }
            encoder.end();
        }
        Value::Map(entries) => {
            encoder.map(entries.len())?;
            // Names are in bytewise order here and in order of length first on the wire.
            let mut sorted: Vec<_> = entries.iter().collect();
            sorted.sort_by_key(|(key, _)| key.len());
            for (key, value) in sorted {
                encoder.key(key);
                encode_value(encoder, value)?;
            }
            encoder.end();
        }
    }
    Ok(())
}

fn decode_value(decoder: &mut Decoder<'_>, left: &mut usize) -> Result<Value, CodecError> {
    *left = left.checked_sub(1).ok_or(LimitExceeded {
        limit: "values in a DAG-CBOR block",
        max: CBOR_VALUES as u64,
        actual: CBOR_VALUES as u64 + 1,
    })?;
    Ok(match decoder.kind()? {
        Kind::Null => {
            decoder.null()?;
            Value::Null
        }
        Kind::Bool => Value::Bool(decoder.bool()?),
        Kind::Int => Value::Int(decoder.int()?),
        Kind::Float => Value::Float(decoder.float()?),
        Kind::Text => Value::Text(decoder.text()?.into()),
        Kind::Bytes => Value::Bytes(decoder.bytes()?.into()),
        Kind::Link => Value::Link(decoder.link()?),
        Kind::List => {
            let mut items = decoder.list()?;
            let mut list = Vec::with_capacity(items.remaining().min(*left));
            while items.next(decoder)? {
                list.push(decode_value(decoder, left)?);
            }
            Value::List(list)
        }
        Kind::Map => {
            let mut entries = decoder.map()?;
            let mut map = BTreeMap::new();
            while let Some(key) = entries.next(decoder)? {
                map.insert(String::from(key), decode_value(decoder, left)?);
            }
            Value::Map(map)
        }
    })
}

#[cfg(test)]
pub(crate) mod tests;
