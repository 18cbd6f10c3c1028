//! The file `NEWEST`: the last group that was acknowledged, and the segment in which it lies.
//!
//! ```text
//! file     slot (64 bytes) · zeros · slot (at 4096) · zeros · note (at 8192) · zeros
//! slot     "PERNEND2" · group u64 · store 16 · segment u32 · reserved 24 · CRC-32C u32
//! ```
//!
//! Integers are little-endian. A group that others follow is missed by them, and what the index has on the disk is missed by the
//! index; the end of the log, between two flushes of the index, is missed by nothing but this. The first group in a segment is said
//! durably, in the slot that does not hold the last one, before it is acknowledged. Those behind it in the same segment are noted
//! without a sync of their own: a process that is killed leaves the note, and a power cut leaves it, an older one or none.
//! The note has the layout of a slot. A clean stop makes it durable.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile};
use crate::frame::crc;
use crate::layout::NEWEST;
use crate::location::{FileNumber, StoreId};
use crate::rows::{Loss, LossKind};

use super::{Files, Replay};

const MAGIC: &[u8; 8] = b"PERNEND2";
const SLOT_BYTES: usize = 64;
const SLOTS: [u64; 2] = [0, 4096];
const NOTE: u64 = 8192;
const FILE_BYTES: u64 = 12 << 10;
/// Far more groups and files than there can be between two flushes of the index.
const MOST_GROUPS: u64 = 1 << 32;
const MOST_FILES: u32 = 1 << 20;

/// What is said of the end of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) store: StoreId,
    /// The segment in which the group lies.
    pub(crate) number: FileNumber,
    /// A group that was acknowledged.
    pub(crate) group: u64,
}

impl Said {
    fn to_bytes(self) -> [u8; SLOT_BYTES] {
        let mut bytes = [0; SLOT_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..16].copy_from_slice(&self.group.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.store.0);
        bytes[32..36].copy_from_slice(&self.number.0.to_le_bytes());
        let sum = crc(&bytes[..60]);
        bytes[60..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// None also of the last of all numbers: no store has used them up, and believing it would leave none.
    fn from_bytes(bytes: &[u8; SLOT_BYTES]) -> Option<Self> {
        let (fields, sum) = bytes.split_last_chunk::<4>()?;
        let (magic, fields) = fields.split_first_chunk::<8>()?;
        let (group, fields) = fields.split_first_chunk::<8>()?;
        let (store, fields) = fields.split_first_chunk::<16>()?;
        let (number, _) = fields.split_first_chunk::<4>()?;
        let said = Self {
            store: StoreId(*store),
            number: FileNumber(u32::from_le_bytes(*number)),
            group: u64::from_le_bytes(*group),
        };
        let is_whole = magic == MAGIC && crc(&bytes[..60]) == u32::from_le_bytes(*sum);
        (is_whole && said.number.0 < u32::MAX && said.group < u64::MAX).then_some(said)
    }

    /// What of this is not so, after the log was replayed: the group is not there. `has_row` says that the index knows the
    /// segment, and misses the file by itself.
    pub(crate) fn missed(&self, files: &Files, replay: &Replay, has_row: bool) -> Option<Loss> {
        let number = self.number;
        if !self.is_missed(replay.last_group) || files.losses.iter().any(|loss| loss.file == number)
        {
            // It is there; or its file is, and is not what it was: that is told.
            return None;
        }
        let kind = if has_row || files.log.contains_key(&number) {
            LossKind::MissingGroups
        } else {
            LossKind::MissingFile
        };
        Some(Loss {
            group: self.group,
            ..Loss::new(kind, number, 0)
        })
    }

    /// Whether the group is behind the last that there is.
    pub(crate) fn is_missed(&self, last_group: u64) -> bool {
        self.group > last_group
    }

    /// Whether it can be so, behind what is known of the log: numbers are used one by one, also by what fails.
    pub(crate) fn is_plausible(&self, applied_group: u64, highest_file: FileNumber) -> bool {
        self.group <= applied_group.saturating_add(MOST_GROUPS)
            && self.number.0 <= highest_file.0.saturating_add(MOST_FILES)
    }

    /// Whether this proves that a group was acknowledged: a segment is left where one fails.
    pub(crate) fn proves(&self, number: FileNumber, group: u64) -> bool {
        self.number == number && group <= self.group
    }
}

/// What a slot, or the note, has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    /// Zeros: it was never written.
    Empty,
    Damaged,
    Whole(Said),
}

impl Slot {
    fn at(file: &dyn DiskFile, offset: u64) -> io::Result<Self> {
        let mut bytes = [0; SLOT_BYTES];
        match file.read_at(&mut bytes, offset) {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
            Ok(()) if bytes != [0; SLOT_BYTES] => {
                Ok(Said::from_bytes(&bytes).map_or(Self::Damaged, Self::Whole))
            }
            _ => Ok(Self::Empty),
        }
    }

    /// What it says of a store; of another it says nothing.
    fn of(self, store: Option<StoreId>) -> Option<Said> {
        match self {
            Self::Whole(said) if store.is_none_or(|store| store == said.store) => Some(said),
            _ => None,
        }
    }
}

/// All that the file has.
#[derive(Clone, Copy, Debug)]
struct Content {
    slots: [Slot; 2],
    note: Slot,
}

impl Content {
    const EMPTY: Self = Self {
        slots: [Slot::Empty; 2],
        note: Slot::Empty,
    };

    fn read(file: &dyn DiskFile) -> io::Result<Self> {
        Ok(Self {
            slots: [Slot::at(file, SLOTS[0])?, Slot::at(file, SLOTS[1])?],
            note: Slot::at(file, NOTE)?,
        })
    }

    /// Whether something in it was written and cannot be read. The note is written with each slot.
    fn is_damaged(&self) -> bool {
        self.slots.contains(&Slot::Damaged) || self.is_note_lost()
    }

    fn is_note_lost(&self) -> bool {
        match self.note {
            Slot::Whole(_) => false,
            Slot::Damaged => true,
            // A power cut may take it with the first group of all, never with a later one.
            Slot::Empty => !self.slots.contains(&Slot::Empty),
        }
    }
}

/// What is heard of the end of the log.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heard {
    /// The newest that is said and can be read.
    pub(crate) said: Option<Said>,
    /// Whether more may have been said: the note is damaged, and the slots know the first groups of segments only.
    pub(crate) is_in_part: bool,
}

impl Heard {
    /// What is said in the folder of a store, as far as it can be read. What is said of another store than the one that is known says
    /// nothing of this one.
    ///
    /// # Errors
    /// The disk does not let it be read. The error names the file.
    pub(crate) fn read(disk: &dyn Disk, dir: &Path, store: Option<StoreId>) -> io::Result<Self> {
        let path = dir.join(NEWEST);
        let content = disk
            .open(&path)
            .and_then(|file| Content::read(file.as_ref()));
        match content {
            Ok(content) => Ok(Self {
                said: [content.slots[0], content.slots[1], content.note]
                    .into_iter()
                    .filter_map(|slot| slot.of(store))
                    .max_by_key(|said| said.group),
                is_in_part: content.is_note_lost(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(named(&path, &error)),
        }
    }

    /// Whether it is known which group was acknowledged last.
    pub(crate) fn is_whole(&self) -> bool {
        self.said.is_some() && !self.is_in_part
    }

    /// Whether something was ever said.
    pub(crate) fn is_something(&self) -> bool {
        self.said.is_some() || self.is_in_part
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// The file, for who writes to the log.
#[derive(Debug)]
pub(crate) struct Newest {
    disk: Arc<dyn Disk>,
    /// Of the store.
    dir: PathBuf,
    store: StoreId,
    open: Option<Open>,
    /// Whether what the file says is not to be believed.
    is_void: bool,
}

#[derive(Debug)]
struct Open {
    file: Arc<dyn DiskFile>,
    /// The slots as they are durable, and the note; of another store they count as none.
    slots: [Option<Said>; 2],
    note: Option<Said>,
    /// Whether something in it cannot be read, and is to be written anew.
    is_damaged: bool,
    /// Whether the name of the file is durable.
    is_named: bool,
}

impl Newest {
    /// That of a store.
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: &Path, store: StoreId) -> Self {
        Self {
            disk,
            dir: dir.to_path_buf(),
            store,
            open: None,
            is_void: false,
        }
    }

    /// Makes the file where it is not there, while there is space for it. Where that fails, whatever needs it tries again.
    pub(crate) fn prepare(&mut self) {
        if !self.is_void {
            self.open = self.opened().ok();
        }
    }

    /// Has the file made anew: what it says cannot be so.
    pub(crate) fn forget(&mut self) {
        self.open = None;
        self.is_void = true;
    }

    /// Whether another store's file has its place.
    pub(crate) fn is_of_another(&self) -> bool {
        let heard = Heard::read(self.disk.as_ref(), &self.dir, None).unwrap_or_default();
        heard.said.is_some_and(|said| said.store != self.store)
    }

    /// Says that a group is acknowledged from now on, which is durable in a segment: durably where it is the first there since
    /// something was said of another segment, else as a note.
    ///
    /// # Errors
    /// The disk's. What it says then is not known, unless it can be [taken back](Self::take_back).
    pub(crate) fn say(&mut self, number: FileNumber, group: u64) -> io::Result<()> {
        let said = Said {
            store: self.store,
            number,
            group,
        };
        // Somebody may have removed it.
        self.open
            .take_if(|open| matches!(open.file.has_name(), Ok(false)));
        if self.open.is_none() {
            self.open = Some(self.opened()?);
            self.is_void = false;
        }
        let open = self.open.as_mut().expect("it was just opened");
        if !open.is_named {
            self.disk.sync_dir(&self.dir)?;
            open.is_named = true;
        }
        let mut slots = open.slots.iter().flatten();
        if !open.is_damaged && slots.any(|slot| slot.number == number) {
            // Where it fails the file says less, and that is so.
            if open.write(NOTE, Some(said)).is_ok() {
                open.note = Some(said);
            } else {
                open.is_damaged = open.write(NOTE, open.note).is_err();
            }
            return Ok(());
        }
        let older = open.older();
        if open.is_damaged {
            open.write(SLOTS[1 - older], open.slots[1 - older])?;
        }
        open.write(SLOTS[older], Some(said))?;
        // One that is damaged later has a twin.
        open.write(NOTE, Some(said))?;
        open.file.sync()?;
        open.is_damaged = false;
        open.slots[older] = Some(said);
        open.note = Some(said);
        Ok(())
    }

    /// Makes it say again what it said before something could not be said.
    ///
    /// # Errors
    /// The disk's. What it says is not known.
    pub(crate) fn take_back(&mut self) -> io::Result<()> {
        if let Some(open) = &self.open {
            let older = open.older();
            open.write(SLOTS[older], open.slots[older])?;
            open.write(NOTE, open.note)?;
            open.file.sync()?;
        }
        Ok(())
    }

    /// Makes the last note durable. Where that fails, the slots say less.
    pub(crate) fn sync(&self) {
        if let Some(open) = &self.open {
            let _ = open.file.sync();
        }
    }

    /// Opens the file, or makes it.
    fn opened(&self) -> io::Result<Open> {
        let path = self.dir.join(NEWEST);
        let open = match self.disk.open(&path) {
            Ok(file) if !self.is_void => {
                if file.length()? < FILE_BYTES {
                    file.reserve(FILE_BYTES)?;
                }
                // Who was killed, or could not sync, may have left what is not durable.
                file.settle()?;
                let content = Content::read(file.as_ref())?;
                Ok((file, content))
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            // It is not there, or is not to be believed.
            _ => self
                .disk
                .create(&path, FILE_BYTES)
                .map(|file| (file, Content::EMPTY)),
        };
        let (file, content) = open.map_err(|error| named(&path, &error))?;
        let store = Some(self.store);
        Ok(Open {
            file,
            slots: content.slots.map(|slot| slot.of(store)),
            note: content.note.of(store),
            is_damaged: content.is_damaged(),
            is_named: false,
        })
    }
}

impl Open {
    /// Which slot is written next.
    fn older(&self) -> usize {
        let [first, second] = self.slots.map(|slot| slot.map_or(0, |said| said.group));
        usize::from(first > second)
    }

    fn write(&self, offset: u64, said: Option<Said>) -> io::Result<()> {
        let bytes = said.map_or([0; SLOT_BYTES], Said::to_bytes);
        self.file.write_at(&bytes, offset)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::disk::Real;

    const STORE: StoreId = StoreId([0xbb; 16]);

    fn newest(dir: &Path) -> Newest {
        Newest::new(Arc::new(Real), dir, STORE)
    }

    fn read(dir: &Path) -> Option<(u32, u64)> {
        let said = Heard::read(&Real, dir, None).unwrap().said;
        said.map(|said| (said.number.0, said.group))
    }

    fn flip(dir: &Path, at: usize) {
        let path = dir.join(NEWEST);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[at] ^= 4;
        std::fs::write(&path, bytes).unwrap();
    }

    /// As a power cut leaves it that takes the note.
    fn lose_note(dir: &Path) {
        let path = dir.join(NEWEST);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.truncate(NOTE as usize);
        std::fs::write(&path, bytes).unwrap();
    }

    #[test]
    fn golden_bytes_of_a_slot() {
        let said = Said {
            store: STORE,
            number: FileNumber(7),
            group: 0x0102,
        };
        let golden = [
            &b"PERNEND2"[..],
            b"\x02\x01\0\0\0\0\0\0",
            &[0xbb; 16],
            b"\x07\0\0\0",
            &[0; 24],
            b"\x5c\x44\x45\x06",
        ];
        assert_eq!(said.to_bytes()[..], golden.concat());
        assert_eq!(Said::from_bytes(&said.to_bytes()), Some(said));
    }

    #[test]
    fn the_highest_group_counts_and_any_one_flipped_bit_takes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()), None);
        let mut newest = newest(dir.path());
        // Two groups in each segment: the first is said durably, the second noted.
        for group in 1..=8_u64 {
            let number = FileNumber(u32::try_from(group.div_ceil(2)).unwrap());
            newest.say(number, group).unwrap();
            assert_eq!(read(dir.path()), Some((number.0, group)));
            for at in [SLOTS[0], SLOTS[1], NOTE] {
                for at in at as usize..at as usize + SLOT_BYTES {
                    flip(dir.path(), at);
                    // Of the note's segment, the slot says the first.
                    let (segment, said) = read(dir.path()).unwrap();
                    assert_eq!(segment, number.0, "{at}");
                    assert!(said == group || said + 1 == group, "{at}");
                    flip(dir.path(), at);
                }
            }
        }
        lose_note(dir.path());
        assert_eq!(read(dir.path()), Some((4, 7)));
        // Whoever goes on says the next one durably, as all of it has to be written anew.
        let mut newest = self::newest(dir.path());
        newest.say(FileNumber(4), 9).unwrap();
        newest.say(FileNumber(4), 10).unwrap();
        assert_eq!(read(dir.path()), Some((4, 10)));
        lose_note(dir.path());
        assert_eq!(read(dir.path()), Some((4, 9)));
        newest.say(FileNumber(5), 11).unwrap();
        lose_note(dir.path());
        assert_eq!(read(dir.path()), Some((5, 11)));
    }

    #[test]
    fn whatever_is_damaged_of_the_note_is_heard_until_the_next_group_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let heard = || Heard::read(&Real, dir.path(), None).unwrap();
        assert!(!heard().is_something() && !heard().is_whole());
        for number in 1..4 {
            newest(dir.path())
                .say(FileNumber(number), number.into())
                .unwrap();
            assert!(heard().is_whole());
            for at in 0..SLOT_BYTES {
                let note = NOTE as usize + at;
                flip(dir.path(), note);
                assert!(heard().is_something() && !heard().is_whole(), "{at}");
                flip(dir.path(), note);
                // It has a twin.
                flip(dir.path(), at);
                assert!(heard().is_whole(), "{at}");
                flip(dir.path(), at);
            }
            lose_note(dir.path());
            assert_eq!(heard().is_whole(), number == 1);
            newest(dir.path())
                .say(FileNumber(number), u64::from(number) + 1)
                .unwrap();
            assert!(heard().is_whole());
        }
    }

    #[test]
    fn a_torn_write_of_a_slot_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        for number in 1..6_u32 {
            newest(dir.path())
                .say(FileNumber(number), number.into())
                .unwrap();
            if number > 1 {
                let before = std::fs::read(dir.path().join(NEWEST)).unwrap();
                lose_note(dir.path());
                let last = SLOTS.map(|slot| slot as usize).into_iter().find(|slot| {
                    flip(dir.path(), *slot);
                    let is_last = read(dir.path()) == Some((number - 1, u64::from(number) - 1));
                    flip(dir.path(), *slot);
                    is_last
                });
                assert!(last.is_some(), "{number}");
                std::fs::write(dir.path().join(NEWEST), before).unwrap();
            }
        }
    }

    #[test]
    fn a_file_that_was_cut_or_filled_with_anything_is_none_and_is_written_again() {
        let dir = tempfile::tempdir().unwrap();
        for bytes in [
            &b""[..],
            b"PERN",
            &[0xa5; 20_000],
            &[0; FILE_BYTES as usize],
        ] {
            std::fs::write(dir.path().join(NEWEST), bytes).unwrap();
            assert_eq!(read(dir.path()), None);
            newest(dir.path()).say(FileNumber(3), 7).unwrap();
            assert_eq!(read(dir.path()), Some((3, 7)));
        }
        std::fs::remove_file(dir.path().join(NEWEST)).unwrap();
        std::fs::create_dir(dir.path().join(NEWEST)).unwrap();
        let error = Heard::read(&Real, dir.path(), None).unwrap_err();
        assert!(error.to_string().contains("NEWEST"), "{error}");
        newest(dir.path()).say(FileNumber(4), 8).unwrap_err();
    }

    #[test]
    fn what_is_said_of_another_store_or_of_the_last_numbers_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        newest(dir.path()).say(FileNumber(1), 100).unwrap();
        let heard = |store| Heard::read(&Real, dir.path(), Some(StoreId(store)));
        let read = |store| heard(store).unwrap().said;
        assert!(read([0xbb; 16]).is_some());
        assert_eq!(read([0xcc; 16]), None);
        // Its slots count for none when this one's are written.
        let mut other = Newest::new(Arc::new(Real), dir.path(), StoreId([0xcc; 16]));
        other.say(FileNumber(1), 5).unwrap();
        assert_eq!(read([0xcc; 16]).map(|said| said.group), Some(5));
        for (number, group) in [(u32::MAX, 9), (9, u64::MAX)] {
            let said = Said {
                store: STORE,
                number: FileNumber(number),
                group,
            };
            assert_eq!(Said::from_bytes(&said.to_bytes()), None);
        }
    }
}
