//! Space that is set aside: a file that is given up when the disk is full, so that garbage collection, a start and a migration
//! can write the little that they need to go on.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::Disk;
use crate::layout::RESERVE;

/// A file that is given up when the disk is full, so that garbage collection can write.
#[derive(Debug)]
pub(crate) struct Reserve {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) bytes: u64,
}

impl Reserve {
    fn path(&self) -> PathBuf {
        self.dir.join(RESERVE)
    }

    /// Takes the space unless it is taken.
    pub(crate) fn take(&self) -> io::Result<()> {
        if let Ok(file) = self.disk.open(&self.path())
            && file.length()? >= self.bytes
        {
            return Ok(());
        }
        self.disk.create(&self.path(), self.bytes).map(drop)
    }

    pub(crate) fn release(&self) {
        // Where it cannot be removed there is nothing to be gained either.
        let _ = self
            .disk
            .remove(&self.path())
            .and_then(|()| self.disk.sync_dir(&self.dir));
    }
}
