//! Writes DAG-CBOR straight into bytes.

use alloc::vec::Vec;

use crate::{
    cid::{Cid, cid_len, write_cid},
    codec::CodecError,
    limits::{CBOR_DEPTH, LimitExceeded, WIRE_BLOCK_BYTES},
};

/// A streaming encoder for typed documents.
///
/// The caller names the entries of a map in canonical order: shorter names first, names of one
/// length bytewise. Heads of numbers, text and so on are always written in their shortest form. The
/// order of names, and that each map and list has as many entries as its head says, is checked in
/// builds with debug assertions; the test of a type that uses this decodes what it wrote.
///
/// ```
/// use perennis_shared::codec::dag_cbor::Encoder;
///
/// let mut encoder = Encoder::new();
/// encoder.map(2)?;
/// encoder.key("at");
/// encoder.uint(7);
/// encoder.key("name");
/// encoder.text("a");
/// encoder.end();
/// assert_eq!(encoder.finish()?, b"\xa2\x62at\x07\x64name\x61a");
/// # Ok::<(), perennis_shared::codec::CodecError>(())
/// ```
#[derive(Debug, Default)]
pub struct Encoder {
    out: Vec<u8>,
    depth: usize,
    #[cfg(debug_assertions)]
    open: Vec<Open>,
}

/// A map or list that is being written, for the checks of debug builds.
#[cfg(debug_assertions)]
#[derive(Debug)]
struct Open {
    /// Values still to come, or entries of a map.
    left: usize,
    /// Where the name of the last entry of a map is; `None` in lists.
    last_key: Option<core::ops::Range<usize>>,
    is_map: bool,
}

impl Encoder {
    /// An encoder without anything in it.
    pub fn new() -> Encoder {
        Encoder::default()
    }

    /// An encoder with room for `bytes` bytes.
    pub fn with_capacity(bytes: usize) -> Encoder {
        Encoder {
            out: Vec::with_capacity(bytes),
            ..Encoder::default()
        }
    }

    /// How many bytes were written.
    pub(crate) fn written(&self) -> usize {
        self.out.len()
    }

    /// Opens a map of `entries` entries, to be closed by [`Encoder::end`].
    ///
    /// # Errors
    /// Refuses nesting deeper than [`CBOR_DEPTH`].
    pub fn map(&mut self, entries: usize) -> Result<(), CodecError> {
        self.value();
        self.head(5, entries as u64);
        self.open(entries, true)
    }

    /// Opens a list of `items` items, to be closed by [`Encoder::end`].
    ///
    /// # Errors
    /// Refuses nesting deeper than [`CBOR_DEPTH`].
    pub fn list(&mut self, items: usize) -> Result<(), CodecError> {
        self.value();
        self.head(4, items as u64);
        self.open(items, false)
    }

    /// Closes the innermost map or list.
    pub fn end(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        #[cfg(debug_assertions)]
        {
            let closed = self.open.pop();
            debug_assert!(
                closed.is_some_and(|open| open.left == 0),
                "a map or list has fewer entries than its head says"
            );
        }
    }

    /// Writes the name of the next entry of a map.
    pub fn key(&mut self, name: &str) {
        self.head(3, name.len() as u64);
        let start = self.out.len();
        self.out.extend_from_slice(name.as_bytes());
        #[cfg(debug_assertions)]
        self.check_key(start);
        #[cfg(not(debug_assertions))]
        let _ = start;
    }

    /// Writes a whole number that is not negative.
    pub fn uint(&mut self, number: u64) {
        self.value();
        self.head(0, number);
    }

    /// Writes a whole number from −2⁶⁴ to 2⁶⁴ − 1.
    ///
    /// # Errors
    /// Refuses other numbers.
    pub fn int(&mut self, number: i128) -> Result<(), CodecError> {
        let out_of_range = CodecError::Inexpressible("an integer outside −2⁶⁴ to 2⁶⁴ − 1");
        if number >= 0 {
            self.uint(u64::try_from(number).map_err(|_| out_of_range)?);
        } else {
            let magnitude = u64::try_from(-1 - number).map_err(|_| out_of_range)?;
            self.value();
            self.head(1, magnitude);
        }
        Ok(())
    }

    /// Writes a finite number in 64 bits.
    ///
    /// # Errors
    /// Refuses NaN and the infinities.
    pub fn float(&mut self, number: f64) -> Result<(), CodecError> {
        if !number.is_finite() {
            return Err(CodecError::Inexpressible("NaN or an infinite number"));
        }
        self.value();
        self.out.push(0xfb);
        self.out.extend_from_slice(&number.to_be_bytes());
        Ok(())
    }

    /// Writes text.
    pub fn text(&mut self, text: &str) {
        self.value();
        self.head(3, text.len() as u64);
        self.out.extend_from_slice(text.as_bytes());
    }

    /// Writes bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.value();
        self.head(2, bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }

    /// Writes a link: tag 42 and the CID behind a zero byte.
    pub fn link(&mut self, cid: &Cid) {
        self.value();
        self.head(6, 42);
        self.head(2, cid_len(cid) as u64 + 1);
        self.out.push(0);
        write_cid(&mut self.out, cid);
    }

    /// Writes true or false.
    pub fn bool(&mut self, value: bool) {
        self.value();
        self.out.push(if value { 0xf5 } else { 0xf4 });
    }

    /// Writes null.
    pub fn null(&mut self) {
        self.value();
        self.out.push(0xf6);
    }

    /// Writes a value that is already encoded, such as one read with
    /// [`Decoder::since`](super::Decoder::since). The caller vouches for its form.
    pub(crate) fn encoded(&mut self, value: &[u8]) {
        self.value();
        self.out.extend_from_slice(value);
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// The document.
    ///
    /// # Errors
    /// Refuses results above [`WIRE_BLOCK_BYTES`].
    pub fn finish(self) -> Result<Vec<u8>, CodecError> {
        #[cfg(debug_assertions)]
        debug_assert!(self.open.is_empty(), "a map or list was not closed");
        LimitExceeded::check("DAG-CBOR bytes", WIRE_BLOCK_BYTES, self.out.len())?;
        Ok(self.out)
    }

    /// Writes a major type and its argument in the shortest form.
    fn head(&mut self, major: u8, argument: u64) {
        let major = major << 5;
        if argument < 24 {
            self.out.push(major | argument as u8);
        } else if let Ok(argument) = u8::try_from(argument) {
            self.out.extend_from_slice(&[major | 24, argument]);
        } else if let Ok(argument) = u16::try_from(argument) {
            self.out.push(major | 25);
            self.out.extend_from_slice(&argument.to_be_bytes());
        } else if let Ok(argument) = u32::try_from(argument) {
            self.out.push(major | 26);
            self.out.extend_from_slice(&argument.to_be_bytes());
        } else {
            self.out.push(major | 27);
            self.out.extend_from_slice(&argument.to_be_bytes());
        }
    }

    fn open(&mut self, entries: usize, is_map: bool) -> Result<(), CodecError> {
        self.depth += 1;
        LimitExceeded::check("DAG-CBOR depth", CBOR_DEPTH, self.depth)?;
        #[cfg(debug_assertions)]
        self.open.push(Open {
            left: entries,
            last_key: None,
            is_map,
        });
        #[cfg(not(debug_assertions))]
        let _ = (entries, is_map);
        Ok(())
    }

    /// Counts a value of the innermost list; entries of maps are counted by their names.
    #[inline]
    fn value(&mut self) {
        #[cfg(debug_assertions)]
        if let Some(open) = self.open.last_mut().filter(|open| !open.is_map) {
            debug_assert!(open.left > 0, "a list has more items than its head says");
            open.left = open.left.saturating_sub(1);
        }
    }

    #[cfg(debug_assertions)]
    fn check_key(&mut self, start: usize) {
        let key = start..self.out.len();
        let open = self.open.last_mut().filter(|open| open.is_map);
        debug_assert!(open.is_some(), "a name outside a map");
        let Some(open) = open else { return };
        debug_assert!(open.left > 0, "a map has more entries than its head says");
        open.left = open.left.saturating_sub(1);
        if let Some(last) = open.last_key.replace(key.clone()) {
            let (last, key) = (&self.out[last], &self.out[key]);
            debug_assert!(
                super::containers::key_order(last, key).is_lt(),
                "names of a map are not in canonical order"
            );
        }
    }
}
