//! The user's directory: public facts of the identity, the nodes used so far, the sealed key if one was
//! saved, and the store of the list. It never holds a passphrase or an unsealed key.
//!
//! ```text
//! identity.json   public facts
//! nodes.json      nodes that stored a publish, newest first
//! key.sealed      sealed key (only after `id new --save`)
//! store.redb      blocks, heads, outbox
//! lock            held by the one process that works in this home
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use perennis_rt::files;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::failure::{Failure, file_failure};
use super::files::{Existing, write_atomically};
use super::output::Output;

/// The node that is asked when neither the command line nor the home names one.
pub(crate) const DEFAULT_NODE: &str = "http://127.0.0.1:4780";

/// The file of the store.
pub(crate) const STORE: &str = "store.redb";

/// The file that is locked by who works in a home.
const LOCK: &str = "lock";

/// Nodes that are remembered at most.
const NODES: usize = 16;

/// Largest settings file that is read, in bytes.
const SETTINGS_BYTES: u64 = 64 * 1024;

/// Newest format of the files in a home this version reads and writes.
const FORMAT: u32 = 1;

/// A home directory; nothing is created before something is written.
#[derive(Debug)]
pub(crate) struct Home {
    dir: PathBuf,
}

/// Public facts of the home's identity.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct KnownIdentity {
    pub(crate) format: u32,
    pub(crate) profile: String,
    pub(crate) account: String,
    pub(crate) did: String,
    pub(crate) did_key: String,
    pub(crate) ipns_name: String,
    pub(crate) created: String,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct KnownNodes {
    format: u32,
    nodes: Vec<String>,
}

/// Held while a process works in a home; released by the system when it ends, however it ends.
#[derive(Debug)]
pub(crate) struct HomeLock {
    _file: File,
}

impl Home {
    /// The directory named by `--home` or `PERENNIS_HOME`, else `.perennis` in the user's own.
    pub(crate) fn locate(given: Option<&Path>) -> Result<Self, Failure> {
        let dir = match given {
            Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
            _ => std::env::home_dir()
                .filter(|dir| dir.is_absolute())
                .map(|dir| dir.join(".perennis"))
                .ok_or_else(|| {
                    Failure::usage("this user has no home directory")
                        .hint("give --home DIR or set PERENNIS_HOME")
                })?,
        };
        Ok(Self { dir })
    }

    /// The directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn store_path(&self) -> PathBuf {
        self.dir.join(STORE)
    }

    /// The folder of the tokens of nodes.
    pub(crate) fn tokens_path(&self) -> PathBuf {
        self.dir.join("tokens")
    }

    pub(crate) fn sealed_key_path(&self) -> PathBuf {
        self.dir.join("key.sealed")
    }

    /// Creates the directory if need be, for its owner only.
    pub(crate) fn create(&self) -> Result<(), Failure> {
        self.create_dir()
            .map_err(|error| file_failure("create the home directory", &self.dir, &error))
    }

    fn create_dir(&self) -> io::Result<()> {
        files::create_private_folder(&self.dir)
    }

    /// Waits until no other process works in this home.
    pub(crate) fn lock(&self, output: &Output) -> Result<HomeLock, Failure> {
        self.create()?;
        let path = self.dir.join(LOCK);
        let failure = |error: &std::io::Error| file_failure("lock the home with", &path, error);
        let file = files::open_private_file(&path).map_err(|error| failure(&error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                output.remark(format!(
                    "waiting for another perennis that works in {}",
                    self.dir.display()
                ));
                file.lock().map_err(|error| failure(&error))?;
            }
            Err(TryLockError::Error(error)) => return Err(failure(&error)),
        }
        Ok(HomeLock { _file: file })
    }

    /// Whether commands can write here. A home that is not there yet is made where its folder may be.
    pub(crate) fn is_writable(&self) -> bool {
        let is_refused = |error: &io::Error| {
            use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
            matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem)
        };
        let may_write = |file: &str| {
            let opened = OpenOptions::new().write(true).open(self.dir.join(file));
            opened.map(drop)
        };
        let tried = match fs::metadata(&self.dir) {
            // Other causes are told by the command that meets them.
            Err(_) => self.create_dir(),
            Ok(_) => [LOCK, STORE].into_iter().try_for_each(|file| {
                match may_write(file) {
                    // It is to be made, so the folder has to take files.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        tempfile::tempfile_in(&self.dir).map(drop)
                    }
                    tried => tried,
                }
            }),
        };
        !tried.is_err_and(|error| is_refused(&error))
    }

    /// Copies the store to a folder that goes with what this gives, for a command that only reads a home that cannot be written to. No
    /// other process works in the home meanwhile, where that can be found out.
    pub(crate) fn copy_store(&self, output: &Output) -> Result<TempDir, Failure> {
        let folder = tempfile::tempdir().map_err(|error| {
            file_failure(
                "make a folder to work in under",
                &std::env::temp_dir(),
                &error,
            )
        })?;
        let _locked = self.lock_shared(output);
        let from = self.store_path();
        let failed = |error: &io::Error| file_failure("read", &from, error);
        let mut source = match File::open(&from) {
            Ok(source) => source,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(folder),
            Err(error) => return Err(failed(&error)),
        };
        let to = folder.path().join(STORE);
        let copied =
            files::open_private_file(&to).and_then(|mut copy| io::copy(&mut source, &mut copy));
        copied.map_err(|error| failed(&error))?;
        Ok(folder)
    }

    /// Waits until nobody works in this home, as far as this user can find that out.
    fn lock_shared(&self, output: &Output) -> Option<HomeLock> {
        let file = File::open(self.dir.join(LOCK)).ok()?;
        if let Err(TryLockError::WouldBlock) = file.try_lock_shared() {
            let dir = self.dir.display();
            output.remark(format!("waiting for another perennis that works in {dir}"));
            file.lock_shared().ok()?;
        }
        Some(HomeLock { _file: file })
    }

    /// Takes away a home that was made for a command which came to nothing: its empty store and its lock, and the folder
    /// where nothing else is in it.
    pub(crate) fn remove_unused(&self) {
        for file in [self.store_path(), self.dir.join(LOCK)] {
            let _ = std::fs::remove_file(file);
        }
        let _ = std::fs::remove_dir(&self.dir);
    }

    /// The identity of this home, if it has one.
    pub(crate) fn identity(&self) -> Result<Option<KnownIdentity>, Failure> {
        self.read_settings("identity.json")
    }

    /// The identity of this home, or the failure that says how to get one.
    pub(crate) fn expect_identity(&self) -> Result<KnownIdentity, Failure> {
        self.identity()?.ok_or_else(|| {
            Failure::not_found(
                "no_identity",
                format!("{} holds no identity", self.dir.display()),
            )
            .hint("make one with `perennis id new`, or bring yours back with `perennis restore`")
        })
    }

    pub(crate) fn set_identity(&self, identity: &KnownIdentity) -> Result<(), Failure> {
        self.write_settings("identity.json", identity)
    }

    /// The nodes used so far, newest first.
    pub(crate) fn nodes(&self) -> Result<Vec<String>, Failure> {
        let known: Option<KnownNodes> = self.read_settings("nodes.json")?;
        Ok(known.map(|known| known.nodes).unwrap_or_default())
    }

    /// Puts `used` in front of the nodes used so far.
    pub(crate) fn remember_nodes(&self, used: &[String]) -> Result<(), Failure> {
        let before = self.nodes()?;
        let mut nodes: Vec<String> = used.to_vec();
        nodes.extend(before.iter().cloned());
        let mut seen = std::collections::BTreeSet::new();
        nodes.retain(|url| seen.insert(url.clone()));
        nodes.truncate(NODES);
        if nodes == before {
            return Ok(());
        }
        self.write_settings(
            "nodes.json",
            &KnownNodes {
                format: FORMAT,
                nodes,
            },
        )
    }

    fn read_settings<T: for<'de> Deserialize<'de>>(
        &self,
        file: &str,
    ) -> Result<Option<T>, Failure> {
        let path = self.dir.join(file);
        let bytes = match super::files::read_bounded(&path, SETTINGS_BYTES) {
            Ok(bytes) => bytes,
            Err(failure) if failure.code == "file_not_found" => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let damaged = |cause: String| {
            Failure::invalid(
                "home_damaged",
                format!("{} cannot be understood: {cause}", path.display()),
            )
        };
        // The format is looked at first: a newer one may hold fields this version does not know.
        let newest = serde_json::from_slice::<FormatOnly>(&bytes)
            .map_err(|error| {
                damaged(error.to_string()).hint(
                    "restore that file, or move the directory away and run `perennis restore`",
                )
            })?
            .format;
        if newest > FORMAT {
            return Err(Failure::invalid(
                "newer_format",
                format!(
                    "{} was written by a newer perennis (format {newest}, this one reads {FORMAT})",
                    path.display()
                ),
            )
            .hint("install that version; nothing was changed"));
        }
        let settings: T = serde_json::from_slice(&bytes).map_err(|error| {
            damaged(error.to_string())
                .hint("restore that file, or move the directory away and run `perennis restore`")
        })?;
        Ok(Some(settings))
    }

    fn write_settings<T: Serialize>(&self, file: &str, settings: &T) -> Result<(), Failure> {
        self.create()?;
        let mut bytes = serde_json::to_vec_pretty(settings)
            .map_err(|error| Failure::failed("output", "cannot write settings").because(&error))?;
        bytes.push(b'\n');
        write_atomically(&self.dir.join(file), &bytes, Existing::Replace, true)
    }
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

impl KnownIdentity {
    pub(crate) const FORMAT: u32 = FORMAT;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(&dir.path().join("home"))).unwrap();
        (dir, home)
    }

    #[test]
    fn nodes_are_remembered_newest_first_and_once() {
        let (_dir, home) = home();
        assert!(home.nodes().unwrap().is_empty());
        home.remember_nodes(&["http://a".into(), "http://b".into()])
            .unwrap();
        home.remember_nodes(&["http://b".into()]).unwrap();
        assert_eq!(home.nodes().unwrap(), ["http://b", "http://a"]);
        let many: Vec<String> = (0..40).map(|n| format!("http://{n}")).collect();
        home.remember_nodes(&many).unwrap();
        assert_eq!(home.nodes().unwrap().len(), NODES);
    }

    #[test]
    fn reading_creates_nothing() {
        let (_dir, home) = home();
        assert!(home.identity().unwrap().is_none());
        assert_eq!(home.expect_identity().unwrap_err().code, "no_identity");
        assert!(!home.dir.exists());
    }

    #[test]
    fn a_damaged_or_newer_file_is_named_and_left_alone() {
        let (_dir, home) = home();
        home.create().unwrap();
        let path = home.dir.join("nodes.json");
        fs::write(&path, b"{\"format\":1,").unwrap();
        let damaged = home.nodes().unwrap_err();
        assert_eq!(damaged.code, "home_damaged");
        assert!(damaged.message.contains("nodes.json"));
        fs::write(&path, b"{\"format\":2,\"nodes\":[],\"colour\":1}").unwrap();
        assert_eq!(home.nodes().unwrap_err().code, "newer_format");
        assert_eq!(
            home.remember_nodes(&["http://a".into()]).unwrap_err().code,
            "newer_format"
        );
        assert!(fs::read(&path).unwrap().starts_with(b"{\"format\":2"));
    }
}
