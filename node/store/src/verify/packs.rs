//! The packs: everything in them.

use std::io;

use super::{FindingKind, Verifier, VerifyStage, chain};
use crate::disk::{DiskFile, is_lost};
use crate::layout::packs;
use crate::pack::{PackError, PackName, verify};

impl Verifier<'_> {
    /// Reads every pack, also those that no row knows.
    pub(super) fn check_packs(&mut self) -> io::Result<()> {
        let dir = packs(self.dir);
        let names = match self.disk.list(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            names => names?,
        };
        let there: Vec<PackName> = names
            .iter()
            .filter_map(|name| PackName::parse(name))
            .collect();
        let known = self.files.iter();
        let known = known.filter(|(number, row)| self.is_in_use(**number, row));
        let known: Vec<PackName> = known.filter_map(|(_, row)| row.pack_name()).collect();
        for name in known.iter().filter(|name| !there.contains(name)) {
            let detail = "it is in use and not there".to_owned();
            self.found(FindingKind::MissingFile, name.file_name(), detail);
        }
        for (done, name) in there.iter().enumerate() {
            self.progress(VerifyStage::Packs, done, there.len());
            self.sum.files += 1;
            let file = self.disk.open(&name.path(&dir));
            match file
                .map_err(PackError::from)
                .and_then(|file| self.check_pack(file.as_ref(), *name))
            {
                Ok(()) => {}
                Err(PackError::Disk(error)) if !is_lost(&error) => {
                    self.found(FindingKind::Unreadable, name.file_name(), error.to_string());
                }
                Err(error) => self.found(FindingKind::Pack, name.file_name(), chain(&error)),
            }
        }
        self.progress(VerifyStage::Packs, there.len(), there.len());
        Ok(())
    }

    fn check_pack(&mut self, file: &dyn DiskFile, name: PackName) -> Result<(), PackError> {
        file.forget_cache()?;
        let pack = verify(file)?;
        self.sum.bodies += u64::from(pack.footer.len());
        let lengths = pack.footer.entries().map(|entry| u64::from(entry.length()));
        self.sum.body_bytes += lengths.sum::<u64>();
        if pack.name != name {
            return Err(PackError::Name {
                expected: name,
                found: pack.name,
            });
        }
        Ok(())
    }
}
