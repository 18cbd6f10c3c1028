//! The file system.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::buffer::spare_capacity;
use rustix::fs::{Advice, FallocateFlags, OFlags};

use super::{Disk, DiskFile};

/// Opens what is no file, such as a pipe that nobody writes to, without waiting for anybody. It changes nothing for files.
pub(crate) const WITHOUT_WAITING: i32 = OFlags::NONBLOCK.bits().cast_signed();

/// Files of the operating system. Those it makes are their owner's only from the moment they are there: blocks that are
/// not published, and rows about who uses the node, are nobody else's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Real;

impl Disk for Real {
    fn create(&self, path: &Path, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .custom_flags(WITHOUT_WAITING)
            .open(path)?;
        if bytes > 0 {
            reserve(&file, bytes).inspect_err(|_| {
                // An empty file that stays would be mistaken for one that was written to.
                let _ = fs::remove_file(path);
            })?;
        }
        Ok(Arc::new(RealFile(file, path.to_path_buf())))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(WITHOUT_WAITING);
        Ok(Arc::new(RealFile(options.open(path)?, path.to_path_buf())))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        fs::read_dir(dir)?
            .filter_map(|entry| match entry {
                Err(error) => Some(Err(error)),
                Ok(entry) => match entry.file_type() {
                    Err(error) => Some(Err(error)),
                    // One that was moved to another disk and linked is there.
                    Ok(kind) if kind.is_file() || (kind.is_symlink() && entry.path().is_file()) => {
                        entry.file_name().into_string().ok().map(Ok)
                    }
                    Ok(_) => None,
                },
            })
            .collect()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn entropy(&self) -> io::Result<[u8; 16]> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        Ok(bytes)
    }
}

/// Takes the space now, so that a sync need not write the file's length. A file system without that call keeps
/// the promise by writing zeros.
fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
            let zeros = vec![0; 1 << 16];
            let mut offset = file.metadata()?.len();
            while offset < bytes {
                let length = zeros
                    .len()
                    .min(usize::try_from(bytes - offset).unwrap_or(usize::MAX));
                file.write_all_at(&zeros[..length], offset)?;
                offset += length as u64;
            }
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) fn forget_cache(file: &File) -> io::Result<()> {
    match rustix::fs::fadvise(file, 0, None, Advice::DontNeed) {
        // It is advice: who cannot take it says one of these, or nothing.
        Ok(()) | Err(rustix::io::Errno::NOSYS | rustix::io::Errno::INVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether this file is the one under a name.
pub(super) fn has_name(file: &File, path: &Path) -> io::Result<bool> {
    let held = file.metadata()?;
    match fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (held.dev(), held.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        // It cannot be told now.
        Err(_) => Ok(true),
    }
}

#[derive(Debug)]
struct RealFile(File, PathBuf);

impl DiskFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    /// Without filling the memory with zeros before.
    fn read_vec_at(&self, length: usize, offset: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let at = offset + bytes.len() as u64;
            match rustix::io::pread(&self.0, spare_capacity(&mut bytes), at) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // The allocator may have given more room than was asked for.
        bytes.truncate(length);
        Ok(bytes)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn forget_cache(&self) -> io::Result<()> {
        forget_cache(&self.0)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn has_name(&self) -> io::Result<bool> {
        has_name(&self.0, &self.1)
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn reserve(&self, bytes: u64) -> io::Result<()> {
        reserve(&self.0, bytes)
    }
}
