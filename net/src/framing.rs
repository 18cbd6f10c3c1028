//! Messages with their length in front (unsigned-varint specification), as most protocols of libp2p send them.
//!
//! A length is checked against the limit of the protocol before anything is taken for the message, and memory is taken
//! as the bytes come: who announces a long message and sends nothing holds nothing here.

use std::io;

use bytes::Bytes;
use futures_util::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use perennis_shared::wire;

/// Memory that is taken for a message before any of it has come, in bytes.
const FIRST_BYTES: usize = 16 << 10;

/// Puts the length before a message.
#[must_use]
pub fn framed(message: &[u8]) -> Bytes {
    let mut frame = Vec::with_capacity(message.len() + wire::LENGTH_BYTES);
    wire::write_length(&mut frame, message.len());
    frame.extend_from_slice(message);
    frame.into()
}

/// Writes one message, its length in front, and sends it off.
///
/// # Errors
/// The stream broke.
pub async fn write_frame(stream: &mut (impl AsyncWrite + Unpin), message: &[u8]) -> io::Result<()> {
    stream.write_all(&framed(message)).await?;
    stream.flush().await
}

/// Reads one message of at most `most` bytes.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] where the length is above `most` or no length, [`io::ErrorKind::UnexpectedEof`]
/// where the stream ends before the message does, and what the stream itself reports.
pub async fn read_frame(stream: &mut (impl AsyncRead + Unpin), most: usize) -> io::Result<Vec<u8>> {
    let mut prefix = Vec::with_capacity(wire::LENGTH_BYTES);
    let length = loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).await?;
        prefix.extend_from_slice(&byte);
        match wire::read_length(&prefix, most) {
            Ok(Some((length, _))) => break length,
            Ok(None) => {}
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    };
    let mut message = Vec::new();
    while message.len() < length {
        let arrived = message.len();
        // As much again as has come: a long message costs few steps, and an announced one little memory.
        message.resize(length.min(arrived + arrived.max(FIRST_BYTES)), 0);
        stream.read_exact(&mut message[arrived..]).await?;
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use futures_util::{FutureExt, io::Cursor};
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8], most: usize) -> io::Result<Vec<u8>> {
        read_frame(&mut Cursor::new(bytes), most)
            .now_or_never()
            .expect("nothing is waited for in memory")
    }

    #[test]
    fn messages_that_break_a_rule_are_refused() {
        let cases: [(&str, Vec<u8>, io::ErrorKind); 4] = [
            (
                "above the limit",
                framed(&[7; 101]).to_vec(),
                io::ErrorKind::InvalidData,
            ),
            ("no length", vec![0xff; 9], io::ErrorKind::InvalidData),
            ("nothing", Vec::new(), io::ErrorKind::UnexpectedEof),
            (
                "cut off",
                framed(&[7; 100])[..60].to_vec(),
                io::ErrorKind::UnexpectedEof,
            ),
        ];
        for (what, bytes, wanted) in cases {
            assert_eq!(read(&bytes, 100).unwrap_err().kind(), wanted, "{what}");
        }
    }

    proptest! {
        #[test]
        fn what_was_framed_is_read(length in 0_usize..80_000) {
            let message: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            prop_assert_eq!(read(&framed(&message), 80_000).unwrap(), message);
        }
    }
}
