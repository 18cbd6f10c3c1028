//! The messages of the fetch protocol, `/libp2p/fetch/0.0.1` (libp2p specification `fetch`).
//!
//! One question and one answer on a stream: who follows a name asks a peer that follows it too for the newest record. The
//! key is that of the DHT, `/ipns/` and the bytes of the name, which the specification calls a string and which is none.

use alloc::vec::Vec;

use crate::codec::protobuf::{Reader, Writer};
use crate::codec::{CodecError, FieldProblem};
use crate::limits::{FETCH_ANSWER_BYTES, FETCH_REQUEST_BYTES, LimitExceeded};

const OK: u64 = 0;
const NOT_FOUND: u64 = 1;

/// A question for what is kept under `key`.
pub fn request(key: &[u8]) -> Vec<u8> {
    let mut message = Writer::with_capacity(key.len() + 8);
    message.bytes(1, key);
    message.finish()
}

/// Reads the key out of a question.
///
/// # Errors
/// Refuses a message above [`FETCH_REQUEST_BYTES`], what is no message, and one without a key.
pub fn parse_request(message: &[u8]) -> Result<&[u8], CodecError> {
    LimitExceeded::check("fetch request bytes", FETCH_REQUEST_BYTES, message.len())?;
    let mut reader = Reader::new(message);
    let mut key = None;
    while let Some((number, value)) = reader.next_field()? {
        if number == 1 {
            key = Some(value.bytes("identifier")?);
        }
    }
    key.ok_or_else(|| CodecError::field("identifier", FieldProblem::Missing))
}

/// The answer: what is kept under the key, or that there is nothing.
pub fn answer(data: Option<&[u8]>) -> Vec<u8> {
    let Some(data) = data else {
        let mut message = Writer::new();
        message.uint(1, NOT_FOUND);
        return message.finish();
    };
    let mut message = Writer::with_capacity(data.len() + 8);
    message.bytes(2, data);
    message.finish()
}

/// Reads an answer: the data, or `None` where the peer has nothing.
///
/// # Errors
/// Refuses a message above [`FETCH_ANSWER_BYTES`], what is no message, and the peer's word that it failed.
pub fn parse_answer(message: &[u8]) -> Result<Option<&[u8]>, CodecError> {
    LimitExceeded::check("fetch answer bytes", FETCH_ANSWER_BYTES, message.len())?;
    let mut reader = Reader::new(message);
    let mut status = OK;
    let mut data = None;
    while let Some((number, value)) = reader.next_field()? {
        match number {
            1 => status = value.uint("status")?,
            2 => data = Some(value.bytes("data")?),
            _ => {}
        }
    }
    match status {
        // An empty value is left out of a message of this kind.
        OK => Ok(Some(data.unwrap_or_default())),
        NOT_FOUND => Ok(None),
        _ => Err(CodecError::field(
            "status",
            FieldProblem::Invalid("the peer failed"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        assert_eq!(hex::encode(request(b"/ipns/k")), "0a072f69706e732f6b");
        assert_eq!(hex::encode(answer(Some(b"value"))), "120576616c7565");
        assert_eq!(hex::encode(answer(None)), "0801");
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(
            parse_request(&request(b"/ipns/\xff")),
            Ok(&b"/ipns/\xff"[..])
        );
        assert_eq!(
            parse_answer(&answer(Some(b"value"))),
            Ok(Some(&b"value"[..]))
        );
        assert_eq!(parse_answer(&answer(None)), Ok(None));
        assert_eq!(parse_answer(b""), Ok(Some(&b""[..])));
    }

    #[test]
    fn garbage_is_refused() {
        assert!(parse_request(b"").is_err());
        assert!(parse_request(&[0xff; 9]).is_err());
        assert!(parse_request(&alloc::vec![0; FETCH_REQUEST_BYTES + 1]).is_err());
        assert!(parse_answer(&[0xff; 9]).is_err());
        assert!(parse_answer(&alloc::vec![0; FETCH_ANSWER_BYTES + 1]).is_err());
        // The peer says that it failed; a status of another kind.
        assert!(parse_answer(b"\x08\x02").is_err());
        assert!(parse_answer(b"\x0a\x00").is_err());
    }
}
