//! The keys of the index. The first byte names the table.
//!
//! | table | key after the first byte | value |
//! |---|---|---|
//! | `b` block | multihash | [`Place`](crate::rows::Place) |
//! | `c` seen again | multihash | [`Seen`](crate::rows::Seen) |
//! | `d` dead copy | file u32, multihash | version |
//! | `s` file | number u32 | [`FileRow`](crate::rows::FileRow) |
//! | `x` quarantine | multihash | [`QuarantineRow`](crate::QuarantineRow) |
//! | `h` head | name | [`HeadRow`](crate::HeadRow) |
//! | `f` minimum sequence | name | version, sequence u64 |
//! | `e` evidence | name, sequence u64 | version, record of the refused head |
//! | `p` pin | pin key | [`PinRow`](crate::rows::PinRow) |
//! | `q` queue by time | queue u8, due u64, key | version, payload |
//! | `k` queue by key | queue u8, key | version, due u64 |
//! | `m` meta | key | the caller's bytes |
//! | `l` loss | number u64 | [`Loss`](crate::Loss) |
//! | `z` set aside | table and key of the row | [`SetAside`](crate::SetAside) |
//! | `a` applied | (none) | file u32, offset u64, group u64 |
//! | `i` store | (none) | 16 bytes |
//! | `n` begun | (none) | empty |
//! | `t` total | (none) | blocks u64 |
//! | `u` upkeep | (none) | where the scrub is |
//!
//! Integers in keys are big-endian, so that rows sort by them; those in values are little-endian.

use perennis_shared::cid::{Multihash, multihash_len, parse_multihash_bytes, write_multihash};
use perennis_shared::ipns::Name;
use perennis_shared::time::Millis;

use crate::location::FileNumber;

pub(crate) const BLOCK: u8 = b'b';
pub(crate) const SEEN: u8 = b'c';
pub(crate) const DEAD: u8 = b'd';
pub(crate) const FILE: u8 = b's';
pub(crate) const QUARANTINE: u8 = b'x';
pub(crate) const HEAD: u8 = b'h';
pub(crate) const MIN_SEQUENCE: u8 = b'f';
pub(crate) const EVIDENCE: u8 = b'e';
pub(crate) const PIN: u8 = b'p';
pub(crate) const QUEUE: u8 = b'q';
pub(crate) const QUEUE_KEY: u8 = b'k';
pub(crate) const META: u8 = b'm';
pub(crate) const LOSS: u8 = b'l';
pub(crate) const SET_ASIDE: u8 = b'z';
/// How far the log is in the index.
pub(crate) const APPLIED: u8 = b'a';
/// Which store it is.
pub(crate) const STORE: u8 = b'i';
/// There where something was acknowledged.
pub(crate) const BEGUN: u8 = b'n';
/// How many blocks there are.
pub(crate) const TOTAL: u8 = b't';
/// Where the scrub is.
pub(crate) const UPKEEP: u8 = b'u';

/// A queue of due rows. Its number is chosen by the caller and stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Queue(pub u8);

/// The queue of damaged blocks that wait to be fetched again; the key is the binary multihash.
pub const REFETCH: Queue = Queue(0);

/// The queue of names whose head was acknowledged and is lost; the key is the binary name. A record that is at least as new as the
/// lost one has to be found; until then lower sequences are refused.
pub const LOST_HEADS: Queue = Queue(4);

pub(crate) fn key(table: u8, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + rest.len());
    key.push(table);
    key.extend_from_slice(rest);
    key
}

/// The first key behind all of a table's.
pub(crate) fn end_of(table: u8) -> Vec<u8> {
    vec![table + 1]
}

/// The first key behind all that begin with `prefix`, which begins with the byte of a table.
pub(crate) fn end_of_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while end.last() == Some(&u8::MAX) {
        end.pop();
    }
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

/// The first key behind `key`.
pub(crate) fn after(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

fn of_hash(table: u8, prefix: &[u8], hash: &Multihash) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + prefix.len() + multihash_len(hash));
    key.push(table);
    key.extend_from_slice(prefix);
    write_multihash(&mut key, hash);
    key
}

pub(crate) fn block(hash: &Multihash) -> Vec<u8> {
    of_hash(BLOCK, &[], hash)
}

pub(crate) fn seen(hash: &Multihash) -> Vec<u8> {
    of_hash(SEEN, &[], hash)
}

pub(crate) fn quarantine(hash: &Multihash) -> Vec<u8> {
    of_hash(QUARANTINE, &[], hash)
}

/// The multihash in the key of a block or of a quarantined one.
pub(crate) fn hash_of(key: &[u8]) -> Option<Multihash> {
    parse_multihash_bytes(key.get(1..)?).ok()
}

pub(crate) fn dead_copy(file: FileNumber, hash: &Multihash) -> Vec<u8> {
    of_hash(DEAD, &file.0.to_be_bytes(), hash)
}

/// What the keys of all dead copies in a file begin with.
pub(crate) fn dead_copies(file: FileNumber) -> Vec<u8> {
    key(DEAD, &file.0.to_be_bytes())
}

/// The file in the key of a dead copy.
pub(crate) fn dead_file(key: &[u8]) -> Option<FileNumber> {
    number_of(key.get(..5)?)
}

/// The multihash in the key of a dead copy.
pub(crate) fn dead_hash(key: &[u8]) -> Option<Multihash> {
    parse_multihash_bytes(key.get(5..)?).ok()
}

pub(crate) fn file(number: FileNumber) -> Vec<u8> {
    key(FILE, &number.0.to_be_bytes())
}

pub(crate) fn number_of(key: &[u8]) -> Option<FileNumber> {
    Some(FileNumber(u32::from_be_bytes(
        key.get(1..)?.try_into().ok()?,
    )))
}

pub(crate) fn head(name: &Name) -> Vec<u8> {
    key(HEAD, name.as_bytes())
}

pub(crate) fn min_sequence(name: &[u8]) -> Vec<u8> {
    key(MIN_SEQUENCE, name)
}

pub(crate) fn evidence(name: &Name, sequence: u64) -> Vec<u8> {
    let mut key = key(EVIDENCE, name.as_bytes());
    key.extend_from_slice(&sequence.to_be_bytes());
    key
}

pub(crate) fn queue_key(queue: Queue, entry: &[u8]) -> Vec<u8> {
    let mut row = vec![QUEUE_KEY, queue.0];
    row.extend_from_slice(entry);
    row
}

pub(crate) fn queue_row(queue: Queue, due: Millis, entry: &[u8]) -> Vec<u8> {
    let mut row = vec![QUEUE, queue.0];
    row.extend_from_slice(&due.0.to_be_bytes());
    row.extend_from_slice(entry);
    row
}

/// The due time and the entry of a row of a queue.
pub(crate) fn read_queue_row(key: &[u8]) -> Option<(Millis, &[u8])> {
    let (due, entry) = key.get(2..)?.split_first_chunk::<8>()?;
    Some((Millis(u64::from_be_bytes(*due)), entry))
}

pub(crate) fn loss(number: u64) -> Vec<u8> {
    key(LOSS, &number.to_be_bytes())
}

/// The number in the key of a loss.
pub(crate) fn loss_number(key: &[u8]) -> Option<u64> {
    let number = key.strip_prefix(&[LOSS])?;
    Some(u64::from_be_bytes(number.try_into().ok()?))
}

pub(crate) fn set_aside(row: &[u8]) -> Vec<u8> {
    key(SET_ASIDE, row)
}
