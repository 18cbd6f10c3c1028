//! The tokens of `http.tokens`, as the file has them now: it is looked at again when a token is shown, at most once a second.
//!
//! While it cannot be read it grants nothing: whom a line was taken from must not get on because another line is damaged.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use perennis_shared::error::chain;

use super::{TokenError, TokenFile};
use crate::scope::Scopes;

/// Largest file that is read, in bytes.
const FILE_BYTES: u64 = 1 << 20;

/// How long what was read counts without another look.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) struct NamedTokens {
    path: PathBuf,
    known: Mutex<Known>,
}

/// What was read, from which state of the file, and when that was looked at.
struct Known {
    tokens: TokenFile,
    stamp: Option<Stamp>,
    looked: Instant,
}

/// Tells one state of a file from another.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    seconds: i64,
    nanoseconds: i64,
}

impl NamedTokens {
    /// Reads the file, which has to be there and whole at first.
    pub(super) fn read(path: &Path) -> Result<NamedTokens, TokenError> {
        let stamp = stamp(path).map_err(|source| unread(path, source))?;
        let known = Known {
            tokens: read(path)?,
            stamp: Some(stamp),
            looked: Instant::now(),
        };
        Ok(NamedTokens {
            path: path.to_owned(),
            known: Mutex::new(known),
        })
    }

    /// What a token grants by the file as it is now.
    pub(super) fn scopes_of(&self, given: &[u8]) -> Option<Scopes> {
        self.scopes_at(given, Instant::now())
    }

    fn scopes_at(&self, given: &[u8], now: Instant) -> Option<Scopes> {
        let mut known = self.known.lock();
        if now.saturating_duration_since(known.looked) >= PAUSE {
            known.looked = now;
            let stamp = stamp(&self.path).ok();
            // Without one each look reads, and fails or finds the file back.
            if stamp.is_none() || stamp != known.stamp {
                known.read_again(&self.path, stamp);
            }
        }
        known.tokens.scopes_of(given)
    }
}

impl Known {
    fn read_again(&mut self, path: &Path, stamp: Option<Stamp>) {
        // Failing is told once, not each second.
        let was_there = self.stamp.is_some();
        self.stamp = stamp;
        match read(path) {
            Ok(tokens) => {
                let count = tokens.tokens().count();
                tracing::info!(file = %path.display(), count, "the tokens were read again");
                self.tokens = tokens;
            }
            Err(error) => {
                if was_there {
                    tracing::error!(error = %chain(&error), "no token of http.tokens grants anything until that is mended");
                }
                self.tokens = TokenFile::default();
            }
        }
    }
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let metadata = fs::metadata(path)?;
    Ok(Stamp {
        inode: metadata.ino(),
        bytes: metadata.len(),
        seconds: metadata.mtime(),
        nanoseconds: metadata.mtime_nsec(),
    })
}

fn read(path: &Path) -> Result<TokenFile, TokenError> {
    let failed = |source| unread(path, source);
    if fs::metadata(path).map_err(failed)?.len() > FILE_BYTES {
        return Err(failed(io::Error::from(io::ErrorKind::FileTooLarge)));
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    TokenFile::parse(&text).map_err(|source| TokenError::File {
        path: path.to_owned(),
        source,
    })
}

fn unread(path: &Path, source: io::Error) -> TokenError {
    TokenError::Io {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_changes_counts_as_it_is_and_a_damaged_one_grants_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        assert!(matches!(
            NamedTokens::read(&path),
            Err(TokenError::Io { .. })
        ));
        let write = |names: &[&str]| {
            let mut file = TokenFile::default();
            for name in names {
                let token = format!("the token of {name}");
                file.add(name, Scopes::all(), &token).unwrap();
            }
            fs::write(&path, file.to_string()).unwrap();
        };
        write(&["alice"]);
        let tokens = NamedTokens::read(&path).unwrap();
        let mut now = Instant::now();
        let mut has = |name: &str| {
            now += PAUSE;
            tokens
                .scopes_at(format!("the token of {name}").as_bytes(), now)
                .is_some()
        };
        assert!(has("alice") && !has("bob"));
        write(&["alice", "bob"]);
        assert!(has("alice") && has("bob"));
        write(&["bob"]);
        assert!(!has("alice") && has("bob"));
        fs::write(&path, "bob\n").unwrap();
        assert!(!has("bob"));
        write(&["alice", "bob"]);
        assert!(has("bob"));
        fs::remove_file(&path).unwrap();
        assert!(!has("bob"));
        write(&["alice"]);
        assert!(has("alice"));
    }

    #[test]
    fn a_file_that_is_damaged_at_the_start_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        fs::write(&path, "# mine\nnonsense\n").unwrap();
        let Err(TokenError::File { source, .. }) = NamedTokens::read(&path) else {
            panic!("it was taken");
        };
        assert!(source.to_string().starts_with("line 2 "), "{source}");
    }
}
