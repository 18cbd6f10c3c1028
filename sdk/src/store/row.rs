//! The rows of state as a backend keeps them, and what each is for.
//!
//! A block proves itself by its CID; a row has nothing of the kind, and the backends do not prove it either. redb keeps a
//! checksum of each page in the page above it, but compares them only to choose a commit after a crash and in
//! `Database::check_integrity`, which reads the whole file: a plain read gives out whatever the page holds by now.
//! IndexedDB lies in LevelDB, which checks its tables, in Chrome, and in SQLite, which does not, in Firefox and Safari. A
//! bit that flips in a staged label would be signed as if the person had written it. So every backend keeps
//! each row in this form, and gives out no row that does not match:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version: 1 |
//! | 16 | the first bytes of SHA-256 over `perennis/row/v1`, a zero byte, the name's length (4 bytes, big endian), the name, the value |
//! | n | the value |
//!
//! The name is part of it, so a value that turns up under the name of another row is noticed as well. It is a checksum
//! against damage and no signature: whoever can write the file can write a matching one.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::StoreError;

/// The row of the current identity.
pub(crate) const ME: &str = "me";
/// Rows of changes that wait: the name and a number follow.
pub(crate) const STAGED: &str = "staged/";
/// Rows of newest own entries: the name follows.
pub(crate) const HEAD: &str = "head/";
/// Rows of what is to be delivered: the name follows.
pub(crate) const OUTBOX: &str = "outbox/";
/// Rows of what nodes acknowledged: the name and the node's URL follow.
pub(crate) const NODE: &str = "node/";
/// Rows of the blocks of entries: the name and the entry follow.
pub(crate) const ADDED: &str = "added/";
/// Rows of the newest records seen: the name follows.
pub(crate) const RECORD: &str = "record/";
/// Rows of what was signed with a clock that was ahead and is undone: the name follows.
pub(crate) const UNDONE: &str = "undone/";
/// Rows of contradicting records: the name and which of the two follow.
pub(crate) const EQUIVOCATION: &str = "equivocation/";

const VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 16;
const HEAD_BYTES: usize = 1 + CHECKSUM_BYTES;
const DOMAIN: &[u8] = b"perennis/row/v1\0";

/// A row to be kept: `value` under the checksum of the row `name`.
#[must_use]
pub fn encode(name: &str, value: &[u8]) -> Bytes {
    let mut stored = Vec::with_capacity(HEAD_BYTES + value.len());
    stored.push(VERSION);
    stored.extend_from_slice(&checksum(name, value));
    stored.extend_from_slice(value);
    stored.into()
}

/// The value of a row that was kept.
///
/// # Errors
/// [`StoreError::CorruptRow`] when it is not what [`encode`] made for this name.
pub fn decode(name: &str, stored: &Bytes) -> Result<Bytes, StoreError> {
    match damage(name, stored) {
        None => Ok(stored.slice(HEAD_BYTES..)),
        Some(what) => Err(StoreError::CorruptRow {
            key: name.to_owned(),
            what,
        }),
    }
}

/// A row of a store of format 1, which kept bare values, in the form it has now. A row that has it already stays: so a
/// migration that is begun anew, or over a store that only looks old, changes nothing.
#[must_use]
pub fn migrated(name: &str, stored: Bytes) -> Bytes {
    match damage(name, &stored) {
        None => stored,
        Some(_) => encode(name, &stored),
    }
}

/// What is wrong with a row that was kept; none when it is sound.
pub(crate) fn damage(name: &str, stored: &[u8]) -> Option<&'static str> {
    let Some((head, value)) = stored.split_first_chunk::<HEAD_BYTES>() else {
        return Some("it is too short for a row");
    };
    if head[0] != VERSION {
        return Some("its version is unknown");
    }
    (head[1..] != checksum(name, value)).then_some("its checksum does not match")
}

/// What a row of this name is for, in words that end "it held …".
#[must_use]
pub fn holds(name: &str) -> &'static str {
    kind(name).0
}

/// What follows when a row of this name is dropped, for people.
#[must_use]
pub fn loss(name: &str) -> &'static str {
    kind(name).1
}

fn kind(name: &str) -> (&'static str, &'static str) {
    let kinds = [
        (
            STAGED,
            "changes that wait to be published",
            "these changes are lost and have to be made again",
        ),
        (
            HEAD,
            "which entry of the list is the newest here",
            "restoring brings it back",
        ),
        (
            OUTBOX,
            "what was published and is still to be delivered",
            "the next publish sends the newest state again, to the nodes it is given",
        ),
        (
            NODE,
            "what a node has acknowledged",
            "nothing is lost; the next publish sends that node more than it lacks",
        ),
        (
            ADDED,
            "which blocks came with an entry of the list",
            "nothing is lost; the next publish sends more than nodes lack",
        ),
        (
            RECORD,
            "the newest record seen of a name",
            "until the name is resolved again, an older record of it would be believed",
        ),
        (
            UNDONE,
            "which sequences were used up by what was undone",
            "the next publish may use a sequence again that was signed for and that no node took",
        ),
        (
            EQUIVOCATION,
            "two records that contradict each other",
            "the proof that the name was signed for twice is lost",
        ),
    ];
    if name == ME {
        return (
            "the public facts of the identity",
            "the next publish or restore writes them again, from the passphrase",
        );
    }
    let kind = kinds.iter().find(|(prefix, ..)| name.starts_with(prefix));
    kind.map_or(
        (
            "nothing that its name would tell",
            "if it was a change that was not published yet, it has to be made again",
        ),
        |(_, holds, loss)| (*holds, *loss),
    )
}

fn checksum(name: &str, value: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hash = Sha256::new();
    hash.update(DOMAIN);
    let length = u32::try_from(name.len()).unwrap_or(u32::MAX);
    hash.update(length.to_be_bytes());
    hash.update(name.as_bytes());
    hash.update(value);
    let digest: [u8; 32] = hash.finalize().into();
    *digest
        .first_chunk()
        .expect("a digest is longer than its beginning")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    /// Made with Python's hashlib.
    #[test]
    fn rows_have_their_known_bytes() {
        let golden = [
            (
                "me",
                &b"value"[..],
                "019703c1526d942aaa1603838bbf03c22a76616c7565",
            ),
            ("", b"", "0156f05ef3d3b452baddc4ff1cf1185c40"),
        ];
        for (name, value, bytes) in golden {
            let stored = encode(name, value);
            assert_eq!(hex::encode(&stored), bytes, "{name:?}");
            assert_eq!(decode(name, &stored).unwrap(), value);
        }
    }

    #[test]
    fn rows_of_the_first_format_are_taken_over_once() {
        // What the first format kept: DAG-CBOR maps, binary CIDs, records.
        for value in [
            &b"\xa1\x61k\x01"[..],
            b"\x01\x71\x12\x20rest",
            b"\x0a\x01v",
            b"",
        ] {
            let stored = migrated("head/name", Bytes::copy_from_slice(value));
            assert_eq!(decode("head/name", &stored).unwrap(), value);
            assert_eq!(migrated("head/name", stored.clone()), stored);
        }
    }

    #[test]
    fn every_kind_of_row_says_what_it_is_for() {
        let kinds = [
            ME,
            STAGED,
            HEAD,
            OUTBOX,
            NODE,
            ADDED,
            RECORD,
            UNDONE,
            EQUIVOCATION,
        ];
        for words in [kinds.map(holds), kinds.map(loss)] {
            let words: std::collections::BTreeSet<&str> = words.into();
            assert_eq!(words.len(), kinds.len());
        }
        assert!(holds("stbged/k51/1").contains("nothing"));
    }

    proptest! {
        #[test]
        fn a_row_is_read_back(name in ".{0,80}", value in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(decode(&name, &encode(&name, &value)).unwrap(), value);
        }

        #[test]
        fn every_changed_byte_of_a_row_is_noticed(
            name in "[a-z/]{0,40}",
            value in prop::collection::vec(any::<u8>(), 0..100),
            at in any::<prop::sample::Index>(),
            flip in 1..=255_u8,
        ) {
            let mut stored = encode(&name, &value).to_vec();
            let at = at.index(stored.len());
            stored[at] ^= flip;
            prop_assert!(decode(&name, &stored.into()).is_err());
        }

        #[test]
        fn a_row_counts_under_its_own_name_only(
            name in ".{0,40}",
            other in ".{0,40}",
            value in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            prop_assume!(name != other);
            let stored = encode(&name, &value);
            prop_assert!(decode(&other, &stored).is_err());
            // No byte moves from the name into the value without being noticed.
            let longer = encode(&format!("{name}{other}"), &value);
            let shifted: Vec<u8> = [&longer[..HEAD_BYTES], other.as_bytes(), &value].concat();
            prop_assert!(other.is_empty() || decode(&name, &shifted.into()).is_err());
        }

        #[test]
        fn any_bytes_are_read_without_panic(name in ".{0,20}", stored in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(decode(&name, &stored.into()).is_err());
        }
    }
}
