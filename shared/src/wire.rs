//! Messages between peers, as bytes.
//!
//! Each protocol has a module that turns one frame into a value and back; nothing here knows a stream or a
//! peer. A frame is a length (unsigned-varint specification) and as many bytes: [`read_length`] says how many
//! to read, before anything is taken for them.

use alloc::vec::Vec;

use crate::{
    limits::LimitExceeded,
    varint::{self, VarintError},
};

pub mod bitswap;
pub mod fetch;
pub mod kad;

/// Longest length in front of a frame, in bytes: four reach 256 MiB, more than any frame may have.
pub const LENGTH_BYTES: usize = 4;

/// Reads the length in front of a frame from what has arrived of it. Returns the length of the frame and of
/// its prefix, both in bytes, or `None` while the prefix is not whole.
///
/// # Errors
/// Refuses lengths that are not in their shortest form, and frames above `max` bytes.
pub fn read_length(arrived: &[u8], max: usize) -> Result<Option<(usize, usize)>, FrameError> {
    let prefix = &arrived[..arrived.len().min(LENGTH_BYTES)];
    match varint::read_u63(prefix) {
        Ok((length, read)) => {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            LimitExceeded::check("frame bytes", max, length)?;
            Ok(Some((length, read)))
        }
        Err(VarintError::Truncated) if prefix.len() < LENGTH_BYTES => Ok(None),
        Err(VarintError::Truncated | VarintError::Invalid) => Err(FrameError::Length),
    }
}

/// Appends the length that goes in front of a frame.
pub fn write_length(out: &mut Vec<u8>, length: usize) {
    varint::write(out, length as u64);
}

/// Why the length in front of a frame is refused.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// It is too long or not in its shortest form.
    #[error("the length of a frame is too large or not in its shortest form")]
    Length,
    /// The frame is above its limit.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn lengths_are_read_once_they_are_whole() {
        let max = 1 << 20;
        assert_eq!(read_length(&[], max), Ok(None));
        assert_eq!(read_length(&[0x80], max), Ok(None));
        assert_eq!(read_length(&[0x80, 0x01], max), Ok(Some((128, 2))));
        assert_eq!(read_length(&[5, 1, 2], max), Ok(Some((5, 1))));
        assert_eq!(read_length(&[0], max), Ok(Some((0, 1))));
    }

    #[test]
    fn lengths_that_break_a_rule_are_refused() {
        assert_eq!(read_length(&[0x80, 0x00], 9), Err(FrameError::Length));
        assert_eq!(read_length(&[0xff; 4], 9), Err(FrameError::Length));
        assert_eq!(read_length(&[0xff; 40], 9), Err(FrameError::Length));
        let error = read_length(&[10], 9).unwrap_err();
        assert_eq!(error.to_string(), "frame bytes: 10 is above the limit of 9");
    }
}
