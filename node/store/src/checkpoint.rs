//! Checkpoints: the rows of the index as of one group, in files beside the log.
//!
//! The log alone gives the index only as long as no segment was removed. A checkpoint holds every row but the places of
//! blocks, from one moment, so that a segment can go once all of its blocks lie elsewhere: the newest whole checkpoint,
//! the tables of the files, and the groups behind it give the index again. Two are kept; a segment goes only when the
//! older one has all that is in it, so one damaged checkpoint costs nothing.
//!
//! A checkpoint is whole or is not used: it is read through before its first row counts, here and when it was just
//! written, then past the page cache. Rows are opaque here.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use perennis_shared::time::Millis;

use crate::disk::{Disk, DiskFile, make_dir};
use crate::kv::{KvError, KvRow};
use crate::location::{FileNumber, StoreId};
use crate::log::Position;

mod format;
mod schedule;
#[cfg(test)]
mod tests;

pub(crate) use format::{Chunk, FormatError, Header, Summary};
use format::{Decoder, Encoder, Part};
pub(crate) use schedule::{HeldCheckpoints, Schedule};

/// Bytes that are written at once.
const WRITE_BYTES: usize = 256 << 10;
/// How many are kept.
const KEPT: usize = 2;
const EXTENSION: &str = ".ckpt";
const UNFINISHED: &str = ".ckpt.new";

/// Why a checkpoint was not written or cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckpointError {
    /// The file system's.
    #[error("the folder of checkpoints refuses")]
    Disk(#[from] io::Error),
    /// Its bytes.
    #[error("checkpoint {group:016x} cannot be used: {source}")]
    Format { group: u64, source: FormatError },
    /// It is another store's, or another group's than its name says.
    #[error("checkpoint {group:016x} belongs to something else")]
    Foreign { group: u64 },
    /// What the disk gives back is not what was written.
    #[error("checkpoint {group:016x} was not kept by the disk as it was written")]
    NotKept { group: u64 },
    /// The rows for it could not be read.
    #[error("the index could not be read for a checkpoint")]
    Index(#[from] KvError),
}

impl CheckpointError {
    /// Whether it was read and is not what was written.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Format { source, .. } => matches!(source, FormatError::Damaged { .. }),
            Self::Foreign { .. } | Self::NotKept { .. } => true,
            Self::Disk(_) | Self::Index(_) => false,
        }
    }
}

/// The folder of a store's checkpoints.
#[derive(Clone, Debug)]
pub(crate) struct Checkpoints {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    store: Option<StoreId>,
}

/// What stays after one was written.
#[derive(Debug)]
pub(crate) struct Kept {
    /// Bytes of the new file.
    pub(crate) file_bytes: u64,
    /// The group of the older of the two that are whole; none where there is only one. What the log holds up to it is
    /// in both.
    pub(crate) older: Option<u64>,
    /// Those that were found damaged, and removed.
    pub(crate) damaged: Vec<CheckpointError>,
}

impl Checkpoints {
    /// The checkpoints in the folder `dir` of the store with this id; where it is not known, those of any.
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: &Path, store: Option<StoreId>) -> Self {
        Self {
            disk,
            dir: dir.join(crate::layout::CHECKPOINTS),
            store,
        }
    }

    /// The groups of all that have a name, the newest first; whether they are whole is not looked at.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn groups(&self) -> io::Result<Vec<u64>> {
        let names = match self.disk.list(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            names => names?,
        };
        let mut groups: Vec<_> = names.iter().filter_map(|name| parse_name(name)).collect();
        groups.sort_unstable_by(|a, b| b.cmp(a));
        Ok(groups)
    }

    /// Opens one after all of it was read and found whole.
    ///
    /// # Errors
    /// It is damaged, foreign, or cannot be read.
    pub(crate) fn open(&self, group: u64) -> Result<Checkpoint, CheckpointError> {
        let file = self.disk.open(&self.path(group))?;
        let (header, summary) = read_through(file.as_ref()).map_err(failed(group))?;
        self.check_owner(group, &header)?;
        Ok(Checkpoint {
            file,
            header,
            summary,
        })
    }

    /// What the header of one says, and how many bytes it has. The rest is not read.
    ///
    /// # Errors
    /// It is damaged, foreign, or cannot be read.
    pub(crate) fn header(&self, group: u64) -> Result<(Header, u64), CheckpointError> {
        let file = self.disk.open(&self.path(group))?;
        let length = file.length()?;
        let (_, header) = decoder(file.as_ref()).map_err(failed(group))?;
        self.check_owner(group, &header)?;
        Ok((header, length))
    }

    /// The newest by its header: whether the rest of it is whole is not looked at.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub(crate) fn newest(&self) -> io::Result<Option<(Header, u64)>> {
        let headers = self.groups()?.into_iter();
        Ok(headers.filter_map(|group| self.header(group).ok()).next())
    }

    fn check_owner(&self, group: u64, header: &Header) -> Result<(), CheckpointError> {
        let is_ours = self.store.is_none_or(|store| store.0 == header.store);
        if header.group == group && is_ours {
            Ok(())
        } else {
            Err(CheckpointError::Foreign { group })
        }
    }

    /// The group up to which the log is in two that are whole; none where there are not two. Both are read.
    ///
    /// # Errors
    /// One cannot be read now.
    pub(crate) fn in_both(&self) -> Result<Option<u64>, CheckpointError> {
        let mut whole = 0;
        for group in self.groups()? {
            match self.open(group) {
                Ok(_) => whole += 1,
                Err(error) if error.is_damage() => {}
                Err(error) => return Err(error),
            }
            if whole == KEPT {
                return Ok(Some(group));
            }
        }
        Ok(None)
    }

    /// Writes one, durably, and removes those that are not needed any more. Rows come in the order of their keys.
    ///
    /// # Errors
    /// A row could not be read, the disk refuses, or does not give back what was written. What was there before stays.
    pub(crate) fn write(
        &self,
        header: Header,
        rows: impl Iterator<Item = Result<KvRow, KvError>>,
    ) -> Result<Kept, CheckpointError> {
        make_dir(self.disk.as_ref(), &self.dir)?;
        let path = self.dir.join(format!("{:016x}{UNFINISHED}", header.group));
        let written = self.write_file(&path, header, rows).inspect_err(|_| {
            // It has a name that nobody takes for a checkpoint; the next one removes it.
            let _ = self.disk.remove(&path);
        })?;
        self.disk.rename(&path, &self.path(header.group))?;
        self.disk.sync_dir(&self.dir)?;
        self.tidy(header.group, written)
    }

    fn write_file(
        &self,
        path: &Path,
        header: Header,
        rows: impl Iterator<Item = Result<KvRow, KvError>>,
    ) -> Result<u64, CheckpointError> {
        let group = header.group;
        let file = self.disk.create(path, 0)?;
        let mut offset = 0;
        let mut put = |bytes: &[u8]| -> io::Result<()> {
            file.write_at(bytes, offset)?;
            offset += bytes.len() as u64;
            Ok(())
        };
        let mut encoder = Encoder::new(header);
        for row in rows {
            let (key, value) = row?;
            encoder.push(&key, &value).map_err(failed(group))?;
            if encoder.made_bytes() >= WRITE_BYTES {
                put(&encoder.take())?;
            }
        }
        let (rest, summary) = encoder.finish();
        put(&rest)?;
        file.sync()?;
        file.forget_cache()?;
        match read_through(file.as_ref()) {
            Ok(found) if found == (header, summary) => Ok(offset),
            Ok(_) | Err(FormatError::Damaged { .. }) => Err(CheckpointError::NotKept { group }),
            Err(error) => Err(failed(group)(error)),
        }
    }

    /// Removes all but the new one and the newest whole one before it.
    fn tidy(&self, new: u64, file_bytes: u64) -> Result<Kept, CheckpointError> {
        let mut kept = Kept {
            file_bytes,
            older: None,
            damaged: Vec::new(),
        };
        let mut whole = 1;
        let mut surplus: Vec<PathBuf> = Vec::new();
        for group in self.groups()?.into_iter().filter(|group| *group != new) {
            if whole == KEPT {
                surplus.push(self.path(group));
                continue;
            }
            match self.open(group) {
                Ok(_) => {
                    whole += 1;
                    kept.older = Some(group);
                }
                // Somebody put it here; it is not ours to remove.
                Err(CheckpointError::Foreign { .. }) => {}
                Err(error) if error.is_damage() => {
                    surplus.push(self.path(group));
                    kept.damaged.push(error);
                }
                // That may pass: it is not counted and not removed.
                Err(_) => {}
            }
        }
        let names = self.disk.list(&self.dir)?;
        let unfinished = names.iter().filter(|name| name.ends_with(UNFINISHED));
        surplus.extend(unfinished.map(|name| self.dir.join(name)));
        if !surplus.is_empty() {
            for path in &surplus {
                self.disk.remove(path)?;
            }
            self.disk.sync_dir(&self.dir)?;
        }
        Ok(kept)
    }

    /// The file of the one of this group.
    pub(crate) fn path(&self, group: u64) -> PathBuf {
        self.dir.join(format!("{group:016x}{EXTENSION}"))
    }
}

/// One that was read and found whole.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    file: Arc<dyn DiskFile>,
    pub(crate) header: Header,
    pub(crate) summary: Summary,
}

impl Checkpoint {
    /// Its rows again, many at a time and in the order of their keys. All is checked once more: what was whole may have
    /// been damaged since, so nothing of it counts before the last was read without an error. Ends with the first.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = Result<Chunk, CheckpointError>> {
        let mut decoder = Some(decoder(self.file.as_ref()));
        std::iter::from_fn(move || {
            let next = match decoder.take()? {
                Ok((mut reading, header)) => reading.next_part().inspect(|_| {
                    decoder = Some(Ok((reading, header)));
                }),
                Err(error) => Err(error),
            };
            match next {
                Ok(Part::Chunk(chunk)) => Some(Ok(chunk)),
                Ok(Part::End(summary)) => {
                    decoder = None;
                    (summary != self.summary).then_some(Err(CheckpointError::NotKept {
                        group: self.header.group,
                    }))
                }
                Err(error) => Some(Err(failed(self.header.group)(error))),
            }
        })
    }
}

type FileDecoder<R> = Result<(Decoder<R>, Header), FormatError>;

fn decoder(file: &dyn DiskFile) -> FileDecoder<impl Fn(usize, u64) -> io::Result<Vec<u8>>> {
    let length = file.length()?;
    Decoder::new(|length, offset| file.read_vec_at(length, offset), length)
}

/// Reads a whole file and checks it.
fn read_through(file: &dyn DiskFile) -> Result<(Header, Summary), FormatError> {
    let (mut decoder, header) = decoder(file)?;
    loop {
        if let Part::End(summary) = decoder.next_part()? {
            return Ok((header, summary));
        }
    }
}

impl Header {
    /// Of a store, at a place of its log.
    pub(crate) fn new(store: StoreId, at: Position, written_at: Millis) -> Self {
        Self {
            store: store.0,
            group: at.group,
            file: at.file.0,
            offset: at.offset,
            written_at,
        }
    }

    /// How far the log is in it.
    pub(crate) fn position(&self) -> Position {
        Position {
            file: FileNumber(self.file),
            offset: self.offset,
            group: self.group,
        }
    }
}

fn failed(group: u64) -> impl Fn(FormatError) -> CheckpointError {
    move |source| CheckpointError::Format { group, source }
}

fn parse_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(EXTENSION)?;
    let group = u64::from_str_radix(digits, 16).ok()?;
    (format!("{group:016x}") == digits).then_some(group)
}
