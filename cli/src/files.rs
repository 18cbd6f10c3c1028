//! Files the command line reads and writes: bounded reads, atomic writes.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use perennis_rt::files;

use super::failure::{Failure, file_failure};
use super::umask::create_named;

/// Reads a whole file, or stdin for `-`, up to `max_bytes`.
pub(crate) fn read_bounded(path: &Path, max_bytes: u64) -> Result<Vec<u8>, Failure> {
    let bytes = read_start(path, max_bytes.saturating_add(1))?;
    if bytes.len() as u64 > max_bytes {
        return Err(Failure::invalid(
            "too_large",
            format!(
                "{} holds more than {max_bytes} bytes, the most that is read here",
                name_of(path)
            ),
        )
        .hint("check that this is the right file"));
    }
    Ok(bytes)
}

/// Reads at most the first `max_bytes` of a file, or of stdin for `-`.
pub(crate) fn read_start(path: &Path, max_bytes: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let mut source = open(path)?.take(max_bytes);
    match source.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(file_failure("read", path, &error)),
    }
}

/// Opens a file, or stdin for `-`, for reading piece by piece.
pub(crate) fn open(path: &Path) -> Result<Box<dyn Read + Send>, Failure> {
    if is_dash(path) {
        return Ok(Box::new(io::stdin()));
    }
    match File::open(path) {
        Ok(file) => Ok(Box::new(file)),
        Err(error) => Err(file_failure("read", path, &error)),
    }
}

/// How an existing file is treated by [`write_atomically`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Existing {
    /// It is replaced.
    Replace,
    /// It stays, and the write is refused.
    Keep,
}

impl Existing {
    /// What `--force` says about a file; stdout (`-`) is never one that is there.
    ///
    /// # Errors
    /// The file is there, and nobody said that it may be written over.
    pub(crate) fn unless_forced(path: &Path, force: bool) -> Result<Self, Failure> {
        if force {
            return Ok(Self::Replace);
        }
        if !is_dash(path) && path.symlink_metadata().is_ok() {
            let there = io::ErrorKind::AlreadyExists.into();
            let failure = file_failure("write", path, &there);
            return Err(match path.is_dir() {
                true => failure,
                false => Failure::invalid(
                    "file_exists",
                    format!("{} is there already", path.display()),
                )
                .hint("name another file, or write over this one with --force"),
            });
        }
        Ok(Self::Keep)
    }
}

/// Writes a file so that it is either complete and durable or not there: a temporary file beside it,
/// synced, then renamed, then the directory synced. `private` makes it readable by its owner only; otherwise it is as open
/// as the person's umask makes it.
pub(crate) fn write_atomically(
    path: &Path,
    bytes: &[u8],
    existing: Existing,
    private: bool,
) -> Result<(), Failure> {
    try_write(path, bytes, existing, private).map_err(|error| file_failure("write", path, &error))
}

/// A file in the making beside its place; it takes the place only when it is whole and durable. Or stdout, which takes what
/// comes.
pub(crate) struct Target<'a> {
    path: &'a Path,
    file: Option<(PathBuf, File)>,
    bytes: u64,
}

impl<'a> Target<'a> {
    /// A file, or stdout for `-`.
    pub(crate) fn create(path: &'a Path) -> Result<Self, Failure> {
        match is_dash(path) {
            true => Ok(Self {
                path,
                file: None,
                bytes: 0,
            }),
            false => Self::file(path),
        }
    }

    /// A file of this name, whatever it is.
    pub(crate) fn file(path: &'a Path) -> Result<Self, Failure> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(format!(".{}.tmp", std::process::id()));
        let temporary = PathBuf::from(temporary);
        let file = create_named(&temporary).map_err(|error| file_failure("write", path, &error))?;
        Ok(Self {
            path,
            file: Some((temporary, file)),
            bytes: 0,
        })
    }

    /// Adds bytes at its end.
    pub(crate) fn write(&mut self, chunk: &[u8]) -> Result<(), Failure> {
        self.bytes += chunk.len() as u64;
        let written = match &mut self.file {
            Some((_, file)) => file.write_all(chunk),
            None => unless_closed(io::stdout().lock().write_all(chunk)),
        };
        written.map_err(|error| file_failure("write", self.path, &error))
    }

    /// Nothing follows. Tells how many bytes it has.
    pub(crate) fn finish(mut self) -> Result<u64, Failure> {
        let finished = match self.file.take() {
            Some((temporary, file)) => {
                let finished = put_in_place(&temporary, &file, self.path);
                if finished.is_err() {
                    let _ = fs::remove_file(&temporary);
                }
                finished
            }
            None => unless_closed(io::stdout().lock().flush()),
        };
        finished.map_err(|error| file_failure("write", self.path, &error))?;
        Ok(self.bytes)
    }
}

impl Drop for Target<'_> {
    fn drop(&mut self) {
        if let Some((temporary, _)) = &self.file {
            let _ = fs::remove_file(temporary);
        }
    }
}

/// A reader that closes the pipe early is no error.
fn unless_closed(written: io::Result<()>) -> io::Result<()> {
    written.or_else(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(error),
    })
}

fn put_in_place(temporary: &Path, file: &File, path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    file.sync_all()?;
    fs::rename(temporary, path)?;
    File::open(parent)?.sync_all()
}

fn try_write(path: &Path, bytes: &[u8], existing: Existing, private: bool) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if existing == Existing::Keep && path.symlink_metadata().is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let written = (|| {
        let mut file = if private {
            // Made anew: a file that somebody else has put there would let them read what comes.
            match fs::remove_file(&temporary) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut options = File::options();
            files::private(options.write(true).create_new(true)).open(&temporary)?
        } else {
            create_named(&temporary)?
        };
        file.write_all(bytes)?;
        file.sync_all()?;
        match existing {
            Existing::Replace => fs::rename(&temporary, path)?,
            // A hard link refuses to replace a file that came into being meanwhile.
            Existing::Keep => {
                fs::hard_link(&temporary, path).or_else(|error| match error.kind() {
                    io::ErrorKind::AlreadyExists => Err(error),
                    _ => fs::rename(&temporary, path),
                })?;
            }
        }
        File::open(parent)?.sync_all()
    })();
    if written.is_err() || existing == Existing::Keep {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Whether a path means stdin or stdout.
pub(crate) fn is_dash(path: &Path) -> bool {
    path == Path::new("-")
}

/// A path for people.
pub(crate) fn name_of(path: &Path) -> String {
    if is_dash(path) {
        "stdin".to_owned()
    } else {
        path.display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_or_kept_as_asked_and_no_temporary_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        write_atomically(&path, b"one", Existing::Keep, true).unwrap();
        let kept = write_atomically(&path, b"two", Existing::Keep, true).unwrap_err();
        assert_eq!(kept.code, "file_exists");
        assert_eq!(fs::read(&path).unwrap(), b"one");
        write_atomically(&path, b"three", Existing::Replace, true).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"three");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_private_file_is_its_owners_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        write_atomically(&path, b"one", Existing::Replace, true).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn a_file_above_the_bound_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        fs::write(&path, [0; 11]).unwrap();
        assert_eq!(read_bounded(&path, 10).unwrap_err().code, "too_large");
        assert_eq!(read_bounded(&path, 11).unwrap().len(), 11);
    }
}
