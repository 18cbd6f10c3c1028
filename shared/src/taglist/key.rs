//! Keys of a tag list: the handle in lower case, or `#` and an account's number, a zero byte, the label.
//!
//! Keys are compared bytewise. The zero byte sorts below every character of a handle, so all labels of
//! one handle are neighbours, and a handle comes before the longer ones that begin with it.

use core::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
};

use super::{Handle, LabelError, Tag};
use crate::limits::LIST_KEY_BYTES;

/// At most [`LIST_KEY_BYTES`] bytes without an allocation: a key or the beginning of one.
#[derive(Clone, Copy)]
pub(crate) struct KeyBytes {
    bytes: [u8; LIST_KEY_BYTES],
    len: u8,
}

impl KeyBytes {
    /// The empty beginning, which sorts before every key.
    pub(crate) const EMPTY: KeyBytes = KeyBytes {
        bytes: [0; LIST_KEY_BYTES],
        len: 0,
    };

    /// `head` followed by `tail`; `None` when they are too long together.
    pub(crate) fn join(head: &[u8], tail: &[u8]) -> Option<KeyBytes> {
        let len = head.len() + tail.len();
        if len > LIST_KEY_BYTES {
            return None;
        }
        let mut bytes = [0; LIST_KEY_BYTES];
        bytes[..head.len()].copy_from_slice(head);
        bytes[head.len()..len].copy_from_slice(tail);
        Some(KeyBytes {
            bytes,
            len: len as u8,
        })
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The first `len` bytes, or all of them when there are fewer.
    pub(crate) fn truncated(mut self, len: usize) -> KeyBytes {
        if len < usize::from(self.len) {
            self.bytes[len..].fill(0);
            self.len = len as u8;
        }
        self
    }
}

impl PartialEq for KeyBytes {
    fn eq(&self, other: &KeyBytes) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for KeyBytes {}

impl Hash for KeyBytes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

impl PartialOrd for KeyBytes {
    fn partial_cmp(&self, other: &KeyBytes) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for KeyBytes {
    fn cmp(&self, other: &KeyBytes) -> Ordering {
        self.as_slice().cmp(other.as_slice())
    }
}

impl fmt::Debug for KeyBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_slice().escape_ascii())
    }
}

/// The key of a row: which label on which handle. One label is on a handle at most once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key(KeyBytes);

impl Key {
    /// The key of `label` on `handle`. The spelling of the handle does not matter.
    pub fn new(handle: &Handle, label: &Tag) -> Key {
        let mut bytes = [0; LIST_KEY_BYTES];
        let (name, text) = (handle.as_str().as_bytes(), label.as_str().as_bytes());
        bytes[..name.len()].copy_from_slice(name);
        bytes[..name.len()].make_ascii_lowercase();
        let len = name.len() + 1 + text.len();
        bytes[name.len() + 1..len].copy_from_slice(text);
        Key(KeyBytes {
            bytes,
            len: len as u8,
        })
    }

    /// Parses a key from its bytes.
    ///
    /// # Errors
    /// Refuses everything [`Key::new`] does not make: a handle in upper case, a missing zero byte, a
    /// handle or a label that breaks its rules.
    pub fn parse(bytes: &[u8]) -> Result<Key, KeyError> {
        let bytes = KeyBytes::join(bytes, &[]).ok_or(KeyError::TooLong)?;
        let (handle, label) = split(bytes.as_slice()).ok_or(KeyError::NoSeparator)?;
        if handle.iter().any(u8::is_ascii_uppercase) {
            return Err(KeyError::UpperCase);
        }
        Handle::parse_bytes(handle).map_err(KeyError::Part)?;
        Tag::check(label).map_err(KeyError::Part)?;
        Ok(Key(bytes))
    }

    /// The key's bytes: handle, zero byte, label.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// The handle in lower case, without `@`.
    pub fn handle(&self) -> Handle {
        let (handle, _) = split(self.as_bytes()).expect("a key has a zero byte");
        Handle::parse_bytes(handle).expect("a key begins with a handle")
    }

    /// The label.
    pub fn label(&self) -> Tag {
        let (_, label) = split(self.as_bytes()).expect("a key has a zero byte");
        Tag::from_checked(label)
    }

    pub(crate) fn raw(&self) -> &KeyBytes {
        &self.0
    }
}

fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|&byte| byte == 0)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

/// What a scan is narrowed to: keys that begin with certain bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyPrefix(KeyBytes);

impl KeyPrefix {
    /// Every key.
    pub const ALL: KeyPrefix = KeyPrefix(KeyBytes::EMPTY);

    /// Handles that begin with `text`, in any case, with or without `@`. Empty text means every handle.
    ///
    /// # Errors
    /// Refuses text that no handle begins with.
    pub fn of_handles(text: &str) -> Result<KeyPrefix, LabelError> {
        let text = text.strip_prefix('@').unwrap_or(text);
        if text.is_empty() {
            return Ok(KeyPrefix::ALL);
        }
        let handle = Handle::parse(text)?.lower();
        Ok(KeyPrefix(
            KeyBytes::join(handle.as_str().as_bytes(), &[])
                .expect("a handle is shorter than a key"),
        ))
    }

    /// All labels of exactly this handle.
    pub fn of_handle(handle: &Handle) -> KeyPrefix {
        KeyPrefix(
            KeyBytes::join(handle.lower().as_str().as_bytes(), &[0])
                .expect("a handle is shorter than a key"),
        )
    }

    pub(crate) fn raw(&self) -> &KeyBytes {
        &self.0
    }
}

/// Why bytes are no key.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Longer than any key.
    #[error("the key is longer than {LIST_KEY_BYTES} bytes")]
    TooLong,
    /// Handle and label are not separated.
    #[error("the key has no zero byte between handle and label")]
    NoSeparator,
    /// The handle is not in lower case.
    #[error("the handle of the key is not in lower case")]
    UpperCase,
    /// Handle or label break their rules.
    #[error(transparent)]
    Part(LabelError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(handle: &str, label: &str) -> Key {
        Key::new(&Handle::parse(handle).unwrap(), &Tag::parse(label).unwrap())
    }

    #[test]
    fn keys_ignore_spelling_and_keep_the_labels_of_a_handle_together() {
        assert_eq!(key("@Alice", "spam"), key("alice", "spam"));
        assert_eq!(key("@Alice", "spam").as_bytes(), b"alice\0spam");
        let mut keys = [
            key("ab", "z"),
            key("a", "z"),
            key("a_b", "a"),
            key("a", "b"),
            key("a1", "a"),
        ];
        keys.sort();
        let order: std::vec::Vec<_> = keys.iter().map(|key| key.as_bytes().to_vec()).collect();
        assert_eq!(
            order,
            [&b"a\0b"[..], b"a\0z", b"a1\0a", b"a_b\0a", b"ab\0z"].map(<[u8]>::to_vec)
        );
    }

    #[test]
    fn only_canonical_keys_are_read() {
        assert_eq!(Key::parse(b"alice\0spam"), Ok(key("alice", "spam")));
        assert_eq!(Key::parse(b"Alice\0spam"), Err(KeyError::UpperCase));
        assert_eq!(Key::parse(b"alice"), Err(KeyError::NoSeparator));
        assert_eq!(Key::parse(&[b'a'; 73]), Err(KeyError::TooLong));
        for bytes in [
            &b"\0spam"[..],
            b"alice\0",
            b"alice\0Spam",
            b"al-ce\0spam",
            b"a\0b\0c",
        ] {
            assert!(
                matches!(Key::parse(bytes), Err(KeyError::Part(_))),
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn prefixes_are_of_handles() {
        let prefix = KeyPrefix::of_handles("@AL").unwrap();
        assert_eq!(prefix.raw().as_slice(), b"al");
        assert_eq!(KeyPrefix::of_handles("@"), Ok(KeyPrefix::ALL));
        assert!(KeyPrefix::of_handles("a b").is_err());
        let exact = KeyPrefix::of_handle(&Handle::parse("Al").unwrap());
        assert_eq!(exact.raw().as_slice(), b"al\0");
    }

    proptest! {
        #[test]
        fn keys_come_back(handle in "[a-zA-Z0-9_]{1,15}", label in "[a-z0-9-]{1,50}") {
            let key = key(&handle, &label);
            prop_assert_eq!(Key::parse(key.as_bytes()), Ok(key));
            let shown = key.handle();
            prop_assert_eq!(shown.as_str(), handle.to_ascii_lowercase());
            let tag = key.label();
            prop_assert_eq!(tag.as_str(), label.as_str());
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Key::parse(&bytes);
        }
    }
}
