//! What format 1 has of each multihash, whatever CID it was stored under.

use std::sync::Arc;

use perennis_shared::cid::{Cid, Multihash, parse_multihash_bytes, write_multihash};
use perennis_shared::time::Millis;

use super::blocks::{Files, refetch_rows};
use super::by_place::{ByPlace, Copy};
use super::format1::row;
use super::sink::Sink;
use super::{BY_PLACE, MigrateError, Migration};
use crate::keys;
use crate::kv::{Kv, KvError, KvLoad};
use crate::location::{FileNumber, Location};
use crate::rows::{NOBODY, Place, Quarantined, Row as _};

/// What a row is: a place at which the block lies, a note that it was found damaged, or that it waits to be fetched again.
const PLACE: u8 = 0;
const DAMAGED: u8 = 1;
const REFETCH: u8 = 2;

/// Rows of blocks, on their way into the order of their multihashes.
#[derive(Debug)]
pub(super) struct ByHash {
    sink: Sink,
}

impl ByHash {
    pub(super) fn new(load: Box<dyn KvLoad>) -> Self {
        Self {
            sink: Sink::new(load),
        }
    }

    /// Takes in where a block lies: the value of its row, which is a place.
    pub(super) fn add_place(&mut self, cid: &Cid, value: &[u8]) -> Result<(), KvError> {
        self.add(cid, PLACE, value)
    }

    /// Takes in that a block was found damaged: the value of its row, which can be read.
    pub(super) fn add_damaged(&mut self, cid: &Cid, value: &[u8]) -> Result<(), KvError> {
        self.add(cid, DAMAGED, value)
    }

    /// Takes in that a block waits to be fetched again.
    pub(super) fn add_refetch(&mut self, cid: &Cid, due: Millis) -> Result<(), KvError> {
        self.add(cid, REFETCH, &due.0.to_le_bytes())
    }

    fn add(&mut self, cid: &Cid, kind: u8, value: &[u8]) -> Result<(), KvError> {
        let mut key = Vec::new();
        // It says its own length, so all rows of one multihash come together.
        write_multihash(&mut key, cid.hash());
        let length = u8::try_from(key.len()).expect("a multihash is shorter than 256 bytes");
        key.push(kind);
        key.extend_from_slice(&cid.codec().to_be_bytes());
        key.push(u64::from(cid.version()) as u8);
        self.sink.put(key, [&[length], value].concat())
    }

    /// Puts what is known of each multihash in the order of the files.
    pub(super) fn sort(
        self,
        migration: &Migration,
        files: &mut Files,
        target: &mut Sink,
    ) -> Result<Arc<dyn Kv>, MigrateError> {
        let by_hash = self.sink.finish()?;
        let snapshot = by_hash.snapshot()?;
        let mut by_place = ByPlace::new(migration.home.begin_scratch(BY_PLACE)?);
        let mut known: Option<Known> = None;
        for found in snapshot.rows(&[], &[u8::MAX]) {
            let (key, value) = found?;
            let (length, value) = value.split_first().expect("the row begins with a length");
            let (hash, rest) = key.split_at(usize::from(*length));
            let hash = parse_multihash_bytes(hash).expect("it was written as one");
            if let Some(whole) = known.take_if(|known| known.hash != hash) {
                whole.pass_on(files, &mut by_place, target)?;
            }
            let known = known.get_or_insert_with(|| Known::new(hash));
            known.add(rest, value);
        }
        if let Some(whole) = known {
            whole.pass_on(files, &mut by_place, target)?;
        }
        Ok(by_place.finish()?)
    }
}

/// What format 1 has of one multihash.
#[derive(Debug)]
struct Known {
    hash: Multihash,
    places: Vec<Location>,
    codecs: Vec<u64>,
    damaged: Option<(Millis, String)>,
    refetch: Option<Millis>,
}

impl Known {
    fn new(hash: Multihash) -> Self {
        Self {
            hash,
            places: Vec::new(),
            codecs: Vec::new(),
            damaged: None,
            refetch: None,
        }
    }

    /// `key` is what follows the multihash in the key of a row.
    fn add(&mut self, key: &[u8], value: &[u8]) {
        let (kind, codec) = (key[0], &key[1..9]);
        let codec = u64::from_be_bytes(codec.try_into().expect("a slice of eight bytes"));
        if self.codecs.len() < Place::CODECS && !self.codecs.contains(&codec) {
            self.codecs.push(codec);
        }
        match kind {
            PLACE => self.places.extend(row::read_location(value)),
            DAMAGED => self.damaged = self.damaged.take().or_else(|| row::read_quarantine(value)),
            _ => {
                // Of two the one that is due first.
                let due = row::read_due(value);
                self.refetch = self.refetch.into_iter().chain(due).min();
            }
        }
    }

    /// One place goes on. A block that was set aside under one CID and is there under another is no longer set aside.
    fn pass_on(
        mut self,
        files: &mut Files,
        by_place: &mut ByPlace,
        target: &mut Sink,
    ) -> Result<(), MigrateError> {
        if let Some(due) = self.refetch {
            refetch_rows(&self.hash, due, target)?;
        }
        self.places.sort_unstable();
        let place = match self.places.as_slice() {
            [] => None,
            [one] => Some(*one),
            // The first that is whole; if none is, the first is set aside when it is read again.
            [first, ..] => {
                let mut whole = None;
                for place in &self.places {
                    if files.crcs(&self.hash, *place)?.is_ok() {
                        whole = Some(*place);
                        break;
                    }
                }
                Some(whole.unwrap_or(*first))
            }
        };
        if let Some(location) = place {
            let copy = Copy {
                hash: self.hash,
                location,
                codecs: self.codecs,
                is_queued: self.refetch.is_some(),
            };
            by_place.add(&copy)?;
        } else if let Some((at, reason)) = self.damaged {
            let row = Quarantined {
                at,
                // Format 1 did not keep it.
                location: Location {
                    file: FileNumber(0),
                    offset: 0,
                    length: 0,
                },
                tag: NOBODY,
                codecs: self.codecs,
                reason,
            };
            target.put(keys::quarantine(&self.hash), row.to_bytes())?;
        }
        Ok(())
    }
}
