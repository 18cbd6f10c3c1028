//! Multihashes as bytes: the part of a CID that says which content it names, whatever its version and codec.

use alloc::vec::Vec;

use super::CidError;
use crate::{
    limits::{DIGEST_BYTES, LimitExceeded, MULTIHASH_BYTES},
    varint,
};

/// The number of a hash function and a digest of at most [`DIGEST_BYTES`].
///
/// A digest that is cut short is another multihash than the whole one, although both name the same content.
pub type Multihash = ::multihash::Multihash<DIGEST_BYTES>;

/// Parses a binary multihash.
///
/// # Errors
/// Refuses trailing bytes, numbers that are not in their shortest form, and digests above [`DIGEST_BYTES`].
pub fn parse_multihash_bytes(bytes: &[u8]) -> Result<Multihash, CidError> {
    LimitExceeded::check("multihash bytes", MULTIHASH_BYTES, bytes.len())?;
    let (hash, length) = read_multihash(bytes)?;
    if length == bytes.len() {
        Ok(hash)
    } else {
        Err(CidError::TrailingBytes {
            extra: bytes.len() - length,
        })
    }
}

/// Reads a binary multihash from the start of `bytes`; returns it and its length.
///
/// # Errors
/// As [`parse_multihash_bytes`], trailing bytes excepted.
pub fn read_multihash(bytes: &[u8]) -> Result<(Multihash, usize), CidError> {
    let (code, after_code) = varint::read_u63(bytes)?;
    let (length, after_length) = varint::read_u63(&bytes[after_code..])?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    LimitExceeded::check("digest bytes", DIGEST_BYTES, length)?;
    let start = after_code + after_length;
    let digest = bytes
        .get(start..start + length)
        .ok_or(CidError::Truncated)?;
    let hash = Multihash::wrap(code, digest).expect("the length was checked against the limit");
    Ok((hash, start + length))
}

/// Appends the binary form of a multihash.
pub fn write_multihash(out: &mut Vec<u8>, hash: &Multihash) {
    varint::write(out, hash.code());
    varint::write(out, u64::from(hash.size()));
    out.extend_from_slice(hash.digest());
}

/// Length in bytes of what [`write_multihash`] appends.
pub fn multihash_len(hash: &Multihash) -> usize {
    hash.encoded_len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_multihash_is_refused() {
        let table: [(&[u8], CidError); 7] = [
            (&[], CidError::Truncated),
            (&[0x12], CidError::Truncated),
            (&[0x12, 2, 1], CidError::Truncated),
            (&[0x92], CidError::Truncated),
            (&[0x12, 1, 1, 1], CidError::TrailingBytes { extra: 1 }),
            (&[0x92, 0x00, 0], CidError::Varint),
            (&[0x12, 0x81, 0x00, 1], CidError::Varint),
        ];
        for (bytes, error) in table {
            assert_eq!(parse_multihash_bytes(bytes), Err(error), "{bytes:?}");
        }
        let over = [0x12, DIGEST_BYTES as u8 + 1];
        assert!(matches!(
            parse_multihash_bytes(&over),
            Err(CidError::Limit(limit)) if limit.limit == "digest bytes"
        ));
        let long = vec![0; MULTIHASH_BYTES + 1];
        assert!(matches!(
            parse_multihash_bytes(&long),
            Err(CidError::Limit(limit)) if limit.limit == "multihash bytes"
        ));
    }

    proptest! {
        #[test]
        fn bytes_of_a_multihash_come_back(
            code in 0..=(u64::MAX >> 1),
            digest in proptest::collection::vec(any::<u8>(), 0..=DIGEST_BYTES),
            rest in proptest::collection::vec(any::<u8>(), 0..4),
        ) {
            let hash = Multihash::wrap(code, &digest).unwrap();
            let mut bytes = Vec::new();
            write_multihash(&mut bytes, &hash);
            prop_assert_eq!(&bytes, &hash.to_bytes());
            prop_assert_eq!(bytes.len(), multihash_len(&hash));
            prop_assert_eq!(parse_multihash_bytes(&bytes), Ok(hash));
            let length = bytes.len();
            bytes.extend(rest);
            prop_assert_eq!(read_multihash(&bytes), Ok((hash, length)));
        }

        #[test]
        fn bytes_that_are_read_are_the_bytes_that_are_written(
            bytes in proptest::collection::vec(any::<u8>(), 0..90),
        ) {
            if let Ok(hash) = parse_multihash_bytes(&bytes) {
                prop_assert_eq!(hash.to_bytes(), bytes);
            }
        }
    }
}
