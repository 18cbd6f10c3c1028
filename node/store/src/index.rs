//! The index as the log makes it: every change of it goes through [`Index::apply`], live and in a replay alike.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use perennis_shared::cid::Multihash;

use crate::group::Op;
use crate::keys;
use crate::kv::{Kv, KvBatch, KvError};
use crate::location::{FileNumber, Location, StoreId};
use crate::log::{Group, Position};
use crate::pack::Packs;
use crate::rows::{
    FileKind, FileRow, Loss, Place, Row as _, Seen, SetAside, read_location, write_plain,
};
use crate::segment::GROUPS_START;

mod adopt;
mod awaited;
mod losses;
mod places;
mod quarantine;

use adopt::Adopting;
pub(crate) use awaited::{awaited_files, may_need_packs, missing_files};
pub(crate) use losses::Losses;
use places::Places;
pub(crate) use quarantine::quarantine_ops;

/// Counts over all blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) blocks: u64,
    pub(crate) bytes: u64,
}

#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) kv: Arc<dyn Kv>,
    /// Say where the blocks are that a pack takes over.
    pub(crate) packs: Arc<Packs>,
    places: Places,
    state: Mutex<IndexState>,
    /// Packs that could not be taken into use in a replay.
    lost: Mutex<Vec<Loss>>,
}

#[derive(Debug, Default)]
struct IndexState {
    files: BTreeMap<FileNumber, FileRow>,
    totals: Totals,
    dead: DeadCopies,
    losses: Losses,
}

/// Dead copies in the segment that is written to. Where a block that was forgotten is put again into the same segment, the row of
/// its dead copy has to go: it names the file and the block, and the new copy is not dead.
#[derive(Debug, Default)]
struct DeadCopies {
    file: Option<FileNumber>,
    hashes: HashSet<Multihash>,
}

impl Index {
    /// Reads the small tables that are kept in memory.
    pub(crate) fn open(kv: Arc<dyn Kv>, packs: Arc<Packs>) -> Result<Self, KvError> {
        let mut state = IndexState {
            losses: Losses::read(kv.as_ref())?,
            ..IndexState::default()
        };
        for (key, value) in kv.scan(&[keys::FILE], &keys::end_of(keys::FILE), usize::MAX)? {
            if let (Some(number), Some(row)) = (keys::number_of(&key), FileRow::from_bytes(&value))
            {
                state.totals.bytes += row.live_bytes;
                state.files.insert(number, row);
            }
        }
        if let Some(value) = kv.value(&[keys::TOTAL])? {
            state.totals.blocks = value.try_into().map_or(0, u64::from_le_bytes);
        }
        let logs = state.files.iter().rev();
        let mut last = logs.map(|(number, row)| (*number, row.kind));
        if let Some((file, _)) = last.find(|(_, kind)| *kind == FileKind::Log) {
            let from = keys::dead_copies(file);
            let rows = kv.scan(&from, &keys::end_of_prefix(&from), usize::MAX)?;
            state.dead = DeadCopies {
                file: Some(file),
                hashes: rows
                    .iter()
                    .filter_map(|(key, _)| keys::dead_hash(key))
                    .collect(),
            };
        }
        Ok(Self {
            kv,
            packs,
            places: Places::default(),
            state: Mutex::new(state),
            lost: Mutex::default(),
        })
    }

    /// How far the log is applied.
    pub(crate) fn applied(&self) -> Result<Position, KvError> {
        let row = self.kv.value(&[keys::APPLIED])?;
        Ok(row
            .and_then(|row| Position::from_bytes(&row))
            .unwrap_or(Position::START))
    }

    /// Which store it is of; none where nothing was stored yet.
    pub(crate) fn store(&self) -> Result<Option<StoreId>, KvError> {
        let row = self.kv.value(&[keys::STORE])?;
        Ok(row.and_then(|row| row.try_into().ok()).map(StoreId))
    }

    /// Whether something was acknowledged in this store, ever.
    pub(crate) fn is_begun(&self) -> Result<bool, KvError> {
        Ok(self.kv.value(&[keys::BEGUN])?.is_some())
    }

    /// Notes that something was acknowledged.
    pub(crate) fn note_begun(&self) -> Result<(), KvError> {
        let mut batch = KvBatch::default();
        batch.put([keys::BEGUN], []);
        self.kv.write(batch)
    }

    /// Notes which store it is of.
    pub(crate) fn set_store(&self, store: StoreId) -> Result<(), KvError> {
        let mut batch = KvBatch::default();
        batch.put([keys::STORE], store.0);
        self.kv.write(batch)
    }

    /// What is known of a block.
    pub(crate) fn place(&self, hash: &Multihash) -> Result<Option<Place>, KvError> {
        let row = self.kv.value(&keys::block(hash))?;
        Ok(row.and_then(|row| Place::from_bytes(&row)))
    }

    /// Where a block lies.
    pub(crate) fn location(&self, hash: &Multihash) -> Result<Option<Location>, KvError> {
        let row = self.kv.value(&keys::block(hash))?;
        Ok(row.and_then(|row| read_location(&row)))
    }

    /// What is known of these blocks.
    pub(crate) fn places<'a>(
        &self,
        hashes: impl Iterator<Item = &'a Multihash>,
    ) -> Result<Vec<Option<Place>>, KvError> {
        let keys: Vec<_> = hashes.map(keys::block).collect();
        let values = self.kv.values(&keys)?;
        Ok(values
            .into_iter()
            .map(|value| value.and_then(|value| Place::from_bytes(&value)))
            .collect())
    }

    /// Where a block probably lies: what is read there is checked, and [`Index::location`] asked where that fails.
    pub(crate) fn probable_location(&self, hash: &Multihash) -> Result<Option<Location>, KvError> {
        let key = keys::block(hash);
        match self.places.find(self.places.hash(&key)) {
            Ok(location) => Ok(Some(location)),
            Err(missed) => {
                let row = self.kv.value(&key)?;
                let location = row.and_then(|row| read_location(&row));
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
        self.apply_with(group, &[], fresh)
    }

    /// Applies a group as [`Index::apply`] does, and with it what follows from how a replay found it: both or neither.
    pub(crate) fn apply_with(
        &self,
        group: &Group,
        more: &[Op],
        fresh: bool,
    ) -> Result<(), KvError> {
        let mut state = self.state.lock();
        let mut ops = group.batches.iter().flat_map(|batch| &batch.ops);
        let has_upkeep = ops.any(|op| !matches!(op, Op::Put(..) | Op::Delete(_)));
        let places = if fresh {
            has_upkeep.then(HashMap::new)
        } else {
            Some(self.places_in(group)?)
        };
        let mut change = IndexChange {
            index: self,
            files: &state.files,
            group_file: group.end.file,
            dead: state.dead.of(group.end.file),
            died: Vec::new(),
            batch: KvBatch::default(),
            touched: BTreeMap::new(),
            moved: Vec::new(),
            places,
            adopting: Adopting::default(),
            blocks: 0,
            losses: Vec::new(),
        };
        let row = change.file(group.end.file);
        // A row that is not this segment's is that of a file that is gone and had its number.
        let known = row.filter(|row| row.salt() == Some(group.salt));
        let row = row.insert(known.unwrap_or_else(|| FileRow::log(group.salt, group.end.group)));
        row.used_bytes = group.end.offset.saturating_sub(GROUPS_START);
        row.last_group = group.end.group;
        for batch in &group.batches {
            for entry in &batch.entries {
                let location = entry.location(group.end.file);
                let place = Place::new(location, batch.tag, entry.codec, &entry.crcs);
                change.put_block(&entry.hash, place, fresh)?;
            }
        }
        for batch in &group.batches {
            change.meet_packs(&batch.ops, group.end.group)?;
            let better = change.better_rows(&batch.ops)?;
            for op in batch.ops.iter().filter(|op| !is_of(op, &better)) {
                change.op(op, group.end.group)?;
            }
        }
        for op in more {
            change.op(op, group.end.group)?;
        }
        let IndexChange {
            mut batch,
            touched,
            moved,
            blocks,
            died,
            losses,
            ..
        } = change;
        for (number, row) in &touched {
            if let Some(row) = row {
                batch.put(keys::file(*number), row.to_bytes());
            }
        }
        let total = state.totals.blocks.saturating_add_signed(blocks);
        batch.put([keys::TOTAL], total.to_le_bytes());
        batch.put([keys::APPLIED], group.end.to_bytes());
        self.kv.write(batch)?;
        for (hash, location) in moved {
            self.places.change(hash, location);
        }
        state.totals.blocks = total;
        state.dead.change(group.end.file, died);
        for (key, row) in losses {
            state.losses.set(&key, row.as_deref());
        }
        for (number, row) in touched {
            let Some(row) = row else { continue };
            let before = state.files.insert(number, row);
            let before = before.map_or(0, |row| row.live_bytes);
            state.totals.bytes = (state.totals.bytes + row.live_bytes).saturating_sub(before);
        }
        Ok(())
    }

    /// What is known of the blocks of a group, looked up together.
    fn places_in(&self, group: &Group) -> Result<HashMap<Multihash, Option<Place>>, KvError> {
        let entries = group.batches.iter().flat_map(|batch| &batch.entries);
        let hashes = entries.map(|entry| &entry.hash);
        let places = self.places(hashes.clone())?;
        Ok(hashes.copied().zip(places).collect())
    }

    /// Forgets a file that is not there any more.
    pub(crate) fn forget_file(&self, number: FileNumber) -> Result<(), KvError> {
        let mut batch = KvBatch::default();
        batch.delete(keys::file(number));
        let mut state = self.state.lock();
        self.kv.write(batch)?;
        if let Some(row) = state.files.remove(&number) {
            state.totals.bytes = state.totals.bytes.saturating_sub(row.live_bytes);
        }
        Ok(())
    }

    pub(crate) fn files(&self) -> BTreeMap<FileNumber, FileRow> {
        self.state.lock().files.clone()
    }

    /// What is known of a file that holds blocks.
    pub(crate) fn file(&self, number: FileNumber) -> Option<FileRow> {
        self.state.lock().files.get(&number).copied()
    }

    pub(crate) fn totals(&self) -> Totals {
        self.state.lock().totals
    }

    /// The losses of acknowledged data that are written down and not dismissed, the oldest first.
    pub(crate) fn losses(&self) -> Vec<Loss> {
        self.state.lock().losses.all()
    }

    /// The numbers of losses whose rows cannot be read.
    pub(crate) fn unreadable_losses(&self) -> Vec<u64> {
        self.state.lock().losses.unreadable()
    }

    /// Adds what writes losses of acknowledged data down, those that are not written down yet.
    pub(crate) fn note_losses(&self, found: Vec<Loss>, ops: &mut Vec<Op>) {
        self.state.lock().losses.note(found, ops);
    }

    /// What a replay has found lost, once.
    pub(crate) fn take_losses(&self) -> Vec<Loss> {
        std::mem::take(&mut self.lost.lock())
    }
}

impl DeadCopies {
    /// Those in the file that a group is in; none where it is the first in its file.
    fn of(&self, file: FileNumber) -> Option<&HashSet<Multihash>> {
        (self.file == Some(file) && !self.hashes.is_empty()).then_some(&self.hashes)
    }

    fn change(&mut self, file: FileNumber, died: Vec<(Multihash, bool)>) {
        if self.file != Some(file) {
            *self = Self {
                file: Some(file),
                hashes: HashSet::new(),
            };
        }
        for (hash, is_dead) in died {
            if is_dead {
                self.hashes.insert(hash);
            } else {
                self.hashes.remove(&hash);
            }
        }
    }
}

/// Whether an op writes or removes one of these rows.
fn is_of(op: &Op, keys: &HashSet<Vec<u8>>) -> bool {
    match op {
        Op::Put(key, _) | Op::Delete(key) => keys.contains(key),
        _ => false,
    }
}

/// The changes of one group, seen before they are written.
struct IndexChange<'a> {
    index: &'a Index,
    files: &'a BTreeMap<FileNumber, FileRow>,
    group_file: FileNumber,
    /// Dead copies in the file of the group.
    dead: Option<&'a HashSet<Multihash>>,
    /// What becomes of the copies in that file, in order.
    died: Vec<(Multihash, bool)>,
    batch: KvBatch,
    /// Rows of files as the group leaves them; none of a file that is not known.
    touched: BTreeMap<FileNumber, Option<FileRow>>,
    /// For [`Places`].
    moved: Vec<(u64, Option<Location>)>,
    /// Blocks that were looked up together or changed by this group: a later op sees what an earlier one did. None where no op looks.
    places: Option<HashMap<Multihash, Option<Place>>>,
    /// Packs of the batch that is under way.
    adopting: Adopting,
    blocks: i64,
    /// Rows of losses as the group leaves them.
    losses: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl IndexChange<'_> {
    fn file(&mut self, number: FileNumber) -> &mut Option<FileRow> {
        let known = self.files;
        self.touched
            .entry(number)
            .or_insert_with(|| known.get(&number).copied())
    }

    /// What is known of a block, by this group or before.
    fn place(&self, hash: &Multihash) -> Result<Option<Place>, KvError> {
        match self.places.as_ref().and_then(|places| places.get(hash)) {
            Some(place) => Ok(place.clone()),
            None => self.index.place(hash),
        }
    }

    fn put_block(&mut self, hash: &Multihash, place: Place, fresh: bool) -> Result<(), KvError> {
        if !fresh && let Some(old) = self.place(hash)? {
            self.drop_bytes(old.location);
            if old.location.file != place.location.file {
                self.note_dead(hash, old.location.file);
            }
            self.batch.delete(keys::seen(hash));
        }
        if self.dead.is_some_and(|dead| dead.contains(hash)) {
            self.batch
                .delete(keys::dead_copy(place.location.file, hash));
            self.died.push((*hash, false));
        }
        if let Some(row) = self.file(place.location.file) {
            row.live_bytes += u64::from(place.location.length);
        }
        self.blocks += 1;
        self.set(hash, Some(place));
        Ok(())
    }

    /// A copy of a block is not needed any more.
    fn drop_bytes(&mut self, location: Location) {
        if let Some(row) = self.file(location.file) {
            row.live_bytes = row.live_bytes.saturating_sub(u64::from(location.length));
        }
        self.blocks -= 1;
    }

    /// What lies in a file of a block is forgotten; its bytes stay until the file goes.
    fn note_dead(&mut self, hash: &Multihash, file: FileNumber) {
        self.batch
            .put(keys::dead_copy(file, hash), write_plain(1, &[]));
        if file == self.group_file {
            self.died.push((*hash, true));
        }
    }

    fn set(&mut self, hash: &Multihash, place: Option<Place>) {
        let key = keys::block(hash);
        let location = place.as_ref().map(|place| place.location);
        self.moved.push((self.index.places.hash(&key), location));
        match &place {
            Some(place) => self.batch.put(key, place.to_bytes()),
            None => self.batch.delete(key),
        }
        if let Some(places) = &mut self.places {
            places.insert(*hash, place);
        }
    }

    /// The keys of rows that were set aside because they were damaged, where they are not what they were then: an index that was made
    /// anew has them from before the damage. What was noted of them is of no use, and neither is what was put in their place.
    fn better_rows(&mut self, ops: &[Op]) -> Result<HashSet<Vec<u8>>, KvError> {
        let mut better = HashSet::new();
        for op in ops {
            let Op::Put(key, note) = op else { continue };
            let [keys::SET_ASIDE, target @ ..] = key.as_slice() else {
                continue;
            };
            let Some(row) = self.index.kv.value(target)? else {
                continue;
            };
            if row != SetAside::from_row(key, note).value {
                better.extend([key.clone(), target.to_vec()]);
            } else if target.first() == Some(&keys::BLOCK) {
                // In which file it is not alive any more stood in the row.
                self.blocks -= 1;
            }
        }
        Ok(better)
    }

    fn note_loss(&mut self, key: &[u8], row: Option<&[u8]>) {
        if key.first() == Some(&keys::LOSS) {
            self.losses.push((key.to_vec(), row.map(<[u8]>::to_vec)));
        }
    }

    fn op(&mut self, op: &Op, group: u64) -> Result<(), KvError> {
        match op {
            Op::Put(key, value) => {
                self.note_loss(key, Some(value));
                self.batch.put(key.as_slice(), value.as_slice());
            }
            Op::Delete(key) => {
                self.note_loss(key, None);
                self.batch.delete(key.as_slice());
            }
            Op::Forget(hash) => {
                // Also where it is not known: it may lie in a pack that is met later, in a replay.
                self.batch.delete(keys::seen(hash));
                if let Some(place) = self.place(hash)? {
                    self.drop_bytes(place.location);
                    self.note_dead(hash, place.location.file);
                    self.set(hash, None);
                }
            }
            Op::Saw { hash, tag, codec } => {
                if let Some(mut place) = self.place(hash)?
                    && place.see(*tag, *codec)
                {
                    self.batch
                        .put(keys::seen(hash), Seen::of(&place).to_bytes());
                    self.set(hash, Some(place));
                }
            }
            Op::Pack(pack) => self.adopt(pack, group)?,
            Op::Drop(file) => self.drop_file(*file)?,
        }
        Ok(())
    }
}
