//! What a collection knows of each block, in 16 bytes and a little room to grow.
//!
//! A block goes by 95 bits of a keyed hash of its multihash. Nobody outside knows the key, so nobody can aim at two
//! blocks that go by one, and by chance two of ten million do so once in 10^15 collections.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;

/// Parts that grow by themselves, so that growing takes little memory at once.
const SHARDS: usize = 256;
/// Set where a pin reaches the block. Without it the value counts the dead blocks' links to it.
const LIVE: u32 = 1 << 31;
/// Codecs under which its links are wanted, and those under which they were followed.
const WANTED: u32 = 1;
const FOLLOWED: u32 = 1 << 8;

/// Three words of the hash, and what is known.
type Slot = [u32; 4];

/// Blocks, and what is known of them.
#[derive(Debug)]
pub(crate) struct Marks {
    shards: Box<[Shard]>,
    keys: [RandomState; 2],
}

#[derive(Clone, Debug, Default)]
struct Shard {
    slots: Box<[Slot]>,
    used: usize,
}

impl Default for Marks {
    fn default() -> Self {
        Self {
            shards: vec![Shard::default(); SHARDS].into(),
            keys: Default::default(),
        }
    }
}

impl Marks {
    /// Marks a block as reached. False where it was before.
    pub(crate) fn set_live(&mut self, hash: &[u8]) -> bool {
        let is_new = !self.is_live(hash);
        self.live(hash);
        is_new
    }

    /// Whether a block was reached.
    pub(crate) fn is_live(&self, hash: &[u8]) -> bool {
        self.find(hash).is_some_and(|value| value & LIVE != 0)
    }

    /// Wants the links of a reached block under a codec, given by a number below 8. False where they were wanted before.
    pub(crate) fn want(&mut self, hash: &[u8], codec: u8) -> bool {
        let value = self.live(hash);
        let is_new = *value & WANTED << codec == 0;
        *value |= WANTED << codec;
        is_new
    }

    /// Whether the links of a block under a codec are wanted, be it that they were followed.
    pub(crate) fn is_wanted(&self, hash: &[u8], codec: u8) -> bool {
        let value = self.find(hash).filter(|value| value & LIVE != 0);
        value.is_some_and(|value| value & WANTED << codec != 0)
    }

    /// Notes that the links of a block under a codec were followed.
    pub(crate) fn follow(&mut self, hash: &[u8], codec: u8) {
        *self.live(hash) |= FOLLOWED << codec;
    }

    /// Whether the links of a block under a codec are wanted and were not followed.
    pub(crate) fn is_open(&self, hash: &[u8], codec: u8) -> bool {
        let value = self.find(hash).filter(|value| value & LIVE != 0);
        value.is_some_and(|value| value & WANTED << codec != 0 && value & FOLLOWED << codec == 0)
    }

    /// How many links of dead blocks lead to a block; none where it was reached or nothing is known.
    pub(crate) fn parents(&self, hash: &[u8]) -> Option<u32> {
        self.find(hash).filter(|value| value & LIVE == 0)
    }

    /// Counts one more link of a dead block, unless the block was reached.
    pub(crate) fn add_parent(&mut self, hash: &[u8]) {
        let value = self.value(hash);
        if *value & LIVE == 0 && *value < LIVE - 1 {
            *value += 1;
        }
    }

    /// Counts one link of a dead block less; says how many are left. None where none was counted.
    pub(crate) fn drop_parent(&mut self, hash: &[u8]) -> Option<u32> {
        self.parents(hash).filter(|parents| *parents > 0)?;
        let value = self.value(hash);
        *value -= 1;
        Some(*value)
    }

    /// Bytes of memory that it takes.
    #[cfg(test)]
    pub(crate) fn memory_bytes(&self) -> usize {
        let slots = self.shards.iter().map(|shard| shard.slots.len());
        slots.sum::<usize>() * size_of::<Slot>()
    }

    /// The value of a block that is reached from now on: what was counted is not needed any more.
    fn live(&mut self, hash: &[u8]) -> &mut u32 {
        let value = self.value(hash);
        if *value & LIVE == 0 {
            *value = LIVE;
        }
        value
    }

    fn find(&self, hash: &[u8]) -> Option<u32> {
        let key = self.key(hash);
        let shard = &self.shards[shard_of(key)];
        if shard.slots.is_empty() {
            return None;
        }
        let slot = shard.slots[shard.place(key)];
        (slot[..3] == key).then_some(slot[3])
    }

    /// The value of a block, 0 where nothing was known of it.
    fn value(&mut self, hash: &[u8]) -> &mut u32 {
        let key = self.key(hash);
        let shard = &mut self.shards[shard_of(key)];
        // A fifth stays empty: what is looked for is found soon.
        if shard.slots.is_empty() || shard.slots[shard.place(key)][..3] != key {
            if (shard.used + 1) * 5 > shard.slots.len() * 4 {
                shard.grow();
            }
            shard.used += 1;
        }
        let place = shard.place(key);
        let slot = &mut shard.slots[place];
        slot[..3].copy_from_slice(&key);
        &mut slot[3]
    }

    fn key(&self, hash: &[u8]) -> [u32; 3] {
        let [first, second] = &self.keys;
        let (first, second) = (first.hash_one(hash), second.hash_one(hash));
        // All zeros is an empty slot.
        [first as u32 | 1, (first >> 32) as u32, second as u32]
    }
}

fn shard_of(key: [u32; 3]) -> usize {
    key[2] as usize % SHARDS
}

impl Shard {
    /// Where the key is, or would be.
    fn place(&self, key: [u32; 3]) -> usize {
        let slots = self.slots.len();
        let mut at = ((u64::from(key[1]) * slots as u64) >> 32) as usize;
        while self.slots[at][0] != 0 && self.slots[at][..3] != key {
            at = if at + 1 == slots { 0 } else { at + 1 };
        }
        at
    }

    fn grow(&mut self) {
        let slots = (self.slots.len() * 5 / 4).max(16);
        let old = std::mem::replace(&mut self.slots, vec![[0; 4]; slots].into());
        for slot in old.iter().filter(|slot| slot[0] != 0) {
            let place = self.place([slot[0], slot[1], slot[2]]);
            self.slots[place] = *slot;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_block_takes_twenty_bytes_or_a_little_more() {
        let mut marks = Marks::default();
        for number in 0..200_000_u32 {
            assert!(marks.set_live(&number.to_le_bytes()));
            assert!(!marks.set_live(&number.to_le_bytes()));
        }
        assert!((0..200_000_u32).all(|number| marks.is_live(&number.to_le_bytes())));
        assert!((200_000..300_000_u32).all(|number| !marks.is_live(&number.to_le_bytes())));
        let each = marks.memory_bytes() as f64 / 200_000.0;
        assert!((20.0..26.0).contains(&each), "{each}");
    }

    #[test]
    fn a_reached_block_is_not_counted_for() {
        let mut marks = Marks::default();
        assert_eq!(marks.parents(b"a"), None);
        assert_eq!(marks.drop_parent(b"a"), None);
        marks.add_parent(b"a");
        marks.add_parent(b"a");
        assert_eq!(marks.parents(b"a"), Some(2));
        assert_eq!(marks.drop_parent(b"a"), Some(1));
        assert!(!marks.is_live(b"a") && !marks.is_open(b"a", 0));
        assert!(marks.want(b"a", 2) && !marks.want(b"a", 2) && marks.want(b"a", 1));
        assert!(marks.is_live(b"a") && marks.is_open(b"a", 2) && !marks.is_open(b"a", 0));
        marks.follow(b"a", 2);
        assert!(!marks.is_open(b"a", 2) && marks.is_open(b"a", 1));
        marks.add_parent(b"a");
        assert_eq!((marks.parents(b"a"), marks.drop_parent(b"a")), (None, None));
        assert!(!marks.set_live(b"a") && !marks.want(b"a", 2));
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_map(steps in proptest::collection::vec((0..40_u8, 0..3_u8), 0..400)) {
            let mut marks = Marks::default();
            let mut map = HashMap::<u8, u32>::new();
            for (block, step) in steps {
                let count = map.entry(block).or_default();
                match step {
                    0 => {
                        marks.add_parent(&[block]);
                        *count += 1;
                    }
                    _ => {
                        let expected = count.checked_sub(1);
                        prop_assert_eq!(marks.drop_parent(&[block]), expected);
                        *count = expected.unwrap_or(0);
                    }
                }
            }
            for (block, count) in map {
                prop_assert_eq!(marks.parents(&[block]).unwrap_or(0), count);
            }
        }
    }
}
