//! The file system, for looking only.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Disk, DiskFile, Real, WITHOUT_WAITING};

/// Files of the operating system that are opened for reading. Whatever would change something is refused.
#[derive(Clone, Copy, Debug, Default)]
pub struct LookOnly;

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Disk for LookOnly {
    fn create(&self, _: &Path, _: u64) -> io::Result<Arc<dyn DiskFile>> {
        refused()
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(WITHOUT_WAITING);
        Ok(Arc::new(LookFile(options.open(path)?, path.to_path_buf())))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        Real.list(dir)
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        refused()
    }

    fn link(&self, _: &Path, _: &Path) -> io::Result<()> {
        refused()
    }

    fn create_dir(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn entropy(&self) -> io::Result<[u8; 16]> {
        Real.entropy()
    }
}

#[derive(Debug)]
struct LookFile(File, PathBuf);

impl DiskFile for LookFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        refused()
    }

    fn sync(&self) -> io::Result<()> {
        refused()
    }

    fn forget_cache(&self) -> io::Result<()> {
        super::real::forget_cache(&self.0)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn has_name(&self) -> io::Result<bool> {
        super::real::has_name(&self.0, &self.1)
    }

    fn truncate(&self, _: u64) -> io::Result<()> {
        refused()
    }

    fn reserve(&self, _: u64) -> io::Result<()> {
        refused()
    }
}
