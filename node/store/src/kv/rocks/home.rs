//! The folder of an index in RocksDB, and the names that others have beside it.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::load::Load;
use super::{Rocks, has_tables};
use crate::kv::{IndexOptions, Kv, KvError, KvHome, KvLoad, WriteBehind};
use crate::layout::INDEX;

/// In the folder of an index that is not to be opened: why.
const MARK: &str = "DAMAGED";
/// Most of a mark that is read, in bytes.
const REASON_BYTES: u64 = 4096;

/// The index of the store in a folder: `index`, beside it for a while `index.new`, `index.old`, and others that are of no use
/// afterwards.
#[derive(Clone, Debug)]
pub struct RocksHome {
    dir: PathBuf,
    options: IndexOptions,
}

impl RocksHome {
    /// The index of the store in `dir`.
    #[must_use]
    pub fn new(dir: &Path, options: IndexOptions) -> Self {
        Self {
            dir: dir.to_path_buf(),
            options,
        }
    }

    fn index(&self) -> PathBuf {
        self.dir.join(INDEX)
    }

    fn new_index(&self) -> PathBuf {
        self.scratch("new")
    }

    fn old_index(&self) -> PathBuf {
        self.scratch("old")
    }

    fn scratch(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{INDEX}.{name}"))
    }
}

impl KvHome for RocksHome {
    fn open(&self) -> Result<Arc<dyn Kv>, KvError> {
        if let Some(reason) = read_mark(&self.index())? {
            return Err(KvError::Damaged { reason });
        }
        let is_new = !self.index().exists();
        let index = Rocks::open(&self.index(), &self.options)?;
        if is_new {
            // One that is not there is made anew from the log, so its name has to last as the log does.
            sync_dir(&self.dir)?;
        }
        // They take space and nothing else: another start tries again.
        let _ = remove(&self.new_index()).and_then(|()| remove(&self.old_index()));
        Ok(Arc::new(WriteBehind::new(Arc::new(index))?))
    }

    fn read(&self) -> Result<Option<Arc<dyn Kv>>, KvError> {
        // RocksDB makes the folder first, and this file last.
        if self.index().join("CURRENT").exists() || has_tables(&self.index())? {
            return self.open_to_read().map(Some);
        }
        Ok(None)
    }

    fn open_to_read(&self) -> Result<Arc<dyn Kv>, KvError> {
        match read_mark(&self.index())? {
            Some(reason) => Err(KvError::Damaged { reason }),
            None => Ok(Arc::new(Rocks::open_to_read(&self.index(), &self.options)?)),
        }
    }

    fn read_condemned(&self) -> Result<Option<Arc<dyn Kv>>, KvError> {
        if !self.index().join("CURRENT").exists() {
            return Ok(None);
        }
        let index = Rocks::open_to_read(&self.index(), &self.options)?;
        Ok(Some(Arc::new(index)))
    }

    fn condemn(&self, reason: &str) -> Result<(), KvError> {
        let dir = self.index();
        // A folder that is gone is as good as marked.
        if !dir.is_dir() {
            return Ok(());
        }
        let mut mark = File::create(dir.join(MARK))?;
        mark.write_all(&reason.as_bytes()[..reason.len().min(REASON_BYTES as usize)])?;
        mark.sync_all()?;
        Ok(sync_dir(&dir)?)
    }

    fn acquit(&self) -> Result<(), KvError> {
        Ok(remove(&self.index().join(MARK))?)
    }

    fn begin(&self) -> Result<Box<dyn KvLoad>, KvError> {
        remove(&self.new_index())?;
        Ok(Box::new(Load::begin(&self.new_index(), &self.options)?))
    }

    fn begin_scratch(&self, name: &str) -> Result<Box<dyn KvLoad>, KvError> {
        remove(&self.scratch(name))?;
        Ok(Box::new(Load::begin(&self.scratch(name), &self.options)?))
    }

    fn remove_scratch(&self, name: &str) -> Result<(), KvError> {
        Ok(remove(&self.scratch(name))?)
    }

    fn replace(&self) -> Result<(), KvError> {
        // A crash between the two leaves no index, which is made anew as a damaged one is.
        remove(&self.old_index())?;
        match fs::rename(self.index(), self.old_index()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        fs::rename(self.new_index(), self.index())?;
        sync_dir(&self.dir)?;
        remove(&self.old_index())?;
        Ok(sync_dir(&self.dir)?)
    }
}

fn read_mark(index: &Path) -> Result<Option<String>, KvError> {
    match File::open(index.join(MARK)) {
        Ok(mark) => {
            let mut reason = Vec::new();
            mark.take(REASON_BYTES).read_to_end(&mut reason)?;
            Ok(Some(String::from_utf8_lossy(&reason).into_owned()))
        }
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound => Ok(None),
            // Something else that is not a folder has its name.
            io::ErrorKind::NotADirectory => Ok(Some("it is not a folder".into())),
            _ => Err(error.into()),
        },
    }
}

/// Removes a folder, or what else has its name.
fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
