//! `perennis id new`, `id derive` and `id show`.

use perennis_shared::did::Identity;
use serde::Serialize;

use super::Context;
use super::args::{IdCommand, IdDerive};
use super::failure::Failure;
use super::page::Page;
use super::secret::read_passphrase;
use super::unlock::{derivation_of, derive};

pub(crate) fn run(context: &Context<'_>, command: &IdCommand) -> Result<(), Failure> {
    match command {
        IdCommand::Derive(arguments) => show_derived(context, arguments),
    }
}

/// Public facts of an identity.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Facts {
    did: String,
    did_key: String,
    ipns_name: String,
    profile: String,
    account: String,
}

impl Facts {
    fn of(identity: &Identity, account: &str) -> Self {
        Self {
            did: identity.did().to_string(),
            did_key: identity.did_key_uri(),
            ipns_name: identity.name().to_string(),
            profile: identity.profile().as_str().to_owned(),
            account: account.to_owned(),
        }
    }

    fn show(&self, page: &mut Page) {
        page.fields(&[
            ("DID", Some(page.paint.strong(&self.did))),
            (
                "did:key",
                (self.did != self.did_key).then(|| self.did_key.clone()),
            ),
            ("IPNS name", Some(self.ipns_name.clone())),
            ("profile", Some(self.profile.clone())),
            (
                "account",
                (!self.account.is_empty()).then(|| self.account.clone()),
            ),
        ]);
    }
}

fn show_derived(context: &Context<'_>, arguments: &IdDerive) -> Result<(), Failure> {
    let (profile, account) = derivation_of(&arguments.derivation)?;
    let phrase = read_passphrase(context.passphrase_file(), "Passphrase: ")?;
    let identity = derive(context, &phrase, profile, account)?;
    let facts = Facts::of(&identity, account);
    context.output.answer(&facts, |page| facts.show(page))
}
