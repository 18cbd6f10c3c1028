//! The file system, with salts that are the same in each run.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::disk::{Disk, DiskFile, Real};

/// The file system, but that what nobody should foresee is counted: for the bytes of a store to be compared with known ones.
#[derive(Debug, Default)]
pub struct Seeded(AtomicU8);

impl Disk for Seeded {
    fn create(&self, path: &Path, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        Real.create(path, bytes)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Real.open(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        Real.list(dir)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        Real.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Real.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        Real.link(from, to)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        Real.create_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        Real.sync_dir(dir)
    }

    fn entropy(&self) -> io::Result<[u8; 16]> {
        Ok([self.0.fetch_add(1, Ordering::Relaxed); 16])
    }
}
