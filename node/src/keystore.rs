//! The node's own key: made once, sealed on disk, used to sign receipts. The key of the canary name follows from it.
//!
//! Owns two files in the data directory: `node.key`, a sealed key file ([`perennis_shared::keywrap`]), and, when the
//! operator names no passphrase file, `node.passphrase`, readable by the node's user only. A passphrase beside the
//! key protects backups of the key file alone, so `node doctor` warns about it.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use perennis_net::Keypair;
use perennis_net::config::identity_of;
use perennis_rt::{self as rt, files};
use perennis_shared::did::Did;
use perennis_shared::error::{ErrorKind, Retryable};
use perennis_shared::kdf::{self, Cost};
use perennis_shared::keywrap::{self, OpenError, SALT_BYTES, SEED_BYTES, SealError};
use perennis_shared::sign::SigningKey;
use zeroize::Zeroizing;

use crate::data_folder::{has_stored, key_file};

const PASSPHRASE_FILE: &str = "node.passphrase";

/// The label of the seed in the key file.
const LABEL: &str = "node";

/// How the key of the canary name follows from the seed (HKDF-SHA-256): salt and purpose.
const CANARY: (&[u8], &[u8]) = (b"perennis/node/v1", b"ipns/canary");

/// Largest passphrase file that is read, in bytes.
const PASSPHRASE_FILE_BYTES: u64 = 4_096;

/// The node's key.
pub struct Keystore {
    key: SigningKey,
    did: String,
    /// The same key as a peer of libp2p. Its signatures are over prefixes of libp2p's own, ours over ours.
    identity: Keypair,
    canary: SigningKey,
}

impl Keystore {
    /// Opens the node's key, or makes one when there is none. Stretching the passphrase takes some tenths of a second.
    pub(crate) fn open(
        directory: &Path,
        passphrase_file: Option<&Path>,
    ) -> Result<Keystore, KeystoreError> {
        let file = key_file(directory);
        let sealed = match fs::read(&file) {
            Ok(sealed) => Some(sealed),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(KeystoreError::Io { path: file, source }),
        };
        let passphrase = passphrase(directory, passphrase_file, sealed.is_some())?;
        let seed = match sealed {
            Some(sealed) => {
                let seeds = keywrap::open(&sealed, &passphrase).map_err(|source| {
                    KeystoreError::Sealed {
                        path: file.clone(),
                        source,
                    }
                })?;
                let seed = seeds
                    .get(LABEL)
                    .ok_or(KeystoreError::NoNodeKey { path: file })?;
                Zeroizing::new(*seed)
            }
            None => make(&file, &passphrase)?,
        };
        let key = SigningKey::from_seed(&seed).with_engine(rt::sign_engine);
        Ok(Keystore {
            did: Did::from_key(&key.public()).to_string(),
            key,
            identity: identity_of(&seed),
            canary: canary_of(&seed),
        })
    }

    /// The key as a peer of libp2p.
    pub(crate) fn identity(&self) -> Keypair {
        self.identity.clone()
    }

    /// Opens the node's key and makes nothing; none when there is none yet.
    ///
    /// # Errors
    /// As a start would fail with: the file or its passphrase cannot be read, or do not fit.
    pub fn inspect(
        directory: &Path,
        passphrase_file: Option<&Path>,
    ) -> Result<Option<Keystore>, KeystoreError> {
        if !key_file(directory).exists() {
            return Ok(None);
        }
        // With a key there, opening it makes no other and no passphrase.
        Keystore::open(directory, passphrase_file).map(Some)
    }

    /// The key.
    pub(crate) fn key(&self) -> &SigningKey {
        &self.key
    }

    /// The key of the name that the latency probe publishes. It signs nothing else.
    pub(crate) fn canary(&self) -> &SigningKey {
        &self.canary
    }

    /// The `did:key` of the key: the node's name in receipts.
    #[must_use]
    pub fn did(&self) -> &str {
        &self.did
    }
}

/// What shows that the folder was in use before, where the node's key is not there; none where it is, or nothing shows that. A new
/// key makes the node another peer, so this has to be asked before the store is opened, which writes.
pub fn lost_key(directory: &Path) -> Option<&'static str> {
    if key_file(directory).exists() {
        None
    } else if directory.join(PASSPHRASE_FILE).exists() {
        Some("its passphrase is there")
    } else if has_stored(directory) {
        Some("there is a store with data")
    } else {
        None
    }
}

fn canary_of(seed: &[u8; SEED_BYTES]) -> SigningKey {
    let (salt, purpose) = CANARY;
    SigningKey::from_seed(&kdf::expand(seed, salt, purpose))
}

fn make(file: &Path, passphrase: &str) -> Result<Zeroizing<[u8; SEED_BYTES]>, KeystoreError> {
    let seed = Zeroizing::new(rt::random::<SEED_BYTES>()?);
    let salt = rt::random::<SALT_BYTES>()?;
    // A file of the node's own random passphrase needs no long stretching; start-up counts.
    let sealed = keywrap::seal(&[(LABEL, &seed)], passphrase, &salt, Cost::V1)?;
    write_new(file, &sealed)?;
    Ok(seed)
}

fn passphrase(
    directory: &Path,
    named: Option<&Path>,
    key_exists: bool,
) -> Result<Zeroizing<String>, KeystoreError> {
    let own = directory.join(PASSPHRASE_FILE);
    let path = named.unwrap_or(&own);
    match read_passphrase(path) {
        Ok(passphrase) => Ok(passphrase),
        Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() && !key_exists => {
            let random = Zeroizing::new(rt::random::<32>()?);
            let mut text = Zeroizing::new(String::with_capacity(64));
            for byte in random.iter() {
                text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
                text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
            }
            write_new(&own, text.as_bytes())?;
            Ok(text)
        }
        Err(source) => Err(KeystoreError::Passphrase {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Reads a passphrase; one line end is not part of it.
fn read_passphrase(path: &Path) -> io::Result<Zeroizing<String>> {
    if fs::metadata(path)?.len() > PASSPHRASE_FILE_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the file is too large for a passphrase",
        ));
    }
    let text = Zeroizing::new(fs::read_to_string(path)?);
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    Ok(Zeroizing::new(line.to_owned()))
}

/// Writes a file that only its owner can read, whole or not at all.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), KeystoreError> {
    let failed = |source| KeystoreError::Io {
        path: path.to_owned(),
        source,
    };
    let temporary = path.with_extension("new");
    let write = || -> io::Result<()> {
        // One that a crash left may be open to others.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = fs::OpenOptions::new();
        let mut file = files::private(options.write(true).create_new(true)).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        let directory = path.parent().unwrap_or(Path::new("."));
        fs::File::open(directory)?.sync_all()
    };
    write().map_err(failed)
}

/// Why the node's key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeystoreError {
    /// A file could not be read or written.
    #[error("{} cannot be read or written", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system reported.
        source: io::Error,
    },
    /// The file with the passphrase could not be read.
    #[error("the passphrase of the node's key cannot be read from {}", path.display())]
    Passphrase {
        /// The file.
        path: PathBuf,
        /// What the system reported.
        source: io::Error,
    },
    /// The key file is damaged, newer, or sealed under another passphrase.
    #[error("{} cannot be opened", path.display())]
    Sealed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: OpenError,
    },
    /// The key file holds no node key.
    #[error("{} holds no node key", path.display())]
    NoNodeKey {
        /// The file.
        path: PathBuf,
    },
    /// A new key could not be sealed.
    #[error("the node's key cannot be sealed")]
    Seal(#[from] SealError),
    /// There is no randomness.
    #[error("no key can be made")]
    Random(#[from] rt::RandomError),
}

impl Retryable for KeystoreError {
    /// Fatal, whatever it is: a key that does not open, damaged or not, is had again from nowhere but a person's backup.
    fn kind(&self) -> ErrorKind {
        match self {
            KeystoreError::Io { .. }
            | KeystoreError::Passphrase { .. }
            | KeystoreError::Sealed { .. }
            | KeystoreError::NoNodeKey { .. }
            | KeystoreError::Seal(_)
            | KeystoreError::Random(_) => ErrorKind::Fatal,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::data_folder::KEY_FILE;
    use perennis_shared::ipns::Name;

    /// Made with the HKDF and Ed25519 of Python's `cryptography` 48.
    #[test]
    fn the_canary_follows_from_the_seed_and_is_another_key() {
        let seed = [7; SEED_BYTES];
        let name = Name::from_public_key(&canary_of(&seed).public());
        assert_eq!(
            name.to_string(),
            "k51qzi5uqu5dm6wclrboj40lmriuwn98bmn1b0c7t2rkhhw397ttirwcfpo9o9"
        );
        let own = Name::from_public_key(&SigningKey::from_seed(&seed).public());
        assert_ne!(name, own);
    }

    #[test]
    fn every_failure_has_its_kind() {
        let path = || PathBuf::from("/data/node.key");
        let io = || io::Error::other("no luck");
        let sealed = KeystoreError::Sealed {
            path: path(),
            source: OpenError::Damaged,
        };
        let io_failed = KeystoreError::Io {
            path: path(),
            source: io(),
        };
        let unread = KeystoreError::Passphrase {
            path: path(),
            source: io(),
        };
        let no_passphrase = keywrap::seal(&[(LABEL, &[1; 32])], "", &[2; SALT_BYTES], Cost::V1);
        for (error, kind) in [
            (io_failed, ErrorKind::Fatal),
            (unread, ErrorKind::Fatal),
            (sealed, ErrorKind::Fatal),
            (KeystoreError::NoNodeKey { path: path() }, ErrorKind::Fatal),
            (no_passphrase.unwrap_err().into(), ErrorKind::Fatal),
        ] {
            assert_eq!(error.kind(), kind, "{error}");
        }
    }

    #[test]
    fn the_key_is_made_once_and_readable_by_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let first = Keystore::open(dir.path(), None).unwrap();
        let second = Keystore::open(dir.path(), None).unwrap();
        assert_eq!(first.did(), second.did());
        assert!(first.canary().public() == second.canary().public());
        assert!(dir.path().join(PASSPHRASE_FILE).exists());
        for name in [KEY_FILE, PASSPHRASE_FILE] {
            let mode = fs::metadata(dir.path().join(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_named_passphrase_file_is_used_and_another_passphrase_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        fs::write(&file, "correct horse\n").unwrap();
        Keystore::open(dir.path(), Some(&file)).unwrap();
        assert!(!dir.path().join(PASSPHRASE_FILE).exists());
        fs::write(&file, "correct horse").unwrap();
        Keystore::open(dir.path(), Some(&file)).unwrap();
        fs::write(&file, "wrong horse").unwrap();
        let error = Keystore::open(dir.path(), Some(&file)).err().unwrap();
        assert!(matches!(
            error,
            KeystoreError::Sealed {
                source: OpenError::WrongPassphrase,
                ..
            }
        ));
    }

    #[test]
    fn a_key_without_its_passphrase_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        Keystore::open(dir.path(), None).unwrap();
        fs::remove_file(dir.path().join(PASSPHRASE_FILE)).unwrap();
        let error = Keystore::open(dir.path(), None).err().unwrap();
        assert!(matches!(error, KeystoreError::Passphrase { .. }));
        assert!(!dir.path().join(PASSPHRASE_FILE).exists());
    }

    #[test]
    fn a_key_that_is_gone_is_told_from_one_that_was_never_there() {
        let dir = tempfile::tempdir().unwrap();
        let told = || lost_key(dir.path());
        fs::create_dir(dir.path().join("segments")).unwrap();
        assert_eq!(told(), None);
        fs::write(dir.path().join("segments/00000001.seg"), "").unwrap();
        assert_eq!(told(), Some("there is a store with data"));
        Keystore::open(dir.path(), None).unwrap();
        assert_eq!(told(), None);
        fs::remove_file(key_file(dir.path())).unwrap();
        fs::remove_dir_all(dir.path().join("segments")).unwrap();
        assert_eq!(told(), Some("its passphrase is there"));
    }

    #[test]
    fn a_flipped_bit_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        Keystore::open(dir.path(), None).unwrap();
        let path = dir.path().join(KEY_FILE);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(Keystore::open(dir.path(), None).is_err());
    }
}
