//! IPNS names: the multihash of a libp2p public key.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use multibase::Base;
use sha2::{Digest, Sha256};

use crate::cid::{Cid, CidError, Codec, HashFn, Multihash, parse_cid};
use crate::ipns::key::{self, KeyType, NameKey, NameKeyError};
use crate::limits::PUBSUB_TOPIC_BYTES;
use crate::sign::{PUBLIC_KEY_BYTES, PublicKey};

/// Longest serialized public key that a name holds itself; longer keys are named by their SHA2-256 (libp2p peer id
/// specification).
const INLINE_KEY_BYTES: usize = 42;

/// Room for a name: two bytes before an inline key.
const NAME_BYTES: usize = 2 + INLINE_KEY_BYTES;

/// Longest text that is read as a name; the longest valid one (base32 with `/ipns/`) has 85 bytes.
const NAME_TEXT_BYTES: usize = 128;

/// An Ed25519 key in libp2p's `PublicKey` protobuf: type 1, then 32 bytes of data.
const ED25519_PREFIX: [u8; 4] = [0x08, 0x01, 0x12, 0x20];

/// What comes before the multihash in a routing key and before the text of a name in a path.
const NAMESPACE: &str = "/ipns/";

/// What topics of pubsub begin with under which records are told.
const TOPIC: &str = "/record/";

/// The name of an IPNS record: the multihash of the libp2p public key that signs it.
///
/// Names of Ed25519 and secp256k1 keys hold the key itself (identity multihash); those of ECDSA and RSA keys are the
/// SHA2-256 of the key, which their records carry. Only names of Ed25519 keys have a DID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    bytes: [u8; NAME_BYTES],
    length: u8,
}

impl Name {
    /// The name of an Ed25519 key.
    pub fn from_public_key(key: &PublicKey) -> Name {
        Name::from_ed25519_bytes(key.as_bytes())
    }

    pub(crate) fn from_ed25519_bytes(key: &[u8; PUBLIC_KEY_BYTES]) -> Name {
        let mut bytes = [0; NAME_BYTES];
        bytes[..2].copy_from_slice(&[0x00, (ED25519_PREFIX.len() + PUBLIC_KEY_BYTES) as u8]);
        bytes[2..6].copy_from_slice(&ED25519_PREFIX);
        bytes[6..38].copy_from_slice(key);
        Name { bytes, length: 38 }
    }

    /// Takes a name from the bytes of its multihash.
    ///
    /// # Errors
    /// [`NameError::NotAKey`] when the bytes are neither an identity multihash of a libp2p public key that names hold
    /// themselves (Ed25519, secp256k1) nor a SHA2-256 multihash.
    pub fn from_bytes(bytes: &[u8]) -> Result<Name, NameError> {
        match bytes {
            [0x12, 0x20, digest @ ..] if digest.len() == 32 => {}
            [0x00, length, key @ ..]
                if key.len() == usize::from(*length) && inline_type(key).is_some() => {}
            _ => return Err(NameError::NotAKey),
        }
        Ok(Name::of_parts(bytes, &[]))
    }

    /// The name of a public key in libp2p's protobuf, whatever its type: the key itself where it is short enough, its
    /// SHA2-256 otherwise.
    ///
    /// # Errors
    /// [`NameKeyError`] when the bytes are not a key that a name can stand for.
    pub fn from_key_protobuf(protobuf: &[u8]) -> Result<Name, NameKeyError> {
        NameKey::parse(protobuf)?;
        Ok(Name::of_key(protobuf))
    }

    /// As [`Name::from_key_protobuf`], for bytes that nobody has checked.
    pub(super) fn of_key(protobuf: &[u8]) -> Name {
        if protobuf.len() <= INLINE_KEY_BYTES {
            return Name::of_parts(&[0x00, protobuf.len() as u8], protobuf);
        }
        Name::of_parts(&[0x12, 0x20], &Sha256::digest(protobuf))
    }

    fn of_parts(start: &[u8], rest: &[u8]) -> Name {
        let mut name = Name {
            bytes: [0; NAME_BYTES],
            length: (start.len() + rest.len()) as u8,
        };
        name.bytes[..start.len()].copy_from_slice(start);
        name.bytes[start.len()..start.len() + rest.len()].copy_from_slice(rest);
        name
    }

    /// Parses a name from text, with or without `/ipns/` before it: a CID with the libp2p-key codec in base36
    /// (`k51…`), base32 (`bafz…`) or another base, or a peer id in base58btc (`12D3Koo…`, `Qm…`).
    ///
    /// # Errors
    /// [`NameError`] says what about the text is not a name.
    pub fn parse(text: &str) -> Result<Name, NameError> {
        if text.len() > NAME_TEXT_BYTES {
            return Err(NameError::TooLong { bytes: text.len() });
        }
        let text = text.strip_prefix(NAMESPACE).unwrap_or(text);
        if text.starts_with("Qm") || text.starts_with('1') {
            let bytes = Base::Base58Btc
                .decode(text)
                .map_err(|_| NameError::NotBase58)?;
            return Name::from_bytes(&bytes);
        }
        Name::from_cid(&parse_cid(text)?)
    }

    /// Takes a name from a CID with the libp2p-key codec.
    ///
    /// # Errors
    /// [`NameError::Codec`] for another codec, [`NameError::NotAKey`] for a multihash that is not of a public key.
    pub fn from_cid(cid: &Cid) -> Result<Name, NameError> {
        if cid.codec() != Codec::Libp2pKey.code() {
            return Err(NameError::Codec { code: cid.codec() });
        }
        Name::from_bytes(&cid.hash().to_bytes())
    }

    /// The Ed25519 key this name holds.
    ///
    /// `None` for names of other key types, and for 32 bytes that are not a usable key.
    pub fn public_key(&self) -> Option<PublicKey> {
        PublicKey::from_bytes(self.ed25519_bytes()?).ok()
    }

    pub(crate) fn ed25519_bytes(&self) -> Option<&[u8; PUBLIC_KEY_BYTES]> {
        let key = self.as_bytes().strip_prefix(&[0x00, 0x24])?;
        key.strip_prefix(&ED25519_PREFIX)?.try_into().ok()
    }

    /// The type of the key that this name holds itself; `None` where it is the hash of a key, which may be ECDSA or RSA.
    pub fn key_type(&self) -> Option<KeyType> {
        inline_type(self.inline_key()?)
    }

    /// The public key that this name holds itself, in libp2p's protobuf.
    pub(super) fn inline_key(&self) -> Option<&[u8]> {
        match self.as_bytes() {
            [0x00, _, key @ ..] => Some(key),
            _ => None,
        }
    }

    /// The bytes of the multihash: 34 of a hashed key, 38 for an Ed25519 key, 39 for a secp256k1 key.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// The bytes of the multihash, owned.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }

    /// The name as a CID: version 1, codec libp2p-key.
    pub fn to_cid(&self) -> Cid {
        Cid::new_v1(Codec::Libp2pKey.code(), self.multihash())
    }

    /// The peer id of the same key, in base58btc (`12D3Koo…` for Ed25519).
    pub fn peer_id(&self) -> String {
        Base::Base58Btc.encode(self.as_bytes())
    }

    /// The key under which records of this name are put into a routing system: `/ipns/` and the multihash.
    pub fn routing_key(&self) -> Vec<u8> {
        [NAMESPACE.as_bytes(), self.as_bytes()].concat()
    }

    /// The topic under which records of this name are told by pubsub: `/record/` and the base64url, without padding, of
    /// [`Name::routing_key`] (IPNS specification, "PubSub").
    pub fn topic(&self) -> String {
        [TOPIC, &Base::Base64Url.encode(self.routing_key())].concat()
    }

    /// The name of a topic; `None` where it is the topic of something else, or written in another way than
    /// [`Name::topic`] writes it.
    pub fn from_topic(topic: &str) -> Option<Name> {
        if topic.len() > PUBSUB_TOPIC_BYTES {
            return None;
        }
        let key = Base::Base64Url.decode(topic.strip_prefix(TOPIC)?).ok()?;
        let name = Name::from_bytes(key.strip_prefix(NAMESPACE.as_bytes())?).ok()?;
        (name.topic() == topic).then_some(name)
    }

    fn multihash(&self) -> Multihash {
        let code = if self.bytes[0] == 0x00 {
            HashFn::Identity
        } else {
            HashFn::Sha2_256
        };
        Multihash::wrap(code.code(), &self.as_bytes()[2..])
            .expect("a name's digest has at most 42 bytes")
    }
}

impl fmt::Display for Name {
    /// The canonical text: the CID in base36, `k51…` for Ed25519 keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 2 + NAME_BYTES];
        bytes[..2].copy_from_slice(&[0x01, Codec::Libp2pKey.code() as u8]);
        bytes[2..].copy_from_slice(&self.bytes);
        f.pad(&multibase::encode(
            Base::Base36Lower,
            &bytes[..2 + usize::from(self.length)],
        ))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Name, NameError> {
        Name::parse(text)
    }
}

/// The type of a public key in libp2p's protobuf that names hold themselves; whether it is a point of its curve is found
/// out when a record is verified.
fn inline_type(protobuf: &[u8]) -> Option<KeyType> {
    match protobuf {
        [0x08, key::ED25519, 0x12, 0x20, data @ ..] if data.len() == PUBLIC_KEY_BYTES => {
            Some(KeyType::Ed25519)
        }
        [0x08, key::SECP256K1, 0x12, 0x21, data @ ..] if data.len() == key::SECP256K1_BYTES => {
            Some(KeyType::Secp256k1)
        }
        _ => None,
    }
}

/// Why something is not an IPNS name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The text is longer than any name.
    #[error("{bytes} bytes of text are too long for an IPNS name; the limit is 128")]
    TooLong {
        /// Length of the text.
        bytes: usize,
    },
    /// The text starts like a peer id and is not base58btc.
    #[error("not a peer id: not base58btc")]
    NotBase58,
    /// The text is neither a peer id nor a CID.
    #[error("not an IPNS name, which looks like k51…")]
    Cid(#[from] CidError),
    /// The CID is of content, not of a key.
    #[error("not an IPNS name: a CID with codec {code:#x} instead of libp2p-key (0x72)")]
    Codec {
        /// The CID's codec.
        code: u64,
    },
    /// The multihash cannot be that of a libp2p public key.
    #[error("not an IPNS name: its multihash is not that of a public key")]
    NotAKey,
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    const K51: &str = "k51qzi5uqu5dkb540xsenixdu9b1v21zx2t8ipuu5nmov96ssxlzf9gwyun1y9";
    const PEER: &str = "12D3KooWLxekgEckQoKTVWePPQscGLrd279EzgHCjfYdqK8U4qbe";
    const KEY: &str = "a58ff497834af3f86a31f978f8d18197c8f4e8cb46c7811bfdacc24043360fa1";

    #[test]
    fn every_spelling_is_the_same_name() {
        let name = Name::parse(K51).unwrap();
        let base32 = name.to_cid().to_string();
        assert!(base32.starts_with("bafzaajaiaejc"), "{base32}");
        let spellings = [K51.into(), PEER.into(), base32.to_uppercase(), base32];
        for text in spellings {
            assert_eq!(Name::parse(&text).unwrap(), name, "{text}");
            assert_eq!(
                Name::parse(&format!("/ipns/{text}")).unwrap(),
                name,
                "{text}"
            );
        }
        assert_eq!(name.to_string(), K51);
        assert_eq!(name.peer_id(), PEER);
        assert_eq!(hex::encode(name.public_key().unwrap().to_bytes()), KEY);
        assert_eq!(Name::from_public_key(&name.public_key().unwrap()), name);
        assert_eq!(Name::from_bytes(name.as_bytes()).unwrap(), name);
        assert_eq!(
            hex::encode(name.routing_key()),
            format!("2f69706e732f002408011220{KEY}")
        );
    }

    #[test]
    fn a_topic_is_that_of_the_go_implementation() {
        let name = Name::parse(K51).unwrap();
        let topic = name.topic();
        // base64url of the bytes of "/ipns/" and the multihash, as its KeyToTopic has it.
        assert_eq!(
            topic,
            "/record/L2lwbnMvACQIARIgpY_0l4NK8_hqMfl4-NGBl8j06MtGx4Eb_azCQEM2D6E"
        );
        assert_eq!(Name::from_topic(&topic), Some(name));
        let rsa = Name::parse("QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N").unwrap();
        assert_eq!(Name::from_topic(&rsa.topic()), Some(rsa));
        let long = format!("{topic}{}", "A".repeat(PUBSUB_TOPIC_BYTES));
        let padded = format!("{topic}=");
        for other in [
            "",
            "/record/",
            "/record/L2lwbnMv",
            &topic[1..],
            &long,
            &padded,
        ] {
            assert_eq!(Name::from_topic(other), None, "{other}");
        }
        assert_eq!(
            Name::from_topic("/record/L3BrL2FiYw"),
            None,
            "another namespace"
        );
    }

    #[test]
    fn names_of_other_key_types_are_read() {
        // A SHA2-256 peer id (RSA) and an inline secp256k1 key.
        let rsa = Name::parse("QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N").unwrap();
        assert_eq!((rsa.public_key(), rsa.key_type()), (None, None));
        assert_eq!(
            rsa.peer_id(),
            "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"
        );
        assert_eq!(Name::parse(&rsa.to_string()).unwrap(), rsa);
        assert!(rsa.to_string().starts_with("k2k4r8"), "{rsa}");
        let secp = Name::parse("16Uiu2HAmSqhjVjSKqTRVHeuzDZe7tdNbhZQ7PYt5x1sn8mDEUKcj").unwrap();
        assert_eq!(secp.public_key(), None);
        assert_eq!(secp.key_type(), Some(KeyType::Secp256k1));
        assert_eq!(Name::parse(&secp.to_string()).unwrap(), secp);
    }

    #[test]
    fn an_unusable_ed25519_key_is_a_name_without_a_key() {
        let name = Name::from_ed25519_bytes(&[0; 32]);
        assert_eq!(Name::parse(&name.to_string()).unwrap(), name);
        assert_eq!(name.public_key(), None);
    }

    #[test]
    fn what_is_not_a_name_is_refused_with_the_reason() {
        let content = "bafkreifw7plhl6mofk6sfvhnfh64qmkq73oeqwl6sloru6rehaoujituke";
        assert_eq!(Name::parse(content), Err(NameError::Codec { code: 0x55 }));
        assert!(matches!(Name::parse(""), Err(NameError::Cid(_))));
        assert!(matches!(Name::parse("/ipns/"), Err(NameError::Cid(_))));
        assert!(matches!(
            Name::parse("/ipns//ipns/"),
            Err(NameError::Cid(_))
        ));
        assert!(matches!(Name::parse("/ipfs/k51"), Err(NameError::Cid(_))));
        assert_eq!(Name::parse("12D3KooW0OIl"), Err(NameError::NotBase58));
        assert_eq!(Name::parse("1"), Err(NameError::NotAKey));
        assert_eq!(
            Name::parse(&"k".repeat(129)),
            Err(NameError::TooLong { bytes: 129 })
        );
        assert!(Name::parse(&format!("{K51}/path")).is_err());
    }

    #[test]
    fn multihashes_that_are_not_of_keys_are_refused() {
        let good = Name::parse(K51).unwrap().to_bytes();
        let mut longer = good.clone();
        longer.push(0);
        let mut other_hash = good.clone();
        other_hash[0] = 0x13;
        let mut short_key = good[..37].to_vec();
        short_key[1] = 0x23;
        // Short enough for a name to hold, and of a type that is never so short.
        let short_ecdsa = [vec![0x00, 42, 0x08, 0x03, 0x12, 38], vec![1; 38]].concat();
        let too_long = [vec![0x00, 43, 0x08, 0x03, 0x12, 39], vec![1; 39]].concat();
        for bytes in [
            vec![],
            vec![0],
            vec![0, 0],
            good[..37].to_vec(),
            longer,
            other_hash,
            short_key,
            short_ecdsa,
            too_long,
        ] {
            assert_eq!(
                Name::from_bytes(&bytes),
                Err(NameError::NotAKey),
                "{bytes:02x?}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_key_has_a_name_that_reads_back(key: [u8; 32]) {
            let name = Name::from_ed25519_bytes(&key);
            prop_assert_eq!(Name::parse(&name.to_string()).unwrap(), name);
            prop_assert_eq!(Name::parse(&name.peer_id()).unwrap(), name);
            prop_assert_eq!(name.ed25519_bytes(), Some(&key));
        }

        #[test]
        fn any_text_is_read_without_panic(text in ".{0,140}") {
            let _ = Name::parse(&text);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(name) = Name::from_bytes(&bytes) {
                prop_assert_eq!(name.as_bytes(), &bytes[..]);
                prop_assert_eq!(Name::parse(&name.to_string()).unwrap(), name);
            }
        }
    }
}
