//! A group: what one sync makes durable, as frames in a segment.
//!
//! ```text
//! group    head · head again · batch · batch · … · bodies · end mark, each at a multiple of 8
//! head     "PGH2" · copy u32 · group u64 · previous u64 · batches u32 · blocks u32 · bytes of the batches u32
//!          · bytes of the bodies u32 · bytes of the end mark u32 · reserved 12 · mark u64
//! batch    "PBT2" · index u32 · bytes of the payload u32 · CRC-32C of the payload u32 · group u64 · mark u64 · payload
//! end      "PEN2" · count u32 · bytes of the payload u32 · CRC-32C of the payload u32 · group u64 · previous u64
//!          · start u64 · mark u64 · (batch u32 · name length u16 · name · sequence u64)…
//! close    "PCL2" · reserved u32 · last group u64 · mark u64
//! ```
//!
//! `previous` is the group before this one that was acknowledged. A group between the two failed half-way: its bytes may
//! have reached the disk all the same, and replaying the log passes over it. The end mark repeats which heads the group sets, so
//! that it is known what is lost where a batch is damaged. A close mark is what a clean stop writes: the group that it names was acknowledged.
//!
//! The head stands twice, so that no single flipped bit hides where the frames lie; the second has its own offset in its mark.

use crate::frame::{Salt, align, crc, pad};
use crate::location::FileNumber;

mod payload;

pub(crate) use payload::{BatchPayload, Entry, Op, PackOp, entry_bytes, write_entry};

/// Bytes of a head.
pub(crate) const HEAD_BYTES: usize = 64;
/// Bytes of a batch before its payload.
pub(crate) const BATCH_HEAD_BYTES: usize = 32;
/// Bytes of an end mark before its payload.
pub(crate) const END_HEAD_BYTES: usize = 48;
/// Bytes of a close mark.
pub(crate) const CLOSE_BYTES: usize = 24;
/// The longest of the fixed parts.
pub(crate) const FRAME_BYTES: usize = HEAD_BYTES;

const HEAD: [u8; 4] = *b"PGH2";
const BATCH: [u8; 4] = *b"PBT2";
const END: [u8; 4] = *b"PEN2";
const CLOSE: [u8; 4] = *b"PCL2";

/// Where a group lies, and what it follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) group: u64,
    pub(crate) previous: u64,
    pub(crate) batches: u32,
    pub(crate) blocks: u32,
    pub(crate) batch_bytes: u32,
    pub(crate) body_bytes: u32,
    pub(crate) end_bytes: u32,
}

/// The fixed part of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchHead {
    pub(crate) group: u64,
    pub(crate) index: u32,
    pub(crate) payload_bytes: u32,
    crc: u32,
}

/// The fixed part of an end mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndHead {
    pub(crate) group: u64,
    pub(crate) previous: u64,
    /// Where the group begins.
    pub(crate) start: u64,
    count: u32,
    pub(crate) payload_bytes: u32,
    crc: u32,
}

/// A frame whose mark fits: it was written by this store, at this place of this file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A head, and whether it is the second of the two.
    Head(Head, bool),
    Batch(BatchHead),
    End(EndHead),
    /// The last group that was acknowledged before a clean stop.
    Close(u64),
}

/// A head that a batch sets: which batch, whose, which sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SetHead {
    pub(crate) batch: u32,
    pub(crate) name: Vec<u8>,
    pub(crate) sequence: u64,
}

impl Head {
    /// Offset of the first batch from the start of the group.
    pub(crate) const BATCHES: u64 = 2 * HEAD_BYTES as u64;

    /// Offset of the bodies from the start of the group.
    pub(crate) fn bodies(&self) -> u64 {
        Self::BATCHES + u64::from(self.batch_bytes)
    }

    /// Offset of the end mark from the start of the group.
    pub(crate) fn end_mark(&self) -> u64 {
        align(self.bodies() + u64::from(self.body_bytes))
    }

    /// Bytes of the whole group.
    pub(crate) fn group_bytes(&self) -> u64 {
        align(self.end_mark() + u64::from(self.end_bytes))
    }

    /// Appends the head twice; it begins at `start` of the file.
    pub(crate) fn write(&self, out: &mut Vec<u8>, salt: Salt, file: FileNumber, start: u64) {
        for copy in 0..2_u32 {
            let at = out.len();
            out.extend_from_slice(&HEAD);
            out.extend_from_slice(&copy.to_le_bytes());
            out.extend_from_slice(&self.group.to_le_bytes());
            out.extend_from_slice(&self.previous.to_le_bytes());
            for number in [
                self.batches,
                self.blocks,
                self.batch_bytes,
                self.body_bytes,
                self.end_bytes,
            ] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            out.extend_from_slice(&[0; 12]);
            seal(
                out,
                at,
                salt,
                file,
                start + u64::from(copy) * HEAD_BYTES as u64,
            );
        }
    }
}

impl Frame {
    /// The frame that begins at `offset` of the file, of which `bytes` are the first [`FRAME_BYTES`] or all that follow.
    pub(crate) fn read(bytes: &[u8], salt: Salt, file: FileNumber, offset: u64) -> Option<Self> {
        let magic = bytes.first_chunk::<4>()?;
        let length = match *magic {
            HEAD => HEAD_BYTES,
            BATCH => BATCH_HEAD_BYTES,
            END => END_HEAD_BYTES,
            CLOSE => CLOSE_BYTES,
            _ => return None,
        };
        let (fields, mark) = bytes.get(..length)?.split_last_chunk::<8>()?;
        if salt.mark(file, offset, fields) != u64::from_le_bytes(*mark) {
            return None;
        }
        let u32_at = |at: usize| -> Option<u32> {
            Some(u32::from_le_bytes(*fields.get(at..)?.first_chunk()?))
        };
        let u64_at = |at: usize| -> Option<u64> {
            Some(u64::from_le_bytes(*fields.get(at..)?.first_chunk()?))
        };
        Some(match *magic {
            HEAD => Self::Head(
                Head {
                    group: u64_at(8)?,
                    previous: u64_at(16)?,
                    batches: u32_at(24)?,
                    blocks: u32_at(28)?,
                    batch_bytes: u32_at(32)?,
                    body_bytes: u32_at(36)?,
                    end_bytes: u32_at(40)?,
                },
                u32_at(4)? == 1,
            ),
            BATCH => Self::Batch(BatchHead {
                index: u32_at(4)?,
                payload_bytes: u32_at(8)?,
                crc: u32_at(12)?,
                group: u64_at(16)?,
            }),
            END => Self::End(EndHead {
                count: u32_at(4)?,
                payload_bytes: u32_at(8)?,
                crc: u32_at(12)?,
                group: u64_at(16)?,
                previous: u64_at(24)?,
                start: u64_at(32)?,
            }),
            _ => Self::Close(u64_at(8)?),
        })
    }
}

/// Appends the fixed part of a batch; it begins at `offset` of the file.
pub(crate) fn write_batch_head(
    out: &mut Vec<u8>,
    (group, index): (u64, u32),
    payload: &[u8],
    salt: Salt,
    file: FileNumber,
    offset: u64,
) {
    let at = out.len();
    out.extend_from_slice(&BATCH);
    out.extend_from_slice(&index.to_le_bytes());
    out.extend_from_slice(&length(payload.len()).to_le_bytes());
    out.extend_from_slice(&crc(payload).to_le_bytes());
    out.extend_from_slice(&group.to_le_bytes());
    seal(out, at, salt, file, offset);
}

impl BatchHead {
    /// What the batch holds; none where its payload is damaged.
    pub(crate) fn payload(&self, bytes: &[u8]) -> Option<BatchPayload> {
        (bytes.len() == self.payload_bytes as usize && crc(bytes) == self.crc)
            .then(|| BatchPayload::from_bytes(bytes))?
    }
}

/// Appends the end mark of a group; it begins at `offset` of the file.
pub(crate) fn write_end(
    out: &mut Vec<u8>,
    (group, previous, start): (u64, u64, u64),
    heads: &[SetHead],
    salt: Salt,
    file: FileNumber,
    offset: u64,
) {
    let mut payload = Vec::new();
    for head in heads {
        payload.extend_from_slice(&head.batch.to_le_bytes());
        let name_length = u16::try_from(head.name.len()).expect("a name has at most 128 bytes");
        payload.extend_from_slice(&name_length.to_le_bytes());
        payload.extend_from_slice(&head.name);
        payload.extend_from_slice(&head.sequence.to_le_bytes());
    }
    let at = out.len();
    out.extend_from_slice(&END);
    out.extend_from_slice(&length(heads.len()).to_le_bytes());
    out.extend_from_slice(&length(payload.len()).to_le_bytes());
    out.extend_from_slice(&crc(&payload).to_le_bytes());
    for number in [group, previous, start] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    seal(out, at, salt, file, offset);
    out.extend_from_slice(&payload);
    pad(out);
}

/// Bytes of an end mark, without what fills it up.
pub(crate) fn end_bytes(heads: &[SetHead]) -> usize {
    let payload: usize = heads.iter().map(|head| 14 + head.name.len()).sum();
    END_HEAD_BYTES + payload
}

impl EndHead {
    /// The heads that the group sets; none where the payload is damaged.
    pub(crate) fn heads(&self, bytes: &[u8]) -> Option<Vec<SetHead>> {
        if bytes.len() != self.payload_bytes as usize || crc(bytes) != self.crc {
            return None;
        }
        let mut heads = Vec::with_capacity((self.count as usize).min(bytes.len() / 14));
        let mut rest = bytes;
        while !rest.is_empty() {
            let (batch, after) = rest.split_first_chunk::<4>()?;
            let (name_length, after) = after.split_first_chunk::<2>()?;
            let (name, after) =
                after.split_at_checked(usize::from(u16::from_le_bytes(*name_length)))?;
            let (sequence, after) = after.split_first_chunk::<8>()?;
            heads.push(SetHead {
                batch: u32::from_le_bytes(*batch),
                name: name.to_vec(),
                sequence: u64::from_le_bytes(*sequence),
            });
            rest = after;
        }
        (heads.len() == self.count as usize).then_some(heads)
    }
}

/// The mark of a clean stop, for `offset` of the file.
pub(crate) fn close_mark(last_group: u64, salt: Salt, file: FileNumber, offset: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(CLOSE_BYTES);
    out.extend_from_slice(&CLOSE);
    out.extend_from_slice(&0_u32.to_le_bytes());
    out.extend_from_slice(&last_group.to_le_bytes());
    seal(&mut out, 0, salt, file, offset);
    out
}

/// Appends the mark of the frame that begins at `at` of `out` and at `offset` of the file.
fn seal(out: &mut Vec<u8>, at: usize, salt: Salt, file: FileNumber, offset: u64) {
    let mark = salt.mark(file, offset, &out[at..]);
    out.extend_from_slice(&mark.to_le_bytes());
}

fn length(length: usize) -> u32 {
    u32::try_from(length).expect("a batch is far below 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: Salt = Salt([5; 16]);
    const FILE: FileNumber = FileNumber(3);

    fn head() -> Head {
        Head {
            group: 9,
            previous: 8,
            batches: 2,
            blocks: 3,
            batch_bytes: 80,
            body_bytes: 1001,
            end_bytes: 62,
        }
    }

    fn frames() -> Vec<(Vec<u8>, Frame)> {
        let mut double = Vec::new();
        head().write(&mut double, SALT, FILE, 4160);
        let mut batch = Vec::new();
        write_batch_head(&mut batch, (9, 1), b"payload", SALT, FILE, 4160);
        let crc = crc(b"payload");
        let heads = [SetHead {
            batch: 1,
            name: b"name".to_vec(),
            sequence: 5,
        }];
        let mut end = Vec::new();
        write_end(&mut end, (9, 8, 4160), &heads, SALT, FILE, 4160);
        let Some(Frame::End(end_head)) = Frame::read(&end, SALT, FILE, 4160) else {
            panic!("an end mark is one");
        };
        let payload = &end[END_HEAD_BYTES..END_HEAD_BYTES + end_head.payload_bytes as usize];
        assert_eq!(end_head.heads(payload).as_deref(), Some(&heads[..]));
        assert_eq!(end_bytes(&heads), END_HEAD_BYTES + payload.len());
        vec![
            (double[..HEAD_BYTES].to_vec(), Frame::Head(head(), false)),
            (
                batch,
                Frame::Batch(BatchHead {
                    group: 9,
                    index: 1,
                    payload_bytes: 7,
                    crc,
                }),
            ),
            (end[..END_HEAD_BYTES].to_vec(), Frame::End(end_head)),
            (close_mark(9, SALT, FILE, 4160), Frame::Close(9)),
        ]
    }

    #[test]
    fn frames_are_read_back_and_no_flipped_bit_or_other_place_is_taken() {
        for (bytes, frame) in frames() {
            assert_eq!(Frame::read(&bytes, SALT, FILE, 4160), Some(frame));
            for at in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[at / 8] ^= 1 << (at % 8);
                assert_eq!(
                    Frame::read(&flipped, SALT, FILE, 4160),
                    None,
                    "{frame:?} {at}"
                );
            }
            assert_eq!(Frame::read(&bytes, SALT, FILE, 4168), None);
            assert_eq!(Frame::read(&bytes, SALT, FileNumber(4), 4160), None);
            assert_eq!(Frame::read(&bytes, Salt([6; 16]), FILE, 4160), None);
            for cut in 0..bytes.len() {
                assert_eq!(Frame::read(&bytes[..cut], SALT, FILE, 4160), None);
            }
        }
    }

    #[test]
    fn no_flipped_bit_of_a_payload_is_taken() {
        let heads = [SetHead {
            batch: 1,
            name: b"name".to_vec(),
            sequence: 5,
        }];
        let mut end = Vec::new();
        write_end(&mut end, (9, 8, 4160), &heads, SALT, FILE, 4160);
        let mut payload = Vec::new();
        BatchPayload::write_start(&mut payload, b"owner", 0);
        BatchPayload::write_ops(&mut payload, &[Op::Delete(b"key".to_vec())]);
        let mut batch = Vec::new();
        write_batch_head(&mut batch, (9, 1), &payload, SALT, FILE, 4160);
        let frames = [&end, &batch].map(|frame| Frame::read(frame, SALT, FILE, 4160));
        let [Some(Frame::End(of_end)), Some(Frame::Batch(of_batch))] = frames else {
            panic!("both are frames: {frames:?}");
        };
        let end = &end[END_HEAD_BYTES..END_HEAD_BYTES + of_end.payload_bytes as usize];
        assert!(of_end.heads(end).is_some() && of_batch.payload(&payload).is_some());
        for at in 0..end.len() * 8 {
            let mut flipped = end.to_vec();
            flipped[at / 8] ^= 1 << (at % 8);
            assert_eq!(of_end.heads(&flipped), None, "{at}");
        }
        for at in 0..payload.len() * 8 {
            let mut flipped = payload.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            assert_eq!(of_batch.payload(&flipped), None, "{at}");
        }
    }

    #[test]
    fn the_second_head_is_one_only_in_its_own_place() {
        let mut double = Vec::new();
        head().write(&mut double, SALT, FILE, 4160);
        let second = &double[HEAD_BYTES..];
        assert_eq!(Frame::read(second, SALT, FILE, 4160), None);
        assert_eq!(
            Frame::read(second, SALT, FILE, 4224),
            Some(Frame::Head(head(), true))
        );
    }

    #[test]
    fn golden_bytes_of_a_head() {
        let mut double = Vec::new();
        head().write(&mut double, SALT, FILE, 4160);
        let hex: String = double[..HEAD_BYTES - 8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let golden = concat!(
            "50474832",
            "00000000",
            "0900000000000000",
            "0800000000000000",
            "02000000",
            "03000000",
            "50000000",
            "e9030000",
            "3e000000",
            "000000000000000000000000",
        );
        assert_eq!(hex, golden);
        assert_eq!(head().end_mark(), 128 + 80 + 1008);
        assert_eq!(head().group_bytes() % 8, 0);
    }
}
