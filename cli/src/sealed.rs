//! The identity's key kept in the home, sealed under a passphrase (`id new --save`).
//!
//! With it, a wrong passphrase is told at once and the identity's profile and account need not be known.

use std::path::Path;

use perennis_rt as rt;
use perennis_shared::did::{Identity, Profile};
use perennis_shared::kdf::Cost;
use perennis_shared::keywrap::{self, OpenError};
use perennis_shared::limits::KEY_FILE_BYTES;
use zeroize::Zeroizing;

use super::failure::{Failure, with_cause};
use super::files::{self, Existing, write_atomically};
use super::secret::Passphrase;
use crate::context::Context;

/// Labels of the root secret in a key file, by profile.
const LABELS: [(&str, Profile); 2] = [("root/v1", Profile::V1), ("root/v2", Profile::V2)];

/// Seals the identity's root secret; the file is replaced as a whole or not at all.
pub(crate) fn save(
    context: &Context<'_>,
    path: &Path,
    identity: &Identity,
    phrase: &Passphrase,
) -> Result<(), Failure> {
    let salt = rt::random().map_err(|error| {
        Failure::failed("no_randomness", "the system gives no random bytes").because(&error)
    })?;
    let label = LABELS
        .iter()
        .find(|(_, profile)| *profile == identity.profile())
        .map_or(LABELS[1].0, |(label, _)| *label);
    let spinner = context.output.spinner("sealing the key");
    let file = keywrap::seal(
        &[(label, identity.root())],
        phrase.reveal(),
        &salt,
        Cost::V2,
    );
    spinner.finish_and_clear();
    let file = file.map_err(|error| {
        Failure::invalid("not_sealed", with_cause(&error))
            .hint("choose another passphrase, or leave --save out")
    })?;
    write_atomically(path, &file, Existing::Replace, true)
}

/// Opens the sealed key; `None` when there is none or the passphrase is not the one it was sealed under.
pub(crate) fn open(
    context: &Context<'_>,
    path: &Path,
    phrase: &Passphrase,
) -> Result<Option<Identity>, Failure> {
    if !path.is_file() {
        return Ok(None);
    }
    let file = files::read_bounded(path, KEY_FILE_BYTES as u64)?;
    let spinner = context.output.spinner("opening the sealed key");
    let opened = keywrap::open(&file, phrase.reveal());
    spinner.finish_and_clear();
    let seeds = match opened {
        Ok(seeds) => seeds,
        Err(OpenError::WrongPassphrase | OpenError::Passphrase(_)) => return Ok(None),
        Err(error) => {
            return Err(Failure::invalid(
                "sealed_key_damaged",
                format!("{}: {}", path.display(), with_cause(&error)),
            )
            .hint("delete that file: the passphrase alone gives the identity"));
        }
    };
    Ok(LABELS.iter().find_map(|(label, profile)| {
        let root = Zeroizing::new(*seeds.get(label)?);
        Some(Identity::from_root(*profile, root).with_engine(rt::sign_engine))
    }))
}
