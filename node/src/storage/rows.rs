//! Rows of the node's own, read so that one that is damaged costs itself and nothing else.
//!
//! Such a row is set aside, told and counted, and the caller goes on as if it had never been written. What it said is found out
//! again where that can be: the facts of a name when the pin scan walks it next, the state of a put with the next put.

use std::fmt::{Display, Write as _};

use super::keys::{
    CLOCK, DENIED, FACTS, FETCHED, FETCHES, FOLLOWED, IMPORTED, PROVIDED, PROVIDER, PUT, RECLAIMED,
    RECORD, ROUTER, RUNGS, SCAN, SCRUBBED, UNCLAIMED_ROW,
};
use super::{Storage, StorageError};

/// The words for the tables of the node's rows, in metrics.
pub(crate) const TABLES: [&str; 15] = [
    "facts",
    "puts",
    "routers",
    "fetch_failures",
    "dht_records",
    "dht_providers",
    "fetched",
    "imported",
    "ladders",
    "followed",
    "unclaimed",
    "denied",
    "places",
    "queues",
    "other",
];

/// Bytes of a key that are told.
const KEY_BYTES: usize = 64;

impl Storage {
    /// A row that can be read. One that cannot is set aside and counts as not there.
    pub(super) fn row<T, E: Display>(
        &self,
        key: &[u8],
        parse: impl FnOnce(&[u8]) -> Result<T, E>,
    ) -> Result<Option<T>, StorageError> {
        let Some(value) = self.store.meta(key)? else {
            return Ok(None);
        };
        match parse(&value) {
            Ok(row) => Ok(Some(row)),
            Err(error) => {
                self.set_aside(key, value, None, &error);
                Ok(None)
            }
        }
    }

    /// A row of one number.
    pub(super) fn number(&self, key: &[u8]) -> Result<Option<u64>, StorageError> {
        let parse = |value: &[u8]| {
            let bytes = value.try_into().map_err(|_| "it is no number");
            bytes.map(u64::from_be_bytes)
        };
        self.row::<_, &str>(key, parse)
    }

    /// Sets a row aside that cannot be read, and puts another in its place where one is given.
    pub(super) fn set_aside(
        &self,
        key: &[u8],
        value: Vec<u8>,
        instead: Option<Vec<u8>>,
        error: &dyn Display,
    ) {
        self.unreadable(table(key), key, error);
        self.store.set_meta_aside(key, value, instead);
    }

    /// Tells of a row that cannot be read.
    pub(super) fn unreadable(&self, table: &'static str, key: &[u8], error: &dyn Display) {
        let key = hex(key);
        tracing::error!(table, key, %error, "a row of the node's own cannot be read; the rest goes on without it");
        *self.shared.unreadable.lock().entry(table).or_default() += 1;
    }

    /// How many rows could not be read since the start, by their table.
    pub(crate) fn unreadable_rows(&self) -> Vec<(&'static str, u64)> {
        let counts = self.shared.unreadable.lock();
        let count = |table| (table, counts.get(table).copied().unwrap_or(0));
        TABLES.into_iter().map(count).collect()
    }
}

/// The word for the table that a row is in.
fn table(key: &[u8]) -> &'static str {
    let tables = [
        (FACTS, "facts"),
        (PUT, "puts"),
        (ROUTER, "routers"),
        (FETCHES, "fetch_failures"),
        (RECORD, "dht_records"),
        (PROVIDER, "dht_providers"),
        (FETCHED, "fetched"),
        (IMPORTED, "imported"),
        (RUNGS, "ladders"),
        (FOLLOWED, "followed"),
        (UNCLAIMED_ROW, "unclaimed"),
        (DENIED, "denied"),
        (SCAN, "places"),
        (SCRUBBED, "places"),
        (RECLAIMED, "places"),
        (PROVIDED, "places"),
        (CLOCK, "places"),
    ];
    let found = tables.iter().find(|(prefix, _)| key.starts_with(prefix));
    found.map_or("other", |(_, word)| word)
}

/// The beginning of a key, for people.
pub(crate) fn hex(key: &[u8]) -> String {
    let mut text = String::new();
    for byte in &key[..key.len().min(KEY_BYTES)] {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
