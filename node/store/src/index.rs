//! The index as the log makes it: every change of it goes through [`Index::apply`], live and in a replay alike.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use perennis_shared::cid::Cid;

use crate::group::Op;
use crate::keys;
use crate::kv::{Kv, KvBatch, KvError};
use crate::log::{Group, Position};
use crate::places::Places;
use crate::segment::{HEADER_BYTES, Location, SegmentNumber};

/// How full a segment is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentUse {
    /// Bytes of blocks that are still known.
    pub live_bytes: u64,
    /// Bytes that were written.
    pub used_bytes: u64,
}

/// Counts over all blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) blocks: u64,
    pub(crate) bytes: u64,
}

#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) kv: Arc<dyn Kv>,
    places: Places,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    segments: BTreeMap<SegmentNumber, SegmentUse>,
    totals: Totals,
}

impl Index {
    /// Reads the small tables that are kept in memory.
    pub(crate) fn open(kv: Arc<dyn Kv>) -> Result<Self, KvError> {
        let mut state = State::default();
        for (key, value) in kv.scan(&[keys::SEGMENT], &keys::end_of(keys::SEGMENT), usize::MAX)? {
            if let (Some(number), Some(segment)) = (read_number(&key), read_use(&value)) {
                state.totals.bytes += segment.live_bytes;
                state.segments.insert(number, segment);
            }
        }
        if let Some(value) = kv.value(&[keys::TOTAL])? {
            state.totals.blocks = value.try_into().map_or(0, u64::from_le_bytes);
        }
        Ok(Self {
            kv,
            places: Places::default(),
            state: Mutex::new(state),
        })
    }

    /// How far the log is applied.
    pub(crate) fn applied(&self) -> Result<Position, KvError> {
        let row = self.kv.value(&[keys::APPLIED])?;
        Ok(row
            .and_then(|row| Position::from_bytes(&row))
            .unwrap_or(Position::START))
    }

    /// Where a block lies.
    pub(crate) fn location(&self, cid: &Cid) -> Result<Option<Location>, KvError> {
        Ok(self
            .kv
            .value(&keys::block(cid))?
            .and_then(|value| keys::read_location(&value)))
    }

    /// Which of these blocks are stored.
    pub(crate) fn are_stored<'a>(
        &self,
        cids: impl Iterator<Item = &'a Cid>,
    ) -> Result<Vec<bool>, KvError> {
        let keys: Vec<_> = cids.map(keys::block).collect();
        let values = self.kv.values(&keys)?;
        Ok(values
            .into_iter()
            .map(|value| value.is_some_and(|value| keys::read_location(&value).is_some()))
            .collect())
    }

    /// Where a block probably lies: what is read there is checked, and [`Index::location`] asked where that fails.
    pub(crate) fn probable_location(&self, cid: &Cid) -> Result<Option<Location>, KvError> {
        let key = keys::block(cid);
        match self.places.find(self.places.hash(&key)) {
            Ok(location) => Ok(Some(location)),
            Err(missed) => {
                let location = self
                    .kv
                    .value(&key)?
                    .and_then(|value| keys::read_location(&value));
                if let Some(location) = location {
                    self.places.remember(missed, location);
                }
                Ok(location)
            }
        }
    }

    /// Applies a group. `fresh` says that none of its blocks is known and it forgets none, as in every group that is
    /// not the store's own upkeep; the look-ups are spared then.
    pub(crate) fn apply(&self, group: &Group, fresh: bool) -> Result<(), KvError> {
        let mut batch = KvBatch::default();
        let mut moved = Vec::with_capacity(group.blocks.len());
        let mut state = self.state.lock();
        let mut next = Delta {
            state: &mut state,
            touched: BTreeMap::new(),
            blocks: 0,
        };
        for (cid, location) in &group.blocks {
            if !fresh && let Some(old) = self.location(cid)? {
                next.drop_block(old);
            }
            next.add_block(*location);
            let key = keys::block(cid);
            moved.push((self.places.hash(&key), Some(*location)));
            batch.put(key, keys::write_location(*location));
        }
        // Neighbours in the memtable find their place faster one after the other. No two are the same block.
        batch.rows.sort_unstable();
        for op in &group.ops {
            match op {
                Op::Put(key, value) => batch.put(key.as_slice(), value.as_slice()),
                Op::Delete(key) => batch.delete(key.as_slice()),
                Op::Forget(cid) => {
                    let key = keys::key(keys::BLOCK, cid);
                    if let Some(old) = self
                        .kv
                        .value(&key)?
                        .and_then(|value| keys::read_location(&value))
                    {
                        next.drop_block(old);
                    }
                    moved.push((self.places.hash(&key), None));
                    batch.delete(key);
                }
            }
        }
        let Delta {
            touched, blocks, ..
        } = next;
        let mut touched = touched;
        touched
            .entry(group.end.segment)
            .or_insert_with(|| {
                state
                    .segments
                    .get(&group.end.segment)
                    .copied()
                    .unwrap_or_default()
            })
            .used_bytes = group.end.offset.saturating_sub(HEADER_BYTES);
        for (number, segment) in &touched {
            batch.put(keys::segment(*number), write_use(*segment));
        }
        let total = state.totals.blocks.saturating_add_signed(blocks);
        batch.put([keys::TOTAL], total.to_le_bytes());
        batch.put([keys::APPLIED], group.end.to_bytes());
        self.kv.write(batch)?;
        for (hash, location) in moved {
            self.places.change(hash, location);
        }
        state.totals.blocks = total;
        for (number, segment) in touched {
            let before = state.segments.insert(number, segment).unwrap_or_default();
            state.totals.bytes = (state.totals.bytes + segment.live_bytes) - before.live_bytes;
        }
        Ok(())
    }

    /// Forgets a segment whose file is about to go.
    pub(crate) fn drop_segment(&self, number: SegmentNumber) -> Result<(), KvError> {
        let mut batch = KvBatch::default();
        batch.delete(keys::segment(number));
        let mut state = self.state.lock();
        self.kv.write(batch)?;
        if let Some(dropped) = state.segments.remove(&number) {
            state.totals.bytes -= dropped.live_bytes;
        }
        Ok(())
    }

    pub(crate) fn segments(&self) -> BTreeMap<SegmentNumber, SegmentUse> {
        self.state.lock().segments.clone()
    }

    pub(crate) fn totals(&self) -> Totals {
        self.state.lock().totals
    }
}

/// The use of the segments that one group touches, seen before it is written.
struct Delta<'a> {
    state: &'a mut State,
    touched: BTreeMap<SegmentNumber, SegmentUse>,
    blocks: i64,
}

impl Delta<'_> {
    fn segment(&mut self, number: SegmentNumber) -> &mut SegmentUse {
        let known = &self.state.segments;
        self.touched
            .entry(number)
            .or_insert_with(|| known.get(&number).copied().unwrap_or_default())
    }

    fn add_block(&mut self, location: Location) {
        self.segment(location.segment).live_bytes += u64::from(location.length);
        self.blocks += 1;
    }

    fn drop_block(&mut self, location: Location) {
        let segment = self.segment(location.segment);
        segment.live_bytes = segment
            .live_bytes
            .saturating_sub(u64::from(location.length));
        self.blocks -= 1;
    }
}

fn read_number(key: &[u8]) -> Option<SegmentNumber> {
    Some(SegmentNumber(u32::from_be_bytes(
        key.get(1..)?.try_into().ok()?,
    )))
}

fn write_use(segment: SegmentUse) -> Vec<u8> {
    [
        segment.live_bytes.to_le_bytes(),
        segment.used_bytes.to_le_bytes(),
    ]
    .concat()
}

fn read_use(value: &[u8]) -> Option<SegmentUse> {
    let (live, used) = value.split_first_chunk::<8>()?;
    Some(SegmentUse {
        live_bytes: u64::from_le_bytes(*live),
        used_bytes: u64::from_le_bytes(used.try_into().ok()?),
    })
}
