//! The record that ends a group: what the group changes besides its blocks.
//!
//! ```text
//! previous u64 · blocks u32 · changes u32 · change · change · …
//! change 1 put     key length u16 · key · value length u32 · value
//!        2 delete  key length u16 · key
//!        3 forget  key length u16 · CID
//! ```
//!
//! `previous` is the group before this one that was acknowledged. A group between the two failed half-way: it was never
//! acknowledged, and its bytes may be whole all the same.

/// A change of the index that is not a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Format1Change {
    /// Sets a row.
    Put(Vec<u8>, Vec<u8>),
    /// Removes a row.
    Delete(Vec<u8>),
    /// Drops the block with this binary CID.
    Forget(Vec<u8>),
}

/// The body of a record of kind 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupEnd {
    pub(crate) previous: u64,
    pub(crate) blocks: u32,
    pub(crate) changes: Vec<Format1Change>,
}

impl GroupEnd {
    /// None where the bytes are not exactly one such body.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (previous, rest) = bytes.split_first_chunk::<8>()?;
        let (blocks, rest) = rest.split_first_chunk::<4>()?;
        let (count, mut rest) = rest.split_first_chunk::<4>()?;
        // A change has at least three bytes: a count that lies takes no memory.
        let count = u32::from_le_bytes(*count) as usize;
        if count > rest.len() / 3 {
            return None;
        }
        let mut changes = Vec::with_capacity(count);
        for _ in 0..count {
            let (&code, after) = rest.split_first()?;
            let (key_length, after) = after.split_first_chunk::<2>()?;
            let (key, after) =
                after.split_at_checked(usize::from(u16::from_le_bytes(*key_length)))?;
            rest = after;
            changes.push(match code {
                1 => {
                    let (value_length, after) = rest.split_first_chunk::<4>()?;
                    let (value, after) =
                        after.split_at_checked(u32::from_le_bytes(*value_length) as usize)?;
                    rest = after;
                    Format1Change::Put(key.to_vec(), value.to_vec())
                }
                2 => Format1Change::Delete(key.to_vec()),
                3 => Format1Change::Forget(key.to_vec()),
                _ => return None,
            });
        }
        rest.is_empty().then(|| Self {
            previous: u64::from_le_bytes(*previous),
            blocks: u32::from_le_bytes(*blocks),
            changes,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    /// As the first release wrote it.
    const GOLDEN: &[u8] = b"\x04\0\0\0\0\0\0\0\x02\0\0\0\x03\0\0\0\
        \x01\x01\0k\x05\0\0\0value\x02\x04\0gone\x03\x03\0cid";

    #[test]
    fn golden_bytes_are_read() {
        let end = GroupEnd::from_bytes(GOLDEN).unwrap();
        assert_eq!((end.previous, end.blocks), (4, 2));
        assert_eq!(
            end.changes,
            [
                Format1Change::Put(b"k".to_vec(), b"value".to_vec()),
                Format1Change::Delete(b"gone".to_vec()),
                Format1Change::Forget(b"cid".to_vec()),
            ]
        );
        for cut in 0..GOLDEN.len() {
            assert_eq!(GroupEnd::from_bytes(&GOLDEN[..cut]), None, "{cut}");
        }
        assert_eq!(GroupEnd::from_bytes(&[GOLDEN, &[0]].concat()), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = GroupEnd::from_bytes(&bytes);
        }

        #[test]
        fn no_flip_panics(at in 0..GOLDEN.len(), mask in 1_u8..) {
            let mut bytes = GOLDEN.to_vec();
            bytes[at] ^= mask;
            let _ = GroupEnd::from_bytes(&bytes);
        }
    }
}
