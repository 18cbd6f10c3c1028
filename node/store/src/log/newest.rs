//! The file `NEWEST`: in which segment something was acknowledged last, and how long it is.
//!
//! ```text
//! file     slot (64 bytes) · zeros · slot (at 4096) · zeros
//! slot     "PERNLAST" · sequence u64 · store 16 · segment u32 · reserved u32 · length u64 · reserved 12 · CRC-32C u32
//! ```
//!
//! Integers are little-endian. A segment that others follow is missed by the groups in them, and what the index has on the disk is
//! missed by the index; the end of the log, between two flushes of the index, is missed by nothing but this. It is written
//! before anything in a new segment is acknowledged, and before the newest is cut. The slots are written in turn, so that a torn
//! write leaves the other.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile};
use crate::frame::crc;
use crate::rows::{Loss, LossKind};
use crate::segment::{FileNumber, StoreId};

use super::Files;

const FILE: &str = "NEWEST";
const MAGIC: &[u8; 8] = b"PERNLAST";
const SLOT_BYTES: usize = 64;
const SLOTS: [u64; 2] = [0, 4096];
const FILE_BYTES: u64 = 8192;

/// What is said of the newest segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    sequence: u64,
    pub(crate) store: StoreId,
    pub(crate) number: FileNumber,
    /// The file is at least so long.
    length: u64,
}

impl Said {
    fn to_bytes(self) -> [u8; SLOT_BYTES] {
        let mut bytes = [0; SLOT_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.store.0);
        bytes[32..36].copy_from_slice(&self.number.0.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.length.to_le_bytes());
        let sum = crc(&bytes[..60]);
        bytes[60..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; SLOT_BYTES]) -> Option<Self> {
        let (fields, sum) = bytes.split_last_chunk::<4>()?;
        let (magic, fields) = fields.split_first_chunk::<8>()?;
        let (sequence, fields) = fields.split_first_chunk::<8>()?;
        let (store, fields) = fields.split_first_chunk::<16>()?;
        let (number, fields) = fields.split_first_chunk::<4>()?;
        let (_, fields) = fields.split_first_chunk::<4>()?;
        let (length, _) = fields.split_first_chunk::<8>()?;
        let is_whole = magic == MAGIC && crc(&bytes[..60]) == u32::from_le_bytes(*sum);
        is_whole.then(|| Self {
            sequence: u64::from_le_bytes(*sequence),
            store: StoreId(*store),
            number: FileNumber(u32::from_le_bytes(*number)),
            length: u64::from_le_bytes(*length),
        })
    }

    /// What is said in the folder of a store, where it can be read. What is said of another store than the one that is known says
    /// nothing of this one.
    ///
    /// # Errors
    /// The disk does not let it be read.
    pub(crate) fn read(
        disk: &dyn Disk,
        dir: &Path,
        store: Option<StoreId>,
    ) -> io::Result<Option<Self>> {
        let file = match disk.open(&dir.join(FILE)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut slots = [None; 2];
        let mut is_damaged = false;
        for (slot, offset) in slots.iter_mut().zip(SLOTS) {
            let mut bytes = [0; SLOT_BYTES];
            match file.read_at(&mut bytes, offset) {
                Ok(()) => *slot = Self::from_bytes(&bytes),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(error) => return Err(error),
            }
            is_damaged |= slot.is_none() && bytes != [0; SLOT_BYTES];
        }
        let newest = slots.into_iter().flatten().max_by_key(|said| said.sequence);
        let newest = newest.filter(|said| store.is_none_or(|store| store == said.store));
        Ok(newest.map(|said| Self {
            // What cannot be read may have been newer: there is that segment or a later one, and it may have been cut since.
            length: if is_damaged { 0 } else { said.length },
            ..said
        }))
    }

    /// What of this is not so: the segment is not there, or has been cut. `has_row` says that the index knows it, and misses it.
    pub(crate) fn missed(&self, files: &Files, has_row: bool) -> io::Result<Option<Loss>> {
        let number = self.number;
        if files.losses.iter().any(|loss| loss.file == number) {
            // It is there, and is not what it was: that is told.
            return Ok(None);
        }
        let Some(file) = files.log.get(&number) else {
            return Ok((!has_row).then(|| Loss::new(LossKind::MissingFile, number, 0)));
        };
        let length = file.segment.file.length()?;
        let is_short = length < self.length;
        Ok(is_short.then(|| Loss::new(LossKind::ShortFile, number, length)))
    }
}

/// The file, for who writes to the log.
#[derive(Debug)]
pub(crate) struct Newest {
    disk: Arc<dyn Disk>,
    /// Of the store.
    dir: PathBuf,
    store: StoreId,
    said: Option<Said>,
    /// Whether what it says was found not to be so: it stays until that is written down.
    is_missed: bool,
    file: Option<Arc<dyn DiskFile>>,
    /// Whether its name is durable.
    is_named: bool,
}

impl Newest {
    /// That of a store, which says this so far.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        dir: &Path,
        store: StoreId,
        said: Option<Said>,
        is_missed: bool,
    ) -> Self {
        Self {
            disk,
            dir: dir.to_path_buf(),
            store,
            said,
            is_missed,
            file: None,
            is_named: false,
        }
    }

    /// Makes the file where it is not there, while there is space for it. Where that fails, whatever needs it tries again.
    pub(crate) fn prepare(&mut self) {
        self.file = self.open().ok();
    }

    /// The segment that it names.
    pub(crate) fn number(&self) -> Option<FileNumber> {
        self.said.map(|said| said.number)
    }

    /// Whether what it says was found not to be so.
    pub(crate) fn is_missed(&self) -> bool {
        self.is_missed
    }

    /// Says durably that something is acknowledged in a segment from now on, and that its file is at least so long.
    ///
    /// # Errors
    /// The disk's. It then says this or what it said before.
    pub(crate) fn set(&mut self, number: FileNumber, length: u64) -> io::Result<()> {
        let said = Said {
            sequence: self.said.map_or(1, |said| said.sequence.saturating_add(1)),
            store: self.store,
            number,
            length,
        };
        let file = match self.file.take() {
            Some(file) => file,
            None => self.open()?,
        };
        let file = self.file.insert(file);
        let slot = SLOTS[usize::from(said.sequence % 2 == 1)];
        file.write_at(&said.to_bytes(), slot)?;
        file.sync()?;
        if !self.is_named {
            self.disk.sync_dir(&self.dir)?;
            self.is_named = true;
        }
        self.said = Some(said);
        self.is_missed = false;
        Ok(())
    }

    /// Has to be called before a segment is cut to `length`.
    ///
    /// # Errors
    /// The disk's. The segment must not be cut.
    pub(crate) fn cut(&mut self, number: FileNumber, length: u64) -> io::Result<()> {
        match self.said {
            Some(said) if said.number == number && said.length > length && !self.is_missed => {
                self.set(number, length)
            }
            _ => Ok(()),
        }
    }

    /// Opens the file, or makes it.
    fn open(&self) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.dir.join(FILE);
        match self.disk.open(&path) {
            Ok(file) if file.length()? >= FILE_BYTES => return Ok(file),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        self.disk.create(&path, FILE_BYTES)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::disk::Real;

    const STORE: StoreId = StoreId([0xbb; 16]);

    fn newest(dir: &Path) -> Newest {
        let said = Said::read(&Real, dir, None).unwrap();
        Newest::new(Arc::new(Real), dir, STORE, said, false)
    }

    fn read(dir: &Path) -> Option<(u32, u64)> {
        let said = Said::read(&Real, dir, None).unwrap();
        said.map(|said| (said.number.0, said.length))
    }

    fn flip(dir: &Path, at: usize) {
        let path = dir.join(FILE);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[at] ^= 4;
        std::fs::write(&path, bytes).unwrap();
    }

    #[test]
    fn golden_bytes_of_a_slot() {
        let said = Said {
            sequence: 0x0102,
            store: STORE,
            number: FileNumber(7),
            length: 0x0304,
        };
        let golden = [
            &b"PERNLAST"[..],
            b"\x02\x01\0\0\0\0\0\0",
            &[0xbb; 16],
            b"\x07\0\0\0\0\0\0\0",
            b"\x04\x03\0\0\0\0\0\0",
            &[0; 12],
            b"\x96\x76\x05\x73",
        ];
        assert_eq!(said.to_bytes()[..], golden.concat());
        assert_eq!(Said::from_bytes(&said.to_bytes()), Some(said));
    }

    #[test]
    fn the_slot_that_was_written_last_counts_and_the_other_one_outlives_its_damage() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()), None);
        newest(dir.path()).set(FileNumber(1), 100).unwrap();
        assert_eq!(read(dir.path()), Some((1, 100)));
        for number in 2..9 {
            newest(dir.path()).set(FileNumber(number), 100).unwrap();
            assert_eq!(read(dir.path()), Some((number, 100)));
            // The sequences go up by one: odd ones are in the second slot.
            let slot = SLOTS[usize::from(number % 2 == 1)] as usize;
            for at in 0..SLOT_BYTES {
                flip(dir.path(), slot + at);
                assert_eq!(read(dir.path()), Some((number - 1, 0)), "{at}");
                flip(dir.path(), slot + at);
            }
        }
        // A torn write is written over.
        flip(dir.path(), SLOTS[0] as usize);
        newest(dir.path()).set(FileNumber(9), 100).unwrap();
        assert_eq!(read(dir.path()), Some((9, 100)));
    }

    #[test]
    fn a_file_that_was_cut_is_made_anew_and_one_that_cannot_be_read_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        newest(dir.path()).set(FileNumber(1), 100).unwrap();
        std::fs::write(dir.path().join(FILE), b"PERN").unwrap();
        assert_eq!(read(dir.path()), None);
        newest(dir.path()).set(FileNumber(3), 100).unwrap();
        assert_eq!(read(dir.path()), Some((3, 100)));
        std::fs::remove_file(dir.path().join(FILE)).unwrap();
        std::fs::create_dir(dir.path().join(FILE)).unwrap();
        Said::read(&Real, dir.path(), None).unwrap_err();
        let mut newest = Newest::new(Arc::new(Real), dir.path(), STORE, None, false);
        newest.set(FileNumber(4), 100).unwrap_err();
    }

    #[test]
    fn what_is_said_of_another_store_says_nothing_of_this_one() {
        let dir = tempfile::tempdir().unwrap();
        newest(dir.path()).set(FileNumber(1), 100).unwrap();
        let read = |store| Said::read(&Real, dir.path(), Some(StoreId(store))).unwrap();
        assert!(read([0xbb; 16]).is_some());
        assert_eq!(read([0xcc; 16]), None);
    }

    #[test]
    fn what_is_missed_stays_until_a_later_segment_is_written_to() {
        let dir = tempfile::tempdir().unwrap();
        newest(dir.path()).set(FileNumber(1), 100).unwrap();
        let mut newest = newest(dir.path());
        newest.cut(FileNumber(2), 50).unwrap();
        newest.cut(FileNumber(1), 200).unwrap();
        assert_eq!(read(dir.path()), Some((1, 100)));
        newest.cut(FileNumber(1), 50).unwrap();
        assert_eq!(read(dir.path()), Some((1, 50)));
        newest.is_missed = true;
        newest.cut(FileNumber(1), 20).unwrap();
        assert_eq!(read(dir.path()), Some((1, 50)));
        newest.set(FileNumber(2), 100).unwrap();
        assert!(!newest.is_missed());
    }
}
