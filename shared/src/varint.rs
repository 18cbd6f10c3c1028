//! Unsigned LEB128 integers, read strictly: the shortest form only.
//!
//! Multiformats (CID, CAR) allow 63 bits in 9 bytes (unsigned-varint specification), protobuf 64
//! bits in 10. Both refuse a longer form of a number that has a shorter one, so that one number has
//! one encoding.

use alloc::vec::Vec;

/// Why a varint cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VarintError {
    /// The input ends inside the number; with more input it may become valid.
    Truncated,
    /// The number is longer than it must be, or above the largest one.
    Invalid,
}

/// Reads a multiformats varint: at most 9 bytes, 63 bits. Returns the number and its length.
pub(crate) fn read_u63(input: &[u8]) -> Result<(u64, usize), VarintError> {
    read(input, 9)
}

/// Reads a protobuf varint: at most 10 bytes, 64 bits. Returns the number and its length.
pub(crate) fn read_u64(input: &[u8]) -> Result<(u64, usize), VarintError> {
    read(input, 10)
}

fn read(input: &[u8], max_bytes: usize) -> Result<(u64, usize), VarintError> {
    let mut number = 0u64;
    for (index, &byte) in input.iter().take(max_bytes).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if index == 9 && byte > 1 {
            return Err(VarintError::Invalid);
        }
        number |= bits << (7 * index);
        if byte & 0x80 == 0 {
            let padded = byte == 0 && index > 0;
            return if padded {
                Err(VarintError::Invalid)
            } else {
                Ok((number, index + 1))
            };
        }
    }
    if input.len() < max_bytes {
        Err(VarintError::Truncated)
    } else {
        Err(VarintError::Invalid)
    }
}

/// Appends the shortest form of `number`.
pub(crate) fn write(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    #[test]
    fn shortest_forms_are_read_and_longer_ones_refused() {
        assert_eq!(read_u63(&[0]), Ok((0, 1)));
        assert_eq!(read_u63(&[0x80, 0x01, 0xff]), Ok((128, 2)));
        assert_eq!(read_u63(&[0x80, 0x00]), Err(VarintError::Invalid));
        assert_eq!(read_u63(&[0xff]), Err(VarintError::Truncated));
        assert_eq!(read_u63(&[]), Err(VarintError::Truncated));
    }

    #[test]
    fn the_largest_numbers_are_63_and_64_bits() {
        let mut largest = vec![0xff; 8];
        largest.push(0x7f);
        assert_eq!(read_u63(&largest), Ok((u64::MAX >> 1, 9)));
        let mut largest = vec![0xff; 9];
        largest.push(0x01);
        assert_eq!(read_u64(&largest), Ok((u64::MAX, 10)));
        assert_eq!(read_u63(&largest), Err(VarintError::Invalid));
        largest[9] = 0x02;
        assert_eq!(read_u64(&largest), Err(VarintError::Invalid));
    }

    proptest! {
        #[test]
        fn every_number_comes_back(number: u64) {
            let mut out = Vec::new();
            write(&mut out, number);
            prop_assert_eq!(read_u64(&out), Ok((number, out.len())));
        }
    }
}
