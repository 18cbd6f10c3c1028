//! Remembers where blocks lie, so that a hot block is read without asking the index.
//!
//! A fixed table, four slots for the hashes that meet in one place: a new entry takes the place of an old one when they are
//! full. It may be wrong (two blocks can share a
//! hash), so who uses it checks what it reads and asks the index where that fails. It never keeps an old place: a
//! change of the index is told to it after the change, and what a reader found before that is not taken in any more.

use std::fmt;
use std::hash::BuildHasher as _;
use std::ops::Range;

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::location::{FileNumber, Location};

/// Parts with a lock of their own.
const SHARDS: usize = 64;
/// Slots of a part, of 24 bytes each: 12 MiB in all, of which a process holds what it has used.
const SLOTS: usize = 8192;
/// Slots that a hash can be in.
const WAYS: usize = 4;

/// Hash, file and offset, length and one. All zeros: empty.
type Slot = [u64; 3];

pub(crate) struct Places {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
}

struct Shard {
    /// Counts the changes that were told.
    changes: u64,
    slots: Vec<Slot>,
}

/// A question that was not answered: what the index says can be remembered under it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Missed {
    hash: u64,
    changes: u64,
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Places").finish_non_exhaustive()
    }
}

impl Default for Places {
    fn default() -> Self {
        let shard = || {
            Mutex::new(Shard {
                changes: 0,
                slots: vec![[0; 3]; SLOTS],
            })
        };
        Self {
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
            hasher: RandomState::default(),
        }
    }
}

impl Places {
    /// The number a block goes by here; `key` is its key in the index.
    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }

    /// Where the block probably lies.
    pub(crate) fn find(&self, hash: u64) -> Result<Location, Missed> {
        let shard = self.shard(hash).lock();
        for &[found, place, length] in &shard.slots[ways(hash)] {
            if found == hash && length > 0 {
                return Ok(Location {
                    file: FileNumber((place >> 32) as u32),
                    offset: place as u32,
                    length: (length - 1) as u32,
                });
            }
        }
        Err(Missed {
            hash,
            changes: shard.changes,
        })
    }

    /// Remembers what the index said, unless it changed since the question.
    pub(crate) fn remember(&self, missed: Missed, location: Location) {
        let mut shard = self.shard(missed.hash).lock();
        if shard.changes == missed.changes {
            shard.set(missed.hash, location);
        }
    }

    /// Takes in a change of the index that has just become visible.
    pub(crate) fn change(&self, hash: u64, location: Option<Location>) {
        let mut shard = self.shard(hash).lock();
        shard.changes += 1;
        match location {
            Some(location) => shard.set(hash, location),
            None => {
                let held = shard.slots[ways(hash)].iter_mut();
                held.filter(|slot| slot[0] == hash)
                    .for_each(|slot| *slot = [0; 3]);
            }
        }
    }

    fn shard(&self, hash: u64) -> &Mutex<Shard> {
        &self.shards[(hash >> 32) as usize % SHARDS]
    }
}

impl Shard {
    /// Into the slot that has the hash, else one that is empty, else any.
    fn set(&mut self, hash: u64, location: Location) {
        let any = self.changes as usize % WAYS;
        let held = &mut self.slots[ways(hash)];
        let at = held
            .iter()
            .position(|slot| slot[0] == hash)
            .or_else(|| held.iter().position(|slot| slot[2] == 0))
            .unwrap_or(any);
        held[at] = entry(hash, location);
    }
}

/// The slots that a hash can be in.
fn ways(hash: u64) -> Range<usize> {
    let first = hash as usize % (SLOTS / WAYS) * WAYS;
    first..first + WAYS
}

fn entry(hash: u64, location: Location) -> Slot {
    let place = u64::from(location.file.0) << 32 | u64::from(location.offset);
    [hash, place, u64::from(location.length) + 1]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn location(offset: u32) -> Location {
        Location {
            file: FileNumber(u32::MAX),
            offset,
            length: 0,
        }
    }

    #[test]
    fn what_was_told_is_found_and_what_was_taken_back_is_not() {
        let places = Places::default();
        let hash = places.hash(b"key");
        places.find(hash).unwrap_err();
        places.change(hash, Some(location(7)));
        assert_eq!(places.find(hash).unwrap(), location(7));
        places.change(hash, None);
        places.find(hash).unwrap_err();
    }

    #[test]
    fn an_answer_that_is_older_than_a_change_is_not_remembered() {
        let places = Places::default();
        let hash = places.hash(b"key");
        let early = places.find(hash).unwrap_err();
        places.change(hash, Some(location(2)));
        places.remember(early, location(1));
        assert_eq!(places.find(hash).unwrap(), location(2));
        places.change(hash, None);
        places.remember(early, location(1));
        let late = places.find(hash).unwrap_err();
        places.remember(late, location(3));
        assert_eq!(places.find(hash).unwrap(), location(3));
    }

    #[test]
    fn blocks_that_meet_are_all_kept_until_their_slots_are_full() {
        let places = Places::default();
        let meeting: Vec<u64> = (0..=WAYS as u64).map(|more| more << 50 | 5).collect();
        for (offset, hash) in (0..).zip(&meeting[..WAYS]) {
            places.change(*hash, Some(location(offset)));
        }
        for (offset, hash) in (0..).zip(&meeting[..WAYS]) {
            assert_eq!(places.find(*hash).unwrap(), location(offset));
        }
        places.change(meeting[WAYS], Some(location(9)));
        assert_eq!(places.find(meeting[WAYS]).unwrap(), location(9));
        let kept = meeting[..WAYS].iter();
        assert_eq!(kept.filter(|hash| places.find(**hash).is_ok()).count(), 3);
        // One that is not there takes no other with it.
        places.change(6 << 50 | 5, None);
        assert_eq!(places.find(meeting[WAYS]).unwrap(), location(9));
    }
}
