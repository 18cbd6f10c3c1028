//! The losses of acknowledged data that are written down and not dismissed yet.
//!
//! Owns the table of losses as it is held in memory: read once when the index is opened, and changed with each group that
//! the index applies. So a start and the upkeep ask for it as often as they like, and none of them reads the table again.
//! It never writes: what is to be written down comes back as changes for the log, and is known here once they are applied.

use std::collections::{BTreeMap, HashSet};

use crate::group::Op;
use crate::keys;
use crate::kv::{Kv, KvError};
use crate::location::FileNumber;
use crate::rows::{Loss, LossKind, Row as _};

/// What makes a loss the same as another.
type Identity = (LossKind, FileNumber, u64, u64);

/// The table of losses.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    /// By number; none where a row cannot be read.
    rows: BTreeMap<u64, Option<Loss>>,
    known: HashSet<Identity>,
}

impl Losses {
    /// Those that an index has.
    ///
    /// # Errors
    /// The index fails.
    pub(crate) fn read(kv: &dyn Kv) -> Result<Self, KvError> {
        let mut losses = Self::default();
        for (key, row) in kv.scan(&[keys::LOSS], &keys::end_of(keys::LOSS), usize::MAX)? {
            losses.set(&key, Some(&row));
        }
        Ok(losses)
    }

    /// Follows a change of a row. Rows of other tables change nothing.
    pub(super) fn set(&mut self, key: &[u8], row: Option<&[u8]>) {
        let Some(number) = keys::loss_number(key) else {
            return;
        };
        if let Some(Some(old)) = self.rows.remove(&number) {
            self.known.remove(&identity(&old));
        }
        if let Some(row) = row {
            let loss = Loss::from_bytes(row);
            self.known.extend(loss.as_ref().map(identity));
            self.rows.insert(number, loss);
        }
    }

    /// The oldest first, without those whose rows cannot be read.
    pub(super) fn all(&self) -> Vec<Loss> {
        self.rows.values().flatten().cloned().collect()
    }

    /// The numbers of rows that cannot be read.
    pub(super) fn unreadable(&self) -> Vec<u64> {
        let rows = self.rows.iter();
        let unreadable = rows.filter(|(_, loss)| loss.is_none());
        unreadable.map(|(number, _)| *number).collect()
    }

    /// Adds what writes down those of acknowledged data that are not written down yet, behind what is there to be written already.
    pub(crate) fn note(&self, found: impl IntoIterator<Item = Loss>, ops: &mut Vec<Op>) {
        let written = self.rows.last_key_value().map(|(number, _)| *number);
        let pending = ops.iter().filter_map(|op| match op {
            Op::Put(key, _) => keys::loss_number(key),
            _ => None,
        });
        let mut number = written.into_iter().chain(pending).max().unwrap_or(0);
        let mut noted = HashSet::new();
        for loss in found {
            let identity = identity(&loss);
            if loss.kind.is_of_acknowledged_data()
                && !self.known.contains(&identity)
                && noted.insert(identity)
            {
                number = number.saturating_add(1);
                ops.push(Op::Put(keys::loss(number), loss.to_bytes()));
            }
        }
    }
}

fn identity(loss: &Loss) -> Identity {
    (loss.kind, loss.file, loss.offset, loss.group)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(group: u64) -> Loss {
        Loss {
            group,
            ..Loss::new(LossKind::DamagedGroup, FileNumber(1), 64)
        }
    }

    fn apply(losses: &mut Losses, ops: &[Op]) {
        for op in ops {
            match op {
                Op::Put(key, row) => losses.set(key, Some(row)),
                Op::Delete(key) => losses.set(key, None),
                _ => {}
            }
        }
    }

    #[test]
    fn a_loss_is_written_down_once_under_a_number_of_its_own() {
        let (mut losses, mut ops) = (Losses::default(), Vec::new());
        losses.note([loss(1), loss(1), loss(2)], &mut ops);
        // What is still to be written keeps its number.
        losses.note([loss(3)], &mut ops);
        apply(&mut losses, &ops);
        assert_eq!(losses.all(), [loss(1), loss(2), loss(3)]);
        let mut ops = Vec::new();
        let torn = Loss::new(LossKind::TornGroup, FileNumber(1), 0);
        losses.note([loss(2), torn], &mut ops);
        assert_eq!(ops, []);
        apply(&mut losses, &[Op::Delete(keys::loss(2))]);
        losses.note([loss(2)], &mut ops);
        assert_eq!(ops, [Op::Put(keys::loss(4), loss(2).to_bytes())]);
    }

    #[test]
    fn a_row_that_cannot_be_read_keeps_its_number_and_is_named() {
        let (mut losses, mut ops) = (Losses::default(), Vec::new());
        losses.set(&keys::loss(7), Some(&[99]));
        losses.set(&keys::key(keys::META, b"other"), Some(&[99]));
        losses.note([loss(1)], &mut ops);
        apply(&mut losses, &ops);
        assert_eq!(
            (losses.all(), losses.unreadable()),
            (vec![loss(1)], vec![7])
        );
        assert_eq!(ops, [Op::Put(keys::loss(8), loss(1).to_bytes())]);
        losses.set(&keys::loss(7), None);
        assert_eq!(losses.unreadable(), []);
    }
}
