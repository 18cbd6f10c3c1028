//! The folder of packs: what the store has of them, by their names.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::disk::{Disk, DiskFile};
use crate::layout::packs;

use super::{Footer, Footers, PackError, PackName};

/// Memory for footers that were read lately.
const FOOTER_BYTES: u64 = 8 << 20;

/// The packs of a store.
#[derive(Debug)]
pub(crate) struct Packs {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    footers: Footers,
    /// Of packs that are about to be taken into use: what is in memory cannot fail to be read.
    held: Mutex<Vec<(PackName, Arc<Footer>)>>,
}

impl Packs {
    /// The packs of the store in `dir`.
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: &Path) -> Self {
        Self {
            disk,
            dir: packs(dir),
            footers: Footers::new(FOOTER_BYTES),
            held: Mutex::default(),
        }
    }

    /// The folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The names of the packs that are there.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn names(&self) -> io::Result<Vec<PackName>> {
        let files = self.disk.list(&self.dir)?;
        Ok(files
            .iter()
            .filter_map(|file| PackName::parse(file))
            .collect())
    }

    /// Opens the file of a pack.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn open(&self, name: &PackName) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(&name.path(&self.dir))
    }

    /// What a pack says that it holds.
    ///
    /// # Errors
    /// It is not there, or damaged where it says what it holds.
    pub(crate) fn footer(&self, name: &PackName) -> Result<Arc<Footer>, PackError> {
        let held = self.held.lock();
        if let Some((_, footer)) = held.iter().find(|(held, _)| held == name) {
            return Ok(Arc::clone(footer));
        }
        drop(held);
        self.footers
            .footer(name, || Footer::read(self.open(name)?.as_ref()))
    }

    /// Keeps these footers at hand until they are let go.
    pub(crate) fn hold(&self, footers: Vec<(PackName, Arc<Footer>)>) -> HeldFooters<'_> {
        *self.held.lock() = footers;
        HeldFooters(self)
    }
}

/// Footers that are held. One compaction at a time holds any.
pub(crate) struct HeldFooters<'a>(&'a Packs);

impl Drop for HeldFooters<'_> {
    fn drop(&mut self) {
        self.0.held.lock().clear();
    }
}
