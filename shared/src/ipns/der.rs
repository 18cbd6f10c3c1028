//! The little of DER (ITU-T X.690) that public keys and ECDSA signatures need: sequences, integers, bit strings.
//!
//! Every value has exactly one encoding: definite lengths in their shortest form, integers with the fewest bytes. What
//! another encoder would have written differently is refused, so that nobody but the signer can vary a signature.

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

/// A reader over DER bytes. Each call takes one element; `None` means that the bytes are not that element in DER.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// Enters a sequence.
    pub(super) fn sequence(&mut self) -> Option<Reader<'a>> {
        Some(Reader::new(self.element(SEQUENCE)?))
    }

    /// Takes an integer that is greater than zero, as its big-endian bytes without a leading zero.
    pub(super) fn positive(&mut self) -> Option<&'a [u8]> {
        match self.element(INTEGER)? {
            [0, rest @ ..] if rest.first().is_some_and(|byte| *byte >= 0x80) => Some(rest),
            bytes @ [1..=0x7f, ..] => Some(bytes),
            _ => None,
        }
    }

    /// Takes a bit string of whole bytes.
    pub(super) fn bit_string(&mut self) -> Option<&'a [u8]> {
        match self.element(BIT_STRING)? {
            [0, bytes @ ..] => Some(bytes),
            _ => None,
        }
    }

    /// Takes exactly these bytes.
    pub(super) fn exactly(&mut self, bytes: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(bytes)?;
        Some(())
    }

    /// Makes sure that nothing is left.
    pub(super) fn finish(self) -> Option<()> {
        self.rest.is_empty().then_some(())
    }

    fn element(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (length, rest) = match self.rest.strip_prefix(&[tag])? {
            [length @ 0..=0x7f, rest @ ..] => (usize::from(*length), rest),
            [0x81, length @ 0x80..=0xff, rest @ ..] => (usize::from(*length), rest),
            [0x82, high @ 1..=0xff, low, rest @ ..] => {
                (usize::from(u16::from_be_bytes([*high, *low])), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some(content)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn integers_have_one_encoding() {
        let read = |bytes: &[u8]| Reader::new(bytes).positive().map(<[u8]>::to_vec);
        assert_eq!(read(&[2, 1, 1]), Some(vec![1]));
        assert_eq!(read(&[2, 2, 0, 0x80]), Some(vec![0x80]));
        let refused: [&[u8]; 8] = [
            &[2, 1, 0],
            &[2, 0],
            &[2, 1, 0x80],
            &[2, 2, 0, 0x7f],
            &[2, 0x81, 1, 1],
            &[2, 0x82, 0, 1, 1],
            &[2, 2, 1],
            &[3, 1, 1],
        ];
        for bytes in refused {
            assert_eq!(read(bytes), None, "{bytes:02x?}");
        }
    }

    #[test]
    fn lengths_are_read_in_their_shortest_form_only() {
        for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff] {
            let mut bytes = match length {
                0..0x80 => vec![SEQUENCE, length as u8],
                0x80..0x100 => vec![SEQUENCE, 0x81, length as u8],
                _ => vec![SEQUENCE, 0x82, (length >> 8) as u8, length as u8],
            };
            bytes.extend(vec![7; length]);
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.sequence().unwrap().rest.len(), length);
            assert_eq!(reader.finish(), Some(()));
            assert!(Reader::new(&bytes[..bytes.len() - 1]).sequence().is_none());
        }
        for bytes in [&[SEQUENCE, 0x80][..], &[SEQUENCE, 0x83, 0, 0, 0]] {
            assert!(Reader::new(bytes).sequence().is_none());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            let _ = reader.sequence().map(|mut inner| (inner.positive(), inner.bit_string()));
            let _ = reader.positive();
        }
    }
}
