//! Messages with their length in front, as Kademlia and the fetch protocol send them.

use std::io;

use bytes::Bytes;
use futures_util::{AsyncRead, AsyncReadExt};
use perennis_shared::wire;

/// Puts the length before a message.
pub(super) fn framed(message: &[u8]) -> Bytes {
    let mut frame = Vec::with_capacity(message.len() + wire::LENGTH_BYTES);
    wire::write_length(&mut frame, message.len());
    frame.extend_from_slice(message);
    frame.into()
}

/// Reads one message of at most so many bytes; the length is checked before memory is taken.
pub(super) async fn read_frame(
    stream: &mut (impl AsyncRead + Unpin),
    most: usize,
) -> io::Result<Vec<u8>> {
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
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await?;
    Ok(message)
}
