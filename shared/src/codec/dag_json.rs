//! DAG-JSON (IPLD specification, "DAG-JSON"), strict and bounded.
//!
//! One value has one text: no white space, names of maps sorted bytewise and never twice, the
//! shortest escapes, numbers in their shortest form, links `{"/":"<CID>"}` and bytes
//! `{"/":{"bytes":"<base64>"}}`. [`decode`] accepts that text only. [`decode_relaxed`] is for text
//! that people write: it also takes white space, names in any order and other spellings of strings
//! and numbers, but never a name twice.

use alloc::{string::String, vec::Vec};

use super::{CodecError, Value};

mod reader;
mod writer;

/// Encodes a value in its only form.
///
/// # Errors
/// Refuses NaN, infinities, integers outside −2⁶⁴ to 2⁶⁴ − 1, maps with a name `/` (reserved for links
/// and bytes), values nested deeper than [`crate::limits::JSON_DEPTH`] and results above
/// [`crate::limits::JSON_BYTES`].
pub fn encode(value: &Value) -> Result<String, CodecError> {
    writer::encode(value)
}

/// Decodes exactly one value from its only form.
///
/// # Errors
/// Refuses everything that [`encode`] would not have written, and texts of more than
/// [`crate::limits::JSON_VALUES`] values.
pub fn decode(text: &[u8]) -> Result<Value, CodecError> {
    let value = reader::decode(text)?;
    let canonical = writer::encode(&value)?;
    let differs = canonical
        .as_bytes()
        .iter()
        .zip(text)
        .position(|(canonical, given)| canonical != given);
    match differs {
        None if canonical.len() == text.len() => Ok(value),
        differs => Err(CodecError::Malformed {
            offset: differs.unwrap_or(canonical.len()),
            reason: "not the canonical form of DAG-JSON",
        }),
    }
}

/// Decodes exactly one value from any JSON that has the meaning of DAG-JSON.
///
/// # Errors
/// Refuses what is no JSON (RFC 8259), repeated names, other uses of the reserved name `/`, numbers
/// out of range, and what is above the limits.
pub fn decode_relaxed(text: &[u8]) -> Result<Value, CodecError> {
    reader::decode(text)
}

/// The bytes of [`encode`], for blocks.
///
/// # Errors
/// As [`encode`].
pub fn encode_bytes(value: &Value) -> Result<Vec<u8>, CodecError> {
    encode(value).map(String::into_bytes)
}

#[cfg(test)]
mod tests;
