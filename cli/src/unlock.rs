//! From a passphrase to the identity that signs.

use perennis_rt as rt;
use perennis_shared::did::{Identity, Profile};

use super::args::{Derivation, ProfileName};
use super::failure::{Failure, with_cause};
use super::home::{Home, KnownIdentity};
use super::sealed;
use super::secret::{self, Passphrase};
use crate::context::Context;

/// Reads the passphrase from the file that was named, or asks for it on the terminal. Warns of what in it cannot be seen.
pub(crate) fn read_passphrase(context: &Context<'_>, prompt: &str) -> Result<Passphrase, Failure> {
    let lines = context.global.passphrase_lines;
    let phrase = secret::read_passphrase(context.passphrase_file(), lines, prompt)?;
    warn_of_invisible(context, &phrase);
    Ok(phrase)
}

/// Reads the passphrase from the file that was named; none where none was. Warns of what in it cannot be seen.
pub(crate) fn read_passphrase_file(context: &Context<'_>) -> Result<Option<Passphrase>, Failure> {
    let Some(file) = context.passphrase_file() else {
        return Ok(None);
    };
    let phrase = secret::read_passphrase_file(file, context.global.passphrase_lines)?;
    warn_of_invisible(context, &phrase);
    Ok(Some(phrase))
}

fn warn_of_invisible(context: &Context<'_>, phrase: &Passphrase) {
    if let Some(what) = phrase.invisible() {
        context.output.warn(format!(
            "the passphrase holds {what}: it is part of the passphrase, and has to be typed the same way"
        ));
    }
}

/// Derives the identity; takes about as long as the profile's scrypt does, so a spinner shows it.
pub(crate) fn derive(
    context: &Context<'_>,
    phrase: &Passphrase,
    profile: Profile,
    account: &str,
) -> Result<Identity, Failure> {
    let spinner = context.output.spinner("deriving the identity");
    let identity = match profile {
        Profile::V1 => Identity::derive_v1(phrase.reveal().as_bytes()),
        Profile::V2 => Identity::derive_v2(phrase.reveal(), account),
    };
    spinner.finish_and_clear();
    let identity = identity.map(|identity| identity.with_engine(rt::sign_engine));
    identity.map_err(|error| {
        Failure::invalid(
            "not_derivable",
            format!("no identity from this passphrase: {}", with_cause(&error)),
        )
        .hint("check the passphrase and the account name")
    })
}

/// The profile and account asked for, where the home knows nothing better.
pub(crate) fn derivation_of(asked: &Derivation) -> Result<(Profile, &str), Failure> {
    let profile = match asked.profile {
        Some(ProfileName::V1) => Profile::V1,
        Some(ProfileName::V2) | None => Profile::V2,
    };
    match (profile, asked.account.as_deref()) {
        (Profile::V1, Some(account)) if !account.is_empty() => {
            Err(Failure::usage("profile v1 has no account names")
                .hint("leave --account out, or use --profile v2"))
        }
        (profile, account) => Ok((profile, account.unwrap_or_default())),
    }
}

/// Asks for the passphrase and returns the identity of this home. A passphrase that gives another
/// identity is refused by naming that one: nothing is ever signed by mistake.
pub(crate) fn unlock(
    context: &Context<'_>,
    home: &Home,
    known: &KnownIdentity,
) -> Result<Identity, Failure> {
    let phrase = read_passphrase(context, &format!("Passphrase of {}: ", known.did))?;
    if let Some(identity) = sealed::open(context, &home.sealed_key_path(), &phrase)?
        && identity.did().to_string() == known.did
    {
        return Ok(identity);
    }
    let profile = profile_of(known)?;
    let identity = derive(context, &phrase, profile, &known.account)?;
    if identity.did().to_string() == known.did {
        return Ok(identity);
    }
    Err(Failure::invalid(
        "wrong_passphrase",
        format!(
            "this passphrase gives {}, but this home is {}",
            identity.did(),
            known.did
        ),
    )
    .hint(
        "type the passphrase of this home's identity; to work as the other one, use another --home \
         (nothing was signed)",
    ))
}

/// The profile a home's identity was derived with.
pub(crate) fn profile_of(known: &KnownIdentity) -> Result<Profile, Failure> {
    Profile::parse(&known.profile).ok_or_else(|| {
        Failure::invalid(
            "home_damaged",
            format!(
                "identity.json names a profile this version does not know: {:?}",
                known.profile
            ),
        )
        .hint("run `perennis restore` in another --home")
    })
}
