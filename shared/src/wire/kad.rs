//! The messages of Kademlia that we send ourselves (libp2p specification `kad-dht`, "RPC messages").
//!
//! Lookups are libp2p's. What is sent to many peers again and again, records and provider records, goes over long
//! streams of ours, one message after the other.

use alloc::vec::Vec;

use crate::codec::CodecError;
use crate::codec::protobuf::{Reader, Writer};
use crate::limits::{KAD_MESSAGE_BYTES, LimitExceeded};

const PUT_VALUE: u64 = 0;
const ADD_PROVIDER: u64 = 2;

/// `PUT_VALUE`: keep this record. The peer answers with the same type and key, or resets the stream.
pub fn put_value(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut record = Writer::with_capacity(key.len() + value.len() + 16);
    record.bytes(1, key);
    record.bytes(2, value);
    let record = record.finish();
    let mut message = Writer::with_capacity(key.len() + record.len() + 24);
    message.uint(1, PUT_VALUE);
    message.bytes(2, key);
    message.bytes(3, &record);
    message.uint(10, 0);
    message.finish()
}

/// `ADD_PROVIDER`: `peer`, who sends this, has the block. There is no answer.
pub fn add_provider<'a>(
    key: &[u8],
    peer: &[u8],
    addresses: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<u8> {
    let mut provider = Writer::new();
    provider.bytes(1, peer);
    for address in addresses {
        provider.bytes(2, address);
    }
    let mut message = Writer::new();
    message.uint(1, ADD_PROVIDER);
    message.bytes(2, key);
    message.bytes(9, &provider.finish());
    message.uint(10, 0);
    message.finish()
}

/// Whether a message is the answer to [`put_value`] of this key.
///
/// # Errors
/// Refuses a message above [`KAD_MESSAGE_BYTES`] and what is no message.
pub fn is_put_answer(message: &[u8], key: &[u8]) -> Result<bool, CodecError> {
    LimitExceeded::check("Kademlia message bytes", KAD_MESSAGE_BYTES, message.len())?;
    let mut reader = Reader::new(message);
    let mut is_put = true;
    let mut is_of_key = false;
    while let Some((number, value)) = reader.next_field()? {
        match number {
            1 => is_put = value.uint("type")? == PUT_VALUE,
            2 => is_of_key = value.bytes("key")? == key,
            // An implementation may leave the key out of the message and give it in the record.
            3 => is_of_key |= record_key(value.bytes("record")?)? == Some(key),
            _ => {}
        }
    }
    Ok(is_put && is_of_key)
}

fn record_key(record: &[u8]) -> Result<Option<&[u8]>, CodecError> {
    let mut reader = Reader::new(record);
    let mut key = None;
    while let Some((number, value)) = reader.next_field()? {
        if number == 1 {
            key = Some(value.bytes("record key")?);
        }
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let put = put_value(b"/ipns/k", b"value");
        assert_eq!(
            hex::encode(&put),
            "080012072f69706e732f6b1a100a072f69706e732f6b120576616c75655000"
        );
        let provider = add_provider(b"key", b"peer", [b"addr".as_slice()]);
        assert_eq!(
            hex::encode(provider),
            "080212036b65794a0c0a04706565721204616464725000"
        );
    }

    #[test]
    fn an_answer_is_to_the_question() {
        let answer = put_value(b"/ipns/k", b"value");
        assert_eq!(is_put_answer(&answer, b"/ipns/k"), Ok(true));
        assert_eq!(is_put_answer(&answer, b"/ipns/l"), Ok(false));
        assert_eq!(
            is_put_answer(&add_provider(b"k", b"p", []), b"k"),
            Ok(false)
        );
        assert!(is_put_answer(&[0xff; 5], b"k").is_err());
        assert!(is_put_answer(&alloc::vec![0; KAD_MESSAGE_BYTES + 1], b"k").is_err());
    }
}
