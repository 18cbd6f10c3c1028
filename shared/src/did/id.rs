//! Decentralized identifiers: `did:key` (W3C CCG method) and `did:ipns` (ours).

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use multibase::Base;

use crate::ipns::{Name, NameError};
use crate::sign::{PUBLIC_KEY_BYTES, PublicKey};

/// Longest text that is read as an identifier; the longest valid one has 85 bytes.
const DID_TEXT_BYTES: usize = 160;

const KEY_METHOD: &str = "did:key:";
const IPNS_METHOD: &str = "did:ipns:";

/// Multicodec of an Ed25519 public key (0xed) as a varint.
const ED25519_CODEC: [u8; 2] = [0xed, 0x01];

/// The identifier of an identity.
///
/// A `did:key` is an Ed25519 key and nothing else. A `did:ipns` is an IPNS name, whose records lead to the document.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Did(Method);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Method {
    /// The bytes of a key that [`PublicKey`] has accepted.
    Key([u8; PUBLIC_KEY_BYTES]),
    Ipns(Name),
}

impl Did {
    /// The `did:key` of a key.
    pub fn from_key(key: &PublicKey) -> Did {
        Did(Method::Key(key.to_bytes()))
    }

    /// The `did:ipns` of a name; `None` for the name of another key than Ed25519, which has no document.
    pub fn from_name(name: Name) -> Option<Did> {
        name.ed25519_bytes()?;
        Some(Did(Method::Ipns(name)))
    }

    /// Parses `did:key:z6Mk…`, `did:ipns:k51…`, or an IPNS name alone, which is read as `did:ipns`.
    ///
    /// A name is read in every spelling that [`Name::parse`] knows and always written in its canonical
    /// one.
    ///
    /// # Errors
    /// Refuses other methods, keys and names that are not Ed25519, paths, queries and fragments.
    pub fn parse(text: &str) -> Result<Did, DidError> {
        if text.len() > DID_TEXT_BYTES {
            return Err(DidError::TooLong { bytes: text.len() });
        }
        if let Some(key) = text.strip_prefix(KEY_METHOD) {
            return parse_multikey(key).map(|key| Did::from_key(&key));
        }
        let name = match text.strip_prefix(IPNS_METHOD) {
            None if text.starts_with("did:") => return Err(DidError::UnknownMethod),
            None => Name::parse(text)?,
            Some(name) if name.starts_with('/') => return Err(DidError::Path),
            Some(name) => Name::parse(name)?,
        };
        Did::from_name(name).ok_or(DidError::UnsupportedKey)
    }

    /// The IPNS name under which this identity's records are looked for: the name of a `did:ipns` itself, and the name
    /// of the same key for a `did:key`.
    pub fn name(&self) -> Name {
        match &self.0 {
            Method::Key(key) => Name::from_ed25519_bytes(key),
            Method::Ipns(name) => *name,
        }
    }

    /// The key of a `did:key`; `None` for a `did:ipns`, whose document tells its keys.
    pub fn public_key(&self) -> Option<PublicKey> {
        match &self.0 {
            Method::Key(key) => PublicKey::from_bytes(key).ok(),
            Method::Ipns(_) => None,
        }
    }

    /// Whether this is a `did:key`.
    pub fn is_key(&self) -> bool {
        matches!(self.0, Method::Key(_))
    }
}

impl fmt::Display for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Method::Key(key) => write!(f, "{KEY_METHOD}{}", multikey(key)),
            Method::Ipns(name) => write!(f, "{IPNS_METHOD}{name}"),
        }
    }
}

impl fmt::Debug for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Did({self})")
    }
}

impl FromStr for Did {
    type Err = DidError;

    fn from_str(text: &str) -> Result<Did, DidError> {
        Did::parse(text)
    }
}

/// An Ed25519 key as `publicKeyMultibase` of a Multikey: base58btc of the multicodec and the key, `z6Mk…`.
pub(super) fn multikey(key: &[u8; PUBLIC_KEY_BYTES]) -> String {
    multibase::encode(Base::Base58Btc, [&ED25519_CODEC[..], key].concat())
}

/// Reads what [`multikey`] wrote.
pub(super) fn parse_multikey(text: &str) -> Result<PublicKey, DidError> {
    if text.len() > DID_TEXT_BYTES {
        return Err(DidError::TooLong { bytes: text.len() });
    }
    let base58 = text.strip_prefix('z').ok_or(DidError::NotAKey)?;
    let bytes = Base::Base58Btc
        .decode(base58)
        .map_err(|_| DidError::NotAKey)?;
    let key = bytes
        .strip_prefix(&ED25519_CODEC)
        .ok_or(DidError::UnsupportedKey)?;
    let key = key.try_into().map_err(|_| DidError::NotAKey)?;
    Ok(PublicKey::from_bytes(key)?)
}

/// Why text is not an identifier we know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DidError {
    /// The text is longer than any identifier.
    #[error("{bytes} bytes of text are too long for a DID; the limit is 160")]
    TooLong {
        /// Length of the text.
        bytes: usize,
    },
    /// Another method than `key` and `ipns`.
    #[error("this DID method is not known; did:key and did:ipns are")]
    UnknownMethod,
    /// A path stands where the name should.
    #[error("a did:ipns holds a name alone, which looks like did:ipns:k51…")]
    Path,
    /// The text after `did:key:` is not a key in base58btc.
    #[error("not a did:key: a key in base58btc is expected, which looks like did:key:z6Mk…")]
    NotAKey,
    /// The identifier is of another key type.
    #[error("this DID is not of an Ed25519 key; only those are supported")]
    UnsupportedKey,
    /// The key of the `did:key` cannot be used.
    #[error("the key of this did:key cannot be used")]
    Key(#[from] crate::sign::KeyError),
    /// The name of the `did:ipns` is not one.
    #[error("the DID holds no IPNS name")]
    Name(#[from] NameError),
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;

    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "did:key:z6MkqbYdXMHUZSYSC7yfSP67LeKnMMNTNsT5U66YHbwb67f6";
    const NAME: &str = "k51qzi5uqu5dkb540xsenixdu9b1v21zx2t8ipuu5nmov96ssxlzf9gwyun1y9";

    #[test]
    fn both_methods_are_read_and_written() {
        let key = Did::parse(KEY).unwrap();
        assert_eq!(key.to_string(), KEY);
        assert!(key.is_key());
        assert_eq!(key.name().to_string(), NAME);
        assert_eq!(Did::from_key(&key.public_key().unwrap()), key);

        let ipns = Did::parse(&format!("did:ipns:{NAME}")).unwrap();
        assert_eq!(ipns.to_string(), format!("did:ipns:{NAME}"));
        assert!(!ipns.is_key());
        assert_eq!((ipns.name(), ipns.public_key()), (key.name(), None));
        assert_ne!(ipns, key);
        let base32 = key.name().to_cid().to_string();
        assert_eq!(Did::parse(&format!("did:ipns:{base32}")), Ok(ipns));
        assert_eq!(Did::parse(NAME), Ok(ipns));
        assert_eq!(Did::parse(&format!("/ipns/{NAME}")), Ok(ipns));
        assert_eq!(Did::parse(&key.name().peer_id()), Ok(ipns));
    }

    #[test]
    fn what_is_no_identifier_of_ours_is_refused_with_the_reason() {
        let table = [
            ("did:web:example.org", DidError::UnknownMethod),
            ("did:", DidError::UnknownMethod),
            ("did:key:", DidError::NotAKey),
            ("did:key:6Mkq", DidError::NotAKey),
            ("did:key:z0OIl", DidError::NotAKey),
            // An X25519 key and a P-256 key.
            (
                "did:key:z6LShs9GGnqk85isEBzzshkuVWrVKsRp24GnDuHk8QWkARMW",
                DidError::UnsupportedKey,
            ),
            (
                "did:key:zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169",
                DidError::UnsupportedKey,
            ),
            (&format!("{KEY}#{}", &KEY[8..]), DidError::NotAKey),
            (
                "did:ipns:QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
                DidError::UnsupportedKey,
            ),
            (&format!("did:ipns:/ipns/{NAME}"), DidError::Path),
            (
                "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
                DidError::UnsupportedKey,
            ),
            // A secp256k1 key.
            (
                "did:ipns:16Uiu2HAmSqhjVjSKqTRVHeuzDZe7tdNbhZQ7PYt5x1sn8mDEUKcj",
                DidError::UnsupportedKey,
            ),
            (&"z".repeat(161), DidError::TooLong { bytes: 161 }),
        ];
        for (text, error) in table {
            assert_eq!(Did::parse(text), Err(error), "{text}");
        }
        assert!(matches!(
            Did::parse(&format!("did:ipns:{NAME}/x")),
            Err(DidError::Name(_))
        ));
        assert!(matches!(Did::parse("alice"), Err(DidError::Name(_))));
        let weak = format!("{KEY_METHOD}{}", multikey(&[0; 32]));
        assert!(matches!(Did::parse(&weak), Err(DidError::Key(_))));
    }

    proptest! {
        #[test]
        fn any_key_reads_back(seed: [u8; 32]) {
            let key = crate::sign::SigningKey::from_seed(&seed).public();
            let ipns = Did::from_name(Name::from_public_key(&key)).unwrap();
            for did in [Did::from_key(&key), ipns] {
                prop_assert_eq!(Did::parse(&did.to_string()), Ok(did));
            }
        }

        #[test]
        fn any_text_is_read_without_panic(text in "(did:(key:z|ipns:k))?.{0,80}") {
            if let Ok(did) = Did::parse(&text) {
                prop_assert_eq!(Did::parse(&did.to_string()), Ok(did));
            }
        }
    }
}
