//! What other peers put here: records and providers of the DHT.
//!
//! Those who answer other peers must not wait for a sync of the disk. So a change is held in memory and taken to the store by a
//! thread of its own, many in one batch; a reader looks at what is held first. Such rows promise nothing: a crash may
//! lose the last of them, as the DHT expects of its peers. What a name's owner published here is another row, and
//! is durable.
//!
//! A record comes verified and goes to the disk, or to the write door, as it is. Whoever reads it from a row parses it, once.
//!
//! Their number is bounded. It is counted when what has expired is swept out, and from then on as rows come; above the
//! limit those that are here are renewed and no new ones kept.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use perennis_net::PeerId;
use perennis_net::dht::{DhtStore, EXPIRY, StoredProvider, StoredRecord};
use perennis_rt as rt;
use perennis_shared::codec::{CodecError, FieldProblem, Fields, Value, dag_cbor};
use perennis_shared::error::chain;
use perennis_shared::ipns::{Name, Record};
use perennis_shared::limits::{DHT_PROVIDERS, DHT_RECORDS, PROVIDER_ADDRESSES, PROVIDERS_PER_KEY};
use perennis_shared::time::Millis;
use perennis_store::Batch;
use tokio::sync::mpsc;

use super::keys::{PROVIDER, RECORD};
use super::name_state::{record_of, stored_record};
use super::{Storage, key};
use crate::demand::SharedDemand;

/// Changes that are held; further ones are dropped, as a peer that is overwhelmed may do.
const HELD: usize = 16_384;

/// Changes taken to the store at once.
const BATCH: usize = 2_048;

/// How far ahead of the longest a time may lie: clocks are set by seconds.
const SLACK: Duration = Duration::from_secs(60);

/// Rows looked at in one step when old ones are swept out.
const SWEPT: usize = 1_024;

/// Records and providers of the DHT in the node's store.
pub(crate) struct DhtRows {
    storage: Storage,
    held: Mutex<Held>,
    wake: Condvar,
    /// Records of names that are kept here for their owners: they go through the write door.
    offers: mpsc::Sender<(Name, Record)>,
    demand: SharedDemand,
    /// The name that this node publishes to measure the DHT. It is not kept here: others have to answer.
    canary: Name,
    records: Counted,
    providers: Counted,
    /// Rows of the present sweep that stay.
    counted: AtomicUsize,
}

/// How many rows a table has, and may have.
struct Counted {
    rows: AtomicUsize,
    most: usize,
}

impl Counted {
    const fn up_to(most: usize) -> Self {
        Self {
            rows: AtomicUsize::new(0),
            most,
        }
    }
}

#[derive(Default)]
struct Held {
    /// The value of each changed row; `None` deletes it.
    rows: HashMap<Vec<u8>, Option<Vec<u8>>>,
    /// Rows that are on their way to the disk.
    writing: HashMap<Vec<u8>, Option<Vec<u8>>>,
    is_closed: bool,
}

impl DhtRows {
    /// The rows, and the records that were put for names that are kept here.
    pub(crate) fn new(
        storage: Storage,
        demand: SharedDemand,
        canary: Name,
    ) -> (Arc<DhtRows>, mpsc::Receiver<(Name, Record)>) {
        let (offers, offered) = mpsc::channel(256);
        let rows = Arc::new(DhtRows {
            storage,
            held: Mutex::default(),
            wake: Condvar::new(),
            offers,
            demand,
            canary,
            records: Counted::up_to(DHT_RECORDS),
            providers: Counted::up_to(DHT_PROVIDERS),
            counted: AtomicUsize::new(0),
        });
        (rows, offered)
    }

    /// Takes changes to the store until [`DhtRows::close`]. Runs on a thread that may wait for the disk.
    pub(crate) fn write(&self) {
        loop {
            let mut held = self.held.lock();
            while held.rows.is_empty() && !held.is_closed {
                self.wake.wait(&mut held);
            }
            if held.rows.is_empty() {
                return;
            }
            let some: Vec<Vec<u8>> = held.rows.keys().take(BATCH).cloned().collect();
            let mut batch = Batch::new();
            for row in some {
                if let Some(value) = held.rows.remove(&row) {
                    match &value {
                        Some(value) => batch.put_meta(&row, value.clone()),
                        None => batch.delete_meta(&row),
                    };
                    held.writing.insert(row, value);
                }
            }
            drop(held);
            if let Err(error) = self.storage.store.commit(batch) {
                tracing::warn!(error = %chain(&error), "records of the DHT could not be kept");
            }
            self.held.lock().writing.clear();
        }
    }

    /// Ends [`DhtRows::write`] when what is held was written.
    pub(crate) fn close(&self) {
        self.held.lock().is_closed = true;
        self.wake.notify_all();
    }

    /// Sweeps out what has expired, a step at a time; tells where to go on, or `None` at the end. Waits for the disk.
    pub(crate) fn sweep(&self, after: Option<Vec<u8>>) -> Option<Vec<u8>> {
        let table = match &after {
            Some(after) if after.starts_with(PROVIDER) => PROVIDER,
            _ => RECORD,
        };
        let rows = self
            .storage
            .store
            .metas(table, after.as_deref(), SWEPT)
            .ok()?;
        let now = rt::now();
        let mut staying = 0;
        for (row, value) in &rows {
            let (word, provider) = match table {
                RECORD => ("dht_records", None),
                _ => ("dht_providers", parse_provider(value).ok()),
            };
            let expires = match &provider {
                Some(provider) => Some(provider.expires),
                None if table == RECORD => split_record(value).map(|(expires, _)| expires),
                None => None,
            };
            if expires.is_none() {
                self.storage.unreadable(word, row, &"it is damaged");
            }
            // What cannot be read is of no use to anybody, and others tell it again.
            if expires.is_none_or(|expires| expires <= now) {
                self.change(row.clone(), None);
                continue;
            }
            staying += 1;
            // It was put with a clock that was ahead, and would stay for years.
            let longest = now + EXPIRY;
            if expires.is_some_and(|expires| expires > longest + SLACK) {
                let sooner = match provider {
                    Some(provider) => provider_bytes(&StoredProvider {
                        expires: longest,
                        ..provider
                    })
                    .ok(),
                    None => split_record(value).map(|(_, record)| row_bytes(longest, record)),
                };
                self.change(row.clone(), sooner);
            }
        }
        let counted = staying + self.counted.fetch_add(staying, Ordering::Relaxed);
        if rows.len() < SWEPT {
            self.count_of(table).rows.store(counted, Ordering::Relaxed);
            self.counted.store(0, Ordering::Relaxed);
        }
        match rows.last() {
            Some((last, _)) if rows.len() == SWEPT => Some(last.clone()),
            _ if table == RECORD => Some(PROVIDER.to_vec()),
            _ => None,
        }
    }

    fn change(&self, row: Vec<u8>, value: Option<Vec<u8>>) {
        let mut held = self.held.lock();
        if held.rows.len() < HELD || held.rows.contains_key(&row) {
            held.rows.insert(row, value);
            self.wake.notify_one();
        }
    }

    fn count_of(&self, table: &[u8]) -> &Counted {
        if table == RECORD {
            &self.records
        } else {
            &self.providers
        }
    }

    /// Keeps a row; a new one only below the limit of its table.
    fn keep(&self, table: &[u8], row: Vec<u8>, value: Vec<u8>) {
        if self.row(&row).is_none() {
            let count = self.count_of(table);
            if count.rows.load(Ordering::Relaxed) >= count.most {
                return;
            }
            count.rows.fetch_add(1, Ordering::Relaxed);
        }
        self.change(row, Some(value));
    }

    fn row(&self, row: &[u8]) -> Option<Vec<u8>> {
        let held = self.held.lock();
        if let Some(value) = held.rows.get(row).or_else(|| held.writing.get(row)) {
            return value.clone();
        }
        drop(held);
        self.storage.store.meta(row).unwrap_or_else(|error| {
            tracing::error!(error = %chain(&error), "a row of the DHT could not be read");
            None
        })
    }

    fn provider_rows(&self, prefix: &[u8]) -> HashMap<Vec<u8>, Option<Vec<u8>>> {
        let stored = self
            .storage
            .store
            .metas(prefix, None, 2 * PROVIDERS_PER_KEY);
        let mut rows: HashMap<Vec<u8>, Option<Vec<u8>>> = stored
            .unwrap_or_default()
            .into_iter()
            .map(|(row, value)| (row, Some(value)))
            .collect();
        let held = self.held.lock();
        for changes in [&held.writing, &held.rows] {
            for (row, value) in changes {
                if row.starts_with(prefix) {
                    rows.insert(row.clone(), value.clone());
                }
            }
        }
        rows
    }
}

impl DhtStore for DhtRows {
    fn was_asked(&self, name: &Name) {
        // Only what is kept here is ever put.
        if let Ok(Some(_)) = self.storage.store.head(name) {
            self.demand.lock().asked(rt::now(), name);
        }
    }

    fn record(&self, name: &Name) -> Option<StoredRecord> {
        // What the owner published here is at least as new: newer ones from the DHT go through the write door.
        if let Ok(Some(head)) = self.storage.store.head(name) {
            return Some(StoredRecord {
                record: record_of(&head).ok()?,
                expires: Millis(u64::MAX),
            });
        }
        parse_record(self.row(&key(RECORD, name.as_bytes()))?)
    }

    fn keep_record(&self, name: &Name, record: StoredRecord) {
        if *name == self.canary {
            return;
        }
        if let Ok(Some(_)) = self.storage.store.head(name) {
            // A door that is crowded hears of it again when the name is resolved or followed.
            let _ = self.offers.try_send((*name, record.record));
            return;
        }
        let value = record_bytes(&record);
        self.keep(RECORD, key(RECORD, name.as_bytes()), value);
    }

    fn forget_record(&self, name: &Name) {
        self.change(key(RECORD, name.as_bytes()), None);
    }

    fn providers(&self, of: &[u8]) -> Vec<StoredProvider> {
        let rows = self.provider_rows(&provider_prefix(of));
        let values = rows.into_values().flatten();
        let mut providers: Vec<StoredProvider> = values
            .filter_map(|value| parse_provider(&value).ok())
            .collect();
        providers.sort_by_key(|provider| provider.peer);
        providers
    }

    fn keep_provider(&self, of: &[u8], provider: StoredProvider) {
        let row = [provider_prefix(of), provider.peer.to_bytes()].concat();
        match provider_bytes(&provider) {
            Ok(value) => self.keep(PROVIDER, row, value),
            Err(error) => tracing::debug!(%error, "a provider could not be written"),
        }
    }

    fn forget_provider(&self, of: &[u8], peer: &PeerId) {
        self.change([provider_prefix(of), peer.to_bytes()].concat(), None);
    }
}

/// Length first, so that no key is the beginning of another.
fn provider_prefix(of: &[u8]) -> Vec<u8> {
    let length = u8::try_from(of.len()).unwrap_or(u8::MAX);
    [PROVIDER, &[length], of].concat()
}

/// When it is forgotten, then the serialized record.
fn record_bytes(stored: &StoredRecord) -> Vec<u8> {
    row_bytes(stored.expires, stored.record.bytes())
}

fn row_bytes(expires: Millis, record: &[u8]) -> Vec<u8> {
    [&expires.0.to_be_bytes()[..], record].concat()
}

/// What [`record_bytes`] put together; nothing is copied.
fn split_record(value: &[u8]) -> Option<(Millis, &[u8])> {
    let (expires, bytes) = value.split_first_chunk::<8>()?;
    Some((Millis(u64::from_be_bytes(*expires)), bytes))
}

/// The record in a row; `None` where it holds none, as no peer had put one here.
fn parse_record(value: Vec<u8>) -> Option<StoredRecord> {
    let value = Bytes::from(value);
    let (expires, bytes) = split_record(&value)?;
    let record = stored_record(value.slice_ref(bytes)).ok()?;
    Some(StoredRecord { record, expires })
}

fn provider_bytes(provider: &StoredProvider) -> Result<Vec<u8>, CodecError> {
    let addresses = provider
        .addresses
        .iter()
        .map(|address| Value::Bytes(address.to_vec()));
    dag_cbor::encode(&Value::map([
        ("v", Value::from(1_u64)),
        ("peer", Value::Bytes(provider.peer.to_bytes())),
        ("addrs", Value::List(addresses.collect())),
        ("until", Value::from(provider.expires.0)),
    ]))
}

fn parse_provider(value: &[u8]) -> Result<StoredProvider, CodecError> {
    let mut fields = Fields::new(dag_cbor::decode(value)?)?;
    if fields.take_u64("v")? != 1 {
        return Err(CodecError::field("v", FieldProblem::Range));
    }
    let peer = PeerId::from_bytes(&fields.take_bytes("peer")?)
        .map_err(|_| CodecError::field("peer", FieldProblem::Range))?;
    let addresses = fields.take_list::<Vec<u8>>("addrs")?;
    let provider = StoredProvider {
        peer,
        addresses: addresses
            .into_iter()
            .take(PROVIDER_ADDRESSES)
            .map(Bytes::from)
            .collect(),
        expires: Millis(fields.take_u64("until")?),
    };
    fields.finish()?;
    Ok(provider)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use perennis_shared::ipns::{RecordFields, create};
    use perennis_shared::sign::SigningKey;
    use perennis_shared::time::Timestamp;

    use super::*;
    use crate::{config::Config, demand::Demand, storage::NameChange};

    fn name(number: u8) -> Name {
        Name::from_public_key(&SigningKey::from_seed(&[number; 32]).public())
    }

    /// A record of name `number`.
    fn signed(number: u8, sequence: u64) -> Record {
        let fields = RecordFields {
            value: "/ipfs/bafkqaaa",
            sequence,
            validity: Timestamp::from(Millis(4_000_000_000_000)),
            ttl: Duration::from_secs(60),
        };
        create(&SigningKey::from_seed(&[number; 32]), &fields).unwrap()
    }

    fn record(expires: Millis) -> StoredRecord {
        StoredRecord {
            record: signed(1, 1),
            expires,
        }
    }

    fn rows(dir: &std::path::Path) -> Arc<DhtRows> {
        rows_and_offers(dir).0
    }

    /// Rows in a store, a few of each kind at most, and what goes to the write door.
    fn rows_and_offers(dir: &std::path::Path) -> (Arc<DhtRows>, mpsc::Receiver<(Name, Record)>) {
        let storage = Storage::open(dir, &[]).unwrap();
        let demand = Demand::new(&Config::default().ipns.hot);
        let demand = Arc::new(Mutex::new(demand));
        let (mut rows, offered) = DhtRows::new(storage, demand, name(255));
        let few = Arc::get_mut(&mut rows).unwrap();
        few.records.most = 4;
        few.providers.most = 4;
        (rows, offered)
    }

    /// Takes to the store what is held, as the thread at the node's end does.
    fn written(rows: &DhtRows) {
        rows.close();
        rows.write();
    }

    fn sweep(rows: &DhtRows) {
        let mut place = rows.sweep(None);
        while let Some(from) = place {
            place = rows.sweep(Some(from));
        }
    }

    #[test]
    fn a_full_table_renews_what_it_has_and_takes_no_more_until_some_has_expired() {
        let dir = tempfile::tempdir().unwrap();
        let rows = rows(dir.path());
        let now = rt::now();
        let later = Millis(now.0 + 60_000);
        for number in 0..8 {
            let expires = if number == 0 { now } else { later };
            rows.keep_record(&name(number), record(expires));
        }
        let kept = |rows: &DhtRows| {
            let kept = (0..10).filter(|number| rows.record(&name(*number)).is_some());
            kept.collect::<Vec<_>>()
        };
        assert_eq!(kept(&rows), [0, 1, 2, 3]);
        let renewed = Millis(later.0 + 1);
        rows.keep_record(&name(2), record(renewed));
        assert_eq!(rows.record(&name(2)).unwrap().expires, renewed);
        written(&rows);
        // What has expired is swept out, and its place is counted as free.
        sweep(&rows);
        written(&rows);
        assert_eq!(kept(&rows), [1, 2, 3]);
        rows.keep_record(&name(9), record(later));
        assert_eq!(kept(&rows), [1, 2, 3, 9]);
        rows.keep_record(&name(8), record(later));
        assert_eq!(kept(&rows), [1, 2, 3, 9]);
    }

    #[test]
    fn a_record_is_read_from_the_disk_as_it_was_put_and_what_is_none_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let kept = StoredRecord {
            record: signed(3, 1),
            expires: Millis(rt::now().0 + 60_000),
        };
        {
            let rows = rows(dir.path());
            rows.keep_record(&name(3), kept.clone());
            assert_eq!(rows.record(&name(3)).unwrap(), kept);
            // The end of a row, and what is no record of anybody.
            for (number, value) in [(4, &[0; 7][..]), (5, &[0xff; 40])] {
                rows.change(key(RECORD, name(number).as_bytes()), Some(value.to_vec()));
            }
            written(&rows);
        }
        let rows = rows(dir.path());
        assert_eq!(rows.record(&name(3)).unwrap(), kept);
        assert_eq!(
            rows.record(&name(3)).unwrap().record.bytes(),
            kept.record.bytes()
        );
        for number in [4, 5] {
            assert_eq!(rows.record(&name(number)), None);
        }
    }

    #[tokio::test]
    async fn what_is_put_for_a_name_that_is_kept_goes_to_the_write_door_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (rows, mut offered) = rows_and_offers(dir.path());
        let put = |sequence| {
            let record = signed(3, sequence);
            let expires = Millis(u64::MAX);
            rows.keep_record(&name(3), StoredRecord { record, expires });
        };
        put(1);
        assert!(offered.try_recv().is_err(), "nobody keeps the name yet");
        let kept = NameChange::of(name(3), signed(3, 2), rt::now());
        rows.storage.commit(kept).await.unwrap();
        put(3);
        assert_eq!(offered.try_recv().unwrap(), (name(3), signed(3, 3)));
        // Until it has passed the door, others are told what is kept.
        assert_eq!(rows.record(&name(3)).unwrap().record, signed(3, 2));
    }

    #[test]
    fn nobody_elses_copy_of_the_canary_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let rows = rows(dir.path());
        let expires = Millis(rt::now().0 + 60_000);
        for number in [254, 255] {
            let record = signed(number, 1);
            rows.keep_record(&name(number), StoredRecord { record, expires });
        }
        // That of any other name is.
        assert!(rows.record(&name(254)).is_some());
        assert_eq!(rows.record(&name(255)), None);
        written(&rows);
        assert_eq!(rows.record(&name(255)), None);
    }

    #[test]
    fn no_more_changes_are_held_than_there_is_room_for() {
        let dir = tempfile::tempdir().unwrap();
        let rows = rows(dir.path());
        let row = |number: u32| key(PROVIDER, &number.to_be_bytes());
        let most = u32::try_from(HELD).unwrap();
        assert_eq!(most, 16_384);
        for number in 0..most + 10 {
            rows.change(row(number), Some(vec![1]));
        }
        assert_eq!(rows.held.lock().rows.len(), HELD);
        // One that is held already is changed all the same.
        rows.change(row(0), Some(vec![2]));
        assert_eq!(rows.row(&row(0)), Some(vec![2]));
        assert_eq!(rows.row(&row(most)), None);
        written(&rows);
        assert_eq!(rows.row(&row(most - 1)), Some(vec![1]));
    }

    #[test]
    fn what_was_put_with_a_clock_that_was_ahead_expires_in_its_time_from_now() {
        let dir = tempfile::tempdir().unwrap();
        let rows = rows(dir.path());
        let (peer, ahead) = (PeerId::random(), rt::now() + 100 * EXPIRY);
        rows.keep_record(&name(1), record(ahead));
        let provider = StoredProvider {
            peer,
            addresses: Vec::new(),
            expires: ahead,
        };
        rows.keep_provider(b"a key", provider);
        written(&rows);
        sweep(&rows);
        written(&rows);
        let latest = rt::now() + EXPIRY;
        let kept = rows.record(&name(1)).unwrap();
        assert!(kept.expires <= latest);
        assert_eq!(kept.record, signed(1, 1));
        let providers = rows.providers(b"a key");
        assert_eq!((providers.len(), providers[0].peer), (1, peer));
        assert!(providers[0].expires <= latest);
    }

    #[test]
    fn providers_of_many_keys_share_one_limit() {
        let dir = tempfile::tempdir().unwrap();
        let rows = rows(dir.path());
        for number in 0..8_u8 {
            let provider = StoredProvider {
                peer: PeerId::random(),
                addresses: Vec::new(),
                expires: Millis(u64::MAX),
            };
            rows.keep_provider(&[number], provider);
        }
        let kept = (0..8_u8).filter(|number| !rows.providers(&[*number]).is_empty());
        assert_eq!(kept.count(), 4);
    }
}
