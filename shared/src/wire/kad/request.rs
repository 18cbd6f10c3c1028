//! What others ask of us, and what they are answered (libp2p specification `kad-dht`, "RPC messages").

use alloc::vec::Vec;

use super::{ADD_PROVIDER, Contact, PUT_VALUE, Question};
use crate::codec::CodecError;
use crate::codec::protobuf::{Reader, Writer};
use crate::limits::{KAD_ANSWER_BYTES, KAD_PEERS, KAD_REQUEST_BYTES, LimitExceeded};

const PING: u64 = 5;

/// Bytes that the parts of an answer other than the record and the peers take at most, the key aside.
const FRAME_BYTES: usize = 32;

/// What a peer asks. Nothing in it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// `GET_VALUE`, `GET_PROVIDERS` or `FIND_NODE`: answered by [`answer`].
    Ask {
        /// What is asked.
        question: Question,
        /// About this key.
        key: &'a [u8],
    },
    /// `PUT_VALUE`: answered by [`put_value`](super::put_value) of the same when it is kept. No answer says that it is not:
    /// the stream is reset.
    Put {
        /// The key of the record.
        key: &'a [u8],
        /// The record.
        value: &'a [u8],
    },
    /// `ADD_PROVIDER`: these peers have the block. There is no answer.
    AddProvider {
        /// The multihash of the block.
        key: &'a [u8],
        /// The peers, at most [`KAD_PEERS`].
        providers: Vec<Contact<'a>>,
    },
    /// `PING`: answered by [`pong`].
    Ping,
}

impl<'a> Request<'a> {
    /// Reads a request; peers and addresses above the limits are left out.
    ///
    /// # Errors
    /// Refuses a message above [`KAD_REQUEST_BYTES`], what is no message, a type that does not exist, a record that is
    /// missing, and one of another key than that of the message.
    pub fn parse(message: &'a [u8]) -> Result<Self, CodecError> {
        LimitExceeded::check("Kademlia request bytes", KAD_REQUEST_BYTES, message.len())?;
        let mut reader = Reader::new(message);
        let (mut kind, mut key, mut record) = (PUT_VALUE, &[][..], None);
        let mut providers = Vec::new();
        while let Some((number, value)) = reader.next_field()? {
            match number {
                1 => kind = value.uint("type")?,
                2 => key = value.bytes("key")?,
                3 => record = Some(value.bytes("record")?),
                9 if providers.len() < KAD_PEERS => {
                    providers.push(Contact::parse(value.bytes("provider")?)?);
                }
                _ => {}
            }
        }
        let question = match kind {
            PUT_VALUE => return put(key, record),
            ADD_PROVIDER => return Ok(Self::AddProvider { key, providers }),
            PING => return Ok(Self::Ping),
            kind => Question::ALL.into_iter().find(|asked| asked.kind() == kind),
        };
        let question = question.ok_or(malformed("there is no such type of request"))?;
        Ok(Self::Ask { question, key })
    }
}

/// The key stands in the message, in the record, or in both.
fn put<'a>(key: &'a [u8], record: Option<&'a [u8]>) -> Result<Request<'a>, CodecError> {
    let mut reader = Reader::new(record.ok_or(malformed("a put has no record"))?);
    let (mut of, mut value) = (&[][..], &[][..]);
    while let Some((number, field)) = reader.next_field()? {
        match number {
            1 => of = field.bytes("record key")?,
            2 => value = field.bytes("record value")?,
            _ => {}
        }
    }
    let key = match (key, of) {
        (key, []) => key,
        ([], of) => of,
        (key, of) if key == of => key,
        _ => return Err(malformed("the record is of another key")),
    };
    Ok(Request::Put { key, value })
}

const fn malformed(reason: &'static str) -> CodecError {
    CodecError::Malformed { offset: 0, reason }
}

/// A peer as it stands in an answer: made once, and told many times.
pub fn contact<'a>(peer: &[u8], addresses: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut contact = Writer::new();
    contact.bytes(1, peer);
    for address in addresses {
        contact.bytes(2, address);
    }
    contact.finish()
}

/// The answer to a question: a record, if there is one, then providers and then the closest peers, each as [`contact`]
/// makes them, as many as fit into [`KAD_ANSWER_BYTES`]. The record stands there however large.
pub fn answer<'a>(
    question: Question,
    key: &[u8],
    record: Option<&[u8]>,
    providers: impl IntoIterator<Item = &'a [u8]>,
    closer: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<u8> {
    let mut message = Writer::with_capacity(4_096);
    message.uint(1, question.kind());
    message.bytes(2, key);
    let mut taken = FRAME_BYTES + key.len();
    if let Some(value) = record {
        let mut record = Writer::with_capacity(key.len() + value.len() + 16);
        record.bytes(1, key);
        record.bytes(2, value);
        let record = record.finish();
        taken += record.len();
        message.bytes(3, &record);
    }
    // Providers have the higher number, but the order of fields means nothing, and they are what is asked for.
    let providers = providers.into_iter().map(|provider| (9, provider));
    let closer = closer.into_iter().map(|peer| (8, peer));
    for (number, peer) in providers.chain(closer) {
        taken += peer.len() + 4;
        if taken > KAD_ANSWER_BYTES {
            break;
        }
        message.bytes(number, peer);
    }
    message.uint(10, 0);
    message.finish()
}

/// The answer to [`Request::Ping`].
pub fn pong() -> Vec<u8> {
    let mut message = Writer::new();
    message.uint(1, PING);
    message.finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use alloc::vec;

    use super::*;
    use crate::wire::kad::{Answer, add_provider, put_value};

    #[test]
    fn what_we_send_is_what_we_read() {
        for question in Question::ALL {
            let message = question.message(b"k");
            let read = Request::parse(&message).unwrap();
            assert_eq!(
                read,
                Request::Ask {
                    question,
                    key: b"k"
                }
            );
        }
        let put = put_value(b"k", b"value");
        let (key, value) = (&b"k"[..], &b"value"[..]);
        assert_eq!(Request::parse(&put), Ok(Request::Put { key, value }));
        let provide = add_provider(b"k", b"peer", [&b"addr"[..]]);
        let provider = Contact {
            peer: b"peer",
            addresses: vec![b"addr"],
        };
        let providers = vec![provider];
        assert_eq!(
            Request::parse(&provide),
            Ok(Request::AddProvider { key, providers })
        );
        assert_eq!(Request::parse(&pong()), Ok(Request::Ping));
    }

    #[test]
    fn golden_bytes() {
        let peer = contact(b"peer", [&b"addr"[..]]);
        let answer = answer(
            Question::Record,
            b"k",
            Some(b"v"),
            [&b"p"[..]],
            [peer.as_slice()],
        );
        assert_eq!(
            hex::encode(answer),
            "080112016b1a060a016b1201764a0170420c0a0470656572120461646472 5000".replace(' ', "")
        );
        assert_eq!(hex::encode(pong()), "0805");
    }

    /// A put with these fields, each left out where it is `None`.
    fn put_of(key: Option<&[u8]>, record: Option<(Option<&[u8]>, &[u8])>) -> Vec<u8> {
        let mut message = Writer::new();
        if let Some(key) = key {
            message.bytes(2, key);
        }
        if let Some((of, value)) = record {
            let mut record = Writer::new();
            if let Some(of) = of {
                record.bytes(1, of);
            }
            record.bytes(2, value);
            message.bytes(3, &record.finish());
        }
        message.finish()
    }

    #[test]
    fn the_key_of_a_put_is_where_others_write_it() {
        let value = &b"value"[..];
        for (message, of) in [
            (put_of(Some(b"k"), Some((Some(b"k"), value))), &b"k"[..]),
            (put_of(None, Some((Some(b"k"), value))), b"k"),
            (put_of(Some(b"k"), Some((None, value))), b"k"),
            (put_of(None, Some((None, value))), b""),
        ] {
            let read = Request::parse(&message).unwrap();
            assert_eq!(read, Request::Put { key: of, value });
        }
        assert!(Request::parse(&put_of(Some(b"k"), Some((Some(b"l"), value)))).is_err());
        assert!(Request::parse(&put_of(Some(b"k"), None)).is_err());
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let mut unknown = Writer::new();
        unknown.uint(1, 6);
        assert!(Request::parse(&unknown.finish()).is_err());
        assert!(Request::parse(&[0xff; 5]).is_err());
        assert!(Request::parse(&vec![0; KAD_REQUEST_BYTES + 1]).is_err());
        let mut crowd = Writer::new();
        crowd.uint(1, ADD_PROVIDER);
        for _ in 0..KAD_PEERS + 3 {
            crowd.bytes(9, &contact(b"p", []));
        }
        let crowd = crowd.finish();
        let Ok(Request::AddProvider { providers, .. }) = Request::parse(&crowd) else {
            panic!("it is read within its limits");
        };
        assert_eq!(providers.len(), KAD_PEERS);
    }

    #[test]
    fn an_answer_is_bounded_and_says_what_matters_first() {
        let peer = contact(&[7; 38], core::iter::repeat_n(&[4; 100][..], 8));
        let record = [1; 10_240];
        let peers = core::iter::repeat_n(peer.as_slice(), KAD_PEERS);
        let message = answer(
            Question::Record,
            &[2; 40],
            Some(&record),
            peers.clone(),
            peers,
        );
        assert!(message.len() <= KAD_ANSWER_BYTES);
        let answer = Answer::parse(&message, Question::Record, &[2; 40]).unwrap();
        assert_eq!(answer.record, Some(&record[..]));
        assert!(answer.closer.is_empty() && answer.providers.len() > 4);
    }
}
