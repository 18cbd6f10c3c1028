//! Blocks in the order in which they lie in the files.

use std::sync::Arc;

use perennis_shared::cid::{Multihash, parse_multihash_bytes, write_multihash};

use super::sink::Sink;
use crate::kv::{Kv, KvError, KvLoad, KvRow};
use crate::location::{FileNumber, Location};

/// The place at which a block is to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Copy {
    pub(super) hash: Multihash,
    pub(super) location: Location,
    pub(super) codecs: Vec<u64>,
    /// Whether it waits to be fetched again already.
    pub(super) is_queued: bool,
}

/// Blocks on their way into that order.
#[derive(Debug)]
pub(super) struct ByPlace {
    sink: Sink,
}

impl ByPlace {
    pub(super) fn new(load: Box<dyn KvLoad>) -> Self {
        Self {
            sink: Sink::new(load),
        }
    }

    pub(super) fn add(&mut self, copy: &Copy) -> Result<(), KvError> {
        let Location {
            file,
            offset,
            length,
        } = copy.location;
        let mut key = file.0.to_be_bytes().to_vec();
        key.extend_from_slice(&offset.to_be_bytes());
        write_multihash(&mut key, &copy.hash);
        let mut value = vec![u8::from(copy.is_queued)];
        value.extend_from_slice(&length.to_le_bytes());
        for codec in &copy.codecs {
            value.extend_from_slice(&codec.to_le_bytes());
        }
        self.sink.put(key, value)
    }

    /// All of them; [`Copy::read`] reads a row.
    pub(super) fn finish(self) -> Result<Arc<dyn Kv>, KvError> {
        self.sink.finish()
    }
}

impl Copy {
    pub(super) fn read((key, value): &KvRow) -> Self {
        let number = |bytes: &[u8]| -> [u8; 4] { bytes.try_into().expect("a slice of four bytes") };
        let (codecs, _) = value[5..].as_chunks::<8>();
        Self {
            hash: parse_multihash_bytes(&key[8..]).expect("it was written as one"),
            location: Location {
                file: FileNumber(u32::from_be_bytes(number(&key[..4]))),
                offset: u32::from_be_bytes(number(&key[4..8])),
                length: u32::from_le_bytes(number(&value[1..5])),
            },
            codecs: codecs.iter().copied().map(u64::from_le_bytes).collect(),
            is_queued: value[0] == 1,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::testing::{Durable, MortalKv, Power};

    #[test]
    fn copies_come_back_by_file_and_offset() {
        let load = Box::new(MortalKv::open(&Durable::default(), &Power::default()));
        let mut by_place = ByPlace::new(load);
        let copy = |file, offset| Copy {
            hash: parse_multihash_bytes(&[0x12, 1, 7]).unwrap(),
            location: Location {
                file: FileNumber(file),
                offset,
                length: u32::MAX,
            },
            codecs: vec![0x55, u64::MAX],
            is_queued: offset == 256,
        };
        let sorted = [copy(1, 1), copy(1, 256), copy(2, 0), copy(256, 0)];
        for at in [2, 0, 3, 1] {
            by_place.add(&sorted[at]).unwrap();
        }
        let rows = by_place.finish().unwrap().scan(&[], &[u8::MAX], 9).unwrap();
        assert_eq!(rows.iter().map(Copy::read).collect::<Vec<_>>(), sorted);
    }
}
