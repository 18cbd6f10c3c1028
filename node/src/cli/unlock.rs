//! From a passphrase to the identity that signs.

use perennis_shared::did::{Identity, Profile};

use super::Context;
use super::args::{Derivation, ProfileName};
use super::failure::{Failure, with_causes};
use super::secret::Passphrase;

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
    identity.map_err(|error| {
        Failure::invalid(
            "not_derivable",
            format!("no identity from this passphrase: {}", with_causes(&error)),
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
