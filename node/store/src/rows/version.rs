//! Versions of rows.

/// A row of the store's own, with the version that this release writes.
pub(crate) trait Row: Sized {
    /// The first byte of the value.
    const VERSION: u8;
    /// The row as the release before wrote it; [`Never`] for the first version.
    type Previous: Row + Into<Self>;

    /// Appends all behind the version.
    fn write(&self, out: &mut Vec<u8>);

    /// Reads all behind the version; none where that is not exactly one row.
    fn read(rest: &mut Reader) -> Option<Self>;

    /// The value of the row.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![Self::VERSION];
        self.write(&mut out);
        out
    }

    /// The row in a value; none where it is damaged or of a later version.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&version, rest) = bytes.split_first()?;
        if version == Self::VERSION {
            let mut rest = Reader(rest);
            let row = Self::read(&mut rest)?;
            return rest.0.is_empty().then_some(row);
        }
        if version > Self::VERSION || Self::Previous::VERSION == 0 {
            return None;
        }
        Self::Previous::from_bytes(bytes).map(Into::into)
    }
}

/// What a first version has before it.
pub(crate) enum Never {}

impl Row for Never {
    const VERSION: u8 = 0;
    type Previous = Never;

    fn write(&self, _: &mut Vec<u8>) {
        match *self {}
    }

    fn read(_: &mut Reader) -> Option<Self> {
        None
    }
}

/// The value of a row that is bytes under a version.
pub(crate) fn write_plain(version: u8, bytes: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(1 + bytes.len());
    value.push(version);
    value.extend_from_slice(bytes);
    value
}

/// The bytes of such a row.
pub(crate) fn read_plain(version: u8, value: &[u8]) -> Option<&[u8]> {
    let (found, bytes) = value.split_first()?;
    (*found == version).then_some(bytes)
}

/// What is left of a value.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (found, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(found)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    struct First(u8);
    #[derive(Debug, PartialEq, Eq)]
    struct Second(u16);

    impl Row for First {
        const VERSION: u8 = 1;
        type Previous = Never;

        fn write(&self, out: &mut Vec<u8>) {
            out.push(self.0);
        }

        fn read(rest: &mut Reader) -> Option<Self> {
            rest.u8().map(Self)
        }
    }

    impl From<Never> for First {
        fn from(never: Never) -> Self {
            match never {}
        }
    }

    impl Row for Second {
        const VERSION: u8 = 2;
        type Previous = First;

        fn write(&self, out: &mut Vec<u8>) {
            out.extend_from_slice(&self.0.to_le_bytes());
        }

        fn read(rest: &mut Reader) -> Option<Self> {
            rest.u16().map(Self)
        }
    }

    impl From<First> for Second {
        fn from(first: First) -> Self {
            Self(u16::from(first.0))
        }
    }

    #[test]
    fn earlier_versions_are_read_and_later_ones_are_not() {
        assert_eq!(Second::from_bytes(&First(7).to_bytes()), Some(Second(7)));
        assert_eq!(Second::from_bytes(&Second(7).to_bytes()), Some(Second(7)));
        assert_eq!(First::from_bytes(&Second(7).to_bytes()), None);
        for damaged in [&[][..], &[0], &[2], &[2, 1], &[2, 1, 0, 0], &[3, 1, 0]] {
            assert_eq!(Second::from_bytes(damaged), None, "{damaged:?}");
        }
    }
}
