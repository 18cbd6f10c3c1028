//! Sealed key files: secrets on disk that only a passphrase opens.
//!
//! Owns the format of such a file and nothing around it: where it lies, how it is replaced and where the salt comes
//! from is the caller's. The file, in order:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `PERKEYS` and a zero byte |
//! | 1 | version: 1 |
//! | 1, 4, 4 | scrypt's log2 N, r and p, big endian |
//! | 32 | salt |
//! | 1 | number of seeds, 1 to 16 |
//! | 1, n, 40 | for each: length of the label, the label, the seed in AES-256-KW (RFC 3394) |
//! | 32 | HMAC-SHA-256 over all of the above |
//! | 8 | the first bytes of SHA-256 over all of the above |
//!
//! scrypt stretches the passphrase (NFKD) with the salt; HKDF-SHA-256 with the salt `perennis/keyfile/v1` makes of it
//! the wrapping key (`kek`) and the key of the MAC (`mac`). The MAC covers the parameters, so that nobody can weaken
//! them, and the labels, so that nobody can exchange two seeds. The checksum needs no secret: it tells a damaged file
//! from a wrong passphrase, as far as the damage was not made on purpose, and saves the stretching.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use aes_kw::{KeyInit as _, KwAes256};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::kdf::{self, Cost, CostError};
use crate::limits::{
    KEY_FILE_BYTES, KEY_FILE_LABEL_BYTES, KEY_FILE_SEEDS, LimitExceeded, PASSPHRASE_BYTES,
};

/// Length of a sealed seed, in bytes.
pub const SEED_BYTES: usize = 32;

/// Length of the salt of a key file, in bytes.
pub const SALT_BYTES: usize = 32;

const MAGIC: &[u8; 8] = b"PERKEYS\0";
const VERSION: u8 = 1;
const KEY_SALT: &[u8] = b"perennis/keyfile/v1";

/// Length of a seed in AES-KW: one block of eight bytes more.
const WRAPPED_BYTES: usize = SEED_BYTES + aes_kw::IV_LEN;
const MAC_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 8;

/// Seeds out of a key file, each under its label, erased when dropped.
pub struct Seeds(Vec<(String, Zeroizing<[u8; SEED_BYTES]>)>);

impl Seeds {
    /// The seed under a label.
    pub fn get(&self, label: &str) -> Option<&[u8; SEED_BYTES]> {
        self.iter()
            .find(|(name, _)| *name == label)
            .map(|(_, seed)| seed)
    }

    /// All labels and seeds, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8; SEED_BYTES])> {
        self.0.iter().map(|(label, seed)| (label.as_str(), &**seed))
    }
}

/// Seals seeds under a passphrase. Takes as long and as much memory as `cost` says; [`Cost::V2`] for new files.
///
/// The salt is 32 random bytes, new for every file: with it, two files under one passphrase share no key.
///
/// # Errors
/// Refuses no seeds or more than [`KEY_FILE_SEEDS`], labels that are empty, repeated, longer than
/// [`KEY_FILE_LABEL_BYTES`] or of other letters than `a-z`, `0-9`, `-` and `/`, and a passphrase that is empty or above
/// [`PASSPHRASE_BYTES`].
pub fn seal(
    seeds: &[(&str, &[u8; SEED_BYTES])],
    passphrase: &str,
    salt: &[u8; SALT_BYTES],
    cost: Cost,
) -> Result<Vec<u8>, SealError> {
    check_labels(seeds.iter().map(|(label, _)| *label))?;
    let keys = Keys::stretch(passphrase, salt, cost)?;
    let mut file = Vec::with_capacity(KEY_FILE_BYTES);
    file.extend_from_slice(MAGIC);
    file.push(VERSION);
    file.push(cost.log_n());
    file.extend_from_slice(&cost.r().to_be_bytes());
    file.extend_from_slice(&cost.p().to_be_bytes());
    file.extend_from_slice(salt);
    file.push(seeds.len() as u8);
    for (label, seed) in seeds {
        file.push(label.len() as u8);
        file.extend_from_slice(label.as_bytes());
        file.extend_from_slice(&keys.wrap(seed));
    }
    let mac = keys.mac(&file).finalize().into_bytes();
    file.extend_from_slice(&mac);
    let checksum = checksum(&file);
    file.extend_from_slice(&checksum);
    Ok(file)
}

/// Opens a key file. The parameters in it are bounded before they are used ([`Cost::new`]).
///
/// # Errors
/// [`OpenError`] tells a file that is not ours, one of a newer version, a damaged one, and a wrong passphrase apart. A
/// file whose contents were exchanged on purpose, checksum included, counts as one under another passphrase.
pub fn open(file: &[u8], passphrase: &str) -> Result<Seeds, OpenError> {
    let sealed = Sealed::parse(file)?;
    let keys = Keys::stretch(passphrase, sealed.salt, sealed.cost)?;
    sealed.open(&keys)
}

/// The parts of a key file whose form is right.
struct Sealed<'a> {
    cost: Cost,
    salt: &'a [u8; SALT_BYTES],
    seeds: Vec<(&'a str, &'a [u8; WRAPPED_BYTES])>,
    authenticated: &'a [u8],
    mac: &'a [u8; MAC_BYTES],
}

impl<'a> Sealed<'a> {
    fn parse(file: &'a [u8]) -> Result<Sealed<'a>, OpenError> {
        LimitExceeded::check("key file bytes", KEY_FILE_BYTES, file.len())?;
        let versioned = file.strip_prefix(MAGIC).ok_or(OpenError::NotAKeyFile)?;
        let (summed, sum) = file
            .split_last_chunk::<CHECKSUM_BYTES>()
            .ok_or(OpenError::Damaged)?;
        if checksum(summed) != *sum {
            return Err(OpenError::Damaged);
        }
        match versioned.first() {
            Some(&VERSION) => {}
            Some(&version) => return Err(OpenError::UnknownVersion { version }),
            None => return Err(OpenError::Damaged),
        }
        let (authenticated, mac) = summed.split_last_chunk().ok_or(OpenError::Damaged)?;
        let mut rest = authenticated
            .get(MAGIC.len() + 1..)
            .ok_or(OpenError::Damaged)?;
        let [log_n] = *take(&mut rest)?;
        let r = u32::from_be_bytes(*take(&mut rest)?);
        let p = u32::from_be_bytes(*take(&mut rest)?);
        let cost = Cost::new(log_n, r, p)?;
        let salt = take(&mut rest)?;
        let [count] = *take(&mut rest)?;
        let mut seeds = Vec::with_capacity(usize::from(count).min(KEY_FILE_SEEDS));
        for _ in 0..count {
            let [length] = *take(&mut rest)?;
            let (label, after) = rest
                .split_at_checked(length.into())
                .ok_or(OpenError::Damaged)?;
            rest = after;
            let label = core::str::from_utf8(label).map_err(|_| OpenError::Damaged)?;
            seeds.push((label, take(&mut rest)?));
        }
        if !rest.is_empty() || check_labels(seeds.iter().map(|(label, _)| *label)).is_err() {
            return Err(OpenError::Damaged);
        }
        Ok(Sealed {
            cost,
            salt,
            seeds,
            authenticated,
            mac,
        })
    }

    fn open(&self, keys: &Keys) -> Result<Seeds, OpenError> {
        keys.mac(self.authenticated)
            .verify_slice(self.mac)
            .map_err(|_| OpenError::WrongPassphrase)?;
        let seeds = self.seeds.iter().map(|(label, wrapped)| {
            let seed = keys.unwrap(wrapped)?;
            Ok((label.to_string(), seed))
        });
        seeds.collect::<Result<_, OpenError>>().map(Seeds)
    }
}

/// The keys of one file, erased when dropped.
struct Keys {
    wrapping: KwAes256,
    mac: Zeroizing<[u8; kdf::SECRET_BYTES]>,
}

impl Keys {
    fn stretch(
        passphrase: &str,
        salt: &[u8; SALT_BYTES],
        cost: Cost,
    ) -> Result<Keys, PassphraseError> {
        if passphrase.is_empty() {
            return Err(PassphraseError::Empty);
        }
        LimitExceeded::check("passphrase bytes", PASSPHRASE_BYTES, passphrase.len())?;
        let secret = kdf::stretch(kdf::normalise(passphrase).as_bytes(), salt, cost);
        let wrapping = kdf::expand(secret.as_slice(), KEY_SALT, b"kek");
        Ok(Keys {
            wrapping: KwAes256::new((&*wrapping).into()),
            mac: kdf::expand(secret.as_slice(), KEY_SALT, b"mac"),
        })
    }

    fn wrap(&self, seed: &[u8; SEED_BYTES]) -> [u8; WRAPPED_BYTES] {
        let mut wrapped = [0; WRAPPED_BYTES];
        self.wrapping
            .wrap_key(seed, &mut wrapped)
            .expect("a seed is four blocks long and the place for it one more");
        wrapped
    }

    fn unwrap(
        &self,
        wrapped: &[u8; WRAPPED_BYTES],
    ) -> Result<Zeroizing<[u8; SEED_BYTES]>, OpenError> {
        let mut seed = Zeroizing::new([0; SEED_BYTES]);
        self.wrapping
            .unwrap_key(wrapped, seed.as_mut_slice())
            .map_err(|_| OpenError::Damaged)?;
        Ok(seed)
    }

    fn mac(&self, bytes: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.mac.as_slice())
            .expect("a MAC takes a key of any length");
        mac.update(bytes);
        mac
    }
}

fn check_labels<'a>(labels: impl Iterator<Item = &'a str>) -> Result<(), SealError> {
    let labels: Vec<&str> = labels.collect();
    LimitExceeded::check("key file seeds", KEY_FILE_SEEDS, labels.len())?;
    if labels.is_empty() {
        return Err(SealError::NoSeeds);
    }
    for (index, label) in labels.iter().enumerate() {
        LimitExceeded::check("key file label bytes", KEY_FILE_LABEL_BYTES, label.len())?;
        let is_plain = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'/');
        if label.is_empty() || !label.bytes().all(is_plain) || labels[..index].contains(label) {
            return Err(SealError::Label {
                label: label.to_string(),
            });
        }
    }
    Ok(())
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    core::array::from_fn(|index| digest[index])
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8; N], OpenError> {
    let (taken, after) = rest.split_first_chunk().ok_or(OpenError::Damaged)?;
    *rest = after;
    Ok(taken)
}

/// Why a passphrase cannot be used for a key file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PassphraseError {
    /// An empty passphrase protects nothing.
    #[error("the passphrase is empty")]
    Empty,
    /// The passphrase is above its limit.
    #[error(transparent)]
    TooLong(#[from] LimitExceeded),
}

/// Why seeds are not sealed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// There is nothing to seal.
    #[error("a key file holds at least one seed")]
    NoSeeds,
    /// A label is empty, repeated or of other letters.
    #[error("`{label}` cannot label a seed: use each label once, and a-z, 0-9, - and /")]
    Label {
        /// The label.
        label: String,
    },
    /// There are too many seeds, or a label is too long.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
    /// The passphrase cannot be used.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
}

/// Why a key file is not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file does not begin like a key file.
    #[error("not a key file")]
    NotAKeyFile,
    /// The file is above its limit.
    #[error("not a key file")]
    TooLarge(#[from] LimitExceeded),
    /// The file was written by newer software.
    #[error("the key file has version {version}; this software reads version 1")]
    UnknownVersion {
        /// The version of the file.
        version: u8,
    },
    /// The file was changed since it was written: its checksum or its structure is wrong. Restore a copy of it.
    #[error(
        "the key file is damaged; restore a copy of it, or derive the identity from its passphrase again"
    )]
    Damaged,
    /// The stretching parameters are out of bounds.
    #[error("the key file asks for parameters that are not accepted")]
    Cost(#[from] CostError),
    /// The passphrase is not the one the file was sealed under.
    #[error("wrong passphrase for this key file")]
    WrongPassphrase,
    /// The passphrase cannot be one the file was sealed under.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
}

#[cfg(test)]
mod tests;
