//! Opening the file: made where it is missing, brought to the present format, and read once from end to end.
//!
//! All rows are read: each is checked, looked up as a reader would, and counted. Lookups that fail although the row is
//! there come from damaged pages above it; then the table is written anew from its rows. A damaged tally or format number
//! is written anew as well, since the rows themselves say what they should be. What cannot be mended is left for
//! [`BlockStore::check_rows`](crate::store::BlockStore::check_rows) to tell: the file opens all the same.

use std::{collections::BTreeSet, fs::File, path::Path};

use perennis_rt::files::{create_private_folder, open_private_file};
use perennis_shared::cid::parse_cid_bytes;
use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, TableHandle as _, WriteTransaction,
};

use super::{
    BLOCKS, DiskOptions, FORMAT, FORMAT_ROW, Failure, HASHES, META, ROWS, ROWS_OF_FORMAT_1,
    StoreError, TALLY, close, failure::guarded, tally, tally::Tally,
};
use crate::store::row;

/// An open file.
pub(super) struct Opened {
    pub(super) database: Database,
    pub(super) doubt: Doubt,
}

/// Why a row that is not found may have been there.
#[derive(Clone, Copy, Default)]
pub(super) struct Doubt {
    /// Rows that were committed and are not there any more.
    pub(super) missing: u64,
    /// There are rows that are not what was committed.
    pub(super) has_damaged: bool,
}

pub(super) fn open(path: &Path, options: DiskOptions) -> Result<Opened, StoreError> {
    let cannot_open = |source: std::io::Error| StoreError::Open {
        place: path.display().to_string(),
        source: Box::new(source),
    };
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder {
        create_private_folder(folder).map_err(cannot_open)?;
    }
    let is_new = !path.exists();
    let file = open_private_file(path).map_err(cannot_open)?;
    let opened = guarded(|| {
        let mut builder = Database::builder();
        builder.set_cache_size(options.cache_bytes);
        Ok(builder.create_file(file)?)
    });
    let database = opened.map_err(|failure| match failure.at(path, "open") {
        StoreError::Backend { source, .. } => StoreError::Open {
            place: path.display().to_string(),
            source,
        },
        told => told,
    })?;
    if is_new {
        // The file's name is durable only once its folder is. Where a folder cannot be opened as a file,
        // the platform has no such step.
        if let Ok(folder) = File::open(folder.unwrap_or(Path::new("."))) {
            folder.sync_all().map_err(cannot_open)?;
        }
    }
    match guarded(|| prepare(&database)) {
        Ok(doubt) => Ok(Opened { database, doubt }),
        Err(failure) => {
            close(Some(database));
            Err(failure.at(path, "open"))
        }
    }
}

/// Brings the file to the present format and checks its rows.
fn prepare(database: &Database) -> Result<Doubt, Failure> {
    let reading = database.begin_read()?;
    let tables = reading.list_tables()?;
    let tables: BTreeSet<String> = tables.map(|table| table.name().to_owned()).collect();
    if tables.is_empty() {
        make(database)?;
        return Ok(Doubt::default());
    }
    let number = format_number(&reading);
    let tally = guarded(|| read_tally(&reading.open_table(TALLY)?));
    let tally = tally.ok().flatten();
    // Each of the two numbers is damaged more easily than both: of a newer format are those that say so together, or
    // that have nothing of the present one.
    let newer = match tally {
        Some((format, _)) => Some(format),
        None => number,
    };
    if let Some(found) = newer
        && found > FORMAT
    {
        return Err(Failure::Newer(found));
    }
    if !tables.contains(BLOCKS.name()) {
        return Err(Failure::Damaged("the table of blocks is gone".into()));
    }
    if !tables.contains(HASHES.name()) {
        index(database)?;
    }
    if !tables.contains(ROWS.name()) {
        if tally.is_some() || !tables.contains(ROWS_OF_FORMAT_1.name()) {
            return Err(Failure::Damaged("the table of rows is gone".into()));
        }
        migrate(database)?;
        return Ok(Doubt::default());
    }
    let found = inspect(&reading)?;
    drop(reading);
    let tally = tally.map(|(_, tally)| tally);
    let missing = found.missing(tally);
    let is_explained = missing == 0 && tally != Some(found.tally);
    if found.is_unreachable || is_explained || number != Some(FORMAT) {
        tracing::warn!(
            rows_not_found = found.is_unreachable,
            tally = is_explained,
            format = number != Some(FORMAT),
            "damage in the store's file was mended from its rows"
        );
        mend(database, &found, is_explained, number != Some(FORMAT))?;
    }
    Ok(Doubt {
        missing,
        has_damaged: found.has_damaged,
    })
}

/// Makes the tables of an empty store.
fn make(database: &Database) -> Result<(), Failure> {
    let transaction = database.begin_write()?;
    transaction.open_table(BLOCKS)?;
    transaction.open_table(HASHES)?;
    transaction.open_table(ROWS)?;
    transaction.open_table(META)?.insert(FORMAT_ROW, FORMAT)?;
    write_tally(&transaction, Tally::default())?;
    transaction.commit()?;
    Ok(())
}

/// Writes down where the block of each multihash is, which earlier releases did not, in one commit.
fn index(database: &Database) -> Result<(), Failure> {
    let transaction = database.begin_write()?;
    {
        let blocks = transaction.open_table(BLOCKS)?;
        let mut hashes = transaction.open_table(HASHES)?;
        for block in blocks.iter()? {
            let (key, _) = block?;
            // What is no CID any more is told by whoever lists it.
            if let Ok(cid) = parse_cid_bytes(key.value()) {
                hashes.insert(cid.hash().to_bytes().as_slice(), key.value())?;
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

/// Takes over the rows of format 1, which kept bare values, in one commit.
fn migrate(database: &Database) -> Result<(), Failure> {
    let transaction = database.begin_write()?;
    {
        let former = transaction.open_table(ROWS_OF_FORMAT_1)?;
        let mut rows = transaction.open_table(ROWS)?;
        for row in former.iter()? {
            let (name, value) = row?;
            let stored = row::migrated(name.value(), value.value().to_vec().into());
            rows.insert(name.value().as_bytes(), stored.as_ref())?;
        }
        let tally = Tally::count(&rows)?;
        write_tally(&transaction, tally)?;
        transaction.open_table(META)?.insert(FORMAT_ROW, FORMAT)?;
    }
    transaction.delete_table(ROWS_OF_FORMAT_1)?;
    transaction.commit()?;
    Ok(())
}

/// What reading every row found.
struct RowsInspection {
    tally: Tally,
    has_damaged: bool,
    /// A row that is there is not found under its name, or its order is wrong.
    is_unreachable: bool,
}

fn inspect(reading: &ReadTransaction) -> Result<RowsInspection, Failure> {
    let rows = reading.open_table(ROWS)?;
    let mut found = RowsInspection {
        tally: Tally::default(),
        has_damaged: false,
        is_unreachable: false,
    };
    let mut before: Option<Vec<u8>> = None;
    for row in rows.iter()? {
        let (name, stored) = row?;
        let (name, stored) = (name.value(), stored.value());
        found.tally.add(stored);
        let text = std::str::from_utf8(name);
        found.has_damaged |=
            text.is_err() || row::damage(text.unwrap_or_default(), stored).is_some();
        let looked_up = rows.get(name)?;
        let is_found = looked_up.is_some_and(|found| found.value() == stored);
        let is_in_order = before.as_deref().is_none_or(|before| before < name);
        found.is_unreachable |= !is_found || !is_in_order;
        before = Some(name.to_vec());
    }
    Ok(found)
}

impl RowsInspection {
    /// How many rows are gone, by what was counted at the last commit.
    fn missing(&self, counted: Option<Tally>) -> u64 {
        let Some(counted) = counted else {
            return 0;
        };
        match counted.rows.saturating_sub(self.tally.rows) {
            // As many as there were, and all sound, but not the same ones: at least one is of an earlier time.
            0 if counted != self.tally && !self.has_damaged => 1,
            missing => missing,
        }
    }
}

/// Writes anew what the rows themselves tell.
fn mend(
    database: &Database,
    found: &RowsInspection,
    tally: bool,
    format: bool,
) -> Result<(), Failure> {
    let mut transaction = database.begin_write()?;
    transaction.set_two_phase_commit(true);
    if found.is_unreachable {
        let all: Vec<(Vec<u8>, Vec<u8>)> = {
            let rows = transaction.open_table(ROWS)?;
            let all = rows.iter()?.map(|row| {
                let (name, stored) = row?;
                Ok((name.value().to_vec(), stored.value().to_vec()))
            });
            all.collect::<Result<_, redb::StorageError>>()?
        };
        transaction.delete_table(ROWS)?;
        let mut rows = transaction.open_table(ROWS)?;
        for (name, stored) in &all {
            rows.insert(name.as_slice(), stored.as_slice())?;
        }
    }
    if tally {
        write_tally(&transaction, found.tally)?;
    }
    if format {
        // Its only row may have another name by now, which is no text any more.
        transaction.delete_table(META)?;
        transaction.open_table(META)?.insert(FORMAT_ROW, FORMAT)?;
    }
    transaction.commit()?;
    Ok(())
}

/// The number in the table that releases of format 1 look into; none when it is damaged.
fn format_number(reading: &ReadTransaction) -> Option<u64> {
    let read = || {
        Ok(reading
            .open_table(META)?
            .get(FORMAT_ROW)?
            .map(|number| number.value()))
    };
    guarded(read).ok().flatten()
}

/// The tally and the format it was written under; none when it is damaged.
pub(super) fn read_tally(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
) -> Result<Option<(u64, Tally)>, Failure> {
    let stored = table.get(tally::NAME.as_bytes())?;
    Ok(stored.and_then(|stored| Tally::decode(stored.value())))
}

/// Makes this the tally.
pub(super) fn write_tally(transaction: &WriteTransaction, tally: Tally) -> Result<(), Failure> {
    let mut table = transaction.open_table(TALLY)?;
    table.insert(tally::NAME.as_bytes(), tally.encode().as_slice())?;
    Ok(())
}
