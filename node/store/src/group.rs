//! The record that ends a group: what the group changes besides the blocks before it.
//!
//! ```text
//! previous u64 · blocks u32 · ops u32 · op · op · …
//! op  1 put     key length u16 · key · value length u32 · value
//!     2 delete  key length u16 · key
//!     3 forget  key length u16 · CID
//! ```
//!
//! `previous` is the group before this one that was acknowledged. A group between the two failed half-way: its bytes
//! may have reached the disk all the same, and replaying the log passes over it.

/// A change of the index that is not a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    /// Drops the block with this binary CID.
    Forget(Vec<u8>),
}

/// The body of a record of kind commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) previous: u64,
    pub(crate) blocks: u32,
    pub(crate) ops: Vec<Op>,
}

impl Commit {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&self.previous.to_le_bytes());
        bytes.extend_from_slice(&self.blocks.to_le_bytes());
        bytes.extend_from_slice(&length(self.ops.len()).to_le_bytes());
        for op in &self.ops {
            let (code, key, value) = match op {
                Op::Put(key, value) => (1, key, Some(value)),
                Op::Delete(key) => (2, key, None),
                Op::Forget(cid) => (3, cid, None),
            };
            bytes.push(code);
            let key_length =
                u16::try_from(key.len()).expect("keys are checked when they enter a batch");
            bytes.extend_from_slice(&key_length.to_le_bytes());
            bytes.extend_from_slice(key);
            if let Some(value) = value {
                bytes.extend_from_slice(&length(value.len()).to_le_bytes());
                bytes.extend_from_slice(value);
            }
        }
        bytes
    }

    /// None where the bytes are not exactly one commit.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (previous, rest) = bytes.split_first_chunk::<8>()?;
        let (blocks, rest) = rest.split_first_chunk::<4>()?;
        let (count, mut rest) = rest.split_first_chunk::<4>()?;
        // An op has at least three bytes: a count that lies takes no memory.
        let count = u32::from_le_bytes(*count) as usize;
        if count > rest.len() / 3 {
            return None;
        }
        let mut ops = Vec::with_capacity(count);
        for _ in 0..count {
            let (&code, after) = rest.split_first()?;
            let (key_length, after) = after.split_first_chunk::<2>()?;
            let (key, after) =
                after.split_at_checked(usize::from(u16::from_le_bytes(*key_length)))?;
            rest = after;
            ops.push(match code {
                1 => {
                    let (value_length, after) = rest.split_first_chunk::<4>()?;
                    let (value, after) =
                        after.split_at_checked(u32::from_le_bytes(*value_length) as usize)?;
                    rest = after;
                    Op::Put(key.to_vec(), value.to_vec())
                }
                2 => Op::Delete(key.to_vec()),
                3 => Op::Forget(key.to_vec()),
                _ => return None,
            });
        }
        rest.is_empty().then(|| Self {
            previous: u64::from_le_bytes(*previous),
            blocks: u32::from_le_bytes(*blocks),
            ops,
        })
    }
}

fn length(length: usize) -> u32 {
    u32::try_from(length).expect("a batch is far below 4 GiB")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn commit() -> Commit {
        Commit {
            previous: 4,
            blocks: 2,
            ops: vec![
                Op::Put(b"k".to_vec(), b"value".to_vec()),
                Op::Delete(b"gone".to_vec()),
                Op::Forget(b"cid".to_vec()),
            ],
        }
    }

    #[test]
    fn golden_bytes_of_a_commit() {
        let hex: String = commit()
            .to_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let golden = concat!(
            "0400000000000000",
            "02000000",
            "03000000",
            "01",
            "0100",
            "6b",
            "05000000",
            "76616c7565",
            "02",
            "0400",
            "676f6e65",
            "03",
            "0300",
            "636964",
        );
        assert_eq!(hex, golden);
        assert_eq!(Commit::from_bytes(&commit().to_bytes()), Some(commit()));
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_what_is_read_is_what_was_written(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(commit) = Commit::from_bytes(&bytes) {
                prop_assert_eq!(commit.to_bytes(), bytes);
            }
        }

        #[test]
        fn a_cut_commit_is_none(cut in 0_usize..50) {
            let bytes = commit().to_bytes();
            if cut < bytes.len() {
                prop_assert_eq!(Commit::from_bytes(&bytes[..cut]), None);
            }
        }
    }
}
