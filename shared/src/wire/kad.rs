//! The messages of Kademlia (libp2p specification `kad-dht`, "RPC messages"): those that we send and the answers to them
//! here, those that others send in `request`.
//!
//! On a stream one message follows the other, each with its length in front, and answers come in the order of what they answer.

use alloc::vec::Vec;

use crate::codec::CodecError;
use crate::codec::protobuf::{Reader, Writer};
use crate::limits::{KAD_ADDRESSES, KAD_MESSAGE_BYTES, KAD_PEERS, KAD_PROVIDERS, LimitExceeded};

mod request;

pub use request::{Request, answer, contact, pong};

const PUT_VALUE: u64 = 0;
const ADD_PROVIDER: u64 = 2;

/// What a peer can be asked about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    /// `GET_VALUE`: its record.
    Record,
    /// `GET_PROVIDERS`: who has it.
    Providers,
    /// `FIND_NODE`: the peers closest to it.
    Closest,
}

impl Question {
    /// All of them.
    const ALL: [Question; 3] = [Self::Record, Self::Providers, Self::Closest];

    const fn kind(self) -> u64 {
        match self {
            Self::Record => 1,
            Self::Providers => 3,
            Self::Closest => 4,
        }
    }

    /// The message that asks. Each answer names closer peers too, whatever was asked.
    pub fn message(self, key: &[u8]) -> Vec<u8> {
        let mut message = Writer::with_capacity(key.len() + 8);
        message.uint(1, self.kind());
        message.bytes(2, key);
        message.uint(10, 0);
        message.finish()
    }
}

/// The answer to a [`Question`]. Nothing in it is verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer<'a> {
    /// The value of the record, if the peer has one.
    pub record: Option<&'a [u8]>,
    /// The peers closest to the key that it knows, at most [`KAD_PEERS`].
    pub closer: Vec<Contact<'a>>,
    /// Peers that told it that they have what the key names, at most [`KAD_PROVIDERS`].
    pub providers: Vec<Contact<'a>>,
}

/// A peer in an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact<'a> {
    /// The bytes of its id.
    pub peer: &'a [u8],
    /// The bytes of its addresses, at most [`KAD_ADDRESSES`].
    pub addresses: Vec<&'a [u8]>,
}

impl<'a> Answer<'a> {
    /// Reads the answer to a question about `key`; peers and addresses above the limits are left out.
    ///
    /// # Errors
    /// Refuses a message above [`KAD_MESSAGE_BYTES`], what is no message, and an answer to something else.
    pub fn parse(message: &'a [u8], question: Question, key: &[u8]) -> Result<Self, CodecError> {
        LimitExceeded::check("Kademlia message bytes", KAD_MESSAGE_BYTES, message.len())?;
        let mut reader = Reader::new(message);
        let mut answer = Answer::default();
        let mut kind = PUT_VALUE;
        while let Some((number, value)) = reader.next_field()? {
            match number {
                1 => kind = value.uint("type")?,
                3 => answer.record = record_value(value.bytes("record")?, key)?,
                8 if answer.closer.len() < KAD_PEERS => {
                    answer
                        .closer
                        .push(Contact::parse(value.bytes("closer peer")?)?);
                }
                9 if answer.providers.len() < KAD_PROVIDERS => {
                    answer
                        .providers
                        .push(Contact::parse(value.bytes("provider")?)?);
                }
                _ => {}
            }
        }
        if kind != question.kind() {
            return Err(CodecError::Malformed {
                offset: 0,
                reason: "the answer is to another question",
            });
        }
        Ok(answer)
    }
}

impl<'a> Contact<'a> {
    fn parse(peer: &'a [u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new(peer);
        let mut contact = Contact::default();
        while let Some((number, value)) = reader.next_field()? {
            match number {
                1 => contact.peer = value.bytes("peer id")?,
                2 if contact.addresses.len() < KAD_ADDRESSES => {
                    contact.addresses.push(value.bytes("peer address")?);
                }
                _ => {}
            }
        }
        Ok(contact)
    }
}

/// The value of a record; none when it is of another key.
fn record_value<'a>(record: &'a [u8], wanted: &[u8]) -> Result<Option<&'a [u8]>, CodecError> {
    let mut reader = Reader::new(record);
    let (mut key, mut record) = (wanted, None);
    while let Some((number, value)) = reader.next_field()? {
        match number {
            1 => key = value.bytes("record key")?,
            2 => record = Some(value.bytes("record value")?),
            _ => {}
        }
    }
    Ok(record.filter(|_| key == wanted))
}

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
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

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
    fn questions_have_the_types_of_the_specification() {
        for (question, bytes) in [
            (Question::Record, "080112016b5000"),
            (Question::Providers, "080312016b5000"),
            (Question::Closest, "080412016b5000"),
        ] {
            assert_eq!(hex::encode(question.message(b"k")), bytes);
        }
    }

    fn contact(peer: &[u8], addresses: usize) -> Vec<u8> {
        let mut contact = Writer::new();
        contact.bytes(1, peer);
        for _ in 0..addresses {
            contact.bytes(2, b"addr");
        }
        contact.finish()
    }

    #[test]
    fn an_answer_is_read_within_its_limits() {
        let mut message = Writer::new();
        message.uint(1, Question::Record.kind());
        message.bytes(3, &{
            let mut record = Writer::new();
            record.bytes(1, b"k");
            record.bytes(2, b"value");
            record.finish()
        });
        for _ in 0..KAD_PEERS + 3 {
            message.bytes(8, &contact(b"closer", KAD_ADDRESSES + 1));
        }
        for _ in 0..KAD_PROVIDERS + 3 {
            message.bytes(9, &contact(b"provider", 0));
        }
        let message = message.finish();
        let answer = Answer::parse(&message, Question::Record, b"k").unwrap();
        assert_eq!(answer.record, Some(b"value".as_slice()));
        assert_eq!(answer.closer.len(), KAD_PEERS);
        assert_eq!(answer.closer[0].addresses.len(), KAD_ADDRESSES);
        assert_eq!(answer.providers.len(), KAD_PROVIDERS);
        // A record of another key is none, and an answer to another question is refused.
        let other = Answer::parse(&message, Question::Record, b"l").unwrap();
        assert_eq!(other.record, None);
        assert!(Answer::parse(&message, Question::Closest, b"k").is_err());
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
