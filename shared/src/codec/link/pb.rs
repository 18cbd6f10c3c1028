//! The links of DAG-PB as Protobuf gives them: fields in any order and in any spelling, names that are no text.

use super::Links;
use crate::codec::{CodecError, FieldProblem};

/// The number of `Links` in a node.
const LINKS: u64 = 2;
/// The number of `Hash` in a link.
const HASH: u64 = 1;

/// Reads a node and its links.
pub(super) fn read(bytes: &[u8], found: &mut Links) -> Result<(), CodecError> {
    let mut node = Message {
        input: bytes,
        at: 0,
    };
    while let Some((number, value)) = node.field()? {
        let (LINKS, Some(message)) = (number, value) else {
            continue;
        };
        let start = node.at - message.len();
        let mut link = Message {
            input: message,
            at: 0,
        };
        let mut hash = None;
        while let Some((number, value)) = link.field()? {
            if number == HASH {
                hash = value;
            }
        }
        let hash = hash.ok_or(CodecError::field("Hash", FieldProblem::Missing))?;
        found.push_bytes(hash, start)?;
    }
    Ok(())
}

/// The number of a field, and its bytes where it has a length.
type Field<'a> = (u64, Option<&'a [u8]>);

struct Message<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Message<'a> {
    /// The next field. None at the end.
    fn field(&mut self) -> Result<Option<Field<'a>>, CodecError> {
        if self.at == self.input.len() {
            return Ok(None);
        }
        let start = self.at;
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => {
                self.varint()?;
                None
            }
            1 => {
                self.take(8)?;
                None
            }
            2 => {
                let length = self.varint()?;
                Some(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                None
            }
            _ => {
                return Err(CodecError::Malformed {
                    offset: start,
                    reason: "a field of an unknown form",
                });
            }
        };
        Ok(Some((tag >> 3, value)))
    }

    /// A number of at most ten bytes, be it longer than it has to be.
    fn varint(&mut self) -> Result<u64, CodecError> {
        let start = self.at;
        let mut number = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte = *self.input.get(self.at).ok_or(self.truncated())?;
            self.at += 1;
            number |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(CodecError::Malformed {
            offset: start,
            reason: "a number of more than 64 bits",
        })
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], CodecError> {
        let rest = &self.input[self.at..];
        let bytes = usize::try_from(length)
            .ok()
            .and_then(|length| rest.get(..length))
            .ok_or(self.truncated())?;
        self.at += bytes.len();
        Ok(bytes)
    }

    fn truncated(&self) -> CodecError {
        CodecError::Truncated {
            offset: self.input.len(),
        }
    }
}
