//! Writes a pack, and gives it its name only when all of it was found on the disk again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use blake3::Hasher;
use perennis_shared::limits::WIRE_BLOCK_BYTES;

use super::draft::Draft;
use super::frame::{HEADER_BYTES, Trailer, check_size, write_header};
use super::{
    CODECS, Footer, PACK_BYTES, PACK_ENTRIES, PackBlock, PackError, PackName, Partitions, Tag,
    verify,
};
use crate::disk::{Disk, DiskFile};
use crate::frame::{align, crc};

/// The name of a pack in the making.
const PARTIAL: &str = "new.pack.partial";
/// Bytes that are gathered for one write.
const WRITE_BYTES: usize = 1 << 20;

/// Whether a file in the folder of packs is what an end half-way left. Nobody who is not writing a pack needs it.
pub(crate) fn is_remains(file: &str) -> bool {
    file.ends_with(".partial")
}

/// A pack that is written, verified and durable under its name.
#[derive(Debug)]
pub(crate) struct NewPack {
    /// Its name.
    pub(crate) name: PackName,
    /// Bytes of its file.
    pub(crate) bytes: u64,
    /// Its footer.
    pub(crate) footer: Footer,
}

/// A pack in the making, one at a time in a folder. What is not finished is removed.
#[derive(Debug)]
pub(crate) struct PackWriter<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    file: Arc<dyn DiskFile>,
    range: Partitions,
    draft: Draft,
    last_tag: Tag,
    hasher: Hasher,
    /// Where the next body begins.
    offset: u64,
    /// Bytes of the file that are not written yet: those before `offset`.
    buffer: Vec<u8>,
    is_finished: bool,
}

impl<'a> PackWriter<'a> {
    /// Begins a pack of blocks in these partitions.
    ///
    /// # Errors
    /// The disk fails.
    pub(crate) fn create(
        disk: &'a dyn Disk,
        dir: &'a Path,
        range: Partitions,
    ) -> Result<Self, PackError> {
        Ok(Self {
            disk,
            dir,
            file: disk.create(&dir.join(PARTIAL), 0)?,
            range,
            draft: Draft::default(),
            last_tag: 0,
            hasher: Hasher::new(),
            offset: HEADER_BYTES as u64,
            buffer: write_header(range).to_vec(),
            is_finished: false,
        })
    }

    /// Adds the next block: of one of the partitions, its tag not below that of the one before, and not there yet.
    ///
    /// # Errors
    /// The pack has no room, the order is broken, or the disk fails.
    pub(crate) fn push(&mut self, block: PackBlock<'_>) -> Result<(), PackError> {
        let codecs = block.codecs;
        let broken = if !self.range.contains(block.tag) {
            Some("an entry is of another partition")
        } else if block.tag < self.last_tag {
            Some("entries are not sorted by tag")
        } else if codecs.is_empty() || codecs.len() > CODECS {
            Some("a block has 1 to 8 codecs")
        } else if (1..codecs.len()).any(|at| codecs[..at].contains(&codecs[at])) {
            Some("a block has a codec twice")
        } else if block.body.len() > WIRE_BLOCK_BYTES {
            Some("a block is above 2 MiB")
        } else if self.draft.len() == PACK_ENTRIES {
            Some("a pack has 1 to 65,536 entries")
        } else {
            None
        };
        if let Some(rule) = broken {
            return Err(PackError::Malformed {
                part: "bodies",
                offset: usize::try_from(self.offset).unwrap_or(usize::MAX),
                rule,
            });
        }
        let bytes = self.offset + block.body.len() as u64;
        if bytes > PACK_BYTES as u64 {
            return Err(PackError::Size { bytes });
        }
        let offset = u32::try_from(self.offset).expect("a pack has at most 16 MiB");
        self.draft.push(offset, block);
        self.last_tag = block.tag;
        self.buffer.extend_from_slice(block.body);
        let end = self.offset + block.body.len() as u64;
        self.offset = align(end);
        let padding = usize::try_from(self.offset - end).unwrap_or_default();
        self.buffer.resize(self.buffer.len() + padding, 0);
        if self.buffer.len() >= WRITE_BYTES {
            self.write()?;
        }
        Ok(())
    }

    /// Writes the footer, makes the file durable, reads it back from the disk and checks every block in it, and gives it its
    /// name. A pack with this name that is there already has the same bytes, or is damaged; either way it is replaced.
    ///
    /// # Errors
    /// What was read back is not what was written, or the disk fails.
    pub(crate) fn finish(mut self) -> Result<NewPack, PackError> {
        let entries = u32::try_from(self.draft.len()).expect("the count was checked");
        let footer_offset = self.offset;
        let mut footer = entries.to_le_bytes().to_vec();
        self.draft.finish(|_, entry| {
            footer.extend_from_slice(entry);
            Ok(())
        })?;
        let trailer = Trailer {
            footer_offset,
            footer_bytes: u32::try_from(footer.len()).unwrap_or(u32::MAX),
            entries,
            footer_sum: crc(&footer),
        };
        self.buffer.extend_from_slice(&footer);
        self.buffer.extend_from_slice(&trailer.to_bytes());
        let bytes = footer_offset + (footer.len() + trailer.to_bytes().len()) as u64;
        check_size(bytes)?;
        self.offset = bytes;
        self.write()?;
        self.file.sync()?;
        self.file.forget_cache()?;
        let name = PackName(*self.hasher.finalize().as_bytes());
        let found = verify(self.file.as_ref())?;
        if found.name != name {
            return Err(PackError::Name {
                expected: name,
                found: found.name,
            });
        }
        self.disk.rename(&self.partial(), &name.path(self.dir))?;
        self.is_finished = true;
        self.disk.sync_dir(self.dir)?;
        Ok(NewPack {
            name,
            bytes,
            footer: found.footer,
        })
    }

    fn write(&mut self) -> io::Result<()> {
        self.hasher.update(&self.buffer);
        self.file
            .write_at(&self.buffer, self.offset - self.buffer.len() as u64)?;
        self.buffer.clear();
        Ok(())
    }

    fn partial(&self) -> PathBuf {
        self.dir.join(PARTIAL)
    }
}

impl Drop for PackWriter<'_> {
    fn drop(&mut self) {
        if !self.is_finished {
            // What cannot be removed now is removed before the next is written.
            let _ = self.disk.remove(&self.partial());
        }
    }
}
